"""The generator `openai` on a real vLLM server: what it finds out, and that nothing is lost."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pytest

from evals.tasks.nano_think import nano_think
from reasoning.backends import nano as nano_backend
from reasoning.backends.nano import Nano
from reasoning.backends.openai import Limits, OpenAI
from reasoning.backends.openai.fields import OFF
from reasoning.generate import Generator, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing.contracts import GENERATOR_CHECKS, GeneratorCase
from reasoning.testing.generator_contract import check_cancelled_calls_are_paid_for
from reasoning.thinking import Thinking
from reasoning.tree import Node, RolloutTree, Sample

T = TypeVar("T")
Still: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
PROBLEM = Problem("p", "What is 12 * 7 + 5?", gold="89")
FIELDS = {"top_p", "top_k", "min_p", "min_tokens", "presence_penalty", "frequency_penalty"}
FIELDS |= {"repetition_penalty", "logit_bias", "choice", "regex", "json_schema"}
BLOCK = 32  # tokens in a block of the server's prefix cache
LOOKS = 10_000  # a bound for the hopeless case that a server never hears that a client has left


@pytest.fixture(scope="module")
def nano() -> Iterator[Nano]:
    model = Nano()
    yield model
    model.close()


@pytest.fixture
def openai(vllm_server: str) -> Callable[..., OpenAI]:
    """Makes generators for the server."""
    return lambda **options: OpenAI([f"{vllm_server}/v1"], "nano", **options)


@pytest.fixture
def metric(vllm_server: str) -> Callable[[str], float]:
    """The sum of a metric of the server's."""

    return lambda name: metric_of(vllm_server, name)


@pytest.fixture
def still(vllm_server: str) -> Still:
    """The server's engine makes nothing, and what it had made has come; calls may leave."""

    def ask(path: str, method: str = "POST") -> Any:
        request = urllib.request.Request(f"{vllm_server}{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def loaded() -> bool:
        return bool(ask("/load", "GET")["server_load"])

    @asynccontextmanager
    async def still() -> AsyncIterator[None]:
        await asyncio.to_thread(ask, "/pause?mode=keep&clear_cache=false")
        for _ in range(2):  # what it had said goes out before it answers again
            await asyncio.to_thread(loaded)
        try:
            yield
            for _ in range(LOOKS):
                if not await asyncio.to_thread(loaded):
                    break
        finally:
            await asyncio.to_thread(ask, "/resume")

    return still


def metric_of(url: str, name: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
        text = reply.read().decode()
    values = re.findall(rf"^vllm:{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    assert values, f"the server has no metric {name}"
    return sum(map(float, values))


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 1200))


async def draw(
    generator: Generator, node: Node | None = None, slot: int = 0, *, seed: int = 1, **params: Any
) -> Sample:
    prompt = Prompt(PROBLEM, node or RolloutTree("p").root, slot)
    sampling = Sampling(**{"max_tokens": 64, **params})
    return await generator.generate(prompt, sampling, seed=seed, meter=lambda _: None)


def test_token_ids_are_found(openai: Callable[..., OpenAI]) -> None:
    able = run(openai().abilities())
    assert able.mode == "tokens"
    assert able.context == 1024
    assert all((able.extended, able.stops, able.continues, able.streams, able.logprobs))
    assert able.scores
    assert set(able.off) == set(OFF) - {"repeat_penalty"}
    assert able.off["top_k"] == 0
    assert able.knows == FIELDS
    assert able.bounds == "structured_outputs"
    chat = run(openai(api="chat").abilities())
    assert (chat.mode, chat.continues, chat.stops) == ("chat", True, True)
    assert (chat.off, chat.knows, chat.bounds) == (able.off, able.knows, able.bounds)


@pytest.mark.parametrize("api", ["tokens", "text", "chat"])
def test_fields_do_what_they_say(openai: Callable[..., OpenAI], api: str) -> None:
    generator = openai(api=api)
    greedy = run(draw(generator, temperature=0.0)).text
    assert run(draw(generator, temperature=2.0, top_k=1)).text == greedy
    assert run(draw(generator, temperature=2.0, min_p=1.0)).text == greedy
    assert run(draw(generator, temperature=0.0, repetition_penalty=5.0)).text != greedy
    assert run(draw(generator, choice=("perhaps", "perhaps not"))).text.startswith("perhaps")
    assert re.fullmatch(r"[0-9]{3}", run(draw(generator, regex="[0-9]{3}")).text)
    schema = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}
    said = run(draw(generator, json_schema=schema | {"additionalProperties": False}))
    assert re.match(r'\{\s*($|"x")', said.text)  # blanks are free, and nano knows little else
    assert run(draw(generator, min_tokens=60)).generated_tokens >= 60
    (seven,) = run(openai().encode("7"))
    for token in (seven, "7"):
        assert set(run(draw(generator, max_tokens=5, logit_bias={token: 100.0})).text) == {"7"}
    sample = run(draw(generator, temperature=0.0, top_logprobs=5))
    assert sample.top_logprobs is not None
    assert sample.logprobs is not None
    np.testing.assert_allclose(sample.top_logprobs.logprobs[:, 0], sample.logprobs, atol=1e-5)
    ended = sample.finish == "end"
    pieces = [row[0] for row in sample.top_logprobs.texts]
    assert "".join(pieces[:-1] if ended else pieces) == sample.text


@pytest.mark.parametrize("api", ["tokens", "text"])
def test_text_may_end_inside_a_token(openai: Callable[..., OpenAI], nano: Nano, api: str) -> None:
    """Greedily it goes on as it would have, wherever its text is cut; without healing often not."""
    template = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    options = {"api": api, "template": template if api == "text" else None}
    whole = run(draw(nano, temperature=0.0)).text

    async def ended(**more: bool) -> list[bool]:
        generator, tree = openai(**options, **more), RolloutTree("p")
        cuts = [*range(2, len(whole) - 2, 3)]
        nodes = [tree.add(tree.root, at, Sample(whole[:at])) for at in cuts]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(draw(generator, n, temperature=0.0)) for n in nodes]
        said = [n.text + task.result().text for n, task in zip(nodes, tasks, strict=True)]
        return [text == whole for text in said]

    assert all(run(ended(heal=True)))
    assert not all(run(ended()))


@pytest.mark.parametrize("check", GENERATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("api", ["tokens", "text", "chat"])
def test_contract(
    openai: Callable[..., OpenAI],
    metric: Callable[[str], float],
    still: Still,
    nano: Nano,
    api: str,
    check: Callable[[GeneratorCase], None],
) -> None:
    def produced() -> int:
        while metric("num_requests_running"):
            pass
        return int(metric("generation_tokens_total"))

    by_tokens = api == "tokens"
    # Without log-probabilities nobody tells how many tokens there are in what has come of a text.
    told = check is check_cancelled_calls_are_paid_for and not by_tokens
    case = GeneratorCase(
        make=lambda: openai(api=api),
        greedy=by_tokens,  # text is not always cut into the tokens that it came in
        decode=nano.text.decode if by_tokens else None,
        produced=produced,
        late=0,
        still=still,
        sampling=Sampling(max_tokens=48, confidence_k=int(told)),
        slots=4,
    )
    check(case)


def test_greedily_it_says_what_nano_says(openai: Callable[..., OpenAI], nano: Nano) -> None:
    ours = run(draw(nano, temperature=0.0, max_tokens=256, confidence_k=5))
    theirs = run(draw(openai(), temperature=0.0, max_tokens=256, confidence_k=5))
    assert (theirs.text, theirs.token_ids) == (ours.text, ours.token_ids)
    assert (theirs.finish, theirs.prompt_tokens) == (ours.finish, ours.prompt_tokens)
    for name in ("logprobs", "confidence"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), atol=2e-3)
    chat = run(draw(openai(api="chat"), temperature=0.0, max_tokens=256))
    assert chat.text == ours.text


def test_a_path_is_served_from_the_cache(openai: Callable[..., OpenAI]) -> None:
    generator = openai()

    async def work() -> None:
        tree = RolloutTree("p")
        node = tree.root
        for step in range(4):
            sample = await draw(generator, node, seed=step, max_tokens=40)
            if step:
                assert sample.cached_tokens == (sample.prompt_tokens - 1) // BLOCK * BLOCK
            node = tree.add(node, 0, sample)

    run(work())


def test_the_likelihood_of_given_text_is_nanos(openai: Callable[..., OpenAI], nano: Nano) -> None:
    generator = openai()

    async def work() -> None:
        tree = RolloutTree("p")
        first = await draw(generator, max_tokens=20)
        second = await draw(generator, tree.add(tree.root, 0, first), max_tokens=20)
        prompt = Prompt(PROBLEM, tree[(0,)], 0)
        for question in (True, False):
            read = [
                await source.score_text(prompt, second, question=question, meter=lambda _: None)
                for source in (generator, nano)
            ]
            np.testing.assert_allclose(read[0], read[1], atol=2e-3)

    run(work())


def test_leaving_stops_the_server(
    openai: Callable[..., OpenAI], metric: Callable[[str], float], still: Still
) -> None:
    """Eight long answers, left once they run: the server drops them, and makes no token more."""
    generator = openai(extra={"ignore_eos": True})
    metered: list[int] = []

    async def one(seed: int) -> None:
        prompt = Prompt(PROBLEM, RolloutTree("p").root, seed)
        sampling = Sampling(max_tokens=900)
        await generator.generate(prompt, sampling, seed=seed, meter=metered.append)

    async def work() -> float:
        await generator.abilities()
        before = await asyncio.to_thread(metric, "generation_tokens_total")
        calls = [asyncio.ensure_future(one(seed)) for seed in range(1, 9)]
        while await asyncio.to_thread(metric, "num_requests_running") < 8:
            assert not any(call.done() for call in calls)
        async with still():
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            assert all(call.cancelled() for call in calls)
        await draw(generator, max_tokens=1)  # behind them, if they go on
        while await asyncio.to_thread(metric, "num_requests_running"):
            pass
        return await asyncio.to_thread(metric, "generation_tokens_total") - before - 1

    assert run(work()) == sum(metered)


def test_a_server_killed_in_the_middle_comes_back(serve: Callable[..., Any]) -> None:
    """Streams go on where they broke, calls without a token are tried again: none is lost."""
    server = serve()
    limits = Limits(patience=900)
    generator = OpenAI([f"{server.url}/v1"], "nano", extra={"ignore_eos": True}, limits=limits)
    search = Search(PROBLEM, generator, sampling=Sampling(max_tokens=300))

    async def work() -> list[Node | None]:
        await generator.astart()
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(search.draw(search.root, until="end")) for _ in range(24)]
            while await asyncio.to_thread(metric_of, server.url, "generation_tokens_total") < 100:
                assert not any(call.done() for call in calls)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(serve, port=server.port)
        return [call.result() for call in calls]

    nodes = run(work())
    assert search.failures == []
    for node in nodes:
        assert node is not None
        assert node.sample.generated_tokens == len(node.sample.token_ids or ()) == 300


def test_metering_adds_up_with_the_servers_own_count(
    openai: Callable[..., OpenAI], metric: Callable[[str], float]
) -> None:
    generator = openai()

    async def work() -> None:
        await generator.abilities()
        before = await asyncio.to_thread(metric, "generation_tokens_total")
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(draw(generator, seed=seed)) for seed in range(1, 17)]
        after = await asyncio.to_thread(metric, "generation_tokens_total")
        assert sum(call.result().generated_tokens for call in calls) == after - before

    run(work())


def test_the_server_s_bound_on_thinking(serve: Callable[..., Any]) -> None:
    config = '{"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}'
    server = serve("--reasoning-config", config, model=nano_backend.WEIGHTS.parent / "think")
    problems = nano_think(n=4).problems

    async def main(bound: int) -> list[Search]:
        generator = OpenAI([f"{server.url}/v1"], "nano", thinking=Thinking(bound))
        await generator.astart()
        assert generator.facts["bound on thinking"] == "the server's"
        sampling = Sampling(max_tokens=300, temperature=0.0)
        searches = [Search(problem, generator, sampling=sampling) for problem in problems]
        for search in searches:
            await search.draw(search.root, until="end")
        await generator.aclose()
        return searches

    for short, free in zip(run(main(10)), run(main(290)), strict=True):
        assert len(short.tree) == short.usage.calls == 1
        (cut,), (whole,) = short.tree, free.tree
        thought, end, answer = cut.text.partition("</think>")
        assert whole.text.startswith(thought)
        assert len(thought) < len(whole.text.partition("</think>")[0])
        assert end
        assert "boxed" in answer
