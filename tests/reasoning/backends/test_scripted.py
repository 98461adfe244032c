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
from reasoning.errors import GenerationError, RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
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


async def said(fake: Scripted, slot: int = 0, seed: int = 1, **fields: Any) -> Sample:
    params = Sampling(**{"max_tokens": 9, **fields})
    fake.refuse(params)
    return await fake.generate(prompt(slot), params, seed=seed, meter=lambda _: None)


def test_what_it_can_do_of_sampling() -> None:
    async def work() -> None:
        fake = Scripted(["one two. three", "yes"])
        assert {(await said(fake, seed=i, choice=("yes", "no"))).text for i in range(9)} == {
            "yes",
            "no",
        }
        assert (await said(fake, 1, choice=("yes", "no"))).text == "yes", "as it is told"
        assert (await said(fake, stop=(".",))).text == "one two."
        longer = await said(fake, stop=(".",), min_tokens=2)
        assert (longer.text, longer.finish) == ("one two. three", "end")
        longer = await said(fake, min_tokens=5)
        assert (longer.text, longer.generated_tokens) == ("one two. three more more", 5)
        tops = (await said(fake, top_logprobs=3)).top_logprobs
        assert tops is not None
        assert [row[0] for row in tops.texts] == ["one", " two.", " three"]
        assert (np.exp(tops.logprobs).sum(axis=1) <= 1 + 1e-5).all()
        assert (np.diff(tops.logprobs, axis=1) <= 0).all()

    asyncio.run(work())


@pytest.mark.parametrize(
    "field",
    [{"min_p": 0.1}, {"logit_bias": {"a": 1.0}}, {"presence_penalty": 1.0}, {"regex": "a+"}],
    ids=lambda field: next(iter(field)),
)
def test_what_it_cannot_do_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=f"sampling.{next(iter(field))} .*generator scripted"):
        scripted().refuse(Sampling(max_tokens=9, **field))


def test_a_probe_is_seen_by_the_script() -> None:
    fake = Scripted(lambda asked, _: "yes" if asked.text.endswith("right?") else "no")
    found = Search(Problem("p", "q"), fake)

    async def work() -> None:
        path = found.write(found.root, "It is 4.")
        probe = await found.probe(path, " Is that right?")
        assert probe is not None
        assert (probe.sample.text, probe.sample.finish) == ("yes", "probe")
        drawn = await found.draw(path)
        assert drawn is not None
        assert drawn.sample.text == "no"

    asyncio.run(work())
