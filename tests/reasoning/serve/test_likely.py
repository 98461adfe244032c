"""Log-probabilities of the text that is given back."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import numpy as np
import openai
import pytest

from reasoning.backends.openai import openai as generator
from reasoning.backends.scripted import Scripted, alternatives
from reasoning.sample import TopLogprobs
from reasoning.testing.http_server import CHAT, VLLM, Flavour, serving

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]


def asking(listening: Any, model: Any = None, **body: Any) -> Any:
    """The choice of a whole answer and of a stream, then both of /completions."""

    async def main() -> Any:
        async with (
            listening(model) as url,
            openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as ai,
        ):
            asked: Any = {"model": "self_consistency", "seed": 1, **body}
            chat: Any = {**asked, "messages": ASKED, "logprobs": True, "top_logprobs": 2}
            whole = await ai.chat.completions.create(**chat)
            chunks = [
                c.choices[0] async for c in await ai.chat.completions.create(**chat, stream=True)
            ]
            streamed = [t for c in chunks if c.logprobs for t in c.logprobs.content]
            plain: Any = {**asked, "prompt": "What is 3 + 4?", "logprobs": 2}
            text = await ai.completions.create(**plain)
            parts = [p async for p in await ai.completions.create(**plain, stream=True)]
            last = next(p.choices[0] for p in parts if p.choices[0].finish_reason)
            return whole.choices[0], streamed, text.choices[0], last

    return asyncio.run(main())


def test_of_the_winner(listening: Any) -> None:
    model = Scripted(["<think>Hm: 7?</think>\n\nIt is \\boxed{7} indeed"])
    whole, streamed, text, last = asking(listening, model)
    assert whole.message.content == "It is \\boxed{7} indeed"
    tokens = whole.logprobs.content
    assert "".join(t.token for t in tokens).strip() == whole.message.content
    assert all(math.isfinite(t.logprob) and t.logprob <= 0 for t in tokens)
    assert all(bytes(t.bytes).decode() == t.token for t in tokens)
    assert [t.top_logprobs[0].token for t in tokens] == [t.token for t in tokens]
    assert {len(t.top_logprobs) for t in tokens} == {2}
    assert streamed == tokens
    for choice in (text, last):
        assert choice.logprobs.tokens == [t.token for t in tokens]
        assert choice.logprobs.token_logprobs == [t.logprob for t in tokens]
        assert [len(row) for row in choice.logprobs.top_logprobs] == [2] * len(tokens)
        assert choice.logprobs.text_offset[1] == len(tokens[0].token)


@pytest.mark.parametrize("flavour", [VLLM, CHAT], ids=["tokens", "chat"])
def test_of_a_server_behind(listening: Any, flavour: Flavour) -> None:
    with serving(flavour) as server:
        model = generator(base_url=server.url)
        whole, streamed, text, _ = asking(listening, model, max_tokens=12)
    assert "".join(t.token for t in whole.logprobs.content) == whole.message.content
    assert streamed == whole.logprobs.content
    assert "".join(text.logprobs.tokens) == text.text


def test_the_embedded_model_tells_them(listening: Any) -> None:
    from reasoning.backends.nano import nano

    whole, *_ = asking(listening, nano(), max_tokens=20)
    assert "".join(t.token for t in whole.logprobs.content) == whole.message.content


def test_tokens_that_were_said_are_kept() -> None:
    tops = alternatives(["It", " is", " 7"], np.array([-0.5, -1.0, -1.5], np.float32), 2)
    again = TopLogprobs.from_json(json.loads(json.dumps(tops.to_json(None))))
    assert again.said == tops.said == ("It", " is", " 7")
    assert (tops.part(0, 1) + tops.part(1, 3)).said == tops.said
    mute = TopLogprobs(tops.texts, tops.logprobs)
    assert "said" not in mute.to_json(None)
    assert (tops + mute).said is None


def test_who_does_not_know_them_refuses(served: Any) -> None:
    class Mute(Scripted):
        @property
        def honours(self) -> frozenset[str]:
            return super().honours - {"top_logprobs"}

    async def main() -> Any:
        async with served(Mute(["7"])) as web:
            body = {"model": "sample", "messages": ASKED, "logprobs": True}
            return await web.post("/v1/chat/completions", json=body)

    reply = asyncio.run(main())
    assert reply.status_code == 400
    assert "top_logprobs" in reply.json()["error"]["message"]
