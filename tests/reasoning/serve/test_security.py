"""What no client may do, see or leave behind, shown with harmless inputs."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from typing import Any

import pytest

from reasoning.backends.openai import openai as generator
from reasoning.backends.scripted import Scripted
from reasoning.clock import RealClock
from reasoning.serve.desk import Settings
from reasoning.testing.http_server import CHAT, serving

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]
MARK = "Xq7-of-a-user"
KEYS = ("first-key", "other-key", "third-key")


def post(served: Any, body: Any, *, headers: Any = None, **server: Any) -> Any:
    async def work() -> Any:
        async with served(**server) as web:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent = {"Content-Type": "application/json", **(headers or {})}
            found = await web.post("/v1/chat/completions", content=data, headers=sent)
            return found, (await web.get("/metrics", headers=headers)).text

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("given", "status"),
    [("first-key", 200), ("third-key", 200), ("first-ke", 401), ("", 401), ("ключ", 401)],
)
def test_a_key_is_compared_with_every_key_in_constant_time(
    served: Any, monkeypatch: pytest.MonkeyPatch, given: str, status: int
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    whole = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return whole(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    headers = {"Authorization": f"Bearer {given}".encode()}
    body = {"model": "sample", "messages": ASKED}
    found, metrics = post(served, body, headers=headers, settings=Settings(keys=KEYS))
    assert found.status_code == status
    assert [b.decode() for _, b in compared[: len(KEYS)]] == list(KEYS)
    if status == 401:
        assert "invalid_api_key" in metrics
        assert not any(key in found.text for key in KEYS)


BODIES: dict[str, tuple[bytes, int]] = {
    "deep": (b'{"messages": ' + b"[" * 100_000, 400),
    "a number of 5,000 digits": (b'{"n": ' + b"9" * 5000 + b"}", 400),
    "not a number": (b'{"model": "sample", "messages": [], "temperature": NaN}', 400),
    "too long": (b'{"model": "' + b"x" * 200_000 + b'"}', 413),
    "no text": (b'\xff\xfe{"model": 1}', 400),
    "half a pair": (
        b'{"model": "sample", "messages": [{"role": "user", "content": "\\uD83d"}]}',
        400,
    ),
    "twice": (b'{"model": "nothing", "model": "also nothing"}', 404),
    "a file": (b'{"model": "../../etc/passwd", "messages": []}', 404),
    "code": (b'{"model": "sample:temperature=os:system", "messages": []}', 400),
    "a template": (b'{"model": "{0.__class__}", "messages": []}', 404),
}


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_body_that_is_none_is_an_error(served: Any, name: str) -> None:
    body, status = BODIES[name]
    model = Scripted(["7"])
    settings = Settings(most_body=150_000)
    found, _ = post(served, body, generator=model, settings=settings)
    assert found.status_code == status
    assert set(found.json()["error"]) == {"message", "type", "param", "code"}
    assert len(found.text) < 1000
    assert model.calls == 0


def test_a_body_has_to_come_in_time_and_may_not_grow(listening: Any) -> None:
    async def raw(url: str, data: bytes) -> bytes:
        port = int(url.rpartition(":")[2].partition("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + data)
        found = await reader.read(2000)
        writer.close()
        return found

    async def work() -> tuple[bytes, bytes]:
        async with listening(settings=Settings(port=0, reading=0.05, most_body=1000)) as url:
            slow = await raw(url, b'5\r\n{"mod\r\n')
            long = await raw(url, b"400\r\n" + b" " * 1024 + b"\r\n")
            return slow, long

    slow, long = asyncio.run(work())
    assert slow.startswith(b"HTTP/1.1 408")
    assert long.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("head", "status", "why"),
    [
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 66_000, 431, "65,536"),
        (b"GET /health HTTP/1.1\r\nHost: loc", 408, "in time"),
        (b"", 408, "in time"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea", 408, "in time"),
        (b"nothing of the kind\r\n\r\n", 400, "no HTTP"),
    ],
)
def test_a_head_has_to_come_in_time_and_may_not_grow(
    listening: Any, head: bytes, status: int, why: str
) -> None:
    async def work() -> bytes:
        async with listening(settings=Settings(port=0, reading=0.2)) as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            found = await reader.read()
            writer.close()
            return found

    found = asyncio.run(work())
    *before, last = found.split(b"HTTP/1.1 ")
    assert len([answer for answer in before if answer]) == head.count(b"\r\n\r\nGET")
    assert last.startswith(b"%d " % status)
    error = json.loads(last.partition(b"\r\n\r\n")[2])["error"]
    assert why in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_no_search_lasts_longer_than_the_server_lets_it(served: Any) -> None:
    class Silent(Scripted):
        async def generate(self, *args: Any, **call: Any) -> Any:
            await asyncio.Event().wait()

        def clock(self, problem: Any) -> Any:
            return RealClock()

    body = {"model": "sample", "messages": ASKED, "reasoning": {"limits": {"seconds": 0.05}}}
    for more in (body, {k: v for k, v in body.items() if k != "reasoning"}):
        found, _ = post(served, more, generator=Silent([""]), settings=Settings(seconds=0.05))
        assert found.json()["choices"][0]["finish_reason"] == "length"
    body["reasoning"] = {"limits": {"seconds": 5}}
    found, _ = post(served, body, settings=Settings(seconds=0.05))
    assert (found.status_code, found.json()["error"]["code"]) == (400, "limit_exceeded")


def test_nothing_of_a_user_is_logged_or_counted(
    listening: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the client of this test
    logging.getLogger("httpcore").setLevel(logging.WARNING)

    async def work(upstream: Any) -> list[Any]:
        import httpx

        model = generator(base_url=upstream.url, patience=0)
        found = []
        async with listening(model) as url, httpx.AsyncClient(base_url=url) as web:
            upstream.answers = lambda path, body: (400, f"no: {body} for key {KEYS[0]}")
            said = [{"role": "user", "content": MARK}]
            for body in (
                {"model": "sample", "messages": said},
                {"model": "sample", "messages": said, "stream": True},
                {"model": MARK, "messages": said},
                {"model": "sample", "messages": said, MARK: 1, "reasoning": {MARK: 1}},
            ):
                headers = {"X-Mark": MARK, "Authorization": f"Bearer {MARK}"}
                found.append(await web.post("/chat/completions", json=body, headers=headers))
            await web.get(f"/{MARK}")
            await web.post("/chat/completions", content=MARK.encode())
            found.append(await web.get("/metrics"))
        await model.aclose()
        return found

    with serving(CHAT) as server:
        whole, stream, *_, metrics = asyncio.run(work(server))
    assert whole.status_code == 502
    for reply in (whole, stream):
        assert "generation_failed" in reply.text
        assert not [s for s in (MARK, KEYS[0], str(server.port)) if s in reply.text]
    assert MARK not in caplog.text
    assert MARK not in metrics.text
    assert KEYS[0] not in caplog.text
