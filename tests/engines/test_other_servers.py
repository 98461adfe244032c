"""The generator `openai` on servers that are not vLLM: llama.cpp's, and `transformers serve`.

What they do not know is told by `reasoning check` and left out; the rest holds as on any generator.
"""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from reasoning.backends.nano import Nano
from reasoning.backends.openai import Limits, OpenAI
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.search import Search
from reasoning.testing.generator_contract import GENERATOR_CHECKS, GeneratorCase, draw
from reasoning.tree import Node, Sample

T = TypeVar("T")
PROBLEM = Problem("p", "What is 12 * 7 + 5?", gold="89")
TEMPLATE = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
"""For /completions, as text; by chat the server has its own."""
LATE = 32  # steps of a model so small until a busy machine has heard that a client has left


@dataclass(frozen=True)
class Kind:
    """A server's program: the fixture that starts it, and what it has.

    fields: those of `Sampling` that it knows. schemas: whether chats know JSON schemas.
    more, longest: fields for every request and a limit on tokens, so that answers are long.
    setting: what it promises, as a `GeneratorCase`.
    """

    fixture: str
    logprobs: bool
    fields: frozenset[str]
    schemas: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)
    longest: int = 60
    setting: Mapping[str, Any] = field(default_factory=dict)


_STANDARD = {"top_p", "presence_penalty", "frequency_penalty"}
KINDS = {
    "llama_cpp": Kind(
        "serve_llama_cpp",
        logprobs=True,
        fields=frozenset(_STANDARD | {"top_k", "min_p", "repetition_penalty"}),
        schemas=True,
        more={"ignore_eos": True},
        longest=500,
        setting={"slots": 8, "late": LATE},
    ),
    "transformers": Kind(
        "serve_transformers",
        logprobs=False,
        fields=frozenset(_STANDARD),
        # Its seed is the whole process', so calls in flight disturb each other; and it answers one
        # call after the other, so none is in the middle when a later one is over.
        setting={"slots": 4, "seeded": False, "streams": False},
    ),
}


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    kind: Kind
    server: Any
    url: str

    def generator(self, api: str, **options: Any) -> OpenAI:
        template = TEMPLATE if api == "text" else None
        return OpenAI([f"{self.url}/v1"], api=api, template=template, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    kind = KINDS[request.param]
    server = request.getfixturevalue(kind.fixture)()
    yield Served(kind, server, server.url)
    server.close()


@pytest.fixture(scope="module")
def nano() -> Iterator[Nano]:
    model = Nano()
    yield model
    model.close()


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 1200))


def said(generator: Any, **params: Any) -> Sample:
    case = GeneratorCase(make=lambda: generator, problem=PROBLEM)
    return run(draw(case, generator, 0, **{"max_tokens": 256, "temperature": 0.0, **params}))


def metric(url: str, name: str) -> int:
    """Of llama.cpp's."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
        found = re.search(rf"^llamacpp:{name} (\S+)$", reply.read().decode(), re.MULTILINE)
    assert found, f"the server has no metric {name}"
    return int(float(found[1]))


@pytest.mark.parametrize("api", ["text", "chat"])
def test_what_is_found_out(served: Served, api: str) -> None:
    able = run(served.generator(api).abilities())
    assert (able.mode, able.streams, able.counts) == (api, True, True)
    assert not able.stops  # the tokens of a stop string are counted and not shown, or it is kept
    assert able.logprobs == served.kind.logprobs
    schemas = {"json_schema"} if served.kind.schemas and api == "chat" else set()
    assert able.knows == served.kind.fields | schemas
    assert able.continues == (api == "text" or served.kind.logprobs)


@pytest.mark.parametrize("check", GENERATOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("api", ["text", "chat"])
def test_contract(served: Served, api: str, check: Callable[[GeneratorCase], None]) -> None:
    def produced() -> int:
        while metric(served.url, "requests_processing"):
            pass
        return metric(served.url, "tokens_predicted_total")

    counted = {"produced": produced} if served.kind is KINDS["llama_cpp"] else {}
    steps = run(served.generator(api).abilities()).continues
    setting = {**served.kind.setting, **counted, "steps": steps}
    check(GeneratorCase(make=lambda: served.generator(api), **setting))


@pytest.mark.parametrize("api", ["text", "chat"])
def test_greedily_it_says_what_nano_says(served: Served, nano: Nano, api: str) -> None:
    ours, theirs = said(nano), said(served.generator(api))
    assert (theirs.text, theirs.finish) == (ours.text, ours.finish)
    assert (theirs.generated_tokens, theirs.prompt_tokens) == (30, ours.prompt_tokens)
    if served.kind.logprobs:
        assert theirs.logprobs is not None
        assert ours.logprobs is not None
        told = len(theirs.logprobs)  # llama.cpp's chats tell none of the token that ends an answer
        assert told == 30 - (api == "chat")
        np.testing.assert_allclose(theirs.logprobs, ours.logprobs[:told], atol=2e-3)


def test_the_servers_own_way_of_drawing_does_not_decide(served: Served) -> None:
    """llama.cpp's is min_p 0.05, before temperature: no token below 0.05 of the likeliest."""
    if not served.kind.logprobs:
        pytest.skip("transformers serve gives no log-probabilities")
    sample = said(served.generator("text"), temperature=2.0, top_logprobs=1)
    assert sample.logprobs is not None
    assert sample.top_logprobs is not None
    assert min(sample.logprobs - sample.top_logprobs.logprobs[:, 0]) < np.log(0.05) - 1


def test_searches_run_from_a_recipe(served: Served, tmp_path: Path) -> None:
    searches = [
        {"searcher": "best_of_n", "n": 4},
        {"searcher": "first_finish", "n": 4},
        {"searcher": "short_m_at_k", "k": 4, "m": 2},
        {"searcher": "beam_search", "width": 2, "expansions": 2},
    ]
    server = {"base_url": f"{served.url}/v1"}  # a chat that goes on, if there is one
    if not run(served.generator("chat").abilities()).continues:
        server |= {"api": "text", "template": TEMPLATE}
    todo = parse(
        {
            "name": "engine",
            "task": {"name": "nano", "n": 2},
            "generator": {"name": "openai", **server},
            "verifier": "logprob" if served.kind.logprobs else "nano_prm",
            "strategies": searches,
            "sampling": {"max_tokens": 200},
            "step": {"max_tokens": 48},
            "share_samples": False,
        }
    )
    summary = run(runner.run(todo, tmp_path / "run"))
    assert len(summary["strategies"]) == len(searches)
    for strategy in summary["strategies"]:
        assert (strategy["problems"], strategy["unanswered"]) == (2, 0)
        assert not strategy["failures"]
        assert strategy["generated_tokens"] > 0
    assert all(strategy["cancelled_calls"] for strategy in summary["strategies"][1:3])


def test_a_race_that_is_won_leaves_nobody_running(served: Served) -> None:
    """Seven calls that would never end beside one that soon does."""
    if served.kind is not KINDS["llama_cpp"]:
        pytest.skip("transformers serve does not tell what it has produced")
    generator = served.generator("text", extra=served.kind.more)
    case = GeneratorCase(make=lambda: generator, problem=PROBLEM)
    paid: list[int] = []

    async def work() -> None:
        await generator.abilities()
        before = metric(served.url, "tokens_predicted_total")
        calls = [
            asyncio.ensure_future(draw(case, generator, slot, max_tokens=900, paid=paid))
            for slot in range(7)
        ]
        await draw(case, generator, 7, max_tokens=30, paid=paid)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        while await asyncio.to_thread(metric, served.url, "requests_processing"):
            pass
        produced = metric(served.url, "tokens_predicted_total") - before
        assert sum(paid) <= produced < 7 * 900 / 2

    run(work())


def test_a_server_killed_in_the_middle_comes_back(
    served: Served, request: pytest.FixtureRequest
) -> None:
    """What it was busy with is paid for and asked for again: no sample is lost."""
    kind = served.kind
    again = partial(request.getfixturevalue(kind.fixture), port=served.server.port)
    limits = Limits(patience=900)
    generator = served.generator("text", limits=limits, extra=kind.more)
    search = Search(PROBLEM, generator, sampling=Sampling(max_tokens=kind.longest, temperature=2.0))
    n = kind.setting["slots"] - 1

    async def work() -> list[Node | None]:
        await generator.astart()
        async with asyncio.TaskGroup() as group:
            short = group.create_task(search.draw(search.root, until="step", max_tokens=5))
            calls = [group.create_task(search.draw(search.root, until="end")) for _ in range(n)]
            await asyncio.wait([short, *calls], return_when=asyncio.FIRST_COMPLETED)
            assert not all(call.done() for call in calls)
            await asyncio.to_thread(served.server.kill)
            await asyncio.to_thread(again)
        return [call.result() for call in calls]

    nodes = run(work())
    assert search.failures == []
    assert all(node is not None and node.sample.generated_tokens for node in nodes)
    assert len({node.text for node in nodes if node}) > n / 2
