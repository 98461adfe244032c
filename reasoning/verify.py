"""The seam to a scorer: one call, one node; and what turns many calls into batches."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic, Literal, NamedTuple, Self, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Meter, Sampling
from reasoning.plugin import Plugin
from reasoning.problem import Problem
from reasoning.tree import Node

Scores: TypeAlias = tuple[float, ...]
"""Of the steps in one node, in order; a single one from a verifier of outcomes."""


Reduction: TypeAlias = Literal["last", "min", "prod", "mean"]
"""How the scores of a path's steps become one number."""


class Verifier(Plugin):
    """Anything that scores a node, given the path that leads to it.

    name: labels the scores in the tree. They lie in [0, 1] unless the verifier documents
    otherwise.
    reduction: what makes one number of the scores of a path's steps, for whoever searches or
    chooses by them.
    text_only: scores depend on the text of the path and nothing else of it, so that equal texts
    are scored once.
    reads_logprobs: it reads those of the sampled tokens, which not every server tells.
    together: so many nodes below one parent may be scored by one call, `score_siblings`; whoever
    searches then waits for siblings that are drawn at once, and asks for them together.
    """

    name: str
    reduction: Reduction = "last"
    reads_logprobs: bool = False
    together: int = 1

    def reduced_by(self, reduction: Reduction) -> Self:
        """This verifier, whose step scores become one number in that way."""
        self.reduction = reduction
        return self

    @property
    def text_only(self) -> bool:
        return False

    @abstractmethod
    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises TransientError or VerificationError.

        `meter` is told the tokens that the verifier reads and writes, none where it reads no text,
        and before the call is over: of a failed or cancelled call too, as far as they are known.
        """

    async def score_siblings(
        self, problem: Problem, nodes: Sequence[Node], *, meter: Meter
    ) -> Sequence[Scores | Exception]:
        """The scores of `nodes`, which have one parent, in their order: up to `together` of them.

        It is one call, and counted as one. An exception stands in place of the scores of a node
        that cannot be scored; what is raised fails all.
        """
        raise NotImplementedError(f"{self.name} scores one node at a time")

    def preflight(self, sampling: Sampling, problems: Sequence[Problem]) -> None:
        """Raise RecipeError for a recipe under which it could score nothing."""


def reduce_steps(steps: Sequence[float], reduction: Reduction) -> float | None:
    """One score for a path from the scores of its steps; None if there are none.

    `last` suits reward models whose last value sums up the prefix (Qwen2.5-Math-PRM, Skywork);
    `min` and `prod` suit Math-Shepherd's kind; `prod` penalises length.
    """
    if not steps:
        return None
    match reduction:
        case "last":
            return steps[-1]
        case "min":
            return min(steps)
        case "prod":
            return math.prod(steps)
        case "mean":
            return math.fsum(steps) / len(steps)
    raise RecipeError(f"reduction is one of last, min, prod, mean, not {reduction!r}")


@contextmanager
def reading(tokens: int, meter: Meter) -> Iterator[None]:
    """Meter `tokens` if the block ends or is cancelled, as they may have been read by then."""
    try:
        yield
    except asyncio.CancelledError:
        meter(tokens)
        raise
    meter(tokens)


class Item(NamedTuple):
    """What a verifier is asked."""

    problem: Problem
    node: Node
    meter: Meter


Asked = TypeVar("Asked")
Given = TypeVar("Given")


class Batches(Generic[Asked, Given]):
    """A function of one from a function of many: calls that wait together go together.

    Up to `in_flight` batches are under way at once. The next one leaves as soon as one of them is
    back, with whatever has gathered by then, up to `max_batch`; nothing ever waits for a batch to
    fill. An exception in `many` fails all of its batch, an exception in place of a result fails
    that one. A batch that nobody waits for any more is cancelled. Every event loop has batches of
    its own.
    """

    def __init__(
        self,
        name: str,
        many: Callable[[Sequence[Asked]], Awaitable[Sequence[Given | Exception]]],
        *,
        max_batch: int = 64,
        in_flight: int = 1,
    ) -> None:
        self.name = name
        self._new_line = partial(_Line, name, many, max_batch, in_flight)
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line[Asked, Given]]
        self._lines = WeakKeyDictionary()

    async def ask(self, item: Asked) -> Given:
        """The result for `item`, in company."""
        loop = asyncio.get_running_loop()
        if loop not in self._lines:
            self._lines[loop] = self._new_line()
        return await self._lines[loop].ask(item)


class _Line(Generic[Asked, Given]):
    """Those who wait in one event loop, and who serves them."""

    def __init__(
        self,
        name: str,
        many: Callable[[Sequence[Asked]], Awaitable[Sequence[Given | Exception]]],
        max_batch: int,
        in_flight: int,
    ) -> None:
        self._name = name
        self._many = many
        self._max_batch = max_batch
        self._in_flight = in_flight
        self._waiting: deque[tuple[Asked, asyncio.Future[Given]]] = deque()
        self._workers: list[asyncio.Task[None]] = []
        self._fresh: asyncio.Task[None] | None = None  # a worker that has not looked yet

    async def ask(self, item: Asked) -> Given:
        future: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._hire()
        return await future

    def _hire(self) -> None:
        """Start a worker for those who wait, unless one is about to look or enough are busy.

        It outlives the call that starts it, because it serves others too; it ends by itself when
        nobody waits.
        """
        self._workers = [worker for worker in self._workers if not worker.done()]
        if self._fresh in self._workers or len(self._workers) >= self._in_flight:
            return
        self._fresh = asyncio.get_running_loop().create_task(self._work())
        self._workers.append(self._fresh)

    async def _work(self) -> None:
        self._fresh = None
        while self._waiting:
            batch: list[tuple[Asked, asyncio.Future[Given]]] = []
            while self._waiting and len(batch) < self._max_batch:
                item, future = self._waiting.popleft()
                if not future.done():
                    batch.append((item, future))
            if not batch:
                continue
            if self._waiting:
                self._hire()
            results = await self._asked(batch)
            for (_, future), result in zip(batch, results, strict=False):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _asked(
        self, batch: Sequence[tuple[Asked, asyncio.Future[Given]]]
    ) -> Sequence[Given | Exception]:
        """What `many` makes of a batch; nothing once nobody waits for it."""
        many = self._many([item for item, _ in batch])
        call: asyncio.Future[Sequence[Given | Exception]] = asyncio.ensure_future(many)

        def leave(gone: asyncio.Future[Given]) -> None:
            if gone.cancelled() and all(future.done() for _, future in batch):
                call.cancel()

        for _, future in batch:
            future.add_done_callback(leave)
        try:
            results = await call
        except asyncio.CancelledError:
            if all(future.done() for _, future in batch):
                return []
            raise
        except Exception as error:
            return [error] * len(batch)
        if len(results) != len(batch):
            wrong = f"{self._name} gave {len(results)} results for {len(batch)} nodes"
            return [VerificationError(wrong)] * len(batch)
        return results


class Batched(Batches[Item, Scores], Verifier):
    """A verifier from a function of many nodes at once."""

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        return await self.ask(Item(problem, node, meter))
