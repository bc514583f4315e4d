"""Connections to a hypervisor, and libvirt's errors turned into ours. The only way in which the driver opens one."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from provision.errors import DriverError
from provision_libvirt.uri import Uri, login_command, parse

if TYPE_CHECKING:
    import libvirt

#: seconds between two signs of life of a remote hypervisor, and how many may be missing
_KEEPALIVE = (5, 6)

#: what is set up once for the process, by whichever thread comes first
_ONCE = threading.Lock()

INSTALL = "apt-get install gcc pkg-config libvirt-dev python3-dev; pip install 'provision[libvirt]'"


def open_connection(uri: str) -> libvirt.virConnect:
    """A new connection. Its calls may come from any thread; each raises libvirt's own error: see `translated`.

    Over SSH the hypervisor's key must be known to OpenSSH (known_hosts), nobody is asked, and a connection that shows
    no sign of life for half a minute is closed. Raises DriverError.
    """
    parsed = parse(uri)
    try:
        import libvirt
    except ImportError as exc:
        raise DriverError("libvirt's Python module is not installed", hint=INSTALL) from exc
    with _ONCE:
        _quiet()
    if parsed.transport == "ssh":
        _require_key_check(parsed)
        with _ONCE:
            _run_event_loop()
    with translated(f"cannot connect to {uri}", uri=parsed):
        connection = libvirt.open(parsed.to_open)
        if parsed.transport == "ssh":
            connection.setKeepAlive(*_KEEPALIVE)
    return connection


@contextmanager
def translated(what: str, *, hint: str = "", uri: Uri | None = None) -> Iterator[None]:
    """Turn an error of libvirt inside into DriverError("what: libvirt's words"), with `hint` or the one that fits."""
    import libvirt

    try:
        yield
    except libvirt.libvirtError as exc:
        message = exc.get_error_message() or str(exc)
        raise DriverError(f"{what}: {message}", hint=hint or hint_for(message, uri)) from exc


def hint_for(message: str, uri: Uri | None = None) -> str:
    """What to do about an error that libvirt words like this; empty where nothing better than the words is known."""
    where = uri or parse("qemu:///system")
    for words, hint in _HINTS:
        if all(word.lower() in message.lower() for word in words):
            return hint.format(
                uri=where.text, ssh=login_command(where, "true"), nc=login_command(where, "command -v nc")
            )
    return ""


#: words of libvirt's message (all of them), and what to do: the first that fits. Its error codes are far coarser.
_HINTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("host key verification failed",), "look at the hypervisor's key and accept it once: {ssh}"),
    (("remote host identification has changed",), "the hypervisor's key is not the one that is known: {ssh}"),
    (("permission denied (",), "the hypervisor refuses the login; it must work without a question: {ssh}"),
    (("end of file while reading data",), "is the hypervisor's libvirtd there, and netcat? {nc}"),
    (("failed to connect socket", "no such file"), "provision doctor libvirt says what is missing here"),
    (("failed to connect socket", "connection refused"), "systemctl restart libvirtd"),
    (("failed to connect socket", "permission denied"), "adduser $USER libvirt, then log in again"),
    (("authentication unavailable",), "adduser $USER libvirt, then log in again"),
    (("authentication failed",), "adduser $USER libvirt, then log in again"),
    (("access denied by server",), "adduser $USER libvirt, then log in again"),
    (("cannot access storage file",), "QEMU's user must be able to search every folder above it: chmod o+x FOLDER"),
    (("could not open", "permission denied"), "QEMU's user must be able to read it, and search every folder above it"),
    (("network is already in use by interface",), "choose another `subnet:`, or remove what has this one"),
    (("network", "is not active"), "virsh -c {uri} net-start NAME, and net-autostart NAME"),
    (("network not found",), "virsh -c {uri} net-list --all lists those that are there"),
    (("error creating bridge interface", "not permitted"), "libvirtd must run as root to make networks"),
    (("dnsmasq",), "apt-get install dnsmasq-base"),
    (
        ("could not access kvm kernel module",),
        "set `accel: auto` or `qemu`; provision doctor libvirt says what is wrong",
    ),
    (("failed to initialize kvm",), "set `accel: auto` or `qemu`; provision doctor libvirt says what is wrong"),
    (("domain type kvm", "not"), "set `accel: auto` or `qemu`; provision doctor libvirt says what is wrong"),
    (("cannot set up guest memory",), "the hypervisor has too little memory free: lower `memory:`"),
    (("cannot allocate memory",), "the hypervisor has too little memory free: lower `memory:`"),
    (("no space left on device",), "the pool's disk is full: remove what is not needed, or name another `pool:`"),
    (("guest agent is not",), "the image needs qemu-guest-agent"),
    (("connection with keepalive timed out",), "the hypervisor does not answer any more: {ssh}"),
    (("cannot recv data",), "the connection to the hypervisor broke: {ssh}"),
)


@cache
def _quiet() -> None:
    """libvirt prints each error on stderr as well, unless it is told not to. Once for the process."""
    import libvirt

    libvirt.registerErrorHandler(lambda _context, _error: None, None)


@cache
def _run_event_loop() -> None:
    """Signs of life are asked for and noticed by libvirt's event loop, which needs a thread. Once for the process."""
    import libvirt

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=run, name="libvirt events", daemon=True).start()


def _require_key_check(uri: Uri) -> None:
    """Raises DriverError where the user's ssh config has OpenSSH accept any key of the hypervisor."""
    assert uri.host is not None
    destination = f"{uri.user}@{uri.host}" if uri.user else uri.host
    port = ("-p", str(uri.port)) if uri.port else ()
    try:
        done = subprocess.run(
            ("ssh", "-G", *port, "--", destination), capture_output=True, text=True, check=False, timeout=20
        )
    except FileNotFoundError as exc:
        raise DriverError("'ssh' is not installed here", hint="apt-get install openssh-client") from exc
    except subprocess.TimeoutExpired as exc:
        raise DriverError(f"'ssh -G {destination}' does not end", hint="look at ~/.ssh/config") from exc
    if checks_no_key(done.stdout):
        raise DriverError(
            f"ssh is told to accept any key of {uri.host}",
            hint=f"set `StrictHostKeyChecking yes` for {uri.host} in ~/.ssh/config",
        )


def checks_no_key(options: str) -> bool:
    """Whether these options, as `ssh -G` prints them, accept a key that is not known."""
    found = (line.lower().split() for line in options.splitlines())
    return any(words[:1] == ["stricthostkeychecking"] and words[1:] in (["no"], ["off"], ["false"]) for words in found)
