"""The programmable fake."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.scripted import Scripted, cut, scripted, words
from reasoning.errors import GenerationError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.seeds import fold
from reasoning.testing.contracts import check_sample
from reasoning.tree import RolloutTree, Sample


def prompt(slot: int = 0) -> Prompt:
    return Prompt(Problem("p", "question"), RolloutTree("p").root, slot)


@given(st.text())
def test_words_make_up_the_text(text: str) -> None:
    assert "".join(words(text)) == text
    assert all(words(text)) or not text


@given(
    st.text("ab \n", min_size=1),
    st.integers(1, 6),
    st.lists(st.text("ab\n", min_size=1, max_size=2), max_size=2),
)
def test_cut_gives_what_a_model_would(text: str, most: int, stop: list[str]) -> None:
    params = Sampling(max_tokens=most, stop=tuple(stop))
    sample = cut(text, params)
    assert text.startswith(sample.text)
    assert sample.token_ids is not None
    assert len(sample.token_ids) == sample.generated_tokens
    if sample.finish != "length":
        check_sample(sample, params)
    if sample.finish == "end":
        assert sample.text == text


LONG = Sample(
    "one two three four",
    token_ids=(1, 2, 3, 4),
    logprobs=np.asarray([-1, -2, -3, -4], np.float32),
    generated_tokens=4,
)


@pytest.mark.parametrize(
    "reply",
    [
        "one two three\n\nfour",
        LONG,
        replace(LONG, text="abcdefghij"),
        lambda _, seed: f"so {seed} ",
    ],
    ids=["text", "sample", "text that is not its tokens", "function"],
)
@pytest.mark.parametrize("cuts", [(1, 1, 9), (3, 9), (2, 2, 9)])
def test_what_was_cut_short_goes_on(reply: Any, cuts: tuple[int, ...]) -> None:
    fake = Scripted(reply if callable(reply) else [reply])

    async def work() -> None:
        asked = prompt()
        seed = fold(asked.parent.key, asked.slot)
        whole = await fake.generate(asked, Sampling(max_tokens=99), seed=seed, meter=lambda _: None)
        begun: Sample | None = None
        for most in cuts:
            sample = await fake.generate(
                replace(asked, begun=begun),
                Sampling(max_tokens=most),
                seed=seed if begun is None else 5,
                meter=lambda _: None,
            )
            begun = sample if begun is None else begun + sample
            if sample.finish == "end":
                break
            assert (sample.finish, sample.generated_tokens) == ("length", most)
        assert begun is not None
        assert begun.to_json() == whole.to_json()

    asyncio.run(work())


def test_lists_repeat_and_functions_choose() -> None:
    async def work() -> None:
        listed = Scripted(["a", "b", Sample("c", generated_tokens=1), GenerationError("no")])
        params = Sampling(max_tokens=5)
        texts = []
        for slot in (0, 1, 2, 4):
            sample = await listed.generate(prompt(slot), params, seed=0, meter=lambda _: None)
            texts.append(sample.text)
        assert texts == ["a", "b", "c", "a"]
        with pytest.raises(GenerationError, match="no"):
            await listed.generate(prompt(3), params, seed=0, meter=lambda _: None)
        asked = Scripted(lambda prompt, seed: f"{prompt.path} {seed}")
        sample = await asked.generate(prompt(7), params, seed=9, meter=lambda _: None)
        assert sample.text == "(7,) 9"
        assert (listed.calls, listed.live) == (5, 0)

    asyncio.run(work())


def test_it_takes_its_time() -> None:
    async def work() -> None:
        fake = scripted(replies=["one two three"], delay=2.0, token_seconds=0.5)
        clock = fake.clock(Problem("p", "question"))
        metered: list[int] = []
        call = fake.generate(prompt(), Sampling(max_tokens=9), seed=1, meter=metered.append)
        await call
        assert clock.now() == 3.5
        assert sum(metered) == fake.metered == 3

    asyncio.run(work())


def test_it_fails_on_demand() -> None:
    async def work() -> None:
        fake = scripted(fail_every=2)
        params = Sampling(max_tokens=9)
        await fake.generate(prompt(), params, seed=1, meter=lambda _: None)
        with pytest.raises(GenerationError, match="told to fail"):
            await fake.generate(prompt(), params, seed=2, meter=lambda _: None)
        assert fake.live == 0

    asyncio.run(work())
