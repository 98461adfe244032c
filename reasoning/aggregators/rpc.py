"""Reasoning-pruned perplexity consistency (RPC; 2025, arXiv:2502.00511)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Floats, Ints, Picks, tally, weighed
from reasoning.aggregators.certainty import probability

VOTES = True

_START = (0.5, 1.0, 1.0, 1.5, 2.0)
_BOUNDS = ((0.2, 0.8), *((0.01, None),) * 4)


def rpc(candidates: Sequence[Candidate]) -> Choice | None:
    """A vote in which each weighs c = exp(mean log-probability a token), the unlikely left out.

    Left out are those that `pruned` names, among all candidates that have log-probabilities. Those
    alike in answer, length and c are one text, which counts once. Ties go to the earliest (the
    released code shares them). Without log-probabilities this is `majority`.
    """
    one = Ballots.of(candidates)
    p, weights = _weights(one)
    settled = int(_settled(one, p, weights)[0])

    def vote() -> Choice | None:
        return _unpruned(one, p, weights).choice(one)

    return vote() if settled < 0 else _Settled(one.candidates[settled], vote)


def rule(ballots: Ballots) -> Picks:
    """`rpc` in every row; a share where the choice needed one."""
    p, weights = _weights(ballots)
    place = _settled(ballots, p, weights)
    share = np.full(len(place), np.nan)
    if len(rows := np.flatnonzero(place < 0)):
        place[rows], share[rows] = _unpruned(ballots.some(rows), p[rows], weights[rows])
    return Picks(place, share)


class _Settled(Choice):
    """A choice that does not depend on what is pruned; how sure it is does."""

    _vote: Callable[[], Choice | None]

    def __init__(self, candidate: Candidate, vote: Callable[[], Choice | None]) -> None:
        object.__setattr__(self, "candidate", candidate)
        object.__setattr__(self, "_vote", vote)

    @property
    def confidence(self) -> float | None:
        choice = self._vote()
        return None if choice is None else choice.confidence


def _weights(ballots: Ballots) -> tuple[Floats, Floats]:
    """c of each, and what it weighs: 0 for a text that stands before it; both [rows, n]."""
    p = ballots.read(probability)
    known: dict[tuple[str, int, float], int] = {}
    texts = [
        -1 if t is None else known.setdefault(t, len(known)) for t in map(_text, ballots.candidates)
    ]
    if len(known) == len(texts):
        return p, p.copy()
    text = ballots.taken(np.array(texts, dtype=np.int64), -1)
    _, first = tally(text, p, text >= 0)
    n = text.shape[1]
    again = (text >= 0) & (np.take_along_axis(first, np.maximum(text, 0), axis=1) < np.arange(n))
    return p, np.where(again, 0.0, p)


def _text(c: Candidate) -> tuple[str, int, float] | None:
    p = probability(c)
    if p is None or c.answer is None:
        return None
    return c.answer.key, c.node.generated_tokens if c.node else 0, p


def _settled(ballots: Ballots, p: Floats, weights: Floats) -> Ints:
    """Who wins whatever is pruned [rows], -1 where that counts.

    What is at least as likely as the mean never is. That is most votes, and a fit of the mixture
    costs more than a hundred of them.
    """
    answer, known = ballots.answer, np.isfinite(p)
    voters = known & (answer >= 0)
    many = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, p, 0.0).sum(axis=1, keepdims=True) / many * (1 + 1e-9)
    votes = np.where(voters, weights * ballots.weight, 0.0)
    most, first = tally(answer, votes, voters)
    surely, _ = tally(answer, np.where(weights > mean, votes, 0.0), voters)
    cast = first < answer.shape[1]
    top = np.where(cast, surely, -np.inf).argmax(axis=1)[:, None]
    other = np.where(cast & (np.arange(cast.shape[1]) != top), most, -1.0).max(axis=1)
    clear = np.take_along_axis(surely, top, axis=1)[:, 0] > other * (1 + 1e-9)
    clear &= cast.any(axis=1) & ~(voters & ~(ballots.weight >= 0)).any(axis=1)
    found = np.full(len(answer), -1)
    at = np.take_along_axis(first, top, axis=1)[clear, 0]
    found[clear] = ballots.places[clear, at]
    return found


def _unpruned(ballots: Ballots, p: Floats, weights: Floats) -> Picks:
    """The vote without those that are pruned."""
    weights = weights.copy()
    for row, values in enumerate(p):
        out = _pruned(tuple(sorted(values[np.isfinite(values)].tolist())))
        weights[row, np.isin(values, list(out))] = 0.0
    return weighed(ballots, weights)


@lru_cache(maxsize=4096)
def _pruned(p: tuple[float, ...]) -> frozenset[float]:
    """`pruned`, which depends on what was drawn and not when."""
    return frozenset(pruned(np.array(p)).tolist())


def pruned(p: Floats) -> Floats:
    """Those of `p` [n] in (0, 1] that are likelier of the lower component, and below the mean.

    None of them if there are fewer than two different ones, or the fit fails.
    """
    fit = mixture(p)
    if fit is None:
        return p[:0]
    _, *sizes = fit
    with np.errstate(all="ignore"):
        low, high = np.exp(_log_parts(p, fit))
    means = [scale * math.gamma(1 + 1 / shape) for shape, scale in (sizes[:2], sizes[2:])]
    if means[0] > means[1]:
        low, high = high, low
    return np.asarray(p[(high < low) & (p < p.mean())])


def mixture(p: Floats) -> tuple[float, ...] | None:
    """Weight of the first, then shape and scale of both Weibull distributions, fitted to `p` [n].

    A maximum of the likelihood: of several the one that the released code's search finds from its
    start and within its bounds (others, as L-BFGS-B is, end in others and prune otherwise). None if
    there is nothing to fit, or the search fails.
    """
    from scipy.optimize import minimize

    if len(np.unique(p)) < 2:
        return None
    log, slopes = np.log(p), np.zeros(5)

    def loss(x: NDArray[np.float64]) -> float:
        nonlocal slopes
        value, slopes = _loss(x, log)
        return value

    # The search asks for slopes where it has just asked for the loss. It may look at shapes without
    # bounds; threads would only wait for each other.
    with np.errstate(all="ignore"), _blas().limit(limits=1, user_api="blas"):
        result = minimize(loss, _START, jac=lambda _: slopes, method="L-BFGS-B", bounds=_BOUNDS)
    fit = tuple(float(x) for x in result.x)
    return fit if math.isfinite(result.fun) and all(map(math.isfinite, fit)) else None


@cache
def _blas() -> Any:
    """What limits the threads of the library that SciPy reckons with, once that is loaded."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _loss(x: NDArray[np.float64], log: Floats) -> tuple[float, NDArray[np.float64]]:
    """Minus the mean log-likelihood, and its gradient [5], at the logarithms `log` [n] of p.

    A density is k / s (p / s)^(k - 1) exp(-(p / s)^k) with shape k and scale s.
    """
    first, second = float(x[0]), 1 - float(x[0])
    weights, shapes, scales = np.array([first, second]), x[1::2], x[2::2]
    z = log - np.log(scales)[:, None]
    kz = shapes[:, None] * z
    power = np.exp(kz)
    parts = np.log(weights * shapes / scales)[:, None] + kz - z - power
    whole = np.logaddexp(parts[0], parts[1])
    share = np.exp(parts - whole)
    sums = np.add.reduce
    total = sums(share, axis=1)
    by_shape = total / shapes + sums(share * (z - power * z), axis=1)
    by_scale = sums(share * (power - 1), axis=1) * shapes / scales
    slopes = np.empty(5)
    slopes[0] = total[0] / first - total[1] / second
    slopes[1::2], slopes[2::2] = by_shape, by_scale
    return -float(sums(whole)) / len(log), slopes / -len(log)


def _log_parts(p: Floats, x: Sequence[float]) -> NDArray[np.float64]:
    """Log of weight times density [2, n] of both components."""
    weights = (x[0], 1 - x[0])
    return np.array(
        [
            np.log(w * k / scale) + (k - 1) * np.log(p / scale) - (p / scale) ** k
            for w, (k, scale) in zip(weights, (x[1:3], x[3:5]), strict=True)
        ]
    )
