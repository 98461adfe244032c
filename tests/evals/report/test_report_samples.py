"""Curves over k and operations in a report: from which runs, by hand, and where there are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evals.report import numbers, write
from evals.report.load import load
from evals.report.sampled import sampled
from evals.report.terminal import show_comparison
from evals.statistics.independent import alike, drawn
from evals.statistics.summary import summarise

MakeRun = Callable[..., Path]


def result(answers: str, problem: str = "p", **change: Any) -> dict[str, Any]:
    """A stored line; answer "2" is right and "-" is none."""
    keys = [None if a == "-" else a for a in answers]
    candidates = [
        {"path": [i], "key": key, "answer": key, "correct": key == "2", "steps": [0.1, i / 10]}
        for i, key in enumerate(keys)
    ]
    usage = {"cancelled_calls": 0, "failed_calls": change.pop("failed", 0)}
    line = {"candidates": candidates, "usage": usage, "correct": True, "stop_reason": "finished"}
    return {"problem": problem, "strategy": "s", **line, **change}


def test_samples_have_their_last_score() -> None:
    found = drawn(result("2-3"))
    assert found is not None
    assert found.samples.keys == ["2", None, "3"]
    assert found.samples.correct == [True, False, False]
    assert found.samples.scores == [0.0, 0.1, 0.2]


@pytest.mark.parametrize(
    "change",
    [
        {"stop_reason": "tokens"},
        {"correct": None},
        {"candidates": []},
        {"candidates": [{"path": [0, 1], "key": "2", "correct": True}]},
        {"candidates": [{"path": [0]}]},
        {"usage": {"cancelled_calls": 1}},
        {"candidates": [{"path": [0], "key": "2", "correct": True, "written": True}]},
    ],
)
def test_what_was_chosen_or_cut_is_no_sample(change: dict[str, Any]) -> None:
    assert drawn(result("23", **change)) is None


def test_all_problems_must_have_as_many() -> None:
    assert alike([drawn(result("23")), drawn(result("233"))]) is None, "it stopped by answers"
    assert alike([drawn(result("23")), None]) is None
    assert alike([]) is None
    found = alike([drawn(result("23", failed=1)), drawn(result("233"))])
    assert found is not None
    assert [s.keys for s in found] == [["2", "3", None], ["2", "3", "3"]]
    assert found[0].correct == [True, False, False]
    assert found[0].scores == [0.0, 0.1, None]


def test_curves_of_a_run_by_hand(small_run: Path) -> None:
    (found,) = sampled(load([small_run]))
    assert (found.strategy.name, found.n, found.problems, found.law) == ("vote-n=3", 3, 6, None)
    values = {
        c.kind: [i.value for i in x] for c, x in zip(found.curves, found.intervals, strict=True)
    }
    # Every problem has the answers 2, 3, 2 with equal scores.
    thirds = pytest.approx([2 / 3, 2 / 3, 1])
    assert values["pass"] == pytest.approx([2 / 3, 1, 1])
    assert values["majority"] == thirds
    assert values["weighted"] == thirds
    assert values["best"] == pytest.approx([2 / 3] * 3)


def test_the_fullest_samples_and_the_fullest_scored_ones(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    for line in lines:
        if line["strategy"] == "vote-n=3":
            line["candidates"] = [
                {**c, "path": [4 * j + i], "steps": []}
                for j in range(3)
                for i, c in enumerate(line["candidates"])
            ]
    (run / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = sampled(load([run]))
    assert (first.strategy.name, [c.kind for c in first.curves]) == (
        "vote-n=3",
        ["pass", "majority"],
    )
    assert first.law is not None
    assert first.law(1) == pytest.approx(2 / 3, abs=0.01)
    assert (second.strategy.name, len(second.curves)) == ("vote-n=2", 4)
    write([run], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "9 samples of vote-n=3 for each of 6 problems" in page
    assert page.count("Coverage law c(k) = exp(a k^b)") == 2


def test_the_summary_has_curves_of_fixed_samples_only() -> None:
    names = ("wasted_tokens", "prompt_tokens", "cached_tokens", "calls", "retried_calls")
    names += ("generated_tokens", "verifier_calls", "verifier_tokens", "seconds", "critical_tokens")

    def rows(*answers: str) -> list[dict[str, Any]]:
        lines = [result(a, f"p{i}", answer="2", failures=[]) for i, a in enumerate(answers)]
        return [{**x, "usage": {**dict.fromkeys(names, 0), **x["usage"]}} for x in lines]

    def table(*answers: str, independent: bool = True) -> dict[str, Any]:
        ids = [f"p{i}" for i in range(len(answers))]
        found = summarise(
            rows(*answers),
            strategies=[{"name": "s", "independent": independent}],
            problem_ids=ids,
            avg_at_n=True,
        )
        line: dict[str, Any] = found["strategies"][0]
        return line

    fixed = table("23", "33")
    assert fixed["pass_at_k"] == {"1": 0.25, "2": 0.5}
    assert fixed["majority_at_k"] == {"1": 0.25, "2": 0.25}
    assert (fixed["avg_at_n"]["n"], fixed["avg_at_n"]["mean"]) == (2, 0.25)
    assert not {"pass_at_k", "avg_at_n"} & table("23", "3").keys()
    chosen = table("23", "33", independent=False)
    assert not {"pass_at_k", "avg_at_n"} & chosen.keys(), "it happened to stop at the same n"


def sized(run: Path, target: Path, sizes: dict[str, float | None]) -> Path:
    shutil.copytree(run, target)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["parameters"] = dict.fromkeys(("vote-n=2", "vote-n=3", "deep"), sizes)
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def test_operations_are_an_axis_where_sizes_are_known(small_run: Path, tmp_path: Path) -> None:
    run = sized(small_run, tmp_path / "run", {"generator": 1e9, "verifier": 5e8})
    lines = numbers.summary_lines(load([run]))
    # 60 tokens were generated, and the opening prompt of 5 tokens was read once.
    assert lines[0].cost["flops"] == 2 * (1e9 * 65 + 5e8 * 50) == 180e9
    written = write([run], tmp_path / "r.html", figures=tmp_path / "figures")
    assert "accuracy_by_flops.svg" in {path.name for path in written.figures}
    page = (tmp_path / "r.html").read_text()
    assert ">180 G</td>" in page
    assert "2 x parameters x tokens" in page
    console = Console(width=80)
    with console.capture() as capture:
        show_comparison([run], None, console)
    assert "180G" in capture.get()
    assert max(map(len, capture.get().splitlines())) <= 80


def test_a_verifier_of_unknown_size_leaves_operations_unknown(
    small_run: Path, tmp_path: Path
) -> None:
    run = sized(small_run, tmp_path / "run", {"generator": 1e9, "verifier": None})
    lines = numbers.summary_lines(load([run]))
    assert all("flops" not in line.cost for line in lines)
    assert "flops" not in numbers.axes(lines)
