"""Plans of one model that another fills in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning import solve
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.models.hawkeye import hawkeye

MODEL = random_tree(3, depth=5)


def planner(prompt: Prompt, seed: int) -> str:
    return f"<think>long</think>first {prompt.slot} then done"


def filler(prompt: Prompt, seed: int) -> str:
    told = prompt.messages[-1].content
    assert "long" not in told
    return f"\\boxed{{{told.partition('first ')[2][:1]}}}"


def run(limit: int | None = None, **params: Any) -> Search:
    s = Search(
        Problem("p", "q"),
        Scripted(planner),
        models={"small": Scripted(filler)},
        budget=Budget(limit),
    )
    asyncio.run(hawkeye(s, small="small", **params))
    return s


def test_each_plan_is_filled_in_by_the_small_model() -> None:
    s = run(n=3)
    assert [c.answer.text for c in s.candidates if c.answer] == ["0", "1", "2"]
    assert [node.sample.model for node in s.tree] == ["", "small"] * 3
    assert s.tree[(1, 0)].sources == ((1,),)
    assert (s.usage.calls, s.usage.models["small"].calls) == (6, 3)


def test_a_plan_is_as_long_as_it_may_be() -> None:
    s = run(plan_tokens=2)
    assert s.tree[(0,)].sample.text == "<think>long</think>first 0"
    assert s.usage.generated_tokens == 3
    assert [c.answer.text for c in s.candidates if c.answer] == ["0"]


@pytest.mark.parametrize("n", [1, 4])
def test_without_a_plan_the_small_model_is_alone(n: int) -> None:
    models = {"small": ToyGenerator(MODEL)}
    alone = solve(
        MODEL.problem,
        searcher="hawkeye",
        generator=ToyGenerator(MODEL),
        models=models,
        small="small",
        plan_tokens=0,
        n=n,
    )
    plain = solve(MODEL.problem, searcher="self_consistency", n=n, generator=ToyGenerator(MODEL))
    assert alone.answer == plain.answer
    assert [n.sample.text for n in alone.tree] == [n.sample.text for n in plain.tree]
    assert alone.usage.models["small"].calls == n


@pytest.mark.parametrize(("limit", "candidates"), [(0, 0), (1, 0), (4, 0), (5, 1)])
def test_a_limit_may_leave_a_plan_alone(limit: int, candidates: int) -> None:
    s = run(limit)
    assert len(s.candidates) == candidates
    assert s.usage.generated_tokens <= limit
