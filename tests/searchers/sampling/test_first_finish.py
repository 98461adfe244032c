"""First finish is short-1@n."""

from __future__ import annotations

import pytest

from reasoning import Sample, solve
from reasoning.backends.scripted import Scripted
from reasoning.testing import ToyGenerator, random_tree

MODEL = random_tree(3, depth=5)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_short_1_at_n(seed: int) -> None:
    trees = []
    for searcher, params in (("first_finish", {"n": 5}), ("short_m_at_k", {"k": 5, "m": 1})):
        result = solve(
            MODEL.problem,
            searcher=searcher,
            generator=ToyGenerator(MODEL, token_seconds=1.0),
            seed=seed,
            **params,
        )
        trees.append((result.tree.to_jsonl(), result.answer, result.usage))
        (candidate,) = result.candidates
        shortest = min(n.generated_tokens for n in result.tree if n.finished)
        assert result.tree[candidate.path].generated_tokens == shortest
        # Every stream ran until the winner ended.
        assert all(n.generated_tokens == shortest for n in result.tree)
    assert trees[0] == trees[1]


def test_nobody_finishes() -> None:
    generator = Scripted([Sample("\\boxed{1}", generated_tokens=3, finish="length")])
    result = solve("q", searcher="first_finish", n=3, generator=generator)
    assert (result.answer, result.candidates) == (None, [])
    assert result.usage.generated_tokens == 9
