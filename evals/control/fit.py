"""Policies fitted to stored runs, and what they are worth on problems they have not seen."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from evals.control.allocate import allocate
from evals.control.forms import FORMS, Fitted, Make, signals_for
from evals.control.sureness import sureness
from evals.control.walk import Walk, stops, taken
from evals.statistics.abstention import risk_coverage
from evals.statistics.calibration import brier, ece, reliability
from evals.statistics.equal_compute import Points, at_equal_cost
from evals.statistics.intervals import (
    Interval,
    accuracy,
    bootstrap_weights,
    quantile_interval,
)
from evals.statistics.paired import paired_difference
from reasoning.aggregators.ballots import Floats
from reasoning.errors import RecipeError
from searchers.kernels.policy import Bound, Form, Known, Policy, Rung

PRICES = np.geomspace(1e-8, 1e-1, 57)
"""Accuracies a token that are tried, beside 0."""
RUNGS = 9
"""Budgets for which a policy is kept beside its own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A policy on problems that it was not fitted to, arrays [problems]; `sure` is the predicted
    chance of being right, and `first` whether it is, both in the first order; None if it has no
    such prediction."""

    right: Floats
    tokens: Floats
    samples: Floats
    sure: Floats | None
    low: Floats | None
    high: Floats | None
    first: Floats


def fit(
    walk: Walk,
    form: Form,
    budget: float,
    known: set[Known],
    bound: Bound,
    *,
    choosers: Sequence[str] = (),
    loss: float | None = None,
    seed: int = 0,
) -> Policy:
    """The policy of this form that is right oftenest for `budget` tokens a problem, on average.

    Of the `choosers` (all of the walk's) the one that makes most of it counts, and of the walk's
    ways to draw. With `loss` it is the cheapest within the budget that is right at most so much
    less often than the best of them with all samples of the first way; the rightest where none is.
    Raises RecipeError where one sample a problem costs more than the budget.
    """
    ways: Mapping[Any, Walk] = walk.ways or {None: walk}
    one = {way: float(w.tokens[:, :, 0].mean()) for way, w in ways.items()}
    least = min(one.values())
    if not budget >= least:
        raise RecipeError(
            f"{budget:,.0f} tokens do not pay for one sample a problem, {least:,.0f} on average; "
            "set --tokens to more (it is a quarter of what all samples cost unless it is set)"
        )
    signals = signals_for(known)
    names = list(choosers or walk.right)
    full = max(float(walk.right[name][:, :, -1].mean()) for name in names)
    enough = math.inf if loss is None else full - loss
    tried = []
    able = [way for way in ways if one[way] <= budget]
    bars = [0.0, *walk.rejecting]
    for way, bar, n in product(able, bars, names):
        w = ways[way].rejecting[bar] if bar else ways[way]
        make = FORMS[form](w, w.right[n], signals)
        worth, found, priced = at_budget(w, n, make, form, budget, bound, enough)
        tried.append((worth, found.model_copy(update={"first": way, "reject": bar}), priced))
    _, policy, priced = max(tried, key=lambda item: item[0])
    walk = walk.seen_by(policy)
    stop = stops(walk, policy)
    seen = {name: taken(table, stop) for name, table in walk.signals.items()}
    sure = sureness(seen, taken(walk.right[policy.chooser], stop), signals, seed=seed)
    return policy.model_copy(update={"sure": sure, "rungs": rungs(priced, budget)})


class Priced(NamedTuple):
    """What a policy costs a problem on average, and how often it is right, where it was fitted."""

    tokens: float
    right: float
    policy: Policy


def rungs(priced: Sequence[Priced], budget: float) -> tuple[Rung, ...]:
    """Policies from a quarter of the budget to four times it, each the best that it pays for."""
    found: dict[float, Policy] = {}
    for most in budget * np.geomspace(0.25, 4, RUNGS):
        able = [p for p in priced if p.tokens <= most * (1 + 1e-9)]
        if able:
            best = max(able, key=lambda p: (p.right, -p.tokens))
            found[best.tokens] = best.policy
    return tuple(
        Rung(tokens=tokens, start=p.start, looks=p.looks, price=p.price)
        for tokens, p in sorted(found.items())
    )


def at_budget(
    walk: Walk,
    chooser: str,
    make: Make,
    form: Form,
    budget: float,
    bound: Bound,
    enough: float = math.inf,
) -> tuple[tuple[float, float], Policy, list[Priced]]:
    """(accuracy, -tokens) of the best policy within the budget, that policy, and those of every
    price. More accuracy than `enough` counts for nothing."""
    best: tuple[tuple[float, float], Policy] | None = None
    priced = []
    prices = (0.0, *PRICES.tolist())
    one = prices[-1], Fitted(walk.sizes[0])  # forms that look first draw more, if left to it
    for price, fitted in (*((price, make(price)) for price in prices), one):
        policy = policy_of(fitted, form, chooser, price, bound)
        stop = stops(walk, policy)
        tokens = float(taken(walk.tokens, stop).mean())
        right = float(taken(walk.right[chooser], stop).mean())
        worth = min(right, enough), -tokens
        priced.append(Priced(tokens, right, policy))
        if tokens <= budget * (1 + 1e-9) and (best is None or worth > best[0]):
            best = worth, policy
    assert best is not None  # one sample a problem is within any budget that comes here
    return (*best, priced)


def policy_of(fitted: Fitted, form: Form, chooser: str, price: float, bound: Bound) -> Policy:
    return Policy(
        form=form,
        chooser=chooser,
        start=fitted.start,
        looks=fitted.looks,
        price=price,
        bound=bound,
    )


# --------------------------------------------------------------------------------- held out


def folds(problems: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """Two halves, each (those to fit, those to judge) once."""
    order = np.random.default_rng(seed).permutation(problems)
    halves = sorted(order[::2].tolist()), sorted(order[1::2].tolist())
    return [(halves[0], halves[1]), (halves[1], halves[0])]


def outcome(walk: Walk, policy: Policy) -> Outcome:
    """What the policy makes of these problems."""
    walk = walk.seen_by(policy)
    stop = stops(walk, policy)
    right = taken(walk.right[policy.chooser], stop)
    sure = low = high = None
    if policy.sure is not None:
        seen = {name: taken(table, stop)[:, 0] for name, table in walk.signals.items()}
        sure, low, high = policy.sure(seen)
    return Outcome(
        right.mean(axis=1),
        taken(walk.tokens, stop).mean(axis=1),
        np.asarray(walk.sizes)[stop].mean(axis=1),
        sure,
        low,
        high,
        right[:, 0],
    )


def together(parts: Sequence[Outcome]) -> Outcome:
    """The problems of all parts."""

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if any(v is None for v in values) else np.concatenate(values)

    return Outcome(*(joined(name) for name in Outcome.__slots__))


def report(walk: Walk, found: Outcome, fixed: str, *, seed: int = 0) -> dict[str, Any]:
    """What a policy is worth, as plain JSON values: the problems of `walk` stand as in `found`.

    `fixed` is the curve that is best at that cost where the policy was fitted; in `full` every
    curve has all samples there are.
    """
    curves = walk.curves()
    mine = Points.of(found.right[:, None], found.tokens[:, None])
    cost = float(found.tokens.mean())
    equal = at_equal_cost(Points.of(*curves[fixed]), mine, [cost], seed=seed)
    ideal = oracle(curves.values(), cost)
    gain = None if not equal else equal[0].difference
    return {
        "problems": len(found.right),
        "accuracy": told(accuracy(found.right.tolist(), seed=seed)),
        "tokens": cost,
        "samples": float(found.samples.mean()),
        "fixed": {
            "chooser": fixed,
            "accuracy": None if not equal else equal[0].a,
            "gain": None if gain is None else told(gain),
            "verdict": verdict(gain),
        },
        "full": [
            {
                "chooser": name,
                "samples": walk.sizes[-1],
                "accuracy": told(accuracy(whole.tolist(), seed=seed)),
                "tokens": float(costs.mean()),
                "difference": told(
                    paired_difference(whole.tolist(), found.right.tolist(), seed=seed)
                ),
                "tokens_share": told(share(found.tokens, costs, seed)),
            }
            for name, (whole, costs) in ((n, (v[:, -1], c[:, -1])) for n, (v, c) in curves.items())
        ],
        "oracle": {
            "accuracy": float(ideal.mean()),
            "regret": told(paired_difference(found.right.tolist(), ideal.tolist(), seed=seed)),
        },
        **_sureness(found, seed),
    }


def oracle(curves: Collection[tuple[Floats, Floats]], cost: float) -> Floats:
    """How often who knows all curves, (accuracy, tokens) [problems, sizes], beforehand is right on
    each problem [problems] for so many tokens a problem: the best of them at no more than a cost
    counts there."""
    value, costs = (np.concatenate(parts, axis=1) for parts in zip(*curves, strict=True))
    order = np.argsort(costs, axis=1, kind="stable")
    value, costs = (np.take_along_axis(x, order, axis=1) for x in (value, costs))
    best = np.maximum.accumulate(value, axis=1)
    apart = costs + 1e-9 * np.arange(costs.shape[1])  # what costs the same stands side by side
    level = allocate(best, apart, cost * len(costs))
    return np.asarray(best[np.arange(len(best)), level])


def verdict(gain: Interval | None) -> str:
    """What may be said of a gain: nothing where its interval includes 0."""
    if gain is None:
        return "no fixed number of samples costs as much, so there is nothing to compare with"
    if gain.low > 0:
        return f"better by {gain.value:.3f} ({gain.low:+z.3f} to {gain.high:+z.3f})"
    if gain.high < 0:
        return f"worse by {-gain.value:.3f} ({gain.low:+z.3f} to {gain.high:+z.3f})"
    return f"no gain is shown: {gain.signed} includes 0"


def share(mine: Floats, whole: Floats, seed: int) -> Interval:
    """What `mine` costs of `whole`, both [problems], with a bootstrap interval over problems."""
    weights = bootstrap_weights(len(mine), 2_000, seed)
    draws = (weights @ mine) / (weights @ whole)
    return quantile_interval(float(mine.sum() / whole.sum()), draws)


def told(interval: Interval) -> dict[str, Any]:
    return {"value": interval.value, "ci95": [interval.low, interval.high]}


def _sureness(found: Outcome, seed: int) -> dict[str, Any]:
    """How good the predicted chances are: calibration, and what it is worth to abstain by them."""
    if found.sure is None or found.low is None or found.high is None:
        return {}
    p, y = found.sure.tolist(), found.first.astype(bool).tolist()
    curve = risk_coverage(p, y, seed=seed)
    bins = reliability(p, y, bins=5, by="count")
    return {
        "sure": {
            "ece": ece(bins),
            "brier": brier(p, y),
            "bins": [asdict(b) for b in bins],
            "aurc": {**told(curve.area), "best": curve.best, "blind": float(curve.risk[-1])},
            "risk": {f"{c:.1f}": curve.at(c) for c in (0.5, 0.7, 0.8, 0.9, 1.0)},
        }
    }


def best_fixed(walk: Walk, budget: float) -> str:
    """The curve that is right oftenest where each problem gets the same number of samples, as many
    as the budget pays for; the cheapest where it pays for none."""
    worth = {}
    for name, (accuracies, costs) in walk.curves().items():
        means = costs.mean(axis=0)
        place = int(np.searchsorted(means, budget * (1 + 1e-9), side="right")) - 1
        right = float(accuracies[:, place].mean()) if place >= 0 else -math.inf
        worth[name] = right, -float(means[0])
    return max(worth, key=lambda name: worth[name])
