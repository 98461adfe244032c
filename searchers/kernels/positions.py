"""What things are worth, freed of where they stood when it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from string import ascii_uppercase

import numpy as np
from numpy.typing import ArrayLike

from reasoning.tree import FloatArray, TopLogprobs

LABELS = ascii_uppercase


def worths(orders: Sequence[Sequence[int]], seen: ArrayLike) -> FloatArray:
    """What each of k things is worth [k], shares that sum to one; the same for all if nothing is.

    `seen` [orders, k], above 0, is how useful the thing at each place looked in each order. It is
    taken to be worth * place * order, one factor each (Mixture of Intervention, 2024,
    arXiv:2412.10684; the exact form is ours), by least squares of logarithms; of what cannot be
    told apart the smallest factors are taken. Over all cyclic orders each thing stands once in each
    place, so that places cancel.
    """
    k = len(orders[0])
    rows, logs = [], np.log(np.asarray(seen, dtype=float)).ravel()
    for i, order in enumerate(orders):
        for place, thing in enumerate(order):
            row = np.zeros(2 * k + len(orders))
            row[[thing, k + place, 2 * k + i]] = 1
            rows.append(row)
    found = np.linalg.lstsq(np.array(rows), logs, rcond=None)[0][:k]
    shares = np.exp(found - found.max())
    total: FloatArray = shares / shares.sum()
    return total


def labelled(tops: TopLogprobs | None, k: int) -> FloatArray | None:
    """How likely each of the first k `LABELS` is said next [k]; one that is not among the likeliest
    counts as the least likely of them. None where nothing is known."""
    told = tops.at(0) if tops and tops.texts else {}
    if not told:
        return None
    least = min(told.values())
    rows = [[p for text, p in told.items() if text.strip() == label] for label in LABELS[:k]]
    logs = [float(np.logaddexp.reduce(row)) if row else least for row in rows]
    return np.exp(np.maximum(logs, log(1e-12)))
