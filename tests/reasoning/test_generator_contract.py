"""The contract of all generators that need no model: one row each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.journal import Journal
from reasoning.backends.recorded import recorded
from reasoning.backends.scripted import scripted
from reasoning.generate import Generator
from reasoning.testing import ToyGenerator, random_tree
from reasoning.testing.contracts import GENERATOR_CHECKS, GeneratorCase

MODEL = random_tree(5, depth=6)


def recording(folder: Path) -> Path:
    path = folder / "samples.jsonl.gz"
    samples = [{"text": f"sample {i} " * i, "n_tokens": 2 * i} for i in range(1, 9)]
    with gzip.open(path, "wt") as file:
        file.write(json.dumps({"id": "contract", "samples": samples}) + "\n")
    return path


ROWS: dict[str, tuple[Callable[[Path], Generator], dict[str, Any]]] = {
    "scripted": (lambda _: scripted(), {}),
    "scripted, slow": (lambda _: scripted(delay=1.0, token_seconds=0.1), {}),
    "toy": (lambda _: ToyGenerator(MODEL, token_seconds=0.1), {"problem": MODEL.problem}),
    "recorded": (
        lambda folder: recorded(path=str(recording(folder))),
        {"varied": False, "stops": False, "steps": False},
    ),
    "journal": (lambda _: Journal(scripted(delay=1.0)), {}),
    "journal, shared": (lambda _: Journal(scripted(delay=1.0), shared=True), {}),
    "journal, on disk": (lambda folder: Journal(scripted(), path=folder / "j.jsonl"), {}),
}


@pytest.mark.parametrize("check", GENERATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_contract(name: str, check: Callable[[GeneratorCase], None], tmp_path: Path) -> None:
    make, setting = ROWS[name]
    made: list[Any] = []

    def remembered() -> Generator:
        made.append(make(tmp_path))
        return made[-1]  # type: ignore[no-any-return]

    try:
        check(GeneratorCase(make=remembered, **setting))
    finally:
        for generator in made:
            if isinstance(generator, Journal):
                generator.close()
