"""Sections of a report that evaluations make: a sentence, a table, a picture, what it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evals.report import charts
from evals.report.html import Html, breakable, element, join, table
from reasoning.errors import RecipeError, unknown

if TYPE_CHECKING:
    from evals.measures.finding import Finding

ALL = "all"
"""Every evaluation that the runs suffice for."""


def measured(folders: Sequence[str | Path], names: Sequence[str]) -> dict[str, Finding]:
    """What the evaluations of these names find. Raises RecipeError for one that is not there, or
    that the runs do not suffice for, unless it is one of all."""
    if not names:
        return {}
    from evals.measures.finding import NotMeasuredError
    from evals.measures.show import found_by, measures
    from evals.measures.stored import Stored

    known = measures()
    if wrong := [name for name in names if name not in (*known, ALL)]:
        raise RecipeError(unknown("measure", wrong[0], (*known, ALL)))
    stored = Stored([Path(folder) for folder in folders])
    found: dict[str, Finding] = {}
    for name in known if ALL in names else dict.fromkeys(names):
        try:
            found[name] = found_by(known[name], stored)
        except NotMeasuredError as reason:
            if ALL not in names:
                raise RecipeError(f"{name}: {reason}") from reason
    return found


def sections(found: Mapping[str, Finding]) -> dict[str, Html]:
    """A section for each, by its heading."""
    if not found:
        return {}
    from evals.measures.finding import told
    from evals.measures.show import measures

    known = measures()
    parts = {}
    for name, finding in found.items():
        cells = [
            [element("th", breakable(told(row[0])), scope="row"), *map(told, row[1:])]
            for row in finding.rows
        ]
        notes = " ".join(f"Note: {note}." for note in finding.notes)
        caption = f"{known[name].MEANS} Keep in mind: {known[name].NOT} {notes}".strip()
        picture = None
        if finding.chart is not None:
            svg = charts.inline_svg(charts.of_measure(finding.chart), f"measure-{name}")
            text = element("figcaption", finding.says, id=f"measure{name}-caption")
            picture = element("figure", Html(svg), text, id=f"measure-{name}")
        said = None if picture else element("p", finding.says)
        parts[name.replace("_", " ").capitalize()] = join(
            said, picture, table(list(finding.head), cells, caption=caption)
        )
    return parts
