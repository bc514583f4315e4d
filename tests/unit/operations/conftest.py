from __future__ import annotations

import sys
from pathlib import Path

# the factories of facts are shared with the tests of planning
sys.path.insert(0, str(Path(__file__).parents[1] / "planning"))
