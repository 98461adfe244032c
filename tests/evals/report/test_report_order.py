"""What strategies cost does not depend on which of them ran first."""

from __future__ import annotations

import asyncio
from pathlib import Path

from evals.report import numbers
from evals.report.load import load
from reasoning.runs.recipe import parse
from reasoning.runs.run import run

STRATEGIES = [{"searcher": "sample"}, {"searcher": "self_consistency", "n": [2, 3]}]


def test_operations_do_not_depend_on_the_order_of_strategies(tmp_path: Path) -> None:
    def spent(name: str, turned: int) -> dict[str, float]:
        plan = {"name": name, "task": {"name": "nano", "n": 2}, "generator": "nano"}
        sweep = {"sampling.temperature": [0.5, 1.0][::turned]}
        asyncio.run(
            run(
                parse({**plan, "strategies": STRATEGIES[::turned], "sweep": sweep}), tmp_path / name
            )
        )
        lines = numbers.summary_lines(load([tmp_path / name]))
        assert {line.strategy.family for line in lines if "sample" not in line.strategy.name} == {
            "self_consistency-temperature=0.5",
            "self_consistency-temperature=1.0",
        }
        assert all(line.strategy.independent for line in lines)
        return {line.strategy.name: line.cost["flops"] for line in lines}

    assert spent("there", 1) == spent("back", -1)
