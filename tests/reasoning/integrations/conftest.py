"""Small runs: one made, one written by hand to hold what no model says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning.runs.recipe import parse
from reasoning.runs.run import run
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample

RECIPE: dict[str, Any] = {
    "name": "small",
    "task": {"name": "nano", "n": 2},
    "generator": "nano",
    "verifier": "nano_prm",
    "strategies": [
        {"searcher": "best_of_n", "n": 2},
        {"searcher": "beam_search", "width": 2, "expansions": 2},
        {"searcher": "first_finish", "n": 2},
    ],
    "prices": {"default": {"output": 1.0}},
    "sampling": {"max_tokens": 128},
}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three strategies on two problems."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    asyncio.run(run(parse(RECIPE), folder))
    return folder


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Tells of the spans that have ended."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", lambda name: provider.get_tracer(name))
    return exporter.get_finished_spans


@pytest.fixture
def by_hand(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run of one strategy whose samples are `texts`; other keywords go into its lines."""

    def make(texts: dict[str, list[str]], **line: Any) -> Path:
        folder = tmp_path / "by_hand"
        with Store(folder).opened({"run": {"task": "jsonl", "name": "by_hand"}}) as store:
            for problem, said in texts.items():
                tree = RolloutTree(problem, 2**63)
                for slot, text in enumerate(said):
                    tree.add(tree.root, slot, Sample(text, logprobs=_logprobs(), finish="end"))
                store.append({**_line(problem, said), **line}, tree)
        return folder

    return make


def _logprobs() -> Any:
    return np.array([-0.1, -0.2], np.float32)


def _line(problem: str, said: list[str]) -> dict[str, Any]:
    candidates = [
        {
            "path": [slot],
            "answer": text,
            "key": text,
            "correct": None,
            "weight": 0.1 + 0.2,
            "rank": 0.0,
            "steps": [],
        }
        for slot, text in enumerate(said)
    ]
    return {
        "problem": problem,
        "strategy": "s",
        "question": f"question of {problem}",
        "gold": None,
        "answer": None,
        "correct": None,
        "stop_reason": "finished",
        "candidates": candidates,
        "usage": {"generated_tokens": 3, "calls": len(said)},
        "failures": [],
        "meta": {},
    }
