"""The seam to a scorer: one call, one verdict; and the two wrappers that every scorer shares."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from reasoning.errors import VerificationError
from reasoning.problem import Problem
from reasoning.tree import Node


@dataclass(frozen=True, slots=True)
class Verdict:
    """The scores of the steps in one node, in order; one score for a verifier of outcomes.

    In [0, 1] unless the verifier documents otherwise. `tokens` counts what the verifier read and
    wrote to get there, 0 where it reads no text.
    """

    steps: tuple[float, ...]
    tokens: int = 0


class Verifier(Protocol):
    """Anything that scores a node, given the path that leads to it.

    `name` labels the scores in the tree. Raises TransientError or VerificationError.
    """

    @property
    def name(self) -> str: ...

    async def score(self, problem: Problem, node: Node) -> Verdict: ...


Item: TypeAlias = tuple[Problem, Node]


class Batched:
    """A verifier from a function of many nodes at once: calls that wait together go together.

    A batch leaves as soon as the one before it is back, with whatever has gathered by then, up to
    `max_batch`; nothing ever waits for a batch to fill. An exception in `many` fails all of its
    batch, an exception in place of a verdict fails that one.
    """

    def __init__(
        self,
        name: str,
        many: Callable[[Sequence[Item]], Awaitable[Sequence[Verdict | Exception]]],
        *,
        max_batch: int = 64,
    ) -> None:
        self.name = name
        self._many = many
        self._max_batch = max_batch
        self._waiting: deque[tuple[Item, asyncio.Future[Verdict]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def score(self, problem: Problem, node: Node) -> Verdict:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Verdict] = loop.create_future()
        self._waiting.append(((problem, node), future))
        if self._worker is None or self._worker.done():
            # The worker outlives the call that starts it, because it serves others too; it ends
            # by itself when nobody waits.
            self._worker = loop.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch: list[tuple[Item, asyncio.Future[Verdict]]] = []
            while self._waiting and len(batch) < self._max_batch:
                item, future = self._waiting.popleft()
                if not future.done():
                    batch.append((item, future))
            if not batch:
                continue
            try:
                verdicts: Sequence[Verdict | Exception] = await self._many(
                    [item for item, _ in batch]
                )
                if len(verdicts) != len(batch):
                    raise VerificationError(
                        f"{self.name} gave {len(verdicts)} verdicts for {len(batch)} nodes"
                    )
            except Exception as error:
                verdicts = [error] * len(batch)
            for (_, future), verdict in zip(batch, verdicts, strict=True):
                if future.done():
                    continue
                if isinstance(verdict, Exception):
                    future.set_exception(verdict)
                else:
                    future.set_result(verdict)


class Cached:
    """Remembers verdicts, so that a path that several strategies share is scored once.

    Scores are known by the question and the text they belong to. `paid_calls` counts the calls
    that reached the verifier. `pause` stops a virtual clock while the verifier works.
    """

    def __init__(
        self,
        verifier: Verifier,
        pause: Callable[[Problem], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.name = verifier.name
        self.paid_calls = 0
        self._verifier = verifier
        self._pause = pause or (lambda _: nullcontext())
        self._known: dict[str, dict[tuple[str, str], Verdict]] = {}

    async def score(self, problem: Problem, node: Node) -> Verdict:
        known = self._known.setdefault(problem.id, {})
        key = (node.before, node.sample.text)
        if key not in known:
            self.paid_calls += 1
            with self._pause(problem):
                known[key] = await self._verifier.score(problem, node)
        return known[key]

    def forget(self, problem: Problem) -> None:
        """Drop what is known of a problem that is done."""
        self._known.pop(problem.id, None)
