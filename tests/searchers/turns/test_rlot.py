"""RLoT: which blocks a table picks, how many calls they are, and what stands if a limit ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning.aggregators.first import first
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from searchers.turns.rlot import POLICY, rlot

ASKS = {
    "reason": "exactly one more step",
    "plans": "three different plans",
    "compare": "Compare these plans",
    "follow": "step of reasoning by plan 2",
    "decompose": "Break what is left",
    "subtask": "Do this sub-task only",
    "join": "Sum up what these",
    "refine": "Check the last step",
    "answer": "Give the final answer",
    "judge": "Rate the reasoning",
}


class Model(Scripted):
    """Marks itself as told, block by block; what it was asked is kept."""

    def __init__(self, *marks: str) -> None:
        self.marks = list(marks)
        self.asked: list[str] = []
        self.prompts: list[str] = []
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str:
        (text,) = [m.content for m in prompt.messages]
        kind = next(name for name, words in ASKS.items() if words in text)
        self.asked.append(kind)
        self.prompts.append(text)
        said = {
            "compare": "Best: 2",
            "decompose": "### Subtask 1: one\n### Subtask 2: two",
            "answer": "\\boxed{7}",
            "judge": self.marks.pop(0) if kind == "judge" and self.marks else "A1: 3",
        }
        return said.get(kind, f"{kind} done")


def run(model: Model, limit: int | None = None, **params: Any) -> Search:
    s = Search(Problem("p", "q"), model, budget=Budget(limit))
    asyncio.run(rlot(s, **params))
    return s


@pytest.mark.parametrize(
    ("marks", "asked"),
    [
        (["C1: 3"], "reason judge answer"),
        (["A3: 1, A1: 3", "C1: 3"], "reason judge refine judge answer"),
        (["B2: 3", "C1: 3"], "reason judge plans compare follow judge answer"),
        (["B1: 3", "C1: 3"], "reason judge decompose subtask subtask join judge answer"),
        (["", "B1: 3", "C1=3"], "reason judge reason judge reason judge answer"),
    ],
)
def test_the_table_picks_the_blocks(marks: list[str], asked: str) -> None:
    model = Model(*marks)
    s = run(model)
    assert model.asked == asked.split()
    assert s.usage.calls == len(model.asked)
    chosen = first(s.candidates)
    assert chosen is not None
    assert chosen.answer is not None
    assert chosen.answer.text == "7"


def test_without_a_table_it_reasons_step_by_step_and_the_last_marks_are_not_asked_for() -> None:
    model = Model()
    run(model, policy=(), max_blocks=3)
    assert model.asked == ["reason", "judge", "reason", "judge", "reason", "answer"]
    assert "reason done\n\nreason done" in model.prompts[-1]
    assert "judge" not in model.prompts[-1]


def test_nothing_can_be_refined_at_first() -> None:
    model = Model()
    run(model, policy=({"do": "refine", "block": 0},), max_blocks=1)
    assert model.asked == ["reason", "answer"]


def test_sub_tasks_see_the_results_before_them() -> None:
    model = Model()
    run(model, policy=({"do": "decompose", "block": 0},), max_blocks=1)
    assert model.asked == ["decompose", "subtask", "subtask", "join", "answer"]
    assert "one\nsubtask done" in model.prompts[2]
    assert "two\nsubtask done" in model.prompts[3]


@pytest.mark.parametrize("row", [{"do": "guess"}, {"A1": 1}, {"do": "reason", "Z9": 1}])
def test_a_table_that_says_nothing_of_sense_is_refused(row: dict[str, Any]) -> None:
    model = Model()
    with pytest.raises(RecipeError, match="rlot"):
        run(model, policy=(*POLICY, row))
    assert not model.asked


@pytest.mark.parametrize(("limit", "candidates"), [(0, 0), (1, 1), (2, 1), (4, 1), (5, 2), (8, 2)])
def test_a_limit_keeps_the_steps_that_are_there(limit: int, candidates: int) -> None:
    s = run(Model(), limit, policy=())
    assert len(s.candidates) == candidates
    assert s.usage.generated_tokens <= limit
