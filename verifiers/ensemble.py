"""Several verifiers as one: their scores averaged, multiplied, or put on a common scale of ranks.

Combining imperfect judges is Weaver's idea (Saad-Falcon et al., 2025, arXiv:2506.18203).
"""

from __future__ import annotations

import math
from asyncio import TaskGroup
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from reasoning.errors import RecipeError, StoreError, VerificationError, cause
from reasoning.generate import Meter, Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.session import start
from reasoning.tree import Node, RolloutTree
from reasoning.verify import Reduction, Scores, Verifier

Combine: TypeAlias = Literal["mean", "min", "product", "rank"]
Weight: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@names.validated
def ensemble(
    *,
    members: list[Any],
    combine: Combine = "mean",
    weights: list[Weight] | None = None,
    reference: str | list[str] | None = None,
    reduction: Reduction = "last",
) -> Ensemble:
    """Several verifiers as one: in [0, 1] if they are, or with combine: rank.

    members: names, or mappings of a name and options, as for one verifier.
    combine: what to make of their scores, step by step,

    - mean: the weighted mean;
    - min: the lowest, what the strictest says;
    - product: the weighted product, prod s^w: one member's zero is a veto;
    - rank: the weighted mean of ranks, for members on scales of their own. A score's rank is the
      share of that member's scores in the runs `reference` (folders) that it is above.

    weights: one a member, else all equal; not for min. A member with a single score gives it to
    every step.
    """
    if len(members) < 2:
        raise RecipeError(f"ensemble: members has {len(members)} entries; it takes 2 or more")
    if weights is not None and (combine == "min" or len(weights) != len(members)):
        raise RecipeError(
            f"ensemble: {len(weights)} weights for {len(members)} members under {combine}; give "
            "one a member, and none with min"
        )
    if (reference is not None) != (combine == "rank"):
        raise RecipeError(
            "ensemble: ranks are taken among the scores of earlier runs; combine: rank goes with "
            "reference: runs/NAME, and nothing else does"
        )
    built: list[Verifier] = [names.build("verifier", member) for member in members]
    for member in built:
        if not isinstance(member, Verifier):
            raise RecipeError(
                f"ensemble: the member {member!r} is no verifier; give a name, or a mapping of a "
                "name and options"
            )
    folders = [reference] if isinstance(reference, str) else reference or []
    ranks = [_ranking(member.name, folders) for member in built] if folders else None
    return Ensemble(built, combine, weights or [1.0] * len(built), ranks).reduced_by(reduction)


class Ensemble(Verifier):
    """Asks all members at once, and meters what all of them read."""

    name = "ensemble"

    def __init__(
        self,
        members: Sequence[Verifier],
        combine: Combine,
        weights: Sequence[float],
        ranks: Sequence[Callable[[float], float]] | None = None,
    ) -> None:
        self._members = members
        self._combine = combine
        self._weights = weights
        self._ranks = ranks
        self.reads_logprobs = any(member.reads_logprobs for member in members)

    @property
    def text_only(self) -> bool:
        return all(member.text_only for member in self._members)

    @property
    def notes(self) -> list[str]:
        return [note for member in self._members for note in member.notes]

    @property
    def version(self) -> str | None:
        """Those of the members that have one; some know it only once they have started."""
        found = [member.version for member in self._members if member.version]
        return "; ".join(found) or None

    def preflight(self, sampling: Sampling, problems: Sequence[Problem]) -> None:
        for member in self._members:
            member.preflight(sampling, problems)

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises what a member raises, VerificationError if they see different steps."""
        try:
            async with TaskGroup() as group:
                tasks = [
                    group.create_task(member.score(problem, node, meter=meter))
                    for member in self._members
                ]
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        found = [task.result() for task in tasks]
        length = max(map(len, found))
        rows = [steps * length if len(steps) == 1 else steps for steps in found]
        if any(len(row) != length for row in rows):
            counts = ", ".join(
                f"{m.name} {len(steps)}" for m, steps in zip(self._members, found, strict=True)
            )
            raise VerificationError(
                f"problem {problem.id!r}: the members of the ensemble score different numbers of "
                f"steps ({counts}); give them the same step_break, or combine other ones"
            )
        if self._ranks is not None:
            rows = [tuple(map(f, row)) for f, row in zip(self._ranks, rows, strict=True)]
        return tuple(self._one(column, problem) for column in zip(*rows, strict=True))

    async def astart(self) -> None:
        """Get every member ready that has to, one after the other."""
        for member in self._members:
            await start(member)

    async def describe(self) -> Mapping[str, str]:
        """What the members say of themselves. Raises what a call raises."""
        found: dict[str, str] = {}
        for member in self._members:
            found |= await member.describe()
        return found

    async def aclose(self) -> None:
        """Close every member that can be, also if one of them fails to."""
        async with AsyncExitStack() as stack:
            for member in self._members:
                stack.push_async_callback(member.aclose)

    def _one(self, scores: Sequence[float], problem: Problem) -> float:
        if self._combine == "min":
            return min(scores)
        pairs = list(zip(scores, self._weights, strict=True))
        if self._combine == "product":
            if min(scores) < 0:
                raise VerificationError(
                    f"problem {problem.id!r}: a product of scores takes none below 0, and a member "
                    f"gave {min(scores):g}; use combine: rank"
                )
            return math.prod([float(score**weight) for score, weight in pairs])
        return math.fsum(score * weight for score, weight in pairs) / math.fsum(self._weights)


def _ranking(name: str, folders: Sequence[str]) -> Callable[[float], float]:
    """Maps a score of member `name` to its rank in [0, 1] among those it gave in earlier runs."""
    scores: list[float] = []
    for folder in folders:
        files = sorted(Path(folder).glob("trees/**/*.jsonl"))
        if not files:
            raise RecipeError(
                f"ensemble: {folder} holds no rollout trees; reference names folders of runs, such "
                "as runs/quickstart"
            )
        for file in files:
            try:
                scores += [s for node in RolloutTree.load(file) for s in node.scores.get(name, ())]
            except (OSError, StoreError) as error:
                raise RecipeError(f"ensemble: reference {file}: {error}") from error
    if not scores:
        raise RecipeError(
            f"ensemble: no node in {', '.join(folders)} was scored by {name}; run a recipe with "
            "that verifier first"
        )
    scores.sort()

    def rank(score: float) -> float:
        return (bisect_left(scores, score) + bisect_right(scores, score)) / (2 * len(scores))

    return rank
