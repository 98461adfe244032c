"""What tree searches share: growing many nodes at once, in rounds, and never leaving empty-handed.

The tree is append-only, so a copy of a path is just another child of the same node.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from math import inf
from operator import attrgetter
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search, Until
from reasoning.tree import FloatArray, Node, Turn
from searchers.tree.leaf import Leaf

Positive: TypeAlias = Annotated[int, Field(ge=1)]
Natural: TypeAlias = Annotated[int, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Temperature: TypeAlias = Annotated[float, Field(gt=0)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0)]

# ------------------------------------------------------------------------------- many at once


@dataclass(frozen=True, slots=True)
class Growth:
    """A wish for `n` more children of `node`; with `turn` they answer that.

    The `urgency` of the calls is for engines that schedule by priority, the higher first.
    """

    node: Node
    n: int = 1
    turn: Turn | None = None
    urgency: float | None = None


async def grow(
    search: Search,
    wishes: Iterable[Growth],
    *,
    judge: Callable[..., Awaitable[None]] | None,
    land: Callable[[Node], None] = lambda _: None,
    until: Until = "step",
    temperature: float | None = None,
) -> list[list[Node]]:
    """Grow all wishes side by side: the children of each, in slot order, fewer if tokens run out.

    A child is judged as soon as it is there, unless the verifier scores siblings together, or
    verifier calls are limited: who gets the last ones must not depend on who is there first, so
    then all wait for all and are judged in the order of the wishes. `land` is called when a child
    is there, and again once it is judged.
    """
    scorer = search.verifier if judge == search.score else None
    together = scorer is not None and scorer.together > 1
    at_once = not (together or judge is None or search.budget.bounds("verifier_calls"))
    options: dict[str, Any] = {"until": until}
    if temperature is not None:
        options["temperature"] = temperature

    async def verdict(*children: Node) -> None:
        assert judge is not None
        await judge(*children)
        for child in children:
            land(child)

    def landed(row: list[Node], child: Node) -> Awaitable[None] | None:
        row.append(child)
        land(child)
        return verdict(child) if at_once else None

    def calls() -> Iterator[Callable[[], Awaitable[Node | None]]]:
        for wish, row in zip(wishes, grown, strict=True):
            how = {**options, "turn": wish.turn, "urgency": wish.urgency}
            call = partial(search.draw, wish.node, land=partial(landed, row), **how)
            yield from repeat(call, search.affordable(wish.n))

    wishes = list(wishes)
    grown: list[list[Node]] = [[] for _ in wishes]
    if any(wish.n for wish in wishes):
        await search.side_by_side(calls())
    for row in grown:
        row.sort(key=attrgetter("slot"))
    if judge is not None and not at_once:
        async with TaskGroup() as group:
            for children in grown if together else ([child] for row in grown for child in row):
                group.create_task(verdict(*children))
    return grown


def can_grow(search: Search, node: Node, max_steps: int) -> bool:
    """Whether there is room for another step; one that is empty leads nowhere."""
    empty = node.parent is not None and not node.sample.generated_tokens
    full = node.depth >= max_steps or node.generated_tokens >= search.sampling.max_tokens
    return not (node.finished or empty or full)


def distinct(siblings: Iterable[Node]) -> list[Node]:
    """The first of those that say exactly the same."""
    first: dict[str, Node] = {}
    for node in siblings:
        first.setdefault(node.sample.text, node)
    return list(first.values())


def logprobs(search: Search, node: Node) -> FloatArray:
    """The log-probabilities of the node's tokens [tokens]; RecipeError if there are none."""
    known = node.sample.logprobs
    if known is None and not node.sample.generated_tokens:
        return np.zeros(0, dtype=np.float32)
    if known is None:
        raise RecipeError(
            "this searcher weighs steps by their log-probabilities, and "
            f"{type(search.generator).__name__} gives none; use generator nano or vllm, or a "
            "server that returns them"
        )
    return known


def mean_logprob(search: Search, node: Node) -> float:
    """Of the node's own tokens, nats; -inf if it has none."""
    known = logprobs(search, node)
    return float(known.mean()) if known.size else -inf


# --------------------------------------------------------------------- never with empty hands


def emitter(search: Search) -> Callable[[Node], None]:
    """Puts solutions forward as they land."""

    def land(node: Node) -> None:
        if node.finished:
            search.emit(node)

    return land


@contextmanager
def at_least_partial(
    search: Search, value: Callable[[Node], float | None] | None = None
) -> Iterator[None]:
    """However the block ends: without a candidate by then, the best path by `value` becomes one.

    `value` is the verifier's score of the path unless it is given.
    """
    try:
        yield
    finally:
        search.emit_best_partial(value or search.reward)


async def run_out(search: Search, value: Callable[[Node], float | None]) -> None:
    """If no solution has been found, let the best path run to its end."""
    if best := search.best_partial(value):
        judge = search.score if search.verifier else None
        await grow(search, [Growth(best)], judge=judge, land=emitter(search), until="end")


# ---------------------------------------------------------------------------------- in rounds


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
    lookahead: int = 0,
    merge_duplicates: bool = False,
    last_step: Until = "step",
    spine: Sequence[Node] = (),
    weigh: Callable[[Leaf], float] = one_vote,
) -> list[Leaf]:
    """Draw `width` first steps, then as many next ones as `allocate` says, until no path is open.

    Returns the last round's paths: those that grew in it and the ended ones that kept a slot.
    A path is cut off after `max_steps` steps, the last of which ends as `last_step` says, or when
    it has used up its tokens. A solution is emitted when it ends, weighted by `weigh`. `spine` is a
    path that exists already: its node of each depth takes part in the round of that depth.
    """
    await search.score()  # complains before anything is spent if there is no verifier
    rounds = _Rounds(search, max_steps, weigh)
    trunk = root = Leaf(search.root, open=True, slots=width)
    leaves = [root]
    for depth in range(1, max_steps + 1):
        children = await rounds.grow(leaves, last_step if depth == max_steps else "step")
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
    return leaves


class _Rounds:
    """What one run of the loop does to its leaves."""

    def __init__(self, search: Search, max_steps: int, weigh: Callable[[Leaf], float]) -> None:
        self.search = search
        self.max_steps = max_steps
        self.weigh = weigh

    async def grow(self, leaves: Sequence[Leaf], until: Until) -> list[Leaf]:
        """The next step of every open leaf, once for each of its slots, scored as it lands."""
        parents = {leaf.node: leaf for leaf in leaves if leaf.open}
        landed: dict[Node, Leaf] = {}

        def land(node: Node) -> None:
            assert node.parent is not None
            if node in landed:
                self.settle(landed[node])
            else:
                landed[node] = self.land(node, parents[node.parent])

        wishes = [Growth(node, leaf.slots) for node, leaf in parents.items()]
        grown = await grow(self.search, wishes, judge=self.search.score, land=land, until=until)
        return [landed[node] for row in grown for node in row]

    async def look_ahead(self, leaves: Sequence[Leaf], steps: int) -> None:
        """Roll every open leaf out greedily by `steps` more steps and judge it by where it gets.

        The rollouts are paid for and stay in the tree, and are never candidates. They go on in
        step with each other, so that a short budget cuts the same ones off in every run.
        """
        search = self.search
        tips = [leaf.node for leaf in leaves]
        for _ in range(steps):
            wishes = [Growth(tip, int(can_grow(search, tip, self.max_steps))) for tip in tips]
            grown = await grow(search, wishes, judge=search.score, temperature=0.0)
            tips = [row[0] if row else tip for tip, row in zip(tips, grown, strict=True)]
        for leaf, tip in zip(leaves, tips, strict=True):
            leaf.ahead = self._worth(tip)

    def land(self, node: Node, parent: Leaf) -> Leaf:
        """Take `node` in as a child of `parent`; a solution counts from this moment on."""
        leaf = Leaf(node, can_grow(self.search, node, self.max_steps), carry=parent.carry)
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

    def _worth(self, node: Node) -> float:
        """The path's score; -inf if its last step has none."""
        score = self.search.reward(node)
        return -inf if score is None else score
