"""Fractured sampling: thoughts, cuts and answers."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning import Result, Sampling, solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.testing import ToyGenerator, random_tree

MODEL = random_tree(3, depth=5)


def thinker(prompt: Prompt, seed: int) -> str:
    """Four words of thought; the answer is how many of them it read, or its own."""
    if "</think>" in prompt.text:
        return f"\\boxed{{{len(prompt.text.partition('</think>')[0].split())}}}"
    return "one two three four</think> \\boxed{9}"


def fractured(**params: Any) -> Result:
    return solve("q", searcher="fractured", generator=Scripted(thinker), **params)


@pytest.mark.parametrize("n", [1, 4])
def test_one_depth_and_one_answer_is_sampling(n: int) -> None:
    trees = []
    for searcher, params in (("fractured", {"depths": 1, "m": 1}), ("self_consistency", {})):
        result = solve(
            MODEL.problem, searcher=searcher, n=n, generator=ToyGenerator(MODEL), **params
        )
        trees.append((result.tree.to_jsonl(), result.answer, result.usage))
    assert trees[0] == trees[1]


def test_answers_after_every_cut() -> None:
    result = fractured(n=2, depths=4, m=3)
    answers = [c.answer.text for c in result.candidates if c.answer]
    each = ["9", *("1" * 3), *("2" * 3), *("3" * 3), *("4" * 2)]  # its own is one of the last three
    assert answers == each * 2
    assert result.usage.generated_tokens == 2 * (5 + 11)
    assert result.usage.critical_tokens == 6


def test_a_thought_that_did_not_end_is_ended() -> None:
    result = fractured(depths=2, m=2, sampling=Sampling(max_tokens=4), answer_tokens=1)
    texts = [result.tree[c.path].text for c in result.candidates]
    assert texts == [
        "one two three four</think>",
        *["one two\n</think>\n\n\\boxed{2}"] * 2,
        "one two three four\n</think>\n\n\\boxed{4}",
    ]


def test_a_solution_without_a_thought_is_not_answered_again() -> None:
    """Its beginnings are gone on from."""
    generator = Scripted(["So it is \\boxed{3}"])
    result = solve("q", searcher="fractured", depths=2, m=2, end="", generator=generator)
    texts = [result.tree[c.path].text for c in result.candidates]
    assert texts == ["So it is \\boxed{3}", *["So itSo it is \\boxed{3}"] * 2]


def test_nano_goes_on_from_its_beginnings() -> None:
    result = solve(
        "What is 12 + 5?",
        searcher="fractured",
        depths=3,
        end="",
        generator="nano",
        sampling=Sampling(max_tokens=60),
    )
    assert len(result.candidates) == 3
    whole, *others = [result.tree[c.path] for c in result.candidates]
    for node in others:
        assert node.parent is not None
        assert whole.text.startswith(node.parent.sample.text)
