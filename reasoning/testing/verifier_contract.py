"""What every verifier promises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from reasoning.errors import TransientError, VerificationError
from reasoning.problem import Problem
from reasoning.testing.generator_case import a_problem, no_task_left
from reasoning.tree import Finish, Node, RolloutTree, Sample
from reasoning.verify import Scores, Verifier

STRANGE_TEXTS = (
    "",
    " ",
    "\n\n",
    "no answer here",
    "#### ",
    "\\boxed{",
    "12 * 7 = 84\n\n84 + 5 = 89\n\n\\boxed{89}",
    "十二乘以七等于八十四。\n\n答案是\\boxed{89}",
    "الجواب هو ٨٩",
    "👩‍👩‍👧‍👦 \u202e\ufeff\x00\x1b[0m\u2028\x85",
    "\ud800",
)
"""What models do write now and then."""


class Verdict(NamedTuple):
    """What one call gave, and the tokens that it metered."""

    steps: Scores
    tokens: int


@dataclass(frozen=True, kw_only=True)
class VerifierCase:
    """A verifier with the setting it is checked in.

    Scores lie in [`low`, `high`]. One that cannot score a text raises VerificationError or
    TransientError. `stable` says that the same node gets the same verdict.
    """

    make: Callable[[], Verifier]
    problem: Problem = field(default_factory=a_problem)
    low: float = 0.0
    high: float = 1.0
    stable: bool = True
    longest: int = 1_000_000
    texts: tuple[str, ...] = STRANGE_TEXTS

    def nodes(self) -> list[Node]:
        """Whole solutions, a path of steps, and a solution of `longest` characters."""
        tree = RolloutTree(self.problem.id)
        nodes = [tree.add(tree.root, i, _said(text)) for i, text in enumerate(self.texts)]
        step = tree.add(tree.root, len(nodes), _said("12 * 7 = 84\n\n", "stop"))
        nodes += [step, tree.add(step, 0, _said("84 + 5 = 89, so \\boxed{89}"))]
        if self.longest:
            text = ("word " * (self.longest // 5))[: self.longest]
            nodes.append(tree.add(tree.root, len(nodes), _said(text, "length")))
        return nodes


def _said(text: str, finish: Finish = "end") -> Sample:
    """A word is a token; its certainty goes down from one to the next, and starts again."""
    tokens = max(1, len(text.split()))
    logprobs = (-(np.arange(tokens) % 7) / 7).astype(np.float32)
    return Sample(
        text, logprobs=logprobs, confidence=-logprobs, finish=finish, generated_tokens=tokens
    )


async def ask(verifier: Verifier, problem: Problem, node: Node) -> Verdict:
    """One call, with its metering checked. Raises what the verifier raises."""
    what = f"{verifier.name} on {node!r}"
    metered: list[int] = []
    ended = False

    def meter(tokens: int) -> None:
        assert not ended, f"{what} was metered after the call had ended"
        assert tokens >= 0, f"{what} metered {tokens} tokens"
        metered.append(tokens)

    try:
        steps = await verifier.score(problem, node, meter=meter)
    finally:
        ended = True
    assert isinstance(steps, tuple), f"{what} gave a {type(steps).__name__}, not a tuple of scores"
    return Verdict(steps, sum(metered))


async def verdict(case: VerifierCase, verifier: Verifier, node: Node) -> Verdict | None:
    """One call, checked for what holds of every call; None if it raised what it may."""
    before = dict(node.scores)
    try:
        found = await ask(verifier, case.problem, node)
    except (VerificationError, TransientError):
        return None
    what = f"{verifier.name} on {node!r}"
    assert found.steps, f"{what} gave no score; raise VerificationError if there is none"
    for score in found.steps:
        assert math.isfinite(score), f"{what} gave {score}"
        assert case.low <= score <= case.high, (
            f"{what} gave {score}, outside [{case.low:g}, {case.high:g}]"
        )
    assert node.scores == before, f"{what} wrote into the node; Search does that"
    return found


def check_verdicts(case: VerifierCase) -> None:
    """Every text gets finite scores in range or an error that is allowed; some get scores."""

    async def work() -> None:
        verifier = case.make()
        assert verifier.name, "a verifier has a name"
        found = [await verdict(case, verifier, node) for node in case.nodes()]
        assert any(found), f"{verifier.name} scored none of {len(found)} texts"

    asyncio.run(no_task_left(work))


def check_stable(case: VerifierCase) -> None:
    """The same node gets the same verdict, from another instance too."""
    if not case.stable:
        return

    async def work() -> None:
        one, other = case.make(), case.make()
        for node in case.nodes():
            first = await verdict(case, one, node)
            for verifier in (one, other):
                again = await verdict(case, verifier, node)
                assert again == first, f"{one.name} gave {first}, then {again} on {node!r}"

    asyncio.run(no_task_left(work))


def check_verdicts_together(case: VerifierCase) -> None:
    """Calls in flight together get what they get alone, up to rounding in a batch."""

    async def work() -> None:
        verifier = case.make()
        nodes = case.nodes() * 2
        calls = [asyncio.ensure_future(verdict(case, verifier, node)) for node in nodes]
        await asyncio.wait(calls)
        for node, call in zip(nodes, calls, strict=True):
            together, alone = call.result(), await verdict(case, verifier, node)
            if not case.stable:
                continue
            assert (alone is None) == (together is None), f"{node!r} was scored once only"
            if alone and together:
                what = f"{verifier.name} gave {alone} alone and {together} together on {node!r}"
                assert len(alone.steps) == len(together.steps), what
                assert all(map(_near, alone.steps, together.steps)), what

    asyncio.run(no_task_left(work))


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4)


def check_verdict_cancellation(case: VerifierCase) -> None:
    """A cancelled call raises CancelledError and spoils no other."""

    async def work() -> None:
        verifier = case.make()
        node = case.nodes()[-2 if case.longest else -1]
        for turns in (0, 1, 2, 3, 5, 8):
            lost, kept = (asyncio.ensure_future(verdict(case, verifier, node)) for _ in range(2))
            for _ in range(turns):
                await asyncio.sleep(0)
            lost.cancel()
            await asyncio.wait([lost, kept])
            assert lost.cancelled() or lost.exception() is None
            kept.result()

    asyncio.run(no_task_left(work))


def check_verdicts_in_two_loops(case: VerifierCase) -> None:
    """One verifier serves two event loops in turn."""
    verifier = case.make()
    for _ in range(2):
        asyncio.run(verdict(case, verifier, case.nodes()[0]))


def check_siblings(case: VerifierCase) -> None:
    """One that scores siblings together gives each its scores or its error, and meters the call."""
    if case.make().together == 1:
        return

    async def work() -> None:
        verifier = case.make()
        nodes = [node for node in case.nodes() if node.depth == 1][: verifier.together]
        metered: list[int] = []
        found = await verifier.score_siblings(case.problem, nodes, meter=metered.append)
        assert len(found) == len(nodes), f"{len(found)} results for {len(nodes)} nodes"
        assert all(tokens >= 0 for tokens in metered), f"metered {metered}"
        for node, steps in zip(nodes, found, strict=True):
            what = f"{verifier.name} on {node!r} among its siblings"
            if isinstance(steps, Exception):
                assert isinstance(steps, VerificationError | TransientError), f"{what}: {steps!r}"
                continue
            assert steps, f"{what} gave no score"
            assert all(case.low <= score <= case.high for score in steps), f"{what}: {steps}"
        assert any(not isinstance(steps, Exception) for steps in found), "none has a score"
        again = await case.make().score_siblings(case.problem, nodes, meter=metered.append)
        same = [a if isinstance(a, tuple) else str(a) for a in again]
        first = [a if isinstance(a, tuple) else str(a) for a in found]
        assert not case.stable or same == first, f"{first}, then {same}"

    asyncio.run(no_task_left(work))


VERIFIER_CHECKS: tuple[Callable[[VerifierCase], None], ...] = (
    check_verdicts,
    check_stable,
    check_verdicts_together,
    check_verdict_cancellation,
    check_verdicts_in_two_loops,
    check_siblings,
)


def check_verifier(make: Callable[[], Verifier], **setting: Any) -> None:
    """All of `VERIFIER_CHECKS`; `setting` goes to `VerifierCase`."""
    case = VerifierCase(make=make, **setting)
    for check in VERIFIER_CHECKS:
        check(case)
