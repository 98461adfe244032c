"""Which fields of sampling a server knows, and that none is left to its own defaults."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest

from reasoning.backends.openai import OpenAI, openai
from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.sampled import confidence
from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.session import start
from reasoning.testing import http_model
from reasoning.testing.hand_clock import HandClock
from reasoning.testing.http_server import (
    CHAT,
    LLAMA,
    PLAIN_CHAT,
    TEXT,
    VLLM,
    Flavour,
    serving,
)
from reasoning.tree import RolloutTree, Sample

T = TypeVar("T")
PROBLEM = Problem("p", "What is 3 + 4?")
VLLMS = {"top_k", "min_p", "min_tokens", "repetition_penalty", "logit_bias"}
VLLMS |= {"top_p", "presence_penalty", "frequency_penalty", "choice", "regex", "json_schema"}
OFF = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "min_tokens": 0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 120))


async def draw(generator: OpenAI, *, seed: int = 1, **params: Any) -> Sample:
    sampling = Sampling(**{"max_tokens": 24, **params})
    prompt = Prompt(PROBLEM, RolloutTree("p").root, 0)
    return await generator.generate(prompt, sampling, seed=seed, meter=lambda _: None)


def plain_fields(*names: str) -> dict[str, float]:
    return {name: OFF[name] for name in names}


LIKE_LLAMA = {**plain_fields("top_p", "top_k", "min_p"), "repeat_penalty": 1.0}
LIKE_LLAMA |= plain_fields("presence_penalty", "frequency_penalty")


@pytest.mark.parametrize(
    ("flavour", "off", "knows"),
    [
        (VLLM, OFF, VLLMS),
        (CHAT, OFF, VLLMS),
        (
            TEXT,
            plain_fields("top_p", "presence_penalty", "frequency_penalty"),
            {"top_p", "presence_penalty", "frequency_penalty", "logit_bias"},
        ),
        (
            PLAIN_CHAT,
            plain_fields("top_p", "presence_penalty", "frequency_penalty"),
            {"top_p", "presence_penalty", "frequency_penalty", "logit_bias"},
        ),
        # It ignores nonsense: what it knows is told by what it does. min_tokens is sent in vain.
        (
            LLAMA,
            LIKE_LLAMA | {"min_tokens": 0},
            {"top_k", "min_p", "repetition_penalty"}
            | {"top_p", "presence_penalty", "frequency_penalty"},
        ),
        # Everything is ignored but what OpenAI has.
        (
            Flavour(tokens=False, extended=False, fields=frozenset({"top_p"})),
            OFF | {"repeat_penalty": 1.0},
            {"top_p", "presence_penalty", "frequency_penalty"},
        ),
    ],
    ids=["vllm", "vllm chat", "strict", "strict chat", "llama.cpp", "careless"],
)
def test_what_is_known_is_found_out_by_asking(
    flavour: Flavour, off: Mapping[str, float], knows: set[str]
) -> None:
    with serving(flavour) as server:
        able = run(openai(base_url=server.url).abilities())
        assert dict(able.off) == off
        assert able.knows == knows
        assert not server.counts["calls"]


@pytest.mark.parametrize("flavour", [VLLM, CHAT, LLAMA], ids=["vllm", "chat", "llama.cpp"])
def test_a_servers_defaults_never_decide(flavour: Flavour) -> None:
    """A checkpoint that ships top_k 1 makes every answer the greedy one, unless it is told."""
    own = {"top_k": 1, "top_p": 0.5, "min_p": 0.9, "presence_penalty": 2.0}
    texts = []
    for defaults in ({}, own):
        with serving(replace(flavour, defaults=defaults)) as server:
            generator = openai(base_url=server.url)
            texts.append([run(draw(generator, seed=seed)).text for seed in range(6)])
            for name, value in run(generator.abilities()).off.items():
                assert server.seen[-1].body[name] == value
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


@pytest.mark.parametrize("flavour", [VLLM, LLAMA], ids=["vllm", "llama.cpp"])
def test_a_field_does_what_it_says(flavour: Flavour) -> None:
    with serving(flavour) as server:
        generator = openai(base_url=server.url)
        greedy = run(draw(generator, temperature=0.0)).text
        for bound in ({"top_k": 1}, {"min_p": 1.0}):
            assert run(draw(generator, **bound)).text == greedy
        run(draw(generator, repetition_penalty=1.5, presence_penalty=0.5, frequency_penalty=0.25))
        body = server.seen[-1].body
        name = "repetition_penalty" if flavour is VLLM else "repeat_penalty"
        assert (body[name], body["presence_penalty"], body["frequency_penalty"]) == (1.5, 0.5, 0.25)


def test_forms_and_shortest_answers() -> None:
    with serving() as server:
        generator = openai(base_url=server.url)
        assert run(draw(generator, choice=("no", "yes"))).text == "no"
        assert run(draw(generator, regex="no")).text == "no"
        schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
        assert run(draw(generator, json_schema=schema)).text == '{"x": 7}'
        assert server.seen[-1].body["structured_outputs"] == {"json": schema}
        sizes = [run(draw(generator, seed=s, min_tokens=20)).generated_tokens for s in range(6)]
        assert min(sizes) >= 20
    fields = frozenset({"response_format"})
    with serving(replace(CHAT, extended=False, fields=fields)) as server:
        generator = openai(base_url=server.url)
        assert run(draw(generator, json_schema=schema)).text == '{"x": 7}'
        with pytest.raises(RecipeError, match=r"sampling.choice is .* leave it out"):
            run(draw(generator, choice=("no",)))


def test_biases_by_id_and_by_text() -> None:
    bias: dict[int | str, float] = {http_model.END: 50.0}
    with serving() as server:
        generator = openai(base_url=server.url)
        assert run(draw(generator, logit_bias=bias)).generated_tokens == 1
        assert run(draw(generator, logit_bias={"seven": 50.0})).text.startswith("sevenseven")
        assert server.seen[-1].body["logit_bias"] == {"260": 50.0}
        before = server.counts["calls"]
        with pytest.raises(RecipeError, match=r"logit_bias names 'seven seven', which is 3 tokens"):
            run(draw(generator, logit_bias={"seven seven": 1.0}))
        assert server.counts["calls"] == before
    with serving(TEXT) as server:
        generator = openai(base_url=server.url)
        assert run(draw(generator, logit_bias=bias)).generated_tokens == 1
        with pytest.raises(RecipeError, match="name them by their ids"):
            run(draw(generator, logit_bias={"seven": 1.0}))


@pytest.mark.parametrize("flavour", [VLLM, CHAT, TEXT], ids=["tokens", "chat", "text"])
def test_the_likeliest_tokens_have_their_texts(flavour: Flavour) -> None:
    with serving(flavour) as server:
        generator = openai(base_url=server.url)
        sample = run(draw(generator, seed=3, top_logprobs=4, confidence_k=2))
        tops = sample.top_logprobs
        assert tops is not None
        assert tops.logprobs.shape == (sample.generated_tokens, 4)
        prompt = server.seen[-1].body.get("prompt")
        if flavour is not TEXT:
            messages = [{"role": "user", "content": PROBLEM.prompt}]
            prompt = http_model.chat(messages, open_ended=False)
        options = http_model.following(tuple(http_model.encode(prompt)[-3:]))
        best = sorted(options, key=lambda token: -options[token])[:4]
        texts = [t.rpartition(" ")[0] if flavour is TEXT else t for t in tops.texts[0]]
        assert texts == [http_model.decode([token]) for token in best]
        np.testing.assert_allclose(tops.logprobs[0], [options[t] for t in best], rtol=1e-5)
        assert sample.confidence is not None
        np.testing.assert_allclose(sample.confidence, -tops.logprobs[:, :2].mean(1), rtol=1e-5)


def test_the_sampled_token_named_twice_counts_once() -> None:
    answer = Answer()
    twice = [{"token": "t", "logprob": -0.1}] * 2 + [{"token": "z", "logprob": -3.0}]
    content = [{"token": "t", "logprob": -0.1, "top_logprobs": twice}]
    answer._take({"choices": [{"message": {"content": "t"}, "logprobs": {"content": content}}]})
    found = confidence(answer, 1, 2)
    assert found is not None
    assert found.tolist() == pytest.approx([1.55])


def test_what_the_server_does_not_know_is_refused_before_it_is_asked() -> None:
    with serving(TEXT) as server:
        generator = openai(base_url=server.url)
        run(generator.astart())
        search = Search(PROBLEM, generator, sampling=Sampling(max_tokens=8))
        before = server.counts["requests"]
        for changes, words in [
            ({"top_k": 5}, rf"top_k is 5, which the server at {server.url} .*leave it at 0"),
            ({"repetition_penalty": 1.5}, r"repetition_penalty is 1.5.*leave it at 1.0"),
            ({"json_schema": {"type": "object"}}, r"json_schema is .*leave it out.*vLLM"),
        ]:
            with pytest.raises(RecipeError, match=words):
                run(search.draw(search.root, **changes))
        assert server.counts["requests"] == before
        assert generator.honours == {
            *("temperature", "stop", "confidence_k", "top_logprobs"),
            *("top_p", "presence_penalty", "frequency_penalty", "logit_bias"),
        }
        facts = run(generator.describe())
        assert facts["fields of sampling"].startswith("temperature, top_p,")
        assert "top_k, " in facts["not known there"]


def test_no_call_of_a_search_pays_for_what_is_found_out() -> None:
    """The clock stands still: all that a search asks for is the question's tokens and the call."""
    with serving() as server:
        generator = OpenAI([server.url], clock=HandClock())

        async def work() -> None:
            await start(generator)
            search = Search(PROBLEM, generator, sampling=Sampling(max_tokens=8))
            before = server.counts["requests"]
            await search.draw(search.root)
            assert server.counts["requests"] == before + 2
            await search.draw(search.root)
            assert server.counts["requests"] == before + 3

        run(work())
