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
    present = {_material(line) for line in facts.authorized_keys if not line.startswith("#")}
    # one key may be asked for twice, with different comments
    asked = {_material(key): key for key in desired.authorized_keys}
    missing = [key for material, key in asked.items() if material not in present]
    if not missing:
        return ()
    lines = command("printf", "%s\\n", *missing)
    owner = command(facts.user)
    # what is noted comes before what is done, so that a crash in between leaves nothing that nobody takes back
    body = "\n".join(
        (
            f"mkdir -p {layout.DIRECTORY}",
            f"home=$(getent passwd {owner} | cut -d: -f6)",
            'file="$home/.ssh/authorized_keys"',
            'if [ ! -d "$home/.ssh" ]; then',
            f'  : >{layout.KEYS_FOLDER_MADE}; install -d -m 0700 -o {owner} "$home/.ssh"',
            "fi",
            'if [ ! -e "$file" ]; then',
            f'  : >{layout.KEYS_FILE_MADE}; install -m 0600 -o {owner} /dev/null "$file"',
            "fi",
            # a last line without its newline would swallow the first of ours
            'if [ -n "$(tail -c 1 "$file")" ]; then',
            f'  wc -c <"$file" >{layout.KEYS_UNENDED}; echo >>"$file"',
            "fi",
            f"{lines} >>{layout.ADDED_KEYS}",
            f'{lines} >>"$file"',
        )
    )
    noun = "1 SSH key is" if len(missing) == 1 else f"{len(missing)} SSH keys are"
    return (Change(fragment=Fragment("authorize keys", body), cause=f"{noun} not authorized"),)


def _material(line: str) -> str:
    """The part of an authorized_keys line that makes the key, whatever options or comment stand beside it."""
    words = line.split()
    return next((word for word in words if word.startswith("AAAA")), line)
