"""Equally good strategies that disagree (Marx et al., 2020; Watson-Daniels et al., 2022,
arXiv:2206.01131)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, dots
from evals.measures.stored import Stored
from evals.report.load import StoredStrategy
from evals.report.numbers import grades
from evals.statistics.intervals import Interval, accuracy

MEANS = (
    "Ambiguity: the share of problems on which some equally good strategy, or some other run of "
    "the same one, is right where the best is wrong or the reverse; discrepancy: the largest "
    "share of any single one. Over runs it tells how much of a difference is the seed."
)
NOT = (
    "Equally good means within 0.02 of the best accuracy on these problems, which is not a "
    "test. Ambiguity grows with the number of strategies: compare it at equal numbers."
)

EPSILON = 0.02
HEAD = ("equally good", "strategies", "ambiguity", "discrepancy")


class Disagreement(NamedTuple):
    """Of [problems]: 1 where any of the others differs, and where the furthest one does."""

    ambiguity: list[float]
    discrepancy: list[float]


def disagreement(best: Sequence[float], others: Sequence[Sequence[float]]) -> Disagreement:
    """1 for each problem on which grades differ from those of `best`, else 0.

    Raises ValueError without others.
    """
    if not len(others):
        raise ValueError("there must be another strategy to differ from the best, got none")
    differs = np.asarray(others, dtype=float) != np.asarray(best, dtype=float)
    furthest = differs[int(differs.sum(axis=1).argmax())]
    return Disagreement(differs.any(axis=0).astype(float).tolist(), furthest.astype(float).tolist())


def measure(stored: Stored) -> Finding:
    runs = stored.runs
    shared = runs.common
    if not shared or len(runs.strategies) < 2:
        raise NotMeasuredError("this needs two strategies, or runs, with graded problems in common")
    values = {s.label: grades(s, shared) for s in runs.strategies}
    rows: list[tuple[Cell, ...]] = []
    accuracies = {label: float(np.mean(v)) for label, v in values.items()}
    best = max(accuracies, key=lambda label: accuracies[label])
    near = [
        n for n, a in accuracies.items() if n != best and a >= accuracies[best] - EPSILON - 1e-9
    ]
    if near:
        rows.append(_row(f"within {EPSILON} of {best}", best, near, values))
    for name, alike in _repeated(runs.strategies).items():
        labels = [s.label for s in alike]
        rows.append(_row(f"runs of {name}", labels[0], labels[1:], values))
    if not rows:
        raise NotMeasuredError(f"no strategy is within {EPSILON} of the best one, {best}")
    first = rows[0][2]
    assert isinstance(first, Interval)
    return Finding(
        f"{rows[0][0]}: {rows[0][1]} strategies, and on {first.value:.1%} ({first.low:.1%} to "
        f"{first.high:.1%}) of {len(shared)} problems they do not agree who is right.",
        HEAD,
        rows,
        chart=dots("share of problems", HEAD, rows, *HEAD[2:]),
    )


def _repeated(strategies: Sequence[StoredStrategy]) -> dict[str, list[StoredStrategy]]:
    found: dict[str, list[StoredStrategy]] = {}
    for strategy in strategies:
        found.setdefault(strategy.name, []).append(strategy)
    return {name: alike for name, alike in found.items() if len(alike) > 1}


def _row(
    about: str, best: str, others: Sequence[str], values: Mapping[str, Sequence[float]]
) -> tuple[Cell, ...]:
    found = disagreement(values[best], [values[label] for label in others])
    return about, 1 + len(others), accuracy(found.ambiguity), accuracy(found.discrepancy)
