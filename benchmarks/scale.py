"""What one client costs as the servers behind it become many: 10, 100, 1,000 of them.

A hundred problems for every server, so 100,000 for 1,000: of each four particles over two steps,
eight calls with prefixes to keep together. Servers are simulated beneath the real connections, in
virtual time (`reasoning.testing.engines`); the pool, its places, admission, metrics, HTTP parsing
are the real ones, and so is the queue of a run (`reasoning.runs.gate`), which holds so many calls
in flight that every server could be full. Of the servers, one in a hundred dies, and as many join.

Printed are wall and CPU time a call (the servers' included, which is the same for any number),
memory, and what was lost. Goal: CPU a call of 1,000 servers at most 1.2 times that of 10, and
nothing lost. --servers N does one size alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

from reasoning.clock import RealClock
from reasoning.errors import TransientError
from reasoning.http.admission import Limits
from reasoning.http.connection import Reply
from reasoning.http.placing import Places
from reasoning.http.pool import Pool
from reasoning.runs.gate import Gate
from reasoning.testing.engines import Engine, Listed, SimulatedDialer
from reasoning.testing.virtual_loop import VirtualLoop

SIZES = (10, 100, 1_000)
EACH, PARTICLES, STEPS = 100, 4, 2
GOAL = 1.2


def engine(speed: float = 1.0) -> Engine:
    """One that counts in blocks of 16 tokens: a token of its own is so many."""
    return Engine(
        speed=speed, block=1, base=0.16, each=0.0016, prefill=1_250.0,
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


async def run(engines: dict[str, Engine], begun: int, events: dict[float, str], places: Places,
              problems: int, particles: int, steps: int, at_once: int) -> Walk:
    """`events`: at which second the server with that URL dies, or is listed."""
    urls = list(engines)
    source = Listed(urls[:begun])
    pool = Pool([source], limits=Limits(4096), clock=RealClock(), dialer=SimulatedDialer(engines))
    pool.fleet.places = places
    walk = Walk(pool, Gate(at_once), particles, steps)

    def happen(url: str) -> None:
        if url in source.urls:
            engines[url].die()
        else:
            source.urls.append(url)

    for when, url in events.items():
        asyncio.get_running_loop().call_later(when, happen, url)
    async with asyncio.TaskGroup() as group:
        for number in range(problems):
            await walk.gate.room()
            walk.gate.begin()
            task = group.create_task(walk.problem(number))
            task.add_done_callback(lambda _: walk.gate.end())
    pool.close()
    return walk
