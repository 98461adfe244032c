"""What it costs that `reasoning serve` stands between a client and its model.

    python -m benchmarks.serve

One run, side by side, in front of the same mock, which answers at once: `direct` asks the mock,
`aiohttp` and `httpx` a bare proxy of Starlette, uvicorn and that client, which passes bodies on,
`ours` the strategy `sample` of `reasoning serve`. Rounds of each alternate. Told are the latency of
one request after another (tenth percentile and median: on a busy machine only the first tells what
is computed), and the CPU time of the process in between, a request, at 16 requests at a time.
Goals: at most 1.5 ms more than the quicker proxy, and 1.2 times its CPU time.

Then 500 searches of self_consistency with n=8 at once, which must all be answered, and 1,000
requests, half of them streams, whose clients leave at random times: nothing may be left over.

With --optillm URL or --its-hub URL the latency of another gateway that stands in front of the mock
(its address is told at the start) is a further column.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORDS = [" and", " so", " we", " add", " two", " more", " to", " it"] * 4
EVENTS = 8
GOALS = {"latency": 1.5e-3, "cpu": 1.2}
ASKED = [{"role": "user", "content": "What is 12 * 7 + 5?"}]
RECIPE = """
task: nano
generator: {{name: openai, base_url: "http://127.0.0.1:{port}/v1", model: m, api: chat}}
strategies: [{{searcher: sample}}, {{searcher: self_consistency, n: 8}}]
sampling: {{max_tokens: 256}}
"""

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


def proxy(upstream: int, client: str) -> None:
    """A bare proxy in the framework that ours is built on."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    url, sessions = f"http://127.0.0.1:{upstream}/v1/chat/completions", list[Any]()

    async def ask(request: Request) -> Response:
        carry = by_httpx if client == "httpx" else by_aiohttp
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


@contextmanager
def started(*command: str, **more: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process of ours, and the port that the first number in its first line names."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **more,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield process, int(line.rpartition(":")[2].partition("/")[0])
    finally:
        process.terminate()
        process.wait(90)


def cpu(process: subprocess.Popen[str]) -> float:
    """Seconds that a process has computed, all of its threads together."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


async def asked(session: Any, url: str, body: dict[str, Any]) -> bytes:
    async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
        data: bytes = await reply.read()
        assert reply.status == 200, data
    return data


async def one_by_one(session: Any, url: str, body: dict[str, Any], n: int) -> list[float]:
    """Seconds of each request."""
    took = []
    for _ in range(n):
        start = time.perf_counter()
        await asked(session, url, body)
        took.append(time.perf_counter() - start)
    return took


async def side_by_side(session: Any, url: str, body: dict[str, Any], n: int, width: int) -> None:
    left = iter(range(n))

    async def work() -> None:
        for _ in left:
            await asked(session, url, body)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(work())


async def measured(
    urls: dict[str, str], processes: dict[str, Any], shape: Any
) -> dict[str, dict[str, list[float]]]:
    """By column and kind of answer: latencies, and CPU seconds a request (nan: not known)."""
    import aiohttp

    found: dict[str, dict[str, list[float]]] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for stream in (False, True):
            kind = "stream" if stream else "whole"
            body = {"model": "sample", "messages": ASKED, "stream": stream, "max_tokens": 256}
            for url in urls.values():
                await side_by_side(session, url, body, 100, 8)
            for _ in range(shape.rounds):
                for name, url in urls.items():
                    row = found.setdefault(f"{name} {kind}", {"latency": [], "cpu": []})
                    row["latency"] += await one_by_one(session, url, body, shape.requests // 4)
                    before = cpu(processes[name]) if name in processes else 0.0
                    await side_by_side(session, url, body, shape.requests, 16)
                    after = cpu(processes[name]) if name in processes else float("nan")
                    row["cpu"].append((after - before) / shape.requests)
    return found


async def crowd(url: str, n: int) -> dict[str, float]:
    """So many searches of 8 samples at once."""
    import aiohttp

    body = {"model": "self_consistency", "messages": ASKED}
    start = time.perf_counter()
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(asked(session, url, body)) for _ in range(n)]
    spent = [json.loads(task.result())["usage"]["search"] for task in tasks]
    assert all((s["calls"], s.get("failed_calls", 0)) == (8, 0) for s in spent)
    return {
        "searches": n,
        "calls": sum(s["calls"] for s in spent),
        "seconds": time.perf_counter() - start,
    }


async def leaving(url: str, upstream: str, n: int, seed: int) -> dict[str, float]:
    """Requests whose clients leave at random times; what is left over half a minute later."""
    import aiohttp

    rng, told = random.Random(seed), {"answered": 0, "left": 0}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await (await session.get(f"{upstream}/slow/0.5")).read()
        gate = asyncio.Semaphore(50)

        async def one(patience: float, body: dict[str, Any]) -> None:
            async with gate:
                try:
                    async with asyncio.timeout(patience):
                        await asked(session, url, body)
                    told["answered"] += 1
                except TimeoutError:
                    told["left"] += 1

        async with asyncio.TaskGroup() as group:
            for i in range(n):
                model = ("sample", "self_consistency")[i % 4 // 2]
                body = {"model": model, "messages": ASKED, "stream": i % 2 == 0}
                group.create_task(one(rng.uniform(0, 2.0), body))
        await (await session.get(f"{upstream}/slow/0")).read()
        for _ in range(300):
            health = await (await session.get(f"{url}/health")).json()
            counts = await (await session.get(f"{upstream}/counts")).json(content_type=None)
            if not health["searches"] and not counts["held"]:
                break
            await asyncio.sleep(0.1)
    return {
        **told,
        "calls cancelled": counts["left"],
        "calls left over": counts["held"],
        "searches left over": health["searches"],
    }


def tenth(values: list[float]) -> float:
    """The tenth percentile."""
    return sorted(values)[len(values) // 10]


def main(shape: argparse.Namespace) -> int:
    with started("-m", "benchmarks.serve", "--role", "mock") as (_, port):
        recipe = Path(f"/tmp/reasoning-serve-{os.getpid()}.yaml")
        recipe.write_text(RECIPE.format(port=port))
        ours = "from reasoning.cli.app import main; main()"
        serve = ("-c", ours, "serve", str(recipe), "--port", "0", "--trust")
        bare = ("-m", "benchmarks.serve", "--role", "proxy", "--port", str(port), "--client")
        try:
            with (
                started(*serve) as (served, at),
                started(*bare, "aiohttp") as (quick, one),
                started(*bare, "httpx") as (usual, two),
            ):
                ports = {"direct": port, "aiohttp": one, "httpx": two, "ours": at}
                urls = {name: f"http://127.0.0.1:{p}" for name, p in ports.items()}
                print(f"the mock is at {urls['direct']}/v1", flush=True)
                others = {"optillm": shape.optillm, "its_hub": shape.its_hub}
                urls |= {name: url for name, url in others.items() if url}
                processes = {"aiohttp": quick, "httpx": usual, "ours": served}
                found = asyncio.run(measured(urls, processes, shape))
                many = asyncio.run(crowd(urls["ours"], shape.crowd))
                gone = asyncio.run(leaving(urls["ours"], urls["direct"], shape.leaving, shape.seed))
        finally:
            recipe.unlink()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, row in found.items():
        quickest, middle = tenth(row["latency"]) * 1e3, statistics.median(row["latency"]) * 1e3
        used = statistics.median(row["cpu"]) * 1e3
        print(
            f"{name:16} {quickest:7.2f} ms, median {middle:7.2f} ms; {used:6.2f} ms CPU a request"
        )
    fine = not (gone["searches left over"] or gone["calls left over"])
    for kind in ("whole", "stream"):
        mine = found[f"ours {kind}"]
        for client in ("aiohttp", "httpx"):
            bare_row = found[f"{client} {kind}"]
            more = tenth(mine["latency"]) - tenth(bare_row["latency"])
            times = statistics.median(mine["cpu"]) / statistics.median(bare_row["cpu"])
            print(
                f"{kind}: {more * 1e3:.2f} ms more than the proxy by {client}, "
                f"{times:.2f} times its CPU time"
            )
            if client == "aiohttp":
                fine &= more <= GOALS["latency"] and times <= GOALS["cpu"]
    print(many)
    print(gone)
    return 0 if fine else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--role", choices=["mock", "proxy"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--client", default="aiohttp", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--crowd", type=int, default=500)
    parser.add_argument("--leaving", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optillm", metavar="URL")
    parser.add_argument("--its-hub", metavar="URL")
    given = parser.parse_args()
    if given.role == "mock":
        asyncio.run(mock())
    elif given.role == "proxy":
        proxy(given.port, given.client)
    else:
        sys.exit(main(given))
