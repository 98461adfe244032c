"""Accuracy as more problems share a prompt (REST; 2025, arXiv:2507.10541)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError
from evals.measures.stored import Stored
from evals.report.load import StoredProblem, StoredStrategy
from evals.statistics.intervals import Interval, accuracy
from evals.statistics.paired import paired_difference
from evals.tasks.rest import order

MEANS = (
    "Accuracy of problems that are asked so many to a prompt, each once at every position: what is "
    "lost against the least stress, paired by problem, and whether those asked last suffer more."
)
NOT = (
    "Where answers are matched by their order, one that is left out makes those behind it wrong, "
    "too (`by: labels` does not). A limit of tokens is one for all problems of a prompt: what it "
    "cuts off counts as wrong."
)


def by_problem(grades: Mapping[int, Sequence[float]], n: int) -> dict[int, list[float]]:
    """The grades [positions] of each problem from those of prompts: `grades[i][j]` is that of
    position j in prompt i of n, as task rest asks them. Only problems that have every position."""
    if not grades:
        return {}
    stress = len(next(iter(grades.values())))
    found: dict[int, dict[int, float]] = {}
    for place, row in grades.items():
        for position, problem in enumerate(order(place, n, stress)):
            found.setdefault(problem, {})[position] = row[position]
    return {
        problem: [at[j] for j in range(stress)]
        for problem, at in sorted(found.items())
        if len(at) == stress
    }


def measure(stored: Stored) -> Finding:
    rows: list[tuple[Cell, ...]] = []
    series: dict[str, list[tuple[float, Interval]]] = {}
    for strategy in stored.runs.strategies:
        levels = _levels(strategy, stored.runs.problems)
        least = min(levels, default=0)
        for level in sorted(levels):
            table = levels[level]
            shared = sorted(table.keys() & levels[least].keys())
            before, after = ([float(np.mean(t[p])) for p in shared] for t in (levels[least], table))
            value = accuracy([float(np.mean(x)) for x in table.values()])
            first, last = ([x[j] for x in table.values()] for j in (0, -1))
            tail = paired_difference(first, last) if level > 1 else None
            loss = paired_difference(before, after) if level > least and shared else None
            rows.append((f"{strategy.label}, {level} a prompt", len(table), value, loss, tail))
            series.setdefault(strategy.label, []).append((float(level), value))
    if not any(row[4] is not None for row in rows):
        raise NotMeasuredError(
            "this needs a run of task `rest` with a stress above 1 (and no `once`), better of "
            "several: `stress: [1, 3, 5]`"
        )
    told = [(row[0], row[3]) for row in rows if isinstance(row[3], Interval)]
    if told:
        name, most = min(told, key=lambda pair: pair[1].value)
        says = f"Most is lost by {name}: {most.signed} against the least stress."
    else:
        says = f"Stress was run at one level only: {rows[0][0]}."
    return Finding(
        says,
        ("stress", "problems", "accuracy", "change", "last less first position"),
        rows,
        chart=Chart("problems a prompt", "accuracy", series),
    )


def _levels(
    strategy: StoredStrategy, problems: Mapping[str, StoredProblem]
) -> dict[int, dict[int, list[float]]]:
    """Grades [positions] by level and problem; levels of which no problem is whole are left out."""
    found: dict[int, dict[int, Sequence[float]]] = {}
    around = 0
    for name, row in strategy.rows.items():
        meta = problems[name].meta
        level, place, n = (meta.get(key) for key in ("stress", "place", "around"))
        if not (isinstance(level, int) and isinstance(place, int) and isinstance(n, int)):
            continue
        if row.correct is None:
            continue
        around = n
        if level == 1:
            found.setdefault(1, {})[place] = [float(row.correct)]
            continue
        told = strategy.run.result(row).get("measures") or {}
        grades = [told[q] for j in range(1, level + 1) if (q := f"Q{j}") in told]
        if len(grades) == level:
            found.setdefault(level, {})[place] = grades
    whole = {level: by_problem(grades, around) for level, grades in found.items()}
    return {level: table for level, table in whole.items() if table}
