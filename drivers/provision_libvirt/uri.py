"""libvirt's URIs: which hypervisor is meant, how it is reached, and what is not allowed in one."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from provision.errors import DriverError

DEFAULT = "qemu:///system"

_EXAMPLES = "qemu:///system, or qemu+ssh://user@host/system"
#: parameters of a URI that have libvirt, or the ssh that it starts, accept any host key
_BLIND = ("no_verify", "known_hosts_verify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uri:
    """One hypervisor. `text` is the URI as it was written; `user`, `host` and `port` None where it names none."""

    text: str
    scheme: str
    transport: str | None
    user: str | None
    host: str | None
    port: int | None
    path: str
    query: str = ""

    @property
    def test(self) -> bool:
        """libvirt's own pretended hypervisor, for tests: it keeps all in memory and boots nothing."""
        return self.scheme == "test"

    @property
    def local(self) -> bool:
        """The hypervisor is this machine: its files and its network are ours to look at."""
        return self.host is None

    @property
    def jump(self) -> str | None:
        """The way to the guests, for SSH: `user@host:port` of the hypervisor; None when it is this machine."""
        if self.host is None:
            return None
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"

    @property
    def to_open(self) -> str:
        """The URI for libvirt: over SSH it asks nobody anything, so that an unknown host key is an error."""
        if self.transport != "ssh":
            return self.text
        parts = urlsplit(self.text)
        query = dict(parse_qsl(parts.query, keep_blank_values=True)) | {"no_tty": "1"}
        return urlunsplit(parts._replace(query=urlencode(query)))


def parse(text: str) -> Uri:
    """The URI's parts. Raises DriverError for one that this driver does not take, with what to write instead."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise DriverError(f"{text!r} is no libvirt URI: {exc}", hint=f"write {_EXAMPLES}") from exc
    scheme, _, transport = parts.scheme.partition("+")
    uri = Uri(
        text=text,
        scheme=scheme,
        transport=transport or None,
        user=parts.username,
        host=parts.hostname and _host(parts),
        port=port,
        path=parts.path,
        query=parts.query,
    )
    _check(uri)
    return uri


def _host(parts: SplitResult) -> str:
    """As it was written: `hostname` is in lower case, and an alias of the user's ssh config need not be."""
    name = parts.netloc.rpartition("@")[2]
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def _check(uri: Uri) -> None:
    if uri.test:
        return
    if uri.scheme != "qemu":
        raise DriverError(f"{uri.text!r} is no URI of a QEMU hypervisor", hint=f"write {_EXAMPLES}")
    if uri.path != "/system":
        raise DriverError(
            f"{uri.text!r} does not name the system's hypervisor",
            detail="a user's own (qemu:///session) has no network on which machines reach each other",
            hint=f"write {_EXAMPLES}",
        )
    if uri.transport not in ((None, "unix") if uri.local else ("ssh",)):
        raise DriverError(
            f"{uri.text!r} reaches the hypervisor in a way that does not lead to its machines",
            hint=f"they are reached by SSH through it: qemu+ssh://{uri.jump or 'user@host'}/system",
        )
    given = dict(parse_qsl(uri.query, keep_blank_values=True))
    for name in _BLIND:
        if name in given:
            raise DriverError(
                f"{uri.text!r}: {name} would trust any host key",
                hint=f"leave it out, and learn the hypervisor's key once: ssh {_ssh_words(uri)} true",
            )


def _ssh_words(uri: Uri) -> str:
    where = f"{uri.user}@{uri.host}" if uri.user else str(uri.host)
    return f"-p {uri.port} {where}" if uri.port else where


def login_command(uri: Uri, command: str) -> str:
    """What a person types to run a command on the hypervisor: over SSH, or as it is where that is this machine."""
    return command if uri.local else f"ssh {_ssh_words(uri)} {command}"
