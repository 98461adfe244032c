"""The only door to the outside that a searcher sees."""

from __future__ import annotations

import inspect
import math
from asyncio import TaskGroup, to_thread
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol, TypeVar

from reasoning.aggregators import Candidate
from reasoning.answers import Answer
from reasoning.budget import Budget, Parts
from reasoning.clock import VirtualClock
from reasoning.drawing import Drawing, Land, Until
from reasoning.errors import RecipeError, TransientError
from reasoning.events import Emitted, Event
from reasoning.ground import Step, node_of
from reasoning.judging import Judging, answering
from reasoning.partial import answered
from reasoning.retry import Retry
from reasoning.strand import Fork
from reasoning.tree import LOST, Node

T = TypeVar("T")

__all__ = ["Land", "Retry", "Search", "Searcher", "Step", "Until"]


class Search(Drawing, Judging):
    """One problem being searched: its tree, its budget, its candidates.

    All randomness is derived from `seed`, the problem's id and the place in the tree. Results
    come back in the order they were asked for, whatever order they arrived in.

    `models` are further generators by name, `verifiers` further verifiers; without a name, the
    first of each kind is meant. What draws is in `reasoning.drawing`, what judges in
    `reasoning.judging`.
    """

    def __getattr__(self, name: str) -> Any:
        if name in _OLD:
            raise RecipeError(f"search.{name} is now {_OLD[name]}: see docs/seams.md")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---------------------------------------------------------------------- putting forward

    def emit(self, node: Node, weight: float = 1.0, *, rank: float = 0.0) -> None:
        """Put `node` forward as a candidate; emitting it again replaces its weight and rank.

        The root says nothing and is none: whoever got no further puts nothing forward.
        """
        node_of("emit", node)
        if node.parent is None:
            return
        if (finish := node.sample.finish) in _NO_CANDIDATE:
            what = "a probe" if finish == "probe" else f"a call that {_ENDED[finish]}"
            raise ValueError(f"{what} is no candidate, and so stands at {node.path}")
        if not (math.isfinite(weight) and math.isfinite(rank)):
            raise ValueError(f"a weight and a rank are finite numbers, not {weight} and {rank}")
        self._emitted[node] = None
        node.emitted = (float(weight), float(rank))
        if (watch := self._caller.watch) is not None:
            watch(Emitted(node.path, _text(self.answer(node)), float(weight)))

    def measure(self, **numbers: float) -> None:
        """Keep numbers that tell how the search itself went, by name; the last of a name stays.

        They are in `Result.measures`, and as means over problems in a run's summary and report. A
        number that is not finite says nothing and is not kept.
        """
        self.measures.update({k: float(v) for k, v in numbers.items() if math.isfinite(v)})

    @property
    def candidates(self) -> list[Candidate]:
        """What has been emitted, ordered by path; answers by their spelling."""
        found = [self._candidate(node) for node in self._emitted]
        return sorted(found, key=lambda candidate: candidate.path)

    def _candidate(self, node: Node) -> Candidate:
        assert node.emitted is not None
        weight, rank = node.emitted
        steps: tuple[float, ...] = ()
        score = None
        if self.verifier is not None:
            steps, score = node.step_scores(self.verifier.name), self.reward(node)
        return Candidate(node.path, self.answer(node), weight, rank, steps, score, node)

    def agreed_so_far(self) -> list[Candidate]:
        """What has been emitted, answers under the keys that are known by now."""
        found = self.candidates
        keys = self._meanings.known([c.answer for c in found])
        return answering(found, keys)

    def tell(self, event: Callable[[], Event]) -> None:
        """Tell whoever watches; what nobody watches is not even made."""
        if self.watch is not None:
            self.watch(event())

    def emit_best_partial(self, value: Callable[[Node], float | None]) -> None:
        """If there is no candidate: the best path so far, so that nobody leaves with empty hands.

        Best is one that has an answer, then by `value`, then the deeper one.
        """
        if best := self.best_partial(value):
            self.emit(best)

    def best_partial(self, value: Callable[[Node], float | None]) -> Node | None:
        """Among all paths, unless one is a candidate: has an answer, is worth most, is deepest."""
        if self._emitted:
            return None
        nodes = [n for n in self.tree if n.sample.finish not in _NO_CANDIDATE]
        found = answered(nodes, lambda node: self.answer(node) is not None)

        def rank(node: Node) -> tuple[bool, float, int]:
            worth = value(node)
            return node in found, -math.inf if worth is None else worth, node.depth

        # The tree's order is that of paths, and max() keeps the first of equals.
        return max(nodes, key=rank, default=None)

    # --------------------------------------------------------------------------- sharing out

    def share(self, part: float) -> Search:
        """A view of this search that may spend only so much: a fraction of the tokens that are
        left (a float up to 1), or so many tokens (an int). What it leaves was never taken."""
        left = self.budget.tokens.remaining
        if isinstance(part, float):
            if not 0 < part <= 1:
                raise ValueError(
                    f"a share is a fraction in (0, 1] or a number of tokens, not {part}"
                )
            tokens = None if left is None else int(left * part)
        else:
            tokens = part
        return self._view(Budget(tokens, within=self.budget))

    async def split(self, n: int, work: Callable[[Search, int], Awaitable[T]]) -> list[T]:
        """Run `work(view, i)` for `n` views of this search that share out its budget.

        Equal parts at first; what one leaves when its work ends goes to the others, in a way that
        does not depend on who is how fast.
        """
        parts = Parts(self.budget, n)

        async def one(i: int) -> T:
            try:
                return await work(self._view(parts.budgets[i]), i)
            finally:
                parts.close(parts.budgets[i])

        here = self._caller.strand()
        fork = Fork(here)  # all start now, whoever of them runs first
        try:
            async with TaskGroup() as group:
                with fork:
                    tasks = [group.create_task(one(i)) for i in range(n)]
        finally:
            fork.join(here)
        return [task.result() for task in tasks]

    def stage(self, given: Sequence[Candidate]) -> Search:
        """A view for the next stage of a chain, which starts from the candidates `given`."""
        view = self._view(self.budget)
        view.given, view._emitted = list(given), {}
        return view

    # --------------------------------------------------------------------------------- tools

    async def call(self, tool: Callable[..., Any], *args: Any, at: Node | None = None) -> Any:
        """What `tool(*args)` returns: text, numbers, lists or mappings; None if it fails.

        A coroutine function is awaited, any other runs in a thread. The call belongs to the place
        `at` (the root): a run that is resumed does not make it again. Tools of one name at one
        place (two lambdas, say) are told apart by the order in which they are first called there.
        Time that is virtual stands still meanwhile; a deadline in real time goes on.
        """
        name = getattr(tool, "__qualname__", type(tool).__name__)
        place = (self.root if at is None else at).path
        known = self._tools.setdefault((place, name), [])
        if tool not in known:
            known.append(tool)
        key = (place, name, args) if tool == known[0] else (place, name, args, known.index(tool))
        self.usage.tool_calls += 1

        async def make() -> Any:
            with self.clock.hold() if isinstance(self.clock, VirtualClock) else nullcontext():
                if inspect.iscoroutinefunction(tool):
                    return await tool(*args)
                return await to_thread(tool, *args)

        try:
            return await self.generator.remembered(self.problem, key, make)
        except Exception as raised:
            self._caller.note(f"tool {name} at {place}", self._caller.own_failure(raised))
            return None

    async def can(self, field: str, model: str = "") -> bool:
        """Whether a model can do what a field of sampling asks for, which a server may have to be
        asked; no while it does not answer. A run that is resumed remembers."""
        generator = self._model(model)
        asked = partial(generator.can, field)
        try:
            return bool(await generator.remembered(self.problem, ("can", model, field), asked))
        except TransientError:
            return False


class Searcher(Protocol):
    """A strategy: emits candidates, returns when it has done what it can."""

    async def __call__(self, search: Search, /, **params: Any) -> None: ...


_NO_CANDIDATE = (*LOST, "probe")
_ENDED = {"failed": "failed", "cancelled": "was cancelled", "loop": "went round in a loop"}

_OLD = {
    "extend": "search.draw(node)",
    "expand": "search.draws(node, n)",
    "slots": "given by search.draw itself",
}
"""What searchers were once written with, and what took its place."""


def _text(answer: Answer | None) -> str | None:
    return None if answer is None else answer.text
