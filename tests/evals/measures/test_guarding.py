"""The reusable holdout: its rule, what it protects from, its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evals.measures.guarding import guarded
from evals.statistics.holdout import Thresholdout, means, threshold_for
from reasoning.cli.app import app
from reasoning.errors import RecipeError, StoreError


def test_without_noise_it_tells_the_holdout_beyond_its_threshold_only() -> None:
    rng = np.random.default_rng(0)
    guard = Thresholdout.begun(0.04, 2, rng, sigma=0.0)
    assert guard.answer(0.70, 0.67, rng) == 0.70
    assert guard.answer(0.70, 0.70, rng) == 0.70
    assert (guard.left, guard.flags) == (2, 0)
    assert guard.answer(0.70, 0.60, rng) == 0.60
    assert guard.answer(0.50, 0.60, rng) == 0.60
    assert (guard.left, guard.flags) == (0, 2)
    assert guard.answer(0.70, 0.70, rng) is None  # spent


def test_the_fewest_problems() -> None:
    assert threshold_for(5_000) == 0.04
    assert threshold_for(1_000) == pytest.approx(2 * (0.5 / 500) ** 0.5)
    assert threshold_for(400) == pytest.approx(0.1)
    for few in (30, 398):
        with pytest.raises(ValueError, match="400 problems are needed"):
            threshold_for(few)


def test_the_best_of_many_coins_shows_no_edge_on_the_holdout() -> None:
    # Strategies are combined by what the guard says of each, as in the authors' experiment: those
    # that look better than a coin vote. By plain accuracies such a vote looks good, and is a coin.
    rng = np.random.default_rng(1)
    n, features = 2_000, 400
    half = np.arange(n) % 2
    coins = rng.integers(0, 2, size=(features, n))

    def vote(scores: Sequence[float]) -> np.ndarray:
        signs = np.array([1 if s >= 0.5 else -1 for s in scores])
        return (signs @ (2 * coins - 1) > 0).astype(float)

    plain = vote([float(c.mean()) for c in coins])
    assert plain.mean() > 0.6  # all problems were used to choose, and to judge
    guard = Thresholdout.begun(threshold_for(n), 1_000, rng)
    chosen = vote([guard.answer(*means(c, half), rng) or 0.5 for c in coins])
    tune, hold = means(chosen, half)
    assert tune > 0.6
    told = guard.answer(tune, hold, rng)
    assert told is not None
    assert abs(told - 0.5) < 0.1


def run(folder: Path, right: dict[str, Sequence[bool]], task: str = "sums") -> Path:
    folder.mkdir()
    lines = [
        {"problem": f"p{i}", "strategy": name, "question": f"p{i}", "answer": "2", "gold": "2",
         "correct": bool(grade), "stop_reason": "finished", "candidates": [], "usage": {},
         "failures": [], "meta": {}}
        for name, grades in right.items()
        for i, grade in enumerate(grades)
    ]  # fmt: skip
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "manifest.json").write_text(json.dumps({"run": {"task": {"name": task}}}))
    (folder / "summary.json").write_text("{}")
    return folder


def test_a_question_is_asked_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    right = {f"s{i}": rng.random(500) < 0.5 for i in range(3)}
    first = run(tmp_path / "a", right)
    again = run(tmp_path / "b", {**right, "more": rng.random(500) < 0.5})
    state = tmp_path / "guards" / "sums.json"
    found = guarded([first], state)
    assert found.says.startswith("Tuned on 3 queries")
    assert guarded([first], state) == found
    more = guarded([again], state)
    assert more.says.startswith("Tuned on 4 queries")
    assert [row[2] for row in more.rows[:3]] == [row[2] for row in found.rows]


def test_what_was_fit_to_one_half_is_flagged_until_the_budget_is_spent(tmp_path: Path) -> None:
    from evals.measures.guarding import _half

    problems = sorted(f"p{i}" for i in range(500))
    held = dict(zip(problems, _half(problems), strict=True))
    fit = [not held[f"p{i}"] for i in range(500)]  # right on all to tune on, on nothing else
    state = tmp_path / "guard.json"
    found = guarded([run(tmp_path / "a", {"fit": fit})], state, budget=1)
    told = found.rows[0][2]
    assert isinstance(told, float)
    assert told < 0.3
    assert "1 overfit flags; 0 of 1 left" in found.says
    other = run(tmp_path / "b", {"fit": fit, "other": [True] * 500})
    with pytest.raises(RecipeError, match="budget of 1 is spent, and other"):
        guarded([other], state)
    assert guarded([tmp_path / "a"], state) == found  # what was told stays told


def test_what_cannot_be_guarded(tmp_path: Path, small_run: Path) -> None:
    with pytest.raises(RecipeError, match="400 problems are needed"):
        guarded([small_run], tmp_path / "guard.json")
    assert not (tmp_path / "guard.json").exists()
    state = tmp_path / "guard.json"
    guarded([run(tmp_path / "a", {"s": [True, False] * 250})], state)
    with pytest.raises(RecipeError, match="another task"):
        guarded([run(tmp_path / "b", {"s": [True, False] * 250}, "other")], state)
    with pytest.raises(RecipeError, match="another problems"):
        guarded([run(tmp_path / "c", {"s": [True, False] * 260})], state)
    state.write_text("{}")
    with pytest.raises(StoreError, match="no file of a guard"):
        guarded([tmp_path / "a"], state)


def test_on_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    source = run(tmp_path / "a", {"s": [True, False] * 250})
    shown = CliRunner().invoke(app, ["compare", str(source), "--guard", str(tmp_path / "g.json")])
    assert shown.exit_code == 0, shown.output
    assert "20 of 20 left" in shown.output or "19 of 20 left" in shown.output
    refused = CliRunner().invoke(
        app, ["compare", str(source), "--guard", str(tmp_path / "g.json"), "--at", "9tokens"]
    )
    assert isinstance(refused.exception, RecipeError)
