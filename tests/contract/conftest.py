"""What the contract tests share."""

import pytest

pytest.register_assert_rewrite("provision.testing")
