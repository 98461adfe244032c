"""From the folder of a run to notes that others may read: what was written, and what it cost."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from reasoning.backends.formats import run_folder
from reasoning.errors import RecipeError, StoreError, unknown
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.runs.files import writing
from reasoning.runs.store import Store
from reasoning.usage import Usage
from searchers.across.notes import Note, Notes

_ADD_UP = (
    "generated_tokens",
    "prompt_tokens",
    "cached_tokens",
    "calls",
    "verifier_calls",
    "verifier_tokens",
    "money",
)
"""What of a `Usage` may be summed over runs, and spread over problems."""


def gather(run: Path, strategy: str | None = None, *, trust: bool = False) -> Notes:
    """The texts that a strategy of `run` chose, or put forward first, in the order of its problems.

    `trust` allows a task that is not ours. Raises RecipeError, or StoreError for a folder that
    holds no run that is over, or of problems that have changed since.
    """
    store = Store(run)
    manifest, summary = store.read_json("manifest.json"), store.read_json("summary.json")
    if manifest is None or summary is None:
        why = "no run that is over; the command that began it completes it"
        if not run.is_dir():
            why = "nothing: there is no such folder; name one that `reasoning run` has written"
        raise StoreError(f"{run} holds {why}")
    known = [s["name"] for s in summary["strategies"]]
    if strategy is None and len(known) > 1:
        raise RecipeError(f"{run} has the strategies {', '.join(known)}; choose with --strategy")
    name = strategy or known[0]
    if name not in known:
        raise RecipeError(unknown("strategy", name, known))
    problems = _problems(run, manifest["run"], trust)
    rows = {row["problem"]: (row, tree) for row, tree in run_folder.results(run, name, _silent)}
    total, notes = Usage(), []
    for problem in problems:
        if problem.id in rows:
            row, tree = rows[problem.id]
            total += Usage.from_json(row["usage"])
            if note := _note(problem, row, tree):
                notes.append(note)
    if not notes:
        raise StoreError(f"strategy {name!r} of {run} has put nothing forward")
    contexts = all(p.meta.get("about") == "contexts" for p in problems)
    return Notes(
        about="contexts" if contexts else "questions",
        strategy=name,
        task=str(summary["task"]),
        source=manifest["run"]["task_source"],
        cost={name: used for name in _ADD_UP if (used := getattr(total, name)) is not None},
        notes=tuple(notes),
    )


def write(notes: Notes, out: Path) -> None:
    """Raises StoreError where it cannot be written."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(notes.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _problems(run: Path, told: dict[str, Any], trust: bool) -> list[Problem]:
    """The problems that the run was about, as its task states them now."""
    with nullcontext() if trust else names.trusting(()):
        task = names.build("task", told["task"])
    if task.source != told["task_source"]:
        raise StoreError(
            f"{run} was about {told['task_source']}, and its task is now {task.source}; gather "
            "notes while the data are the same"
        )
    if getattr(task, "private", False):
        raise RecipeError(f"the task of {run} is private, and notes would hold its questions")
    return list(task.problems)


def _note(problem: Problem, row: dict[str, Any], tree: Path) -> Note | None:
    """What was chosen; where nothing was, the first that was put forward."""
    paths = [row.get("node"), *(c["path"] for c in row["candidates"])]
    path = next((tuple(p) for p in paths if p), None)
    if path is None:
        return None
    try:
        node = run_folder.load(tree)[path]
    except run_folder.DAMAGE as error:
        raise StoreError(f"{tree} is damaged or gone: {error}; run it anew") from error
    return Note(
        id=problem.id,
        question=problem.question,
        prompt=problem.prompt,
        text=node.text,
        correct=row.get("correct"),
    )


def _silent(*_: object) -> None:
    """What is damaged is a result less."""
