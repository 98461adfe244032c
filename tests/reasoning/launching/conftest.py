"""A recipe to launch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning.launching.engines import Launch, engines
from reasoning.launching.options import Options
from reasoning.runs.recipe import load

MODELS = """
task: jsonl
generator: {name: vllm, model: org/Model-7B, tensor_parallel_size: 2, gpu_memory_utilization: 0.4}
verifier: {name: reward_model, model: org/Reward-1B}
strategies: [{searcher: best_of_n, n: 4}]
"""

Launching = Callable[..., Launch]


@pytest.fixture
def launching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launching:
    """A launch of a recipe in the folder one is in: launching(options, text)."""
    monkeypatch.chdir(tmp_path)

    def made(options: Options, text: str = MODELS, **more: Any) -> Launch:
        Path("my run.yaml").write_text(text)
        recipe = load("my run.yaml")
        found = engines(recipe, options, cpu=options.cpu)
        return Launch("my run.yaml", recipe, found, tmp_path / "runs" / "my run", **more)

    return made
