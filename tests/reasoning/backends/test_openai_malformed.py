"""Servers whose answers hold what the protocol does not know."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from reasoning.backends.openai import OpenAI, openai, probe
from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.sampled import finish
from reasoning.errors import RecipeError, TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.http.reading import count
from reasoning.problem import Problem
from reasoning.testing import http_server
from reasoning.testing.http_server import CHAT, PLAIN_CHAT, TEXT, VLLM, Flavour, serving
from reasoning.tree import RolloutTree, Sample

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 120))


@pytest.mark.parametrize(
    "value", [-1, 2.0, 2e30, 10**9 + 1, True, "7", None, [7], {"tokens": 7}, float("nan")]
)
def test_only_integers_in_reason_are_numbers_of_tokens(value: Any) -> None:
    assert count(value) is None
    answer = Answer()
    answer.usage = {"completion_tokens": value}
    answer.pieces = 3
    assert answer.tokens == 3


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {"completion_tokens": 0}}])
@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [(["12 * 7 = 84. " * 100], 372), ([" a", " b", ". So "], 3), (["x" * 70, "y" * 70], 40)],
)
def test_tokens_that_nobody_counts_are_estimated(
    usage: dict[str, Any], pieces: list[str], tokens: int
) -> None:
    answer = Answer()
    for piece in pieces:
        answer._take({"choices": [{"delta": {"content": piece}}], **usage})
    assert (answer.told, answer.tokens) == (0, tokens)


def test_a_server_that_does_not_count_is_told_of() -> None:
    with serving(Flavour(completions=False, tokens=False, logprobs=False, usage=False)) as server:
        source = openai(base_url=server.url)
        assert run(source.describe())["tokens generated"] == "estimated here"
        prompt, metered = Prompt(Problem("p", "1 + 1?"), RolloutTree("p").root, 0), list[int]()
        params = Sampling(max_tokens=12)
        sample = run(source.generate(prompt, params, seed=1, meter=metered.append))
        assert sample.info == {"estimated_tokens": True}
        assert sum(metered) == sample.generated_tokens > 8


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("tokens", [False, True])
def test_an_echo_is_believed_if_it_says_what_the_answer_said(tokens: bool, shifted: bool) -> None:
    with serving(Flavour(tokens=tokens, chat=False, shifted=shifted)) as server:
        source = openai(base_url=server.url)
        assert run(source.abilities()).scores is not shifted
        assert source.reads is not shifted


def test_an_answer_that_is_broken_off_is_worth_another_try() -> None:
    answer = Answer()
    answer._take({"choices": [{"text": "So", "finish_reason": "abort"}]})
    with pytest.raises(TransientError, match="broke the answer off"):
        finish(answer)


def test_zero_and_a_thousand_million_are_numbers_of_tokens() -> None:
    assert (count(0), count(7), count(10**9)) == (0, 7, 10**9)


@pytest.mark.parametrize("length", [0, -5, "many", 2.5, True, [1], None])
def test_a_context_length_that_is_none_is_unknown(
    length: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def served(_: Any) -> list[dict[str, Any]]:
        return [{"id": "toy", "max_model_len": length}]

    monkeypatch.setattr(probe, "served", served)
    with serving() as server:
        assert run(OpenAI([server.url], "toy").abilities()).context is None


def test_thinking_is_refused_at_the_start_where_answers_cannot_be_continued() -> None:
    with serving(PLAIN_CHAT) as server:
        thinking: Any = openai(base_url=server.url, thinking_tokens=6)
        with pytest.raises(RecipeError, match="thinking_tokens is set"):
            run(thinking.astart())
        assert not server.counts["calls"]
    for flavour in (TEXT, CHAT):
        with serving(flavour) as server:
            able: Any = openai(base_url=server.url, thinking_tokens=6)
            run(able.astart())


@pytest.mark.parametrize("key", ["hunter2\n", "hunter2\r\nx: y", "hunter2\x1b", "hunter2é"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving() as server:
        source: Any = openai(base_url=server.url)
        with pytest.raises(RecipeError, match="the API key holds a line break") as caught:
            run(source.astart())
        assert "hunter2" not in str(caught.value)
        assert not server.counts["requests"]


def odd(part: str, value: Any, chat: bool) -> dict[str, Any]:
    """An answer of 7 tokens with one field that is not as it should be."""
    said: dict[str, Any] = {"content": "seven"} if chat else {}
    choice: dict[str, Any] = {"finish_reason": "stop", "text": "seven", "message": said}
    if not chat:
        del choice["message"]
    whole: dict[str, Any] = {"choices": [choice], "usage": {"completion_tokens": 7}}
    if part == "usage":
        choice["token_ids"] = [1, 2, 3, 4, 5, 6, 7]
        whole["usage"] = value
    elif part == "text":
        (said if chat else choice)["content" if chat else "text"] = value
    else:
        choice[part] = value
    return whole


TOKEN = {"token": "a", "logprob": -1.0}


@pytest.mark.parametrize(
    ("flavour", "part", "value"),
    [
        (VLLM, "usage", "many"),
        (VLLM, "usage", [7]),
        (VLLM, "text", ["seven"]),
        (VLLM, "token_ids", "seven"),
        (VLLM, "token_ids", ["7"]),
        (VLLM, "logprobs", "seven"),
        (VLLM, "logprobs", {"token_logprobs": ["low"]}),
        (VLLM, "logprobs", {"token_logprobs": [10**400]}),
        (VLLM, "logprobs", {"token_logprobs": [math.nan]}),
        (VLLM, "logprobs", {"tokens": [7]}),
        (VLLM, "logprobs", {"top_logprobs": [{"a": "low"}]}),
        (VLLM, "logprobs", {"top_logprobs": ["low"]}),
        (CHAT, "usage", "many"),
        (CHAT, "text", ["seven"]),
        (CHAT, "logprobs", {"content": ["low"]}),
        (CHAT, "logprobs", {"content": [{**TOKEN, "logprob": "low"}]}),
        (CHAT, "logprobs", {"content": [{**TOKEN, "token": 7}]}),
        (CHAT, "logprobs", {"content": [{**TOKEN, "top_logprobs": [{"logprob": "low"}]}]}),
    ],
)
def test_a_field_that_cannot_be_read_is_a_failed_try_whose_tokens_count(
    flavour: Flavour, part: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    with serving(flavour) as server:
        source = OpenAI([server.url], "toy")

        async def work() -> Sample:
            source._able = replace(await source.abilities(), streams=False)
            whole = odd(part, value, chat=flavour is CHAT)
            monkeypatch.setattr(http_server.Answer, "whole", lambda _: whole)
            prompt = Prompt(Problem("p", "What is 3 + 4?"), RolloutTree("p").root, 0)
            return await source.generate(prompt, Sampling(max_tokens=32), seed=1, meter=told.append)

        with pytest.raises(TransientError, match="the server's answer cannot be read: "):
            run(work())
        assert server.counts["calls"] == 1
    assert told == [7]


@pytest.mark.parametrize(
    "choice",
    [
        "seven",
        {"prompt_logprobs": "seven"},
        {"prompt_logprobs": 7},
        {"prompt_logprobs": []},
        {"prompt_logprobs": ["low"] * 100},
        {"prompt_logprobs": [{str(i): "low" for i in range(999)}] * 100},
        {"prompt_logprobs": [{str(i): {"logprob": "low"} for i in range(999)}] * 100},
        {"prompt_logprobs": [{str(i): {"logprob": math.nan} for i in range(999)}] * 100},
        {"logprobs": "seven"},
        {"logprobs": {"text_offset": ["here"] * 100, "token_logprobs": [-1.0] * 100}},
        {"logprobs": {"text_offset": list(range(100)), "token_logprobs": [math.nan] * 100}},
    ],
)
@pytest.mark.parametrize("flavour", [VLLM, TEXT], ids=["tokens", "text"])
def test_a_likelihood_that_cannot_be_read_is_a_failed_try(
    flavour: Flavour, choice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What belongs to the other protocol, this one finds missing."""
    with serving(replace(flavour, strict=False)) as server:
        source = OpenAI([server.url], "toy")

        async def work() -> Any:
            await source.abilities()
            monkeypatch.setattr(http_server.Answer, "whole", lambda _: {"choices": [choice]})
            prompt = Prompt(Problem("p", "What is 3 + 4?"), RolloutTree("p").root, 0)
            return await source.score_text(prompt, Sample("7 a"), question=True, meter=print)

        with pytest.raises(TransientError, match="the server's answer cannot be read: "):
            run(work())


@pytest.mark.parametrize("flavour", [VLLM, CHAT], ids=["tokens", "chat"])
def test_a_server_that_answers_nonsense_to_the_first_questions(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = odd("logprobs", "seven", chat=flavour is CHAT)
    monkeypatch.setattr(http_server.Answer, "whole", lambda _: whole)
    with (
        serving(flavour) as server,
        pytest.raises(TransientError, match="the server's answer cannot be read: "),
    ):
        run(OpenAI([server.url], "toy").abilities())
