"""A server behind that misbehaves, and clients that leave: nothing is left over."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import httpx
import pytest

from reasoning.backends.openai import openai as generator
from reasoning.clock import RealClock
from reasoning.testing.http_server import CHAT, Fault, Served, serving

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]
SHAPE = {"message", "type", "param", "code"}


class Hasty(RealClock):
    """Waits for nothing before it tries again."""

    async def sleep(self, delay: float) -> None:
        await super().sleep(0)


def behind(url: str) -> Any:
    """The generator of a server that is given up at once."""
    model = generator(base_url=url, patience=0, timeout=5)
    model.clock = lambda problem: Hasty()
    model._clock = Hasty()
    return model


def reply(
    listening: Any,
    fault: Fault | None,
    body: dict[str, Any],
    path: str = "chat/completions",
    **headers: str,
) -> Any:
    """What comes of a request where every call goes wrong."""

    async def work(server: Served) -> Any:
        model = behind(server.url)
        try:
            async with listening(model) as url, httpx.AsyncClient() as web:
                server.fault = lambda call: fault
                asked = {"model": "sample", "messages": ASKED, "min_tokens": 20, **body}
                asked["max_output_tokens" if path == "responses" else "max_tokens"] = 40
                asked = {name: value for name, value in asked.items() if value is not None}
                return await web.post(f"{url}/{path}", json=asked, headers=headers)
        finally:
            await model.aclose()

    with serving(CHAT) as server:
        found = asyncio.run(work(server))
        assert str(server.port) not in found.text
    return found


FAULTS: list[Fault] = ["reset", "429", "500", "503", "half", "stop short"]
FAULTS += ["not json", "not an answer"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_that_fails_is_an_error_as_openai_tells_it(listening: Any, fault: Fault) -> None:
    found = reply(listening, fault, {"model": "self_consistency"})
    assert found.status_code in (502, 503)
    error = found.json()["error"]
    assert set(error) == SHAPE
    assert (error["type"], error["code"]) in (
        ("server_error", "generation_failed"),
        ("server_error", "engine_gone"),
    )
    assert found.headers["x-should-retry"] == ("true" if found.status_code == 503 else "false")


@pytest.mark.parametrize(
    ("path", "asked"),
    [("completions", {"prompt": "What is 3 + 4?"}), ("responses", {"input": "What is 3 + 4?"})],
)
@pytest.mark.parametrize("fault", ["500", "half", "not json"])
def test_so_it_is_at_every_endpoint(
    listening: Any, fault: Fault, path: str, asked: dict[str, Any]
) -> None:
    found = reply(listening, fault, {"messages": None, **asked}, path)
    assert found.status_code == 502
    assert set(found.json()["error"]) == SHAPE


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stream_that_fails_ends_with_an_error(listening: Any, fault: Fault) -> None:
    found = reply(listening, fault, {"stream": True})
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("text/event-stream")
    *_, last = found.text.strip().split("\n\n")
    name, data = last.split("\n")
    assert name == "event: error"
    assert set(json.loads(data.removeprefix("data: "))["error"]) == SHAPE


@pytest.mark.parametrize("fault", ["hang", "hold"])
def test_a_server_that_is_silent_is_left_at_the_deadline(listening: Any, fault: Fault) -> None:
    found = reply(listening, fault, {}, **{"X-Deadline-Seconds": "0.1"})
    (choice,) = found.json()["choices"]
    assert (found.status_code, choice["finish_reason"]) == (200, "length")
    assert "limits.seconds ended the search" in choice["search"]["notes"][0]


def test_a_thousand_clients_that_leave_at_any_time_leave_nothing_behind(listening: Any) -> None:
    rng, told = random.Random(7), {"answered": 0, "left": 0}

    async def one(web: httpx.AsyncClient, url: str, i: int, patience: float) -> None:
        model = ("sample", "self_consistency")[i % 2]
        asked = {"model": model, "messages": ASKED, "stream": i % 3 == 0, "n": 1 + i % 2}
        try:
            async with asyncio.timeout(patience):
                found = await web.post(f"{url}/chat/completions", json=asked)
            told["answered"] += found.status_code == 200
        except TimeoutError:
            told["left"] += 1

    async def work(server: Served) -> None:
        model = behind(server.url)
        most = httpx.Limits(max_connections=None, keepalive_expiry=2)  # before servers do
        async with (
            listening(model, sampling={"max_tokens": 40}) as url,
            httpx.AsyncClient(limits=most, timeout=60) as web,
        ):
            begun = time.perf_counter()
            await asyncio.gather(*[one(web, url, 0, 60) for _ in range(50)])
            longest = max(0.2, 0.5 * (time.perf_counter() - begun))  # on a busy machine all is late
            tasks = len(asyncio.all_tasks())
            server.fault = lambda call: (None, "hold", "drip", None)[call.number % 4]
            gate = asyncio.Semaphore(50)

            async def leave(i: int) -> None:
                async with gate:
                    await one(web, url, i, rng.uniform(0, longest))

            async with asyncio.TaskGroup() as group:
                for i in range(1000):
                    group.create_task(leave(i))
            server.fault = lambda call: None
            (replica,) = model.pool.replicas
            async with asyncio.timeout(20):  # no call, no lease of a place, no task
                while replica.busy or model.pool.fleet.calls or len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            found = await web.post(
                f"{url}/chat/completions", json={"model": "sample", "messages": ASKED}
            )
            assert found.status_code == 200  # the server goes on
        await model.aclose()

    with serving(CHAT) as server:
        asyncio.run(work(server))
        assert server.counts["calls"] > 200
    assert told["left"] > 100


def test_hundreds_of_searches_at_once_are_all_answered(served: Any) -> None:
    async def work(server: Served) -> list[Any]:
        model = behind(server.url)
        strategy = {"searcher": "self_consistency", "n": 8}
        async with served(model, strategies=[strategy], sampling={"max_tokens": 4}) as web:
            body = {"model": "self_consistency", "messages": ASKED}
            asked = [web.post("/v1/chat/completions", json=body) for _ in range(500)]
            found = await asyncio.gather(*asked)
        await model.aclose()
        return found

    with serving(CHAT) as server:
        found = asyncio.run(work(server))
    assert {reply.status_code for reply in found} == {200}
    spent = [reply.json()["usage"]["search"] for reply in found]
    assert {(s["calls"], s["failed_calls"]) for s in spent} == {(8, 0)}
