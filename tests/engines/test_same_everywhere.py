"""One recipe on every engine gives the same result, within the noise of its samples."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reasoning.backends.nano import WEIGHTS
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.runs.store import Store

PROBLEMS, SAMPLES = 20, 8
SIGMAS = 3.5
"""Standard errors by which two engines may differ."""
QWEN = {"top_k": 20, "top_p": 0.8, "temperature": 0.7, "repetition_penalty": 1.05}
"""What the checkpoints of Qwen2.5 ship as their way of sampling."""


def correct(generator: Any, folder: Path) -> NDArray[np.float64]:
    """The share of right samples [PROBLEMS] at temperature 1."""
    todo = parse(
        {
            "name": "pass",
            "task": {"name": "nano", "n": PROBLEMS},
            "generator": generator,
            "strategies": [{"searcher": "self_consistency", "n": SAMPLES}],
            "sampling": {"max_tokens": 256, "temperature": 1.0},
        }
    )
    asyncio.run(runner.run(todo, folder))
    found = {
        result["problem"]: np.mean([c["correct"] for c in result["candidates"]])
        for result in Store(folder).results()
    }
    assert len(found) == PROBLEMS
    return np.array([found[problem] for problem in sorted(found)])


def served(url: str, folder: Path) -> NDArray[np.float64]:
    return correct({"name": "openai", "base_url": f"{url}/v1"}, folder / "run")


@pytest.fixture(scope="module")
def nanos(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    return correct("nano", tmp_path_factory.mktemp("nano") / "run")


@pytest.fixture(scope="module")
def vllm(vllm_server: str, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    return served(vllm_server, tmp_path_factory.mktemp("vllm"))


@pytest.fixture
def vllm_biased(serve: Any, tmp_path: Path) -> Iterator[NDArray[np.float64]]:
    """A checkpoint that would decide how its answers are drawn."""
    shutil.copytree(WEIGHTS, tmp_path / "biased")
    config = tmp_path / "biased" / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | QWEN))
    server = serve(model=tmp_path / "biased")
    yield served(server.url, tmp_path)
    server.close()


@pytest.fixture
def llama_cpp(serve_llama_cpp: Any, tmp_path: Path) -> Iterator[NDArray[np.float64]]:
    server = serve_llama_cpp()
    yield served(server.url, tmp_path)
    server.close()


def test_a_checkpoints_defaults_never_decide(
    vllm: NDArray[np.float64], vllm_biased: NDArray[np.float64]
) -> None:
    """In 32-bit floats the same seeds draw the same samples, so it can be seen exactly."""
    np.testing.assert_array_equal(vllm_biased, vllm)


@pytest.mark.parametrize("engine", ["vllm", "llama_cpp"])
def test_as_many_answers_are_right_as_nanos(
    engine: str, nanos: NDArray[np.float64], request: pytest.FixtureRequest
) -> None:
    theirs = request.getfixturevalue(engine)
    # Two engines draw other samples of the same problems, so those of one problem are the noise.
    variances = [p * (1 - p) / (SAMPLES - 1) for p in (nanos, theirs)]
    error = np.sqrt(np.sum(variances)) / PROBLEMS
    difference = theirs.mean() - nanos.mean()
    print(f"pass@1 {theirs.mean():.3f}, nano's {nanos.mean():.3f}, standard error {error:.3f}")
    assert abs(difference) < SIGMAS * error
