"""How accuracy grows with what a context is filled with, and what to fill a budget with.

The computation allocation model (Yue et al., 2024, arXiv:2410.04343, section 5): documents,
examples and steps are worth about their logarithms,

    logit P = sum_j (a_j + b_j i_j) log theta_j + c,

theta_j [S, F] being how many of each factor a setting has, and i_j what one of it was measured to
bring (for documents: accuracy with one less accuracy without). The paper finds R2 = .90, and what
the law chooses on other domains to reach 96.6 % of the best choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evals.statistics.intervals import Floats


@dataclass(frozen=True, slots=True)
class Law:
    """a [F], b [F] and c of the formula; of a factor in `shifted` it is log(1 + theta) that counts.

    `r2` is the share of the variance of logits that it explains where it was fitted.
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: float
    shifted: tuple[bool, ...] = ()
    r2: float = float("nan")

    def __call__(self, settings: ArrayLike, gains: ArrayLike | None = None) -> Floats:
        """Accuracies [S] of `settings` [S, F]; `gains` [F] or [S, F] are i, 0 if there are none."""
        logs = _logs(settings, self.shifted or (False,) * len(self.a))
        i = np.zeros(logs.shape) if gains is None else np.broadcast_to(gains, logs.shape)
        found: Floats = 1 / (1 + np.exp(-(logs * (np.array(self.a) + self.b * i)).sum(1) - self.c))
        return found


def fit(
    settings: ArrayLike, rates: ArrayLike, problems: ArrayLike, gains: ArrayLike | None = None
) -> Law:
    """The law by ordinary least squares of empirical logits, ln((r n + 1/2) / (n - r n + 1/2)).

    `rates` [S] are accuracies of `settings` [S, F] on `problems` problems each, one number or [S].
    Without `gains` [S, F] b is 0: within one domain i is the same everywhere and a + b i one
    number; so is b of a factor whose gains are 0 throughout. A factor that is 0 in a setting counts
    as log(1 + theta). Raises ValueError for numbers below 0, and where the settings are too few, or
    too much alike, to tell the factors apart.
    """
    theta, r, n = (np.asarray(x, dtype=float) for x in (settings, rates, problems))
    if theta.ndim != 2 or theta.shape[0] != len(r) or (theta < 0).any() or not np.isfinite(r).all():
        raise ValueError(
            f"settings are numbers from 0 up [S, F], one row a rate; got {theta.shape}"
        )
    shifted = tuple(bool((column < 1).any()) for column in theta.T)
    logs = _logs(theta, shifted)
    i = np.zeros(logs.shape) if gains is None else np.asarray(gains, dtype=float)
    told = np.flatnonzero(i.any(axis=0))
    columns = np.column_stack([logs, (logs * i)[:, told], np.ones(len(r))])
    if np.linalg.matrix_rank(columns) < columns.shape[1]:
        raise ValueError(
            f"{len(r)} settings do not tell {columns.shape[1]} weights apart; vary each factor "
            "while the others stay"
        )
    y = np.log((r * n + 0.5) / ((1 - r) * n + 0.5))
    weights = np.linalg.lstsq(columns, y, rcond=None)[0]
    left, spread = ((y - columns @ weights) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    factors = theta.shape[1]
    b = np.zeros(factors)
    b[told] = weights[factors:-1]
    r2 = 1 - float(left / spread) if spread > 0 else float("nan")
    return Law(
        tuple(weights[:factors].tolist()), tuple(b.tolist()), float(weights[-1]), shifted, r2
    )


def choose(values: Sequence[float], costs: Sequence[float], limit: float) -> int:
    """The place of the highest value that costs no more than `limit`; of equals the cheapest.

    Raises ValueError if all cost more.
    """
    able = [i for i, cost in enumerate(costs) if cost <= limit]
    if not able:
        raise ValueError(f"the cheapest setting costs {min(costs):g}, more than {limit:g}")
    return max(able, key=lambda i: (values[i], -costs[i], -i))


def _logs(settings: ArrayLike, shifted: Sequence[bool]) -> Floats:
    theta = np.asarray(settings, dtype=float) + np.asarray(shifted, dtype=float)
    if (theta <= 0).any():
        raise ValueError("a factor is 0 where the law was fitted without: it has no logarithm")
    found: Floats = np.log(theta)
    return found
