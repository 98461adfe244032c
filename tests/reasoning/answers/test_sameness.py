"""Pairs of answers of every kind that are the same or not, each asked in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning.answers import canonical
from reasoning.answers.algebra import same
from reasoning.answers.library import load
from reasoning.answers.rules import decide

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("pairs.jsonl").read_text(encoding="utf-8").splitlines()
]
KINDS = sorted({row["kind"] for row in ROWS})


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    load()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("equal", [True, False], ids=["same", "different"])
def test_pairs(kind: str, equal: bool) -> None:
    rows = [row for row in ROWS if row["kind"] == kind and row["same"] is equal]
    assert rows or kind == "time"
    wrong = []
    for row in rows:
        gold, prediction = canonical(row["gold"]), canonical(row["prediction"])
        for a, b in ((gold, prediction), (prediction, gold)):
            if bool(decide(a, b, same)) is not equal:
                wrong.append((a, b))
    assert not wrong
