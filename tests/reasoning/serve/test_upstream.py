"""Against a server of a model, over HTTP on both sides: pieces come through as they come."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

from reasoning import Session
from reasoning.backends.openai import openai as generator
from reasoning.events import Done, Heard
from reasoning.testing.http_server import CHAT, TEXT, VLLM, Flavour, Served, serving

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]


@pytest.mark.parametrize("flavour", [VLLM, TEXT, CHAT], ids=["tokens", "text", "chat"])
def test_pieces_add_up_to_the_text(flavour: Flavour) -> None:
    async def work(url: str) -> tuple[list[Heard], str]:
        model = generator(base_url=url)
        async with Session(generator=model, searcher="sample", sampling={"max_tokens": 40}) as s:
            events = [e async for e in s.stream("What?", pieces=True)]
        await model.aclose()
        done = events[-1]
        assert isinstance(done, Done)
        return [e for e in events if isinstance(e, Heard)], done.result.tree.root.children[0].text

    with serving(flavour) as server:
        heard, text = asyncio.run(work(server.url))
    assert heard
    assert "".join(e.text for e in heard) == text
    assert [e.at for e in heard] == [sum(len(o.text) for o in heard[:i]) for i in range(len(heard))]


def test_what_a_server_says_comes_through_as_it_is_said(listening: Any) -> None:
    async def work(url: str) -> Any:
        model = generator(base_url=url)
        async with (
            listening(model, sampling={"max_tokens": 40}) as ours,
            openai.AsyncOpenAI(base_url=ours, api_key="none", max_retries=0) as ai,
        ):
            asked: Any = {"model": "sample", "messages": ASKED, "seed": 3}
            stream = await ai.chat.completions.create(**asked, stream=True)
            texts = [c.choices[0].delta.content async for c in stream]
            whole = await ai.chat.completions.create(**asked)
        await model.aclose()
        return texts, whole.choices[0].message.content

    with serving() as server:
        texts, whole = asyncio.run(work(server.url))
    assert "".join(text or "" for text in texts) == whole


def test_what_is_said_comes_through_before_there_is_more(listening: Any) -> None:
    async def work(url: str) -> str:
        model = generator(base_url=url)
        async with (
            listening(model) as ours,
            openai.AsyncOpenAI(base_url=ours, api_key="none", max_retries=0) as ai,
        ):
            asked: Any = {"model": "sample", "messages": ASKED, "stream": True}
            async with await ai.chat.completions.create(**asked) as stream:
                async for chunk in stream:
                    if text := chunk.choices[0].delta.content:
                        break
        await model.aclose()
        return text

    with serving() as server:
        server.fault = lambda call: "hold"  # it never comes to an end
        assert asyncio.run(work(server.url))


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_the_calls_at_the_server_behind(
    listening: Any, stream: bool
) -> None:
    async def work(url: str, server: Served) -> None:
        model = generator(base_url=url)
        async with (
            listening(model) as ours,
            openai.AsyncOpenAI(base_url=ours, api_key="none", max_retries=0) as ai,
        ):
            asked: Any = {"model": "self_consistency", "messages": ASKED, "seed": 5}
            server.fault = lambda call: "hold"
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ai.chat.completions.create(**asked, stream=stream))
                await asyncio.to_thread(server.wait_until, lambda counts: counts["holding"] == 3)
                if stream:
                    await (await task).close()
                task.cancel()
            await asyncio.to_thread(server.wait_until, lambda counts: counts["cancelled"] == 3)
        await model.aclose()

    with serving() as server:
        asyncio.run(work(server.url, server))


BEHIND: list[tuple[dict[str, Any], bool, bool]] = [
    ({}, False, False),
    ({"stream": True}, True, False),
    ({"logprobs": True}, False, True),
    ({"reasoning": {"limits": {"seconds": 100}}}, True, False),  # what is said by then is told
    ({"model": "vote"}, False, False),
    ({"model": "first_finish"}, True, True),  # whoever loses is left, and what it spent is counted
    ({"model": "most_likely"}, False, True),
    ({"model": "best"}, False, True),  # its verifier reads them
]


@pytest.mark.parametrize(("body", "stream", "logprobs"), BEHIND)
def test_no_more_is_asked_for_than_somebody_reads(
    listening: Any, body: dict[str, Any], stream: bool, logprobs: bool
) -> None:
    strategies = [
        {"searcher": "sample"},
        {"searcher": "self_consistency", "n": 2, "name": "vote"},
        {"searcher": "first_finish", "n": 2},
        {"searcher": "self_consistency", "n": 2, "aggregator": "logprob", "name": "most_likely"},
        {"searcher": "best_of_n", "n": 2, "aggregator": "majority", "name": "best"},
    ]

    async def work(server: Served) -> None:
        model = generator(base_url=server.url)
        async with (
            listening(
                model, sampling={"max_tokens": 40}, strategies=strategies, verifier="logprob"
            ) as url,
            httpx.AsyncClient() as web,
        ):
            server.seen.clear()
            asked = {"model": "sample", "messages": ASKED, **body}
            reply = await web.post(f"{url}/chat/completions", json=asked)
            assert reply.status_code == 200, reply.text
        await model.aclose()

    with serving() as server:
        asyncio.run(work(server))
        asked = [(bool(c.body.get("stream")), "logprobs" in c.body) for c in server.seen]
    assert set(asked) == {(stream, logprobs)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_behind_joins_the_trace_of_the_client(listening: Any, stream: bool) -> None:
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"

    async def work(server: Served) -> None:
        model = generator(base_url=server.url)
        async with (
            listening(model, sampling={"max_tokens": 5}) as url,
            httpx.AsyncClient() as web,
        ):
            server.seen.clear()
            asked = {"model": "self_consistency", "messages": ASKED, "stream": stream}
            for given in (trace, f"{trace}x", None):  # the second is none
                headers = {"traceparent": given} if given else {}
                reply = await web.post(f"{url}/chat/completions", json=asked, headers=headers)
                assert reply.status_code == 200, reply.text
        await model.aclose()

    with serving() as server:
        asyncio.run(work(server))
        heard = [call.headers.get("traceparent") for call in server.seen]
    assert heard == [trace] * 3 + [None] * 6
