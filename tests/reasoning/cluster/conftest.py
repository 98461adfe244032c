"""A recipe on workers, and what of a run has to be the same wherever it ran."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning.runs.recipe import parse


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": "x" * i, "answer": str(i)} for i in range(1, 13)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def recipe(questions: Path) -> Callable[..., Any]:
    def made(**change: Any) -> Any:
        data = {
            "name": "t",
            "task": {"name": "jsonl", "path": str(questions)},
            "generator": {"name": "scripted", "token_seconds": 0.02, "delay": 0.1},
            "verifier": "logprob",
            "strategies": [
                {"searcher": "self_consistency", "n": [1, 4]},
                {"searcher": "first_finish", "n": 4},
                {"searcher": "beam_search", "width": 4, "expansions": 2, "max_steps": 4},
            ],
        }
        return parse({**data, **change})

    return made


def contents(folder: Path) -> dict[str, Any]:
    """Results, trees and summary. Virtual seconds are differences: their last digits are noise."""

    def read(text: str) -> Any:
        return json.loads(text, parse_float=lambda number: round(float(number), 9))

    lines = [read(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    keys = [(line["strategy"], line["problem"]) for line in lines]
    assert len(set(keys)) == len(keys), "a result is there twice"
    trees = {str(p.relative_to(folder)): p.read_text() for p in (folder / "trees").rglob("*.jsonl")}
    summary = read((folder / "summary.json").read_text())
    assert not list(folder.glob("journal*"))
    return {"results": dict(zip(keys, lines, strict=True)), "trees": trees, "summary": summary}
