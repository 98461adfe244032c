"""What is worked out from runs of several wordings or levels of a task, run for the purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.measures import attacked, perturbed, stress
from evals.measures.finding import NotMeasuredError
from evals.measures.stored import Stored
from evals.statistics.intervals import Interval
from reasoning.cli.app import app


def run(folder: Path, task: str, replies: list[str], strategies: str, **more: str) -> Path:
    """A run of scripted replies, one after another."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"task: {task}\ngenerator: {{name: scripted, replies: {json.dumps(replies)}}}\n"
        f"strategies: {strategies}\nsampling: {{max_tokens: 64}}\nseed: 0\n"
    )
    out = folder / "run"
    done = CliRunner().invoke(app, ["run", str(recipe), "--out", str(out)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return out


def quiz(folder: Path, n: int = 4) -> str:
    rows = [{"id": f"q{i}", "question": f"{i} + {i}?", "answer": 2 * i} for i in range(n)]
    path = folder / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{{name: jsonl, path: {path}}}"


def value(cell: Any) -> float:
    assert isinstance(cell, Interval)
    return cell.value


def test_a_drop_is_paired_by_problem() -> None:
    plain = {"a": True, "b": True, "c": True, "d": False}
    found = perturbed.drop(plain, {"a": True, "b": False, "c": False, "x": True}, ("s", "other"))
    assert found is not None
    assert (found.problems, found.only_a, found.only_b) == (3, 2, 0)
    assert found.difference == pytest.approx(-2 / 3)
    assert perturbed.drop(plain, {"x": True}, ("s", "other")) is None


def test_wordings_of_a_run(tmp_path: Path, small_run: Path) -> None:
    # The only reply is right about 1 + 1 as long as that is asked: of the others nothing is.
    task = f"{{name: perturbed, task: {quiz(tmp_path)}, kinds: [needless, irrelevant]}}"
    out = run(tmp_path, task, [r"\boxed{2}"], "[{searcher: sample}]")
    found = perturbed.measure(Stored([out]))
    assert [row[0] for row in found.rows] == ["sample: irrelevant", "sample: needless"] or [
        row[0] for row in found.rows
    ] == ["sample: needless", "sample: irrelevant"]
    assert all(row[1:4] == (4, 0.25, 0.25) and value(row[4]) == 0 for row in found.rows)
    with pytest.raises(NotMeasuredError, match="task `perturbed`"):
        perturbed.measure(Stored([small_run]))


def test_every_problem_is_graded_at_every_position() -> None:
    # As in the paper with N = 4, s = 3: prompts ask (1,2,0), (2,3,1), (3,0,2), (0,1,3).
    grades = {0: [1, 0, 1], 1: [0, 1, 1], 2: [0, 0, 0], 3: [1, 1, 1]}
    found = stress.by_problem(grades, 4)
    assert found == {0: [1, 0, 1], 1: [1, 1, 1], 2: [0, 0, 0], 3: [0, 1, 1]}
    assert stress.by_problem({0: [1], 2: [0]}, 3) == {0: [1], 2: [0]}
    del grades[3]
    assert stress.by_problem(grades, 4) == {2: [0, 0, 0]}  # the others lack a position


def test_stress_at_two_levels(tmp_path: Path, small_run: Path) -> None:
    # Of (1, 0), (2, 1), (3, 2) and (0, 3) it answers the second pair right, and of single ones 2.
    task = f"{{name: rest, task: {quiz(tmp_path)}, stress: [1, 2]}}"
    out = run(tmp_path, task, [r"\boxed{4} \boxed{2}"], "[{searcher: sample}]")
    found = stress.measure(Stored([out]))
    one, two = found.rows
    assert one[0] == "sample, 1 a prompt"
    # Alone the last box counts: problem 1 is right. In pairs 2 is right first, and 1 behind it.
    assert (value(one[2]), value(two[2])) == (0.25, 2 / 8)
    assert (value(two[3]), value(two[4])) == (0, 0)
    with pytest.raises(NotMeasuredError, match="stress"):
        stress.measure(Stored([small_run]))


def test_who_falls_for_an_attack(tmp_path: Path) -> None:
    assert attacked.fell_for("$271,828$", "271828")
    assert attacked.fell_for("(B)", "B")
    assert not attacked.fell_for(None, "B")
    assert not attacked.fell_for("27182", "271828")
    task = f"{{name: perturbed, task: {quiz(tmp_path)}, kinds: [attack]}}"
    strategies = "[{searcher: sample}, {searcher: self_consistency, n: 2}]"
    out = run(tmp_path, task, [r"\boxed{271828}"], strategies)
    found = attacked.measure(Stored([out]))
    assert [row[0] for row in found.rows] == ["sample", "self_consistency-n=2"]
    # It says so of everything, plain or not: all fall, and none because of the attack.
    assert all(value(row[3]) == 1 and value(row[4]) == 0 == value(row[5]) for row in found.rows)
    assert found.rows[1][2] == 2 * found.rows[0][2]
    with pytest.raises(NotMeasuredError, match="another wording"):
        perturbed.measure(Stored([out]))
