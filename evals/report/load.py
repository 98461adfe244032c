"""Run folders read back for a report: whatever is there, and what is not.

One pass over results.jsonl keeps a few numbers a problem; candidates and trees are read again when
they are shown, so that memory does not grow with the number of samples.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from evals.report.families import families
from reasoning.errors import RecipeError, StoreError
from reasoning.runs.store import Store

ONCE_INDEPENDENT = ("sample", "self_consistency", "best_of_n")
"""Searchers whose samples are independent, in runs that do not say so of their strategies."""


@dataclass(slots=True)
class StoredProblem:
    """What was asked. `question` is None in runs that did not store it."""

    id: str
    question: str | None = None
    gold: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """One strategy on one problem; `offset` is where its line starts in results.jsonl.

    `confidence` in the answer is in [0, 1], None where the strategy has none. `models` has the part
    of `usage` of every model but the one asked by default. `processed` is
    what `evals.statistics.compute.processed` finds, once somebody has asked.
    """

    problem: str
    correct: bool | None
    answer: str | None
    stop: str
    usage: dict[str, float]
    offset: int
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    processed: dict[str, float] | Literal["not asked"] | None = "not asked"
    confidence: float | None = None


@dataclass(slots=True, eq=False)
class StoredRun:
    """One run folder. `troubles` say what is missing or damaged."""

    folder: Path
    label: str
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any] | None
    troubles: list[str] = field(default_factory=list)

    @property
    def task(self) -> str | None:
        """The name of its task, None if the folder does not say."""
        told = (self.manifest.get("run") or {}).get("task")
        name = told.get("name") if isinstance(told, Mapping) else told
        return name or (self.summary or {}).get("task")

    @property
    def private(self) -> bool:
        """Whether nothing is to be shown that could quote its questions."""
        told = self.manifest.get("task")
        return isinstance(told, Mapping) and told.get("private") is True

    @property
    def notes(self) -> list[str]:
        """What the run itself wants said beside its numbers, and what else it has measured."""
        summary = self.summary or {}
        found = summary.get("notes") or self.manifest.get("notes") or []
        measured = [
            f"{s.get('name')}: {name} {value:.3f}"
            for s in summary.get("strategies") or ()
            if isinstance(s.get("measures"), Mapping)
            for name, value in s["measures"].items()
            if isinstance(value, int | float)
        ]
        return [*map(str, found), *measured]

    def result(self, row: Row) -> dict[str, Any]:
        """The whole stored line of `row`."""
        with (self.folder / "results.jsonl").open("rb") as file:
            file.seek(row.offset)
            found: dict[str, Any] = _parsed(file.readline())
        return found


@dataclass(slots=True, eq=False)
class StoredStrategy:
    """One strategy of one run with its results by problem.

    `label` is unique in the report; strategies of one `family` are points of one curve. Of those
    that are `independent` the samples say nothing of each other: curves over k are theirs alone.
    `scores` and `graded` are those of all candidates that a verifier scored, `owners` their
    problems; `most_samples` is the largest number of candidates of a problem.
    """

    label: str
    name: str
    run: StoredRun
    family: str
    independent: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)
    graded: list[bool] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    most_samples: int = 0


@dataclass(slots=True)
class Runs:
    """Everything a report shows."""

    runs: list[StoredRun]
    strategies: list[StoredStrategy]
    problems: dict[str, StoredProblem]

    @property
    def common(self) -> list[str]:
        """Problems that every strategy has a graded result for."""
        return [
            p
            for p in self.problems
            if all(p in s.rows and s.rows[p].correct is not None for s in self.strategies)
        ]

    @property
    def notes(self) -> dict[str, str]:
        """What a reader must know of the runs, troubles first, and whose it is."""
        whose: dict[str, list[str]] = {}
        for kind in ("troubles", "notes"):
            for run in self.runs:
                for note in dict.fromkeys(getattr(run, kind)):
                    whose.setdefault(note, []).append(run.label)
        return {note: ", ".join(dict.fromkeys(labels)) for note, labels in whose.items()}


@cache
def _shape(name: str) -> Any:
    """What a file of a run holds, as far as a report relies on it; raises ValueError if not."""
    from pydantic import BaseModel, TypeAdapter

    class Candidate(BaseModel):
        path: list[int]
        key: str | None = None
        answer: str | None = None
        correct: bool | None = None
        weight: float | None = None
        steps: list[float] | None = None

    class Line(BaseModel):
        strategy: str
        problem: str
        usage: dict[str, Any]
        candidates: list[Candidate] | None = None
        failures: list[Any] | None = None
        meta: dict[str, Any] | None = None

    class Manifest(BaseModel):
        run: dict[str, Any] = {}
        packages: dict[str, Any] | None = None
        command: list[Any] | None = None
        notes: list[Any] | None = None

    class Summary(BaseModel):
        strategies: list[dict[str, Any]] | None = None
        notes: list[Any] | None = None

    shapes = {"results.jsonl": Line, "manifest.json": Manifest, "summary.json": Summary}
    return TypeAdapter(shapes[name])


def load(folders: Sequence[str | Path]) -> Runs:
    """Read run folders. Raises StoreError where there is nothing, RecipeError if tasks differ."""
    labels = _labels([Path(folder) for folder in folders])
    found = Runs([], [], {})
    for folder, label in labels.items():
        run = _open(folder, label)
        found.runs.append(run)
        found.strategies += _read(run, found.problems, alone=len(labels) == 1)
    found.problems = dict(sorted(found.problems.items(), key=lambda item: _natural(item[0])))
    tasks = {run.task: run.label for run in found.runs if run.task}
    if len(tasks) > 1:
        told = ", ".join(f"{label}: {task}" for task, label in tasks.items())
        raise RecipeError(f"runs of different tasks cannot be compared ({told})")
    return found


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A key that puts problem 9 before problem 10."""
    parts = re.split(r"(\d{1,18})", name)
    return [(1, int(part)) if part.isdecimal() else (0, part) for part in parts]


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Where each line of a JSONL file starts and what it holds, None if it is damaged."""
    offset = 0
    with path.open("rb") as file:
        for raw in file:
            try:
                value = _parsed(raw)
            except (ValueError, RecursionError):
                value = None
            yield offset, value if isinstance(value, dict) else None
            offset += len(raw)


def _parsed(raw: bytes) -> Any:
    """What a line holds, by pydantic's parser, which is quicker; what that refuses, by Python's."""
    from pydantic_core import from_json

    try:
        return from_json(raw)
    except ValueError:
        return json.loads(raw.decode("utf-8", "replace"))


def _labels(folders: Sequence[Path]) -> dict[Path, str]:
    """A short name for every folder, different for different folders."""
    unique = list(dict.fromkeys(folder.resolve() for folder in folders))
    names = [folder.name for folder in unique]
    return {
        folder: folder.name if names.count(folder.name) == 1 else "/".join(folder.parts[-2:])
        for folder in unique
    }


def _open(folder: Path, label: str) -> StoredRun:
    if not (folder / "results.jsonl").is_file():
        raise StoreError(
            f"{folder} holds no results.jsonl; name a folder that `reasoning run` has written"
        )
    store, troubles, parts = Store(folder), [], {}
    for name in ("manifest.json", "summary.json"):
        try:
            parts[name] = store.read_json(name)
            if parts[name] is not None:
                _shape(name).validate_python(parts[name])
        except (StoreError, ValueError):
            parts[name] = None
            troubles.append(f"{name} is damaged and left out")
            continue
        if parts[name] is None and name == "manifest.json":
            troubles.append("manifest.json is missing: what was run is not known")
    if not troubles and parts["summary.json"] is None:
        troubles.append("the run is unfinished (it has no summary.json): this is what is stored")
    return StoredRun(
        folder, label, parts.get("manifest.json") or {}, parts.get("summary.json"), troubles
    )


def _read(
    run: StoredRun, problems: dict[str, StoredProblem], *, alone: bool
) -> list[StoredStrategy]:
    order = [s.get("name") for s in (run.summary or {}).get("strategies") or ()]
    found: dict[str, StoredStrategy] = {}
    damaged = 0
    for offset, line in lines(run.folder / "results.jsonl"):
        row = _row(line, offset)
        if line is None or row is None:
            damaged += 1
            continue
        name = str(line["strategy"])
        if name not in found:
            label = name if alone else f"{run.label}: {name}"
            found[name] = StoredStrategy(label, name, run, name, _independent(run, name))
        if row.problem not in found[name].rows:
            _know(problems, run, row.problem, line)
            found[name].rows[row.problem] = row
            _score(found[name], row, line)
    if damaged:
        run.troubles.append(f"damaged lines of results.jsonl, left out: {damaged}")
    if not found:
        raise StoreError(f"{run.folder} holds no finished result yet; nothing to report")
    for name, family in families(found).items():
        found[name].family = family if alone else f"{run.label}: {family}"
    counts = {len(s.rows) for s in found.values()}
    if len(counts) > 1:
        run.troubles.append(
            f"strategies have between {min(counts)} and {max(counts)} problems; differences are "
            "taken over the problems they share"
        )
    known = {name: place for place, name in enumerate(order)}
    return sorted(found.values(), key=lambda s: known.get(s.name, len(known)))


def _independent(run: StoredRun, name: str) -> bool:
    """Whether the run says that the strategy's samples are independent; never told from them."""
    entries = (run.summary or {}).get("strategies") or ()
    entry: Mapping[str, Any] = next((e for e in entries if e.get("name") == name), {})
    told = run.manifest.get("independent")
    known = entry.get("independent", told.get(name) if isinstance(told, Mapping) else None)
    if isinstance(known, bool):
        return known
    return (entry.get("searcher") or name.partition("-")[0]) in ONCE_INDEPENDENT


def _row(line: Mapping[str, Any] | None, offset: int) -> Row | None:
    """The numbers of a stored line; None if it is not what a run writes."""
    try:
        _shape("results.jsonl").validate_python(line)
    except ValueError:
        return None
    assert line is not None
    usage, correct, answer = line["usage"], line.get("correct"), line.get("answer")
    models = usage.get("models")
    shares = models if isinstance(models, Mapping) else {}
    try:
        numbers = _numbers(usage)
        parts = {str(k): _numbers(v) for k, v in shares.items() if isinstance(v, Mapping)}
    except OverflowError:
        return None
    sure = line.get("confidence")
    return Row(
        str(line["problem"]),
        correct if isinstance(correct, bool) else None,
        None if answer is None else str(answer),
        str(line.get("stop_reason", "")),
        numbers,
        offset,
        parts,
        confidence=float(sure) if isinstance(sure, int | float) and 0 <= sure <= 1 else None,
    )


def _numbers(data: Mapping[str, Any]) -> dict[str, float]:
    """Raises OverflowError for a number without end, or longer than any count."""
    found = {k: float(v) for k, v in data.items() if isinstance(v, (int, float))}
    if not all(map(math.isfinite, found.values())):
        raise OverflowError
    return found


def _know(
    problems: dict[str, StoredProblem], run: StoredRun, name: str, line: Mapping[str, Any]
) -> None:
    question, gold, meta = line.get("question"), line.get("gold"), line.get("meta")
    new = StoredProblem(
        name,
        None if question is None else str(question),
        None if gold is None else str(gold),
        {k: v for k, v in (meta or {}).items() if isinstance(v, str | int | float)},
    )
    old = problems.setdefault(name, new)
    for part in ("question", "gold"):
        before, now = getattr(old, part), getattr(new, part)
        if None not in (before, now) and before != now:
            raise RecipeError(
                f"problem {name!r} has another {part} in {run.folder} than in the run before it; "
                "runs of different data cannot be compared"
            )
        if before is None:
            setattr(old, part, now)


def _score(strategy: StoredStrategy, row: Row, line: Mapping[str, Any]) -> None:
    """The last score of every candidate beside its grade."""
    found = line.get("candidates") or ()
    strategy.most_samples = max(strategy.most_samples, len(found))
    before = len(strategy.scores)
    for candidate in found:
        if (steps := candidate.get("steps")) and isinstance(candidate.get("correct"), bool):
            last = float(steps[-1])
            if math.isfinite(last):
                strategy.scores.append(last)
                strategy.graded.append(candidate["correct"])
    strategy.owners += [row.problem] * (len(strategy.scores) - before)
