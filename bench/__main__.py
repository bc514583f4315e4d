"""`python -m bench`: measure, keep the results in .bench/results/, write docs/performance.md from them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from bench.report import REPORT, render
from bench.results import read, store
from bench.smoke import smoke
from bench.startup import startup
from bench.targets import MACHINES
from bench.work import CONTENDERS, work

#: `all` measures these, each in a process of its own, which takes its namespaces along when it ends
_ALL = ("work", "lab", "vm", "growth", "startup")


def main() -> int:
    """The exit status: 1 when `smoke` is out of bounds."""
    given = _parser().parse_args()
    if given.what == "work":
        hosts, names = given.hosts or [3, 10, 50], given.contender or list(CONTENDERS)
        work(hosts, names, given.rounds, keep=_keep_work, say=_say)
    elif given.what == "lab":
        from bench.lab_parts import lab_parts

        store("lab", *lab_parts(given.rounds, say=_say))
    elif given.what == "vm":
        from bench.vm import vm

        store("vm", *vm(given.machines, given.rounds, say=_say))
    elif given.what == "growth":
        _growth(given)
    elif given.what == "startup":
        store("startup", *startup(given.hosts, given.rounds, say=_say))
    elif given.what == "smoke":
        value, versions, good = smoke(given.rounds, say=_say)
        store("smoke", value, versions)
        return 0 if good else 1
    elif given.what == "all":
        for name in _ALL:
            subprocess.run((sys.executable, "-m", "bench", name), check=True)
        _report()
    else:
        _report()
    return 0


def _keep_work(tables: list[dict[str, Any]], versions: Mapping[str, str]) -> None:
    """Keep the sizes that were measured now, and of those measured before the others."""
    before = read().get("work")
    now = {table["hosts"] for table in tables}
    others = [table for table in before.value if table["hosts"] not in now] if before else []
    known = before.versions if before else {}
    store("work", sorted([*others, *tables], key=lambda table: table["hosts"]), {**known, **versions})


def _growth(given: argparse.Namespace) -> None:
    from bench.real_growth import real
    from bench.simulated_growth import simulated

    rows, versions = real(given.hosts or [1, 10, 50, 100], given.rounds, say=_say)
    store("growth", {"real": rows, "simulated": []}, versions)
    store("growth", {"real": rows, "simulated": simulated(given.simulated or [100, 1000, 5000], say=_say)}, versions)


def _report() -> None:
    results = read()
    results.pop("smoke", None)
    REPORT.write_text(render(results))
    _say(f"{REPORT} is written from {', '.join(results) or 'no results'}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the bench's only output


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")

    one = commands.add_parser("work", help="all contenders, the work and nothing to do")
    one.add_argument("--hosts", type=int, action="append", help="may be given again; 3, 10 and 50 where it is not")
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--contender", action="append", choices=list(CONTENDERS), help="may be given again; all")

    one = commands.add_parser("lab", help="`provision up inventories/lab.yml`, and its unavoidable parts")
    one.add_argument("--rounds", type=int, default=5)

    one = commands.add_parser("vm", help="virtual machines, by virt-lightning and by provision, until they answer")
    one.add_argument("--machines", type=int, default=MACHINES)
    one.add_argument("--rounds", type=int, default=5)

    one = commands.add_parser("growth", help="provision alone, on real and on simulated hosts")
    one.add_argument("--hosts", type=int, action="append", help="real ones; 1, 10, 50 and 100 where it is not given")
    one.add_argument("--simulated", type=int, action="append", help="100, 1000 and 5000 where it is not given")
    one.add_argument("--rounds", type=int, default=3, help="on real hosts")

    one = commands.add_parser("startup", help="help, completion, a list of machines")
    one.add_argument("--hosts", type=int, default=50)
    one.add_argument("--rounds", type=int, default=21)

    one = commands.add_parser("smoke", help="provision and the script on three hosts; status 1 when it is much slower")
    one.add_argument("--rounds", type=int, default=3)

    commands.add_parser("all", help="everything but smoke, with its defaults, and the report")
    commands.add_parser("report", help="write docs/performance.md from the results that are there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
