"""How far resampling goes under a verifier that errs (Stroebl et al., 2024, arXiv:2411.17501)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError, resampled
from evals.measures.stored import Stored
from evals.replay.samples import Stored as Problem
from evals.statistics.intervals import Floats

MEANS = (
    "If samples are drawn until the verifier accepts one (score 0.5 or more): how right the "
    "accepted answers are after so many attempts, and k_opt, the number of attempts that is worth "
    "most where a right answer is worth 1 and a wrong one costs so much; 0 is not to answer."
)
NOT = (
    "Every problem is taken to keep its own rate of right samples, known from the few that are "
    "stored: one that was never right counts as impossible, and then resampling gains nothing on "
    "it. The verifier's errors are taken for independent of the problem."
)

ACCEPTED = 0.5
PENALTIES = (-0.5, -1.0, -2.0)
MOST = 64
"""Attempts beyond which nobody draws."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """Types of problems with prior `shares`, each sample right at `rates`, both [types].

    The verifier accepts a right sample with chance `completeness` and rejects a wrong one with
    chance `soundness`. All are in [0, 1], the shares add up to 1.
    """

    shares: Floats
    rates: Floats
    completeness: float
    soundness: float

    def accepted(self, attempts: int) -> tuple[Floats, Floats]:
        """The chances that attempt k = 1 .. `attempts` ends it right, and ends it wrong.

        By the prior: the chance to reach k is sum_i share_i reject_i^(k-1), so that rejections
        count once.
        """
        rejected = (1 - self.completeness) * self.rates + self.soundness * (1 - self.rates)
        reached = self.shares * rejected ** np.arange(attempts)[:, None]
        right = reached @ (self.completeness * self.rates)
        return right, reached @ ((1 - self.soundness) * (1 - self.rates))

    def worth(self, penalty: float, attempts: int = MOST) -> Floats:
        """The expected value of at most 0 .. `attempts` attempts; 1 for right, `penalty` if not."""
        right, wrong = self.accepted(attempts)
        return np.concatenate([[0.0], np.cumsum(right + penalty * wrong)])

    def best(self, penalty: float, attempts: int = MOST) -> int:
        """k_opt: the fewest attempts that are worth most."""
        worth = self.worth(penalty, attempts)
        return int(np.flatnonzero(worth >= worth.max() - 1e-12)[0])

    def precision(self, attempts: int) -> float:
        """The share right of what is accepted within `attempts`; NaN if nothing is."""
        right, wrong = (float(x.sum()) for x in self.accepted(attempts))
        return right / (right + wrong) if right + wrong > 0 else float("nan")


def limit_precision(rate: float, completeness: float, soundness: float) -> float:
    """What the precision of one more accepted sample of the hardest type tends to."""
    right, wrong = rate * completeness, (1 - rate) * (1 - soundness)
    return right / (right + wrong)


def measure(stored: Stored) -> Finding:
    problems = [p for p in stored.recording.problems if any(s.scored for s in p.samples)]
    scores = [s.steps[-1] for p in problems for s in p.samples if s.scored]
    if not scores or min(scores) < 0 or max(scores) > 1:
        raise NotMeasuredError("this needs scores in [0, 1] of a verifier for the samples")
    counts = np.array([_counts(p) for p in problems], dtype=float)
    if not counts[:, :2].sum() or not counts[:, 2:].sum():
        raise NotMeasuredError("this needs scored samples that are right and such as are wrong")
    if not counts[:, ::2].sum():
        raise NotMeasuredError(f"the verifier accepts no sample (no score is {ACCEPTED} or more)")
    rows: list[tuple[Cell, ...]] = [
        ("completeness", resampled(len(counts), lambda w: _model(counts, w).completeness)),
        ("soundness", resampled(len(counts), lambda w: _model(counts, w).soundness)),
    ]
    at = [1, 2, 4, 8, 16, 32, MOST]
    found = [
        resampled(len(counts), lambda w, k=k: _model(counts, w).precision(k), resamples=300)  # type: ignore[misc]
        for k in at
    ]
    rows += [(f"right of the accepted, {k} attempts", p) for k, p in zip(at, found, strict=True)]
    model = _model(counts, np.full(len(counts), 1 / len(counts)))
    best = {penalty: model.best(penalty) for penalty in PENALTIES}
    rows += [(f"k_opt, a wrong answer costs {-p:g}", k) for p, k in best.items()]
    return Finding(
        f"Of the answers that the verifier accepts {found[0].value:.3f} are right at the first "
        f"attempt and {found[-1].value:.3f} ({found[-1].low:.3f} to {found[-1].high:.3f}) within "
        f"{MOST}; where a wrong one costs as much as a right one is worth, {best[-1.0]} attempts "
        "are best.",
        ("drawn until accepted", "value"),
        rows,
        chart=Chart(
            "attempts at most",
            "right of the accepted",
            {"precision": [(float(k), p) for k, p in zip(at, found, strict=True)]},
        ),
    )


def _counts(problem: Problem) -> tuple[int, int, int, int]:
    """Right and accepted, right and not, wrong and accepted, wrong and not."""
    verdicts = [(s.correct, s.steps[-1] >= ACCEPTED) for s in problem.samples if s.scored]
    return (
        verdicts.count((True, True)), verdicts.count((True, False)),
        verdicts.count((False, True)), verdicts.count((False, False)),
    )  # fmt: skip


def _model(counts: Floats, weights: Floats) -> Resampling:
    """What `counts` [problems, 4] of weighted problems say; NaN rates where a kind is missing."""
    kept = weights > 0
    total = weights @ counts
    with np.errstate(invalid="ignore"):
        completeness = total[0] / (total[0] + total[1])
        soundness = total[3] / (total[2] + total[3])
    rates = (counts[:, 0] + counts[:, 1]) / counts.sum(axis=1)
    return Resampling(weights[kept], rates[kept], float(completeness), float(soundness))
