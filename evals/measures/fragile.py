"""What the greedy answer hides (2026, arXiv:2601.07239)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Finding, NotMeasuredError, dots
from evals.measures.stored import Stored
from evals.statistics.intervals import accuracy
from evals.statistics.paired import paired_difference

MEANS = (
    "Exploration gain: how much more problems samples solve than the greedy answer. Fragile: "
    "problems that are sometimes right and sometimes wrong. Hidden failures: the greedy answer "
    "is right, most samples are not. Hidden ability: it is wrong, and some sample is right."
)
NOT = (
    "The share of fragile problems grows with the number of samples: compare it at equal n "
    "only. Samples are drawn at the run's temperature; at another one the figures are others."
)


class Shares(NamedTuple):
    """A problem's part in each figure, 0 or 1, `average` in [0, 1]."""

    greedy: float
    average: float
    any_right: float
    fragile: float
    hidden_failure: float
    hidden_ability: float


def shares(correct: Sequence[bool], greedy: bool) -> Shares:
    """Of one problem with samples `correct` and its greedy answer right or not."""
    if not len(correct):
        raise ValueError("a problem needs at least one sample, got none")
    c, n = sum(map(bool, correct)), len(correct)
    return Shares(
        float(greedy),
        c / n,
        float(c > 0),
        float(0 < c < n),
        float(greedy and 2 * c < n),
        float(not greedy and c > 0),
    )


def measure(stored: Stored) -> Finding:
    n = stored.at_least(2)
    problems = stored.recording.problems
    fragile = accuracy(
        [shares([s.correct for s in p.samples[:n]], False).fragile for p in problems]
    )
    said = (
        f"{fragile.value:.3f} ({fragile.low:.3f} to {fragile.high:.3f}) of the problems are right "
        f"in some of {n} samples and wrong in others"
    )
    head = ("share", "value", "problems")
    try:
        greedy = stored.greedy_grades
    except NotMeasuredError as lacking:
        row = ("fragile", fragile, len(problems))
        return Finding(f"{said}.", head, [row], (f"the rest is not known: {lacking}",))
    known = [p for p in problems if p.id in greedy]
    if not known:
        raise NotMeasuredError("no problem has both samples and a greedy answer")
    table = np.array([shares([s.correct for s in p.samples[:n]], greedy[p.id]) for p in known])
    gain = paired_difference(table[:, 0].tolist(), table[:, 2].tolist())
    names = ("greedy", f"avg@{n}", f"pass@{n}", "fragile", "hidden failures", "hidden ability")
    rows = [(name, accuracy(table[:, i].tolist()), len(known)) for i, name in enumerate(names)]
    hidden = rows[4][1]
    told = [*rows, ("exploration gain", gain, len(known))]
    return Finding(
        f"{said}; greedy decoding is right where most samples are wrong on {hidden.value:.3f} "
        f"({hidden.low:.3f} to {hidden.high:.3f}), and {n} samples can solve "
        f"{gain.signed} more.",
        head,
        told,
        chart=dots("share of problems", head, told, "value"),
    )
