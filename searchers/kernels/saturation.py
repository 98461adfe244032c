"""Where more of the same stops paying: a curve that saturates (TTSPM, 2025, arXiv:2505.20522)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LEAST, MOST = 1e-3, 0.999
"""What the chance of one try is kept between."""


def saturating(counts: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """The F and p of F (1 - (1 - p)^N) that fit `values` at N = `counts` best (least squares).

    F is in [0, 1], p in [0.001, 0.999]. Raises ValueError for fewer than two points.
    """
    from scipy.optimize import minimize_scalar

    n, y = np.asarray(counts, float), np.asarray(values, float)
    if len(n) < 2 or len(n) != len(y):
        raise ValueError(f"a curve needs two points or more, got {len(n)} and {len(y)}")

    def ceiling(p: float) -> float:
        """The best F for this p, for which the curve is a straight line in F."""
        shape = 1 - (1 - p) ** n
        return float(np.clip(y @ shape / (shape @ shape), 0, 1))

    def misfit(p: float) -> float:
        return float(((ceiling(p) * (1 - (1 - p) ** n) - y) ** 2).sum())

    options = {"xatol": 1e-9}
    found = minimize_scalar(misfit, bounds=(LEAST, MOST), method="bounded", options=options)
    p = float(found.x)
    return ceiling(p), p


def enough(ceiling: float, p: float, gain: float) -> int:
    """From which N on one more adds less than `gain`: ceil(ln(gain / (F p)) / ln(1 - p)), 1 at
    least. `gain` is in the curve's unit, above 0."""
    if gain >= ceiling * p:
        return 1
    return max(1, math.ceil(math.log(gain / (ceiling * p)) / math.log1p(-p)))
