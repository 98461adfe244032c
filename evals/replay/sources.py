"""Where stored samples come from: the folder of a run, or a file of recorded samples.

Whatever is damaged or missing is left out and counted in a note.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from evals.replay.grades import Grades
from evals.replay.samples import Drawn, Recording, Stored, drawn_from, json_lines
from reasoning.answers import (
    Answer,
    Fallback,
    after_answer_is,
    extract,
    formula,
    last_number,
    stated,
)
from reasoning.backends.recorded import replayed
from reasoning.errors import RecipeError, StoreError
from reasoning.runs.store import Store
from reasoning.session import run_sync
from reasoning.tree import Node, RolloutTree, Sample

LABELLED = ("game24",)
"""Datasets whose gold answer does not identify a right solution: their recorded labels count."""

Watch = Callable[[str, int, int], None]
"""Told what goes on, how much of it is done, and how much there is."""


def load(
    source: str | Path,
    *,
    where: Mapping[str, str] | None = None,
    strategy: str | None = None,
    max_tokens: int | None = None,
    logit: bool = False,
    grades: Grades | None = None,
    watch: Watch | None = None,
) -> Recording:
    """Read and grade what `source` holds. Raises RecipeError if that is nothing of use.

    `where` keeps rows and samples of a file by the values of their fields, `strategy` picks one of
    a run's. `max_tokens` is the limit a file's samples were drawn under: one that long was cut off,
    so it does not finish a race, and has an answer only if that is marked as such. `logit` maps
    scores that are logits to [0, 1]. `grades` keeps what grading found.
    """
    path = Path(source)
    if path.is_dir():
        if where:
            raise RecipeError(f"--where picks samples of a file, and {path} is a run's folder")
        recording = _run(path, strategy)
    elif path.exists():
        if strategy:
            raise RecipeError(f"--samples-of picks a strategy of a run, and {path} is a file")
        rows, notes = _rows(path, where or {}, max_tokens)
        recording = Recording(path.name, [], notes)
        recording.problems = run_sync(_graded(rows, notes, grades or Grades(), watch or _unwatched))
    else:
        raise RecipeError(f"there is no {path}; name a run's folder or a .jsonl or .jsonl.gz file")
    if logit:
        for sample in recording.drawn():
            sample.steps = tuple(float(1 / (1 + np.exp(-s))) for s in sample.steps)
    return _even(recording)


def _even(recording: Recording) -> Recording:
    """Without the problems that have less than half the usual number of samples."""
    problems = [p for p in recording.problems if p.samples]
    if not problems:
        raise RecipeError(f"{recording.name} holds no sample that can be graded")
    usual = median_low([len(p.samples) for p in problems])
    recording.problems = [p for p in problems if 2 * len(p.samples) >= usual]
    if short := len(problems) - len(recording.problems):
        recording.notes.append(
            f"{short} of {len(problems)} problems have less than half of the usual {usual} samples "
            "and are left out"
        )
    return recording


# ---------------------------------------------------------------------------- a run's folder


def _run(folder: Path, strategy: str | None) -> Recording:
    """The independent whole solutions of one strategy of a run, graded when it ran."""
    damage: Counter[str] = Counter()
    results = folder / "results.jsonl"
    if not results.exists():
        raise RecipeError(f"{folder} is not a run's folder: it has no results.jsonl")
    name = _fullest(results, strategy)
    store = Store(folder)
    problems: dict[str, Stored] = {}
    for row in json_lines(results, damage):
        if not isinstance(row, dict) or row.get("strategy") != name:
            continue
        problem = row.get("problem")
        if not isinstance(problem, str) or problem in problems:
            continue
        if row.get("correct") is None:
            damage["ungraded"] += 1
            continue
        try:
            tree = RolloutTree.load(store.tree_path(name, problem))
            problems[problem] = Stored(problem, _solutions(row, tree))
        except (StoreError, OSError, ValueError, KeyError, TypeError, AttributeError):
            damage["trees"] += 1
    notes = [f"samples of strategy {name}, graded when the run was made"]
    for kind, text in {
        "lines": "damaged lines are left out",
        "trees": "problems have a tree that is missing or damaged, and are left out",
        "ungraded": "problems have no gold answer and are left out",
    }.items():
        if damage[kind]:
            notes.append(f"{damage[kind]} {text}")
    # Results stand in the order in which problems were done, which says nothing.
    return Recording(f"{folder} ({name})", [problems[i] for i in sorted(problems)], notes)


def _fullest(results: Path, strategy: str | None) -> str:
    """The strategy with most whole solutions, `strategy` if given.

    Of those with nearly as many that with most scores: damage may have cost it a few.
    """
    sizes: dict[str, list[int]] = {}
    for row in json_lines(results, Counter()):
        try:
            whole = [c for c in row["candidates"] if len(c["path"]) == 1]
            size = sizes.setdefault(str(row["strategy"]), [0, 0])
            if whole and len(whole) == len(row["candidates"]):
                size[0] += len(whole) if not row["usage"]["cancelled_calls"] else 0
                size[1] += sum(bool(c["steps"]) for c in whole)
        except (KeyError, TypeError):
            continue
    usable = {name: size for name, size in sizes.items() if size[0]}
    if strategy is not None and strategy not in usable:
        raise RecipeError(
            f"{results.parent} has no independent whole solutions of strategy {strategy!r}; "
            f"it has those of {', '.join(usable) or 'none'}"
        )
    if not usable:
        raise RecipeError(
            f"{results.parent} holds no independent whole solutions: trees that were grown step by "
            "step cannot be replayed as another strategy; replay a run of self_consistency, say"
        )
    most = max(size[0] for size in usable.values())
    near = [name for name, size in usable.items() if size[0] >= 0.9 * most]
    return strategy or max(near, key=lambda name: (usable[name][1], usable[name][0]))


def _solutions(row: Mapping[str, Any], tree: RolloutTree) -> list[Drawn]:
    """The candidates of a result with their samples, and calls that failed as no answer."""
    candidates = {tuple(c["path"]): c for c in row["candidates"]}
    classes: dict[str, int] = {}
    found = []
    for node in tree.root.children:
        candidate = candidates.get(node.path)
        if candidate is None:
            if node.sample.finish == "failed":
                found.append(drawn_from(node.sample, -1, False))
            continue
        text = candidate["key"]
        key = -1 if text is None else classes.setdefault(text, len(classes))
        sample = drawn_from(node.sample, key, bool(candidate["correct"]))
        sample.steps = tuple(map(float, candidate["steps"])) or _only_scores(node)
        found.append(sample)
    return found


def _only_scores(node: Node) -> tuple[float, ...]:
    scores = list(node.scores.values())
    return tuple(map(float, scores[0])) if len(scores) == 1 else ()


# ------------------------------------------------------------------------- recorded samples


def _rows(
    path: Path, where: Mapping[str, str], max_tokens: int | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The rows of a file by id, those that share one joined, and notes; each sample read."""
    damage: Counter[str] = Counter()
    rows: dict[str, dict[str, Any]] = {}
    for row in json_lines(path, damage):
        try:
            kept = [
                {**s, "run": row.get("run") or s.get("run"), "sample": _read(s, max_tokens)}
                for s in row["samples"]
                if _keeps({**row, **s}, where)
            ]
            rows.setdefault(str(row["id"]), {**row, "samples": []})["samples"] += kept
        except (KeyError, TypeError, ValueError):
            damage["lines"] += 1
    rows = {name: row for name, row in rows.items() if row["samples"]}
    if not rows:
        chosen = f" with {dict(where)}" if where else ""
        raise RecipeError(f"{path} holds no recorded sample{chosen}")
    notes = [f"{damage['lines']} damaged lines are left out"] if damage["lines"] else []
    samples = [s for row in rows.values() for s in row["samples"]]
    runs = sorted({str(s["run"]) for s in samples})
    if len(runs) > 1:
        some = ", ".join(runs[:4]) + (", ..." if len(runs) > 4 else "")
        notes.append(
            f"samples of {len(runs)} runs are pooled; --where run=NAME picks one of {some}"
        )
    for field in ("decoding", "temperature", "model"):
        drawn = sorted({str(s.get(field)) for s in samples})
        if len(drawn) > 1:
            notes.append(
                f"samples differ in {field} ({', '.join(drawn[:4])}); --where {field}=VALUE keeps "
                "one kind"
            )
    lengths = Counter(s.get("n_tokens") for s in samples if s["sample"].finish == "end")
    longest = max((n for n in lengths if n), default=0)
    if max_tokens is None and longest >= 64 and lengths[longest] > 1 + len(samples) // 500:
        notes.append(
            f"{lengths[longest]} samples have {longest} tokens and none has more: if they were cut "
            f"off there, say --max-tokens {longest}"
        )
    return rows, notes


def _read(stored: Mapping[str, Any], max_tokens: int | None) -> Sample:
    """A stored sample, with token log-probabilities and confidences where it has them."""
    names = ("logprobs", "confidence")
    arrays: dict[str, Any] = {
        n: np.asarray(stored[n], np.float32) for n in names if stored.get(n) is not None
    }
    return replace(replayed(stored, max_tokens or 1_000_000_000), **arrays)


async def _graded(
    rows: Mapping[str, dict[str, Any]], notes: list[str], grades: Grades, watch: Watch
) -> list[Stored]:
    """Every problem's samples with classes and grades, several problems at a time."""
    found: dict[str, Stored] = {}
    counts: Counter[str] = Counter()
    waiting = iter(rows.items())

    async def work() -> None:
        for name, row in waiting:
            samples = row["samples"]
            answers = [_answer(sample, row) for sample in samples]
            keys = [a.key if a else None for a in answers]
            if row.get("answer") is None or row.get("dataset") in LABELLED:
                right = [sample.get("correct") for sample in samples]
                counts["ungraded" if None in right else "labels"] += 1
                if None in right:
                    continue
            else:
                grade = await grades.grade(answers, str(row["answer"]))
                keys = [None if key is None else grade.classes[key] for key in keys]
                right = [key is not None and grade.right[key] for key in keys]
            found[name] = Stored(name, _samples(samples, keys, right))
            watch("grading", len(found), len(rows))

    async with TaskGroup() as tasks:
        for _ in range(min(16, len(rows))):
            tasks.create_task(work())
    if counts["labels"]:
        notes.append(f"graded by recorded labels: {counts['labels']} of {len(rows)} problems")
    if counts["ungraded"]:
        notes.append(f"{counts['ungraded']} problems have neither gold nor labels: left out")
    return [found[name] for name in rows if name in found]


def _samples(
    samples: Sequence[Mapping[str, Any]], keys: Sequence[str | None], right: Sequence[bool]
) -> list[Drawn]:
    number = {key: i for i, key in enumerate(dict.fromkeys(key for key in keys if key is not None))}
    found = []
    for stored, key, correct in zip(samples, keys, right, strict=True):
        drawn = drawn_from(stored["sample"], -1 if key is None else number[key], bool(correct))
        drawn.guessed = stored.get("n_tokens") is None
        if drawn.guessed and stored.get("text") is None:
            drawn.tokens = None
        drawn.steps = _scores(stored)
        found.append(drawn)
    return found


def _answer(stored: Mapping[str, Any], row: Mapping[str, Any]) -> Answer | None:
    """What a sample answers: extracted from its text, or as recorded where there is none."""
    if stored.get("text") is None:
        return Answer.of(str(stored["answer"])) if stored.get("answer") not in (None, "") else None
    sample = stored["sample"]
    fallback = fallback_of(str(row.get("dataset"))) if sample.finish == "end" else None
    found = extract(sample.text, fallback)
    return Answer.of(found) if found else None


def fallback_of(dataset: str) -> Fallback:
    """How the task of that name finds an answer that is neither in a box nor after ####."""
    if dataset.startswith("game24"):
        return _expression
    if dataset.startswith(("gsm8k", "aime", "amc")):
        return last_number
    return formula if dataset.startswith("math") else stated


def _expression(text: str) -> str | None:
    found = after_answer_is(text)
    return None if found is None or found.lower() == "none" else found


def _scores(stored: Mapping[str, Any]) -> tuple[float, ...]:
    values = stored.get("scores")
    if values is None:
        values = [] if stored.get("score_last") is None else [stored["score_last"]]
    try:
        return tuple(map(float, values))
    except (TypeError, ValueError):
        return ()


def _keeps(fields: Mapping[str, Any], where: Mapping[str, str]) -> bool:
    return all(str(fields.get(name)) == value for name, value in where.items())


def _unwatched(what: str, done: int, total: int) -> None:
    """Nobody looks."""
    del what, done, total
