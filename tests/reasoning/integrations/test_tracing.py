"""Spans say what a search did, each below its own, and servers hear of theirs."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

pytest.importorskip(
    "opentelemetry.sdk",
    reason="OpenTelemetry's SDK is not installed: pip install opentelemetry-sdk",
)

from reasoning.generate import Generator
from reasoning.http.tracing import TRACE
from reasoning.integrations.tracing import TracedSession
from reasoning.sample import Sample
from reasoning.testing.http_server import serving

NANO = {"generator": "nano", "verifier": "nano_prm", "searcher": "best_of_n", "n": 2}


async def asked(questions: list[str], **settings: Any) -> list[Any]:
    async with TracedSession(**settings) as session:
        return await session.solve_many(questions)


def test_two_searches_at_once_do_not_mix(spans: Any) -> None:
    results = asyncio.run(asked(["What is 2 + 3?", "What is 4 * 6?"], **NANO))
    roots = {s.context.span_id: s for s in spans() if s.parent is None}
    assert [s.name for s in roots.values()] == ["invoke_workflow best_of_n"] * 2
    below = Counter((s.parent.span_id, s.name) for s in spans() if s.parent)
    assert set(below.values()) == {2}  # two calls and two scores each
    assert {name for _, name in below} == {"chat nano", "score nano_prm"}
    for result in results:
        told = [s.attributes for s in roots.values()]
        tokens = [t["gen_ai.usage.output_tokens"] for t in told]
        assert result.usage.generated_tokens in tokens
    called = [s for s in spans() if s.name == "chat nano"]
    assert {s.attributes["reasoning.path"] for s in called} == {"0", "1"}
    assert all(s.attributes["gen_ai.response.finish_reasons"] == ("end",) for s in called)


class Slow(Generator):
    """The first of `calls` ends when all have begun, the others never; keeps their headers."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.heard: list[bytes] = []
        self.begun = asyncio.Event()

    async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Sample:
        self.heard.append(TRACE.get())
        if len(self.heard) == self.calls:
            self.begun.set()
        await (asyncio.Event() if prompt.slot else self.begun).wait()
        return Sample("It is 5.", generated_tokens=3)


def test_cancelled_calls_say_so_and_servers_hear_their_own_span(spans: Any) -> None:
    slow = Slow(3)
    asyncio.run(asked(["What is 2 + 3?"], generator=slow, searcher="first_finish", n=3))
    called = [s for s in spans() if s.name == "chat slow"]
    cancelled = [s for s in called if s.attributes.get("reasoning.cancelled")]
    assert len(called) == 3
    assert {s.status.status_code.name for s in cancelled} == {"ERROR"}
    assert len(cancelled) == 2
    sent = {line.decode().split("-")[2] for line in slow.heard}
    assert sent == {f"{s.context.span_id:016x}" for s in called}
    assert all(line.startswith(b"traceparent: 00-") for line in slow.heard)
    assert TRACE.get() == b""


def test_a_server_joins_the_trace(spans: Any) -> None:
    with serving() as server:
        engine = {"name": "openai", "base_url": server.url}
        asyncio.run(asked(["x"], generator=engine, searcher="sample"))
        traced = [c.headers["traceparent"] for c in server.seen if "traceparent" in c.headers]
    (called,) = [s for s in spans() if s.name.startswith("chat ")]
    assert [t.split("-")[2] for t in traced] == [f"{called.context.span_id:016x}"]


def test_without_an_sdk_nothing_is_sent() -> None:
    slow = Slow(1)
    (result,) = asyncio.run(asked(["x"], generator=slow, searcher="sample"))
    assert result.text == "It is 5."
    assert slow.heard == [b""]
