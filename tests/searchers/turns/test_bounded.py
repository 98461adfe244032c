"""InftyThink and Markov chains of thought: what each context holds, and when they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning import solve
from reasoning.aggregators.majority import majority
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.turns.inftythink import inftythink
from searchers.turns.markov_cot import markov_cot

MODEL = random_tree(3, depth=5)


class Thinker(Scripted):
    """Thinks w0 w1 ... from where its history says; sums up where it stands; answers at w6."""

    def __init__(self, note: str = "@{}", tag: bool = False) -> None:
        self.note, self.tag = note, tag
        self.contexts: list[str] = []
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str:
        (context,) = [m.content for m in prompt.messages]
        self.contexts.append(context)
        if "Sum up" in context:
            thought = context.partition("middle:\n\n")[2].split()
            return self.note.format(int(thought[2][1:]) + 1)
        at = int(context.partition("@")[2][:1] or 0)
        if self.tag and at < 3:
            return f"w{at} <summary>@{at + 3}</summary>"
        return " ".join([f"w{i}" for i in range(at, 6)] + ["\\boxed{7}"])


def run(searcher: Any, model: Scripted, limit: int | None = None, **params: Any) -> Search:
    s = Search(Problem("p", "question"), model, budget=Budget(limit))
    asyncio.run(searcher(s, **params))
    return s


def answer(s: Search) -> str | None:
    choice = majority(s.candidates)
    found = choice.candidate.answer if choice and choice.candidate else None
    return found and found.text


def test_a_segment_longer_than_the_solution_is_self_consistency() -> None:
    one = solve(MODEL.problem, searcher="inftythink", n=3, generator=ToyGenerator(MODEL))
    plain = solve(MODEL.problem, searcher="self_consistency", n=3, generator=ToyGenerator(MODEL))
    assert one.tree.to_jsonl() == plain.tree.to_jsonl()
    assert (one.answer, one.usage) == (plain.answer, plain.usage)


def test_each_context_holds_the_question_one_note_and_one_segment() -> None:
    model = Thinker()
    s = run(inftythink, model, segment=3)
    assert answer(s) == "7"
    assert s.usage.calls == 5
    assert s.usage.generated_tokens == 3 + 1 + 3 + 1 + 1
    first, second, third, fourth, fifth = model.contexts
    assert first == "question"
    assert "w0 w1 w2" in second
    assert "@3" in third
    assert "w0" not in third
    assert "w3 w4 w5" in fourth
    assert "@3" in fourth
    assert "@6" in fifth
    assert [n.sources for n in s.tree] == [(), ((0,),), (), ((0, 0, 0),), ()]


def test_a_summary_that_the_segment_brings_saves_the_call() -> None:
    s = run(inftythink, Thinker(tag=True), segment=9)
    assert (answer(s), s.usage.calls) == ("7", 2)


@pytest.mark.parametrize(
    ("note", "calls", "found"), [("stuck", 4, None), ("", 2, None), ("so \\boxed{{5}}", 2, "5")]
)
def test_a_note_that_says_nothing_new_ends_it_and_so_does_an_answer(
    note: str, calls: int, found: str | None
) -> None:
    s = run(inftythink, Thinker(note), segment=3)
    assert (s.usage.calls, answer(s)) == (calls, found)


def test_rounds_are_bounded() -> None:
    assert run(inftythink, Thinker(), segment=3, rounds=2).usage.calls == 3


@pytest.mark.parametrize("limit", [0, 1, 3, 5, 8, 9])
def test_a_limit_keeps_the_last_answer(limit: int) -> None:
    s = run(inftythink, Thinker(), limit, segment=3)
    assert s.usage.generated_tokens <= limit
    assert answer(s) == ("7" if limit == 9 else None)
    assert bool(s.candidates) == bool(limit)


class Reducer(Scripted):
    """Counts the question down; answers at 0. Numbers that only stand there are no answers."""

    def __init__(self) -> None:
        self.contexts: list[str] = []
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str:
        (context,) = [m.content for m in prompt.messages]
        self.contexts.append(context)
        left = int(context.partition("count ")[2][:1])
        if "Write the question" in context:
            return f"count {left - 1}"
        return f"one of {left} is done" if left else "\\boxed{9}"


def test_each_step_knows_only_the_question_that_is_left() -> None:
    model = Reducer()
    s = Search(Problem("p", "count 2"), model)
    asyncio.run(markov_cot(s))
    assert answer(s) == "9"
    assert s.usage.calls == 5
    assert model.contexts[2].startswith("count 1\n\n")
    assert model.contexts[4].startswith("count 0\n\n")
    assert "2" not in model.contexts[2]


def test_steps_are_bounded() -> None:
    s = Search(Problem("p", "count 9"), Reducer())
    asyncio.run(markov_cot(s, steps=3))
    assert s.usage.calls == 5
