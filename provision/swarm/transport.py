"""The docker SDK over channels of one SSH connection, each kept alive.

Why not the SDK's own `ssh://`: it opens an SSH connection of its own with its own idea of host keys, shells
out or not, knows no sudo, asks for the API version first, and creates a pipe per call to see whether a
channel still lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import docker
import requests
import requests.adapters
import urllib3
import urllib3.connection

from provision.swarm.channel import ChannelSocket, OpenChannel

#: Channels that one client opens at most: sshd allows ten sessions a connection, and others want some.
MAX_CHANNELS = 4
#: Seconds in which an ordinary call must show a byte of its answer.
CALL_TIMEOUT = 60.0
#: Uploads go in blocks of this size; urllib3's own 16 KiB halves the speed of a big one.
BLOCK_SIZE = 256 * 1024
_BASE_URL = "http+docker://engine"


def engine_client(
    open_channel: OpenChannel,
    api_version: str | None = None,
    *,
    timeout: float = CALL_TIMEOUT,
) -> docker.APIClient:
    """A docker client of the engine at the other end of the channels.

    No call is made here when the API version is known; None asks the engine for its own, which is one call.
    `timeout` is how many seconds the engine may be silent within
    one call. Closing the client closes its channels, not the connection under them. It may be used from
    several threads; beyond `MAX_CHANNELS` calls at once, they wait for one another. Nothing of this user's
    docker configuration (contexts, proxies) or environment changes where the calls go.
    """
    # the constructor takes no adapter, so it is built for an address that nothing is ever sent to
    client = docker.APIClient(base_url="http://127.0.0.1:1", version=api_version or "1.41", timeout=timeout)
    client.trust_env = False
    client._general_configs = {}
    client.adapters.clear()
    client.base_url = _BASE_URL
    client.mount("http+docker://", ChannelAdapter(open_channel))
    if api_version is None:
        client._version = client.version(api_version=False)["ApiVersion"]
    return client


class ChannelAdapter(requests.adapters.HTTPAdapter):
    """Sends every request through a pool of channels, whatever host its URL names."""

    def __init__(self, open_channel: OpenChannel) -> None:
        # before super().__init__, which makes the (unused) ordinary pool manager
        self._channels = ChannelPool(open_channel)
        super().__init__()

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,  # noqa: ARG002  (the signature is requests')
        verify: Any,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
        cert: Any = None,  # noqa: ARG002
    ) -> urllib3.HTTPConnectionPool:
        """The pool of channels."""
        return self._channels

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:  # noqa: ARG002
        """Only the path goes on the wire: there is no host and never a proxy."""
        return request.path_url

    def close(self) -> None:
        """Close every idle channel."""
        super().close()
        self._channels.close()


class ChannelPool(urllib3.HTTPConnectionPool):
    """At most `MAX_CHANNELS` channels; a caller who finds them busy waits for one."""

    def __init__(self, open_channel: OpenChannel) -> None:
        super().__init__("engine", maxsize=MAX_CHANNELS, block=True, retries=False)
        self._open_channel = open_channel

    def _new_conn(self) -> ChannelConnection:
        self.num_connections += 1
        return ChannelConnection(self._open_channel)


class ChannelConnection(urllib3.connection.HTTPConnection):
    """One HTTP connection, kept alive, to an engine through a channel."""

    def __init__(self, open_channel: OpenChannel) -> None:
        super().__init__("engine", blocksize=BLOCK_SIZE)
        self._open_channel = open_channel

    def connect(self) -> None:
        """Open a new channel."""
        channel = self._open_channel()
        seconds = self.timeout
        channel.settimeout(seconds if isinstance(seconds, (int, float)) else CALL_TIMEOUT)
        # a look-alike of a socket, as far as http.client goes
        self.sock: Any = ChannelSocket(channel)

    @property
    def is_connected(self) -> bool:
        """Whether the channel is open, from what paramiko already knows.

        urllib3 would ask select(), for which paramiko makes a pipe per channel.
        """
        return self.sock is not None and bool(self.sock.usable)
