"""The page: sections put into the template, with the style sheet and the script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from evals.report import charts, choosing, measured, numbers, rows, sections
from evals.report.embed import embed
from evals.report.html import Html, element, join
from evals.report.load import Runs, load
from evals.report.numbers import Line
from evals.report.sampled import Sampled, sampled
from reasoning.errors import RecipeError, unknown
from reasoning.runs.files import writing

if TYPE_CHECKING:
    from evals.measures.finding import Finding

DEFAULT_SIZE = 5.0  # megabytes


@dataclass(frozen=True, slots=True)
class Written:
    """What a report came to. `notes` say what is missing, shortened or to be kept in mind."""

    path: Path
    size: int
    problems: int
    strategies: int
    notes: list[str]
    figures: list[Path]


def write(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    figures: str | Path | None = None,
    baseline: str | None = None,
    csv: str | Path | None = None,
    measures: Sequence[str] = (),
    tables: str | Path | None = None,
    megabytes: float = DEFAULT_SIZE,
) -> Written:
    """Write the report on run `folders` to the file `out`, charts to the folder `figures` too.

    `csv` is a file for the results as a table, `tables` a folder for those of the page as CSV and
    LaTeX. `measures` names evaluations that get a section each, `baseline` the strategy that the
    others are compared with, instead of all pairs. Texts are shortened to keep the page near
    `megabytes`.
    Raises StoreError for a folder that cannot be read or written, RecipeError for runs of different
    tasks and unknown names.
    """
    runs = load(folders)
    labels = [s.label for s in runs.strategies]
    if baseline is not None and baseline not in labels:
        raise RecipeError(unknown("strategy", baseline, labels))
    lines = numbers.summary_lines(runs)
    drawn = sampled(runs)
    found = measured.measured(folders, measures)
    head = _sections(runs, lines, drawn, baseline, measured.sections(found))
    room = min(megabytes, 1e6) * 1e6 - len(head.encode()) - 60_000
    data, kept = embed(runs, max(0, round(room)))
    notes = [*_notes(runs), *kept.notes(megabytes)]
    text = _page(runs, notes, head, data)
    path = Path(out)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with writing(figures, "--figures"):
        files = _figures(lines, drawn, found, Path(figures)) if figures is not None else []
    if tables is not None:
        files += _tables(folders, baseline, found, Path(tables))
    if csv is not None:
        with writing(csv, "--csv"):
            Path(csv).parent.mkdir(parents=True, exist_ok=True)
            Path(csv).write_text(rows.as_csv(runs), encoding="utf-8")
    return Written(path, path.stat().st_size, len(runs.problems), len(labels), notes, files)


def title(runs: Runs) -> str:
    """What the report is about, on one line."""
    told = [run.manifest.get("run", {}).get("name") or run.label for run in runs.runs]
    names = " and ".join(dict.fromkeys(map(str, told)))
    task = next((run.task for run in runs.runs if run.task), None)
    return f"{names}: {task}" if task and task != names else names


def _notes(runs: Runs) -> list[str]:
    """What a reader must know before the numbers: troubles first."""
    several = len(runs.runs) > 1
    said = [f"{labels}: {note}" if several else note for note, labels in runs.notes.items()]
    for run in runs.runs:
        mine = [row for s in runs.strategies if s.run is run for row in s.rows.values()]
        failed = sum(row.usage.get("failed_calls", 0) for row in mine)
        if lost := sum(row.stop == "failed" for row in mine):
            said.append(f"{run.label}: searches that failed: {lost:,}; they count as wrong")
        if failed:
            said.append(f"{run.label}: {failed:,.0f} calls failed; their tokens count as wasted")
    if len(runs.strategies) > 1 and not runs.common:
        said.append("no problem has a graded result of every strategy: no paired differences")
    return list(dict.fromkeys(said))


def _sections(
    runs: Runs,
    lines: Sequence[Line],
    drawn: Sequence[Sampled],
    baseline: str | None,
    more: Mapping[str, Html],
) -> Html:
    """Everything but the problems."""
    found: dict[str, Html | None] = {
        "Accuracy against compute": sections.against_compute(lines),
        "Summary": sections.summary(lines),
    }
    compared = numbers.comparisons(runs, baseline=baseline)
    if compared.shown:
        found["Paired differences"] = sections.pairs(compared, runs)
    found["At equal compute"] = sections.equal_compute(runs, numbers.axes(lines), baseline)
    found["Accuracy against the number of samples"] = sections.samples(drawn)
    found["Where the tokens went"] = sections.breakdown(lines)
    if scored := numbers.calibrations(runs.strategies):
        found["Calibration of the verifier"] = sections.calibration(scored)
    found["Abstaining"] = choosing.abstention(runs)
    found["Judges and places"] = choosing.judges(runs)
    found["Who can be believed"] = choosing.believed(runs)
    for key, values in numbers.groupings(runs).items():
        found[f"By {key}"] = sections.groups(runs, key, values)
    found |= more
    parts = []
    for i, (head, body) in enumerate((h, b) for h, b in found.items() if b is not None):
        parts.append(element("section", element("h2", head, id=f"s{i}"), body))
    return join(*parts)


def _page(runs: Runs, notes: Sequence[str], head: Html, data: str) -> str:
    package = resources.files("evals.report")
    style, draw, script, frame = (
        package.joinpath(name).read_text(encoding="utf-8")
        for name in ("report.css", "draw.js", "report.js", "report.html")
    )
    script = draw + script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made = join(*(sections.provenance(run) for run in runs.runs))
    listed = element("ul", *(element("li", note) for note in notes)) if notes else Html("")
    parts = {
        "hash": digest,
        "title": join(title(runs)),
        "facts": join(_facts(runs)),
        "notes": element("aside", element("h2", "Keep in mind"), listed) if notes else Html(""),
        "sections": head,
        "made": made,
        "style": style,
        "data": data,
        "script": script,
    }
    pieces = frame.split("@@")
    return "".join(part if i % 2 == 0 else parts[part] for i, part in enumerate(pieces))


def _facts(runs: Runs) -> str:
    count, kinds = len(runs.problems), len(runs.strategies)
    parts = [f"{count:,} problems", f"{kinds} strateg{'y' if kinds == 1 else 'ies'}"]
    for part in ("generator", "verifier"):
        told = dict.fromkeys(_name(run.manifest.get("run", {}).get(part)) for run in runs.runs)
        if names := [name for name in told if name]:
            parts.append(f"{part} {', '.join(names)}")
    return " · ".join(parts)


def _name(entry: object) -> str | None:
    if isinstance(entry, dict):
        return str(entry.get("model") or entry.get("name"))
    return None if entry is None else str(entry)


def _tables(
    folders: Sequence[str | Path], baseline: str | None, found: Mapping[str, Finding], folder: Path
) -> list[Path]:
    """The tables as files."""
    from evals.measures.comparing import tables
    from evals.measures.show import write as written

    return written(
        {**tables([Path(f) for f in folders], baseline), **found}, folder, option="--tables"
    )


def _figures(
    lines: Sequence[Line], drawn: Sequence[Sampled], found: Mapping[str, Finding], folder: Path
) -> list[Path]:
    """The charts as files."""
    made = [
        (f"accuracy_by_{axis}", charts.accuracy_against(lines, axis, _problems(lines)))
        for axis in numbers.axes(lines)
    ]
    made += [
        (f"samples_{i}", charts.at_k(s, f"{s.strategy.label}, {s.problems:,} problems"))
        for i, s in enumerate(drawn)
    ]
    made.append(("tokens", charts.cost_breakdown(lines, _problems(lines))))
    for i, scored in enumerate(numbers.calibrations([line.strategy for line in lines])):
        about = f"{scored.strategy.label}, {scored.problems:,} problems"
        made.append((f"reliability_{i}", charts.reliability_diagram(scored, about)))
    made += [(name, charts.of_measure(f.chart)) for name, f in found.items() if f.chart]
    return [p for name, figure in made if figure for p in charts.save(figure, folder, name)]


def _problems(lines: Sequence[Line]) -> str:
    return sections.problems_told([line.problems for line in lines])
