"""The results of runs as a table: one row for each strategy and problem."""

from __future__ import annotations

import csv
import io

from evals.report.load import Row, Runs, StoredStrategy
from evals.report.numbers import cost_of
from evals.report.text import visible

FIRST = ("run", "strategy", "problem", "gold", "answer", "correct", "stop_reason")


def as_csv(runs: Runs) -> str:
    """CSV with a header: what was answered, and every number of the usage; empty is unknown.

    `flops` are floating point operations. Text that a spreadsheet would take for a formula has an
    apostrophe before it.
    """
    rows = [(strategy, row) for strategy in runs.strategies for row in strategy.rows.values()]
    numbers = list(dict.fromkeys(name for _, row in rows for name in row.usage))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*FIRST, *numbers, "flops"])
    for strategy, row in rows:
        spent = [row.usage.get(name) for name in numbers]
        flops = cost_of(strategy, row, "flops")
        table.writerow([*_told(runs, strategy, row), *map(_number, [*spent, flops])])
    return out.getvalue()


def _told(runs: Runs, strategy: StoredStrategy, row: Row) -> list[str]:
    correct = None if row.correct is None else str(row.correct).lower()
    gold = runs.problems[row.problem].gold
    told = (strategy.run.label, strategy.name, row.problem, gold, row.answer, correct, row.stop)
    return [_plain(text) for text in told]


def _plain(text: str | None) -> str:
    shown = visible(text or "")
    if not shown.startswith(("=", "+", "-", "@", "\t")):
        return shown
    try:
        float(shown)
    except ValueError:
        return f"'{shown}"
    return shown


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(value)
