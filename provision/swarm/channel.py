"""A byte channel to a machine's engine, made to look like the socket that an HTTP client expects."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: How much of a failed command's stderr is worth showing.
STDERR_BYTES = 4096


class Channel(Protocol):
    """What is used of a `paramiko.Channel` on which a command runs; any look-alike will do.

    `recv` and `sendall` raise `TimeoutError` after the seconds given to `settimeout`; `recv` returns b"" at
    the end.
    """

    @property
    def closed(self) -> bool:
        """Whether either side has closed the channel."""
        ...

    @property
    def eof_received(self) -> bool:
        """Whether the command has closed its output."""
        ...

    def settimeout(self, timeout: float | None) -> None:
        """Seconds that a read or write may block; None blocks for ever."""
        ...

    def sendall(self, s: bytes) -> object:
        """Send everything to the command's stdin."""
        ...

    def recv(self, nbytes: int) -> bytes:
        """Up to that many bytes of the command's stdout."""
        ...

    def recv_stderr_ready(self) -> bool:
        """Whether `recv_stderr` would return at once."""
        ...

    def recv_stderr(self, nbytes: int) -> bytes:
        """Up to that many bytes of the command's stderr."""
        ...

    def close(self) -> None:
        """Close both directions; the command sees its stdin end."""
        ...


#: Opens a channel to the machine's engine.
OpenChannel: TypeAlias = Callable[[], Channel]


class DialError(OSError):
    """The command that connects to the engine ended before the engine said anything; carries its stderr."""


class ChannelSocket:
    """The part of a socket's behaviour that `http.client` uses, over a channel.

    As with a real socket, closing it while a response is still being read takes effect when that response is
    done: `http.client` closes early on every answer that says `Connection: close`.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._readers = 0
        self._closing = False
        self._answered = False

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: nobody has closed it, as far as we have heard."""
        return not (self._closing or self._channel.closed or self._channel.eof_received)

    def settimeout(self, timeout: float | None) -> None:
        """Seconds that one read or write may block."""
        self._channel.settimeout(timeout)

    def sendall(self, data: Buffer) -> None:
        """Send it all; `BrokenPipeError` when the other side is gone, which may have answered already."""
        try:
            self._channel.sendall(bytes(data))
        except TimeoutError:
            raise
        except OSError as exc:
            raise BrokenPipeError(32, f"the channel is closed: {exc}") from exc

    def makefile(self, mode: str = "rb", buffering: int | None = None) -> io.BufferedReader:
        """A buffered reader of the incoming bytes; only reading is offered."""
        if mode != "rb":
            raise ValueError(f"a channel is not opened as {mode!r}")
        self._readers += 1
        size = io.DEFAULT_BUFFER_SIZE if not buffering or buffering < 1 else buffering
        return io.BufferedReader(_Reader(self), size)

    def close(self) -> None:
        """Close the channel, once nobody reads from it any more."""
        self._closing = True
        if self._readers == 0:
            self._channel.close()

    def receive(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end. An end before the first byte ever is a `DialError`."""
        data = self._channel.recv(size)
        if data:
            self._answered = True
        elif not self._answered:
            raise DialError(self._stderr() or "the connection ended without an answer")
        return data

    def release(self) -> None:
        """A reader is done."""
        self._readers -= 1
        if self._closing and self._readers == 0:
            self._channel.close()

    def _stderr(self) -> str:
        # sshd sends the end of stdout only after all of stderr, so what is here now is all there is
        data = b""
        while len(data) < STDERR_BYTES and self._channel.recv_stderr_ready():
            more = self._channel.recv_stderr(STDERR_BYTES)
            if not more:
                break
            data += more
        return " ".join(data.decode(errors="replace").split())


class _Reader(io.RawIOBase):
    def __init__(self, sock: ChannelSocket) -> None:
        super().__init__()
        self._socket = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._socket.receive(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._socket.release()
        super().close()
