"""The user's own user data, laid over ours. Pure.

A `#cloud-config` is merged by key: mappings key by key, lists one after the other (ours first), anything else is the
user's; null takes a key away. An entry of `users:` for the login user is merged into ours. A script becomes a part of
its own beside our cloud-config, and cloud-init runs it at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import yaml

#: what makes the machine the one that was planned, and the login that provision itself uses
_OURS = ("hostname", "fqdn", "preserve_hostname", "ssh_keys", "ssh_deletekeys", "ssh_genkeytypes", "disable_root")
_CONFIG = "#cloud-config"
#: how the other kinds begin, and what they are called in a multipart message
_PARTS = {"#!": "x-shellscript", "#cloud-boothook": "cloud-boothook"}


class UserDataError(ValueError):
    """The user's data cannot be used: a summary, and a hint."""

    def __init__(self, summary: str, hint: str) -> None:
        super().__init__(summary)
        self.hint = hint


def combine(own: str, theirs: str | None, *, login: str) -> str:
    """User data from our cloud-config and the user's own text, if there is one. `login`: the user that we log in as.

    Raises UserDataError.
    """
    config: dict[str, Any] = yaml.safe_load(own)
    text = (theirs or "").lstrip()
    if not text:
        return _dumped(config)
    if text.split(None, 1)[0] == _CONFIG:
        return _dumped(merged(config, _parsed(text), login=login))
    for start, kind in _PARTS.items():
        if text.startswith(start):
            return _multipart(_dumped(config), text, kind)
    raise UserDataError(
        f"`user_data` begins with {text.splitlines()[0][:40]!r}, and is neither a cloud-config nor a script",
        f"begin it with `{_CONFIG}`, or with `#!/bin/sh`",
    )


def merged(own: Mapping[str, Any], theirs: Mapping[str, Any], *, login: str) -> dict[str, Any]:
    """Their cloud-config over ours. Raises UserDataError for a key that is not theirs to set."""
    for key in _OURS:
        if key in theirs and theirs[key] != own.get(key):
            raise UserDataError(
                f"`user_data` sets {key!r}, which provision decides for each machine",
                f"take {key!r} out of it",
            )
    users = theirs.get("users")
    if users is not None:
        _check_list("users", users)
        entries, others = _split(users, login)
        account = own["users"][0]
        for entry in entries:
            _check_login(account, entry, login)
            account = _laid(account, entry)
        own = {**own, "users": [account]}
        theirs = {**theirs, "users": others}
    return _laid(own, theirs)


def _laid(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(own)
    for key, value in theirs.items():
        below = result.get(key)
        if isinstance(below, list):
            if value is not None:
                _check_list(key, value)
                result[key] = [*below, *value]
        elif value is None:
            result.pop(key, None)
        elif isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = _laid(below, value)
        else:
            result[key] = value
    return result


def _split(users: Sequence[Any], login: str) -> tuple[list[Mapping[str, Any]], list[Any]]:
    """The entries that are about the login user, and the others."""
    entries = [user for user in users if isinstance(user, Mapping) and user.get("name") == login]
    return entries, [user for user in users if user not in entries and user != login]


def _check_login(account: Mapping[str, Any], entry: Mapping[str, Any], login: str) -> None:
    if "sudo" in account and entry.get("sudo", account["sudo"]) != account["sudo"]:
        raise UserDataError(
            f"`user_data` sets 'sudo' of user {login!r}, as which provision logs in",
            f"take 'sudo' out of {login!r}: it needs all rights without a password",
        )


def _check_list(key: str, value: object) -> None:
    if not isinstance(value, list):
        raise UserDataError(
            f"{key!r} of `user_data` is not a list", f"write {key!r} as a list: provision adds entries of its own"
        )


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as wrong:
        # the library's own text quotes the line, which may hold a secret
        mark = wrong.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise UserDataError(f"`user_data` is not valid YAML: {wrong.problem}{place}", "mend it there") from wrong
    except (yaml.YAMLError, ValueError) as wrong:  # a date that there is none is a ValueError
        raise UserDataError(
            "`user_data` is not valid YAML", "is there a date or a character that cannot be?"
        ) from wrong
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserDataError("`user_data` is no mapping", f"write `key: value` lines below `{_CONFIG}`")
    return found


def _multipart(config: str, text: str, kind: str) -> str:
    """Both as they are, ours first. The same input gives the same text."""
    boundary = "provision-" + hashlib.sha256((config + text).encode()).hexdigest()[:32]
    message = MIMEMultipart("mixed", boundary=boundary)
    for subtype, content in (("cloud-config", config), (kind, text)):
        message.attach(MIMEText(content, subtype, "us-ascii" if content.isascii() else "utf-8"))
    return message.as_string()


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _dumped(config: Mapping[str, Any]) -> str:
    body = yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
    return f"{_CONFIG}\n{body}"
