"""SpecReason: drafts, grades, and who writes what."""

from __future__ import annotations

import asyncio
from math import log
from typing import Any

import numpy as np
import pytest

from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError
from reasoning.generate import EVERYONES, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.tree import Sample, TopLogprobs
from searchers.models.spec_reason import spec_reason


def writer(name: str) -> Scripted:
    """Three steps, each with its author's name, the last with the answer."""

    def script(prompt: Prompt, seed: int) -> str:
        done = prompt.text.count("\n\n")
        return f"\\boxed{{{done}}}" if done == 2 else f"step {done} by {name}\n\n"

    return Scripted(script)


class Grader(Scripted):
    """Writes as `large`; grades a step by its number, with the digits' probabilities."""

    def __init__(self, grades: dict[int, dict[str, float]]) -> None:
        self.grades = grades
        self.suffixes: list[str] = []
        super().__init__(writer("large").script)

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"top_logprobs"}

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        if not prompt.suffix:
            return super().reply(prompt, params, seed)
        self.suffixes.append(prompt.suffix)
        marks = self.grades[prompt.parent.depth]
        best = max(marks, key=marks.__getitem__)
        table = np.array([[log(p) for p in marks.values()]], dtype=np.float32)
        tops = TopLogprobs((tuple(marks),), table) if params.top_logprobs else None
        return Sample(best, finish="length", generated_tokens=1, top_logprobs=tops)


def drawn(grades: dict[int, dict[str, float]] | None = None, **params: Any) -> Search:
    large = Grader(grades or {i: {"7": 1.0} for i in range(1, 4)})
    s = Search(Problem("p", "q"), large, models={"small": writer("small")}, step=Step())
    asyncio.run(spec_reason(s, small="small", **params))
    return s


def authors(s: Search) -> list[str]:
    (candidate,) = s.candidates
    return [node.sample.model or "large" for node in s.tree[candidate.path].attempt()]


def test_at_0_the_small_model_writes_all_and_nothing_is_graded() -> None:
    s = drawn(threshold=0)
    assert authors(s) == ["small"] * 3
    assert s.usage.calls == 3
    assert "" not in [node.sample.model for node in s.tree]


def test_at_10_the_large_model_writes_all_and_the_drafts_are_paid() -> None:
    s = drawn({i: {"9": 1.0} for i in range(1, 4)}, threshold=10)
    assert authors(s) == ["large"] * 3
    assert s.usage.models["small"].calls == 3
    assert s.usage.probe_tokens == 3


def test_a_draft_is_kept_from_the_threshold_on() -> None:
    grades = {1: {"7": 1.0}, 2: {"6": 1.0}, 3: {"9": 1.0}}
    assert authors(drawn(grades)) == ["small", "large", "small"]
    assert authors(drawn(grades, threshold=6)) == ["small"] * 3


def test_the_grade_is_the_expected_digit_or_the_greedy_one() -> None:
    """9 is likeliest, yet the mean of the digits is 6; what is no digit does not count."""
    grades = {i: {"9": 0.4, "4": 0.3, " 2": 0.1, "good": 0.2} for i in range(1, 4)}
    assert authors(drawn(grades)) == ["large"] * 3
    assert authors(drawn(grades, threshold=6.2)) == ["small"] * 3
    assert authors(drawn(grades, expected=False, threshold=9)) == ["small"] * 3


def test_no_digit_is_no_grade() -> None:
    grades = {i: {"good": 0.9} for i in range(1, 4)}
    assert authors(drawn(grades, threshold=1)) == ["large"] * 3
    assert authors(drawn(grades, threshold=1, expected=False)) == ["large"] * 3


def test_a_loop_ends_it() -> None:
    small = Scripted(["again\n\n"])
    s = Search(Problem("p", "q"), Scripted([]), models={"small": small})
    asyncio.run(spec_reason(s, small="small", threshold=0))
    assert s.usage.calls == 2
    assert [c.path for c in s.candidates] == [(0, 0)]


def test_expected_digits_need_alternatives() -> None:
    class Plain(Scripted):
        @property
        def honours(self) -> frozenset[str]:
            return EVERYONES

    s = Search(Problem("p", "q"), Plain(["x"]), models={"small": writer("small")})
    with pytest.raises(RecipeError, match="top_logprobs"):
        asyncio.run(spec_reason(s, small="small"))
