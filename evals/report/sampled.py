"""Accuracy against the number of samples, from the fullest stored samples of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.report.load import Runs, StoredRun, StoredStrategy
from evals.statistics.curves import (
    CoverageLaw,
    Curve,
    Kind,
    Samples,
    at_k_curve,
    fit_coverage_table,
    log_spaced,
)
from evals.statistics.independent import alike, drawn
from evals.statistics.intervals import Interval

FEWEST_FOR_LAW = 8  # samples a problem
DRAWS = 40_000  # of subsets, over all problems, at one k of weighted@k


@dataclass(slots=True)
class Sampled:
    """The curves over k of one strategy's `n` samples for each of `problems`.

    `intervals` are those of each curve at each k; `law` is that of pass@k, None where it cannot be
    fitted.
    """

    strategy: StoredStrategy
    problems: int
    n: int
    curves: list[Curve]
    intervals: list[list[Interval]]
    law: CoverageLaw | None


def sampled(runs: Runs) -> list[Sampled]:
    """Of each run the strategy with most independent samples, and that with most scored ones."""
    return [found for run in runs.runs for found in _of_run(run, runs.strategies)]


def _of_run(run: StoredRun, strategies: Sequence[StoredStrategy]) -> list[Sampled]:
    mine = [s for s in strategies if s.run is run]
    order = sorted(mine, key=lambda s: (-s.most_samples, not s.scores))
    found: list[Sampled] = []
    for strategy in order:
        scored = bool(strategy.scores)
        if not strategy.independent or (found and not scored) or strategy.most_samples < 2:
            continue
        if problems := _samples(strategy):
            found.append(_curves(strategy, problems, scored))
            if scored:
                break
    return found


def _samples(strategy: StoredStrategy) -> list[Samples] | None:
    graded = [row for row in strategy.rows.values() if row.correct is not None]
    return alike([drawn(strategy.run.result(row)) for row in graded]) if graded else None


def _curves(strategy: StoredStrategy, problems: Sequence[Samples], scored: bool) -> Sampled:
    kinds: list[Kind] = ["pass", "majority"]
    if scored:
        kinds.append("best")
        if min(strategy.scores) >= 0:
            kinds.append("weighted")
    subsets = max(30, min(1_000, DRAWS // len(problems)))
    curves = [at_k_curve(problems, kind, subsets=subsets) for kind in kinds]
    return Sampled(
        strategy,
        len(problems),
        len(problems[0].keys),
        curves,
        [curve.intervals() for curve in curves],
        _law(problems),
    )


def _law(problems: Sequence[Samples]) -> CoverageLaw | None:
    n = len(problems[0].keys)
    if n < FEWEST_FOR_LAW:
        return None
    grid = log_spaced(n)
    try:
        return fit_coverage_table(grid, at_k_curve(problems, "pass", grid).values)
    except ValueError:
        return None  # no coverage at some k, or full coverage at all
