"""Sizes of checkpoints, and None where they would be a guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from reasoning.backends.checkpoint import parameters
from reasoning.backends.nano import WEIGHTS, nano, reward
from verifiers.nano_prm import nano_prm


def checkpoint(folder: Path, config: dict[str, Any], **files: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
    return folder


def test_every_tensor_counts_once(tmp_path: Path) -> None:
    a, b = {"a": np.zeros((3, 4), np.float32)}, {"b": np.zeros(5, np.float16)}
    files = {"model-00001-of-00002": a, "model-00002-of-00002": b, "consolidated": {**a, **b}}
    assert parameters(checkpoint(tmp_path, {}, **files)) == 17


def test_the_embedded_models() -> None:
    found = parameters(WEIGHTS)
    assert found == nano().parameters
    assert found is not None
    assert found > 100_000
    assert nano_prm().parameters == parameters(reward.WEIGHTS)


@pytest.mark.parametrize(
    ("config", "dtype"),
    [({}, np.int32), ({"num_experts": 8}, np.float32), ({"text": {"n_routed_experts": 2}}, float)],
)
def test_what_would_be_a_guess(tmp_path: Path, config: dict[str, Any], dtype: Any) -> None:
    assert parameters(checkpoint(tmp_path, config, model={"a": np.zeros(4, dtype)})) is None


def test_what_is_not_there_or_damaged(tmp_path: Path) -> None:
    assert parameters("nobody/has-this-model") is None
    assert parameters("../no name at all") is None
    assert parameters(tmp_path) is None
    assert parameters(checkpoint(tmp_path, {})) is None
    (tmp_path / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    assert parameters(tmp_path) is None
