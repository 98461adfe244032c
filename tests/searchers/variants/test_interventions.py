"""Passages looked at in several orders: what is asked, what stands where in the end, and limits."""

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
from searchers.variants.interventions import interventions

PASSAGES = ["poor", "good", "fair"]
WORTH = {"poor": 0.1, "good": 0.6, "fair": 0.3}
PLACES = [1.0, 0.1, 0.3]
"""Who stands first looks best: a good passage in the middle hardly does."""


class Reader(Scripted):
    """Says letters by worth and place, and answers what it is asked last."""

    def __init__(self, broken: int | None = None) -> None:
        self.heard: list[str] = []
        self.broken = broken
        super().__init__(["unused"])

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        said = prompt.messages[-1].content
        self.heard.append(said)
        if not params.top_logprobs:
            return Sample("\\boxed{3}", generated_tokens=2)
        assert (params.max_tokens, params.temperature, params.top_logprobs) == (1, 0, 20)
        if prompt.slot == self.broken:
            raise GenerationError("told to")
        shown = [line[4:] for line in said.splitlines() if line.startswith("[")]
        seen = np.array([WORTH[text] * place for text, place in zip(shown, PLACES, strict=False)])
        letters = tuple(f" {letter}" for letter in "ABC"[: len(shown)])
        return Sample(
            "A",
            generated_tokens=1,
            top_logprobs=TopLogprobs((letters,), np.log(seen / seen.sum())[None]),
        )


def run(
    model: Scripted, passages: Any = PASSAGES, limit: int | None = None, **params: Any
) -> Search:
    meta = {} if passages is None else {"passages": passages}
    s = Search(Problem("p", "Which?", meta=meta), model, budget=Budget(limit))
    asyncio.run(interventions(s, **params))
    return s


def order(asked: str) -> list[str]:
    return [line[4:] for line in asked.splitlines() if line.startswith("[")]


def test_the_worthiest_stands_first_though_it_never_looked_best_there() -> None:
    model = Reader()
    s = run(model, n=2)
    assert [order(asked) for asked in model.heard[:3]] == [
        ["poor", "good", "fair"], ["good", "fair", "poor"], ["fair", "poor", "good"],
    ]  # fmt: skip
    assert model.heard[3:] == ["[A] good\n\n[B] fair\n\n[C] poor\n\nWhich?"] * 2
    assert (s.usage.calls, s.usage.generated_tokens) == (5, 3 + 2 * 2)
    assert [len(c.node.sources) for c in s.candidates if c.node] == [3, 3]  # who was looked at


def test_one_look_is_fooled_by_the_place() -> None:
    model = Reader()
    run(model, ["poor", "good"], orders=1)
    assert order(model.heard[-1]) == ["poor", "good"]
    run(model, ["poor", "good"])
    assert order(model.heard[-1]) == ["good", "poor"]


def test_what_is_kept_and_where() -> None:
    model = Reader()
    run(model, keep=2, best="last")
    assert order(model.heard[-1]) == ["fair", "good"]


def test_looks_that_fail_are_left_out_and_without_any_the_order_stays() -> None:
    model = Reader(broken=0)
    run(model)
    assert order(model.heard[-1])[0] == "good"
    same = Scripted(["\\boxed{1}"])  # made-up letters: none of A, B, C
    s = run(same)
    assert s.candidates


def test_one_passage_is_not_looked_at() -> None:
    model = Reader()
    s = run(model, ["good"])
    assert model.heard == ["[A] good\n\nWhich?"]
    assert s.usage.calls == 1


def test_a_limit_keeps_what_was_found() -> None:
    model = Reader()
    s = run(model, limit=3)
    assert (s.usage.calls, s.candidates) == (3, [])
    assert run(Reader(), limit=5).usage.generated_tokens <= 5


@pytest.mark.parametrize("passages", [None, [], "a text", ["x"] * 27])
def test_what_has_no_passages(passages: Any) -> None:
    with pytest.raises(
        RecipeError, match=r"interventions finds \d+ passages of problem 'p' in 'passages'"
    ):
        run(Reader(), passages)
