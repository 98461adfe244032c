"""Which server gets which call. No connections and no clock: the time is an argument.

A call goes where its longest known prefix was computed: siblings where their parent went, children
where their parent was made. A new tree goes to the least loaded server, and so does one whose
server is gone: with its first call, and the others of that tree follow it there. Nothing else
moves when servers come and go. A server may have so much more than the least loaded one before its
calls go there: the bound of consistent hashing with bounded loads (Mirrokni, Thorup and
Zadimoghaddam, 2016, arXiv:1608.01350), where a remembered place stands for the hashed one: one
client sees all of its calls, so it need not hash, and balances better than chance.

Where no server has room a call waits in the line of the one that it would go to, and counts among
its load. A server with room takes the next of its own line; rather than idle, one of another's.

No step looks at all servers: they are in a heap by load, of which outdated entries are dropped
when they come up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import TypeAlias

from reasoning.errors import EngineError
from reasoning.http.replica import Replica

SLACK, SPREAD = 16, 1.25
"""A server may have so many calls more than SPREAD times the least loaded one's."""
_HOMES, _EACH = 100_000, 512
"""Prefixes whose server is remembered, and so many for each server if that is more."""

Prefixes: TypeAlias = Sequence[Hashable]
"""What a call goes on from, the longest first; the last one stands for its whole tree."""
_Entry: TypeAlias = tuple[bool, float, int, int, int, Replica]


class Ticket:
    """A call in line. `turn` is given its server, `line` is whose line it is in."""

    __slots__ = ("line", "near", "turn")

    def __init__(self, near: Prefixes) -> None:
        self.near = near
        self.turn: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        self.line: Replica | None = None


class Places:
    """The servers, and the calls that wait for them."""

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self._heap: list[_Entry] = []
        self._homes: dict[Hashable, Replica] = {}
        self._lines: dict[Replica | None, deque[Ticket]] = {}
        self._numbers = count()

    @property
    def waiting(self) -> bool:
        """Whether calls are in line, though they may have been left."""
        return bool(self._lines)

    def add(self, replica: Replica, now: float) -> None:
        replica.number = next(self._numbers)
        self.replicas.append(replica)
        new = self.replicas if len(self.replicas) == 2 else [replica]  # there is a choice now
        for one in new:
            self.touch(one, now)

    def remove(self, replica: Replica) -> None:
        """It will not come back, and has no line any more."""
        self.replicas.remove(replica)
        replica.version += 1

    def touch(self, replica: Replica, now: float) -> None:
        """To be told whenever something about a server has changed."""
        replica.version += 1
        if len(self.replicas) == 1:  # there is no choice
            return
        if (room := replica.room(now)) or replica.usable:
            heappush(self._heap, self._entry(replica, room))
            if len(self._heap) > 4 * len(self.replicas) + 64:
                known = [(r, r.room(now)) for r in self.replicas]
                self._heap = [self._entry(r, room) for r, room in known if room or r.usable]
                heapify(self._heap)

    def _entry(self, replica: Replica, room: bool) -> _Entry:
        return not room, replica.load, replica.sent, replica.number, replica.version, replica

    def least(self, now: float) -> Replica | None:
        """The least loaded of the servers with room, else of all; of equals the least asked."""
        if len(self.replicas) == 1:
            (only,) = self.replicas
            return only if only.usable or only.room(now) else None
        while self._heap:
            entry = self._heap[0]
            if entry[4] == entry[5].version:
                return entry[5]
            heappop(self._heap)
        return None

    def choose(self, near: Prefixes, now: float) -> Replica | None:
        """Who is to have a call, at once or in line; None if there is nobody."""
        least = self.least(now)
        if least is None:
            return None
        home = self.home(near)
        if home is None:
            if near:
                self.made(near[-1], least)
        elif home.load <= SLACK + SPREAD * least.load and (home.room(now) or not least.room(now)):
            return home
        return least

    def home(self, near: Prefixes) -> Replica | None:
        """The usable server that has seen the longest of these prefixes."""
        for key in near:
            home = self._homes.get(key)
            if home is not None and home.usable:
                return home
        return None

    def made(self, key: Hashable, replica: Replica) -> None:
        """A prefix was computed there."""
        self._homes[key] = replica
        if len(self._homes) > max(_HOMES, _EACH * len(self.replicas)):
            for old in list(islice(self._homes, len(self._homes) // 4)):
                del self._homes[old]

    # Calls that go, and calls in line.

    def enter(self, near: Prefixes, now: float) -> Replica | None:
        """Who gets a call at once, and counts it among its busy ones; None if it has to wait."""
        replica = self.choose(near, now)
        if replica is None or not replica.room(now):
            return None
        replica.busy += 1
        self.touch(replica, now)
        return replica

    def wait(self, ticket: Ticket, now: float) -> None:
        """Put a call in line, unless it can go after all."""
        if (replica := self.enter(ticket.near, now)) is not None:
            ticket.turn.set_result(replica)
            return
        ticket.line = line = self.choose(ticket.near, now)
        self._lines.setdefault(line, deque()).append(ticket)
        if line is not None:
            line.lined += 1
            self.touch(line, now)

    def leave(self, ticket: Ticket, now: float) -> None:
        """A call has left the line before its turn."""
        if ticket.line is not None:
            ticket.line.lined -= 1
            self.touch(ticket.line, now)
            ticket.line = None

    def serve(self, replica: Replica, now: float) -> None:
        """Give calls in line to a server as far as it has room."""
        while self._lines and replica.room(now):
            ticket = self._head(replica) or self._head(None) or self._others(replica)
            if ticket is None:
                break
            line = self._lines[ticket.line]
            line.popleft()
            if not line:
                del self._lines[ticket.line]
            if ticket.line is not replica:
                self.leave(ticket, now)
            elif replica.lined:
                replica.lined -= 1
            ticket.line = None
            replica.busy += 1
            ticket.turn.set_result(replica)
        self.touch(replica, now)
        if None in self._lines and replica.usable:
            self.dissolve(None, now)

    def _others(self, replica: Replica) -> Ticket | None:
        """The next call in line at a server with more to do; then it is another line's turn."""
        while self._lines:
            line = next(iter(self._lines))
            if ticket := self._head(line):
                self._lines[line] = self._lines.pop(line)
                return ticket if line is None or line.load > replica.load else None
        return None

    def _head(self, line: Replica | None) -> Ticket | None:
        """The first call in a line that still waits; a line without one is no more."""
        tickets = self._lines.get(line, ())
        while tickets:
            if not tickets[0].turn.done():
                return tickets[0]
            tickets.popleft()
        self._lines.pop(line, None)
        return None

    def dissolve(self, line: Replica | None, now: float) -> None:
        """Put the calls of a line, or those that belong to nobody, where they belong now."""
        tickets = self._lines.pop(line, ())
        if line is not None:
            line.lined = 0
            self.touch(line, now)
        for ticket in tickets:
            if not ticket.turn.done():
                self.wait(ticket, now)

    def dismiss(self, error: EngineError) -> None:
        """Fail all calls in line."""
        lines, self._lines = self._lines, {}
        for line, tickets in lines.items():
            if line is not None:
                line.lined = 0
            for ticket in tickets:
                ticket.line = None
                if not ticket.turn.done():
                    ticket.turn.set_exception(error)
