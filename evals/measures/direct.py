"""What reasoning buys over the cheapest answer, and where it hurts (Liu et al., 2024,
arXiv:2410.21333)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, dots
from evals.measures.stored import Stored
from evals.report.load import StoredStrategy
from evals.report.numbers import grades
from evals.statistics.intervals import Interval, accuracy
from evals.statistics.paired import compare_all

MEANS = (
    "Each strategy against the one that generates fewest tokens: on how many problems it helps, on "
    "how many it turns a right answer wrong, and how many times as many tokens it takes."
)
NOT = (
    "The cheapest strategy of the run is the baseline, whatever it is: a direct answer only if the "
    "recipe has one (`{searcher: truncated_answer, tokens: 0}`, or a prompt that asks for the "
    "answer alone). Part of help and hurt is chance where samples are drawn."
)


class Changed(NamedTuple):
    """A problem's part in what a strategy changes, 1 or 0."""

    helped: list[float]
    hurt: list[float]


def changed(direct: Sequence[float], other: Sequence[float]) -> Changed:
    """Problems that only the other got right, and such as only the direct answer got right."""
    a, b = np.asarray(direct, dtype=float), np.asarray(other, dtype=float)
    if a.shape != b.shape or not len(a):
        raise ValueError(f"both must be on the same problems, got {a.shape} and {b.shape}")
    return Changed((b > a).astype(float).tolist(), (a > b).astype(float).tolist())


def measure(stored: Stored) -> Finding:
    runs, shared = stored.runs, stored.runs.common
    if len(runs.strategies) < 2 or not shared:
        raise NotMeasuredError("this needs two strategies with graded problems in common")
    spent = {s.label: _tokens(s, shared) for s in runs.strategies}
    base = min(spent, key=lambda label: spent[label])
    if spent[base] <= 0:
        raise NotMeasuredError("this needs to know how many tokens strategies generate")
    values = {s.label: grades(s, shared) for s in runs.strategies}
    rows: list[tuple[Cell, ...]] = []
    for found in compare_all(values, baseline=base):
        change = changed(values[base], values[found.b])
        gap = Interval(found.difference, found.low, found.high, "bootstrap")
        helped, hurt = accuracy(change.helped), accuracy(change.hurt)
        rows.append((found.b, gap, found.adjusted, helped, hurt, spent[found.b] / spent[base]))
    worst = max(rows, key=lambda row: row[4].value if isinstance(row[4], Interval) else 0.0)
    most = worst[4]
    assert isinstance(most, Interval)
    harm = (
        f"{worst[0]} hurts most: right answers turn wrong on {most.value:.3f} ({most.low:.3f} to "
        f"{most.high:.3f})"
        if most.value
        else f"nothing turns a right answer wrong ({most.low:.3f} to {most.high:.3f})"
    )
    head = ("strategy", f"less {base}", "p, Holm", "helped", "hurt", "times the tokens")
    return Finding(
        f"Against {base} ({spent[base]:,.0f} tokens a problem, accuracy "
        f"{np.mean(values[base]):.3f}), {harm} of {len(shared)} problems.",
        head,
        rows,
        chart=dots("share of problems", head, rows, "helped", "hurt"),
    )


def _tokens(strategy: StoredStrategy, problems: Sequence[str]) -> float:
    spent = [strategy.rows[p].usage.get("generated_tokens", 0.0) for p in problems]
    return float(np.mean(spent))
