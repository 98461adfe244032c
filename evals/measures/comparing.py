"""The command `reasoning compare`: runs and replays side by side, on the screen and in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from evals.measures import at_cost
from evals.measures.finding import Cell, Finding
from evals.measures.guarding import guarded
from evals.measures.show import show, tell, write
from evals.replay.curves import FILE
from evals.report import numbers
from evals.report.load import load
from evals.report.terminal import show_comparison
from evals.statistics.intervals import Interval
from reasoning.errors import RecipeError


def main(
    folders: Sequence[Path],
    baseline: str | None,
    at: str | None,
    out: Path | None,
    console: Console,
    guard: Path | None = None,
) -> None:
    """Runs as a whole; read off at one cost where `at` names it, or where there is a replay.

    Where `guard` names its file, accuracies alone, as the guard tells them.
    """
    replays = [f for f in folders if (f / FILE).is_file() and not (f / "results.jsonl").exists()]
    found: dict[str, Finding] = {}
    if guard is not None:
        if at is not None or baseline is not None or replays:
            raise RecipeError(
                "--guard tells accuracies of runs and nothing else: leave out --at, --baseline and "
                "replays"
            )
        found["guarded"] = guarded(folders, guard)
        show("guarded", found["guarded"], console)
    elif at is not None or replays:
        found["at_cost"] = at_cost.compared(folders, at, baseline)
        show("at equal cost", found["at_cost"], console)
    else:
        show_comparison(folders, baseline, console)
        if out is not None:
            found = tables(folders, baseline)
    if out is not None:
        tell(out, write(found, out), console)


def tables(folders: Sequence[Path], baseline: str | None) -> dict[str, Finding]:
    """What `show_comparison` prints, and all pairs of it, as tables to be written."""
    runs = load(folders)
    lines = numbers.summary_lines(runs)
    costs = list(dict.fromkeys(axis for line in lines for axis in line.cost))
    rows: list[tuple[Cell, ...]] = [
        (line.strategy.label, line.problems, line.accuracy, *(line.cost.get(c) for c in costs))
        for line in lines
    ]
    head = ("strategy", "problems", "accuracy", *costs)
    compared = numbers.comparisons(runs, baseline=baseline)
    differences: list[tuple[Cell, ...]] = [
        (c.a, c.b, c.problems, Interval(c.difference, c.low, c.high, "bootstrap"), c.only_b,
         c.only_a, c.p_value, c.adjusted)
        for c in compared.shown
    ]  # fmt: skip
    names = ("a", "b", "problems", "difference of b", "only b right", "only a right", "p",
             "p adjusted")  # fmt: skip
    return {
        "strategies": Finding(f"{len(rows)} strategies; costs are means a problem.", head, rows),
        "differences": Finding(f"Paired differences, {compared.family}.", names, differences),
    }
