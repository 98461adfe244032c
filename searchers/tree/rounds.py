"""The loop that beam search, DVTS, REBASE and the particle methods share.

A round grows every open path by one step and scores the new steps; then a pure kernel decides how
many children each path gets in the next round. The tree is append-only, so a copy of a path is
just another child of the same node.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, TypeAlias, TypeVar

import numpy as np
from pydantic import Field

from reasoning.search import Search, Until
from reasoning.tree import Node
from reasoning.verify import Reduction, reduce_steps
from searchers.kernels.allocate import Bools, Floats, Ints

T = TypeVar("T")
Positive: TypeAlias = Annotated[int, Field(ge=1)]
Natural: TypeAlias = Annotated[int, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Temperature: TypeAlias = Annotated[float, Field(gt=0)]


@dataclass(slots=True, eq=False)
class Leaf:
    """The end of a path.

    `value` is its score, reduced over its steps, and `ahead` the same after looking ahead; -inf
    where the verifier failed. `open` tells that it can be extended: the solution has not ended and
    is not cut off by a limit. `slots` counts the children it will get, or, once it has ended, the
    particles it stands for. `carry` is for particle methods: the log of the weight that earlier
    rounds have left it with; children start with their parent's.
    """

    node: Node
    open: bool
    slots: int = 1
    value: float = -inf
    ahead: float = -inf
    carry: float = 0.0


Allocate: TypeAlias = Callable[[list[Leaf], int], Iterable[int]]
"""From the paths, in path order, and the number of steps they have, to the slots of each."""


def one_vote(_: Leaf) -> float:
    """Every solution weighs the same."""
    return 1.0


async def grow_in_rounds(
    search: Search,
    width: int,
    allocate: Allocate,
    *,
    max_steps: int,
    reduction: Reduction = "last",
    lookahead: int = 0,
    merge_duplicates: bool = False,
    last_step: Until = "step",
    spine: Sequence[Node] = (),
    weigh: Callable[[Leaf], float] = one_vote,
) -> list[Leaf]:
    """Draw `width` first steps, then as many next ones as `allocate` says, until no path is open.

    Returns the last round's paths: those that grew in it and the ended ones that kept a slot.
    A path is cut off after `max_steps` steps, the last of which ends as `last_step` says, or when
    it has used up its tokens. A solution is emitted when it ends, weighted by `weigh`; if none has
    ended when the loop does, or when time is up, the best path so far is. `spine` is a path that
    exists already: its node of each depth takes part in the round of that depth.
    """
    await search.score()  # complains before anything is spent if there is no verifier
    rounds = _Rounds(search, max_steps, reduction, last_step, weigh)
    trunk = root = Leaf(search.root, open=True, slots=width)
    leaves = [root]
    try:
        for depth in range(1, max_steps + 1):
            children = await rounds.grow(leaves)
            if merge_duplicates:
                children = rounds.without_duplicates(children)
            await rounds.look_ahead(children, lookahead)
            if depth <= len(spine):
                trunk = rounds.land(spine[depth - 1], trunk)
                children.append(trunk)
            held = [leaf for leaf in leaves if not leaf.open]
            leaves = sorted(held + children, key=lambda leaf: leaf.node.path)
            if not any(leaf.open for leaf in leaves):
                break
            for leaf, slots in zip(leaves, allocate(leaves, depth), strict=True):
                leaf.slots = int(slots)
                rounds.emit(leaf)
            leaves = [leaf for leaf in leaves if leaf.slots]
    finally:
        rounds.emit_best_partial()
    return leaves


def ahead(leaves: Iterable[Leaf]) -> Floats:
    """What the leaves are worth after looking ahead [P]."""
    return np.array([leaf.ahead for leaf in leaves], dtype=np.float64)


def values(leaves: Iterable[Leaf]) -> Floats:
    """What the leaves are worth [P]."""
    return np.array([leaf.value for leaf in leaves], dtype=np.float64)


def is_open(leaves: Iterable[Leaf]) -> Bools:
    """Which leaves can be extended [P]."""
    return np.array([leaf.open for leaf in leaves], dtype=bool)


def slots(leaves: Iterable[Leaf]) -> Ints:
    """How many particles the leaves stand for [P]."""
    return np.array([leaf.slots for leaf in leaves], dtype=np.int64)


def carries(leaves: Iterable[Leaf]) -> Floats:
    """The log-weights that earlier rounds have left the leaves with [P]."""
    return np.array([leaf.carry for leaf in leaves], dtype=np.float64)


def set_carries(leaves: Sequence[Leaf], logs: Floats) -> None:
    """Leave the leaves with these log-weights [P] for later rounds."""
    for leaf, log in zip(leaves, logs, strict=True):
        leaf.carry = float(log)


class _Rounds:
    """What one run of the loop does to its leaves."""

    def __init__(
        self,
        search: Search,
        max_steps: int,
        reduction: Reduction,
        last_step: Until,
        weigh: Callable[[Leaf], float],
    ) -> None:
        self.search = search
        self.max_steps = max_steps
        self.reduction = reduction
        self.last_step: Until = last_step
        self.weigh = weigh
        self.landed: list[Leaf] = []
        # With a limit on verifier calls, who gets the last ones must not depend on who lands
        # first: then a round is scored in path order once it is complete.
        self.at_once = not search.budget.verifier_calls.bounded

    async def grow(self, leaves: Sequence[Leaf]) -> list[Leaf]:
        """The next step of every open leaf, once for each of its slots, scored as it lands."""

        def call(parent: Leaf) -> Coroutine[Any, Any, Node | None]:
            last = parent.node.depth + 1 >= self.max_steps
            return self.search.draw(parent.node, until=self.last_step if last else "step")

        async def one(parent: Leaf, drawn: Coroutine[Any, Any, Node | None]) -> Leaf | None:
            node = await drawn
            if node is None:
                return None
            leaf = self.land(node, parent)
            if self.at_once:
                await self.search.score(node)
                self.settle(leaf)
            return leaf

        grown = await _in_order(
            one(leaf, call(leaf)) for leaf in leaves if leaf.open for _ in range(leaf.slots)
        )
        children = [leaf for leaf in grown if leaf is not None]
        await self.search.score(*(leaf.node for leaf in children))
        for leaf in children:
            self.settle(leaf)
        return children

    async def look_ahead(self, leaves: Sequence[Leaf], steps: int) -> None:
        """Roll every open leaf out greedily by `steps` more steps and judge it by where it gets.

        The rollouts are paid for and stay in the tree, and are never candidates. They go on in
        step with each other, so that a short budget cuts the same ones off in every run.
        """

        async def one(tip: Node) -> Node:
            if not self._can_grow(tip):
                return tip
            node = await self.search.draw(tip, temperature=0.0)
            if node is not None and self.at_once:
                await self.search.score(node)
            return node or tip

        tips = [leaf.node for leaf in leaves]
        for _ in range(steps):
            tips = await _in_order(one(tip) for tip in tips)
            await self.search.score(*tips)
        for leaf, tip in zip(leaves, tips, strict=True):
            leaf.ahead = self._worth(tip)

    def land(self, node: Node, parent: Leaf) -> Leaf:
        """Take `node` in as a child of `parent`; a solution counts from this moment on."""
        leaf = Leaf(node, self._can_grow(node), carry=parent.carry)
        self.landed.append(leaf)
        self.settle(leaf)
        return leaf

    def settle(self, leaf: Leaf) -> None:
        """Read the leaf's scores off its node."""
        leaf.value = leaf.ahead = self._worth(leaf.node)
        self.emit(leaf)

    def emit(self, leaf: Leaf) -> None:
        if leaf.node.finished:
            self.search.emit(leaf.node, self.weigh(leaf))

    def without_duplicates(self, leaves: Sequence[Leaf]) -> list[Leaf]:
        """Of siblings with the same text only the first; the others' solutions lose their vote."""
        first: dict[tuple[Node | None, str], Leaf] = {}
        for leaf in leaves:
            twin = first.setdefault((leaf.node.parent, leaf.node.sample.text), leaf)
            if twin is not leaf and leaf.node.finished:
                self.search.emit(leaf.node, 0.0)
        return list(first.values())

    def emit_best_partial(self) -> None:
        """If no path has ended: the best one that has an answer, else simply the best."""
        if any(leaf.node.finished for leaf in self.landed):
            return

        def rank(leaf: Leaf) -> tuple[bool, float, int, tuple[int, ...]]:
            answered = self.search.answer(leaf.node) is not None
            return not answered, -leaf.value, -leaf.node.depth, leaf.node.path

        if self.landed:
            self.search.emit(min(self.landed, key=rank).node)

    def _can_grow(self, node: Node) -> bool:
        """Whether there is room for another step; an empty step leads nowhere."""
        return (
            not node.finished
            and node.sample.generated_tokens > 0
            and node.depth < self.max_steps
            and node.generated_tokens < self.search.sampling.max_tokens
        )

    def _worth(self, node: Node) -> float:
        """The path's score; -inf if its last step has none."""
        verifier = self.search.verifier
        if verifier is None or not node.scores.get(verifier.name):
            return -inf
        score = reduce_steps(node.step_scores(verifier.name), self.reduction)
        return -inf if score is None else score


async def _in_order(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all side by side; results in the order given."""
    async with TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]
