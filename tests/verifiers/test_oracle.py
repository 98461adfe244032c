"""The oracle verifier."""

from __future__ import annotations

import asyncio

import pytest

from reasoning.answers import last_number
from reasoning.answers.math import Math
from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.contracts import check_verifier
from reasoning.testing.verifier_contract import ask
from reasoning.tree import Finish, RolloutTree, Sample
from verifiers.oracle import oracle


def score(problem: Problem, *texts: str, finish: Finish = "end") -> tuple[float, ...]:
    tree = RolloutTree(problem.id)
    node = tree.root
    for text in texts:
        node = tree.add(node, 0, Sample(text, finish=finish))
    return asyncio.run(ask(oracle(), problem, node)).steps


def test_right_wrong_and_none() -> None:
    problem = Problem("p", "What is 1/2?", gold="0.5")
    assert score(problem, r"It is \boxed{\frac12}.") == (1.0,)
    assert score(problem, r"It is \boxed{2}.") == (0.0,)
    assert score(problem, "I do not know.") == (0.0,)


def test_the_answer_may_stand_on_the_path() -> None:
    problem = Problem("p", "?", gold="7")
    assert score(problem, "First.\n\n", r"So \boxed{", "7}") == (1.0,)
    assert score(problem, "First.\n\n", finish="stop") == (0.0,)


def test_a_fallback_is_for_finished_paths_only() -> None:
    problem = Problem("p", "?", gold="7", answers=Math("7", last_number))
    assert score(problem, "So 7") == (1.0,)
    assert score(problem, "So 7", finish="length") == (0.0,)


def test_without_gold() -> None:
    with pytest.raises(VerificationError, match="'p' has no gold answer"):
        score(Problem("p", "?"), r"\boxed{1}")


def test_it_says_so() -> None:
    verifier = names.build("verifier", "oracle")
    assert verifier.name == "oracle"
    assert verifier.notes == (
        "verifier oracle looks at the gold answers: an upper bound, not a result",
    )


def test_contract() -> None:
    check_verifier(oracle, problem=Problem("p", "What is 12 * 7 + 5?", gold="89"))


def test_without_any_gold_answer_it_is_refused() -> None:
    known, unknown = Problem("a", "?", gold="1"), Problem("b", "?")
    oracle().preflight(Sampling(max_tokens=9), [unknown, known])
    with pytest.raises(RecipeError, match="no problem has one"):
        oracle().preflight(Sampling(max_tokens=9), [unknown, unknown])
