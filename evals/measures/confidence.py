"""How sure strategies are of right and of wrong answers (2025, arXiv:2501.09775)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, dots, resampled
from evals.measures.stored import Stored
from evals.report.load import StoredStrategy
from evals.statistics.calibration import auroc_interval, ece, reliability
from evals.statistics.intervals import Floats, accuracy

MEANS = (
    "The confidence that strategies report, of right answers and of wrong ones, before reasoning "
    "(a strategy that answers at once) and after it: calibration error and whether it ranks."
)
NOT = (
    "Reasoning makes models surer of wrong answers, too: a higher mean is no better answer. What a "
    "confidence is differs between strategies (a share of votes, a probability): compare the AUROC "
    "of two kinds, not their means. The calibration error depends on its ten bins."
)


class Sure(NamedTuple):
    """Confidence in [0, 1] and grade of each problem that has both."""

    confidence: list[float]
    correct: list[bool]


def overconfidence(confidence: Sequence[float], correct: Sequence[bool]) -> float:
    """Mean confidence less accuracy: above 0 where answers are less often right than said."""
    if not len(confidence):
        raise ValueError("overconfidence needs at least one answer, got none")
    return float(np.mean(confidence) - np.mean([float(c) for c in correct]))


def measure(stored: Stored) -> Finding:
    known = {s.label: found for s in stored.runs.strategies if (found := _sure(s)).confidence}
    if not known:
        raise NotMeasuredError(
            "no strategy reports a confidence; votes do (self_consistency), and `marginal`, `cisc`"
        )
    rows = [_row(name, found) for name, found in known.items()]
    gaps = {name: overconfidence(*found) for name, found in known.items()}
    most = max(gaps, key=lambda name: gaps[name])
    head = (
        "strategy", "problems", "accuracy", "confident if right", "if wrong", "ECE", "AUROC"
    )  # fmt: skip
    return Finding(
        f"{most} is the most overconfident of {len(known)}: its confidence is {gaps[most]:+z.3f} "
        "against its accuracy.",
        head,
        rows,
        chart=dots("confidence", head, rows, "confident if right", "if wrong"),
    )


def _sure(strategy: StoredStrategy) -> Sure:
    found = Sure([], [])
    for row in strategy.rows.values():
        told: Mapping[str, object] = strategy.run.result(row)
        confidence = told.get("confidence")
        if row.correct is not None and isinstance(confidence, int | float) and 0 <= confidence <= 1:
            found.confidence.append(float(confidence))
            found.correct.append(row.correct)
    return found


def _row(name: str, found: Sure) -> tuple[Cell, ...]:
    x, y = np.array(found.confidence), np.array(found.correct, dtype=float)
    return (
        name,
        len(x),
        accuracy(y.tolist()),
        resampled(len(x), lambda w: _mean(x, w * y)) if y.any() else None,
        resampled(len(x), lambda w: _mean(x, w * (1 - y))) if not y.all() else None,
        ece(reliability(found.confidence, found.correct)),
        auroc_interval(found.confidence, found.correct),
    )


def _mean(x: Floats, weights: Floats) -> float:
    """NaN where nothing has weight: no such answer is in the resample."""
    total = weights.sum()
    return float(x @ weights / total) if total > 0 else float("nan")
