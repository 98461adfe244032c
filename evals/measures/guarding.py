"""`reasoning compare --guard FILE`: accuracies through a reusable holdout, its state in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from evals.measures.finding import Cell, Finding
from evals.report.load import Runs, load
from evals.report.numbers import grades
from evals.statistics.holdout import Thresholdout, means, threshold_for
from evals.statistics.intervals import Floats
from reasoning.errors import RecipeError, StoreError
from reasoning.runs import files
from reasoning.runs.files import writing

BUDGET = 20


def guarded(folders: Sequence[Path], path: Path, budget: int = BUDGET) -> Finding:
    """The accuracy of every strategy as the guard tells it; what is new is asked of it, and kept.

    Raises RecipeError where the problems are too few, are not those that the file guards, or the
    budget is spent; StoreError for a file that is no guard's.
    """
    runs = load(folders)
    problems = sorted(runs.common)
    state = _state(path, runs, problems, budget)
    guard = Thresholdout(**state["guard"])
    half, known = _half(problems), state["answers"]
    rows: list[tuple[Cell, ...]] = []
    refused = []
    for strategy in runs.strategies:
        right = np.array(grades(strategy, problems))
        key = sha256(right.astype(np.uint8).tobytes()).hexdigest()[:16]
        if key not in known:
            # The noise of a question depends on how many were asked, not on when.
            rng = np.random.default_rng([state["seed"], len(known)])
            told = guard.answer(*means(right, half), rng)
            if told is None:
                refused.append(strategy.label)
                continue
            known[key] = told
            _write(path, {**state, "guard": asdict(guard)})
        rows.append((strategy.label, len(problems), known[key]))
    if refused:
        raise RecipeError(
            f"{path}: its budget of {state['budget']} is spent, and {', '.join(refused)} would be "
            "another question. What these problems say is no longer independent of what was tuned "
            "on them: take others, or accept that by beginning another file"
        )
    return Finding(
        f"Tuned on {len(known)} queries, {guard.flags} overfit flags; {guard.left} of "
        f"{state['budget']} left.",
        ("strategy", "problems", "accuracy by the guard"),
        rows,
        (
            f"differences under {guard.threshold:.3f} are within what the guard lets pass; the "
            "run's own tables are not guarded",
        ),
    )


def _half(problems: Sequence[str]) -> Floats:
    """1 for the half of the problems that is held out, by a hash of their ids."""
    order = sorted(problems, key=lambda p: sha256(f"guard:{p}".encode()).digest())
    held = set(order[: len(order) // 2])
    return np.array([float(p in held) for p in problems])


def _state(path: Path, runs: Runs, problems: Sequence[str], budget: int) -> dict[str, Any]:
    """What the file holds; if there is none, what a new one will."""
    about = {
        "task": next((r.task for r in runs.runs if r.task), None),
        "problems": sha256("\n".join(problems).encode()).hexdigest(),
    }
    try:
        found = files.parsed(path.read_text(encoding="utf-8"))
        guard = Thresholdout(**found["guard"])
        if not (isinstance(found["answers"], dict) and isinstance(found["seed"], int)):
            raise TypeError
        state = {**found, "budget": guard.left + guard.flags}
    except FileNotFoundError:
        try:
            threshold = threshold_for(len(problems))
        except ValueError as error:
            raise RecipeError(f"--guard: {error}") from None
        seed = int.from_bytes(sha256(json.dumps(about).encode()).digest()[:8], "big")
        rng = np.random.default_rng([seed, -1 % 2**32])
        guard = Thresholdout.begun(threshold, budget, rng)
        return {**about, "seed": seed, "budget": budget, "guard": asdict(guard), "answers": {}}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is no file of a guard; name another one") from error
    for name, value in about.items():
        if state.get(name) != value:
            raise RecipeError(
                f"{path} guards other problems (another {name}); a guard is for one set of them: "
                "compare runs of all of these, or name another file"
            )
    return state


def _write(path: Path, state: dict[str, Any]) -> None:
    with writing(path, "--guard"):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, [json.dumps(state, indent=2), "\n"])
