"""Experiment trackers: one watcher of a run, and a few lines for each of W&B, MLflow and trackio.

They are imported, and work, in a thread of their own: a slow one delays nothing, and one that
fails is named once and left out. What they write stays on this machine, in the run's folder, unless
their own environment variables (WANDB_MODE, MLFLOW_TRACKING_URI, TRACKIO_DIR) say otherwise.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from reasoning.errors import RecipeError, unknown
from reasoning.runs.recipe import Recipe
from reasoning.runs.run import Progress

log = logging.getLogger(__name__)

_PATIENCE = 120.0
"""Seconds that a tracker may take to end, before the run ends without it."""
_NAMEABLE = re.compile(r"[^A-Za-z0-9_./: -]+")


class Tracker(Protocol):
    """One place to tell numbers to. All calls come from one thread."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None: ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Steps never go back."""

    def finish(self) -> None: ...


class Wandb:
    """Weights & Biases, offline unless WANDB_MODE says otherwise."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project="reasoning",
            name=name,
            dir=str(folder),
            config=dict(config),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def finish(self) -> None:
        self.run.finish()


class Mlflow:
    """MLflow, in files of the run's folder unless MLFLOW_TRACKING_URI says otherwise."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if "MLFLOW_TRACKING_URI" not in os.environ:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # files are asked for here
        import mlflow

        uri = os.environ.get("MLFLOW_TRACKING_URI", folder.resolve().as_uri())
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        found = self.client.get_experiment_by_name("reasoning")
        number = found.experiment_id if found else self.client.create_experiment("reasoning")
        self.run = self.client.create_run(number, run_name=name).info.run_id
        self.client.log_dict(self.run, dict(config), "recipe.json")  # params hold 6,000 characters

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, [Metric(k, v, now, step) for k, v in values.items()])

    def finish(self) -> None:
        self.client.set_terminated(self.run)


class Trackio:
    """trackio, in the run's folder unless TRACKIO_DIR says otherwise."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(folder))
        import trackio

        self.trackio = trackio
        trackio.init(project="reasoning", name=name, config=dict(config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.trackio.log(dict(values), step=step)

    def finish(self) -> None:
        self.trackio.finish()


TRACKERS: Mapping[str, type[Tracker]] = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}


class Watching:
    """Tells trackers how far a run is: call it with every `Progress`, `end` it with the summary."""

    def __init__(self, names: Sequence[str], recipe: Recipe, folder: Path) -> None:
        for name in names:
            if name not in TRACKERS:
                raise RecipeError(unknown("tracker", name, TRACKERS))
            if importlib.util.find_spec(name) is None:
                raise RecipeError(
                    f"tracker {name} is not installed: pip install 'reasoning[{name}]'"
                )
        config = recipe.model_dump(mode="json", exclude_none=True)
        self._threads = [
            _Thread(name, recipe.name, folder / "tracking" / name, config)
            for name in dict.fromkeys(names)
        ]
        self._step = 0

    def __call__(self, progress: Progress) -> None:
        self._step = max(self._step, progress.done)
        self._tell(of_progress(progress))

    def summary(self, summary: Mapping[str, Any]) -> None:
        """What came of the run, by strategy."""
        self._tell(of_summary(summary))

    def _tell(self, values: Mapping[str, Any]) -> None:
        sound = numbers(values)
        for thread in self._threads:
            thread.told.put((sound, self._step))

    def close(self) -> None:
        """Wait until all has been told."""
        for thread in self._threads:
            thread.told.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE)
            if thread.is_alive():
                log.warning("tracker %s does not end; the run ends without it", thread.name)


class _Thread(threading.Thread):
    """One tracker; what it raises is said once, and is the last that is heard of it."""

    def __init__(self, name: str, run: str, folder: Path, config: Mapping[str, Any]) -> None:
        super().__init__(name=name, daemon=True)
        self.told: SimpleQueue[tuple[Mapping[str, float], int] | None] = SimpleQueue()
        self._args = (run, folder, config)
        self.start()

    def run(self) -> None:
        try:
            tracker = TRACKERS[self.name](*self._args)
            while (told := self.told.get()) is not None:
                tracker.log(*told)
            tracker.finish()
        except Exception as error:  # whatever a tracker raises, the run goes on
            log.warning("tracker %s failed, and is told nothing more: %s", self.name, error)


@contextmanager
def watching(names: Sequence[str], recipe: Recipe, folder: str | Path) -> Iterator[Watching]:
    """The watcher of one run. Raises RecipeError for a tracker that is not there."""
    watch = Watching(names, recipe, Path(folder))
    try:
        yield watch
    finally:
        watch.close()


def of_progress(progress: Progress) -> dict[str, Any]:
    """What is told while a run goes on; accuracy only of what is graded."""
    return {
        "problems_done": progress.done,
        "accuracy": progress.correct / progress.graded if progress.graded else None,
        "generated_tokens": progress.new_tokens,
        "failed_calls": progress.failed_calls,
    }


def of_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Every number of every strategy, as `STRATEGY/NAME`."""
    found: dict[str, Any] = {}
    for strategy in summary["strategies"]:
        name = strategy["name"]
        found |= {f"{name}/{key}": value for key, value in strategy.items()}
        if strategy.get("ci95"):
            found[f"{name}/ci95_low"], found[f"{name}/ci95_high"] = strategy["ci95"]
    return found


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among `values` under names that every tracker takes.

    None is left out. What is no finite number is counted in `left_out`, as trackers disagree on it.
    """
    found: dict[str, float] = {}
    strange = 0
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value):
            found[_NAMEABLE.sub("_", name)] = float(value)
        else:
            strange += 1
    return {**found, "left_out": float(strange)} if strange else found
