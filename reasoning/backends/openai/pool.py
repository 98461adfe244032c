"""All connections to one or several servers: who gets a call, when, and what to do if one is gone.

Every server gets a window of calls at once; the others wait in line, first come first served. A
server that refuses a call (429, 503) gets no more at once than it holds at that moment, and none
before the time it asked for; the window opens again with every answer. A server that cannot be
reached is left alone for a while and tried again with a single call.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NoReturn

from reasoning.backends.openai.connection import Connection, Reply
from reasoning.backends.openai.dial import NO_FILES, Dialer
from reasoning.backends.openai.replica import Replica, message, parsed, retry_after
from reasoning.clock import Clock, Handle
from reasoning.errors import EngineError, GenerationError, RecipeError, TransientError
from reasoning.seeds import fold

_BUSY = (429, 503, 529)
_TRANSIENT = (408, 409, 425)
_SPILL = 16
"""A server may have so many calls more than the least loaded one before siblings go elsewhere."""
_HOMES = 100_000
"""Paths whose server is remembered."""


class Pool:
    """Calls to servers that speak HTTP and JSON, for one event loop; closed with the loop.

    urls: base URLs, such as http://localhost:8000/v1.
    window: calls in flight at each server, at most; one connection each.
    silence: seconds without a byte after which a call is given up.
    patience: seconds to wait for any server once none can be reached.
    connections_made, requests_sent: counters.

    Raises RecipeError for a `key` that no header can hold.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        key: str | None = None,
        window: int = 512,
        silence: float = 600.0,
        connect: float = 10.0,
        patience: float = 300.0,
        clock: Clock,
    ) -> None:
        if key and not (key.isascii() and key.isprintable()):
            raise RecipeError(
                "the API key holds a line break or another character that HTTP does not carry; "
                "set the environment variable that api_key_env names to the key alone"
            )
        self.replicas = [Replica(url, window) for url in urls]
        self.connections_made = 0
        self.requests_sent = 0
        self._key = key
        self._silence = silence
        self._dialer = Dialer(connect, clock)
        self._patience = patience
        self._clock = clock
        self._met = False
        self._line: deque[tuple[asyncio.Future[Replica], Sequence[int]]] = deque()
        self._homes: dict[int, Replica] = {}
        self._live: set[Connection] = set()
        self._alarm: Handle | None = None
        self._guard: Handle | None = None
        self._life: AsyncGenerator[None, None] | None = None

    async def post(
        self, path: str, body: Mapping[str, Any], *, affinity: Sequence[int] = ()
    ) -> Any:
        """The parsed JSON that answers `body`.

        A `path` that begins with "/" is taken from where the base URL's /v1 is, else from there.
        Raises TransientError, GenerationError (refused for good) and EngineError.
        """
        reply = await self.exchange(path, body, Reply(), affinity=affinity)
        return parsed(reply)

    async def get(self, path: str) -> Any:
        """The parsed JSON found there. Raises as `post` does."""
        return parsed(await self.exchange(path, None, Reply()))

    async def exchange(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        reply: Reply,
        *,
        affinity: Sequence[int] = (),
        becomes: int | None = None,
    ) -> Reply:
        """Send `body` (None: GET) to a server and fill `reply`. Raises as `post` does.

        `affinity` names the prefixes of the call, longest first; the server that has seen one
        gets the call unless others are much less loaded. `becomes` names what comes of it, a
        prefix of later calls. Leaving early, cancelled or not, closes the connection, so that the
        server stops.
        """
        if self._life is None:
            await self._begin()
        payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        while True:
            replica = await self._enter(affinity)
            try:
                if await self._carried(replica, path, body is None, payload, reply):
                    if becomes is not None and len(self.replicas) > 1:
                        self._homes[becomes] = replica
                    break
            finally:
                replica.busy -= 1
                if self._line:
                    self._serve()
        if reply.status >= 300:
            self._refused(replica, reply)
        return reply

    def close(self) -> None:
        """Close every connection; calls in flight fail."""
        for handle in (self._alarm, self._guard):
            if handle is not None:
                handle.cancel()
        gone = EngineError("the connection pool was closed")
        while self._line:
            future, _ = self._line.popleft()
            if not future.done():
                future.set_exception(gone)
        for connection in [*self._live, *(c for r in self.replicas for c in r.idle)]:
            connection.fail(ConnectionError("the connection pool was closed"))
        self._live.clear()
        for replica in self.replicas:
            replica.idle.clear()

    async def _begin(self) -> None:
        """See that the event loop closes the connections when it ends."""
        self._life = _closing(self)
        await anext(self._life)

    # One call on one server.

    async def _carried(
        self, replica: Replica, path: str, get: bool, payload: bytes, reply: Reply
    ) -> bool:
        """Whether the server answered; if not, the call has to look for another one."""
        while True:
            connection = await self._connection(replica)
            if connection is None:
                return False
            again = connection.used
            self._live.add(connection)
            if self._guard is None:
                self._guard = self._clock.call_later(self._silence / 4, self._watch)
            self.requests_sent += 1
            replica.sent += 1
            try:
                connection.send(replica.head(path, get, len(payload), self._key) + payload, reply)
                await reply.finished
            except TimeoutError as error:
                raise TransientError(f"{replica.url} {error}") from error
            except ConnectionError as error:
                if again and not reply.status and not self._closed():
                    # The server closed an idle connection just when we used it.
                    reply.finished = asyncio.get_running_loop().create_future()
                    continue
                raise TransientError(f"{replica.url}: {error}") from error
            finally:
                self._live.discard(connection)
                if reply.whole and connection.usable:
                    replica.idle.append(connection)
                else:
                    connection.close()
            self._answered(replica, reply)
            return True

    def _closed(self) -> bool:
        return asyncio.get_running_loop().is_closed()

    async def _connection(self, replica: Replica) -> Connection | None:
        """An idle connection, else a new one; None if the server cannot be reached."""
        while replica.idle:
            connection = replica.idle.pop()
            if connection.usable:
                return connection
        try:
            connection = await self._dialer.connect(replica)
        except OSError as error:
            if error.errno in NO_FILES and replica.busy > 1:
                # No more files may be opened: the calls in flight must do.
                replica.most = replica.busy - 1
                replica.window = float(replica.most)
            else:
                self._unreachable(replica, error)
            return None
        self.connections_made += 1
        if replica.failures:
            replica.failures, replica.paused = 0, 0.0
            self._serve()
        return connection

    # Who gets a call, and when.

    async def _enter(self, affinity: Sequence[int]) -> Replica:
        """Wait for a server that has room; the caller counts among its busy ones."""
        if not self._line and (replica := self._choose(affinity)):
            replica.busy += 1
            return replica
        future: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        self._line.append((future, affinity))
        self._serve()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                future.result().busy -= 1
                self._serve()
            raise

    def _serve(self) -> None:
        """Give calls in line to servers with room."""
        while self._line:
            future, affinity = self._line[0]
            if future.done():
                self._line.popleft()
                continue
            replica = self._choose(affinity)
            if replica is None:
                self._wake_up()
                return
            self._line.popleft()
            replica.busy += 1
            future.set_result(replica)

    def _wake_up(self) -> None:
        """Look again when the first of the paused servers may be tried."""
        now = self._clock.now()
        paused = [r.paused for r in self.replicas if r.paused > now]
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if paused:
            self._alarm = self._clock.call_later(min(paused) - now, self._serve)

    def _choose(self, affinity: Sequence[int]) -> Replica | None:
        now = self._clock.now()
        if len(self.replicas) == 1:
            replica = self.replicas[0]
            return replica if replica.room(now) else None
        ready = [replica for replica in self.replicas if replica.room(now)]
        if not ready:
            return None
        chosen = least = min(ready, key=lambda replica: (replica.busy, replica.sent))
        for key in affinity:
            home = self._homes.get(key)
            if home is not None:
                if home in ready and home.busy <= least.busy + _SPILL:
                    chosen = home
                break
        if len(self._homes) > _HOMES:
            self._homes.clear()
        if affinity:
            self._homes.setdefault(affinity[0], chosen)
        return chosen

    # How servers fare.

    def _answered(self, replica: Replica, reply: Reply) -> None:
        self._met = True
        if reply.status in _BUSY:
            replica.window = float(max(1, min(replica.busy - 1, int(replica.window))))
            if wait := retry_after(reply):
                replica.paused = max(replica.paused, self._clock.now() + min(wait, self._patience))
        elif replica.window < replica.most:
            replica.window = min(replica.most, replica.window + 1 / replica.window)

    def _refused(self, replica: Replica, reply: Reply) -> NoReturn:
        status = reply.status
        said = f"{replica.url} answered {status}: {self._hidden(message(reply))}"
        if (status >= 500 and status != 501) or status in (*_BUSY, *_TRANSIENT):
            raise TransientError(said, retry_after=retry_after(reply))
        if status in (401, 403):
            raise EngineError(
                f"{said}; the key is read from the environment variable that api_key_env names"
            )
        raise GenerationError(said)

    def _unreachable(self, replica: Replica, error: OSError) -> None:
        """Leave the server alone for a while. Raises EngineError if there is no hope."""
        now = self._clock.now()
        if not replica.failures:
            replica.gone = now
        elif now < replica.paused:
            return  # an attempt begun before we knew
        replica.failures += 1
        u = fold(0, replica.url, replica.failures) / 2**63
        replica.paused = now + min(30.0, 0.5 * 2 ** min(10, replica.failures - 1)) * (1 - u / 2)
        outage = now - max(other.gone if other.failures else now for other in self.replicas)
        reachable = not all(other.failures for other in self.replicas)
        if reachable or (self._met and outage <= self._patience):
            return
        why = f"{replica.url}: {error.strerror or error or type(error).__name__}"
        urls = ", ".join(r.url for r in self.replicas)
        gone = EngineError(
            f"no server can be reached ({why}); see that one runs at {urls}. "
            "What was finished is stored; the same command continues"
        )
        while self._line:
            future, _ = self._line.popleft()
            if not future.done():
                future.set_exception(gone)
        raise gone

    def _watch(self) -> None:
        """Give up calls whose server has fallen silent."""
        self._guard = None
        now = self._clock.now()
        for connection in list(self._live):
            if now - connection.heard >= self._silence:
                connection.fail(TimeoutError(f"was silent for {self._silence:g} s"))
        if self._live:
            self._guard = self._clock.call_later(self._silence / 4, self._watch)

    def _hidden(self, message: str) -> str:
        return message.replace(self._key, "***") if self._key else message


async def _closing(pool: Pool) -> AsyncGenerator[None, None]:
    """Event loops close the generators they have met; this one closes `pool`."""
    try:
        yield
    finally:
        pool.close()
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn
