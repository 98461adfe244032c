"""`reasoning serve` in front of a real vLLM server: its clients, and those that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.engines.test_openai_vllm import metric_of

openai = pytest.importorskip("openai", reason="pip install openai")

RECIPE = """
task: nano
generator: {{name: openai, base_url: "{url}/v1", model: nano}}
strategies: [{{searcher: sample}}, {{searcher: self_consistency, n: 4}}]
sampling: {{max_tokens: 900, min_tokens: 1}}
"""
ASKED: Any = [{"role": "user", "content": "What is 12 * 7 + 5?"}]
LEAST = 800
"""Tokens of a long answer."""
LOOKS = 3000


@pytest.fixture(scope="module")
def ours(vllm_server: str, serve_recipe: Callable[[str], Any]) -> str:
    """The root URL of ours."""
    url: str = serve_recipe(RECIPE.format(url=vllm_server)).url
    return url


@pytest.fixture
def ai(ours: str) -> Any:
    """Makes clients; each belongs to one event loop."""
    return lambda url=ours: openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def counted(url: str) -> dict[str, float]:
    """What the server behind says of itself."""
    return {
        "running": metric_of(url, "num_requests_running"),
        "waiting": metric_of(url, "num_requests_waiting"),
        "tokens": metric_of(url, "generation_tokens_total"),
        "ended": metric_of(url, "request_success_total"),
    }


async def quiet(url: str) -> dict[str, float]:
    """The same as soon as nothing runs there. Fails if it never gets quiet."""
    for _ in range(LOOKS):
        counts = await asyncio.to_thread(counted, url)
        if not counts["running"] and not counts["waiting"]:
            return counts
    pytest.fail(f"something still runs: {counts}")


def test_a_client_gets_what_the_server_says(ai: Any, vllm_server: str) -> None:
    async def work() -> tuple[Any, str, Any, float]:
        async with ai() as client, ai(vllm_server) as direct:
            asked = {"messages": ASKED, "temperature": 0, "max_tokens": 200}
            before = await quiet(vllm_server)
            whole = await client.chat.completions.create(model="sample", **asked)
            after = await quiet(vllm_server)
            usage = {"include_usage": True}
            stream = await client.chat.completions.create(
                model="sample", **asked, stream=True, stream_options=usage
            )
            chunks = [chunk async for chunk in stream]
            long = await client.chat.completions.create(
                model="sample", messages=ASKED, max_tokens=900, stream=True,
                extra_body={"min_tokens": LEAST},
            )  # fmt: skip
            pieces = [chunk async for chunk in long if chunk.choices[0].delta.content]
            assert len(pieces) > 1, "it came in one piece"
            said = await direct.chat.completions.create(model="nano", **asked)
        spent = after["tokens"] - before["tokens"]
        return whole, said.choices[0].message.content, chunks, spent

    whole, said, chunks, spent = asyncio.run(work())
    (choice,) = whole.choices
    assert (choice.message.content, choice.finish_reason) == (said, "stop")
    assert whole.usage.completion_tokens == spent > 0
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == said
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_vote_counts_what_vllm_says(ai: Any, vllm_server: str) -> None:
    async def work() -> tuple[Any, float]:
        async with ai() as client:
            before = await quiet(vllm_server)
            found = await client.chat.completions.create(
                model="self_consistency", messages=ASKED, max_tokens=200, seed=1
            )
            return found, (await quiet(vllm_server))["tokens"] - before["tokens"]

    found, spent = asyncio.run(work())
    search = found.choices[0].model_extra["search"]
    assert search["candidates"] == 4
    assert found.usage.model_extra["search"]["calls"] == 4
    assert found.usage.completion_tokens == spent


@pytest.mark.parametrize("model", ["sample", "self_consistency"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_whoever_leaves_ends_what_runs_there(
    ai: Any, vllm_server: str, model: str, stream: bool
) -> None:
    calls = 1 if model == "sample" else 4

    async def work() -> tuple[dict[str, float], dict[str, float]]:
        async with ai() as client:
            before = await quiet(vllm_server)
            asked = client.chat.completions.create(
                model=model, messages=ASKED, max_tokens=900, stream=stream,
                extra_body={"min_tokens": LEAST},
            )  # fmt: skip
            task = asyncio.ensure_future(asked)
            while await asyncio.to_thread(metric_of, vllm_server, "num_requests_running") < calls:
                assert stream or not task.done()
            if stream:
                await (await task).close()
            task.cancel()
            await asyncio.wait([task])
            return before, await quiet(vllm_server)

    before, after = asyncio.run(work())
    assert after["ended"] == before["ended"], "some ran to their end"
    assert after["tokens"] - before["tokens"] < calls * LEAST
