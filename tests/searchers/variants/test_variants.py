"""Slots that are asked differently: what each is asked, who votes, and what cancels."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from reasoning import solve
from reasoning.answers.choice import choice
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.generate import EVERYONES, Prompt, Sampling
from reasoning.problem import Message, Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from reasoning.tree import Sample
from searchers.variants.choice_shuffle import choice_shuffle
from searchers.variants.order_averaging import order_averaging
from searchers.variants.orders import cyclic, distinct
from searchers.variants.variants import presets, variants

MODEL = random_tree(3, depth=5)


class Listener(Scripted):
    """Keeps what it is asked, and how warm; says `reply`, or two lines where it is to name some."""

    def __init__(self, reply: str = "\\boxed{1}") -> None:
        self.heard: list[list[str]] = []
        self.warmth: list[float] = []
        super().__init__(lambda prompt, seed: self.say(prompt, reply))

    def say(self, prompt: Prompt, reply: str) -> str:
        self.heard.append([m.content for m in prompt.messages])
        named = self.heard[-1][-1].startswith("Give ") or "Name " in self.heard[-1][-1]
        return "Of course:\n1. first\n2. second" if named else reply

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        self.warmth.append(params.temperature)
        return super().reply(prompt, params, seed)


def run(searcher: Any, model: Scripted, problem: Problem | None = None, **params: Any) -> Search:
    s = Search(problem or Problem("p", "q"), model, budget=Budget(params.pop("limit", None)))
    asyncio.run(searcher(s, **params))
    return s


def answers(s: Search) -> list[str]:
    return [c.answer.text for c in s.candidates if c.answer]


@pytest.mark.parametrize("params", [{}, {"prompts": ("{question}",)}])
def test_the_question_alone_is_self_consistency(params: dict[str, Any]) -> None:
    model = ToyGenerator(MODEL)
    one = solve(MODEL.problem, searcher="variants", n=3, generator=model, **params)
    plain = solve(MODEL.problem, searcher="self_consistency", n=3, generator=ToyGenerator(MODEL))
    assert one.tree.to_jsonl() == plain.tree.to_jsonl()
    assert (one.answer, one.usage) == (plain.answer, plain.usage)


@pytest.mark.parametrize(("n", "dealt"), [(None, "ab"), (5, "ababa"), (1, "a")])
def test_prompts_are_dealt_in_turn(n: int | None, dealt: str) -> None:
    model = Listener()
    s = run(variants, model, prompts=("a {question}", "b {question}"), n=n)
    assert [heard[0] for heard in model.heard] == [f"{x} q" for x in dealt]
    assert len(answers(s)) == len(dealt)


def test_breadth_rephrases_the_trigger_once_and_takes_three_of_each() -> None:
    model = Listener()
    s = run(variants, model, preset="breadth")
    asked = Counter(heard[0] for heard in model.heard[1:])
    assert asked == {"q\n\nLet's think step by step.": 3, "q\n\nfirst": 3, "q\n\nsecond": 3}
    assert (s.usage.calls, len(answers(s))) == (10, 9)
    assert {s.tree[c.path].sources for c in s.candidates} == {((0,),)}


def test_div_se_is_greedy_and_its_control_one_approach_as_warm_as_ever() -> None:
    model, control = Listener(), Listener()
    run(variants, model, preset="div_se")
    assert [heard[0].rpartition(": ")[2] for heard in model.heard[1:]] == ["first", "second"]
    assert model.warmth[1:] == [0.0, 0.0]
    run(variants, control, preset="div_se", control=True)
    assert [heard[0].rpartition(": ")[2] for heard in control.heard[1:]] == ["first"] * 2
    assert control.warmth[1:] == [Sampling(max_tokens=1).temperature] * 2


def test_a_variant_keeps_the_examples_of_the_prompt() -> None:
    shots = (Message("system", "s"), Message("user", "1?"), Message("assistant", "1."))
    model = Listener()
    problem = Problem("p", "q", messages=(*shots, Message("user", "q")))
    run(variants, model, problem, preset="read_twice")
    assert model.heard == [["s", "1?", "1.", "q\n\nq"]]


@pytest.mark.parametrize("preset", presets())
def test_presets_are_put_whole(preset: str) -> None:
    model = Listener()
    run(variants, model, preset=preset)
    assert not [text for heard in model.heard for text in heard if "{" in text.replace("{}", "")]


def test_another_preset_is_no_preset() -> None:
    with pytest.raises(RecipeError, match=r"read_twise.*read_twice"):
        run(variants, Listener(), preset="read_twise")


@pytest.mark.parametrize(("limit", "calls"), [(0, 0), (5, 1), (8, 4)])
def test_a_limit_is_kept(limit: int, calls: int) -> None:
    """The list takes six tokens, a solution one."""
    s = run(variants, Listener(), preset="breadth", limit=limit)
    assert s.usage.generated_tokens <= limit
    assert s.usage.calls <= max(calls, 1)


# -------------------------------------------------------------------------------- options

OPTIONS = ["red", "green", "blue", "grey"]
QUIZ = Problem(
    "p",
    "Which?",
    prompt="Which?\n\n(A) red\n(B) green\n(C) blue\n(D) grey\n\nSay it in a box.",
    answers=choice("B", {"options": OPTIONS}),
)


def knows(text: str) -> Scripted:
    """Finds the option of this text wherever it stands."""

    def script(prompt: Prompt, seed: int) -> str:
        lines = prompt.messages[-1].content.splitlines()
        (label,) = [line[1] for line in lines if line[4:] == text]
        return f"So \\boxed{{{label}}}"

    return Scripted(script)


@pytest.mark.parametrize("orders", ["random", "cyclic"])
def test_votes_are_for_options_and_not_for_letters(orders: str) -> None:
    s = run(choice_shuffle, knows("green"), QUIZ, n=4, orders=orders)
    assert answers(s) == ["B"] * 4
    letters = [node.sample.text for node in s.tree if node.sample.finish == "end"]
    assert len(set(letters)) > 1
    assert s.usage.calls == 4


@pytest.mark.parametrize(("n", "orders", "each"), [(4, "cyclic", 1), (24, "random", 6)])
def test_a_preference_for_a_letter_cancels(n: int, orders: str, each: int) -> None:
    s = run(choice_shuffle, Scripted(["\\boxed{A}"]), QUIZ, n=n, orders=orders)
    assert Counter(answers(s)) == dict.fromkeys("ABCD", each)


def test_one_order_is_one_sample_and_no_answer_is_no_vote() -> None:
    model = Listener("\\boxed{C}")
    assert answers(run(choice_shuffle, model, QUIZ, n=1)) == ["C"]
    assert model.heard == [[QUIZ.prompt]]
    s = run(choice_shuffle, Scripted(["I do not know"]), QUIZ, n=3)
    assert answers(s) == []


@pytest.mark.parametrize(
    ("problem", "match"),
    [
        (Problem("p", "q"), "multiple-choice"),
        (Problem("p", "q", answers=choice(None, {"options": OPTIONS})), r"\{options\}"),
    ],
)
def test_it_needs_options_that_it_finds(problem: Problem, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        run(choice_shuffle, Listener(), problem)


def test_orders() -> None:
    assert cyclic(3, 4) == [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 1, 2)]
    rows = distinct(3, 8, np.random.default_rng(0))
    assert set(rows[:6]) == set(permutations(range(3)))
    assert (rows[0], rows[6:]) == ((0, 1, 2), rows[:2])
    assert distinct(0, 2, np.random.default_rng(0)) == [(), ()]


# -------------------------------------------------------------------------------- premises


def test_premises_change_places_and_the_question_stays() -> None:
    model = Listener()
    said = "Ann has 2. Bob has 3. Cy has 4. How many is that?"
    run(order_averaging, model, Problem("p", said, prompt=f"Think. {said} Box it."), n=6)
    texts = [heard[0] for heard in model.heard]
    assert texts[0] == f"Think. {said} Box it."
    assert len(set(texts)) == 6
    assert all(text.endswith("How many is that? Box it.") for text in texts)


def test_examples_change_places_in_pairs() -> None:
    shots = [Message("system", "s")]
    for i in "12":
        shots += [Message("user", f"{i}?"), Message("assistant", f"{i}.")]
    problem = Problem("p", "q", messages=(*shots, Message("user", "q")))
    model = Listener()
    run(order_averaging, model, problem, n=2, of="examples")
    assert model.heard == [["s", "1?", "1.", "2?", "2.", "q"], ["s", "2?", "2.", "1?", "1.", "q"]]


def test_with_nothing_to_reorder_it_is_self_consistency() -> None:
    trees = [
        solve("What is 1 + 1?", searcher=name, n=2, generator="scripted").tree.to_jsonl()
        for name in ("order_averaging", "self_consistency")
    ]
    assert trees[0] == trees[1]


def test_a_question_that_is_not_in_its_prompt() -> None:
    with pytest.raises(RecipeError, match=r"\{question\}"):
        run(order_averaging, Listener(), Problem("p", "q", prompt="else"))
