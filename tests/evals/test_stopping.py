"""What a run that watches stopping tests says of them, by exact numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.stopping import calibrate, table, write
from reasoning.errors import RecipeError, StoreError
from searchers.thinking.calibration import calibrated

CUTS = {
    # problem: (signal, answer) of each cut, then the answer of the whole thought; "4" is right
    "a": ([(1, "3"), (1, "4"), (2, "4")], "4"),
    "b": ([(1, "4"), (1, "5"), (2, "5")], "5"),
    "c": ([(1, "4"), (2, "4")], "4"),
}


def candidates(slot: int, cuts: list[tuple[float, str]], end: str, graded: bool) -> list[Any]:
    def one(depth: int, answer: str, weight: float, rank: float) -> dict[str, Any]:
        return {
            "path": [slot, *[0] * depth],
            "answer": answer,
            "key": answer,
            "correct": answer == "4" if graded else None,
            "weight": weight,
            "rank": float(rank),
            "steps": [],
        }

    found = [one(i + 2, answer, 0.0, signal) for i, (signal, answer) in enumerate(cuts)]
    return [*found[::-1], one(len(cuts) + 1, end, 1.0, 0.0)]  # order must not count


def stored(
    folder: Path,
    *strategies: dict[str, Any],
    problems: Any = CUTS,
    graded: bool = True,
    slots: int = 1,
) -> Path:
    """A run that has watched by strategies with these parameters."""
    folder.mkdir()
    told, lines = [], []
    for params in strategies:
        name = "early_stop-" + "-".join(f"{k}={v}" for k, v in params.items())
        told.append({"name": name, "searcher": "early_stop", "params": params})
        for problem, (cuts, end) in problems.items():
            found = [c for s in range(slots) for c in candidates(s, cuts, end, graded)]
            line = {"strategy": name, "problem": problem, "usage": {}, "candidates": found}
            lines.append(json.dumps(line))
    (folder / "results.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "summary.json").write_text(json.dumps({"strategies": told, "task": "t"}))
    (folder / "manifest.json").write_text(json.dumps({"run": {"task": "t"}}))
    return folder


def test_aurocs_of_right_and_of_final(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", {"test": "agreement", "watch": True}, slots=2)
    found = calibrate(run)["tests"]["agreement"]
    # right: signals 1 2 1 1 2 against 1 1 2, of 15 pairs 4 are won and 8 tied
    assert found["right"]["auroc"] == pytest.approx(8 / 15)
    assert found["right"]["share"] == pytest.approx(5 / 8)
    # final: 1 2 1 2 1 2 (a: 4 4, b: 5 5, c: 4 4) against 1 1, of 12 pairs 6 are won and 6 tied
    assert found["final"]["auroc"] == pytest.approx(9 / 12)
    assert (found["by"], found["auroc"]) == ("right", found["right"]["auroc"])
    assert (found["thoughts"], found["cuts"], found["curve"]) == (6, 16, [])
    assert found["low"] <= found["auroc"] <= found["high"]


def test_without_grades_the_whole_thought_decides(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", {"watch": True}, graded=False)
    found = calibrate(run)["tests"]["agreement"]
    assert (found["by"], found["auroc"]) == ("final", pytest.approx(9 / 12))
    assert found["right"] == {"auroc": None, "low": None, "high": None, "share": None}


def test_the_curve_of_saturation(tmp_path: Path) -> None:
    cuts = {"a": ([(1, "3"), (2, "4"), (3, "3"), (4, "4")], "4"), "b": ([(1, "3")], "4")}
    run = stored(tmp_path / "run", {"test": "saturation", "watch": True}, problems=cuts)
    found = calibrate(run)["tests"]["saturation"]
    assert found["curve"] == [(1, 0.0), (2, 1.0), (4, 1.0)]


def test_what_is_written_is_what_early_stop_reads(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", {"test": "agreement", "watch": True})
    write(calibrate(run), tmp_path / "new" / "stops.json")
    with pytest.raises(RecipeError, match=r"AUROC of 0\.533 .* must be 0\.55"):
        calibrated(str(tmp_path / "new" / "stops.json"), "agreement")
    with pytest.raises(RecipeError, match="says nothing of test 'entropy', only of agreement"):
        calibrated(str(tmp_path / "new" / "stops.json"), "entropy")


def test_a_table_for_the_terminal(tmp_path: Path) -> None:
    shown = table(calibrate(stored(tmp_path / "run", {"watch": True}, graded=False)))
    assert [list(column.cells) for column in shown.columns][:4] == [
        ["agreement"],
        ["8"],
        [""],
        ["not known"],
    ]


def test_runs_that_watch_nothing_or_too_much(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"watches a stopping test: add .* watch: true"):
        calibrate(stored(tmp_path / "none", {"test": "agreement"}))
    with pytest.raises(StoreError, match=r"results\.jsonl"):
        calibrate(tmp_path)
    run = stored(tmp_path / "two", {"watch": True, "m": 2}, {"watch": True, "m": 3})
    with pytest.raises(RecipeError, match="both watch test 'agreement': choose with --strategy"):
        calibrate(run)
    chosen = calibrate(run, ["early_stop-watch=True-m=3"])
    assert chosen["tests"]["agreement"]["strategy"] == "early_stop-watch=True-m=3"
    with pytest.raises(RecipeError, match="early_stop-watch=True-m=3"):
        calibrate(run, ["early_stop-watch=True-m=4"])
