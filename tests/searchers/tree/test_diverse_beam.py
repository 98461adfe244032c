from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning.budget import Budget
from reasoning.generate import Sampling
from reasoning.runs import names
from reasoning.search import Search
from reasoning.testing.toys import Steps, ToyGenerator, ToyModel, ToyVerifier, markov, random_tree
from searchers.kernels.sameness import canonical, results, tail

MODEL = markov(
    {
        "": {"a": 0.5, "b": 0.3, "c": 0.2},
        "a": {"1": 1.0},
        "b": {"2": 1.0},
        "c": {"3": 1.0},
    }
)
VALUES = {"a": 0.9, "b": 0.8, "c": 0.5, "1": 0.9, "2": 0.8, "3": 0.5}


def value(steps: Steps) -> float:
    return VALUES[steps[-1]]


def run(model: ToyModel, searcher: str, *, budget: Budget | None = None, **params: Any) -> Search:
    score = value if model is MODEL else None
    search = Search(
        model.problem,
        ToyGenerator(model),
        verifier=ToyVerifier(model, score),
        sampling=Sampling(max_tokens=50),
        budget=budget,
    )
    asyncio.run(names.find("searcher", searcher)(search, **params))
    return search


def trace(search: Search) -> list[Any]:
    return [(n.path, n.sample.text, n.scores, n.emitted) for n in search.tree]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("groups", [1, 3])
def test_without_a_penalty_they_are_independent_beams(seed: int, groups: int) -> None:
    model = random_tree(seed, depth=4)
    mine = run(model, "diverse_beam", groups=groups, expansions=3, penalty=0.0)
    assert trace(mine) == trace(run(model, "dvts", subtrees=groups, expansions=3))


@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_one_group_is_a_beam(penalty: float) -> None:
    model = random_tree(5, depth=4)
    mine = run(model, "diverse_beam", groups=1, width=2, expansions=3, penalty=penalty)
    assert trace(mine) == trace(run(model, "beam_search", width=2, expansions=3))


def taken(penalty: float) -> list[str]:
    """The first step that each of three groups goes on from, all steps drawn by each of them."""
    search = run(MODEL, "diverse_beam", groups=3, expansions=12, penalty=penalty)
    assert all(
        {n.sample.text.strip() for n in search.root.children[12 * g : 12 * g + 12]} == set("abc")
        for g in range(3)
    )
    return [n.sample.text.strip() for n in search.root.children if n.children]


def test_a_step_costs_its_penalty_for_each_group_that_took_it() -> None:
    """Scores .9, .8, .5 of a, b, c. At .06 the third group sees .78, .8, .5 after a, a."""
    assert taken(0.0) == ["a", "a", "a"]
    assert taken(0.06) == ["a", "a", "b"]
    assert taken(0.2) == ["a", "b", "a"]  # .7, .6, .5
    assert taken(0.5) == ["a", "b", "c"]


def test_the_score_itself_is_not_lowered() -> None:
    search = run(MODEL, "diverse_beam", groups=3, expansions=12, penalty=0.5)
    assert {c.score for c in search.candidates} == {0.9, 0.8, 0.5}


@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_short_budgets(tokens: int) -> None:
    model = random_tree(2, depth=4)
    search = run(model, "diverse_beam", groups=2, width=2, expansions=2, budget=Budget(tokens))
    assert search.usage.generated_tokens == tokens
    assert bool(search.candidates) == (tokens > 0)


def test_canonical_steps() -> None:
    assert canonical("  So,  X = 3.\n\n") == canonical("so, x=3 .")
    assert canonical("x = 3") != canonical("x = 4")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12 * 7 = 84.\n\n84 + 5 = 89.", {"84", "89"}),
        ("84 + 5 = 80 + 9 = 89, as $12 * 7 = 84$", {"84", "89"}),
        ("x = 2y + 1; so \\(y = -3\\)", {"2y + 1", "- 3"}),
        ("nothing is worked out", set()),
        ("a ==\n= ", set()),
    ],
)
def test_results(text: str, found: set[str]) -> None:
    assert results(text) == found


def test_tail() -> None:
    assert tail("One two,\nTHREE", 3) == ("two", ",", "three")
    assert tail("one", 3) == ("one",)
