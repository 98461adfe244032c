"""What our way of talking to servers costs, beside a bare client that makes the same calls.

A particle filter: 32 problems, 64 particles, 10 steps, each step generated and scored: 20,480
steps, all problems at once, against a local server in a process of its own that answers every call
after 20 ms. `ours` is the strategy itself, with tree, budget, seeds and resampling; `bare` is a
loop over aiohttp's client that makes the same calls in the same rounds and keeps nothing.
Goal: wall and CPU time at most 1.15 times the bare client's, and no new connection per step.
With --rarely garbage is looked for as rarely as our commands have it, in both. Much of the time of
a program with thousands of calls in flight goes there, the more the more objects a client makes.

Scores come from numbers at hand, so that every call is a generation; with --score-calls they come
from the server too, over the same connections, which makes 40,960 calls.

Then 1,000 concurrent calls to a host name, from a cold start: they must not hang.

With --its-hub VENV, its_hub from PyPI runs the same as a third column; the environment is made
there if it does not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from reasoning import garbage

ROOT = Path(__file__).resolve().parents[1]
DELAY = 0.020
TOKENS = 8
QUESTION = list(range(1000, 1100))
STRINGS = ["and", " so", " we", " add", " two", " more", "s", "\n\n"]
STEP = "".join(STRINGS)
GOAL = 1.15

# The server: the least Python that answers, so that it is not what is measured.

connections = 0
requests = 0


def answers(path: str, body: dict[str, Any]) -> tuple[str, Any]:
    """Content type and what is said."""
    if path.endswith("/models"):
        return "application/json", {"data": [{"id": "m", "max_model_len": 32768}]}
    if path == "/tokenize":
        return "application/json", {"tokens": QUESTION}
    if path == "/score":
        return "application/json", {"score": 0.25 + 0.5 * (hash(str(body)) % 997) / 997}
    if path == "/counts":
        return "application/json", {"connections": connections, "requests": requests}
    message = "messages" in body
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "stop_reason": "\n\n"}
    if not (body.get("stop") or body.get("seed")):  # a question of the probe
        choice |= {"text": "one", "finish_reason": "length", "stop_reason": None}
        if body.get("return_token_ids"):
            choice["prompt_logprobs"] = [None]
    elif body.get("stop") == ["o"]:
        choice |= {"text": "o", "stop_reason": "o"}
    else:
        choice["text"] = STEP
    if message:
        text = choice.pop("text")
        choice["delta" if body.get("stream") else "message"] = {
            "role": "assistant",
            "content": text,
        }
    if body.get("return_token_ids"):
        choice["token_ids"] = list(range(300, 300 + TOKENS))
    if body.get("logprobs") is not None:
        choice["logprobs"] = {
            "tokens": STRINGS,
            "token_logprobs": [-0.5] * TOKENS,
            "text_offset": list(range(TOKENS)),
            "top_logprobs": None,
        }
    usage = {"prompt_tokens": 100, "completion_tokens": TOKENS, "total_tokens": 100 + TOKENS}
    common = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    if not body.get("stream"):
        return "application/json", {**common, "choices": [choice], "usage": usage}
    events = [{**common, "choices": [choice]}, {**common, "choices": [], "usage": usage}]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "text/event-stream", "".join([*lines, "data: [DONE]\n\n"])


class Answering(asyncio.Protocol):
    """One connection, one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        global connections
        connections += 1
        self.transport: Any = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        global requests
        self.data += data
        head, separator, rest = self.data.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        size = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < size:
            return
        self.data = rest[size:]
        path = head.split(b" ", 2)[1].decode()
        requests += path != "/counts"
        kind, said = answers(path, json.loads(rest[:size]) if size else {})
        payload = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        answer = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            kind.encode(),
            len(payload),
            payload,
        )
        asyncio.get_running_loop().call_later(DELAY, self.transport.write, answer)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "localhost", 0, backlog=4096)
    ports = [s.getsockname()[1] for s in server.sockets]
    if len(set(ports)) > 1:  # a port for each family: listen again, on the first one's
        server.close()
        server = await loop.create_server(Answering, "localhost", ports[0], backlog=4096)
    print(ports[0], flush=True)
    await server.serve_forever()


@contextmanager
def server() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--column", "serve"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


# The columns. Each runs in a process of its own and returns a function to be timed.


def ours(port: int, shape: argparse.Namespace) -> Callable[[], Coroutine[Any, Any, None]]:
    from functools import partial

    from reasoning.backends.openai import Limits, OpenAI
    from reasoning.generate import Meter, Sampling
    from reasoning.problem import Problem
    from reasoning.search import Search, Step
    from reasoning.tree import Node
    from reasoning.verify import Scores, Verifier
    from searchers.tree.particle_filter import particle_filter

    class Score(Verifier):
        name = "score"

        def __init__(self, generator: OpenAI) -> None:
            self.generator = generator

        async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
            if not shape.score_calls:
                return (0.25 + 0.5 * (node.key % 997) / 997,)
            found = await self.generator.pool.post("/score", {"text": node.sample.text})
            return (found["score"],)

    async def main() -> None:
        generator = OpenAI([f"http://localhost:{port}/v1"], "m", limits=Limits(max_in_flight=4096))
        verifier = Score(generator)
        walk = partial(particle_filter, n=shape.particles, max_steps=shape.steps)
        sampling = Sampling(max_tokens=100_000, temperature=0.8)

        async def one(i: int) -> None:
            problem = Problem(f"p{i}", f"What is {i} + 4?")
            search = Search(
                problem, generator, verifier=verifier, sampling=sampling, step=Step(max_tokens=64)
            )
            await walk(search)
            assert len(search.tree) == shape.particles * shape.steps, len(search.tree)
            assert not search.failures, search.failures[0]

        async with asyncio.TaskGroup() as group:
            for i in range(shape.problems):
                group.create_task(one(i))
        await generator.aclose()

    return main


def bare(port: int, shape: argparse.Namespace) -> Callable[[], Coroutine[Any, Any, None]]:
    import aiohttp

    url = f"http://localhost:{port}"

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def step(i: int, k: int, prompt: list[int]) -> list[int]:
                body = {
                    "model": "m",
                    "prompt": prompt,
                    "max_tokens": 64,
                    "temperature": 0.8,
                    "seed": 10_000 * i + k + 1,
                    "stop": ["\n\n"],
                    "include_stop_str_in_output": True,
                    "logprobs": 0,
                    "return_token_ids": True,
                }
                async with session.post(f"{url}/v1/completions", json=body) as reply:
                    answer = await reply.json()
                choice = answer["choices"][0]
                if shape.score_calls:
                    text = {"text": choice["text"]}
                    async with session.post(f"{url}/score", json=text) as reply:
                        await reply.json()
                return [*prompt, *choice["token_ids"]]

            async def one(i: int) -> None:
                paths = [QUESTION] * shape.particles
                for _ in range(shape.steps):
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(step(i, k, p)) for k, p in enumerate(paths)]
                    paths = [task.result() for task in tasks]

            async with asyncio.TaskGroup() as group:
                for i in range(shape.problems):
                    group.create_task(one(i))

    return main


def its_hub(port: int, shape: argparse.Namespace) -> Callable[[], Coroutine[Any, Any, None]]:
    from its_hub import AbstractProcessRewardModel, OpenAICompatibleLanguageModel, StepGeneration
    from its_hub.core.algorithms.particle_gibbs import ParticleFiltering

    class Score(AbstractProcessRewardModel):  # type: ignore[misc]
        async def ascore(self, prompt: Any, steps: Any) -> list[float]:
            return [0.5] * len(steps)

        def score(self, prompt: Any, steps: Any) -> list[float]:
            return [0.5] * len(steps)

    async def main() -> None:
        lm = OpenAICompatibleLanguageModel(
            endpoint=f"http://localhost:{port}/v1", api_key="none", model_name="m"
        )
        steps = StepGeneration(max_steps=shape.steps, step_token="\n\n", temperature=0.8)

        async def one(i: int) -> None:
            await ParticleFiltering(steps, Score()).ainfer(
                lm, f"What is {i} + 4?", budget=shape.particles
            )

        async with asyncio.TaskGroup() as group:
            for i in range(shape.problems):
                group.create_task(one(i))

    return main


def many(port: int, shape: argparse.Namespace) -> Callable[[], Coroutine[Any, Any, None]]:
    """1,000 calls at once to a host name, nothing looked up or connected before."""
    from reasoning.backends.openai import Limits, OpenAI
    from reasoning.generate import Prompt, Sampling
    from reasoning.problem import Problem
    from reasoning.tree import RolloutTree

    async def main() -> None:
        generator = OpenAI([f"http://localhost:{port}/v1"], "m", limits=Limits(max_in_flight=1000))
        root, problem = RolloutTree("p").root, Problem("p", "What is 3 + 4?")
        params = Sampling(max_tokens=64, stop=("\n\n",))

        async def one(i: int) -> None:
            sample = await generator.generate(
                Prompt(problem, root, i), params, seed=i + 1, meter=lambda _: None
            )
            assert sample.text == STEP

        async with asyncio.TaskGroup() as group:
            for i in range(1000):
                group.create_task(one(i))
        await generator.aclose()

    return main


COLUMNS = {"ours": ours, "bare": bare, "its_hub": its_hub, "many": many}


def timed(name: str, port: int, shape: argparse.Namespace) -> dict[str, float]:
    """Wall and CPU seconds of one column, in this process."""
    work = COLUMNS[name](port, shape)
    cpu, wall = time.process_time(), time.perf_counter()
    with garbage.rarely() if shape.rarely else nullcontext():
        asyncio.run(work())
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def counts(port: int) -> dict[str, int]:
    with socket.create_connection(("localhost", port)) as client:
        client.sendall(b"GET /counts HTTP/1.1\r\n\r\n")
        data = client.recv(4096)
    return json.loads(data.partition(b"\r\n\r\n")[2])  # type: ignore[no-any-return]


def column(name: str, shape: argparse.Namespace, python: str = sys.executable) -> dict[str, float]:
    """One column against a fresh server: seconds, connections and requests."""
    with server() as port:
        # -P: this file must not hide the standard library's http from the clients.
        command = [python, "-P", __file__, "--column", name, "--port", str(port)]
        for option in ("problems", "particles", "steps"):
            command += [f"--{option}", str(getattr(shape, option))]
        command += ["--score-calls"] * shape.score_calls + ["--rarely"] * shape.rarely
        path = {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | path, timeout=1800
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        return {**json.loads(done.stdout.splitlines()[-1]), **counts(port)}


def environment(folder: Path) -> str:
    """The Python of an environment with its_hub in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "its_hub[lm]"], check=True)
    return str(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--particles", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is printed")
    parser.add_argument("--score-calls", action="store_true", help="scores come from the server")
    parser.add_argument("--rarely", action="store_true", help="look for garbage as commands do")
    parser.add_argument("--its-hub", type=Path, metavar="VENV", help="an environment for its_hub")
    parser.add_argument("--column", choices=[*COLUMNS, "serve"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    shape = parser.parse_args()
    if shape.column == "serve":
        asyncio.run(serve())
    elif shape.column:
        print(json.dumps(timed(shape.column, shape.port, shape)))
    else:
        compare(shape)


def compare(shape: argparse.Namespace) -> None:
    if importlib.util.find_spec("aiohttp") is None:
        raise SystemExit("the bare client is aiohttp's: pip install aiohttp")
    names = {"bare": sys.executable, "ours": sys.executable}
    steps = shape.problems * shape.particles * shape.steps
    calls = "generated and scored over HTTP" if shape.score_calls else "generated over HTTP"
    print(f"{steps:,} steps {calls}, {shape.problems} problems at once, best of {shape.rounds}")
    best: dict[str, dict[str, float]] = {}
    for _ in range(shape.rounds):
        for name, python in names.items():
            found = column(name, shape, python)
            before = best.setdefault(name, found)
            best[name] = {key: min(before[key], found[key]) for key in found}
    if shape.its_hub:
        best["its_hub"] = column("its_hub", shape, environment(shape.its_hub))
    floor = best["bare"]
    for name, found in best.items():
        print(
            f"{name:8} wall {found['wall']:7.2f} s ({found['wall'] / floor['wall']:5.2f}), "
            f"CPU {found['cpu']:7.2f} s ({found['cpu'] / floor['cpu']:5.2f}), "
            f"{found['requests']:6,.0f} requests, {found['connections'] - 1:5,.0f} connections"
        )
    mine = max(best["ours"][kind] / floor[kind] for kind in ("wall", "cpu"))
    print(f"goal, at most {GOAL} times the bare client: {'met' if mine <= GOAL else 'MISSED'}")
    found = column("many", shape)
    print(
        f"1,000 calls at once to a host name: {found['wall']:.2f} s, "
        f"{found['connections'] - 1:,.0f} connections"
    )


if __name__ == "__main__":
    main()
