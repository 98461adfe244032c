"""How long many problems take of which some are in flight at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIMULATED = 8
"""Problems that are simulated, for each that may be in flight; with more, the middle of the run
goes on at the pace of a full house."""


def makespan(table: NDArray[np.float64], kinds: Sequence[int] | NDArray[np.int64]) -> float:
    """Seconds until problems of `kinds`, begun in this order, are all done.

    `table[k, a - 1]` is what a problem of kind k takes while a are in flight, so at most as many
    are as the table has columns: work goes on at the pace that those in flight allow each other.
    """
    kinds, slots = np.asarray(kinds, dtype=int), table.shape[1]
    most = SIMULATED * slots
    more = float(table[kinds[most:], -1].sum()) / slots if len(kinds) > most else 0.0
    return more + _simulated(table, kinds[:most])


def _simulated(table: NDArray[np.float64], kinds: NDArray[np.int64]) -> float:
    slots, time, following = table.shape[1], 0.0, min(table.shape[1], len(kinds))
    active, left = kinds[:following], np.ones(following)
    while len(active):
        whole = table[active, len(active) - 1]
        step = float((left * whole).min())
        time += step
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.where(whole > 0, left - step / whole, 0.0)
        kept = left > 1e-9
        active, left = active[kept], left[kept]
        fresh = kinds[following : following + slots - len(active)]
        following += len(fresh)
        active = np.concatenate([active, fresh])
        left = np.concatenate([left, np.ones(len(fresh))])
    return time
