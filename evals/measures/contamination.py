"""Whether a data set's own order is likelier than others (Oren et al., 2023, arXiv:2310.17623)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, mean
from evals.measures.stored import Stored

MEANS = (
    "By how many nats a model finds the order in which a data set was published likelier than "
    "others, a shard, and the one-sided t-test that this is chance: a small p says that the model "
    "has met the file."
)
NOT = (
    "A large p does not say that it has not: a file read once, in pieces or in another order "
    "leaves no such trace. A small p says nothing if the order means something (sorted by "
    "length or date, pairs side by side), which is for whoever knows the file to exclude."
)


class Test(NamedTuple):
    """Student's t over shards and its one-sided p-value."""

    t: float
    p_value: float


def order_test(differences: Sequence[float]) -> Test:
    """Is the mean of [shards] differences above 0? The variance is that of a sample (ddof 1).

    The authors' code divides by n, which makes p too small. Raises ValueError for fewer than two
    shards, or differences that are all the same.
    """
    x = np.asarray(differences, dtype=float)
    if len(x) < 2 or not np.ptp(x) > 0:
        raise ValueError("a t-test needs two shards or more that differ")
    from scipy.stats import t

    value = float(x.mean() / (x.std(ddof=1) / np.sqrt(len(x))))
    return Test(value, float(t.sf(value, len(x) - 1)))


def measure(stored: Stored) -> Finding:
    rows: list[tuple[Cell, ...]] = []
    tests: list[tuple[str, Test]] = []
    for strategy in stored.runs.strategies:
        told = [strategy.run.result(row).get("measures") or {} for row in strategy.rows.values()]
        found = [float(m["difference"]) for m in told if "own_order" in m and "difference" in m]
        if not found:
            continue
        try:
            test = order_test(found)
        except ValueError:
            continue
        tests.append((strategy.label, test))
        rows.append((strategy.label, len(found), mean(found), test.t, test.p_value))
    if not tests:
        raise NotMeasuredError(
            "this needs a run of task `shards` by searcher `order_likelihood`, of two shards or "
            "more that differ"
        )
    name, least = min(tests, key=lambda pair: pair[1].p_value)
    return Finding(
        f"{name}: the file's own order is {'' if least.p_value < 0.05 else 'not '}likelier than "
        f"chance would have it (t = {least.t:.2f}, one-sided p = {least.p_value:.2g}).",
        ("strategy", "shards", "own order less others, nats", "t", "p"),
        rows,
    )
