"""The recipe that has one of each family of methods, run whole on the scripted fake."""

from __future__ import annotations

import asyncio
from pathlib import Path

from reasoning.runs import run as runner
from reasoning.runs.recipe import load

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "verbs.yaml"


def test_every_method_runs_and_is_paid_for(tmp_path: Path) -> None:
    sets = ["generator=scripted", "models.small=scripted", "task.n=2"]
    summary = asyncio.run(runner.run(load(RECIPE, sets), tmp_path))
    found = {s["name"]: s for s in summary["strategies"]}
    assert len(found) == 12
    for name, strategy in found.items():
        assert strategy["stop_reasons"] == {"finished": 2}, name
        assert strategy["failures"] == [], name
    spent = {name: strategy["generated_tokens"] for name, strategy in found.items()}
    assert min(spent.values()) > 0
    assert spent["python_tool-n=4"] == spent["self_consistency-n=4"]  # nobody asks it for programs
    assert spent["longest_two"] == spent["self_consistency-n=4"]  # choosing costs nothing
    assert spent["truncated_answer-end=The answer is-tokens=256"] == spent["sample"]
