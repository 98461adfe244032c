"""What reading answers costs the client: CPU per generated token, beside its_hub's client.

Self-consistency: 16 problems of 16 samples, 256 calls at once, answers of 600 tokens, against a
local server in a process of its own that says a token every 10 ms, streamed or in one piece as it
is asked. `whole` is what a strategy does whose samples are independent and that has no limit which
might end a call early; `stream` is the same under a deadline. With --its-hub VENV, its_hub from
PyPI runs the same as a third column; the environment is made there if it does not exist.
Goal: `whole` at most 1.2 times its_hub's CPU.

`bare` is the bound of streams: an asyncio protocol that does nothing with what it is sent but to
count the bytes, 256 connections at once. With --against CHECKOUT (git worktree add) the streams are
also read by the code of another version. Goal: a third of that of e2db654, or the bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAUSE = 0.010
TOKENS = 600
PROBLEMS, SAMPLES = 16, 16
WORDS = [f" w{i}" for i in range(TOKENS - 1)] + [" \\boxed{7}"]
GOAL = 1.2
OF_THEIRS = 1 / 3


def told(
    words: list[str], at: int, end: str | None, *, streamed: bool, chat: bool, logprobs: bool
) -> dict[str, Any]:
    """The choice that says `words`, which begin with token number `at`."""
    text = "".join(words)
    choice: dict[str, Any] = {"index": 0, "finish_reason": end}
    if chat:
        choice["delta" if streamed else "message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    if logprobs:
        some = {"tokens": words, "token_logprobs": [-0.5] * len(words)}
        choice["logprobs"] = some | {"text_offset": [0] * len(words), "top_logprobs": None}
    return choice


class Answering(asyncio.Protocol):
    """One connection of a server that knows just one answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, separator, rest = self.data.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if not separator or len(rest) < size:
            return
        self.data = rest[size:]
        path = head.split(b" ", 2)[1].decode()
        asyncio.get_running_loop().create_task(
            self.answer(path, json.loads(rest[:size]) if size else {})
        )

    async def answer(self, path: str, body: dict[str, Any]) -> None:
        common = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
        if path.endswith("/models"):
            self.whole({"data": [{"id": "m", "max_model_len": 32768}]})
            return
        if not path.endswith("/completions"):
            self.transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        form = {
            "streamed": bool(body.get("stream")),
            "chat": "messages" in body,
            "logprobs": body.get("logprobs") is not None and "messages" not in body,
        }
        words = WORDS[: body.get("max_completion_tokens") or body.get("max_tokens")]
        usage = {"prompt_tokens": 100, "completion_tokens": len(words)}
        end = "stop" if len(words) == TOKENS else "length"
        if not form["streamed"]:
            await asyncio.sleep(PAUSE * len(words))
            self.whole({**common, "choices": [told(words, 0, end, **form)], "usage": usage})
            return
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        begin = time.monotonic()
        for at, word in enumerate(words):
            why = end if at + 1 == len(words) else None
            self.event({**common, "choices": [told([word], at, why, **form)]})
            await asyncio.sleep(max(0.0, begin + (at + 1) * PAUSE - time.monotonic()))
        self.event({**common, "choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def whole(self, said: Any) -> None:
        payload = json.dumps(said).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(payload) + payload)

    def event(self, said: Any) -> None:
        self.chunk(f"data: {json.dumps(said)}\n\n".encode())

    def chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, "--column", "serve"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def ours(port: int, seconds: float | None) -> Callable[[], Coroutine[Any, Any, None]]:
    from reasoning.backends.openai import Limits, OpenAI
    from reasoning.generate import Sampling
    from reasoning.problem import Problem
    from reasoning.search import Search

    run = running(seconds)

    async def main() -> None:
        url = f"http://127.0.0.1:{port}/v1"
        generator = OpenAI([url], "m", api="chat", limits=Limits(max_in_flight=4096))

        async def one(i: int) -> None:
            problem = Problem(f"p{i}", f"What is {i} + 4?")
            search = Search(problem, generator, sampling=Sampling(max_tokens=2048))
            result = await run(search)
            assert result.usage.generated_tokens == SAMPLES * TOKENS, result.usage
            assert result.answer == "7", result

        async with asyncio.TaskGroup() as group:
            for i in range(PROBLEMS):
                group.create_task(one(i))
        await generator.aclose()

    return main


def running(seconds: float | None) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    """What runs a search of self-consistency, in this version or an earlier one."""
    try:
        from reasoning.result import run_search
        from reasoning.runs.stages import chained
    except ImportError:
        from reasoning.api import run_search as run_then  # type: ignore[import-not-found]
        from reasoning.names import (  # type: ignore[import-not-found]
            bind_aggregator,
            bind_searcher,
        )

        searcher = bind_searcher("self_consistency", {"n": SAMPLES})
        return lambda search: run_then(search, searcher, bind_aggregator("majority"), seconds)
    strategy = chained("self_consistency", (), None, {"n": SAMPLES})
    return lambda search: run_search(search, strategy, seconds=seconds)


class Counting(asyncio.Protocol):
    """Asks, and counts the bytes of the answer."""

    def __init__(self) -> None:
        self.size = 0
        self.end = b""
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        body = json.dumps({"stream": True, "messages": [], "max_tokens": 2048}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        transport.write(head + body)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        self.end = self.end[-6:] + data[-7:]
        if self.end.endswith(b"\r\n0\r\n\r\n"):
            self.over.set_result(self.size)


def bare(port: int) -> Callable[[], Coroutine[Any, Any, None]]:
    async def one() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Counting, "127.0.0.1", port)
        await protocol.over
        transport.close()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(PROBLEMS * SAMPLES):
                group.create_task(one())

    return main


def its_hub(port: int) -> Callable[[], Coroutine[Any, Any, None]]:
    from its_hub import OpenAICompatibleLanguageModel
    from its_hub.core.algorithms.self_consistency import SelfConsistency

    async def main() -> None:
        lm = OpenAICompatibleLanguageModel(
            endpoint=f"http://127.0.0.1:{port}/v1", api_key="none", model_name="m"
        )
        async with asyncio.TaskGroup() as group:
            for i in range(PROBLEMS):
                group.create_task(
                    SelfConsistency(str).ainfer(lm, f"What is {i} + 4?", budget=SAMPLES)
                )

    return main


COLUMNS: dict[str, Callable[[int], Callable[[], Coroutine[Any, Any, None]]]] = {
    "whole": lambda port: ours(port, None),
    "stream": lambda port: ours(port, 300.0),
    "bare": bare,
    "its_hub": its_hub,
}


def column(name: str, python: str, tree: Path = ROOT) -> dict[str, float]:
    """Wall and CPU seconds of one column, in a process of its own, against a fresh server."""
    with server() as port:
        command = [python, "-P", __file__, "--column", name, "--port", str(port)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tree)}
        )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def timed(name: str, port: int) -> dict[str, float]:
    work = COLUMNS[name](port)
    cpu, wall = time.process_time(), time.perf_counter()
    asyncio.run(work())
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is printed")
    parser.add_argument("--its-hub", type=Path, metavar="VENV", help="an environment for its_hub")
    parser.add_argument("--against", type=Path, help="A checkout of another version.")
    parser.add_argument("--column", choices=[*COLUMNS, "serve"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.column == "serve":
        asyncio.run(serve())
    elif options.column:
        print(json.dumps(timed(options.column, options.port)))
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    columns = {name: (name, sys.executable, ROOT) for name in ("whole", "stream", "bare")}
    if options.against:
        columns["theirs"] = ("stream", sys.executable, options.against.resolve())
    if options.its_hub:
        from benchmarks.http import environment

        columns["its_hub"] = ("its_hub", environment(options.its_hub), ROOT)
    tokens = PROBLEMS * SAMPLES * TOKENS
    print(f"{PROBLEMS * SAMPLES} answers at once, {tokens:,} tokens, best of {options.rounds}")
    best: dict[str, dict[str, float]] = {}
    for _ in range(options.rounds):
        for name, how in columns.items():
            found = column(*how)
            before = best.setdefault(name, found)
            best[name] = {key: min(before[key], found[key]) for key in found}
    for name, found in best.items():
        wall, cpu = found["wall"], found["cpu"]
        print(
            f"{name:8} wall {wall:6.2f} s, CPU {cpu:5.2f} s, {cpu / tokens * 1e6:5.1f} us a token"
        )
    for ours, other, goal in (("whole", "its_hub", GOAL), ("stream", "theirs", OF_THEIRS)):
        if other in best:
            ratio = best[ours]["cpu"] / best[other]["cpu"]
            verdict = "met" if ratio <= goal else "MISSED"
            print(f"{ours} is {ratio:.2f} times {other}: goal {goal:.2f} {verdict}")


if __name__ == "__main__":
    main()
