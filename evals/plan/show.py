"""A forecast as people read it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.plan.draws import Estimate
from evals.plan.forecast import Forecast
from reasoning.text import visible

_COUNTS = {
    "calls": "calls",
    "generated_tokens": "generated",
    "prompt_tokens": "prompt",
    "cached_tokens": "cached",
    "verifier_tokens": "verifier",
    "critical_tokens": "serial\na problem",
}
_COSTS = {
    "seconds": "seconds",
    "gpu_hours": "GPU hours",
    "flops": "FLOPs",
    "money": "money",
}
WHOLE = "the whole run"


def show(found: Forecast, console: Console) -> None:
    """Tokens, then costs, of each strategy and of all; then how long it could take otherwise.

    Columns that are 0 everywhere are left out; all is in `Forecast.to_json`.
    """
    title = f"{found.name}: {found.task}, {found.problems} problems, seen {found.seen} of them"
    console.print(_table(found, f"{title}: calls and tokens", _COUNTS))
    console.print(_table(found, "what they cost", _COSTS))
    for note in found.notes:
        console.print(f"note: {_plain(note)}")
    clock = "virtual seconds" if found.virtual else "seconds"
    console.print(f"{clock} of the whole run, {found.concurrency} problems at once, and otherwise:")
    for what, seconds in found.otherwise.items():
        console.print(f"  {what}: {_number(seconds)}")
    law = found.law
    console.print(
        f"a call of n tokens with b in flight: {law.first:.4g} + {law.first_batch:.4g} b + (n - 1) "
        f"({law.token:.4g} + {law.token_batch:.4g} b) s, and {law.unread:.4g} s for each prompt "
        "token that is not in the cache",
        highlight=False,
        soft_wrap=True,
    )


def _table(found: Forecast, title: str, names: Mapping[str, str]) -> Table:
    rows = {**found.strategies, WHOLE: found.run}
    table = Table(title=_plain(title))
    table.add_column("", overflow="fold", min_width=10)
    heads = [f for f in names if any(f in row and row[f].value for row in rows.values())]
    for field in heads:
        table.add_column(names[field], justify="right")
    for name, row in rows.items():
        table.add_row(_plain(name), *(_cell(row.get(field)) for field in heads))
    return table


def _cell(found: Estimate | None) -> str:
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return _number(found.value)
    low, high = _number(found.low), _number(found.high)
    # A space, so that a narrow terminal breaks an interval and leaves nothing of it out.
    return _number(found.value) + (f"\n{low} to {high}" if low != high else "")


def _number(value: float) -> str:
    """Three digits that count, in thousands (k), millions (M) or billions (G)."""
    sizes = [(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")]
    size, unit = max(pair for pair in sizes if value >= pair[0] or not pair[1])
    scaled = value / size
    return f"{scaled:.3g}{unit}" if scaled < 999.5 else f"{value:.2e}"


def _plain(text: str) -> str:
    return escape(visible(text))
