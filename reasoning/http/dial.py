"""New connections: names looked up once for all who ask, one address tried after the other."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Any

from reasoning.clock import Clock
from reasoning.http.connection import SPACE, Connection
from reasoning.http.replica import Replica

NO_FILES = (errno.EMFILE, errno.ENFILE)
"""What the system says when no more connections may be opened."""


class Dialer:
    """Connects to servers, for one event loop. `seconds` is how long one address is tried."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lookups: dict[str, asyncio.Future[Any]] = {}
        self._tls: ssl.SSLContext | None = None
        self._space = memoryview(bytearray(SPACE))

    async def connect(self, replica: Replica) -> Connection:
        """A new connection to the first address that takes one. Raises OSError."""
        loop = asyncio.get_running_loop()
        if not replica.addresses:
            replica.addresses = await self._look_up(replica.host, replica.port)
        tls: dict[str, Any] = {}
        if replica.tls:
            self._tls = self._tls or ssl.create_default_context()
            tls = {"ssl": self._tls, "server_hostname": replica.host}
        problem: OSError | None = None
        for address in list(replica.addresses):
            try:
                async with asyncio.timeout(self._seconds):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self._clock.now, self._space),
                        address,
                        replica.port,
                        **tls,
                    )
            except OSError as error:
                problem = problem or error
                if error.errno in NO_FILES:
                    raise
                continue
            if replica.addresses and replica.addresses[0] != address:
                replica.addresses = [address, *(a for a in replica.addresses if a != address)]
            return connection
        if not replica.pinned:
            replica.addresses = []  # look the name up anew
        raise problem or OSError(f"the name {replica.host!r} has no address")

    async def _look_up(self, host: str, port: int) -> list[str]:
        """The addresses of a host. One look-up at a time serves all who ask."""
        pending = self._lookups.get(host)
        if pending is None:
            loop = asyncio.get_running_loop()
            pending = loop.run_in_executor(
                None, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
            self._lookups[host] = pending
            pending.add_done_callback(lambda _: self._lookups.pop(host, None))
        found = await asyncio.shield(pending)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))
