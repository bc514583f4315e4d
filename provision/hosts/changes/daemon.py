"""daemon.json: what the inventory asks for, laid over what the host had before us, compared as parsed JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import EngineFacts, HostFacts
from provision.hosts.fragments import Fragment, write_file
from provision.merge import merge

#: What dockerd takes over on SIGHUP (its reference page, "Configuration reload behavior"); all else wants a restart.
RELOADABLE = frozenset(
    {
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)

#: the first major version of dockerd that takes `--validate`
_VALIDATES = 23

_CANDIDATE = f"{layout.DIRECTORY}/daemon.json.new"


def write(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Replace daemon.json where it differs. The new file is validated by `dockerd --validate` where the engine has it.

    What stood there before our first change is kept beside it and put back by `down`.
    """
    changed = _changed(desired, facts)
    if not changed:
        return ()
    target = _target(desired, facts)
    return (
        Change(
            fragment=Fragment("write daemon.json", _write(target, facts.engine)),
            cause="daemon.json differs: " + ", ".join(_difference(key, _current(facts), target) for key in changed),
        ),
    )


def activate(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Make the engine run with its configuration: reload where that does, restart where not, start where it is down."""
    if not facts.engine.installed:
        return ()  # the package starts it, with the file already in place
    changed = _changed(desired, facts)
    if not facts.engine.running:
        # one that is on its way up is waited for, unless it may have read the old file
        verb = "restart" if changed or facts.engine.pending else "start"
        return (Change(fragment=Fragment("start engine", _told(verb)), cause="the engine does not answer"),)
    if facts.engine.pending:
        cause = "daemon.json was written, and the engine does not know it"
        return (Change(fragment=Fragment("restart engine", _told("restart")), cause=cause, disrupts=True),)
    if not changed:
        return ()
    names = ", ".join(changed)
    needy = [key for key in changed if not _reloads(key, _target(desired, facts))]
    if not needy:
        return (
            Change(
                fragment=Fragment("reload engine", _told("reload")),
                cause=f"changed: {names}",
            ),
        )
    restart = Fragment("restart engine", _told("restart"))
    return (Change(fragment=restart, cause=f"changed, and not reloadable: {', '.join(needy)}", disrupts=True),)


def _reloads(key: str, target: Mapping[str, Any]) -> bool:
    """A key that is taken away keeps its old value over a reload: dockerd reads only what the file says."""
    return key in RELOADABLE and key in target


def _told(verb: str) -> str:
    if verb == "reload":
        return f"systemctl reload docker.service\nrm -f {layout.DAEMON_PENDING} {layout.DAEMON_LAST}"
    # docker.service may start three times a minute, and who edits an inventory may need more
    forgive = "systemctl reset-failed docker.service 2>/dev/null || true"
    return f"""\
told() {{
  systemctl {verb} docker.service && return
  [ "$(systemctl show -p Result --value docker.service)" = start-limit-hit ] || return
  {forgive}
  systemctl {verb} docker.service
}}
if told; then rm -f {layout.DAEMON_PENDING} {layout.DAEMON_LAST}; exit 0; fi
journalctl -q -u docker.service -n 6 --no-pager -o cat || true
if [ -e {layout.DAEMON_PENDING} ]; then
  rm -f {layout.DAEMON_JSON}
  if [ -e {layout.DAEMON_LAST} ]; then mv -f {layout.DAEMON_LAST} {layout.DAEMON_JSON}; fi
  rm -f {layout.DAEMON_PENDING}
  {forgive}
  if systemctl restart docker.service; then echo 'the engine runs again with the daemon.json of before'; fi
fi
exit 1"""


def _touched(facts: HostFacts) -> bool:
    return facts.engine.daemon_json_before is not None


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}  # dockerd would not start with it either; ours replaces it, the text is kept
    return value if isinstance(value, dict) else {}


def _current(facts: HostFacts) -> dict[str, Any]:
    return _parsed(facts.engine.daemon_json)


def _target(desired: HostDesired, facts: HostFacts) -> dict[str, Any]:
    base = facts.engine.daemon_json_before if _touched(facts) else facts.engine.daemon_json
    return merge(_parsed(base), desired.daemon)


def _changed(desired: HostDesired, facts: HostFacts) -> list[str]:
    current, target = _current(facts), _target(desired, facts)
    return sorted(key for key in current.keys() | target.keys() if current.get(key) != target.get(key))


def _difference(key: str, current: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    if key not in target:
        return f"{key} is not wanted"
    if key not in current:
        return f"{key} is missing"
    return f"{key} is {json.dumps(current[key])}, not {json.dumps(target[key])}"


def _write(target: Mapping[str, Any], engine: EngineFacts) -> str:
    content = json.dumps(target, indent=2, sort_keys=True) + "\n"
    keep = (
        f"if [ -e {layout.DAEMON_JSON} ]; then cp -p {layout.DAEMON_JSON} {layout.DAEMON_BEFORE};"
        f" else : >{layout.DAEMON_BEFORE}; fi"
    )
    return "\n".join(
        (
            write_file(_CANDIDATE, content),
            *_validate(engine),
            f"mkdir -p {layout.DAEMON_JSON.rpartition('/')[0]}",
            *((keep,) if engine.daemon_json_before is None else ()),
            # should the run end before the engine is told, the next one tells it
            f"if command -v dockerd >/dev/null && [ ! -e {layout.DAEMON_PENDING} ]; then",
            f"  rm -f {layout.DAEMON_LAST}",
            f"  if [ -e {layout.DAEMON_JSON} ]; then cp -p {layout.DAEMON_JSON} {layout.DAEMON_LAST}; fi",
            f"  : >{layout.DAEMON_PENDING}",
            "fi",
            f"mv -f {_CANDIDATE} {layout.DAEMON_JSON}",
        )
    )


def _validate(engine: EngineFacts) -> tuple[str, ...]:
    """`--validate` came with Engine 23.0; an older dockerd would take the flag for an error of ours.

    One that is not running is asked what it knows; each start of dockerd, be it for its help, costs the host dearly.
    """
    check = f"dockerd --validate --config-file={_CANDIDATE}"
    if engine.version is None:
        knows = "command -v dockerd >/dev/null && dockerd --help 2>&1 | grep -q -- --validate"
        return (f"if {knows}; then {check}; fi",)
    major = engine.version.partition(".")[0]
    return (check,) if major.isdigit() and int(major) >= _VALIDATES else ()
