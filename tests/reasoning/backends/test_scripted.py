"""The programmable fake."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.scripted import Scripted, cut, scripted, words
from reasoning.errors import GenerationError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
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
