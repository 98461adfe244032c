"""Self-refine and retries on feedback: who says what to whom, when it ends, and what is chosen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning import Verifier
from reasoning.aggregators.first import first
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Node
from searchers.turns.feedback import feedback
from searchers.turns.refine import refine


class Right(Verifier):
    """Only this answer is right; a text that says "odd" cannot be scored."""

    name, text_only = "right", True

    def __init__(self, answer: int) -> None:
        self.answer = f"\\boxed{{{answer}}}"

    async def score(self, problem: Problem, node: Node, *, meter: Any) -> tuple[float, ...]:
        del problem, meter
        if "odd" in node.text:
            raise ValueError("no score")
        return (float(self.answer in node.text),)


class Talk(Scripted):
    """Answers 1, 2, 3, ... as it is asked again; finds no error in `last`."""

    def __init__(self, last: int = 99) -> None:
        self.last = last
        self.heard: list[list[str]] = []
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str:
        heard = [m.content for m in prompt.messages]
        self.heard.append(heard)
        answered = sum("boxed" in text for text in heard)
        if heard[-1].startswith(("Check", "You are a teacher")):
            return "No error." if answered == self.last else f"mistake {answered}"
        return f"Say \\boxed{{{answered + 1}}}"


def run(searcher: Any, talk: Scripted, answer: int = 99, **params: Any) -> Search:
    limit = params.pop("limit", None)
    s = Search(
        Problem("p", "q"),
        talk,
        models={"other": talk},
        verifier=Right(answer) if answer else None,
        budget=Budget(limit),
    )
    asyncio.run(searcher(s, **params))
    return s


def chosen(s: Search) -> str | None:
    winner = first(s.candidates)
    return winner.answer.text if winner and winner.answer else None


# ---------------------------------------------------------------------------------- refine


@pytest.mark.parametrize(
    ("rounds", "last", "calls", "answer"),
    [(0, 99, 1, "1"), (2, 99, 5, "3"), (3, 1, 2, "1"), (3, 2, 4, "2")],
)
def test_it_refines_until_no_error_is_found(
    rounds: int, last: int, calls: int, answer: str
) -> None:
    s = run(refine, Talk(last), rounds=rounds)
    assert (s.usage.calls, chosen(s)) == (calls, answer)
    assert s.usage.verifier_calls == 0


def test_it_is_one_conversation_in_which_another_may_criticise() -> None:
    talk = Talk()
    s = run(refine, talk, rounds=1, critic="other", ask="Check!", again="Again!")
    assert talk.heard[-1] == ["q", "Say \\boxed{1}", "Check!", "mistake 1", "Again!"]
    assert [node.sample.model for node in s.tree] == ["", "other", ""]
    assert [c.path for c in s.candidates] == [(0,), (0, 0, 0)]


def test_a_solution_that_reaches_the_threshold_ends_it() -> None:
    s = run(refine, Talk(), answer=2, threshold=1.0)
    assert (s.usage.calls, s.usage.verifier_calls, chosen(s)) == (3, 2, "2")
    with pytest.raises(RecipeError, match="verifier"):
        run(refine, Talk(), answer=0, threshold=1.0)


def test_a_refinement_without_an_answer_is_not_chosen() -> None:
    said = {1: "Say \\boxed{1}", 3: "mistake", 5: "I give up"}
    s = run(refine, Scripted(lambda prompt, seed: said[len(prompt.messages)]), rounds=1)
    assert chosen(s) == "1"


@pytest.mark.parametrize(("limit", "answer"), [(0, None), (1, None), (2, "1"), (5, "1"), (6, "2")])
def test_a_limit_keeps_the_latest_solution(limit: int, answer: str | None) -> None:
    """A solution takes two tokens, and so does a critique."""
    s = run(refine, Talk(), limit=limit, rounds=3)
    assert chosen(s) == answer
    assert s.usage.generated_tokens <= limit


# -------------------------------------------------------------------------------- feedback


@pytest.mark.parametrize("right", [1, 2, 3, 99])
@pytest.mark.parametrize("rounds", [1, 3])
def test_calls_of_student_and_teacher(right: int, rounds: int) -> None:
    s = run(feedback, Talk(), right, rounds=rounds, teacher="other")
    j = min(right, rounds)
    assert s.usage.calls == 2 * j - 1
    assert (s.usage.models["other"].calls if j > 1 else 0) == j - 1
    assert s.usage.verifier_calls == j
    assert chosen(s) == str(j)


def test_the_student_keeps_the_conversation_and_the_teacher_begins_afresh() -> None:
    talk = Talk()
    s = run(feedback, talk, rounds=3)
    student = [heard for heard in talk.heard if not heard[-1].startswith("You are")]
    teacher = [heard for heard in talk.heard if heard[-1].startswith("You are")]
    assert [len(heard) for heard in student] == [1, 3, 5]
    assert student[2][:2] == ["q", "Say \\boxed{1}"]
    assert "so far: 2" in student[2][-1]
    assert "mistake 1" in student[1][-1]
    assert [len(heard) for heard in teacher] == [1, 1]
    assert "Attempt 2:\nSay \\boxed{2}" in teacher[1][0]
    assert [s.tree[path].sources for path in ((1,), (2,))] == [((0,),), ((0,), (0, 0))]
    assert [s.tree[path].sources for path in ((0, 0), (0, 0, 0))] == [((1,),), ((2,),)]


def test_without_hints_it_is_only_told_that_it_is_wrong() -> None:
    s = run(feedback, Talk(), rounds=3, hints=False)
    assert s.usage.calls == 3


def test_what_could_not_be_scored_is_not_called_wrong() -> None:
    s = run(feedback, Scripted(["odd \\boxed{1}"]), rounds=3)
    assert (s.usage.calls, chosen(s)) == (1, "1")


@pytest.mark.parametrize(("limit", "answer"), [(0, None), (1, None), (2, "1"), (4, "1"), (6, "2")])
def test_a_limit_keeps_the_last_attempt(limit: int, answer: str | None) -> None:
    s = run(feedback, Talk(), limit=limit, rounds=3)
    assert chosen(s) == answer
    assert s.usage.generated_tokens <= limit
