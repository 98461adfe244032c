"""Long inputs: what is looked at, what stays, and what it costs."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import GenerationError, RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Sample, TopLogprobs
from searchers.kernels.cuts import segments
from searchers.variants.xl3m import surest, xl3m

PARTS = ["It rained. ", "Ann has 3 pears. ", "Nobody came. ", "Ann has 3 pears. "]
TEXT = "".join(PARTS) + "The end."


class Reader(Scripted):
    """Is sure of its next token where it reads of pears, and less sure the shorter the part."""

    def __init__(self, broken: str = "never") -> None:
        self.heard: list[str] = []
        self.broken = broken
        super().__init__(["unused"])

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        read = prompt.messages[-1].content.removesuffix(" How many?")
        self.heard.append(read)
        if params.top_logprobs != 20:
            return Sample("\\boxed{3}", generated_tokens=1)
        assert (params.max_tokens, params.temperature) == (1, 0)
        if self.broken in read:
            raise GenerationError("told to")
        p = 0.99 if "pears" in read else 0.5 + 0.01 * len(read)
        tops = TopLogprobs((("3", "?"),), np.log(np.array([[p, 1 - p]], np.float32)))
        return Sample("3", generated_tokens=1, top_logprobs=tops)


def run(model: Scripted, limit: int | None = None, **params: Any) -> Search:
    problem = Problem("p", "How many?", prompt=f"{TEXT} How many?", meta={"context": TEXT})
    s = Search(problem, model, budget=Budget(limit))
    asyncio.run(xl3m(s, **params))
    return s


def test_the_surest_segments_stay_in_their_order() -> None:
    model = Reader()
    s = run(model, segment=17, keep=34, n=2)
    assert model.heard[:5] == [*PARTS, "The end."]
    assert model.heard[5:] == ["Ann has 3 pears. Ann has 3 pears. "] * 2
    assert (s.usage.calls, s.usage.generated_tokens) == (7, 7)
    assert [c.answer.text for c in s.candidates if c.answer] == ["3", "3"]
    more = Reader()
    run(more, segment=17, keep=47)
    assert more.heard[-1] == "".join(PARTS[1:])  # the longer of the two that are left


def test_what_fits_is_read_whole_and_not_looked_at() -> None:
    model = Reader()
    s = run(model, keep=len(TEXT))
    assert (model.heard, s.usage.calls) == ([TEXT], 1)
    assert [node.turn for node in s.root.children] == [None]


def test_a_look_that_fails_says_nothing_for_its_segment() -> None:
    model = Reader(broken="pears")
    run(model, segment=17, keep=20)
    assert model.heard[-1] == "Nobody came. "
    every = Reader(broken="")
    run(every, segment=17, keep=11)
    assert every.heard[-1] == "It rained. "


@pytest.mark.parametrize("limit", [0, 1, 3, 5, 6])
def test_a_limit_is_kept(limit: int) -> None:
    s = run(Reader(), limit, segment=17, keep=34)
    assert s.usage.generated_tokens <= limit
    assert len(s.candidates) == (limit == 6)


def test_it_needs_an_input_that_it_finds() -> None:
    for meta, prompt in (({}, "q"), ({"context": "c"}, "q"), ({"context": ""}, "q")):
        s = Search(Problem("p", "q", prompt=prompt, meta=meta), Reader())
        with pytest.raises(RecipeError, match="xl3m finds no context of problem 'p'"):
            asyncio.run(xl3m(s))


@pytest.mark.parametrize(
    ("text", "longest", "found"),
    [
        ("A. B. C.", 6, ["A. B. ", "C."]),
        ("A. B. C.", 99, ["A. B. C."]),
        ("one\n\ntwo three", 5, ["one\n\n", "two t", "hree"]),
        ("abcdef", 4, ["abcd", "ef"]),
        ("", 4, []),
    ],
)
def test_segments_end_where_sentences_do(text: str, longest: int, found: list[str]) -> None:
    assert segments(text, longest) == found
    assert "".join(found) == text


def test_who_is_surest() -> None:
    assert surest([0.5, 0.1, 0.1, 0.4], [5, 5, 5, 5], 10) == [1, 2]
    assert surest([0.5, 0.1, 0.1, 0.4], [5, 5, 5, 5], 19) == [1, 2, 3]
    assert surest([0.1, 0.2], [50, 1], 10) == [0]
    assert surest([0.2, 0.2, 0.2], [1, 1, 1], 2) == [0, 1]
