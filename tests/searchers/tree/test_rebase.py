from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.budget import Budget
from reasoning.errors import VerificationError
from reasoning.generate import Sampling
from reasoning.search import Search
from reasoning.testing.toys import ToyGenerator, ToyModel, ToyVerifier, markov, noisy, random_tree
from reasoning.tree import Node
from searchers.kernels.allocate import softmax_shares
from searchers.tree.rebase import rebase


def run(
    model: ToyModel,
    *,
    verifier: ToyVerifier | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    max_tokens: int = 100,
    **params: Any,
) -> Search:
    search = Search(
        model.problem,
        ToyGenerator(model),
        verifier=verifier or ToyVerifier(model),
        sampling=Sampling(max_tokens=max_tokens),
        budget=budget,
        seed=seed,
    )
    asyncio.run(rebase(search, **params))
    return search


def level(search: Search, depth: int) -> list[Node]:
    return [node for node in search.tree if node.depth == depth]


@settings(max_examples=25)
@given(st.integers(0, 100), st.integers(1, 12), st.sampled_from([0.1, 0.2, 1.0]))
def test_every_level_is_shared_out_by_the_published_rule(
    seed: int, width: int, temperature: float
) -> None:
    model = random_tree(seed, depth=5)
    verifier = ToyVerifier(model, noisy(model.value, seed=seed, scale=0.2))
    search = run(model, verifier=verifier, seed=seed, width=width, balance_temperature=temperature)
    assert len(level(search, 1)) == width
    remaining = width
    for depth in range(1, 6):
        nodes = level(search, depth)
        remaining -= sum(node.finished for node in nodes)
        growing = [node for node in nodes if not node.finished]
        scores = [node.step_scores("toy")[-1] for node in growing]
        expected = softmax_shares(_array(scores), remaining, temperature)
        assert [len(node.children) for node in growing] == expected.tolist()
        assert len(level(search, depth + 1)) == (remaining if growing else 0)


def _array(items: list[float]) -> Any:
    import numpy as np

    return np.array(items, dtype=float)


def test_a_path_that_ends_takes_width_with_it_for_good() -> None:
    model = markov({"": {"a": 1.0}, "a": {"a": 0.5, "1": 0.5}})
    search = run(model, verifier=ToyVerifier(model, lambda _: 0.5), width=8)
    widths = [len(level(search, depth)) for depth in range(1, 10)]
    ends = [sum(node.finished for node in level(search, depth)) for depth in range(1, 10)]
    assert widths[0] == 8
    for depth in range(1, 9):
        assert widths[depth] == widths[depth - 1] - ends[depth - 1]
    assert sum(ends) == 8 == len(search.candidates)


def test_a_path_that_is_cut_off_takes_width_too() -> None:
    model = markov({"": {"a": 0.5, "a b c d": 0.5}, "a": {"1": 1.0}, "a b c d": {"2": 1.0}})
    search = run(model, width=6, max_tokens=4)
    cut = [node for node in level(search, 1) if node.generated_tokens == 4]
    assert 0 < len(cut) < 6
    assert len(level(search, 2)) == 6 - len(cut)
    assert not any(node.children for node in cut)


def test_the_token_limit_holds_for_the_whole_path() -> None:
    model = markov({"": {"a b": 1.0}, "a b": {"a b": 1.0}})
    search = run(model, verifier=ToyVerifier(model, lambda _: 0.5), width=2, max_tokens=5)
    assert max(node.generated_tokens for node in search.tree) == 5


def test_depth_is_capped() -> None:
    model = markov({"": {"a": 1.0}, "a": {"a": 1.0}})
    verifier = ToyVerifier(model, lambda _: 0.5)
    search = run(model, verifier=verifier, width=2, max_steps=3)
    assert max(node.depth for node in search.tree) == 3
    assert [c.path for c in search.candidates] == [(0, 0, 0)]  # the best of those cut off
    assert max(node.depth for node in run(model, verifier=verifier, width=1).tree) == 25


def test_equal_scores_share_equally() -> None:
    model = markov({"": {"a": 1.0}, "a": {"b": 1.0}, "b": {"1": 1.0}})
    search = run(model, verifier=ToyVerifier(model, lambda _: 0.5), width=5)
    assert [len(node.children) for node in level(search, 1)] == [1] * 5


def test_failing_verifiers() -> None:
    model = random_tree(2, depth=4)

    def all_fail(_: Node) -> Exception | None:
        return VerificationError("no")

    def first_fails(node: Node) -> Exception | None:
        return VerificationError("no") if node.path == (0,) else None

    blind = run(model, verifier=ToyVerifier(model, failure=all_fail), width=6)
    assert blind.candidates
    model = markov({"": {"a": 1.0}, "a": {"1": 1.0}})
    search = run(model, verifier=ToyVerifier(model, failure=first_fails), width=4)
    assert [len(node.children) for node in level(search, 1)] == [0, 2, 1, 1]


def test_merged_siblings_leave_the_whole_width_to_the_others() -> None:
    model = markov({"": {"a": 1.0}, "a": {"1": 0.5, "2": 0.5}})
    search = run(model, width=5, merge_duplicates=True)
    assert [len(node.children) for node in level(search, 1)] == [5, 0, 0, 0, 0]
    assert sum(c.weight for c in search.candidates) == len({c.answer for c in search.candidates})


@pytest.mark.parametrize("tokens", [0, 1, 7, 11])
def test_short_budgets(tokens: int) -> None:
    model = markov({"": {"a b": 1.0}, "a b": {"1": 1.0}})
    search = run(model, width=4, budget=Budget(tokens))
    assert search.usage.generated_tokens == tokens
    assert len([n for n in search.tree if n.finished]) == max(0, tokens - 8)
    assert bool(search.candidates) == (tokens > 0)


def test_answers_are_weighted_by_default() -> None:
    from reasoning.runs.names import default_aggregator

    assert default_aggregator(rebase) == "weighted_majority"
