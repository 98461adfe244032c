"""SPaR's search: values by votes, whose critique is read, and when it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning.aggregators.first import first
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from searchers.turns.spar import spar


def run(verdicts: dict[tuple[int, ...], str], limit: int | None = None, **params: Any) -> Search:
    """A solution answers with its own place; `verdicts` by place: g, b or ? for each vote."""

    def script(prompt: Prompt, seed: int) -> str:
        asks = prompt.messages[-1].content
        if asks == "Judge!":
            said = verdicts.get(prompt.parent.path, "b")
            word = {"g": "Verdict: good", "b": "Verdict: bad", "?": "Well"}
            return f"critique {prompt.slot}. {word[said[prompt.slot % len(said)]]}"
        return f"\\boxed{{{''.join(map(str, prompt.path))}}}"

    s = Search(Problem("p", "q"), Scripted(script), budget=Budget(limit))
    asyncio.run(spar(s, ask="Judge!", **params))
    return s


def chosen(s: Search) -> tuple[int, ...]:
    found = first(s.candidates)
    assert found is not None
    return found.path


@pytest.mark.parametrize(("votes", "calls"), [("ggbbg", 6), ("ggb??", 6)])
def test_a_solution_that_most_call_good_is_taken(votes: str, calls: int) -> None:
    s = run({(0,): votes})
    assert (chosen(s), s.usage.calls) == ((0,), calls)


def test_the_best_of_a_level_are_refined_behind_a_critique_of_the_majority() -> None:
    """The root's first critique that calls it bad is the second; of its three children two go on.
    A tie is not good enough."""
    good = {(0,): "gb", (0, 1, 0): "b", (0, 1, 1): "gb", (0, 1, 2): "gb"}
    s = run(good, votes=2, depth=2, keep=2)
    assert [n.path for n in s.tree if n.depth == 3] == [(0, 1, 0), (0, 1, 1), (0, 1, 2)]
    deepest = {n.path[:4] for n in s.tree if n.depth == 5}
    assert deepest == {(0, 1, 1, 1), (0, 1, 2, 1)}
    assert s.usage.calls == 1 + 2 + 3 + 6 + 6 + 12
    assert chosen(s) == (0,)  # the earliest of the best


def test_it_ends_with_the_first_good_level() -> None:
    s = run({(0, 0, 2): "g"}, votes=1)
    assert chosen(s) == (0, 0, 2)
    assert s.usage.calls == 1 + 1 + 3 + 3


def test_depth_0_judges_one_answer() -> None:
    assert run({}, depth=0, votes=3).usage.calls == 4


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 9])
def test_a_limit_keeps_the_best_seen(limit: int) -> None:
    s = run({}, limit, votes=1)
    assert s.usage.generated_tokens <= limit
    assert bool(s.candidates) == bool(limit)
