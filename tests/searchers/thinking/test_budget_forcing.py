"""Budget forcing: thoughts held open, and closed."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning import Result, Sampling, solve
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt
from reasoning.testing import ToyGenerator, random_tree
from reasoning.thinking import Thinking

MODEL = random_tree(3, depth=5)


def thinker(prompt: Prompt, seed: int) -> str:
    """Thinks the next of four thoughts, then ends its thinking and answers with their number."""
    text = prompt.text
    if "</think>" in text:
        return f" \\boxed{{{text.count('thought')}}}"
    return f" thought one</think> \\boxed{{{text.count('thought') + 1}}}"


def forced(**params: Any) -> Result:
    generator = params.pop("generator", None) or Scripted(thinker)
    return solve("q", searcher="budget_forcing", generator=generator, **params)


@pytest.mark.parametrize("tokens", [4, 9, 1000])
@pytest.mark.parametrize("n", [1, 3])
def test_without_waits_it_is_self_consistency(n: int, tokens: int) -> None:
    trees = []
    for searcher, params in (("budget_forcing", {"waits": 0}), ("self_consistency", {})):
        generator = ToyGenerator(MODEL)
        sampling = Sampling(max_tokens=tokens)
        result = solve(
            MODEL.problem, searcher=searcher, generator=generator, n=n, sampling=sampling, **params
        )
        trees.append((result.tree.to_jsonl(), result.answer, result.usage))
    assert trees[0] == trees[1]


@pytest.mark.parametrize("waits", range(4))
def test_each_wait_takes_the_place_of_an_end(waits: int) -> None:
    result = forced(waits=waits)
    (candidate,) = result.candidates
    text = result.tree[candidate.path].text
    thoughts = "Wait".join([" thought one"] * (waits + 1))
    assert text == f"{thoughts}</think> \\boxed{{{waits + 1}}}"
    assert result.answer == str(waits + 1)
    assert result.usage.calls == waits + 1
    assert result.usage.generated_tokens == 2 * waits + 3


def test_a_thought_that_is_too_long_is_ended() -> None:
    """Two thoughts have four tokens; the third does not begin, but the answer does."""
    result = forced(waits=8, thinking_tokens=4)
    (candidate,) = result.candidates
    text = result.tree[candidate.path].text
    assert text == " thought oneWait thought oneWait\n</think>\n\n \\boxed{2}"
    assert result.usage.generated_tokens == 5


def test_a_thought_is_cut_in_its_midst() -> None:
    result = forced(waits=8, thinking_tokens=3)
    (candidate,) = result.candidates
    text = result.tree[candidate.path].text
    assert text == " thought oneWait thought\n</think>\n\n \\boxed{2}"


def test_the_bound_is_the_generators_own() -> None:
    class Bounded(Scripted):
        @property
        def thinking(self) -> Thinking:
            return Thinking(3)

    given, own = forced(waits=8, thinking_tokens=3), forced(waits=8, generator=Bounded(thinker))
    assert own.tree.to_jsonl() == given.tree.to_jsonl()


def test_one_that_does_not_think_just_answers() -> None:
    result = forced(generator=Scripted(["It is \\boxed{4}"]), waits=3, thinking_tokens=9)
    assert (result.answer, result.usage.calls, len(result.tree)) == ("4", 1, 1)


def test_max_tokens_hold_for_all_of_it() -> None:
    for most in range(1, 12):
        result = forced(waits=3, sampling=Sampling(max_tokens=most))
        assert result.usage.generated_tokens <= most
        assert len(result.candidates) == 1


def test_nano_waits_before_it_answers() -> None:
    result = solve(
        "What is 12 + 5?",
        searcher="budget_forcing",
        generator="nano",
        end="The answer is",
        wait="Wait",
        sampling=Sampling(max_tokens=120, temperature=0.0),
    )
    (candidate,) = result.candidates
    thought, _, rest = result.tree[candidate.path].text.partition("Wait")
    assert thought
    assert rest
    assert "The answer is" not in thought
