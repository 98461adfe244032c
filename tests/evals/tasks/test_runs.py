"""Recipes of benchmarks on recorded samples, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.report.load import load
from reasoning.cli.app import app

RECORDED = Path(__file__).parents[2] / "data" / "recorded"


def reasoning(*args: str | Path) -> None:
    """The command, in this process."""
    done = CliRunner().invoke(app, list(map(str, args)))
    assert done.exit_code == 0, done.output


def run(recipe: str, rows: str, out: Path, *changes: str) -> dict[str, dict[str, Any]]:
    """The recipe on recorded samples of `rows`; each strategy's row of the summary by name."""
    samples = RECORDED / f"{rows}_samples.jsonl"
    sets = (
        f"task.path={RECORDED / f'{rows}.jsonl'}",
        f"generator={{name: recorded, path: {samples}}}",
        *changes,
    )
    reasoning("run", recipe, "--out", out, *(word for change in sets for word in ("--set", change)))
    summary = json.loads((out / "summary.json").read_text())
    return {s["name"]: s for s in summary["strategies"]}


def test_multiple_choice(tmp_path: Path) -> None:
    out = tmp_path / "run"
    strategies = "[{searcher: sample}, {searcher: self_consistency, n: 4}]"
    found = run("gpqa_diamond", "choice", out, f"strategies={strategies}")
    # Of four samples each, right are 3, 2 (tied, and earlier), 1, 4, 2 of one that is cut off.
    assert found["sample"]["accuracy"] == 0.6
    votes = found["self_consistency-n=4"]
    assert (votes["accuracy"], votes["unanswered"]) == (0.8, 0)
    assert votes["pass_at_k"]["1"] == pytest.approx((3 + 2 + 1 + 4 + 2) / 20)
    assert votes["pass_at_k"]["4"] == 1.0
    told = json.loads((out / "manifest.json").read_text())["task"]
    assert told == {
        "name": "gpqa_diamond",
        "licence": "CC BY 4.0",
        "use": "evaluation only; do not train on it",
        "private": True,
    }

    reasoning("report", out, "--out", tmp_path / "page.html")
    pages = [tmp_path / "page.html", *(out / n for n in ("results.jsonl", "summary.json"))]
    for page in pages:
        text = page.read_text()
        for row in map(json.loads, (RECORDED / "choice.jsonl").read_text().splitlines()):
            assert row["Question"] not in text
            assert row["Incorrect Answer 3"] not in text


def test_programs(tmp_path: Path) -> None:
    strategies = "[{searcher: sample}, {searcher: self_consistency, n: 4}]"
    found = run("mbpp_plus", "programs", tmp_path / "run", f"strategies={strategies}")
    assert found["sample"]["accuracy"] == 0.5
    votes = found["self_consistency-n=4"]
    # Programs that do the same vote together: of `largest` the first sample alone is wrong.
    assert votes["accuracy"] == 0.75
    assert votes["pass_at_k"] == {
        "1": pytest.approx((3 + 2 + 1 + 2) / 16),
        "2": pytest.approx((1 + 5 / 6 + 1 / 2 + 5 / 6) / 4),
        "4": 1.0,
    }
    assert votes["failures"] == []


def test_what_is_measured_beside_right_and_wrong(tmp_path: Path) -> None:
    quiz = tmp_path / "quiz.jsonl"
    rows = [{"id": f"q{i}", "question": f"{i}+{i}?", "answer": 2 * i} for i in range(3)]
    quiz.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "run"
    changes = (
        f"task.task={{name: jsonl, path: {quiz}}}",
        "task.stress=2",
        r"generator={name: scripted, replies: ['\boxed{4} \boxed{2}']}",
        "strategies=[{searcher: self_consistency, n: 2, aggregator: majority_each}]",
    )
    sets = [word for change in changes for word in ("--set", change)]
    reasoning("run", "rest_math500", "--out", out, *sets)
    (found,) = json.loads((out / "summary.json").read_text())["strategies"]
    # Asked are (1, 0), (2, 1) and (0, 2): the second is right, and nothing of the others.
    assert found["accuracy"] == pytest.approx(1 / 3)
    measures = {"share": 1 / 3, "Q1": 1 / 3, "Q2": 1 / 3}
    assert found["measures"] == pytest.approx(measures)
    assert f"{found['name']}: share 0.333" in load([out]).runs[0].notes
