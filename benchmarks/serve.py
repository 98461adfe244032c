"""What it costs that `reasoning serve` stands between a client and its model.

    python -m benchmarks.serve

One run, side by side, in front of the same mock, which answers at once: `direct` asks the mock,
`aiohttp` and `httpx` a bare proxy of Starlette, uvicorn and that client, which passes bodies on,
`ours` the strategy `sample` of `reasoning serve`, `empty` an endpoint of Starlette that answers
without asking anybody (what the framework costs), `least` one that reads the request and asks by
the HTTP client that `ours` has, and reads and writes a whole answer. Rounds of each alternate. Told
are the latency of one request after another (tenth percentile and median: on a busy machine only
the first tells what is computed), and the CPU time of the process in between, a request, at 16
requests at a time (of all rounds the least, for the same reason). Goals: at most 1.5 ms more than
the quicker proxy, and 1.2 times its CPU time.

Then 500 searches of self_consistency with n=8 at once, which must all be answered, and 1,000
requests, half of them streams, whose clients leave at random times: nothing may be left over.

With --upstream URL (and /v1) --model NAME a server of your own takes the place of the mock, asked
for 32 tokens; what comes after the columns is then left out, as only the mock tells what it holds.

With --optillm PYTHON and --its-hub PYTHON, interpreters of environments that have them, these
gateways are further columns: optillm with its approach `none`, which passes a request on, its_hub
with self-consistency of one sample, as it has no strategy that draws one. Both are one process, as
ours is. Where the interpreter has none of it, the column is left out and the reason told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BARE = ("empty", "least", "aiohttp", "httpx")
GATEWAYS = {
    "optillm": ("optillm", ("-c", "from optillm.server import main; main()", "--approach", "none")),
    "its_hub": ("its_hub", ("-m", "its_hub.integration.iaas.app_server", "--log-level", "ERROR")),
}
VERSION = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
GOALS = {"latency": 1.5e-3, "cpu": 1.2}
ASKED = [{"role": "user", "content": "What is 12 * 7 + 5?"}]
RECIPE = """
task: nano
generator: {{name: openai, base_url: "{url}/v1", model: {model}, api: {api}}}
strategies: [{{searcher: sample}}, {{searcher: self_consistency, n: 8}}]
sampling: {{max_tokens: 256}}
"""


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


@contextmanager
def gateway(
    name: str, python: str, upstream: str
) -> Iterator[tuple[subprocess.Popen[bytes], int] | None]:
    """Somebody else's, in front of the mock, as they tell to start it; None if it is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    package, arguments = GATEWAYS[name]
    told = subprocess.run([python, "-c", VERSION, package], capture_output=True, text=True)
    if told.returncode:
        print(f"{name} is left out: {told.stderr.strip().splitlines()[-1]}")
        yield None
        return
    print(f"{name} {told.stdout.strip()}")
    command = [python, *arguments, "--port", str(port)]
    if name == "optillm":
        command += ["--base-url", f"{upstream}/v1"]
    env = os.environ | {"OPENAI_API_KEY": "none"}
    quiet = subprocess.DEVNULL
    with TemporaryDirectory() as here:
        process = subprocess.Popen(command, env=env, cwd=here, stdout=quiet, stderr=quiet)
        try:
            for _ in range(600):
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.1)
            if name == "its_hub":
                model = {"endpoint": f"{upstream}/v1", "api_key": "none", "model": "m"}
                votes = {"alg": "self-consistency", "budget": 1, "regex_patterns": ["(.*)"]}
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/configure",
                    json.dumps(model | votes).encode(),
                    {"Content-Type": "application/json"},
                )
                urllib.request.urlopen(request).close()
            yield process, port
        finally:
            process.terminate()
            process.wait(90)


def cpu(process: subprocess.Popen[Any], *, ended: bool = False) -> float:
    """Seconds that a process has computed, all of its threads together; with `ended` also those
    that are over, to 10 ms."""
    if ended:
        spent = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def session_of_many() -> Any:
    """A client that keeps connections for less long than servers do (uvicorn: 5 s)."""
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2))


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
    found: dict[str, dict[str, list[float]]] = {}
    async with session_of_many() as session:
        for stream in (False, True):
            kind = "stream" if stream else "whole"
            most = 32 if shape.upstream else 256
            body = {"messages": ASKED, "stream": stream, "max_tokens": most}
            bodies = {n: {"model": "sample", **body} for n in urls}
            for name in (n for n in urls if n != "ours"):
                bodies[name]["model"] = shape.model
            for name, url in urls.items():
                await side_by_side(session, url, bodies[name], min(100, shape.requests), 8)
            for _ in range(shape.rounds):
                for name, url in urls.items():
                    body = bodies[name]
                    row = found.setdefault(f"{name} {kind}", {"latency": [], "cpu": []})
                    row["latency"] += await one_by_one(session, url, body, shape.requests // 4)
                    process, ended = processes.get(name), name in GATEWAYS
                    before = cpu(process, ended=ended) if process else 0.0
                    await side_by_side(session, url, body, shape.requests, 16)
                    after = cpu(process, ended=ended) if process else float("nan")
                    row["cpu"].append((after - before) / shape.requests)
    return found


async def crowd(url: str, n: int) -> dict[str, float]:
    """So many searches of 8 samples at once."""
    body = {"model": "self_consistency", "messages": ASKED}
    start = time.perf_counter()
    async with (
        session_of_many() as session,
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


async def its_crowd(url: str, n: int) -> dict[str, float]:
    """The same of its_hub: votes of 8."""
    body, start = {"model": "m", "messages": ASKED, "budget": 8}, time.perf_counter()
    async with session_of_many() as session:
        found = await asyncio.gather(
            *(asked(session, url, body) for _ in range(n)), return_exceptions=True
        )
    failed = sum(isinstance(one, BaseException) for one in found)
    return {"searches": n, "failed": failed, "seconds": time.perf_counter() - start}


async def leaving(url: str, upstream: str, n: int, seed: int) -> dict[str, float]:
    """Requests whose clients leave at random times; what is left over half a minute later."""
    rng, told = random.Random(seed), {"answered": 0, "left": 0}
    async with session_of_many() as session:
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


@contextmanager
def upstream(shape: argparse.Namespace) -> Iterator[str]:
    """The root URL of the server behind: what is named, else a mock."""
    if shape.upstream:
        yield shape.upstream.removesuffix("/").removesuffix("/v1")
        return
    with started("-m", "benchmarks.serve_behind", "mock") as (_, port):
        yield f"http://127.0.0.1:{port}"


def main(shape: argparse.Namespace) -> int:
    many: dict[str, float] = {}
    gone: dict[str, float] = {}
    with upstream(shape) as direct, TemporaryDirectory() as folder:
        recipe, api = Path(folder) / "recipe.yaml", "auto" if shape.upstream else "chat"
        recipe.write_text(RECIPE.format(url=direct, model=shape.model, api=api))
        ours = "from reasoning.cli.app import main; main()"
        serve = ("-c", ours, "serve", str(recipe), "--port", "0", "--trust")
        bare = ("-m", "benchmarks.serve_behind")
        with ExitStack() as stack:
            commands = {name: (*bare, name, direct) for name in BARE}
            commands["ours"] = serve
            running = {n: stack.enter_context(started(*c)) for n, c in commands.items()}
            urls = {"direct": direct}
            urls |= {name: f"http://127.0.0.1:{port}" for name, (_, port) in running.items()}
            print(f"the server behind is at {direct}/v1", flush=True)
            pythons = {"optillm": shape.optillm, "its_hub": shape.its_hub}
            for name, python in pythons.items():
                if python and (found_one := stack.enter_context(gateway(name, python, direct))):
                    running[name] = found_one
                    urls[name] = f"http://127.0.0.1:{found_one[1]}"
            processes = {name: process for name, (process, _) in running.items()}
            found = asyncio.run(measured(urls, processes, shape))
            if not shape.upstream and "its_hub" in urls:
                print("its_hub:", asyncio.run(its_crowd(urls["its_hub"], shape.crowd)))
            if not shape.upstream:
                many = asyncio.run(crowd(urls["ours"], shape.crowd))
                gone = asyncio.run(leaving(urls["ours"], direct, shape.leaving, shape.seed))
    fine = told(found) and not (gone.get("searches left over") or gone.get("calls left over"))
    if gone:
        print(many)
        print(gone)
    return 0 if fine else 1


def told(found: dict[str, dict[str, list[float]]]) -> bool:
    """Print what was measured; whether the goals are met."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, row in found.items():
        quickest, middle = tenth(row["latency"]) * 1e3, statistics.median(row["latency"]) * 1e3
        used = min(row["cpu"]) * 1e3
        print(
            f"{name:16} {quickest:7.2f} ms, median {middle:7.2f} ms; {used:6.2f} ms CPU a request"
        )
    fine = True
    for kind in ("whole", "stream"):
        mine = found[f"ours {kind}"]
        for client in ("aiohttp", "httpx"):
            bare_row = found[f"{client} {kind}"]
            more = tenth(mine["latency"]) - tenth(bare_row["latency"])
            times = min(mine["cpu"]) / min(bare_row["cpu"])
            rounds = [a / b for a, b in zip(mine["cpu"], bare_row["cpu"], strict=True)]
            print(
                f"{kind}: {more * 1e3:.2f} ms more than the proxy by {client}, "
                f"{times:.2f} times its CPU time ({statistics.median(rounds):.2f} in the middle of "
                "the rounds)"
            )
            if client == "aiohttp":
                fine &= more <= GOALS["latency"] and times <= GOALS["cpu"]
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--crowd", type=int, default=500)
    parser.add_argument("--leaving", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--upstream", metavar="URL")
    parser.add_argument("--model", default="m")
    parser.add_argument("--optillm", metavar="PYTHON")
    parser.add_argument("--its-hub", metavar="PYTHON")
    sys.exit(main(parser.parse_args()))
