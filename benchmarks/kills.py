"""A run against replicas that are killed at random and started again: is anything lost or double?

    python -m benchmarks.kills [--problems 10000] [--n 2] [--replicas 4] [--every 1.0] [--plain]

The replicas are processes with the server of `reasoning.testing`, a toy model whose answers are a
function of the request. About every so many seconds one of them gets SIGKILL, whatever it is
saying, and another takes its port soon after. Afterwards every problem must have one result with n
candidates, whose samples hold as many tokens as were charged and say what their tokens say; with
--plain (text alone, so that a broken call is made again from its start) the very samples that a
server gives that nobody kills. Exits with 1 if one of them does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reasoning.runs.recipe import parse
from reasoning.runs.run import run
from reasoning.runs.store import Store
from reasoning.testing.http_model import decode
from reasoning.testing.http_server import TEXT, VLLM, HttpServer
from reasoning.tree import RolloutTree

MAX_TOKENS = 24
PAUSE = 0.01


def recipe(folder: Path, urls: Sequence[str], problems: int, n: int) -> Any:
    """A run of self-consistency on `problems` questions."""
    file = folder / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": f"{i} + {i}?", "answer": "7"} for i in range(problems)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return parse(
        {
            "name": "kills",
            "task": {"name": "jsonl", "path": str(file)},
            "generator": {"name": "openai", "base_url": list(urls), "model": "toy"},
            # with a limit of time answers are streamed, and a broken one is gone on from
            "strategies": [{"searcher": "self_consistency", "n": n}],
            "limits": {"seconds": 3600},
            "sampling": {"max_tokens": MAX_TOKENS},
            "concurrency": 256,
        }
    )


def samples(store: Store) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each result in the folder: its problem, the texts of its candidates, and what is wrong."""
    for line in (store.folder / "results.jsonl").read_text().splitlines():
        result = json.loads(line)
        tree = RolloutTree.load(store.tree_path(result["strategy"], result["problem"]))
        nodes = [tree[c["path"]] for c in result["candidates"]]
        wrong = list(map(str, result["failures"]))
        charged = result["usage"]["generated_tokens"] - result["usage"]["wasted_tokens"]
        if charged != sum(node.sample.generated_tokens for node in nodes):
            wrong.append(f"{charged} tokens were charged")
        for node in nodes:
            sample = node.sample
            ids = sample.token_ids
            if ids is not None and (
                len(ids) != sample.generated_tokens or decode(ids) != sample.text
            ):
                wrong.append(f"{node.path} is not what its tokens say")
        yield result["problem"], [node.sample.text for node in nodes], wrong


def faults(store: Store, problems: int, n: int) -> dict[str, int]:
    """How many results are missing, there twice, short of candidates, or wrong in themselves."""
    seen: Counter[str] = Counter()
    short = wrong = 0
    for problem, texts, why in samples(store):
        seen[problem] += 1
        short += len(texts) != n
        wrong += bool(why)
    lost = sum(f"q{i}" not in seen for i in range(problems))
    double = sum(count - 1 for count in seen.values())
    return {"lost": lost, "double": double, "short": short, "wrong": wrong}


# The replicas, and who kills them.


class Paced(HttpServer):
    """Says a piece every few milliseconds, so that whoever is killed is in the middle of much."""

    async def respond(self, *request: Any) -> Any:
        status, kind, body = await super().respond(*request)
        if isinstance(body, bytes):
            await asyncio.sleep(MAX_TOKENS * PAUSE)
            return status, kind, body
        return status, kind, self._slowly(body)

    async def _slowly(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in body:
            await asyncio.sleep(PAUSE)
            yield piece


async def _replica(port: int, plain: bool) -> None:
    server = Paced(TEXT if plain else VLLM)
    server.port = port
    await server.start()
    print(server.port, flush=True)
    await asyncio.get_running_loop().create_future()


def started(port: int, plain: bool) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "benchmarks.kills", "--port", str(port)]
    process = subprocess.Popen(
        [*command, *(["--plain"] if plain else [])], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@contextmanager
def killed(count: int, every: float, plain: bool) -> Iterator[tuple[list[str], Counter[str]]]:
    """The URLs of replicas that die and come back, and how often they did."""
    first = [started(0, plain) for _ in range(count)]
    processes, ports = [p for p, _ in first], [port for _, port in first]
    told: Counter[str] = Counter()
    over, rng = threading.Event(), random.Random(0)

    def kill() -> None:
        while every and not over.wait(every * rng.uniform(0.5, 1.5)):
            i = rng.randrange(count)
            processes[i].send_signal(signal.SIGKILL)
            processes[i].wait()
            told["kills"] += 1
            over.wait(every * rng.uniform(0.1, 0.5))
            processes[i], _ = started(ports[i], plain)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield [f"http://127.0.0.1:{port}/v1" for port in ports], told
    finally:
        over.set()
        thread.join()
        for process in processes:
            process.kill()
            process.wait()


def measured(folder: Path, options: argparse.Namespace, every: float) -> tuple[Store, Counter[str]]:
    """A run into `folder`."""
    folder.mkdir()
    with killed(options.replicas, every, options.plain) as (urls, told):
        plan = recipe(folder, urls, options.problems, options.n)
        begun = time.perf_counter()
        summary = asyncio.run(run(plan, folder / "run"))
        told["seconds"] = round(time.perf_counter() - begun)
    row = summary["strategies"][0]
    told.update({name: int(row[name]) for name in ("calls", "retried_calls", "failed_calls")})
    return Store(folder / "run"), told


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, value in {"problems": 10_000, "n": 2, "replicas": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--every", type=float, default=1.0, help="Seconds between two kills.")
    parser.add_argument("--plain", action="store_true", help="Servers that deal in text alone.")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.port is not None:
        asyncio.run(_replica(options.port, options.plain))
    with tempfile.TemporaryDirectory() as name:
        store, told = measured(Path(name) / "killed", options, options.every)
        print(f"{options.problems} problems, {dict(told)}")
        found = faults(store, options.problems, options.n)
        if options.plain:
            left, _ = measured(Path(name) / "left", options, 0.0)
            undisturbed = {problem: texts for problem, texts, _ in samples(left)}
            found["other"] = sum(undisturbed[p] != texts for p, texts, _ in samples(store))
    print(", ".join(f"{count} {what}" for what, count in found.items()))
    raise SystemExit(any(found.values()))


if __name__ == "__main__":
    main()
