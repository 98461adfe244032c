"""Where more of the same stops paying: a curve that saturates (TTSPM, 2025, arXiv:2505.20522)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

LEAST = 1e-3
"""What the chance of one try is at least."""
_PLACES, _ZOOMS = 400, 4
"""Chances that are tried, and how often again between the neighbours of the best."""


def saturating(counts: ArrayLike, values: ArrayLike) -> tuple[float, float]:
    """The F and p of F (1 - (1 - p)^N) that fit `values` at N = `counts` best (least squares).

    F is in [0, 1], p in [0.001, 1]. Raises ValueError for fewer than two points.
    """
    n, y = np.asarray(counts, float), np.asarray(values, float)
    if n.size < 2 or n.shape != y.shape:
        raise ValueError(f"a curve needs two points or more, got {n.size} and {y.size}")
    ps = np.geomspace(LEAST, 1, _PLACES)
    for zoom in range(_ZOOMS + 1):
        shapes = 1 - (1 - ps[:, None]) ** n
        # For one p the curve is a straight line in F.
        ceilings = np.clip((shapes @ y) / (shapes**2).sum(axis=1), 0, 1)
        best = int(((ceilings[:, None] * shapes - y) ** 2).sum(axis=1).argmin())
        ceiling, p = float(ceilings[best]), float(ps[best])
        if zoom < _ZOOMS:
            ps = np.linspace(ps[max(best - 1, 0)], ps[min(best + 1, _PLACES - 1)], _PLACES)
    return ceiling, p


def enough(ceiling: float, p: float, gain: float) -> int:
    """From which N on one more adds `gain` or less: ceil(ln(gain / (F p)) / ln(1 - p)), 1 at least.

    What the (N + 1)-th adds is F p (1 - p)^N. `gain` is in the curve's unit, above 0.
    """
    if gain >= ceiling * p or p == 1:
        return 1
    return max(1, math.ceil(math.log(gain / (ceiling * p)) / math.log1p(-p)))
