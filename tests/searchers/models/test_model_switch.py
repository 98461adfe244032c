"""ModelSwitch: whose samples agree, and who votes."""

from __future__ import annotations

import asyncio

import pytest

from reasoning import solve
from reasoning.backends.scripted import Scripted
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.models.model_switch import model_switch

MODEL = random_tree(3, depth=5)


def asked(replies: dict[str, list[str]], **params: float) -> list[str]:
    """The models of all samples, in their order."""
    models = {name: Scripted([f"\\boxed{{{r}}}" for r in said]) for name, said in replies.items()}
    s = Search(Problem("p", "q"), Scripted([]), models=models)
    k = len(next(iter(replies.values())))
    asyncio.run(model_switch(s, order=tuple(replies), k=k, **params))  # type: ignore[arg-type]
    assert len(s.candidates) == len(s.tree)
    return list(dict.fromkeys(node.sample.model for node in s.tree))


@pytest.mark.parametrize("k", [1, 4])
def test_one_model_is_self_consistency(k: int) -> None:
    trees = []
    for searcher, params in (
        ("model_switch", {"order": [""], "k": k}),
        ("self_consistency", {"n": k}),
    ):
        result = solve(MODEL.problem, searcher=searcher, generator=ToyGenerator(MODEL), **params)
        trees.append((result.tree.to_jsonl(), result.answer, result.usage))
    assert trees[0] == trees[1]


def test_those_who_agree_are_believed() -> None:
    assert asked({"a": ["1"] * 3, "b": ["2"] * 3}) == ["a"]
    assert asked({"a": ["1", "1", "2"], "b": ["2"] * 3, "c": ["3"] * 3}) == ["a", "b"]


def test_answers_that_mean_the_same_agree() -> None:
    assert asked({"a": ["0.5", "\\frac{1}{2}", "1/2"], "b": ["2"] * 3}) == ["a"]


@pytest.mark.parametrize(("threshold", "models"), [(0.6, ["a"]), (0.61, ["a", "b"])])
def test_the_threshold_is_a_share_of_all_samples(threshold: float, models: list[str]) -> None:
    replies = {"a": ["1", "1", "1", "", "2"], "b": ["2"] * 5}
    assert asked(replies, threshold=threshold) == models


def test_the_vote_is_over_all_who_were_asked() -> None:
    models = {"a": Scripted(["\\boxed{1}", "\\boxed{2}"]), "b": Scripted(["\\boxed{2}"])}
    s = Search(Problem("p", "q"), Scripted([]), models=models)
    asyncio.run(model_switch(s, order=("a", "b"), k=2))
    assert [c.answer.text for c in s.candidates if c.answer] == ["1", "2", "2", "2"]
