"""Reasoning-pruned perplexity consistency (RPC; 2025, arXiv:2502.00511)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.certainty import probability
from reasoning.aggregators.voting import in_order, weighed

Floats: TypeAlias = NDArray[np.float64]

VOTES = True

_START = (0.5, 1.0, 1.0, 1.5, 2.0)
_BOUNDS = ((0.2, 0.8), *((0.01, None),) * 4)


def rpc(candidates: Sequence[Candidate]) -> Choice | None:
    """A vote in which each weighs c = exp(mean log-probability a token), the unlikely left out.

    Left out are those that `pruned` names, among all candidates that have log-probabilities. Those
    alike in answer, length and c are one text, which counts once. Ties go to the earliest (the
    released code shares them). Without log-probabilities this is `majority`.
    """
    known = sorted(p for c in candidates if (p := probability(c)) is not None)
    weights: dict[int, float | None] = {}
    seen: set[tuple[str, int, float]] = set()
    ordered = in_order(candidates)
    for c in ordered:
        assert c.answer is not None
        p = weights[id(c)] = probability(c)
        if p is None:
            continue
        text = (c.answer.key, c.node.generated_tokens if c.node else 0, p)
        if text in seen:
            weights[id(c)] = 0.0
        seen.add(text)

    def vote() -> Choice | None:
        out = _pruned(tuple(known))
        return weighed(candidates, lambda c: 0.0 if probability(c) in out else weights[id(c)])

    winner = _settled(ordered, weights, known)
    return vote() if winner is None else _Settled(winner, vote)


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


def _settled(
    ordered: Sequence[Candidate], weights: Mapping[int, float | None], known: Sequence[float]
) -> Candidate | None:
    """Who wins whatever is pruned, which is never what is at least as likely as the mean.

    That is most votes, and a fit of the mixture costs more than a hundred of them.
    """
    surely: dict[str, float] = {}
    most: dict[str, float] = {}
    first: dict[str, Candidate] = {}
    mean = sum(known) / len(known) * (1 + 1e-9) if known else 0.0
    for c in ordered:
        p = weights[id(c)]
        if p is None:
            continue
        if not c.weight >= 0 or c.answer is None:
            return None
        key, vote = c.answer.key, p * c.weight
        first.setdefault(key, c)
        most[key] = most.get(key, 0.0) + vote
        surely[key] = surely.get(key, 0.0) + (vote if p > mean else 0.0)
    if not most:
        return None
    winner = max(surely, key=surely.__getitem__)
    others = max((total for key, total in most.items() if key != winner), default=-1.0)
    return first[winner] if surely[winner] > others * (1 + 1e-9) else None


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

    The likeliest, from the released code's start and within its bounds. None if there is nothing
    to fit, or the search fails.
    """
    from scipy.optimize import minimize

    if len(np.unique(p)) < 2:
        return None
    # The search may look at shapes without bounds; threads would only wait for each other.
    with np.errstate(all="ignore"), _blas().limit(limits=1, user_api="blas"):
        result = minimize(
            _loss, _START, args=(np.log(p),), jac=True, method="L-BFGS-B", bounds=_BOUNDS
        )
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
    weights = np.array([x[0], 1 - x[0]])
    shapes, scales = x[1::2], x[2::2]
    z = log - np.log(scales)[:, None]
    kz = shapes[:, None] * z
    power = np.exp(kz)
    parts = np.log(weights * shapes / scales)[:, None] + kz - z - power
    whole = np.logaddexp(parts[0], parts[1])
    share = np.exp(parts - whole)
    total = share.sum(axis=1)
    by_shape = total / shapes + (share * (z - power * z)).sum(axis=1)
    by_scale = (share * (power - 1)).sum(axis=1) * shapes / scales
    by_weight = total[0] / weights[0] - total[1] / weights[1]
    slopes = (by_weight, by_shape[0], by_scale[0], by_shape[1], by_scale[1])
    return -float(whole.mean()), -np.array(slopes) / len(log)


def _log_parts(p: Floats, x: Sequence[float]) -> NDArray[np.float64]:
    """Log of weight times density [2, n] of both components."""
    weights = (x[0], 1 - x[0])
    return np.array(
        [
            np.log(w * k / scale) + (k - 1) * np.log(p / scale) - (p / scale) ** k
            for w, (k, scale) in zip(weights, (x[1:3], x[3:5]), strict=True)
        ]
    )
