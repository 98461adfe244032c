"""Orders of k things: tuples of places, the first of which is the order they are in."""

from __future__ import annotations

from math import factorial, inf

import numpy as np

Order = tuple[int, ...]


def cyclic(k: int, n: int) -> list[Order]:
    """n shifts, over again after k of them: each thing stands in each place equally often."""
    return [tuple((j + i) % k for j in range(k)) for i in range(n)]


def distinct(k: int, n: int, rng: np.random.Generator) -> list[Order]:
    """n random orders that differ from each other, over again when there are no more."""
    most = factorial(k) if k < 12 else inf
    found = {tuple(range(k)): None}
    while len(found) < min(n, most):
        found[tuple(map(int, rng.permutation(k)))] = None
    rows = list(found)
    return [rows[i % len(rows)] for i in range(n)]
