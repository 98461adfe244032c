"""Calls to one or several servers that speak HTTP: connections, and what becomes of each call.

Every server gets a window of calls at once; the others wait in line, first come first served. A
server that refuses a call for now (429, 502, 503, 529) gets no more at once than it holds at that
moment, and none before the time it asked for; the window opens again with every call it takes. A
server that refuses while it holds no call, or cannot be reached, is left alone for a while and
tried again with a single call. What was refused goes back into the line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from reasoning.clock import Clock, Handle
from reasoning.errors import EngineError, RecipeError, TransientError
from reasoning.http import keys
from reasoning.http.admission import Limits
from reasoning.http.connection import Connection, Reply
from reasoning.http.dial import NO_FILES, Dialer
from reasoning.http.fleet import Fleet
from reasoning.http.looking import Lookout
from reasoning.http.membership import Members
from reasoning.http.placing import Prefixes
from reasoning.http.reading import dumps
from reasoning.http.refusal import is_busy, refusal
from reasoning.http.replica import Replica, parsed
from reasoning.http.rounds import Rounds
from reasoning.http.sources import Source, source

_DIAL_SECONDS = 10.0
"""How long each address of a server is tried."""
_ASK_SECONDS = 10.0
"""How long a server may take to say what it serves, and how loaded it is."""


class Pool:
    """Calls to servers that speak HTTP and JSON, for one event loop; closed with the loop.

    urls: base URLs, such as http://localhost:8000/v1, or other sources of servers.
    limits: how many calls, and how long for.
    fleet: the servers, and how they stand.
    connections_made, requests_sent: counters.

    Raises RecipeError for a `key` that no header can hold, or that nobody has agreed to send.
    """

    def __init__(
        self,
        urls: Sequence[str | Source],
        *,
        key: str | None = None,
        limits: Limits | None = None,
        clock: Clock,
        dialer: Dialer | None = None,
    ) -> None:
        known = [source(url, "base_url") if isinstance(url, str) else url for url in urls]
        if key:
            if not (key.isascii() and key.isprintable()):
                raise RecipeError(
                    "the API key holds a line break or another character that HTTP does not carry; "
                    "set the environment variable that api_key_env names to the key alone"
                )
            for one in known:
                keys.refuse_to_send(one.name)
            keys.keep(key)
        self.limits = limits or Limits()
        self.fleet = Fleet(self.limits, clock)
        self.connections_made = 0
        self.requests_sent = 0
        self._members = Members(self.fleet, known, self._asked, clock)
        self._lookout = Lookout(self.fleet, self._members, self._asked, clock)
        self._key = key
        self._dialer = dialer or Dialer(_DIAL_SECONDS, clock)
        self._clock = clock
        self._closed = False
        self._live: set[Connection] = set()
        self._rounds = Rounds(self._live, clock)
        self._guard: Handle | None = None
        self._life: AsyncGenerator[None, None] | None = None

    @property
    def replicas(self) -> Sequence[Replica]:
        """The servers there are now."""
        return self.fleet.replicas

    @property
    def several(self) -> bool:
        """Whether there is a choice of servers, now or later."""
        return self._members.several

    @property
    def served(self) -> Mapping[str, int]:
        """Calls that each server has answered, where there are several."""
        return self.fleet.served if self.several else {}

    async def hurry(self) -> None:
        """Wait for no server that is not there yet. Raises EngineError if none is listed."""
        if self._life is None:
            await self._begin()
        self.fleet.patient = False
        if not self.replicas:
            raise EngineError("; ".join(self._members.faults.values()))

    async def expect(self, model: str) -> None:
        """Where there are several servers, call none that serves other models than this one.

        Raises EngineError if none can be reached.
        """
        if self._life is None:
            await self._begin()
        await self._members.expect(model)

    async def find_ranks(self) -> None:
        """Call the engines of vLLM servers under data parallelism one by one, if there are some."""
        if self._life is None:
            await self._begin()
        await self._lookout.find_ranks()

    async def post(self, path: str, body: Mapping[str, Any], *, affinity: Prefixes = ()) -> Any:
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
        affinity: Prefixes = (),
        becomes: Hashable | None = None,
        headers: bytes = b"",
        ended: Callable[[], bool] | None = None,
    ) -> Reply:
        """Send `body` (None: GET) to a server and fill `reply`. Raises as `post` does.

        `affinity` names the prefixes of the call, longest first, and last its tree; the server
        that has seen one gets the call unless others are much less loaded. `becomes` names what
        comes of it, a prefix of later calls. `headers` are further lines, each with its end.
        `ended` tells of a whole answer whether it is one; a server that broke it off for the sake
        of another call gets fewer at once from then on, and the call raises TransientError.
        Leaving early, cancelled or not, closes the connection, so that the server stops.
        """
        if self._life is None:
            await self._begin()
        payload = b"" if body is None else dumps(body)
        fleet, patience = self.fleet, self.limits.patience
        turned_away: float | None = None
        self._lookout.watch()
        fleet.calls += 1
        try:
            while True:
                if self._closed:
                    raise _closed()
                replica = await fleet.enter(affinity)
                begun = self._clock.now()
                try:
                    head = replica.head(path, body is None, len(payload), self._key, headers)
                    if not await self._carried(replica, head + payload, reply):
                        continue
                    if not is_busy(reply):
                        if reply.status < 300:
                            if ended is not None and not ended():
                                fleet.broken_off(replica, reply.before)
                            replica.taken += 1
                            replica.ended(self._clock.now() - begun, reply.size)
                        if becomes is not None:
                            fleet.places.made(becomes, replica)
                        break
                    now = self._clock.now()
                    turned_away = now if turned_away is None else turned_away
                    fleet.turned_away(replica, reply, hash(payload))
                    if not fleet.met or now - turned_away >= patience:
                        break
                    reply.clear()
                finally:
                    fleet.leave(replica)
        finally:
            fleet.calls -= 1
        if reply.status >= 300:
            raise refusal(replica.name, reply)
        return reply

    def close(self) -> None:
        """Close every connection for good; calls in flight and in line fail with EngineError."""
        self._closed = True
        self._lookout.close()
        self.fleet.close()
        if self._guard is not None:
            self._guard.cancel()
        self.fleet.dismiss(_closed())
        for connection in [*self._live, *(c for r in self.replicas for c in r.idle)]:
            connection.fail(ConnectionError("the connection pool was closed"))
        self._live.clear()
        for replica in self.replicas:
            replica.idle.clear()

    async def _begin(self) -> None:
        """See that the event loop closes the connections when it ends, and where servers are."""
        self._life = _closing(self)
        await anext(self._life)
        if self._members.changes:
            await self._members.read()

    async def _asked(self, replica: Replica, path: str) -> Reply | None:
        """What a server has at `path`, whatever its window; None if it does not answer."""
        reply = Reply()
        head = replica.head(path, True, 0, self._key, b"")
        with suppress(TransientError, TimeoutError):
            async with asyncio.timeout(_ASK_SECONDS):
                if await self._carried(replica, head, reply, call=False):
                    return reply
        return None

    # One call on one server.

    async def _carried(
        self, replica: Replica, request: bytes, reply: Reply, *, call: bool = True
    ) -> bool:
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
            connection.begun = partial(self.fleet.begun, replica, replica.cuts) if call else None
            try:
                connection.send(request, reply)
                await reply.finished
            except TimeoutError as error:
                self.fleet.broke(replica)
                raise TransientError(f"{replica.name} {error}") from error
            except ConnectionError as error:
                if self._closed:
                    raise _closed() from error
                if again and not reply.status:
                    # The server closed an idle connection just when we used it.
                    reply.clear()
                    fresh = True
                    continue
                self.fleet.broke(replica)
                raise TransientError(f"{replica.name}: {error}") from error
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
                replica.holds_at_most(replica.busy - 1)
            else:
                self.fleet.unreachable(replica, error)
            return None
        if self._closed:
            connection.close()
            raise _closed()
        self.connections_made += 1
        connection.rounds = self._rounds
        self.fleet.connected(replica)
        return connection

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
