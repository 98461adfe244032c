"""Looking at the servers from time to time: who is listed, who serves the model, how loaded.

Only while calls are under way or wait, and where there is a choice. A look costs about the same
however many servers there are: a few of them are asked for their metrics each time, in turn.
"""

from __future__ import annotations

import asyncio
from collections import deque

from reasoning.clock import Clock, Handle
from reasoning.errors import EngineError
from reasoning.http import metrics
from reasoning.http.connection import Reply
from reasoning.http.fleet import Fleet
from reasoning.http.membership import Ask, Members, asked
from reasoning.http.replica import Replica

FIRST, EVERY = 1.0, 3.0
"""Seconds to the first look, and from one to the next."""
_METERED = 32
"""Servers that are asked for their metrics in one look."""


class Lookout:
    """Keeps the standing of a fleet's servers up to date."""

    def __init__(self, fleet: Fleet, members: Members, ask: Ask, clock: Clock) -> None:
        self._fleet = fleet
        self._members = members
        self._ask = ask
        self._clock = clock
        self._turn: deque[Replica] = deque()
        self._silent: set[Replica] = set()
        self._deserted: float | None = None
        self._wait = FIRST
        self._alarm: Handle | None = None
        self._task: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Look again in a while."""
        if self._alarm is None and self._task is None and self._members.several:
            self._alarm = self._clock.call_later(self._wait, self._ring)
            self._wait = EVERY

    def _ring(self) -> None:
        self._alarm = None
        if self._fleet.calls:
            self._task = asyncio.get_running_loop().create_task(self.look())
            self._task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            self.watch()
            task.result()  # a bug of ours is not passed over in silence

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if self._task is not None:
            self._task.cancel()

    async def look(self) -> None:
        """Look at everything once."""
        if self._members.changes:
            await self._members.read()
        await self._members.see_models()
        await self._meter()
        self._compare()
        self._give_up()

    async def _meter(self) -> None:
        """Read some servers' metrics, the next ones each time."""
        if not self._turn:
            self._turn.extend(r for r in self._fleet.replicas if r not in self._silent)
        chosen = [self._turn.popleft() for _ in range(min(_METERED, len(self._turn)))]
        chosen = [replica for replica in chosen if replica.usable]
        before = {replica: replica.busy for replica in chosen}
        for replica, reply in (await asked(self._ask, chosen, "/metrics")).items():
            if isinstance(reply, Reply):
                self._told(replica, reply, before[replica])
            elif replica.meters is None:
                replica.unmetered()
                self._fleet.moved(replica)

    async def find_ranks(self) -> None:
        """Ask whether servers are several engines each."""
        for replica, reply in (await asked(self._ask, self._fleet.replicas, "/metrics")).items():
            if isinstance(reply, Reply):
                self._told(replica, reply, replica.busy)

    def _told(self, replica: Replica, reply: Reply, before: int) -> None:
        text = bytes(reply.body) if reply.status < 300 else b""
        if replica.rank is None and (ranks := metrics.ranks(text)):
            self._members.split(replica, ranks)
            return
        load = metrics.load(text, replica.rank)
        if load is None:
            if reply.status < 500:  # it has none, now and later
                self._silent.add(replica)
            replica.unmetered()
            self._fleet.moved(replica)
            return
        if self._members.several:
            replica.metered(load, max(before, replica.busy))
            self._fleet.moved(replica)

    def _compare(self) -> None:
        """Tell slow servers from the others by how long their answers take."""
        usable = [replica for replica in self._fleet.replicas if replica.usable]
        paces = sorted(pace for r in usable if (pace := r.pace) is not None)
        if len(paces) < 2:
            return
        usual = paces[(len(paces) - 1) // 2]
        for replica in usable:
            weight = replica.weight
            replica.compared(usual)
            if replica.weight != weight:
                self._fleet.weighed(replica, weight)

    def _give_up(self) -> None:
        """Calls do not wait for ever for servers that are not there."""
        now, patience = self._clock.now(), self._fleet.limits.patience
        if any(replica.usable for replica in self._fleet.replicas):
            self._deserted = None
            return
        self._deserted = now if self._deserted is None else self._deserted
        waited = now - self._deserted
        if waited >= patience and self._fleet.places.waiting:
            faults = "; ".join(self._members.faults.values())
            listed = [r for r in self._fleet.replicas if r.listed]
            why = faults or ", ".join(f"{r.name} is {r.state}" for r in listed) or "none is listed"
            self._fleet.dismiss(
                EngineError(f"there has been no server to call for {waited:.0f} s ({why})")
            )
