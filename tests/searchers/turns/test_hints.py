"""Hints: which answers are hinted at, when the rounds end, and how votes weigh."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from reasoning import solve
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.turns.hint_marginalization import hint_marginalization
from searchers.turns.progressive_hints import progressive_hints

MODEL = random_tree(3, depth=5)


def hinted(prompt: Prompt) -> str:
    """What the question hints at; nothing where it does not."""
    found = re.search(r"near to (.*)\.\)", prompt.messages[-1].content)
    return found[1] if found else ""


def run(searcher: Any, say: Callable[[Prompt], str], limit: int | None = None, **p: Any) -> Search:
    def script(prompt: Prompt, seed: int) -> str:
        answer = say(prompt)
        return f"\\boxed{{{answer}}}" if answer else "hm"

    s = Search(Problem("p", "q"), Scripted(script), budget=Budget(limit))
    asyncio.run(searcher(s, **p))
    return s


def weights(s: Search) -> dict[str, float]:
    found: dict[str, float] = {}
    for c in s.candidates:
        if c.answer and c.weight:
            found[c.answer.text] = found.get(c.answer.text, 0.0) + c.weight
    return found


@pytest.mark.parametrize(
    ("searcher", "params"),
    [("progressive_hints", {"n": 4, "rounds": 1}), ("hint_marginalization", {"n": 4, "rounds": 0})],
)
def test_without_hints_it_is_self_consistency(searcher: str, params: dict[str, Any]) -> None:
    one = solve(MODEL.problem, searcher=searcher, generator=ToyGenerator(MODEL), **params)
    plain = solve(MODEL.problem, searcher="self_consistency", n=4, generator=ToyGenerator(MODEL))
    assert one.tree.to_jsonl() == plain.tree.to_jsonl()
    assert (one.answer, one.usage) == (plain.answer, plain.usage)


# ------------------------------------------------------------------------- progressive hints


def test_all_answers_so_far_are_hinted_at_until_two_are_equal() -> None:
    say = {"": "5", "5": "0.5", "5, 0.5": "1/2", "5, 0.5, 1/2": "9"}
    s = run(progressive_hints, lambda prompt: say[hinted(prompt)])
    assert [node.sources for node in s.tree] == [(), ((0,),), ((0,), (1,))]
    assert s.tree[(2,)].turn.messages[0].content.startswith("q (Hint: ")  # type: ignore[union-attr]
    assert weights(s) == {"1/2": 1.0}


def test_three_have_to_agree_if_told_so_and_rounds_are_bounded() -> None:
    assert run(progressive_hints, lambda prompt: "1", agree=3).usage.calls == 3
    never = run(progressive_hints, lambda prompt: str(prompt.slot), rounds=4)
    assert never.usage.calls == 4
    assert weights(never) == {"3": 1.0}


def test_a_round_says_what_most_of_its_samples_say() -> None:
    def say(prompt: Prompt) -> str:
        return ("7", "8", "8")[prompt.slot % 3] if prompt.turn is None else "8"

    s = run(progressive_hints, say, n=3)
    assert s.tree[(3,)].sources == ((1,),)
    assert s.usage.calls == 6
    assert weights(s) == {"8": 3.0}


def test_a_round_without_an_answer_gives_no_hint_and_takes_no_vote() -> None:
    s = run(progressive_hints, lambda prompt: "" if prompt.slot == 1 else "4", rounds=4)
    assert [hinted_at.sources for hinted_at in s.tree] == [(), ((0,),), ((0,),), ((0,), (2,))]
    assert weights(s) == {"4": 1.0}


# ------------------------------------------------------------------------ marginalisation


def said(prompt: Prompt) -> str:
    """1 1 1 2 at first; a hint at 1 gives 1 2 2 and silence, one at 2 gives 2 always."""
    if prompt.turn is None:
        return ("1", "1", "1", "2")[prompt.slot]
    hint = hinted(prompt)
    return ("1", "2", "2", "")[prompt.slot % 4] if hint == "1" else "2"


def test_hinted_answers_weigh_by_the_mass_of_their_hint() -> None:
    """p_0 = (3/4, 1/4); p(. | hint 1) = (1/3, 2/3), p(. | hint 2) = (0, 1)."""
    s = run(hint_marginalization, said, n=4, m=4)
    assert weights(s) == pytest.approx({"1": 1 / 4, "2": 3 / 4})
    assert s.usage.calls == 4 + 2 * 4
    assert {node.sources for node in s.tree if node.turn} == {((0,),), ((3,),)}


def test_masses_go_on_from_round_to_round() -> None:
    s = run(hint_marginalization, said, n=4, m=4, rounds=2)
    assert weights(s) == pytest.approx({"1": 1 / 12, "2": 11 / 12})
    assert s.usage.calls == 4 + 8 + 8


@pytest.mark.parametrize("limit", [0, 1, 3, 4])
def test_a_limit_leaves_the_last_round_that_is_complete(limit: int) -> None:
    s = run(hint_marginalization, said, limit, n=4, m=4)
    assert sum(weights(s).values()) == limit
