from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning.budget import Budget
from reasoning.generate import Sampling
from reasoning.search import Search
from reasoning.testing.toys import (
    Steps,
    ToyGenerator,
    ToyModel,
    ToyVerifier,
    markov,
    random_tree,
    shuffled_delays,
)
from reasoning.tree import Node
from searchers.tree.beam_search import beam_search
from searchers.tree.dvts import dvts


def run(
    model: ToyModel,
    *,
    verifier: ToyVerifier | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    delays: int | None = None,
    **params: Any,
) -> Search:
    delay = None if delays is None else shuffled_delays(delays)
    search = Search(
        model.problem,
        source := ToyGenerator(model, delay=delay),
        verifier=verifier or ToyVerifier(model),
        sampling=Sampling(max_tokens=100),
        budget=budget,
        seed=seed,
    )
    search.clock = source.clock(model.problem)
    asyncio.run(dvts(search, **params))
    return search


def subtree(node: Node, expansions: int) -> int:
    """Which subtree a node belongs to, told from its first step's slot."""
    return node.path[0] // expansions


def test_one_subtree_is_beam_search_of_width_one() -> None:
    model = random_tree(3, depth=5)
    one = run(model, subtrees=1, expansions=3)
    other = Search(model.problem, ToyGenerator(model), verifier=ToyVerifier(model), seed=0,
                   sampling=Sampling(max_tokens=100))  # fmt: skip
    asyncio.run(beam_search(other, width=1, expansions=3))
    assert one.tree.to_jsonl() == other.tree.to_jsonl()


@pytest.mark.parametrize("seed", range(6))
def test_each_subtree_follows_its_own_best_step(seed: int) -> None:
    model = random_tree(seed, depth=4)
    search = run(model, subtrees=3, expansions=2, seed=seed)
    for number in range(3):
        children = [n for n in search.root.children if subtree(n, 2) == number]
        while children:
            best = max(children, key=lambda n: (n.step_scores("toy")[-1], [-i for i in n.path]))
            assert all(not n.children for n in children if n is not best)
            assert bool(best.children) == (not best.finished)
            children = best.children


def test_subtrees_are_never_compared() -> None:
    """What one subtree scores has no influence on what another one grows."""
    model = random_tree(5, depth=4)

    plain = run(model, subtrees=3, expansions=2)
    before = [n.path for n in plain.tree if subtree(n, 2) > 0]
    hidden = {n.text for n in plain.tree if subtree(n, 2) == 0}
    other = {n.text for n in plain.tree if subtree(n, 2) > 0}
    for worth in (0.0, 1.0):

        def value(steps: Steps, worth: float = worth) -> float:
            text = model.text(steps)
            return worth if text in hidden - other else model.value(steps)

        search = run(model, verifier=ToyVerifier(model, value), subtrees=3, expansions=2)
        assert [n.path for n in search.tree if subtree(n, 2) > 0] == before


def test_subtrees_run_ahead_and_still_agree() -> None:
    model = random_tree(7, depth=5)
    traces = {
        run(
            model, subtrees=3, expansions=2, lookahead=1, delays=delays, budget=Budget(40)
        ).tree.to_jsonl()
        for delays in range(6)
    }
    assert len(traces) == 1


def test_subtrees_split_the_budget() -> None:
    model = markov({"": {"a": 1.0}, "a": {"a": 1.0}})  # never ends
    verifier = ToyVerifier(model, lambda _: 0.5)
    search = run(model, verifier=verifier, subtrees=4, expansions=1, budget=Budget(10))
    tokens = [
        sum(n.sample.generated_tokens for n in search.tree if n.path[0] == i) for i in range(4)
    ]
    assert tokens == [3, 3, 2, 2]
    assert search.budget.exhausted == "tokens"


def test_all_ends_of_the_last_step_are_candidates() -> None:
    model = markov({"": {"1": 0.5, "2": 0.5}})
    search = run(model, subtrees=3, expansions=4)
    assert [c.path for c in search.candidates] == [(i,) for i in range(12)]


def test_the_best_path_is_put_forward_where_no_subtree_ends() -> None:
    """One that has an end in one subtree needs no stopgaps from the others."""
    model = markov({"": {"1": 0.5, "a": 0.5}, "a": {"a": 1.0}})
    verifier = ToyVerifier(model, lambda steps: 0.9 if steps[0] == "a" else 0.1)
    search = run(model, verifier=verifier, subtrees=6, expansions=1, max_steps=3)
    ends = [node.path for node in search.tree if node.finished]
    assert 0 < len(ends) < 6
    assert [c.path for c in search.candidates] == ends
    endless = run(markov({"": {"a": 1.0}, "a": {"a": 1.0}}), subtrees=2, expansions=1, max_steps=3)
    assert [(c.path, c.answer) for c in endless.candidates] == [((0, 0, 0), None)]


def test_lookahead_changes_the_choice() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"x": 1.0}, "b": {"y": 1.0}, "x": {"0": 1.0},
                    "y": {"1": 1.0}})  # fmt: skip
    values = {"a": 0.9, "b": 0.8, "x": 0.1, "y": 0.7, "0": 0.0, "1": 1.0}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    setting: dict[str, Any] = {"verifier": verifier, "subtrees": 2, "expansions": 8}
    blind, seeing = run(model, **setting), run(model, lookahead=1, **setting)
    assert {c.answer.text for c in blind.candidates if c.answer} == {"0"}
    assert {c.answer.text for c in seeing.candidates if c.answer} == {"1"}


def test_merging_leaves_one_of_equal_siblings() -> None:
    model = markov({"": {"1": 1.0}})
    search = run(model, subtrees=2, expansions=3, merge_duplicates=True)
    assert [c.weight for c in search.candidates] == [1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("tokens", [0, 1])
def test_next_to_no_tokens(tokens: int) -> None:
    search = run(random_tree(0), subtrees=3, expansions=2, budget=Budget(tokens))
    assert search.usage.generated_tokens == tokens
    assert len(search.candidates) <= tokens
