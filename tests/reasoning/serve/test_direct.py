"""One plain draw is told as the search would tell it that it takes the place of."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from reasoning.backends.openai import openai as generator
from reasoning.clock import RealClock
from reasoning.serve import asking, direct
from reasoning.serve.app import Service
from reasoning.serve.desk import Settings
from reasoning.serve.offers import Offers
from reasoning.testing.http_server import CHAT, TEXT, VLLM, Fault, Flavour, Served, serving

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


class Hasty(RealClock):
    """Waits for nothing before it tries again."""

    async def sleep(self, delay: float) -> None:
        await super().sleep(0)


@dataclass(frozen=True)
class Case:
    """A request, and what the server behind does with the calls for it."""

    body: Mapping[str, Any] = field(default_factory=dict)
    says: Mapping[str, Any] | None = None
    faults: tuple[Fault | None, ...] = ()
    flavour: Flavour = CHAT
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "chat/completions"
    settings: Settings = field(default_factory=Settings)


def said(message: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    return {"object": "chat.completion", "choices": [{**choice, **more}], "usage": usage}


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
CASES = {
    "as it is": Case(),
    "by tokens": Case(flavour=VLLM),
    "by text": Case(flavour=TEXT),
    "fields": Case({"temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 20, "user": "u"}),
    "greedy": Case({"temperature": 0}),
    "more than there is": Case({"max_tokens": 4000}),
    "cut off": Case({"max_tokens": 3}),
    "several": Case({"n": 3}),
    "stop": Case({"stop": ["1", "2", "3"]}),
    "stop by tokens": Case({"stop": ["1", "2", "3"]}, flavour=VLLM),
    "likely": Case({"logprobs": True, "top_logprobs": 2}),
    "bound": Case({"response_format": FORM}, flavour=VLLM),
    "biased": Case({"logit_bias": {"5": -100}}, flavour=VLLM),
    "thoughts": Case(says=said({"content": "<think>Hm</think>It is \\boxed{7}"})),
    "thoughts apart": Case(says=said({"content": "It is 7.", "reasoning_content": "Hm"})),
    "thoughts counted": Case(
        says={
            **said({"content": "It is 7.", "reasoning_content": "Hm"}),
            "usage": {
                "prompt_tokens": 12,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
        }
    ),
    "no answer": Case(says=said({"content": "It is"}, finish_reason="length")),
    "nothing": Case(says=said({"content": ""})),
    "letters": Case(says=said({"content": "“\u00e9\ud83d\ude00” is *the* answer"})),
    "a call": Case({"tools": [TOOL]}, says=said({"content": None, "tool_calls": [CALL]})),
    "a call unasked": Case(says=said({"content": None, "tool_calls": [CALL]})),
    "no count": Case(says={**said({"content": "7"}), "usage": None}),
    "limits": Case({"reasoning": {"limits": {"tokens": 30}}}),
    "a parameter": Case({"reasoning": {"params": {"temperature": 0.2}}}),
    "progress": Case({"stream": True, "reasoning": {"progress": True}}),
    "hurried": Case(headers={"X-Deadline-Seconds": "20"}),
    "traced": Case(headers={"traceparent": TRACE}),
    "once again": Case(faults=("500", None)),
    "again and again": Case(faults=("reset", "503", "not json", None)),
    "in vain": Case(faults=("500",) * 4),
    "refused": Case(says={"error": {"message": "no"}}),
    "too late": Case(faults=("hang",), settings=Settings(seconds=0.05)),
    "broken off": Case(faults=("half", None)),
    "two of them": Case({"n": 2}, faults=("500", None)),
    "completions": Case({"messages": None, "prompt": "What is 3 + 4?"}, path="completions"),
    "responses": Case({"messages": None, "input": "What is 3 + 4?"}, path="responses"),
    "a form that is none": Case({"temperature": "hot"}),
}


def come_to(case: Case, offers: Callable[..., Offers], stream: bool) -> list[Any]:
    """The reply, what was asked behind, what `/metrics` counts, and what the page does."""

    async def work(server: Served) -> list[Any]:
        model = generator(base_url=server.url, patience=0, timeout=5)
        model.clock = lambda problem: Hasty()  # type: ignore[method-assign]
        model._clock = Hasty()
        found = offers(model, sampling={"max_tokens": 40})
        transport = httpx.ASGITransport(Service(found, case.settings).app())
        async with (
            found.open(),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as web,
        ):
            server.seen.clear()
            server.counts.clear()
            asked_before = Counter[int]()

            def fault(call: Any) -> Fault | None:  # by choice: who comes first is not told
                number = asked_before[call.body.get("seed", 0)]
                asked_before[call.body.get("seed", 0)] += 1
                return (*case.faults, *[None] * 9)[number]

            server.fault = fault
            if case.says is not None:
                server.answers = lambda path, body: case.says
            asked = {"model": "sample", "messages": ASKED, "seed": 7, **case.body}
            asked = {name: value for name, value in asked.items() if value is not None}
            reply = await web.post(
                f"/v1/{case.path}",
                json=asked | ({"stream": True} if stream else {}),
                headers=dict(case.headers),
            )
            counts = (await web.get("/metrics")).text
        await model.aclose()
        floor = found.floor
        assert not floor.running
        tallies = floor.tallies.items()
        return [
            reply.status_code,
            bare(reply.text),
            [(call.path, call.body, {**call.headers, "host": ""}) for call in server.seen],
            re.sub(r"(search_seconds_total\{.*\}) .*", r"\1", counts),
            {name: (t.done, t.money, {**t.sums, "seconds": 0}) for name, t in tallies},
            sorted([row for _, row in floor.over], key=str),  # choices end as they come
        ]

    with serving(case.flavour) as server:
        return asyncio.run(work(server))


def bare(text: str) -> str:
    """Without what no two answers have in common."""
    text = re.sub(r'"(id|item_id)":"[a-z_]+[-_][0-9a-f]{24}"', r'"\1": ""', text)
    return re.sub(r'"(created|created_at|completed_at|seconds)":[0-9.e-]+', r'"\1": 0', text)


def pieces(told: str) -> Any:
    """The events of a stream by choice; texts that follow each other as one, however cut."""
    if not told.startswith("data: "):
        return told
    found: dict[int | None, list[Any]] = defaultdict(list)
    for line in told.split("\n\n"):
        data = line.rpartition("data: ")[2]
        event = json.loads(data) if data.startswith("{") else {}
        choice = (event.get("choices") or [{}])[0]
        (field, *others), line_of = choice.get("delta") or [""], found[choice.get("index")]
        if field not in ("content", "reasoning_content") or others:
            line_of.append(event or line)
        elif line_of and isinstance(line_of[-1], tuple) and line_of[-1][0] == field:
            line_of[-1] = (field, line_of[-1][1] + choice["delta"][field])
        else:
            line_of.append((field, choice["delta"][field]))
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", CASES)
def test_a_plain_draw_is_told_as_a_search_is(
    name: str, stream: bool, offers: Callable[..., Offers], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, drawn = CASES[name], list[str]()
    if case.path != "chat/completions" and stream:
        pytest.skip("the same pieces in other words")
    for way in ("_drawn", "_after"):
        monkeypatch.setattr(direct.Direct, way, noted(getattr(direct.Direct, way), drawn))
    first = come_to(case, offers, stream)
    directly = list(drawn)
    monkeypatch.setattr(asking, "is_direct", lambda *_: False)
    second = come_to(case, offers, stream)
    assert drawn == directly, "the second time it is a search"
    first[1], second[1] = pieces(first[1]), pieces(second[1])
    assert first == second
    if name in ("as it is", "several", "thoughts", "thoughts counted", "cut off"):
        assert directly == ["_drawn"] * case.body.get("n", 1)
    if name in ("once again", "too late", "a call unasked"):
        assert directly == ["_drawn", "_after"]


def noted(way: Callable[..., Any], drawn: list[str]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        drawn.append(way.__name__)
        return way(*args)

    return call


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_call(listening: Any, stream: bool) -> None:
    async def work(server: Served) -> None:
        model = generator(base_url=server.url)
        async with listening(model) as url, httpx.AsyncClient() as web:
            server.fault = lambda call: "hang"
            asked = {"model": "sample", "messages": ASKED, "stream": stream}
            async with asyncio.TaskGroup() as group:
                task = group.create_task(web.post(f"{url}/chat/completions", json=asked))
                await asyncio.to_thread(server.wait_until, lambda counts: counts["hanging"] == 1)
                task.cancel()
            await asyncio.to_thread(server.wait_until, lambda counts: counts["cancelled"] == 1)
            counts = (await web.get(f"{url.removesuffix('/v1')}/metrics")).text
        await model.aclose()
        assert 'searches_total{strategy="sample",stop_reason="left"} 1' in counts
        assert 'calls_total{strategy="sample"} 1' in counts

    with serving(CHAT) as server:
        asyncio.run(work(server))
