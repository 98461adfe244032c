"""What stands beside and behind `reasoning serve` in `benchmarks.serve`: a mock, and proxies.

Each is a process, which says first at which port it listens.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

WORDS = [" and", " so", " we", " add", " two", " more", " to", " it"] * 4
EVENTS = 8
EMPTY = b'{"id": "0", "object": "chat.completion", "choices": []}'

# The mock: the least Python that answers, so that it is not what is measured.

calls = answered = left = 0


def said(body: dict[str, Any]) -> tuple[str, str]:
    """Content type and what is said to a request for a chat."""
    usage = {"prompt_tokens": 20, "completion_tokens": len(WORDS), "total_tokens": 20 + len(WORDS)}
    common = {"id": "chatcmpl-1", "created": 1, "model": "m"}

    def choice(kind: str, words: list[str], end: bool) -> dict[str, Any]:
        found = {"index": 0, kind: {"role": "assistant", "content": "".join(words)}}
        if body.get("logprobs"):
            rows: list[Any] = [
                {"token": w, "logprob": -0.5, "bytes": None, "top_logprobs": []} for w in words
            ]
            found["logprobs"] = {"content": rows}
        return {**found, "finish_reason": "stop" if end else None}

    if not body.get("stream"):
        whole = {"object": "chat.completion", "choices": [choice("message", WORDS, True)]}
        return "application/json", json.dumps({**common, **whole, "usage": usage})
    size = len(WORDS) // EVENTS
    events: list[Any] = [
        {"choices": [choice("delta", WORDS[i : i + size], i + size == len(WORDS))]}
        for i in range(0, len(WORDS), size)
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append({"choices": [], "usage": usage})
    common["object"] = "chat.completion.chunk"
    lines = [f"data: {json.dumps({**common, **event})}\n\n" for event in events]
    return "text/event-stream", "".join([*lines, "data: [DONE]\n\n"])


class Mock(asyncio.Protocol):
    """One connection, one request at a time; `slow`: the answer comes after so many seconds."""

    slow = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport, self.data, self.answering = transport, b"", False

    def connection_lost(self, error: Exception | None) -> None:
        global left
        left += self.answering
        self.answering = False

    def data_received(self, data: bytes) -> None:
        global calls
        self.data += data
        head, end, rest = self.data.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if not end or len(rest) < size:
            return
        self.data = rest[size:]
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/chat/completions"):
            calls, self.answering = calls + 1, True
            kind, text = said(json.loads(rest[:size]))
            if not Mock.slow:
                self.answer(kind, text)
                return
            delay = Mock.slow * (0.5 + random.random())
            asyncio.get_running_loop().call_later(delay, self.answer, kind, text)
            return
        if path.startswith(b"/slow/"):
            Mock.slow = float(path[6:])
        held = calls - answered - left
        told = {"data": [{"id": "m"}], "left": left, "held": held}
        self.answer("application/json", json.dumps(told))

    def answer(self, kind: str, text: str) -> None:
        global answered
        if self.transport.is_closing():
            return
        answered += self.answering
        self.answering = False
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(text)}\r\n\r\n"
        self.transport.write((head + text).encode())


async def mock() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Mock, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def by_aiohttp(url: str, data: bytes, sessions: list[Any]) -> tuple[int, str, Any]:
    """Status, content type, and the body, whole or in pieces."""
    import aiohttp

    if not sessions:
        sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    reply = await sessions[0].post(url, data=data, headers={"Content-Type": "application/json"})
    whole = reply.content_type == "application/json"
    return (
        reply.status,
        reply.content_type,
        await reply.read() if whole else reply.content.iter_any(),
    )


async def by_httpx(url: str, data: bytes, sessions: list[Any]) -> tuple[int, str, Any]:
    """The same."""
    import httpx

    if not sessions:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        sessions.append(httpx.AsyncClient(limits=limits, timeout=600))
    headers = {"Content-Type": "application/json"}
    request = sessions[0].build_request("POST", url, content=data, headers=headers)
    reply = await sessions[0].send(request, stream=True)
    kind = reply.headers["content-type"]
    whole = kind == "application/json"
    return reply.status_code, kind, await reply.aread() if whole else reply.aiter_raw()


async def by_ours(url: str, data: bytes, sessions: list[Any]) -> tuple[int, str, Any]:
    """By the HTTP client that ours has; the request is read and written, and a whole answer."""
    from reasoning.clock import RealClock
    from reasoning.http.connection import Reply
    from reasoning.http.pool import Pool

    root, _, path = url.partition("/v1/")
    if not sessions:
        sessions.append(Pool([f"{root}/v1"], clock=RealClock()))
    reply = await sessions[0].exchange(path, json.loads(data), Reply())
    if reply.streamed:
        return 200, "text/event-stream", bytes(reply.body)
    return 200, "application/json", json.dumps(json.loads(reply.body)).encode()


async def by_nobody(url: str, data: bytes, sessions: list[Any]) -> tuple[int, str, Any]:
    """An answer that is there already."""
    del url, data, sessions
    return 200, "application/json", EMPTY


def proxy(upstream: str, client: str) -> None:
    """A bare proxy in the framework that ours is built on."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    url, sessions = f"{upstream}/v1/chat/completions", list[Any]()
    clients = {"httpx": by_httpx, "aiohttp": by_aiohttp, "least": by_ours, "empty": by_nobody}
    carry = clients[client]

    async def ask(request: Request) -> Response:
        status, kind, found = await carry(url, await request.body(), sessions)
        if isinstance(found, bytes):
            return Response(found, status, media_type=kind)
        return StreamingResponse(found, status, media_type=kind)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    app = Starlette(routes=[Route("/v1/chat/completions", ask, methods=["POST"])])
    config = uvicorn.Config(
        app, port=0, http="httptools", loop="asyncio", ws="none", lifespan="off",
        access_log=False, log_config=None,
    )  # fmt: skip
    Server(config).run()


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    if role == "mock":
        asyncio.run(mock())
    else:
        proxy(rest[0], role)
