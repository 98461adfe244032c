"""A verifier behind a memory: what several strategies ask is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

from reasoning.backends.journal import owned
from reasoning.backends.ledger import Entry, Ledger
from reasoning.generate import Meter
from reasoning.places import Places, by_text
from reasoning.problem import Problem
from reasoning.sample import fingerprint
from reasoning.tree import Node, Sample
from reasoning.verify import Scores, Verifier
from reasoning.wrapping import WrappingVerifier


class Cached(WrappingVerifier):
    """Remembers scores and their cost, so that a path that several strategies share is scored once.

    Scores are known by the question and the sample they belong to; if the verifier says
    `text_only = True`, by the text of the path, whoever wrote it. Those who ask for the same at
    the same time wait for the first. `pause` stops a virtual clock while the verifier works.

    Where strategies do not share, each asks through its own `of(strategy)`. What is known of a
    problem that is done goes to the `ledger`, where it is called by the verifier's `label`.
    """

    def __init__(
        self,
        verifier: Verifier,
        pause: Callable[[Problem], AbstractContextManager[object]] | None = None,
        ledger: Ledger | None = None,
        label: str = "",
    ) -> None:
        super().__init__(verifier)
        self._pause = pause or (lambda _: nullcontext())
        self._ledger = ledger
        self._label = label
        self._places = Places(by_text)
        self._known: dict[str, dict[tuple[object, ...], _Memory]] = {}

    def of(self, strategy: str) -> Verifier:
        """The same verifier with a memory of the strategy's own: it pays for all its scores."""
        return _Own(self, strategy)

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        return await self.score_of("", problem, node, meter)

    async def score_siblings(
        self, problem: Problem, nodes: Sequence[Node], *, meter: Meter
    ) -> Sequence[Scores | Exception]:
        return await self.siblings_of("", problem, nodes, meter)

    async def score_of(self, who: str, problem: Problem, node: Node, meter: Meter) -> Scores:
        """What `score` gives, from the memory of `who`."""
        ask = partial(self.verifier.score, problem, node)
        found: Scores = await self._remembered(who, problem, (node,), ask, meter)
        return found

    async def siblings_of(
        self, who: str, problem: Problem, nodes: Sequence[Node], meter: Meter
    ) -> Sequence[Scores | Exception]:
        """What `score_siblings` gives; the same nodes in other company are scored anew."""
        ask = partial(self.verifier.score_siblings, problem, nodes)
        found: Sequence[Scores | Exception] = await self._remembered(
            who, problem, ("siblings", *nodes), ask, meter
        )
        return found

    async def _remembered(
        self,
        who: str,
        problem: Problem,
        what: Sequence[Node | str],
        ask: Callable[..., Awaitable[Any]],
        meter: Meter,
    ) -> Any:
        """What `ask` gave about `what`, or gives now."""
        known = self._known.setdefault(problem.id, {})
        samples = tuple(part.sample for part in what if isinstance(part, Node))
        key = (who, *(part if isinstance(part, str) else self._key(part) for part in what))
        memory = known.setdefault(key, _Memory(samples))
        async with memory.turn:
            if memory.found is None:
                self._recall(problem, key, memory)
            if memory.found is None:
                told: list[int] = []
                try:
                    with self._pause(problem):
                        found = await ask(meter=told.append)
                finally:
                    meter(sum(told))
                memory.found, memory.tokens = found, sum(told)
                return found
        meter(memory.tokens)
        return memory.found

    def _key(self, node: Node) -> tuple[str, str | int]:
        before = self._places(node.parent) if node.parent and node.turn is None else ""
        return before, node.sample.text if self.text_only else id(node.sample)

    def _recall(self, problem: Problem, key: tuple[Any, ...], memory: _Memory) -> None:
        """What the ledger has of an earlier run, if anything."""
        known = self._ledger.of(problem.id) if self._ledger else None
        if known and (entry := known.get(self._name(key, memory))):
            found = [tuple(scores) for scores in entry.value["scores"]]
            memory.found = found if key[1] == "siblings" else found[0]
            memory.tokens = entry.value["tokens"]

    def _name(self, key: tuple[Any, ...], memory: _Memory) -> str:
        """What stands for a key in a ledger: the same in every process."""
        who, *parts = key
        told, samples = blake2b(self._label.encode(), digest_size=16), iter(memory.samples)
        for part in parts:
            if isinstance(part, str):
                told.update(part.encode())
                continue
            before, _ = part
            sample = next(samples)
            said = sample.text if self.text_only else fingerprint(sample)
            told.update(repr((before, said)).encode("utf-8", "surrogatepass"))
        return owned(told.hexdigest(), who)

    def forget(self, problem: Problem) -> None:
        """Drop what is known of a problem that is done; the ledger is told what has no gaps."""
        memories = self._known.pop(problem.id, {})
        if self._ledger is None:
            return
        for key, memory in memories.items():
            found = memory.found if key[1] == "siblings" else [memory.found]
            if found and all(isinstance(scores, tuple) for scores in found):
                scores = [[float(score) for score in step] for step in found]
                entry = Entry(Sample(""), value={"scores": scores, "tokens": memory.tokens})
                self._ledger.note(problem.id, self._name(key, memory), entry)


class _Own(WrappingVerifier):
    """One strategy's view of what is cached."""

    def __init__(self, cached: Cached, strategy: str) -> None:
        super().__init__(cached)
        self._cached = cached
        self._strategy = strategy

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        return await self._cached.score_of(self._strategy, problem, node, meter)

    async def score_siblings(
        self, problem: Problem, nodes: Sequence[Node], *, meter: Meter
    ) -> Sequence[Scores | Exception]:
        return await self._cached.siblings_of(self._strategy, problem, nodes, meter)


@dataclass(slots=True)
class _Memory:
    """What is known of samples, which are kept so that their identity stays their own."""

    samples: tuple[Sample, ...]
    found: Any = None
    tokens: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
