"""What is worked out from runs of several wordings or levels of a task, run for the purpose."""

from __future__ import annotations

import json
from math import e, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.measures import (
    attacked,
    contamination,
    inv_entropy,
    perturbed,
    self_cheating,
    step_importance,
    stress,
)
from evals.measures.finding import NotMeasuredError
from evals.measures.stored import Stored
from evals.statistics.intervals import Interval
from reasoning.cli.app import app


def run(
    folder: Path, task: str, replies: list[str], strategies: str, generator: str | None = None
) -> Path:
    """A run of scripted replies, one after another; `generator` is another one."""
    recipe = folder / "recipe.yaml"
    scripted = f"{{name: scripted, replies: {json.dumps(replies)}}}"
    recipe.write_text(
        f"task: {task}\ngenerator: {generator or scripted}\n"
        f"strategies: {strategies}\nsampling: {{max_tokens: 256}}\nseed: 0\n"
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


def test_an_order_is_tested_with_the_variance_of_a_sample() -> None:
    found = contamination.order_test([1, 2, 0, 3, 1])
    assert found.t == pytest.approx(2.7456, abs=1e-4)
    assert found.p_value == pytest.approx(0.0258, abs=1e-4)
    assert contamination.order_test([-1, -2, 0]).p_value > 0.5
    with pytest.raises(ValueError, match="that differ"):
        contamination.order_test([1, 1])


def test_the_embedded_model_reads_shards_in_orders(tmp_path: Path, small_run: Path) -> None:
    task = f"{{name: shards, task: {quiz(tmp_path, 9)}, shards: 3}}"
    out = run(tmp_path, task, [], "[{searcher: order_likelihood, shuffles: 4}]", "nano")
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [r["measures"].keys() for r in rows] == [{"own_order", "shuffled", "difference"}] * 3
    differences = [r["measures"]["difference"] for r in rows]
    assert all(r["measures"]["own_order"] < 0 == r["usage"]["generated_tokens"] for r in rows)
    assert all(r["usage"]["prompt_tokens"] > 0 for r in rows)
    (row,) = contamination.measure(Stored([out])).rows
    assert row[1] == 3
    assert value(row[2]) == pytest.approx(np.mean(differences))
    assert tuple(row[3:]) == pytest.approx(contamination.order_test(differences))
    with pytest.raises(NotMeasuredError, match="task `shards`"):
        contamination.measure(Stored([small_run]))


def test_what_an_answer_gains_from_another(tmp_path: Path, small_run: Path) -> None:
    out = run(tmp_path, "{name: nano, n: 6}", [], "[{searcher: self_cheating, n: 2}]", "nano")
    (row,) = self_cheating.measure(Stored([out])).rows
    gains = [
        json.loads(line)["measures"]["cheating"]
        for line in (out / "results.jsonl").read_text().splitlines()
    ]
    assert row[1] == 6
    assert value(row[2]) == pytest.approx(np.mean(gains))
    assert all(abs(gain) > 1e-3 for gain in gains)  # what is shown is read
    with pytest.raises(NotMeasuredError, match="self_cheating"):
        self_cheating.measure(Stored([small_run]))


def test_nothing_is_gained_by_who_does_not_listen(tmp_path: Path) -> None:
    # What the scripted model says of a text does not depend on what stands before it.
    out = run(tmp_path, quiz(tmp_path), [r"\boxed{2}"], "[{searcher: self_cheating, n: 3}]")
    (row,) = self_cheating.measure(Stored([out])).rows
    assert (value(row[2]), value(row[3])) == (0, 0)


def test_inv_entropy_is_not_monotone() -> None:
    assert inv_entropy.entropy(np.full(10, 0.1)) == pytest.approx(log(10))
    assert inv_entropy.entropy(np.full(10, 1 / e)) == pytest.approx(3.679, abs=1e-3)
    ones, alone = np.ones((10, 10)), np.eye(10)
    assert inv_entropy.inv_entropy(ones, ones) == pytest.approx(log(10))
    assert inv_entropy.inv_entropy(alone, alone) == 0  # nothing alike: as low as if all were sure
    assert inv_entropy.inv_entropy(alone, ones) == pytest.approx(log(10))
    # Rows are normalised: Py = [[2/3, 1/3], [1/3, 2/3]] and Px = 1/2 give Q_ii = 1/2.
    assert inv_entropy.inv_entropy(np.ones((2, 2)), np.array([[2, 1], [1, 2]])) == pytest.approx(
        log(2)
    )
    with pytest.raises(ValueError, match="not all 0"):
        inv_entropy.inv_entropy(np.zeros((2, 2)), np.ones((2, 2)))


def test_inv_entropy_of_a_run(tmp_path: Path, small_run: Path) -> None:
    again = tmp_path / "again.jsonl"
    again.write_text(json.dumps({"id": "q1", "paraphrases": ["Twice one is?", "Add them"]}) + "\n")
    task = f"{{name: perturbed, task: {quiz(tmp_path)}, kinds: [], paraphrases: {again}}}"
    out = run(tmp_path, task, [r"\boxed{2}"], "[{searcher: self_consistency, n: 3}]")
    (row,) = inv_entropy.measure(Stored([out])).rows
    # One answer always: Py = 1/3 throughout, Q_ii = 1/3 of a column of Px, here nothing alike.
    assert row[1] == 1
    assert value(row[2]) == pytest.approx(log(3))
    with pytest.raises(NotMeasuredError, match="perturbed"):
        inv_entropy.measure(Stored([small_run]))


def test_the_least_surprising_steps_go_first() -> None:
    steps = [step_importance.Step(*s) for s in ((0.1, 2), (3.0, 4), (0.5, 2), (1.0, 2), (0.2, 2))]
    assert step_importance.kept(steps, 12) == [0, 1, 2, 3, 4]
    assert step_importance.kept(steps, 10) == [0, 1, 3, 4]
    assert step_importance.kept(steps, 8) == [0, 1, 4]
    assert step_importance.kept(steps, 0) == [0, 4]  # the first and the last stay
    assert step_importance.share_kept(steps) == pytest.approx((0.1 + 0.2) / 4.8)
    assert step_importance.share_kept([step_importance.Step(0.0, 1)] * 3) == 1


def test_steps_of_a_run(tmp_path: Path, small_run: Path) -> None:
    strategies = "[{searcher: beam_search, width: 1, expansions: 2}]\nverifier: logprob"
    out = run(tmp_path, "{name: nano, n: 6, difficulty: 4}", [], strategies, "nano")
    (row,) = step_importance.measure(Stored([out])).rows
    assert row[1] == 6
    assert value(row[2]) > 3
    assert 0 < value(row[5]) <= 1
    with pytest.raises(NotMeasuredError, match="step by step"):
        step_importance.measure(Stored([small_run]))
