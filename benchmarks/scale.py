"""What one client costs as the servers behind it become many: 10, 100, 1,000 of them.

First 10,000 problems on each number of servers, with 8,000 calls in flight in all, however many
servers share them: what grows then is what the client pays for a server. Then 100,000 problems on
1,000 servers, 16,000 calls in flight. A problem is two particles over two steps, four calls with
prefixes to keep together. One server in a hundred dies meanwhile, and as many join.

Servers are simulated beneath the real connections, in virtual time (`reasoning.testing.engines`);
the pool, its places, admission, metrics, HTTP parsing are the real ones, and so is the queue of a
run (`reasoning.runs.gate`); garbage is looked for as rarely as commands do. CPU a call includes
what simulating costs, which is not quite the same for all: each engine has a timer of its own. So
what the client does for a call is counted, too: the functions of it and of Python's that it calls.

Goals: CPU a call of 1,000 servers at most 1.2 times that of 10, and nothing lost.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reasoning import garbage
from reasoning.errors import TransientError
from reasoning.http.admission import Limits
from reasoning.http.connection import Reply
from reasoning.http.placing import Places
from reasoning.http.pool import Pool
from reasoning.runs.gate import Gate
from reasoning.testing.engines import Engine, Listed, SimulatedDialer
from reasoning.testing.virtual_loop import LoopClock, VirtualLoop

ROOT = Path(__file__).resolve().parents[1]
SIZES = (10, 100, 1_000)
PARTICLES, STEPS = 2, 2
PROBLEMS, IN_FLIGHT = 10_000, 8_000
MANY, MANY_IN_FLIGHT = 100_000, 16_000
GOAL = 1.2


def engine(speed: float = 1.0, batch: int = 64) -> Engine:
    """One that counts in blocks of 16 tokens: a token of its own is so many."""
    return Engine(
        speed=speed, batch=batch, block=1, base=0.16, each=0.0016, prefill=1_250.0,
        lengths=lambda seed: 2 + seed % 3,
    )  # fmt: skip


class Walk:
    """Particle filters on a pool, without a search around them: paths, calls, resampling."""

    def __init__(self, pool: Pool, gate: Gate, particles: int, steps: int) -> None:
        self.pool, self.gate = pool, gate
        self.particles, self.steps = particles, steps
        self.calls = self.again = self.done = 0

    async def problem(self, number: int) -> None:
        draw = random.Random(number)
        paths = [([number * 8 + i for i in range(8)], [number << 40])] * self.particles
        for step in range(self.steps):
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self.step(number, path, keys, step, slot))
                    for slot, (path, keys) in enumerate(paths)
                ]
            weights = [draw.random() ** 4 for _ in tasks]
            paths = [task.result() for task in draw.choices(tasks, weights, k=self.particles)]
        self.done += 1

    async def step(
        self, number: int, path: list[int], keys: list[int], step: int, slot: int
    ) -> tuple[list[int], list[int]]:
        key = (number << 40) + (step << 20) + slot + 1
        seed = hash((key, *keys)) & 0xFFFFFFFF
        body = {"model": "m", "prompt": path, "max_tokens": 8, "seed": seed}
        async with self.gate.call(number):
            while True:
                reply = Reply()
                try:
                    await self.pool.exchange(
                        "completions", body, reply, affinity=[*keys[:-9:-1], number], becomes=key
                    )
                    break
                except TransientError:
                    self.again += 1
                    await asyncio.sleep(0.5)
        self.calls += 1
        ids = json.loads(reply.body)["choices"][0]["token_ids"]
        return [*path, *ids], [*keys, key]


async def run(
    engines: dict[str, Engine],
    begun: int,
    events: dict[float, list[str]],
    walk_of: Callable[[Pool], Walk],
    problems: int,
    places: Places | None = None,
) -> Walk:
    """All problems, on the first `begun` servers. `events`: at which second the servers with those
    URLs die, or are listed."""
    urls = list(engines)
    source = Listed(urls[:begun])
    pool = Pool([source], limits=Limits(4096), clock=LoopClock(), dialer=SimulatedDialer(engines))
    pool.fleet.places = places or pool.fleet.places
    walk = walk_of(pool)

    def happen(changed: list[str]) -> None:
        for url in changed:
            if url in source.urls:
                engines[url].die()
            else:
                source.urls.append(url)

    for when, changed in events.items():
        asyncio.get_running_loop().call_later(when, happen, changed)
    async with asyncio.TaskGroup() as group:
        for number in range(problems):
            await walk.gate.room()
            walk.gate.begin()
            task = group.create_task(walk.problem(number))
            task.add_done_callback(lambda _: walk.gate.end())
    pool.close()
    return walk


def measured(size: int, problems: int, in_flight: int) -> dict[str, float]:
    """`size` servers of which one in a hundred dies, and as many more that join."""
    few = max(1, size // 100)
    batch = max(1, in_flight * 4 // 5 // size)
    engines = {f"http://s{i}/v1": engine(batch=batch) for i in range(size + few)}
    urls = list(engines)
    events = {2.0: urls[:few], 4.0: urls[size:]}

    def walk_of(pool: Pool) -> Walk:
        return Walk(pool, Gate(in_flight), PARTICLES, STEPS)

    cpu, wall = time.process_time(), time.perf_counter()
    with garbage.rarely(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        walk = runner.run(run(engines, size, events, walk_of, problems))
    used = time.process_time() - cpu
    hits = sum(e.cached for e in engines.values()) / sum(e.prompts for e in engines.values())
    return {
        "servers": size,
        "calls": walk.calls,
        "lost": problems * PARTICLES * STEPS - walk.calls + problems - walk.done,
        "served": sum(engine.calls for engine in engines.values()),
        "hits": hits,
        "wall": time.perf_counter() - wall,
        "cpu": used,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def operations(size: int, problems: int, in_flight: int) -> dict[str, float]:
    """How many functions a call takes: those of the client, and what they call of others."""
    profile = cProfile.Profile()
    found = profile.runcall(measured, size, problems, in_flight)
    stats: Any = pstats.Stats(profile)
    many = 0
    for (file, _, _), (_, calls, _, _, callers) in stats.stats.items():
        if _CLIENT.search(file):
            many += calls
        else:
            many += sum(told[0] for caller, told in callers.items() if _CLIENT.search(caller[0]))
    return {**found, "operations": many / found["calls"]}


_CLIENT = re.compile(r"reasoning/(http/\w+|runs/gate|clock)\.py$")


def apart(*shape: int, counted: bool = False) -> dict[str, float]:
    """Measured in a process of its own."""
    command = [sys.executable, "-P", __file__, "--shape", *map(str, shape)]
    command += ["--counted"] * counted
    paths = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=paths)
    if done.returncode:
        raise SystemExit(f"{shape[0]} servers failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(found: dict[str, float]) -> None:
    each = found["cpu"] / found["calls"] * 1e6
    print(
        f"{found['servers']:5,.0f} servers: {found['calls']:,.0f} calls, lost {found['lost']:.0f}, "
        f"prefix hits {found['hits']:.3f}, wall {found['wall']:6.1f} s, CPU {each:4.0f} us a call, "
        f"{found['memory']:5.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="the best CPU of so many counts")
    parser.add_argument("--few", action="store_true", help="without the 100,000 problems")
    parser.add_argument("--shape", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shape:
        print(json.dumps((operations if options.counted else measured)(*options.shape)))
        return
    counted = {size: apart(size, PROBLEMS // 4, IN_FLIGHT, counted=True) for size in SIZES}
    told = ", ".join(f"{size:,}: {found['operations']:.1f}" for size, found in counted.items())
    print(f"functions that the client calls for a call, by servers: {told}", flush=True)
    best: dict[int, dict[str, float]] = {}
    for _ in range(options.rounds):
        for size in SIZES:
            found = apart(size, PROBLEMS, IN_FLIGHT)
            best[size] = min(best.get(size, found), found, key=lambda one: one["cpu"])
    rows = list(best.values())
    for found in rows:
        show(found)
    each = {size: found["cpu"] / found["calls"] for size, found in best.items()}
    ratio = each[SIZES[-1]] / each[SIZES[0]]
    print(f"{SIZES[-1]:,} servers: {ratio:.2f} times the CPU a call of {SIZES[0]} (goal {GOAL})")
    if not options.few:
        rows.append(apart(SIZES[-1], MANY, MANY_IN_FLIGHT))
        show(rows[-1])
    good = ratio <= GOAL and not any(found["lost"] for found in rows)
    print("goals met" if good else "goals MISSED")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
