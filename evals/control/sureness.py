"""How likely a policy's answer is to be right: a fit on some problems, counted on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evals.statistics.metrics import wilson
from reasoning.aggregators.ballots import Floats
from searchers.kernels.policy import Sure, Weights

LEVELS = 5
PENALTY = 1.0


def sureness(
    signals: Mapping[str, Floats], right: Floats, names: Sequence[str], *, seed: int = 0
) -> Sure | None:
    """Bins of a logistic regression on `signals` where a policy ends, all [problems, orders].

    One half of the problems fits the weights and the bins, which hold equally many of them; the
    other half tells each bin's rate and its Wilson interval, an order of a problem counting as a
    part of it. None with fewer than 20 problems.
    """
    problems, orders = right.shape
    if problems < 20:
        return None
    order = np.random.default_rng(seed).permutation(problems)
    fitting, counting = order[::2], order[1::2]
    by = logistic({n: signals[n][fitting].ravel() for n in names}, right[fitting].ravel())
    numbers = by({n: signals[n][fitting] for n in ("samples", *names)})
    cuts = np.unique(np.quantile(numbers, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    edges = [float(e) for e in cuts if e > numbers.min()]
    seen = by({n: signals[n][counting] for n in ("samples", *names)})
    where = np.searchsorted(edges, seen, side="right").ravel()
    count = np.bincount(where, minlength=len(edges) + 1) / orders
    good = np.bincount(where, right[counting].ravel(), len(edges) + 1) / orders
    rates, low, high = [], [], []
    for n, k in zip(count.tolist(), good.tolist(), strict=True):
        whole = max(1, round(n))
        below, above = wilson(min(whole, round(k)), whole) if n >= 0.5 else (0.0, 1.0)
        rate = k / n if n else 0.5
        rates.append(rate)
        low.append(min(below, rate))
        high.append(max(above, rate))
    return Sure(by=by, edges=tuple(edges), rate=tuple(rates), low=tuple(low), high=tuple(high))


def logistic(signals: Mapping[str, Floats], right: Floats) -> Weights:
    """The weights of a logistic regression, log odds, with a ridge on standardised signals."""
    from scipy.optimize import minimize
    from scipy.special import expit

    kept = {n: x for n, x in signals.items() if x.std() > 1e-9}
    mean = np.array([x.mean() for x in kept.values()])
    scale = np.array([x.std() for x in kept.values()])
    x = np.ones((len(right), 1 + len(kept)))
    for column, values in enumerate(kept.values()):
        x[:, column + 1] = (values - mean[column]) / scale[column]

    def loss(w: Floats) -> tuple[float, Floats]:
        z = x @ w
        pull = PENALTY * np.r_[0.0, w[1:]]
        slope = x.T @ (expit(z) - right) + pull
        return float((np.logaddexp(0, z) - right * z).sum() + pull @ w / 2), slope

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    plain = found[1:] / scale
    weights = dict(zip(kept, plain.tolist(), strict=True))
    return Weights(intercept=float(found[0] - plain @ mean), weights=weights)
