"""Evaluations by name, run on what is stored; their tables as text, CSV, LaTeX and figures."""

from __future__ import annotations

import csv
import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import evals.measures
from evals.measures.charts import save
from evals.measures.finding import Cell, Finding, NotMeasuredError, told
from evals.measures.latex import tabular
from evals.measures.stored import Stored, ask
from evals.report.text import visible
from evals.statistics.intervals import Interval
from reasoning.cli.show import Name
from reasoning.errors import RecipeError, unknown
from reasoning.runs.files import writing

_NAME = 10  # columns on the screen that a name needs at least


def measures() -> dict[str, ModuleType]:
    """Every evaluation, by its file's name."""
    names = [m.name for m in pkgutil.iter_modules(evals.measures.__path__)]
    modules = {name: importlib.import_module(f"evals.measures.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "MEANS")}


def found_by(module: ModuleType, stored: Stored) -> Finding:
    """What an evaluation finds. Raises NotMeasuredError.

    Intervals are over problems: where there is only one, they say nothing, and that is said.
    """
    finding: Finding = module.measure(stored)
    if stored.problems > 1:
        return finding
    alone = "one problem alone: an interval that has no width says nothing of others"
    return replace(finding, notes=(*finding.notes, alone))


def listed(console: Console) -> None:
    """Print what there is."""
    for name, module in measures().items():
        console.print(Text(name, style="bold"))
        source = (module.__doc__ or "").splitlines()[0]
        console.print(Padding(Text(f"{source}\n{module.MEANS}"), (0, 0, 0, 4)))


def main(
    sources: Sequence[Path], names: Sequence[str], out: Path | None, console: Console, **given: Any
) -> None:
    """Run the evaluations of these names (all that can be) and show what they find.

    Raises RecipeError for an unknown name, and for a named one that cannot be measured.
    """
    known = measures()
    for name in names:
        if name not in known:
            raise RecipeError(unknown("measure", name, known))
    stored = Stored(sources, **given)
    ask(stored)
    found: dict[str, Finding] = {}
    lacking: dict[str, str] = {}
    for name in names or known:
        try:
            found[name] = found_by(known[name], stored)
        except NotMeasuredError as reason:
            lacking[name] = str(reason)
            continue
        show(name, found[name], console)
        console.print(Text(f"Keep in mind: {known[name].NOT}", style="dim"))
    if names and lacking:
        raise RecipeError("; ".join(f"{name}: {why}" for name, why in lacking.items()))
    for why in dict.fromkeys(lacking.values()):
        alike = ", ".join(name for name, reason in lacking.items() if reason == why)
        console.print(Text(f"not measured: {alike} ({visible(why)})", style="yellow"))
    if out is not None:
        about = {name: (known[name].MEANS, known[name].NOT) for name in found}
        tell(out, write(found, out, about), console)


def tell(folder: Path, paths: Sequence[Path], console: Console) -> None:
    """Print what has been written."""
    console.print(Text(f"{visible(str(folder))}: {', '.join(p.name for p in paths)}"))


def show(name: str, finding: Finding, console: Console) -> None:
    """Print the sentence, the table and the notes of a finding."""
    console.print(Text(f"\n{name}", style="bold"))
    console.print(Text(visible(finding.says)))
    console.print(_table(finding, console.width))
    for note in finding.notes:
        console.print(Text(visible(f"note: {note}")))


def _table(finding: Finding, width: int) -> Table:
    """Where it is too wide, cells break between words, names anywhere, and only then numbers."""
    rows = [[visible(told(cell)) for cell in row] for row in finding.rows]
    columns = list(zip(finding.head, *rows, strict=True))
    between = 2 * len(columns) + 1
    narrow = between + sum(max(map(cell_len, column)) for column in columns) > width
    words = [max(cell_len(w) for cell in c for w in cell.split() or [""]) for c in columns]
    fits = len(columns) + 1 + sum(words[1:]) + _NAME <= width
    view = Table(box=SIMPLE_HEAD, padding=(0, 0 if narrow and fits else 1, 0, 0))
    for i, head in enumerate(finding.head):
        view.add_column(
            head,
            justify="right" if i else "left",
            overflow="fold",
            width=words[i] if i and narrow and fits else None,
        )
    for name, *cells in rows:
        view.add_row(name if " " in name else Name(name), *cells)
    return view


def write(
    found: Mapping[str, Finding],
    folder: Path,
    about: Mapping[str, tuple[str, str]] | None = None,
    *,
    option: str = "--out",
) -> list[Path]:
    """Write evaluations.json and, of each, NAME.csv, NAME.tex and its picture in three formats.

    `about` says what each means and what not. Raises StoreError if the folder, which `option` has
    named, cannot be written.
    """
    paths = [folder / "evaluations.json"]
    with writing(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        everything = {name: _json(f, (about or {}).get(name)) for name, f in found.items()}
        paths[0].write_text(json.dumps(everything, indent=2, ensure_ascii=False) + "\n", "utf-8")
        for name, finding in found.items():
            paths += [folder / f"{name}.csv", folder / f"{name}.tex"]
            with paths[-2].open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(flat(finding))
            rows = [[told(cell) for cell in row] for row in finding.rows]
            paths[-1].write_text(tabular(finding.head, rows, finding.says), encoding="utf-8")
            if finding.chart is not None:
                paths += save(finding.chart, folder, name)
    return paths


def flat(finding: Finding) -> Iterator[list[Any]]:
    """The table with a header; an interval is three columns, what is not known is empty."""
    wide = [
        any(isinstance(row[i], Interval) for row in finding.rows) for i in range(len(finding.head))
    ]
    names = zip(finding.head, wide, strict=True)
    yield [part for name, w in names for part in (_three(name) if w else [name])]
    for row in finding.rows:
        yield [part for cell, w in zip(row, wide, strict=True) for part in _parts(cell, w)]


def _three(name: str) -> list[str]:
    return [name, f"{name} low", f"{name} high"]


def _parts(cell: Cell, wide: bool) -> Iterable[Any]:
    if isinstance(cell, Interval):
        return cell[:3]
    value = "" if cell is None else cell
    return [value, "", ""] if wide else [value]


def _json(finding: Finding, about: tuple[str, str] | None) -> dict[str, Any]:
    rows = [
        {name: _plain(cell) for name, cell in zip(finding.head, row, strict=True)}
        for row in finding.rows
    ]
    means = {} if about is None else {"means": about[0], "not": about[1]}
    return {"says": finding.says, **means, "rows": rows, "notes": list(finding.notes)}


def _plain(cell: Cell) -> Any:
    return cell._asdict() if isinstance(cell, Interval) else cell
