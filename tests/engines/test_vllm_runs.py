"""Whole runs on vLLM in process: searches from a recipe, and an engine that dies."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import recipes
from reasoning.backends.nano import WEIGHTS
from reasoning.errors import EngineError
from reasoning.runs import names
from reasoning.runs import run as runner
from reasoning.runs.editing import with_sets
from reasoning.runs.plan import plan
from reasoning.runs.recipe import Recipe, load, parse
from reasoning.runs.store import Store

REWARD_MODEL = WEIGHTS.parent / "prm"
SEARCHES: list[dict[str, Any]] = [
    {"searcher": "best_of_n", "n": 4},
    {"searcher": "first_finish", "n": 4},
    {"searcher": "short_m_at_k", "k": 4, "m": 2},
    {"searcher": "beam_search", "width": 2, "expansions": 2},
    {"searcher": "astar", "width": 2, "parallel": 2},
    {"searcher": "particle_filter", "n": 4},
    {"searcher": "mits", "beam": 2},
]


def recipe(in_process: dict[str, Any], **changes: Any) -> Recipe:
    return parse(
        {
            "name": "engine",
            "task": {"name": "nano", "n": 6},
            "generator": {"name": "vllm", **in_process},
            "verifier": "nano_prm",
            "strategies": SEARCHES,
            "sampling": {"max_tokens": 200},
            "step": {"max_tokens": 48},
            "share_samples": False,
            **changes,
        }
    )


def run(todo: Recipe, out: Path, **options: Any) -> dict[str, Any]:
    return asyncio.run(runner.run(todo, out, **options))


@pytest.mark.usefixtures("spawning")
def test_searches_run_from_a_recipe(in_process: dict[str, Any], tmp_path: Path) -> None:
    summary = run(recipe(in_process), tmp_path / "run")
    assert len(summary["strategies"]) == len(SEARCHES)
    for strategy in summary["strategies"]:
        assert strategy["problems"] == 6
        assert not strategy["failures"]
        assert strategy["generated_tokens"] > 0
    stored = list(Store(tmp_path / "run").results())
    assert all(result["answer"] for result in stored if result["strategy"].startswith("best"))


def test_an_engine_that_dies_ends_the_run_and_the_next_one_goes_on(
    in_process: dict[str, Any], tmp_path: Path
) -> None:
    todo = recipe(in_process, strategies=SEARCHES[3:4], concurrency=2)
    before = set(multiprocessing.active_children())

    def kill(progress: runner.Progress) -> None:
        if progress.new_done == 2:
            for child in set(multiprocessing.active_children()) - before:
                child.kill()

    with pytest.raises(EngineError, match=r"died.*the same command continues"):
        run(todo, tmp_path / "run", watch=kill)
    kept = [r["problem"] for r in Store(tmp_path / "run").results()]
    assert 2 <= len(kept) < 6
    assert not set(multiprocessing.active_children()) - before
    summary = run(todo, tmp_path / "run")
    assert summary["strategies"][0]["problems"] == 6
    assert not summary["strategies"][0]["failures"]
    problems = [r["problem"] for r in Store(tmp_path / "run").results()]
    assert problems[: len(kept)] == kept
    assert len(set(problems)) == len(problems) == 6


def test_a_missing_model_is_one_clear_error(in_process: dict[str, Any], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in WEIGHTS.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "config.json").write_text(json.dumps({"model_type": "no such thing"}))
    todo = recipe({**in_process, "model": str(broken)}, strategies=SEARCHES[:1])
    with pytest.raises(EngineError, match="could not start"):
        run(todo, tmp_path / "run")


RECIPES = sorted(
    file.stem
    for file in Path(recipes.__path__[0]).glob("*.yaml")
    if "name: vllm" in file.read_text(encoding="utf-8")
)


def with_small_models(name: str, in_process: dict[str, Any]) -> Recipe:
    """A shipped recipe with the embedded checkpoints in the places of its models."""
    found = load(name, ["task={name: nano, n: 3}", "sampling.max_tokens=200"])
    sets = ["concurrency=3"]
    for part, model in (("generator", in_process["model"]), ("verifier", str(REWARD_MODEL))):
        if isinstance(getattr(found, part), dict):
            small = {**in_process, "model": model}
            sets += [f"{part}.{key}={json.dumps(value)}" for key, value in small.items()]
    if found.verifier == "python":
        sets.append("verifier=nano_prm")  # nano's problems have no tests
    if "thinking_tokens" in found.generator:
        sets.append("generator.thinking_tokens=20")
    if "max_tokens" in found.step:
        sets.append("step.max_tokens=48")
    return parse(with_sets(found.model_dump(), sets))


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_can_run(in_process: dict[str, Any], name: str) -> None:
    todo = plan(with_small_models(name, in_process))
    assert todo.arms
    assert len(todo.problems) == 3


TWINS = {"math500", "aime25", "math500_rm"}
"""Recipes that differ from another one in the task alone, which is replaced here, or a limit; and
math500_rm, whose kind of reward model is that of test_vllm_verifiers.test_outcome_reward_models."""


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Any]]:
    """Those that recipes have started, by how they state them."""
    started: dict[str, Any] = {}
    yield started
    for engine in started.values():
        asyncio.run(engine.aclose())


@pytest.fixture
def shared(engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What two recipes state alike is one engine, which the second finds running."""
    from reasoning.backends.vllm import Vllm
    from verifiers.engines.pooling import PoolingEngine

    build = names.build

    def found(kind: names.Kind, spec: Any) -> Any:
        if not (isinstance(spec, dict) and spec["name"].startswith("vllm")):
            return build(kind, spec)
        key = json.dumps(spec, sort_keys=True)
        if key not in engines:
            engines[key] = build(kind, spec)
        return engines[key]

    async def left_running(engine: Any) -> None:
        pass

    monkeypatch.setattr(names, "build", found)
    for kind in (Vllm, PoolingEngine):
        monkeypatch.setattr(kind, "aclose", left_running)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("name", sorted(set(RECIPES) - TWINS))
def test_shipped_recipes_run(in_process: dict[str, Any], tmp_path: Path, name: str) -> None:
    summary = run(with_small_models(name, in_process), tmp_path / "run")
    for strategy in summary["strategies"]:
        assert strategy["problems"] == 3
        assert not strategy["failures"]
        assert strategy["generated_tokens"] > 0
