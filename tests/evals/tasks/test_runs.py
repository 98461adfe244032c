"""Recipes of benchmarks on recorded samples, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

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
