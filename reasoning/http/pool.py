"""All connections to one or several servers: who gets a call, when, and what to do if one is gone.

Every server gets a window of calls at once; the others wait in line, first come first served. A
server that refuses a call for now (429, 502, 503, 529) gets no more at once than it holds at that
moment, and none before the time it asked for; the window opens again with every call it takes. A
server that refuses while it holds no call, or cannot be reached, is left alone for a while and
tried again with a single call. What was refused goes back into the line.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reasoning.clock import Clock, Handle
from reasoning.errors import EngineError, RecipeError, TransientError
from reasoning.http import keys
from reasoning.http.admission import Limits
from reasoning.http.connection import Connection, Reply
from reasoning.http.dial import NO_FILES, Dialer
from reasoning.http.refusal import BUSY, ONE_AT_A_TIME, is_busy, refusal, retry_after
from reasoning.http.replica import Replica, parsed
from reasoning.http.rounds import Rounds

_SPILL = 16
"""A server may have so many calls more than the least loaded one before siblings go elsewhere."""
_HOMES = 100_000
"""Paths whose server is remembered."""
_DIAL_SECONDS = 10.0
"""How long each address of a server is tried."""


class Pool:
    """Calls to servers that speak HTTP and JSON, for one event loop; closed with the loop.

    urls: base URLs, such as http://localhost:8000/v1.
    limits: how many calls, and how long for.
    connections_made, requests_sent: counters.

    Raises RecipeError for a `key` that no header can hold, or that nobody has agreed to send.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        key: str | None = None,
        limits: Limits | None = None,
        clock: Clock,
    ) -> None:
        if key:
            if not (key.isascii() and key.isprintable()):
                raise RecipeError(
                    "the API key holds a line break or another character that HTTP does not carry; "
                    "set the environment variable that api_key_env names to the key alone"
                )
            for url in urls:
                keys.refuse_to_send(url)
            keys.keep(key)
        self.limits = limits or Limits()
        self.replicas = [Replica(url, self.limits.max_in_flight) for url in urls]
        self.connections_made = 0
        self.requests_sent = 0
        self._key = key
        self._dialer = Dialer(_DIAL_SECONDS, clock)
        self._clock = clock
        self._met = False
        self._closed = False
        self._line: deque[tuple[asyncio.Future[Replica], Sequence[int]]] = deque()
        self._homes: dict[int, Replica] = {}
        self._live: set[Connection] = set()
        self._rounds = Rounds(self._live, clock)
        self._alarm: Handle | None = None
        self._guard: Handle | None = None
        self._life: AsyncGenerator[None, None] | None = None

    async def post(
        self, path: str, body: Mapping[str, Any], *, affinity: Sequence[int] = ()
    ) -> Any:
        """The parsed JSON that answers `body`.

        A `path` that begins with "/" is taken from where the base URL's /v1 is, else from there.
        Raises TransientError (also if it alone is turned away for longer than `patience`),
        GenerationError (refused for good) and EngineError (nobody has taken a call for as long).
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
        headers: bytes = b"",
        ended: Callable[[], bool] | None = None,
    ) -> Reply:
        """Send `body` (None: GET) to a server and fill `reply`. Raises as `post` does.

        `affinity` names the prefixes of the call, longest first; the server that has seen one
        gets the call unless others are much less loaded. `becomes` names what comes of it, a
        prefix of later calls. `headers` are further lines, each with its end. `ended` tells of a
        whole answer whether it is one; a server that broke it off for the sake of another call
        gets fewer at once from then on, and the call raises TransientError. Leaving early,
        cancelled or not, closes the connection, so that the server stops.
        """
        if self._life is None:
            await self._begin()
        payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        turned_away: float | None = None
        while True:
            replica = await self._enter(affinity)
            try:
                head = replica.head(path, body is None, len(payload), self._key, headers)
                if not await self._carried(replica, head + payload, reply):
                    continue
                if not is_busy(reply):
                    if ended is not None and reply.status < 300 and not ended():
                        self._broken_off(replica)
                    if becomes is not None and len(self.replicas) > 1:
                        self._homes[becomes] = replica
                    break
                now = self._clock.now()
                turned_away = now if turned_away is None else turned_away
                self._turned_away(replica, reply, now, hash(payload))
                if not self._met or now - turned_away >= self.limits.patience:
                    break
                reply.clear()
            finally:
                replica.busy -= 1
                if self._line:
                    self._serve()
        if reply.status >= 300:
            raise refusal(replica.url, reply)
        return reply

    def close(self) -> None:
        """Close every connection for good; calls in flight and in line fail with EngineError."""
        self._closed = True
        for handle in (self._alarm, self._guard):
            if handle is not None:
                handle.cancel()
        self._dismiss(_closed())
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

    async def _carried(self, replica: Replica, request: bytes, reply: Reply) -> bool:
        """Whether the server answered; if not, the call has to look for another one."""
        fresh = False
        while True:
            connection = await self._connection(replica, fresh=fresh)
            if connection is None:
                return False
            again = connection.used
            self._live.add(connection)
            if self._guard is None:
                self._guard = self._clock.call_later(self.limits.timeout / 4, self._watch)
            self.requests_sent += 1
            replica.sent += 1
            try:
                connection.send(request, reply)
                await reply.finished
            except TimeoutError as error:
                raise TransientError(f"{replica.url} {error}") from error
            except ConnectionError as error:
                if self._closed:
                    raise _closed() from error
                if again and not reply.status:
                    # The server closed an idle connection just when we used it.
                    reply.clear()
                    fresh = True
                    continue
                raise TransientError(f"{replica.url}: {error}") from error
            finally:
                self._live.discard(connection)
                if reply.whole and connection.usable:
                    replica.idle.append(connection)
                else:
                    connection.close()
            return True

    async def _connection(self, replica: Replica, *, fresh: bool) -> Connection | None:
        """An idle connection, unless `fresh`, or a new one; None if no server can be reached."""
        while replica.idle and not fresh:
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
        if self._closed:
            connection.close()
            raise _closed()
        self.connections_made += 1
        connection.begun = partial(self._begun, replica)
        connection.rounds = self._rounds
        if replica.failures and not replica.refusing:
            replica.takes_calls()
            self._serve()
        return connection

    # Who gets a call, and when.

    async def _enter(self, affinity: Sequence[int]) -> Replica:
        """Wait for a server that has room; the caller counts among its busy ones."""
        if self._closed:
            raise _closed()
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

    def _begun(self, replica: Replica, status: int) -> None:
        """A server has begun to answer: unless it refuses, it takes calls."""
        if status in BUSY or status == 500:  # 500: what it says is not known yet
            return
        self._met = True
        if replica.failures:
            replica.takes_calls()
        elif replica.window >= replica.most:
            return
        replica.open_up()
        if self._line:
            self._serve()

    def _turned_away(self, replica: Replica, reply: Reply, now: float, call: int) -> None:
        """A server refuses a call for now; it is left the others that it holds.

        Raises EngineError if no call at all has been taken for too long: one alone may be at fault.
        """
        held = replica.busy - 1
        replica.window = float(max(1, min(held, int(replica.window))))
        replica.crowded = held > 0
        asked = retry_after(reply)
        if not held:
            replica.leave_alone(now, refusing=True)
            replica.refused.add(call)
            if asked:
                replica.paused = now
            outage = self._outage(now)
            several = self._line or len(set().union(*(r.refused for r in self.replicas))) > 1
            if self._met and several and outage >= self.limits.patience:
                gone = EngineError(
                    f"no server has taken a call for {outage:.0f} s "
                    f"({refusal(replica.url, reply)}). What was finished is stored; the same "
                    "command continues"
                )
                self._dismiss(gone)
                raise gone
        if asked:
            replica.paused = max(replica.paused, now + min(asked, self.limits.patience))

    def _broken_off(self, replica: Replica) -> None:
        """A server has ended an answer properly, but without its end. Raises TransientError.

        If it holds other calls, one of them was the reason: it is given fewer for good.
        """
        if replica.busy < 2:
            raise TransientError(f"{replica.url}: the answer ended in the middle")
        replica.most = max(1, min(replica.most, replica.busy) // 2)
        replica.window = min(replica.window, float(replica.most))
        replica.breaks = True
        raise TransientError(
            f"{replica.url} ended an answer in the middle when another call came; it gets "
            f"{replica.most} at once from now on ({ONE_AT_A_TIME})"
        )

    def _unreachable(self, replica: Replica, error: OSError) -> None:
        """Leave the server alone for a while. Raises EngineError if there is no hope."""
        now = self._clock.now()
        if replica.failures and now < replica.paused:
            return  # an attempt begun before we knew
        replica.leave_alone(now, refusing=False)
        reachable = any(not other.failures or other.refusing for other in self.replicas)
        if reachable or (self._met and self._outage(now) <= self.limits.patience):
            return
        why = f"{replica.url}: {error.strerror or error or type(error).__name__}"
        urls = ", ".join(r.url for r in self.replicas)
        gone = EngineError(
            f"no server can be reached ({why}); see that one runs at {urls}. "
            "What was finished is stored; the same command continues"
        )
        self._dismiss(gone)
        raise gone

    def _outage(self, now: float) -> float:
        """Seconds for which no server has taken a call."""
        return now - max(other.gone if other.failures else now for other in self.replicas)

    def _dismiss(self, error: EngineError) -> None:
        """Fail all calls in line."""
        while self._line:
            future, _ = self._line.popleft()
            if not future.done():
                future.set_exception(error)

    def _watch(self) -> None:
        """Give up calls whose server has fallen silent."""
        self._guard = None
        now = self._clock.now()
        for connection in list(self._live):
            if now - connection.heard >= self.limits.timeout:
                connection.fail(TimeoutError(f"was silent for {self.limits.timeout:g} s"))
        if self._live:
            self._guard = self._clock.call_later(self.limits.timeout / 4, self._watch)


def _closed() -> EngineError:
    return EngineError("the connection pool was closed")


async def _closing(pool: Pool) -> AsyncGenerator[None, None]:
    """Event loops close the generators they have met; this one closes `pool`."""
    try:
        yield
    finally:
        pool.close()
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn
