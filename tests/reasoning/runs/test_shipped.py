"""The recipes that ship: together they have a line of every method, and the small ones run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reasoning.runs import names
from reasoning.runs import run as runner
from reasoning.runs.recipe import load, strategies

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
LIBRARY = RECIPES.parent / "searchers" / "programs" / "library"
SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))

SMALL: dict[str, list[str]] = {
    "across": ["task.n=1"],
    "across_read": ["task.n=1"],
    "contamination": ["task.task.n=4", "task.shards=2"],
    "contexts": ["task.limit=1"],
    "contexts_read": ["task.limit=1"],
    "heal": ["task.n=1"],
    "judges": ["task.n=1"],
    "methods_rounds": ["task.n=1"],
    "options": ["task.limit=1"],
    "passages": ["task.limit=1"],
    "variants": ["task.n=1"],
    "verifiers": ["task.n=1"],
}
"""Those that need nothing but the embedded model and are there to be looked at, made short."""


def plugged(spec: Any) -> Iterator[str]:
    """The verifiers that a spec names."""
    if isinstance(spec, str):
        yield spec
    elif isinstance(spec, dict):
        yield str(spec["name"])
        for member in spec.get("members", ()):
            yield from plugged(member)


@cache
def used(name: str) -> dict[str, set[str]]:
    """What the strategies of a shipped recipe are made of, by kind."""
    found: dict[str, set[str]] = {"searcher": set(), "aggregator": set(), "verifier": set()}
    for strategy in strategies(load(RECIPES / f"{name}.yaml")):
        chain, recipe = strategy.run, strategy.recipe
        for stage in chain.stages:
            found[stage.kind].add(stage.name)
        found["aggregator"].add(strategy.aggregator)
        for spec in (recipe.verifier, *recipe.verifiers.values()):
            found["verifier"] |= set(plugged(spec))
    return found


@pytest.mark.parametrize("kind", ["searcher", "aggregator", "verifier"])
def test_every_method_has_a_line_in_a_recipe(kind: names.Kind) -> None:
    lines = set[str]().union(*(used(name)[kind] for name in SHIPPED))
    assert not set(names.known(kind)) - lines


def test_every_program_has_a_line_in_a_recipe() -> None:
    entries = [spec for name in SHIPPED for spec in load(RECIPES / f"{name}.yaml").strategies]
    lines = {(spec.model_extra or {}).get("program") for spec in entries}
    assert {path.stem for path in LIBRARY.glob("*.yaml")} <= lines


@pytest.mark.parametrize("name", SHIPPED)
def test_they_are_sound(name: str) -> None:
    recipe = load(RECIPES / f"{name}.yaml")
    assert strategies(recipe)
    assert recipe.name == name
    assert recipe.description


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in SMALL])
def test_they_run_on_the_fake(name: str, tmp_path: Path) -> None:
    """With their strategies, models and stages; what scores is the embedded reward model."""
    file = RECIPES / f"{name}.yaml"
    sets = ["task={name: nano, n: 1}", "sweep={}"]
    if name != "methods_think":  # it biases tokens, and its model is embedded
        sets.append("generator=scripted")
    sets += [f"models.{model}=scripted" for model in load(file).models]
    if load(file).verifier not in (None, "logprob"):
        sets.append("verifier=nano_prm")
    summary = asyncio.run(runner.run(load(file, sets), tmp_path))
    assert summary["strategies"]
    for strategy in summary["strategies"]:
        assert strategy["stop_reasons"] == {"finished": 1}, strategy["name"]
        # The fake knows no program's prompts, so that some programs are given up with a note.
        failures = [told for told in strategy["failures"] if "could not be read" not in told]
        assert failures == [], strategy["name"]
        assert strategy["generated_tokens"] > 0, strategy["name"]


@pytest.mark.parametrize("name", SMALL)
def test_the_small_ones_run_on_the_embedded_model(name: str, tmp_path: Path) -> None:
    recipe = load(RECIPES / f"{name}.yaml", [*SMALL[name], "sampling.max_tokens=24"])
    summary = asyncio.run(runner.run(recipe, tmp_path))
    assert summary["strategies"]
    for strategy in summary["strategies"]:
        # It does not speak as programs ask it to.
        failures = [told for told in strategy["failures"] if "could not be read" not in told]
        assert failures == [], strategy["name"]
        assert strategy["calls"] or strategy["verifier_calls"], strategy["name"]
