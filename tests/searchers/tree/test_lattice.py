from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reasoning.aggregators.majority import majority
from reasoning.budget import Budget
from reasoning.generate import Sampling
from reasoning.search import Search
from reasoning.testing.toys import Steps, ToyGenerator, ToyModel, markov, random_tree
from reasoning.tree import RolloutTree, Sample
from searchers.tree.lattice import States, lattice


def ordered(steps: Steps) -> dict[str, float]:
    """Two things to work out, in either order; what the answer is then is up to chance."""
    left = [s for s in ("u = 1", "v = 2") if s not in steps]
    if steps and not steps[-1].startswith(("u", "v")):
        return {}
    if left:
        return {step: 1 / len(left) for step in left}
    return {"3": 0.6, "4": 0.4}


DIAMOND = ToyModel(ordered)


def run(model: ToyModel, *, budget: Budget | None = None, seed: int = 0, **params: Any) -> Search:
    search = Search(
        model.problem,
        ToyGenerator(model),
        sampling=Sampling(max_tokens=80),
        budget=budget,
        seed=seed,
    )
    asyncio.run(lattice(search, **params))
    return search


def test_two_ways_meet_and_are_grown_once() -> None:
    """Both orders lead to one state, from which both ways count for what is found."""
    search = run(DIAMOND, expansions=20, width=6)
    ends = {n.parent for n in search.tree if n.finished}
    assert len(ends) == 1
    (merged,) = [n for n in search.tree if (n.sample.info or {}).get("merged_into")]
    (master,) = ends
    assert master is not None
    assert merged.sample.info == {"merged_into": list(master.path)}
    assert not merged.children
    assert {c.weight for c in search.candidates} == {2.0}


def test_without_merging_it_is_best_first_search() -> None:
    search = run(DIAMOND, expansions=20, width=6, merge="never")
    assert len({n.parent for n in search.tree if n.finished}) == 2
    assert {c.weight for c in search.candidates} == {1.0}
    assert not any((n.sample.info or {}).get("merged_into") for n in search.tree)


@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_is_the_same_merging_changes_nothing(seed: int) -> None:
    model = random_tree(seed, depth=4)  # its steps hold no results
    traces = [
        [(n.path, n.text, n.emitted) for n in run(model, expansions=9, merge=merge).tree]
        for merge in ("results", "never")
    ]
    assert traces[0] == traces[1]


def test_a_vote_counts_ways() -> None:
    """Two ways to 7 by one state outvote one way to 8."""
    tree = RolloutTree("p")
    nodes = [tree.add(tree.root, i, Sample(t)) for i, t in enumerate(("x = 1", "x = 1.", "x = 2"))]
    states = States(lambda n: frozenset([n.text.strip(".")]))
    assert [states.new(n) for n in nodes] == [True, False, True]
    seven, eight = (tree.add(nodes[i], 0, Sample("y", finish="end")) for i in (0, 2))
    assert (states.ways(seven), states.ways(eight)) == (2, 1)


def test_ways_multiply_along_diamonds() -> None:
    """k diamonds one after another hold 2 ** k ways, counted without walking each."""
    tree = RolloutTree("p")
    states = States(lambda n: (str(n.depth),))
    node = tree.root
    for _ in range(50):
        twins = [tree.add(node, slot, Sample("x")) for slot in range(2)]
        assert [states.new(twin) for twin in twins] == [True, False]
        node = twins[0]
    assert states.ways(node) == 2**50


def test_no_circle_is_closed() -> None:
    """A step that brings nothing new stays what follows its state."""
    tree = RolloutTree("p")
    states = States(lambda n: ("same",))
    first = tree.add(tree.root, 0, Sample("x = 1"))
    idle = tree.add(first, 0, Sample("so it is"))
    other = tree.add(tree.root, 1, Sample("x = 1"))
    assert [states.new(n) for n in (first, idle, other)] == [True, True, False]
    assert states.ways(idle) == 2


def test_the_likeliest_goes_first_and_to_its_end() -> None:
    model = markov({"": {"a": 0.9, "b": 0.1}, "a": {"1": 1.0}, "b": {"c": 1.0}, "c": {"2": 1.0}})
    search = run(model, expansions=2, width=8)
    assert [c.answer.key for c in search.candidates if c.answer] == ["1"] * 8
    search = run(model, expansions=4, width=8, seed=1)
    chosen = majority(search.candidates)
    assert chosen is not None


@pytest.mark.parametrize("tokens", [0, 1, 5, 11])
def test_short_budgets(tokens: int) -> None:
    search = run(DIAMOND, expansions=20, width=3, budget=Budget(tokens))
    assert search.usage.generated_tokens <= tokens
    assert bool(search.candidates) == (tokens > 0)
