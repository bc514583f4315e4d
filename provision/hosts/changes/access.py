"""SSH without a password: the public keys that may log in."""

from __future__ import annotations

from provision.hosts import layout
from provision.hosts.changes.change import Change
from provision.hosts.desired import HostDesired
from provision.hosts.facts import HostFacts
from provision.hosts.fragments import Fragment, command


def changes(desired: HostDesired, facts: HostFacts) -> tuple[Change, ...]:
    """Add the keys that are missing from the login user's authorized_keys. What is there stays.

    The added lines are remembered on the host, so that they and no others are taken back.
    """
    present = {_material(line) for line in facts.authorized_keys}
    missing = [key for key in desired.authorized_keys if _material(key) not in present]
    if not missing:
        return ()
    lines = command("printf", "%s\\n", *missing)
    body = "\n".join(
        (
            f"home=$(getent passwd {command(facts.user)} | cut -d: -f6)",
            'file="$home/.ssh/authorized_keys"',
            f'[ -d "$home/.ssh" ] || install -d -m 0700 -o {command(facts.user)} "$home/.ssh"',
            f'[ -e "$file" ] || install -m 0600 -o {command(facts.user)} /dev/null "$file"',
            # a last line without its newline would swallow the first of ours
            '[ -z "$(tail -c 1 "$file")" ] || echo >>"$file"',
            f'{lines} >>"$file"',
            f"mkdir -p {layout.DIRECTORY}",
            f"{lines} >>{layout.ADDED_KEYS}",
        )
    )
    noun = "1 SSH key is" if len(missing) == 1 else f"{len(missing)} SSH keys are"
    return (Change(fragment=Fragment("authorize keys", body), cause=f"{noun} not authorized"),)


def _material(line: str) -> str:
    """The part of an authorized_keys line that makes the key, whatever options or comment stand beside it."""
    words = line.split()
    return next((word for word in words if word.startswith("AAAA")), line)
