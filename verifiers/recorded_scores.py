"""Scores that were stored along with recorded samples, served as if they were computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reasoning.errors import VerificationError
from reasoning.generate import Meter
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier


@names.validated
def recorded_scores(*, logit: bool = False, reduction: Reduction = "last") -> RecordedScores:
    """The scores a recording holds: one a step, or one a sample.

    logit: the stored scores are logits of an outcome reward model; their sigmoid is the score.
    """
    return RecordedScores(logit).reduced_by(reduction)


class RecordedScores(Verifier):
    """Serves `scores` (one a step), else `score_last`, of samples from the generator `recorded`."""

    name = "recorded_scores"

    def __init__(self, logit: bool = False) -> None:
        self._logit = logit

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError for a sample without scores, or with any outside [0, 1]."""
        where = f"sample {node.slot + 1} of problem {problem.id!r}"
        info = node.sample.info or {}
        stored = info.get("scores")
        if stored is None:
            stored = [] if info.get("score_last") is None else [info["score_last"]]
        if not isinstance(stored, Sequence) or not stored:
            raise VerificationError(
                f"{where} has neither scores nor score_last; recorded_scores serves what generator "
                "recorded read from its file, so use another file, or another verifier"
            )
        return tuple(self._number(value, where) for value in stored)

    def _number(self, value: object, where: str) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise VerificationError(f"{where}: a stored score is {value!r}, not a finite number")
        if self._logit:
            return _sigmoid(value)
        if not 0 <= value <= 1:
            raise VerificationError(
                f"{where}: the stored score {value:g} is outside [0, 1]; if the scores are logits, "
                "set verifier.logit: true"
            )
        return float(value)


def _sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), for any x."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))
