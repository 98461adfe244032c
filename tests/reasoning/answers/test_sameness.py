"""Pairs of answers of every kind that are the same or not, each asked in both directions."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from reasoning.answers import Answer, canonical
from reasoning.answers.algebra import same as by_algebra
from reasoning.answers.kind import Answers
from reasoning.answers.library import load
from reasoning.answers.meanings import Meanings
from reasoning.answers.numeric import same_by_value
from reasoning.answers.rules import decide
from reasoning.answers.syntax import read

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("pairs.jsonl").read_text(encoding="utf-8").splitlines()
]
KINDS = sorted({(row["same"], row["kind"]) for row in ROWS})


@pytest.fixture(scope="module", autouse=True)
def _library() -> Iterator[None]:
    load()
    yield
    logging.disable(logging.NOTSET)  # as in a worker, it has silenced everything


@pytest.mark.parametrize(("equal", "kind"), KINDS)
def test_pairs(kind: str, equal: bool) -> None:
    rows = [row for row in ROWS if row["kind"] == kind and row["same"] is equal]
    wrong = []
    for row in rows:
        gold, prediction = canonical(row["gold"]), canonical(row["prediction"])
        for a, b in ((gold, prediction), (prediction, gold)):
            if bool(decide(a, b, by_algebra)) is not equal:
                wrong.append((a, b))
    assert not wrong


def _expressions() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "expressions.py"
    spec = importlib.util.spec_from_file_location("expressions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_formulas_are_judged_as_they_were_made() -> None:
    expressions = _expressions()

    def same(a: str, b: str) -> bool | None:
        return decide(canonical(a), canonical(b), by_algebra)

    counts, wrong = expressions.judge(expressions.pairs(80, seed=5), same)
    assert wrong == []
    assert counts == {"equal": 40, "different": 40}


def test_what_can_be_read_in_two_ways_is_not_read() -> None:
    for text in (
        "1/2x", "3 4", r"\ln 2\cdot 3", r"\sin(x)^2", "f(x)", "f'(x)", "2^3^4", "2e-3", "n!!",
        r"4\sqrt", "2x+", r"1+\cdots+9", r"\sum_{k=0}^{3}a_k", "x^{2", "", "?", "(" * 99 + ")" * 99,
    ):  # fmt: skip
        assert read(text) is None


def test_values_settle_what_is_rational_and_what_is_apart() -> None:
    assert same_by_value("(x+1)^2", "x^2+2x+1") is True
    assert same_by_value("2^{-99}", "2^{-98}") is False
    assert same_by_value(r"\sqrt{2}", r"\sqrt{3}") is False
    assert same_by_value(r"\sqrt{12}", r"2\sqrt{3}") is None  # more digits tell
    assert same_by_value(r"\sqrt{x^2}", "x") is False  # where x is negative
    assert same_by_value("9^{9^{9}}", "1") is None


@dataclass(frozen=True)
class _Slow(Answers):
    """Answers are the same if their first letters are; comparing with "slow" never ends."""

    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    graded = False

    def find(self, text: str, finished: bool) -> Answer | None:
        return Answer(text, text)

    async def same(self, a: Answer, b: Answer) -> bool:
        if "slow" in (a.text, b.text):
            await asyncio.Event().wait()
        return a.text[0] == b.text[0]

    async def alike(self, one: Answer, others: Sequence[Answer]) -> list[bool]:
        self.asked.append((one.text, [other.text for other in others]))
        return await super().alike(one, others)

    async def grade(self, answer: Answer | None) -> bool | None:
        return None


def _keys(answers: Sequence[Answer | None]) -> list[str | None]:
    return [answer and answer.key for answer in answers]


def test_each_answer_is_compared_with_all_that_wait_at_once() -> None:
    kind = _Slow()
    meanings = Meanings(kind)
    texts = ["a1", "b1", "a2", "c1", "b2"]
    answers = [Answer(text, text) for text in texts]
    assert _keys(asyncio.run(meanings.of(answers))) == ["a1", "b1", "a1", "c1", "b1"]
    assert kind.asked == [("a1", texts[1:]), ("b1", ["c1", "b2"])]
    assert asyncio.run(kind.group(answers)) == [0, 1, 0, 3, 1]


def test_comparing_stops_in_time_and_spelling_stands_for_the_rest() -> None:
    meanings = Meanings(_Slow())
    found = [None if x is None else Answer(x, x) for x in ("a1", "a2", None, "slow", "b1", "b2")]

    async def ask() -> tuple[list[str | None], list[str | None], list[str | None]]:
        none = await meanings.of(found, seconds=0)
        some = await meanings.of(found[:3], seconds=60)
        most = await meanings.of(found, seconds=1e-6)
        return _keys(none), _keys(some), _keys(most)

    none, some, most = asyncio.run(ask())
    assert none == ["a1", "a2", None, "slow", "b1", "b2"]
    assert some == ["a1", "a1", None]
    assert most == ["a1", "a1", None, "slow", "b1", "b2"]  # a1 against slow never ended
