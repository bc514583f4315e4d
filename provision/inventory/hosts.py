"""How a machine that already runs is written: `user@host:port`, IPv6 in brackets where a port follows."""

from __future__ import annotations

import ipaddress
import re

from provision.driver import HostEntry
from provision.inventory.values import HOSTNAME, InvalidValueError

_FORMS = "write 'host', 'user@host', 'user@host:port' or '[2001:db8::1]:22'"


def parse_host(text: str) -> HostEntry:
    """The entry that the short form means. Raises `InvalidValueError`."""
    user, at, rest = text.strip().rpartition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.\\-]*\$?", user):
        raise InvalidValueError(f"{user!r} is not a user's name", hint=_FORMS)
    address, port = _split_port(rest)
    return HostEntry(address=check_address(address), user=user or None, port=port)


def format_host(entry: HostEntry) -> str:
    """The short form; holds address, user and port only."""
    address = f"[{entry.address}]" if entry.port and ":" in entry.address else entry.address
    user = f"{entry.user}@" if entry.user else ""
    port = f":{entry.port}" if entry.port else ""
    return f"{user}{address}{port}"


def check_address(text: str) -> str:
    """An IP address or a host's name, as given. Raises `InvalidValueError`."""
    if _is_ip(text):
        return text
    # All digits and dots is an address with a slip in it, never a name that resolves.
    if re.fullmatch(r"[0-9.]+", text) or ":" in text:
        raise InvalidValueError(f"{text!r} is not an IP address", hint=_FORMS)
    if len(text) > 253 or not re.fullmatch(rf"{HOSTNAME}(\.{HOSTNAME})*\.?", text.replace("_", "-")):
        raise InvalidValueError(f"{text!r} is not an address or a host's name", hint=_FORMS)
    return text


def check_jump(text: str) -> str:
    """A jump host, or several with commas between, each in the short form."""
    for hop in text.split(","):
        parse_host(hop)
    return text


def same_address(one: str, other: str) -> bool:
    """Whether two spellings are one address: IPv6 in any form, names in any case."""
    return normal_address(one) == normal_address(other)


def normal_address(text: str) -> str:
    """The one spelling of an address that compares."""
    address, zone, scope = text.partition("%")
    if _is_ip(text):
        return str(ipaddress.ip_address(address)) + zone + scope
    return text.lower().rstrip(".")


def _split_port(text: str) -> tuple[str, int | None]:
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]+))?", text)
    if bracketed:
        address, port = bracketed.groups()
        if not _is_ip(address):
            raise InvalidValueError(f"{address!r} is not an IPv6 address", hint=_FORMS)
    elif text.count(":") == 1:
        address, port = text.split(":")
        if not port.isdecimal():
            raise InvalidValueError(f"{port!r} is not a port", hint=_FORMS)
    else:
        return text, None
    if port is None:
        return address, None
    if not 1 <= int(port) <= 65535:
        raise InvalidValueError(f"{port} is not a port", hint="a port is 1 to 65535")
    return address, int(port)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
