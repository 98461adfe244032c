"""Answers of thoughts that are cut short."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning import Result, Sampling, solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt


def thinker(prompt: Prompt, seed: int) -> str:
    """Two thoughts, and as many in its answer as it could read."""
    if "</think>" in prompt.text:
        return f" \\boxed{{{prompt.text.count('thought')}}}"
    return " a thought and a thought</think> \\boxed{2}"


def cut(tokens: int, **params: Any) -> Result:
    return solve(
        "q", searcher="truncated_answer", tokens=tokens, generator=Scripted(thinker), **params
    )


@pytest.mark.parametrize(("tokens", "answer"), [(0, "0"), (1, "0"), (2, "1"), (4, "1"), (5, "2")])
def test_the_curve(tokens: int, answer: str) -> None:
    result = cut(tokens)
    assert result.answer == answer
    assert result.usage.generated_tokens == tokens + 1


@pytest.mark.parametrize("tokens", [6, 7, 1000])
def test_beyond_its_length_a_thought_keeps_its_own_answer(tokens: int) -> None:
    plain = solve("q", searcher="sample", generator=Scripted(thinker))
    assert cut(tokens).tree.to_jsonl() == plain.tree.to_jsonl()


def test_as_far_as_a_solution_may_go_it_is_the_plain_one() -> None:
    sampling = Sampling(max_tokens=3)
    plain = solve("q", searcher="sample", generator=Scripted(thinker), sampling=sampling)
    assert cut(3, sampling=sampling).tree.to_jsonl() == plain.tree.to_jsonl()


def test_the_answer_is_greedy_where_the_thought_was_cut() -> None:
    seen: list[tuple[str, float]] = []

    class Watched(Scripted):
        def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Any:
            seen.append((prompt.text, params.temperature))
            return super().reply(prompt, params, seed)

    solve("q", searcher="truncated_answer", tokens=2, generator=Watched(thinker))
    assert seen == [("", 1.0), (" a thought\n</think>\n\n", 0.0)]


def test_nano_answers_after_a_few_tokens() -> None:
    result = solve(
        "What is 12 + 5?",
        searcher="truncated_answer",
        tokens=8,
        end="The answer is",
        generator="nano",
        sampling=Sampling(max_tokens=40),
    )
    (candidate,) = result.candidates
    assert "The answer is" in result.tree[candidate.path].text
    assert len(result.tree) >= 1
