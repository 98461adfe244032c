"""Which servers belong to a fleet: as its sources list them, and as they serve the model."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from reasoning.clock import Clock
from reasoning.errors import EngineError
from reasoning.http.connection import Reply
from reasoning.http.fleet import Fleet
from reasoning.http.keys import told
from reasoning.http.replica import Replica
from reasoning.http.sources import Place, Source, SourceError

log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Servers that are asked something at the same time."""

Ask: TypeAlias = Callable[[Replica, str], Awaitable[Reply | None]]
"""Gets a path of one server; None if it does not answer. Raises EngineError if there is no hope."""


class Members:
    """Keeps a fleet as its sources have it. `faults`: what is wrong with them for now, if anything.

    A server that leaves the list ends what it holds. One that joins is asked for its models first:
    where one server lists the model that is called, one that lists others does not serve it.
    """

    def __init__(self, fleet: Fleet, sources: Sequence[Source], ask: Ask, clock: Clock) -> None:
        self.changes = any(source.changes for source in sources)
        self.faults: dict[Source, str] = {}
        self._fleet = fleet
        self._sources = sources
        self._ask = ask
        self._clock = clock
        self._told: dict[Source, Sequence[Place]] = {}
        self._wanted: Mapping[Place, None] = {}
        self._members: dict[Place, list[Replica]] = {}
        self._model: str | None = None
        self._listed = False
        fleet.patient = self.changes
        if not self.changes:
            self._list(dict.fromkeys(Place(source.name) for source in sources))

    @property
    def several(self) -> bool:
        """Whether there is a choice, now or later."""
        return self.changes or len(self._fleet.replicas) > 1

    async def read(self) -> None:
        """See who is listed now. A source that cannot be read lists whom it did before."""
        for source in self._sources:
            try:
                self._told[source] = found = await source.places()
                fault = "" if found else f"{source.name} lists no server"
            except SourceError as error:
                fault = str(error)
            before = self.faults.pop(source, "")
            if fault:
                self.faults[source] = before or fault
                if not before:
                    known = "the servers known before are kept; " if self._told.get(source) else ""
                    log.warning("%s; %sit is read again every few seconds", fault, known)
            elif before:
                log.info("%s can be read again", source.name)
        self._list(dict.fromkeys(place for found in self._told.values() for place in found))

    def _list(self, wanted: Mapping[Place, None]) -> None:
        if wanted.keys() == self._wanted.keys():
            return
        self._wanted = wanted
        for place, members in list(self._members.items()):
            if all(member.state == "gone" for member in members):
                del self._members[place]
            elif place not in wanted:
                for member in members:
                    if member.listed:
                        self._fleet.unlist(member)
        for place in wanted:
            members = self._members.get(place, [])
            if all(member.state == "gone" for member in members):
                self._members[place] = [self._join(place)]
            for member in members:
                if not member.listed:
                    member.relist()
                    self._fleet.moved(member)

    def _join(self, place: Place) -> Replica:
        most, name = self._fleet.limits.max_in_flight, str(place)
        replica = Replica(place.url, most, name=name, address=place.address, rank=place.rank)
        if self._model is not None:
            replica.ask()
        elif self.changes:
            log.info("%s has joined", replica.name)
        self._fleet.join(replica)
        return replica

    def split(self, replica: Replica, ranks: Sequence[int]) -> None:
        """It has several engines, each with a cache of its own: they are called one by one."""
        place = next(place for place, members in self._members.items() if replica in members)
        log.info("%s has %d data parallel engines", replica.name, len(ranks))
        most = max(1, replica.most // len(ranks))
        engines = []
        for rank in ranks:
            engine = Replica(
                place.url,
                most,
                name=str(place._replace(rank=rank)),
                address=place.address,
                rank=rank,
            )
            engines.append(engine)
            self._fleet.join(engine)
        self._members[place] = engines
        self._fleet.unlist(replica)

    async def expect(self, model: str) -> None:
        """Every server is to serve this model. Raises EngineError if none can be reached."""
        if self._model == model or not self.several:
            return
        self._model = model
        for replica in self._fleet.replicas:
            replica.ask()
            self._fleet.moved(replica)
        if error := await self.see_models():
            raise error

    async def see_models(self) -> EngineError | None:
        """Ask those who have not said yet whether they serve the model, or that it is another."""
        now = self._clock.now()
        fleet = self._fleet.replicas
        new = [r for r in fleet if r.listed and r.serves is not True and now >= r.paused]
        answers = await asked(self._ask, new, "models")
        named = {r: _models(reply) for r, reply in answers.items() if isinstance(reply, Reply)}
        self._listed |= any(self._model in models for models in named.values() if models)
        for replica, models in named.items():
            if models is None:  # it is there, and not ready
                replica.unreachable(self._clock.now())
                continue
            right = self._model in models or not models or not self._listed
            if right and (self.changes or replica.serves is False):
                log.info("%s has joined", replica.name)
            elif not right and replica.serves is None:
                others = told(", ".join(sorted(models)))
                log.warning(
                    "%s serves %s, not %s: it is not used", replica.name, others, self._model
                )
            replica.told(right, self._clock.now())
            self._fleet.moved(replica)
        return next((e for e in answers.values() if isinstance(e, EngineError)), None)


async def asked(ask: Ask, replicas: Sequence[Replica], path: str) -> Mapping[Replica, object]:
    """What each server has at `path`: a reply, None, or an EngineError if there is no hope."""
    room = asyncio.Semaphore(_AT_ONCE)
    found: dict[Replica, object] = {}

    async def one(replica: Replica) -> None:
        async with room:
            try:
                found[replica] = await ask(replica, path)
            except EngineError as error:
                found[replica] = error

    async with asyncio.TaskGroup() as group:
        for replica in replicas:
            group.create_task(one(replica))
    return found


def _models(reply: Reply) -> set[str] | None:
    """The names of the models that a server lists, none if it does not; None if it is not ready."""
    if reply.status >= 500:
        return None
    try:
        data: Any = json.loads(reply.body) if reply.status < 300 else {}
        entries = [entry for entry in data["data"] if isinstance(entry, dict)]
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()
    names = [entry.get(key) for entry in entries for key in ("id", "root", "name")]
    for entry in entries:
        aliases = entry.get("aliases")
        names += aliases if isinstance(aliases, list) else []
    return {name for name in names if isinstance(name, str)}
