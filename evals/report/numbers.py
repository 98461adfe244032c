"""The numbers of a report: tables from what was read, by the statistics of `evals`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from evals.report.load import Row, Runs, StoredStrategy
from evals.report.trees import read_calls
from evals.statistics.calibration import Bin, auroc_interval, brier, ece, reliability
from evals.statistics.compute import AXES, costs, parameters_of, pareto, processed
from evals.statistics.equal_compute import AtCost, Points, at_equal_cost
from evals.statistics.intervals import Interval, accuracy
from evals.statistics.paired import Comparison, compare, holm, mcnemar
from reasoning.runs.store import Store

MANY_PAIRS = 66  # all pairs of up to 12 strategies are shown; of more, those with the first
GROUPS = range(2, 13)  # labels with so many different values make a table


@dataclass(slots=True)
class Line:
    """A strategy in the summary table. `cost` holds means over its problems.

    `failed` counts searches that an error ended: they are wrong, and never left out.
    """

    strategy: StoredStrategy
    problems: int
    accuracy: Interval | None
    graded: int
    cost: dict[str, float]
    wasted: float
    unanswered: int
    failed: int
    stops: Counter[str]


@dataclass(slots=True)
class Calibration:
    """How far scores can be believed. `bins`, `ece` and `brier` are None for scores off [0, 1]."""

    strategy: StoredStrategy
    samples: int
    problems: int
    auroc: Interval | None
    bins: list[Bin] | None
    ece: float | None
    brier: float | None


class Compared(NamedTuple):
    """Comparisons to show, whose p-values are adjusted over a family of so many `together`.

    `baseline` is what that family is compared with, None for all pairs.
    """

    shown: list[Comparison]
    together: int
    baseline: str | None

    @property
    def family(self) -> str:
        """What Holm's correction is over, in words."""
        if self.baseline is None:
            return f"Holm over all {self.together:,} pairs of strategies"
        return f"Holm over {self.together:,} comparisons with {self.baseline}"


def summary_lines(runs: Runs) -> list[Line]:
    """One line a strategy, in the order of the recipes."""
    return [_line(strategy) for strategy in runs.strategies]


def _line(strategy: StoredStrategy) -> Line:
    rows = list(strategy.rows.values())
    graded = [float(row.correct) for row in rows if row.correct is not None]
    kinds = dict.fromkeys(kind for row in rows for kind in row.usage)
    cost = {kind: math.fsum(r.usage.get(kind, 0.0) for r in rows) / len(rows) for kind in kinds}
    spent = [cost_of(strategy, row, "flops") for row in rows]
    known = [x for x in spent if x is not None]
    if len(known) == len(rows):
        cost["flops"] = math.fsum(known) / len(rows)
    return Line(
        strategy,
        len(rows),
        accuracy(graded) if graded else None,
        len(graded),
        cost,
        cost.get("wasted_tokens", 0.0) / max(1e-9, cost.get("generated_tokens", 0.0)),
        sum(row.answer is None for row in rows),
        sum(row.stop == "failed" for row in rows),
        Counter(row.stop for row in rows),
    )


def axes(lines: Sequence[Line]) -> dict[str, str]:
    """The axes of cost on which the strategies differ from nothing."""
    return {
        axis: label
        for axis, label in AXES.items()
        if sum(line.cost.get(axis, 0.0) > 0 for line in lines) > (axis.startswith("verifier"))
    }


def cost_of(strategy: StoredStrategy, row: Row, axis: str) -> float | None:
    """What one answer cost on `axis`; None for operations of models whose size is unknown.

    Operations come from the stored tree, which is read for them once.
    """
    manifest, name = strategy.run.manifest, strategy.name
    if axis != "flops":
        return costs(row.usage).get(axis)
    sizes = {"": parameters_of(manifest, name)}
    sizes |= {model: parameters_of(manifest, name, model) for model in row.models}
    if all(size is None for size in sizes.values()):
        return None
    if row.processed == "not asked":
        calls = read_calls(Store(strategy.run.folder).tree_path(name, row.problem))
        usage = {**row.usage, "models": row.models}
        row.processed = None if calls is None else processed(usage, calls)
    return costs(
        row.usage,
        tokens=row.processed,
        parameters=sizes,
        verifier_parameters=parameters_of(manifest, name, "verifier"),
    ).get(axis)


def front(lines: Sequence[Line], axis: str) -> list[Line]:
    """The strategies no other beats on accuracy and `axis`, cheapest first."""
    known = [line for line in lines if line.accuracy is not None]
    values = [line.accuracy.value for line in known if line.accuracy is not None]
    return [known[i] for i in pareto([line.cost.get(axis, 0.0) for line in known], values)]


def comparisons(runs: Runs, *, baseline: str | None = None) -> Compared:
    """Pairs of strategies over the problems they all share, Holm-corrected together.

    All pairs are one family, and all are shown of up to 12 strategies; of more, those with the
    first. Where a baseline is named, the family is what is compared with that.
    """
    shared = runs.common
    if not shared or len(runs.strategies) < 2:
        return Compared([], 0, None)
    values = {s.label: grades(s, shared) for s in runs.strategies}
    pairs = list(combinations(values, 2))
    if baseline is not None:
        pairs = [(baseline, label) for label in values if label != baseline]
    adjusted = dict(
        zip(pairs, holm([mcnemar(values[a], values[b]).p_value for a, b in pairs]), strict=True)
    )
    shown = pairs
    if len(pairs) > MANY_PAIRS:
        shown = [pair for pair in pairs if pair[0] == pairs[0][0]]
    found = [
        replace(
            compare(values[a], values[b], names=(a, b), resamples=_resamples(len(shared))),
            adjusted=adjusted[a, b],
        )
        for a, b in shown
    ]
    return Compared(found, len(pairs), baseline)


def grades(strategy: StoredStrategy, problems: Iterable[str]) -> list[float]:
    """1 for a right answer, 0 for a wrong one, in the order of `problems`."""
    return [float(bool(strategy.rows[p].correct)) for p in problems]


def _resamples(problems: int) -> int:
    """Fewer where there are many problems: the interval is smooth there, and it costs."""
    return 10_000 if problems <= 200 else 2_000


def at_equal_compute(
    runs: Runs, axis: str, *, baseline: str | None = None
) -> list[tuple[str, str, int, AtCost]]:
    """Families of strategies (sweeps) against each other where both cost the same on `axis`.

    Each with the number of problems. Only sweeps with two points or more that overlap in cost; of
    more than 12, each against that of the `baseline` (the first).
    """
    families: dict[str, list[StoredStrategy]] = {}
    for strategy in runs.strategies:
        families.setdefault(strategy.family, []).append(strategy)
    sweeps = {name: members for name, members in families.items() if len(members) > 1}
    pairs, shared = list(combinations(sweeps, 2)), runs.common
    if not shared or not pairs:
        return []
    if len(pairs) > MANY_PAIRS:
        known = next((s.family for s in runs.strategies if s.label == baseline), None)
        first = known if known in sweeps else next(iter(sweeps))
        pairs = [(first, name) for name in sweeps if name != first]
    points = {name: _points(members, shared, axis) for name, members in sweeps.items()}
    found = []
    for a, b in pairs:
        left, right = points[a], points[b]
        if left and right:
            found += [(a, b, len(shared), point) for point in at_equal_cost(left, right)]
    return found


def _points(members: Sequence[StoredStrategy], problems: Sequence[str], axis: str) -> Points | None:
    values = np.array([grades(s, problems) for s in members]).T
    spent = [[cost_of(s, s.rows[p], axis) for p in problems] for s in members]
    table = np.array(spent, dtype=float).T  # an unknown cost is not a number
    return Points.of(values, table) if np.all(table.mean(axis=0) > 0) else None


def calibrations(strategies: Iterable[StoredStrategy]) -> list[Calibration]:
    """For each strategy whose candidates have scores and grades."""
    return [_calibration(s) for s in strategies if s.scores]


def _calibration(strategy: StoredStrategy) -> Calibration:
    scores, graded = strategy.scores, strategy.graded
    resamples = 1_000 if len(scores) <= 5_000 else 200
    ranked = auroc_interval(scores, graded, strategy.owners, resamples=resamples)
    count, owners = len(scores), len(set(strategy.owners))
    if min(scores) < 0 or max(scores) > 1:
        return Calibration(strategy, count, owners, ranked, None, None, None)
    bins = reliability(scores, graded)
    return Calibration(strategy, count, owners, ranked, bins, ece(bins), brier(scores, graded))


def groupings(runs: Runs) -> dict[str, list[str]]:
    """The labels of problems that make a table each (level, subject) and their values in order."""
    found = {}
    for key in dict.fromkeys(key for p in runs.problems.values() for key in p.meta):
        values = [p.meta[key] for p in runs.problems.values() if key in p.meta]
        unique = sorted(set(values), key=lambda v: (isinstance(v, str), v))
        if len(unique) in GROUPS and len(values) >= 2 * len(unique):
            found[str(key)] = [str(value) for value in unique]
    return found


def by_group(
    strategy: StoredStrategy, runs: Runs, key: str, value: str
) -> tuple[int, Interval | None]:
    """How many graded problems have this label, and the accuracy over them."""
    rows: list[Row] = [
        row for name, row in strategy.rows.items() if _label(runs, name, key) == value
    ]
    graded = [float(row.correct) for row in rows if row.correct is not None]
    return len(graded), accuracy(graded) if graded else None


def _label(runs: Runs, problem: str, key: str) -> str | None:
    meta = runs.problems[problem].meta
    return str(meta[key]) if key in meta else None


def by_interest(runs: Runs) -> list[str]:
    """Problems in the order they deserve room: those where strategies differ first."""

    def rank(problem: str) -> tuple[int, int]:
        grades = {s.rows[problem].correct for s in runs.strategies if problem in s.rows}
        answers = {s.rows[problem].answer for s in runs.strategies if problem in s.rows}
        return (0 if {True, False} <= grades else 1 if len(answers) > 1 else 2), place[problem]

    place = {name: i for i, name in enumerate(runs.problems)}
    return sorted(runs.problems, key=rank)
