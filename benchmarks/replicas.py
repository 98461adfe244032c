"""Sixteen servers of which one is slow, one dies and one joins, beside one server and round robin.

A particle filter of 64 particles over 10 steps, on 128 problems: 81,920 calls, all problems at
once. The whole client is the real one (search, generator, pool, admission, HTTP parsing); servers
are simulated beneath its connections, in virtual time (`reasoning.testing.engines`): a batch of 64,
24 to 72 tokens a step, prefixes cached by blocks of 16 tokens. One server runs at a third of the
speed, one dies after a quarter of the bound, a seventeenth is listed after half of it.

The bound is total work over the capacity that was there. Work: what a full batch takes for the
tokens of all steps, and for the prompt tokens that one server with everything in its cache would
still have had to compute. Capacity: the sum of the speeds of the servers that are there, over time.
No schedule is faster: steps of a tree wait for each other, batches are not always full.

Goals: nothing lost; prefix hits at least 0.9 of one server's; time at most 1.15 times the bound.
`round robin` is the same client with servers in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from reasoning.backends.openai import Limits, OpenAI
from reasoning.backends.openai.request import NEEDS, Abilities
from reasoning.generate import Meter, Sampling
from reasoning.http.placing import Places
from reasoning.http.pool import Pool
from reasoning.http.replica import Replica
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.testing.engines import Engine, Listed, SimulatedDialer
from reasoning.testing.virtual_loop import LoopClock, VirtualLoop
from reasoning.tree import Node
from reasoning.usage import Usage
from reasoning.verify import Scores, Verifier
from searchers.tree.particle_filter import particle_filter

PROBLEMS, PARTICLES, STEPS = 128, 64, 10
SERVERS, SLOW = 16, 1 / 3
HITS, WALL = 0.9, 1.15
ABLE = Abilities(
    "tokens", extended=True, stops=True, logprobs=True, tokenizes=True, found=frozenset(NEEDS)
)


class Score(Verifier):
    """By where a step stands: no calls."""

    name = "score"

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        return (0.25 + 0.5 * (node.key % 997) / 997,)


class RoundRobin(Places):
    """Servers in turn, whatever they have seen: those with room, else in the line of one."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = itertools.count()

    def choose(self, near: object, now: float) -> Replica | None:
        there = [replica for replica in self.replicas if replica.usable]
        ready = [replica for replica in self.replicas if replica.room(now)] or there
        return ready[next(self._turn) % len(ready)] if ready else None

    def home(self, near: object) -> Replica | None:
        return None


class Fleet(OpenAI):
    """The generator on simulated servers, of which it knows what they can do."""

    def __init__(self, source: Listed, engines: dict[str, Engine], places: Places) -> None:
        limits = Limits(max_in_flight=4096)
        super().__init__(["http://simulated/v1"], "m", limits=limits, clock=LoopClock())
        self._able = ABLE
        dialer = SimulatedDialer(engines)
        pool = Pool([source], limits=self.limits, clock=self._clock, dialer=dialer)
        pool.fleet.places = places
        self._loops.here().pool = pool


@dataclass
class Seen:
    """What came of one run."""

    seconds: float
    cpu: float
    engines: list[Engine]
    usage: Usage = field(default_factory=Usage)
    lost: int = 0
    served: dict[str, int] = field(default_factory=dict)

    @property
    def hits(self) -> float:
        """Share of prompt tokens that were found in a cache."""
        return sum(e.cached for e in self.engines) / sum(e.prompts for e in self.engines)

    @property
    def work(self) -> float:
        """Seconds of one server with full batches."""
        return sum(engine.work for engine in self.engines)


async def run(
    problems: int, engines: dict[str, Engine], begun: int, events: dict[float, str], places: Places
) -> Seen:
    """Every problem at once on the first `begun` servers. `events`: at which second the server
    with that URL dies, if it lives by then, or is listed."""
    urls = list(engines)
    source = Listed(urls[:begun])
    generator = Fleet(source, engines, places)
    walk = partial(particle_filter, n=PARTICLES, max_steps=STEPS)
    seen = Seen(0, 0, list(engines.values()))

    def happen(url: str) -> None:
        if url in source.urls:
            engines[url].die()
        else:
            source.urls.append(url)

    async def one(i: int) -> None:
        problem = Problem(f"p{i}", f"What is {i} + 4? " + "Think step by step. " * 4)
        step = Step(max_tokens=128)
        sampling = Sampling(max_tokens=100_000, temperature=0.8)
        search = Search(problem, generator, verifier=Score(), sampling=sampling, step=step)
        await walk(search)
        whole = sum(node.sample.finish in ("stop", "end") for node in search.tree)
        seen.lost += PARTICLES * STEPS - whole + len(search.failures)
        seen.usage += search.usage

    loop = asyncio.get_running_loop()
    for when, url in events.items():
        loop.call_later(when, happen, url)
    cpu = time.process_time()
    async with asyncio.TaskGroup() as group:
        for i in range(problems):
            group.create_task(one(i))
    seen.seconds = loop.time()
    seen.cpu = time.process_time() - cpu
    seen.served = dict(generator.pool.fleet.served)
    await generator.aclose()
    return seen


def simulated(
    problems: int, speeds: Sequence[float], begun: int, events: dict[float, str], places: Places
) -> Seen:
    engines = {f"http://s{i}/v1": Engine(speed=speed) for i, speed in enumerate(speeds)}
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run(problems, engines, begun, events, places))


def bound(work: float, speeds: Sequence[float], dies: float, joins: float) -> float:
    """The time in which servers do so much work: all of `speeds` from the start, but for the
    second, which dies, and the last, which joins."""
    before = sum(speeds) - speeds[-1]
    between, after = before - speeds[1], sum(speeds) - speeds[1]
    first, second = before * dies, between * (joins - dies)
    assert work > first + second, "it is all done before the last event"
    return joins + (work - first - second) / after


def compare(problems: int) -> bool:
    speeds = [SLOW, *[1.0] * SERVERS]
    one = simulated(problems, [1.0], 1, {}, Places())
    # The events come at a quarter and at half of about the bound.
    about = one.work / (sum(speeds) - 1)
    dies, joins = about / 4, about / 2
    events = {dies: "http://s1/v1", joins: f"http://s{SERVERS}/v1"}
    least = bound(one.work, speeds, dies, joins)
    print(
        f"{problems * PARTICLES * STEPS:,} calls; bound {least:.1f} s of virtual time "
        f"({one.work:.0f} s of work); one server alone took {one.seconds:.0f} s, "
        f"prefix hits {one.hits:.3f}"
    )
    met = True
    for name, places in (("affinity", Places()), ("round robin", RoundRobin())):
        seen = simulated(problems, speeds, SERVERS, events, places)
        hits, wall = seen.hits / one.hits, seen.seconds / least
        good = not seen.lost and hits >= HITS and wall <= WALL
        met &= good or name != "affinity"
        slow, joined = (seen.served.get(f"http://s{i}/v1", 0) for i in (0, SERVERS))
        usual = sorted(seen.served.values())[len(seen.served) // 2]
        print(
            f"{name:12} lost {seen.lost}, hits {hits:.3f} of one server's, time {wall:.3f} of the "
            f"bound; served: slow {slow:,}, joined {joined:,}, median {usual:,}; drawn again "
            f"{seen.usage.retried_calls:,}, {seen.usage.wasted_tokens:,} tokens lost; "
            f"CPU {seen.cpu:.0f} s, servers' included"
        )
    print(f"goals (nothing lost, hits {HITS}, time {WALL}): {'met' if met else 'MISSED'}")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    options = parser.parse_args()
    raise SystemExit(0 if compare(options.problems) else 1)


if __name__ == "__main__":
    main()
