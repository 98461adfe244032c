"""Whole searches, rebuilt from files that hold the recipe and what came of it.

Each file starts with the recipe, the answer, the stop reason and the usage; the tree follows.
For a new strategy write a file with `{"recipe": {...}}` alone; after a change that is meant, run
`python tests/golden/test_golden.py` and read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning import RolloutTree, solve

FILES = sorted(Path(__file__).parent.glob("*.jsonl"))
QUESTION = "What is 12 * 7 + 5?"


def rebuilt(recipe: dict[str, Any]) -> str:
    """The file as it should be."""
    result = solve(QUESTION, **recipe)
    usage = {name: value for name, value in result.usage.to_json().items() if value}
    head = {
        "recipe": recipe,
        "answer": result.answer,
        "stop_reason": result.stop_reason,
        "usage": usage,
    }
    return json.dumps(head) + "\n" + result.tree.to_jsonl()


def recipe_of(file: Path) -> dict[str, Any]:
    with file.open(encoding="utf-8") as lines:
        return json.loads(next(lines))["recipe"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path) -> None:
    expected = file.read_text(encoding="utf-8").splitlines()
    got = rebuilt(recipe_of(file)).splitlines()
    assert json.loads(got[0]) == json.loads(expected[0])
    for line, (ours, theirs) in enumerate(zip(got[1:], expected[1:], strict=True), start=2):
        assert json.loads(ours) == json.loads(theirs), f"line {line} of {file.name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_tree_in_the_file_can_be_read(file: Path) -> None:
    with file.open(encoding="utf-8") as lines:
        next(lines)
        assert len(RolloutTree.from_jsonl(lines)) > 0


if __name__ == "__main__":
    for path in FILES:
        path.write_text(rebuilt(recipe_of(path)), encoding="utf-8")
        print(f"wrote {path}")
