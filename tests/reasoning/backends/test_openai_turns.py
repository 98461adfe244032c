"""Conversations over a server: what stands before an answer, and what has been said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from reasoning.backends.openai import OpenAI, openai
from reasoning.errors import RecipeError
from reasoning.generate import Sampling
from reasoning.problem import Message, Problem
from reasoning.search import Search
from reasoning.testing import http_model
from reasoning.testing.http_server import CHAT, PLAIN_CHAT, TEXT, VLLM, Served, serving
from reasoning.tree import Node, Turn

T = TypeVar("T")
SHOWN = (
    Message("system", "Be brief."),
    Message("user", "What is 1 + 1?"),
    Message("assistant", "2"),
    Message("user", "What is 3 + 4?"),
)
PROBLEM = Problem("p", "What is 3 + 4?", messages=SHOWN)
LOOK = Turn.user("Look again.")
FRESH = Turn.user("Which is better?", afresh=True)


@pytest.fixture(params=[VLLM, CHAT, TEXT], ids=["tokens", "chat", "text"])
def server(request: Any) -> Iterator[Served]:
    with serving(request.param) as server:
        yield server


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 120))


def a_search(generator: OpenAI) -> Search:
    return Search(PROBLEM, generator, sampling=Sampling(max_tokens=40, temperature=0.7))


def prompt_of(server: Served) -> str:
    """The text that the server's model was given last."""
    body = server.seen[-1].body
    if "messages" in body:
        wants = bool(body.get("continue_final_message"))
        return http_model.chat(body["messages"], open_ended=wants)
    prompt = body["prompt"]
    return prompt if isinstance(prompt, str) else http_model.decode(prompt)


def as_asked(server: Served, *messages: Message, begun: str = "") -> str:
    if server.flavour is TEXT:  # it has no template: messages stand one behind the other
        return "".join(m.content for m in messages) + begun
    return http_model.chat([m.to_json() for m in messages], open_ended=False) + begun


async def drawn(search: Search, node: Node, **options: Any) -> Node:
    found = await search.draw(node, **{"until": "end", "max_tokens": 6, **options})
    assert found is not None, search.failures
    return found


def test_turns_and_what_is_begun_in_them(server: Served) -> None:
    async def work() -> None:
        search = a_search(openai(base_url=server.url))
        first = await drawn(search, search.root)
        assert prompt_of(server) == as_asked(server, *SHOWN)
        second = await drawn(search, first, turn=LOOK)
        talk = (*SHOWN, Message("assistant", first.text), *LOOK.messages)
        assert prompt_of(server) == as_asked(server, *talk)
        hint = search.write(second, " Wait, ")
        await drawn(search, hint, max_tokens=3)
        begun = second.sample.text + " Wait, "
        assert prompt_of(server) == as_asked(server, *talk, begun=begun)
        await drawn(search, second, turn=FRESH)
        assert prompt_of(server) == as_asked(server, SHOWN[0], *FRESH.messages)
        probed = await search.probe(hint, "So ", top=3, temperature=0.5)
        assert probed is not None
        assert probed.sample.top_logprobs is not None
        assert prompt_of(server) == as_asked(server, *talk, begun=begun + "So ")

    run(work())


def test_tokens_of_a_path_stay_what_they_were() -> None:
    """Written text is put into tokens of its own; those before it are not split."""
    with serving() as server:

        async def work() -> None:
            search = a_search(openai(base_url=server.url))
            first = await drawn(search, search.root)
            hint = search.write(first, "\n\nSo ")
            second = await drawn(search, hint, max_tokens=2)
            await drawn(search, second, max_tokens=1)
            ids = (*(first.sample.token_ids or ()), *http_model.encode("\n\nSo "))
            ids = (*ids, *(second.sample.token_ids or ()))
            assert tuple(server.seen[-1].body["prompt"][-len(ids) :]) == ids

        run(work())


def test_text_in_a_turn_is_as_likely_as_it_was() -> None:
    with serving() as server:

        async def work() -> None:
            search = a_search(openai(base_url=server.url))
            first = await drawn(search, search.root)
            second = await drawn(search, first, turn=LOOK)
            known = await search.likelihood(second)
            assert known is not None
            np.testing.assert_allclose(known, second.sample.logprobs, rtol=1e-5)

        run(work())


def test_a_server_that_starts_afresh_still_takes_turns() -> None:
    with serving(PLAIN_CHAT) as server:

        async def work() -> None:
            generator = openai(base_url=server.url)
            await generator.astart()
            assert not generator.resumes
            search = a_search(generator)
            first = await drawn(search, search.root)
            await drawn(search, first, turn=LOOK)
            assert [m["role"] for m in server.seen[-1].body["messages"]][-2:] == [
                "assistant",
                "user",
            ]
            before = server.counts["requests"]
            with pytest.raises(RecipeError, match="starts every chat answer afresh"):
                await search.draw(search.write(first, "Wait"))
            with pytest.raises(RecipeError, match="starts every chat answer afresh"):
                await search.probe(first, top=0)
            with pytest.raises(RecipeError, match="starts every chat answer afresh"):
                generator.refuse_steps()
            assert server.counts["requests"] == before

        run(work())
