"""What a pool of samples may win and lose against one (2025, arXiv:2506.20544)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, dots, mean
from evals.measures.stored import Stored
from evals.statistics.intervals import Interval, column_means

MEANS = (
    "The most that choosing among the samples could gain over the greedy answer (hope), and the "
    "most that it could lose (risk), in accuracy; by a verifier's scores relative to its score."
)
NOT = (
    "Bounds for a perfect and for a perverse choice; what a real one makes of it lies between. "
    "By scores they are about what the verifier likes, which need not be what is right."
)


class Bounds(NamedTuple):
    """The best and the worst of a pool against a reference, relative to it."""

    hope: float
    risk: float


def relative(scores: Sequence[float], reference: float) -> Bounds:
    """(max - g) / g and (min - g) / g of positive scores against that of the greedy answer, g.

    Raises ValueError if one of them is not above 0.
    """
    if not len(scores) or min(*scores, reference) <= 0:
        raise ValueError(f"scores must be above 0, got {list(scores)!r:.60} and {reference}")
    return Bounds(max(scores) / reference - 1, min(scores) / reference - 1)


def measure(stored: Stored) -> Finding:
    n = stored.at_least(2)
    problems = stored.recording.problems
    notes: tuple[str, ...] = ()
    try:
        greedy, name = stored.greedy_grades, "the greedy answer"
    except NotMeasuredError as lacking:
        greedy, name = {}, "the average sample"
        notes = (f"against the average sample; {lacking}",)
    known = [p for p in problems if not greedy or p.id in greedy]
    if not known:
        raise NotMeasuredError("no problem has both samples and a greedy answer")
    grades = np.array([p.grades()[:n] for p in known])
    base = np.array([greedy[p.id] for p in known], float) if greedy else grades.mean(axis=1)
    reference, best, worst = column_means(
        np.stack([base, grades.max(axis=1), grades.min(axis=1)], axis=1)
    )
    hope, risk = mean(grades.max(axis=1) - base), mean(grades.min(axis=1) - base)
    rows: list[tuple[Cell, ...]] = [
        (name, reference), (f"best of {n}", best), (f"worst of {n}", worst),
        ("hope", hope), ("risk", risk),
    ]  # fmt: skip
    if scored := _by_score(stored):
        rows += [
            ("hope by score, over the mean score", scored[0]),
            ("risk by score, over the mean score", scored[1]),
        ]
    return Finding(
        f"Choosing among {n} samples can gain at most {hope.signed} over {name}, and "
        f"lose at most {-risk.value:z.3f} ({-risk.high:z.3f} to {-risk.low:z.3f}).",
        ("accuracy", "value"),
        rows,
        notes,
        dots("accuracy", ("accuracy", "value"), rows[:5], "value"),
    )


def _by_score(stored: Stored) -> tuple[Interval, Interval] | None:
    """Relative to a problem's average score; None where scores are missing or not above 0."""
    pools = [[s.steps[-1] for s in p.samples if s.scored] for p in stored.recording.problems]
    if not all(pools):
        return None
    try:
        found = [relative(pool, float(np.mean(pool))) for pool in pools]
    except ValueError:
        return None
    return mean([f.hope for f in found]), mean([f.risk for f in found])
