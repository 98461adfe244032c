"""Best, average, majority and worst of k runs (2025, arXiv:2504.00294)."""

from __future__ import annotations

import math

from evals.measures.finding import Chart, Finding
from evals.measures.stored import Stored
from evals.statistics.curves import Kind, at_k_curve
from evals.statistics.intervals import column_means

MEANS = (
    "How far an answer can be relied on: the chance that all of k samples are right (worst@k), "
    "beside the average one, the vote and the best of k."
)
NOT = (
    "worst@k is about one model asked k times, not about problems made harder. Best of k needs "
    "somebody who knows which one is right."
)


def worst_at_k(n: int, c: int, k: int) -> float:
    """The chance that all of k samples are right, c of n being so: C(c, k) / C(n, k).

    Equals 1 - pass@k of as many wrong ones. Raises ValueError for c or k out of range.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"0 <= c <= n and 1 <= k <= n must hold, got c={c}, k={k}, n={n}")
    return math.comb(c, k) / math.comb(n, k)


def measure(stored: Stored) -> Finding:
    n = stored.at_least(2)
    samples = stored.samples
    kinds: tuple[Kind, ...] = ("pass", "majority")
    best, majority = (at_k_curve(samples, kind) for kind in kinds)
    worst = column_means([[worst_at_k(n, sum(s.correct), k) for k in best.ks] for s in samples])
    gaps = column_means(
        [
            [high - worst_at_k(n, sum(s.correct), k) for k, high in zip(best.ks, row, strict=True)]
            for s, row in zip(samples, best.values.tolist(), strict=True)
        ]
    )
    majorities, bests = majority.intervals(), best.intervals()
    average, all_right, any_right, gap = worst[0], worst[-1], bests[-1], gaps[-1]
    curves = {"pass@k": bests, "majority@k": majorities, "worst@k": worst}
    series = {
        name: list(zip(map(float, best.ks), found, strict=True)) for name, found in curves.items()
    }
    return Finding(
        f"A sample is right with chance {average.value:.3f}; all of {n} are on "
        f"{all_right.value:.3f} ({all_right.low:.3f} to {all_right.high:.3f}) of the problems, any "
        f"of them on {any_right.value:.3f}: a gap of {gap.value:.3f} ({gap.low:.3f} to "
        f"{gap.high:.3f}).",
        ("k", "worst@k", "majority@k", "pass@k", "pass@k less worst@k"),
        list(zip(best.ks, worst, majorities, bests, gaps, strict=True)),
        chart=Chart("k", "accuracy", series),
    )
