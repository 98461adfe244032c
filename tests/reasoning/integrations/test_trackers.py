"""Trackers hear what the run says, and cannot harm it."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from reasoning.errors import RecipeError
from reasoning.integrations import trackers
from reasoning.integrations.trackers import Watching, numbers, watching
from reasoning.runs.recipe import parse
from reasoning.runs.run import Progress

RECIPE = parse({"name": "r", "task": "nano", "generator": "nano", "searcher": "sample"})
SUMMARY = {
    "strategies": [
        {"name": "best_of_n-n=2", "accuracy": 0.1 + 0.2, "ci95": [0.1, 0.5], "money": None}
    ]
}


def tell(names: list[str], folder: Path) -> None:
    with watching(names, RECIPE, folder) as watch:
        for done in (0, 1, 2):
            watch(Progress(2, done=done, graded=done, correct=1, new_tokens=7 * done))
        watch.summary(SUMMARY)


def test_numbers_are_finite_and_their_names_fit() -> None:
    given = {"a@4": 1, "b": None, "c": float("nan"), "d": float("inf"), "e": True, "f": "x"}
    assert numbers(given) == {"a_4": 1.0, "left_out": 2.0}


class Heard:
    """A tracker that remembers; `fails` names the call that goes wrong."""

    fails = ""
    told: list[Any]

    def __init__(self, name: str, folder: Path, config: Any) -> None:
        self._may("init")
        type(self).told = [(name, config["generator"])]

    def _may(self, what: str) -> None:
        if what == type(self).fails:
            raise RuntimeError(f"no {what}")

    def log(self, values: Any, step: int) -> None:
        self._may("log")
        self.told.append((step, values))

    def finish(self) -> None:
        self._may("finish")
        self.told.append("end")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> type[Heard]:
    monkeypatch.setattr(trackers, "TRACKERS", {"json": Heard})  # a module that can be found
    monkeypatch.setattr(Heard, "fails", "")
    return Heard


def test_everything_is_told_in_order(heard: type[Heard], tmp_path: Path) -> None:
    tell(["json"], tmp_path)
    first, start, _, last, summary, end = heard.told
    assert first == ("r", "nano")
    assert start == (0, {"problems_done": 0.0, "generated_tokens": 0.0, "failed_calls": 0.0})
    assert last[1]["accuracy"] == 0.5
    name = "best_of_n-n_2"
    told = {f"{name}/accuracy": 0.1 + 0.2, f"{name}/ci95_low": 0.1, f"{name}/ci95_high": 0.5}
    assert summary == (2, told)
    assert end == "end"


@pytest.mark.parametrize("what", ["init", "log", "finish"])
def test_one_that_fails_is_named_once(
    heard: type[Heard],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(heard, "fails", what)
    tell(["json"], tmp_path)
    assert [r.message for r in caplog.records] == [
        f"tracker json failed, and is told nothing more: no {what}"
    ]


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="did you mean 'mlflow'"):
        Watching(["mlflo"], RECIPE, tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install 'reasoning\[trackio\]'"):
        Watching(["trackio"], RECIPE, tmp_path)


# ----------------------------------------------------------------------------- the real ones


@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tell(["mlflow"], tmp_path)
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "tracking" / "mlflow").as_uri())
    (experiment,) = [e for e in client.search_experiments() if e.name == "reasoning"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["best_of_n-n_2/accuracy"] == 0.1 + 0.2
    steps = client.get_metric_history(run.info.run_id, "generated_tokens")
    assert [(m.step, m.value) for m in steps] == [(0, 0.0), (1, 7.0), (2, 14.0)]
    (config,) = (tmp_path / "tracking" / "mlflow").rglob("recipe.json")
    assert json.loads(config.read_text())["generator"] == "nano"


@pytest.mark.filterwarnings("ignore")
def test_trackio_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # which it reads when it is imported
    tell(["trackio"], tmp_path)
    (file,) = tmp_path.glob("reasoning*.db")
    rows = sqlite3.connect(file).execute("select step, metrics from metrics order by step, id")
    told = [(step, json.loads(values)) for step, values in rows]
    assert [step for step, _ in told] == [0, 1, 2, 2]
    assert told[-1][1]["best_of_n-n_2/accuracy"] == 0.1 + 0.2


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_it_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tell(["wandb"], tmp_path)
    wandb.teardown()  # as at the end of a program: what is finished may not be written before
    (file,) = (tmp_path / "tracking" / "wandb").rglob("*.wandb")
    assert file.parent.name.startswith("offline-run-")
    assert b"best_of_n-n_2/accuracy" in file.read_bytes()
