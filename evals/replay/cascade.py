"""The whole cost-accuracy curve of a cascade of two models, from two recordings, by one sort.

The small model answers, and is believed from some confidence on; else the large one is asked, and
its answer stands (Jitkrittum et al., 2023, arXiv:2307.02764). With the samples of both at hand, all
thresholds are one pass over the small model's answers in the order of their confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evals.replay.samples import Drawn, Recording
from evals.statistics.intervals import (
    Floats,
    Interval,
    bootstrap_weights,
    column_means,
    quantile_interval,
)
from reasoning.errors import RecipeError
from searchers.kernels.deferral import features

NDInts: TypeAlias = NDArray[np.intp]
By: TypeAlias = Literal["agreement", "logprob", "score", "tokens", "gain"]
_RESAMPLES = 1000
_FOLDS = 5


@dataclass(frozen=True)
class Units:
    """The small model's answers, with what the large one would have made of the same problem.

    All but `names` are arrays [units]: the number of the problem, how sure one may be, and, for
    both models [units, 2], the chance of being right and the cost.
    """

    names: list[str]
    problem: NDInts
    sure: Floats
    right: Floats
    cost: Floats

    def weights(self, problems: Floats | None = None) -> Floats:
        """The weight of every unit: those of a problem share its weight, 1/n unless given."""
        n = np.bincount(self.problem, minlength=len(self.names))
        share = np.full(len(n), 1 / len(n)) if problems is None else problems
        return np.asarray((share / n)[self.problem])


@dataclass(frozen=True)
class Curve:
    """What each threshold gives, arrays [thresholds]: from none that is deferred to all.

    Who is less sure than `threshold` is deferred: the share of `deferred`, at a mean `cost` a
    problem, for an `accuracy`. `large` is (cost, accuracy) of the large model alone.
    """

    threshold: Floats
    deferred: Floats
    cost: Floats
    accuracy: Floats
    large: tuple[float, float]

    @property
    def area(self) -> float:
        """The mean gain in accuracy, over all costs, against the two models alone.

        They give, at a cost between theirs, what asking one or the other by lot does; above both,
        the better of the two. Costs go from the small model alone to both for every problem.
        """
        width = self.cost[-1] - self.cost[0]
        if width <= 0:
            return 0.0
        x = np.union1d(self.cost, np.clip(self.large[0], self.cost[0], self.cost[-1]))
        gain = np.interp(x, self.cost, self.accuracy) - self.alone(x)
        return float(((gain[1:] + gain[:-1]) / 2 * np.diff(x)).sum() / width)

    def alone(self, cost: Floats) -> Floats:
        """The accuracy of the two models without a cascade, at each of these costs."""
        (small, low), (large, high) = (self.cost[0], self.accuracy[0]), self.large
        if large <= small or high <= low:
            return np.full(len(cost), max(low, high) if large <= small else low)
        return np.asarray(np.interp(cost, [small, large], [low, high]))


def curve(units: Units, problems: Floats | None = None) -> Curve:
    """Every threshold there is, by one sort; equal confidences are deferred together."""
    order = np.argsort(units.sure, kind="stable")
    sure, w = units.sure[order], units.weights(problems)[order]
    right, cost = units.right[order], units.cost[order]
    ends = np.r_[0, np.flatnonzero(sure[1:] != sure[:-1]) + 1, len(sure)]

    def so_far(values: Floats) -> Floats:
        return np.asarray(np.r_[0.0, np.cumsum(w * values)][ends])

    return Curve(
        threshold=np.r_[sure[ends[:-1]], inf],
        deferred=so_far(np.ones(len(w))),
        cost=float(w @ cost[:, 0]) + so_far(cost[:, 1]),
        accuracy=float(w @ right[:, 0]) + so_far(right[:, 1] - right[:, 0]),
        large=(float(w @ cost[:, 1]), float(w @ right[:, 1])),
    )


def area(units: Units, *, seed: int = 0) -> Interval:
    """`Curve.area` with a bootstrap interval over problems, the order of confidence as it is."""
    draws = [
        curve(units, weights).area
        for weights in bootstrap_weights(len(units.names), _RESAMPLES, seed)
    ]
    return quantile_interval(curve(units).area, np.asarray(draws))


def at(units: Units, thresholds: Sequence[float]) -> list[Interval]:
    """The accuracy at each threshold, with its interval over problems."""
    below = units.sure[:, None] < np.asarray(thresholds)
    right = np.where(below, units.right[:, 1:], units.right[:, :1])
    n = np.bincount(units.problem, minlength=len(units.names))
    table = np.zeros((len(n), len(thresholds)))
    np.add.at(table, units.problem, right)
    return column_means(np.clip(table / n[:, None], 0, 1))


# --------------------------------------------------------------------------- from recordings


def paired(
    small: Recording,
    large: Recording,
    *,
    by: By | None = None,
    k: int = 1,
    prices: tuple[float, float] = (1.0, 1.0),
) -> tuple[Units, By, dict[str, float]]:
    """The problems that both hold, how confidence is told, and the rule that "gain" has fitted.

    k samples of a model in a row are one answer, their vote, and "agreement" is the share of it;
    what the large one answers is a mean over all that it has of them. Without an answer, or what
    confidence is told by, one is never sure. Costs are tokens times `prices`.
    """
    others = {p.id: p.samples for p in large.problems}
    shared = [p for p in small.problems if p.id in others]
    if len(shared) < 2:
        raise RecipeError(
            f"{small.name} and {large.name} share {len(shared)} problems; a cascade needs both "
            "models on the same ones, with the same ids"
        )
    if not 1 <= k <= (most := min(small.n, large.n)):
        raise RecipeError(f"--votes must be from 1 to {most}, the samples that all problems have")
    if by == "gain" and k > 1:
        raise RecipeError("--by gain fits a rule for one sample, so it goes with --votes 1")
    if any(d.tokens is None for r in (small, large) for d in r.drawn()):
        raise RecipeError("a cascade's cost is counted in tokens, and some samples have no count")
    problem, answers, right, cost = [], [], [], []
    for i, stored in enumerate(shared):
        theirs = _groups(others[stored.id], k)
        second = float(np.mean([a.right for a in theirs]))
        price = prices[1] * float(np.mean([a.tokens for a in theirs]))
        for answer in _groups(stored.samples, k):
            answers.append(answer)
            problem.append(i)
            right.append((float(answer.right), second))
            cost.append((prices[0] * answer.tokens, price))
    by = by or ("agreement" if k > 1 else "logprob" if _knows(answers, "logprob") else "tokens")
    numbers, rights = np.asarray(problem), np.asarray(right)
    sure, rule = _sureness(by, answers, numbers, rights)
    silent = np.asarray([a.silent for a in answers])
    units = Units(
        [p.id for p in shared],
        numbers,
        np.where(silent | ~np.isfinite(sure), -inf, sure),
        rights,
        np.asarray(cost),
    )
    return units, by, rule


@dataclass(frozen=True)
class _Answer:
    """The small model's answer: the vote of some samples, and what is known of them."""

    right: bool
    silent: bool
    tokens: float
    agreement: float
    logprob: float | None
    score: float | None

    @classmethod
    def of(cls, group: Sequence[Drawn]) -> _Answer:
        votes = Counter(d.key for d in group if d.key >= 0)
        key, count = votes.most_common(1)[0] if votes else (-1, 0)
        first = next((d for d in group if d.key == key), group[0])
        return cls(
            first.correct and bool(votes),
            not votes,
            sum(d.tokens or 0.0 for d in group),
            count / len(group),
            first.logprob,
            first.score("last"),
        )


def _groups(samples: Sequence[Drawn], k: int) -> list[_Answer]:
    return [_Answer.of(samples[i : i + k]) for i in range(0, len(samples) - k + 1, k)]


def _knows(answers: Sequence[_Answer], name: str) -> bool:
    return any(getattr(a, name) is not None for a in answers)


def _sureness(
    by: By, answers: Sequence[_Answer], problem: NDInts, right: Floats
) -> tuple[Floats, dict[str, float]]:
    """How sure one may be of each answer, higher is surer, and the rule if one was fitted."""
    columns: dict[str, Floats] = {
        name: np.asarray([_number(getattr(a, name)) for a in answers])
        for name in ("agreement", "logprob", "score", "tokens")
    }
    if by != "gain":
        if not np.isfinite(columns[by]).any():
            raise RecipeError(f"--by {by}: no sample of the small model has any")
        return -columns[by] if by == "tokens" else columns[by], {}
    told = bool(np.isfinite(columns["logprob"]).all())
    known = [features(a.logprob if told else None, a.tokens) for a in answers]
    x = np.array([[*row.values()] for row in known])
    gain = right[:, 1] - right[:, 0]
    rule = dict(zip(map(str, known[0]), fitted(x, gain, problem).tolist(), strict=True))
    return -held_out(x, gain, problem), rule


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def fitted(x: Floats, gain: Floats, problem: NDInts) -> Floats:
    """Least squares of `gain` [units] on x [units, features], every problem weighing the same."""
    _, number, counts = np.unique(problem, return_inverse=True, return_counts=True)
    root = np.sqrt(1 / counts[number])
    return np.asarray(np.linalg.lstsq(x * root[:, None], gain * root, rcond=None)[0])


def held_out(x: Floats, gain: Floats, problem: NDInts, *, seed: int = 0) -> Floats:
    """The gain [units] that a fit on the other problems expects, five folds of problems."""
    n = int(problem.max()) + 1
    fold = np.random.default_rng(seed).permutation(n) % min(_FOLDS, n)
    expected = np.zeros(len(gain))
    for i in range(fold.max() + 1):
        out = fold[problem] == i
        expected[out] = x[out] @ fitted(x[~out], gain[~out], problem[~out])
    return expected
