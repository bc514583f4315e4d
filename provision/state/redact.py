"""Keeping secrets out of what is written: known ones by value, the common kinds by their looks."""

from __future__ import annotations

import json
import re
import threading

MASK = "***"

_TOKEN = re.compile(r"\bSWM(?:TKN|KEY)-\d-[A-Za-z0-9+/=_-]+")
# a block may be cut off by the end of the text, and its line ends may be escaped
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_PEM_OPEN = re.compile(r"-----BEGIN [A-Z0-9 ]+-----(?!.*-----END )", re.DOTALL)
_PEM_BODY = re.compile(r"\s*(?:[A-Za-z0-9+/=]+|[A-Za-z-]+: \S.*|)\s*")
_PEM_END = re.compile(r"\s*-----END [A-Z0-9 ]+-----\s*")


def holds_secret(text: str) -> bool:
    """Whether a swarm token, an unlock key or a private key is in the text."""
    return bool(_TOKEN.search(text) or _PRIVATE.search(text))


class Redactor:
    """Replaces secrets in text by `***`. Threads may share one; secrets are added as they become known.

    Every PEM block, Swarm join token and unlock key goes without being added.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._secrets: tuple[str, ...] = ()
        self._inside: frozenset[str] = frozenset()

    def add(self, *secrets: str) -> None:
        """Hide these from now on, also as JSON writes them, and each line of those that have several."""
        forms = {form for secret in secrets for form in _forms(secret)}
        with self._guard:
            # longest first: of two secrets, one within the other, no rest shall stay
            self._secrets = tuple(sorted(forms.union(self._secrets), key=len, reverse=True))

    def __call__(self, text: str, *, source: str | None = None) -> str:
        """The text without secrets.

        `source` names a stream that arrives line by line; a PEM block that spans several calls of one source
        is hidden as a whole.
        """
        if source is not None and source in self._inside:
            text = self._rest_of_block(text, source)
        elif source is not None and _PEM_OPEN.search(text):
            with self._guard:
                self._inside |= {source}
        text = _PEM.sub(MASK, text)
        text = _TOKEN.sub(MASK, text)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def _rest_of_block(self, text: str, source: str) -> str:
        lines = text.splitlines()
        hidden = 0
        for line in lines:
            ends = bool(_PEM_END.fullmatch(line))
            # what cannot be part of a block ends one that was cut off, so that the rest of a log is not lost;
            # a line that is hidden already, by another reader of the same stream, ends nothing
            if ends or not (_PEM_BODY.fullmatch(line) or line.strip() == MASK):
                with self._guard:
                    self._inside -= {source}
                hidden += ends
                break
            hidden += 1
        return "\n".join([MASK, *lines[hidden:]] if hidden else lines)


def _forms(secret: str) -> set[str]:
    whole = {secret, secret.strip(), json.dumps(secret)[1:-1]}
    # short lines of a longer text (a brace, a blank) are no secrets by themselves
    lines = {line.strip() for line in secret.splitlines() if len(line.strip()) >= 8}
    return {form for form in whole | lines if form.strip()}
