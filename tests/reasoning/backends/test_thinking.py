"""Thinking within a budget, over the scripted generator: words are tokens."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reasoning.backends.scripted import Scripted, scripted
from reasoning.backends.thinking import Thinking
from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.testing.contracts import check_accounts
from reasoning.testing.generator_contract import check_generator, check_sample
from reasoning.tree import RolloutTree, Sample

PROBLEM = Problem("p", "question")
THOUGHT = "a b c d e f </think> the answer is \\boxed{7}"


class Model(Scripted):
    """Goes on with `text` from wherever the path is in it; a word is a token with an id."""

    def __init__(self, text: str, *, tells: bool = True) -> None:
        super().__init__(self._rest)
        self.words = text.split(" ")
        self.tells = tells
        self.prompts: list[str] = []

    def _rest(self, prompt: Prompt, seed: int) -> str:
        self.prompts.append(prompt.text)
        head, end, tail = prompt.text.partition("</think>")
        if end:  # it answers, whether it had finished its thoughts or not
            said = len(tail.split())
            return " " + " ".join(self.words[self.words.index("</think>") + 1 + said :])
        said = len(head.split())
        return (" " if said else "") + " ".join(self.words[said:])

    async def encode(self, text: str) -> list[int]:
        return list(range(len(text.split())))

    def __getattribute__(self, name: str) -> Any:
        if name == "encode" and not self.tells:
            raise AttributeError(name)
        return super().__getattribute__(name)

    async def generate(self, prompt: Prompt, params: Sampling, **more: Any) -> Sample:
        sample = await super().generate(prompt, params, **more)
        if not self.tells:
            return sample
        n = sample.generated_tokens
        return replace(
            sample,
            token_ids=tuple(range(n)),
            logprobs=np.full(n, -1, np.float32),
            confidence=np.full(n, 5, np.float32),
            prompt_tokens=10,
        )


def draw(
    model: Scripted, tokens: int, *, most: int = 100, stop: Sequence[str] = ()
) -> tuple[Sample, int]:
    """One call from the root, and what it metered."""
    metered: list[int] = []
    params = Sampling(max_tokens=most, stop=tuple(stop))
    sample = asyncio.run(
        Thinking(model, tokens).generate(
            Prompt(PROBLEM, RolloutTree("p").root, 0), params, seed=1, meter=metered.append
        )
    )
    check_sample(sample, params)
    assert sum(metered) == sample.generated_tokens
    return sample, sum(metered)


def test_thinking_that_ends_in_time_is_left_alone() -> None:
    sample, metered = draw(Model(THOUGHT), 7)
    assert (sample.text, sample.finish) == (THOUGHT, "end")
    assert metered == len(THOUGHT.split())
    assert sample.prompt_tokens == 20  # of both calls
    assert not sample.info


def test_thinking_that_takes_too_long_is_cut_and_answered() -> None:
    sample, _ = draw(Model(THOUGHT), 4)
    assert sample.text == "a b c d\n</think>\n\n the answer is \\boxed{7}"
    assert sample.finish == "end"
    assert sample.generated_tokens == 4 + 1 + 4
    assert sample.info == {"thinking_cut": True}
    assert sample.token_ids is not None
    assert sample.logprobs is not None
    assert sample.logprobs.tolist() == [-1] * 4 + [0] + [-1] * 4
    assert sample.confidence is not None
    assert sample.confidence.tolist() == [5] * 9


def test_where_tokens_are_hidden_only_what_was_generated_counts() -> None:
    sample, _ = draw(Model(THOUGHT, tells=False), 4)
    assert sample.text == "a b c d\n</think>\n\n the answer is \\boxed{7}"
    assert sample.token_ids is None
    assert sample.generated_tokens == 8


@pytest.mark.parametrize(
    ("most", "text"),
    [
        (3, "a b c"),  # the call's limit comes first
        (4, "a b c d"),  # no room for the mark
        (5, "a b c d\n</think>\n\n"),  # none for the answer
        (7, "a b c d\n</think>\n\n the answer"),
    ],
)
def test_the_limit_of_the_call_holds(most: int, text: str) -> None:
    sample, metered = draw(Model(THOUGHT), 4, most=most)
    assert (sample.text, sample.finish) == (text, "length")
    assert metered <= most


def test_a_model_that_does_not_think_is_left_alone() -> None:
    sample, _ = draw(Model("so 7"), 7)
    assert (sample.text, sample.finish) == ("so 7", "end")


def test_steps_are_thought_one_after_the_other_within_one_budget() -> None:
    model = Model("a b\n\nc d\n\ne f\n\ng h </think> so 7".replace("\n\n", "\n\n "))
    search = Search(
        PROBLEM,
        Thinking(model, 7),
        sampling=Sampling(max_tokens=40),
        step=Step(max_tokens=20),
    )

    async def work() -> list[str]:
        texts, node = [], search.root
        while not node.finished:
            child = await search.extend(node, 0)
            assert child is not None
            texts.append(child.sample.text)
            node = child
        return texts

    texts = asyncio.run(work())
    check_accounts(search)
    assert texts == ["a b\n\n", " c d\n\n", " e\n</think>\n\n", " so 7"]


def test_a_refinement_thinks_anew() -> None:
    model = Model(THOUGHT)
    search = Search(PROBLEM, Thinking(model, 4), sampling=Sampling(max_tokens=40))

    async def work() -> None:
        node = await search.extend(search.root, 0, until="end")
        assert node is not None
        again = await search.extend(node, 0, until="end", message="look again")
        assert again is not None
        assert again.text == node.text

    asyncio.run(work())
    assert model.prompts == ["", "a b c d\n</think>\n\n"] * 2
    check_accounts(search)


def test_all_else_is_the_generators() -> None:
    model = Model(THOUGHT)
    thinking = Thinking(model, 4)
    assert thinking.words is model.words
    assert hasattr(thinking, "score_text") == hasattr(model, "score_text")
    assert not hasattr(thinking, "no_such_thing")
    assert copy.copy(thinking).generator is model


@pytest.mark.parametrize(("tokens", "end"), [(0, "</think>"), (5, "")])
def test_mistakes(tokens: int, end: str) -> None:
    with pytest.raises(RecipeError, match="thinking_tokens"):
        Thinking(Model(THOUGHT), tokens, end)


def test_contract() -> None:
    check_generator(lambda: Thinking(scripted(), 2), streams=False)
