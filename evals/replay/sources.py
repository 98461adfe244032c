"""Where stored samples come from: the folder of a run, or any other recording.

Whatever is damaged or missing is left out and counted in a note.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any, cast

import numpy as np

from evals.replay.grades import Grades
from evals.replay.samples import Drawn, Recording, Stored, drawn_from, ends_of
from reasoning.answers import (
    Answer,
    Fallback,
    after_answer_is,
    formula,
    number_said,
    stated,
)
from reasoning.answers.kind import Answers
from reasoning.answers.math import Math
from reasoning.backends.formats import NOTES, kept, recognised, run_folder
from reasoning.backends.formats import Recording as Found
from reasoning.backends.formats.lines import Tell
from reasoning.backends.recorded import replayed
from reasoning.errors import RecipeError
from reasoning.runs import names
from reasoning.session import run_sync
from reasoning.tree import RolloutTree, Sample

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
    answers: object = None,
    grades: Grades | None = None,
    watch: Watch | None = None,
) -> Recording:
    """Read and grade what `source` holds. Raises RecipeError if that is nothing of use.

    `where` keeps rows and samples of a file by the values of their fields, `strategy` picks one of
    a run's. `max_tokens` is the limit a file's samples were drawn under: one that long was cut off,
    so it does not finish a race, and has an answer only if that is marked as such. `logit` maps
    scores that are logits to [0, 1]. `answers` is their kind, as a task names it, where the
    recording does not say. `grades` keeps what grading found.
    """
    path, form = Path(source), recognised(source)
    if form.form == "run_folder":
        options = {
            "--where picks samples": where,
            "--answers is for answers": answers,
            "--max-tokens is for samples": max_tokens,
        }
        if stated := [option for option, given in options.items() if given]:
            raise RecipeError(f"{stated[0]} of a file, and {path} is a run's folder")
        recording = _run(path, strategy)
    else:
        if strategy:
            raise RecipeError(f"--samples-of picks a strategy of a run, and {path} is none")
        rows, notes = _rows(path, form, where or {}, max_tokens)
        recording = Recording(path.name, [], notes)
        graded = _graded(rows, notes, answers, grades or Grades(), watch or _unwatched)
        recording.problems = run_sync(graded)
    if logit:
        for sample in recording.drawn():
            sample.steps = tuple(float(1 / (1 + np.exp(-s))) for s in sample.steps)
    return _even(recording)


_UNFINISHED = "If the run is unfinished, the command that began it continues it"


def _even(recording: Recording) -> Recording:
    """Without the problems that have less than half the usual number of samples."""
    problems = [p for p in recording.problems if p.samples]
    if not problems:
        none = f"none of its {len(recording.problems)} problems has an answer that ended"
        raise RecipeError(
            f"{recording.name} holds no sample that can be graded: {none}. {_UNFINISHED}"
        )
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
    left_out: Counter[str] = Counter()
    gone: list[str] = []
    name = run_folder.fullest(folder, strategy)
    problems: dict[str, Stored] = {}
    for row, tree in run_folder.results(folder, name, _counting(left_out)):
        if row.get("correct") is None:
            left_out["ungraded"] += 1
            continue
        try:
            problems[row["problem"]] = Stored(
                row["problem"], _solutions(row, run_folder.load(tree))
            )
        except run_folder.DAMAGE:
            left_out["trees"] += 1
            gone.append(row["problem"])
    if gone and not problems:
        few = ", ".join(sorted(gone)[:8]) + (f" and {len(gone) - 8} more" if gone[8:] else "")
        raise RecipeError(
            f"{folder} ({name}) holds no sample that can be graded: the trees of {few} are missing "
            f"or damaged, though their results are there; copy its folder trees from where the run "
            f"was made. {_UNFINISHED}"
        )
    notes = [f"samples of strategy {name}, graded when the run was made", *_told(left_out)]
    # Results stand in the order in which problems were done, which says nothing.
    stored = [problems[i] for i in sorted(problems)]
    bare = not any(drawn.steps for problem in stored for drawn in problem.samples)
    scored = run_folder.scored(folder) if bare else ()
    return Recording(f"{folder} ({name})", stored, notes, scored)


def _counting(left_out: Counter[str]) -> Tell:
    def tell(kind: str, where: str) -> None:
        del where
        left_out[kind] += 1

    return tell


def _told(left_out: Counter[str]) -> list[str]:
    return [f"{left_out[kind]} {text}" for kind, text in NOTES.items() if left_out[kind]]


def aligned(folder: Path, names: Sequence[str]) -> dict[str, list[list[Drawn]]]:
    """For every problem that all these strategies of a run have, the samples of each; an answer has
    the same number in all. Raises RecipeError where there is none."""
    found: dict[str, dict[str, list[Drawn]]] = {}
    classes: dict[str, dict[str, int]] = {}
    for name in names:
        strategy = run_folder.fullest(folder, name)
        for row, tree in run_folder.results(folder, strategy, _counting(Counter())):
            problem = row["problem"]
            with suppress(*run_folder.DAMAGE):
                known = classes.setdefault(problem, {})
                samples = _solutions(row, run_folder.load(tree), known)
                found.setdefault(problem, {})[name] = samples
    rows = {
        p: [parts[n] for n in names]
        for p, parts in sorted(found.items())
        if len(parts) == len(names)
    }
    if not rows:
        raise RecipeError(f"{folder} has no problem that {', '.join(names)} have all solved")
    return rows


def _solutions(
    row: Mapping[str, Any], tree: RolloutTree, classes: dict[str, int] | None = None
) -> list[Drawn]:
    """The candidates of a result with their samples, and calls that failed as no answer."""
    classes = {} if classes is None else classes
    found = []
    for node, candidate in run_folder.solutions(row, tree):
        if candidate is None:
            found.append(drawn_from(node.sample, -1, False))
            continue
        text = candidate["key"]
        key = -1 if text is None else classes.setdefault(text, len(classes))
        sample = drawn_from(node.sample, key, bool(candidate["correct"]))
        sample.steps = run_folder.steps(node, candidate)
        sample.ends = ends_of(node.sample.text, len(sample.steps), sample.tokens)
        found.append(sample)
    return found


# ------------------------------------------------------------------------- recorded samples


def _rows(
    path: Path, recording: Found, where: Mapping[str, str], max_tokens: int | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The rows of a recording by id, those that share one joined, and notes; each sample read."""
    left_out: Counter[str] = Counter()
    rows: dict[str, dict[str, Any]] = {}
    for row in recording.rows(_counting(left_out)):
        try:
            read = [
                {**s, "run": row.get("run") or s.get("run"), "sample": _read(s, max_tokens)}
                for s in kept(row, where)
            ]
            rows.setdefault(row["id"], {**row, "samples": []})["samples"] += read
        except (KeyError, TypeError, ValueError):
            left_out["lines"] += 1
    rows = {name: row for name, row in rows.items() if row["samples"]}
    if not rows:
        chosen = f" with {dict(where)}" if where else ""
        raise RecipeError(f"{path} holds no recorded sample{chosen}")
    notes = _told(left_out)
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
    rows: Mapping[str, dict[str, Any]],
    notes: list[str],
    given: object,
    grades: Grades,
    watch: Watch,
) -> list[Stored]:
    """Every problem's samples with classes and grades, several problems at a time."""
    found: dict[str, Stored] = {}
    counts: Counter[str] = Counter()
    kinds = {name: _kind(name, row, given) for name, row in rows.items()}
    waiting = iter(rows.items())

    async def work() -> None:
        for name, row in waiting:
            samples, kind = row["samples"], kinds[name]
            answers = [_answer(sample, kind) for sample in samples]
            keys = [a.key if a else None for a in answers]
            if not kind.graded or row.get("dataset") in LABELLED:
                right = [sample.get("correct") for sample in samples]
                counts["ungraded" if None in right else "labels"] += 1
                if None in right:
                    continue
            else:
                grade = await grades.grade(answers, kind, _of(row, given))
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


def _kind(name: str, row: Mapping[str, Any], given: object) -> Answers:
    """What answers of a problem are: as asked for, as the row says, else mathematics."""
    gold = row.get("answer")
    gold = None if gold in (None, "") else str(gold)
    spec = given or row.get("answers") or "math"
    if spec == "math":
        return Math(gold, fallback_of(str(row.get("dataset"))))
    try:
        return cast(Answers, names.bind_answers(spec)(gold, row))
    except RecipeError as error:
        raise RecipeError(f"problem {name}: {error}") from None


def _of(row: Mapping[str, Any], given: object) -> Any:
    """What a grade depends on beside the answers: the gold one alone, or all of the row."""
    spec = given or row.get("answers") or "math"
    if spec == "math":
        return str(row["answer"])
    return {"kind": spec, **{k: v for k, v in row.items() if k != "samples"}}


def _answer(stored: Mapping[str, Any], kind: Answers) -> Answer | None:
    """What a sample answers: found in its text, or as recorded where there is none."""
    sample: Sample = stored["sample"]
    return kind.find(sample.text, sample.finish == "end") if sample.text else None


def fallback_of(dataset: str) -> Fallback:
    """How the task of that name finds an answer that is neither in a box nor after ####."""
    if dataset.startswith("game24"):
        return _expression
    if dataset.startswith(("gsm8k", "aime", "amc")):
        return number_said
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


def _unwatched(what: str, done: int, total: int) -> None:
    """Nobody looks."""
    del what, done, total
