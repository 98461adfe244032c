"""The contract of all generators that need nothing but this package: one row each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.journal import Journal
from reasoning.backends.nano import nano
from reasoning.backends.openai import openai
from reasoning.backends.recorded import recorded
from reasoning.backends.scripted import scripted
from reasoning.generate import Generator, Sampling
from reasoning.testing import ToyGenerator, random_tree
from reasoning.testing.contracts import GENERATOR_CHECKS, GeneratorCase
from reasoning.testing.http_server import CHAT, PLAIN_CHAT, TEXT, VLLM, Flavour, serving

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
    "nano": (lambda _: nano(), {"sampling": Sampling(max_tokens=20), "slots": 3}),
}

SERVERS: dict[str, Flavour] = {
    "token ids": VLLM,
    "text": TEXT,
    "chat": CHAT,
    "chat, whole solutions only": PLAIN_CHAT,
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
            if close := getattr(generator, "close", None):
                close()


@pytest.mark.parametrize("check", GENERATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("flavour", SERVERS)
def test_contract_of_openai(flavour: str, check: Callable[[GeneratorCase], None]) -> None:
    able = SERVERS[flavour]
    with serving(able) as server:
        check(GeneratorCase(make=lambda: openai(base_url=server.url), steps=able.continues))
