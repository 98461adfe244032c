"""Servers that come, go, die, slow down: the real pool in virtual time, on simulated engines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from reasoning.errors import EngineError, TransientError
from reasoning.http.admission import Limits
from reasoning.http.connection import Reply
from reasoning.http.placing import Places
from reasoning.http.pool import Pool
from reasoning.http.replica import Replica
from reasoning.testing.engines import Engine, Listed, SimulatedDialer
from reasoning.testing.virtual_loop import LoopClock, VirtualLoop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class World:
    """Engines by their names, those of them that are listed, and a pool."""

    def __init__(self, *listed: str, limits: Limits | None = None, **engines: Engine) -> None:
        self.engines = {f"http://{name}/v1": engine for name, engine in engines.items()}
        self.source = Listed([f"http://{name}/v1" for name in listed or engines])
        self.limits = limits or Limits()
        self.trees: dict[str, list[str]] = {}

    @contextmanager
    def pool(self) -> Iterator[Pool]:
        dialer = SimulatedDialer(self.engines)
        self.open = Pool([self.source], limits=self.limits, clock=LoopClock(), dialer=dialer)
        try:
            yield self.open
        finally:
            self.open.close()

    def list(self, *names: str) -> None:
        self.source.urls = [f"http://{name}/v1" for name in names]

    async def call(self, tree: str, seed: int = 0) -> None:
        """One call of a tree; drawn again if it breaks. `trees` keep who answered."""
        key = (tree, seed)
        body = {"prompt": list(range(64)), "max_tokens": 100, "seed": seed}
        while True:
            try:
                await self.open.exchange("completions", body, Reply(), affinity=[tree], becomes=key)
                break
            except TransientError:
                await asyncio.sleep(0.5)
        self.trees.setdefault(tree, []).append(self.open.fleet.places._homes[key].host)

    async def walk(self, tree: str, calls: int) -> None:
        """Calls one after another."""
        for seed in range(calls):
            await self.call(tree, seed)


async def together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)


def at(seconds: float, happen: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, happen)


def test_trees_of_a_server_that_dies_move_together_and_no_others_move() -> None:
    world = World(a=Engine(), b=Engine(), c=Engine())

    async def main() -> None:
        with world.pool():
            for i in range(9):
                await world.walk(f"t{i}", 3)
            before = {tree: set(seen) for tree, seen in world.trees.items()}
            assert all(len(seen) == 1 for seen in before.values())
            assert {min(seen) for seen in before.values()} == {"a", "b", "c"}
            world.engines["http://b/v1"].die()
            world.trees.clear()
            for i in range(9):
                await world.walk(f"t{i}", 3)
            for tree, seen in world.trees.items():
                assert len(set(seen)) == 1, (tree, seen)
                assert seen[0] in "ac"
                assert before[tree] == {"b"} or seen[0] in before[tree]

    run(main())


def test_a_joining_server_takes_new_trees_and_none_of_the_others() -> None:
    world = World("a", "b", a=Engine(), b=Engine(), c=Engine())

    async def main() -> None:
        with world.pool() as pool:
            running = [world.walk(f"t{i}", 40) for i in range(6)]
            at(5.0, lambda: world.list("a", "b", "c"))

            async def later() -> None:
                await asyncio.sleep(15.0)
                assert [r.state for r in pool.replicas] == ["healthy"] * 3
                await together([world.walk(f"new{i}", 3) for i in range(3)])

            await together([*running, later()])
            homes = {tree: set(seen) for tree, seen in world.trees.items()}
            assert all(len(homes[f"t{i}"]) == 1 for i in range(6))
            assert {"c"} in (homes[f"new{i}"] for i in range(3))

    run(main())


def test_nothing_is_lost_when_one_dies_one_leaves_and_one_joins() -> None:
    engines = {name: Engine(batch=8) for name in "abcde"}
    world = World("a", "b", "c", "d", **engines)

    async def main() -> dict[str, int]:
        with world.pool() as pool:
            at(2.0, engines["a"].die)
            at(3.0, lambda: world.list("a", "b", "d", "e"))
            await together([world.call(f"t{i % 40}", i) for i in range(1200)])
            assert not any(r.busy or r.lined for r in pool.replicas)
            assert pool.fleet.calls == 0
            return dict(pool.fleet.served)

    served = run(main())
    assert sum(served.values()) == 1200
    assert list(served) == [f"http://{name}/v1" for name in "abcde"]
    assert {name: e.calls for name, e in engines.items()} == {
        name: served[f"http://{name}/v1"] for name in "abcde"
    }
    assert served["http://e/v1"] > 100
    assert engines["c"].dropped == 0  # what it held when it left the list has ended there


def test_a_server_with_another_model_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    other = Engine(lists=["other", "more"])
    world = World("a", "b", a=Engine(), b=other, c=Engine(lists=["else"]))

    async def main() -> None:
        with world.pool() as pool:
            await pool.expect("m")
            await together([world.call(f"t{i}", i) for i in range(20)])
            world.list("a", "b", "c")
            await world.walk("t", 50)
            assert [r.state for r in pool.replicas] == ["healthy", "foreign", "foreign"]

    run(main())
    assert other.calls == 0 == world.engines["http://c/v1"].calls
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "http://b/v1 serves more, other, not m: it is not used",
        "http://c/v1 serves else, not m: it is not used",
    ]


def test_where_nobody_lists_the_model_all_are_used() -> None:
    world = World(a=Engine(lists=["alias"]), b=Engine(lists=[]))

    async def main() -> None:
        with world.pool() as pool:
            await pool.expect("m")
            await together([world.call(f"t{i}", i) for i in range(20)])

    run(main())
    assert all(engine.calls for engine in world.engines.values())


def test_an_empty_list_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """With one warning; calls under way end, and others go on once servers are back."""
    world = World("a", a=Engine(batch=2), b=Engine(), limits=Limits(4))

    async def main() -> float:
        with world.pool() as pool:
            at(2.0, lambda: world.list())
            at(200.0, lambda: world.list("b"))
            await together([world.call(f"t{i}", i) for i in range(40)])
            assert pool.fleet.served.keys() == {"http://a/v1", "http://b/v1"}
            return asyncio.get_running_loop().time()

    assert 200 < run(main()) < 220
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == ["simulated lists no server; it is read again every few seconds"]


def test_patience_with_an_empty_list_ends() -> None:
    world = World("a", a=Engine(batch=2), limits=Limits(4, patience=100.0))

    async def main() -> list[Any]:
        with world.pool():
            at(2.0, lambda: world.list())
            calls = [asyncio.ensure_future(world.call(f"t{i}", i)) for i in range(80)]
            await asyncio.wait(calls)
            assert 100 < asyncio.get_running_loop().time() < 115
            return [call.exception() for call in calls]

    errors = [error for error in run(main()) if error is not None]
    assert 20 < len(errors) < 80
    assert all(isinstance(error, EngineError) for error in errors)
    assert "no server to call for 1" in str(errors[0])
    assert "(simulated lists no server)" in str(errors[0])


def test_a_listed_server_that_is_not_there_yet_is_waited_for() -> None:
    world = World("late", late=Engine())
    world.engines["http://late/v1"].alive = False

    async def main() -> None:
        with world.pool() as pool:
            at(100.0, lambda: setattr(world.engines["http://late/v1"], "alive", True))
            await pool.expect("m")
            await together([world.call(f"t{i}", i) for i in range(5)])
            assert 100 < asyncio.get_running_loop().time() < 140

    run(main())


def test_calls_that_would_wait_at_a_server_wait_here() -> None:
    """And go to another one that is idle; without metrics they wait there, as they always did."""
    for meters, seconds in ((True, 6.0), (False, 1.5)):
        world = World(a=Engine(batch=64, meters=meters), b=Engine(batch=64, meters=meters))

        async def main(world: World = world, seconds: float = seconds) -> list[int]:
            with world.pool() as pool:
                calls = [asyncio.ensure_future(world.call(f"t{i}", i)) for i in range(1000)]
                await asyncio.sleep(seconds)
                held = [replica.busy for replica in pool.replicas]
                await asyncio.wait(calls)
                return held

        held = run(main())
        assert 64 <= min(held) <= max(held) <= 72 if meters else min(held) > 400


def test_a_slow_server_gets_its_share() -> None:
    engines = {name: Engine(speed=1 / 4 if name == "d" else 1, meters=False) for name in "abcd"}
    world = World(limits=Limits(64), **engines)

    async def main() -> None:
        with world.pool() as pool:
            await together([world.walk(f"t{i}", 20) for i in range(160)])
            assert pool.replicas[3].weight < 1

    run(main())
    assert sum(e.calls for e in engines.values()) == 3200
    assert engines["d"].calls < 0.5 * engines["a"].calls


def test_engines_of_one_server_are_called_one_by_one() -> None:
    engine = Engine(ranks=2)
    world = World(a=engine)

    async def main() -> None:
        with world.pool() as pool:
            await pool.find_ranks()
            assert [r.name for r in pool.replicas] == [f"http://a/v1, rank {k}" for k in (0, 1)]
            await together([world.walk(f"t{i}", 5) for i in range(8)])
            assert list(pool.fleet.served.values()) == [20, 20]

    run(main())
    assert engine.by_rank == {0: 20, 1: 20}


def test_who_is_left_in_line_holds_no_place() -> None:
    world = World(a=Engine(), b=Engine(), limits=Limits(2))

    async def main() -> None:
        with world.pool() as pool:
            calls = [asyncio.ensure_future(world.call(f"t{i}", i)) for i in range(50)]
            await asyncio.sleep(0.1)
            assert sum(r.lined for r in pool.replicas) == 46
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            assert [(r.busy, r.lined) for r in pool.replicas] == [(0, 0)] * 2
            await together([world.call(f"u{i}", i) for i in range(6)])

    run(main())
    assert sum(engine.calls for engine in world.engines.values()) == 6


def test_a_server_that_joins_one_that_is_left_alone_gets_the_calls() -> None:
    places, alone, new = Places(), Replica("http://a/v1", 4), Replica("http://b/v1", 4)
    places.add(alone, 0.0)
    alone.busy = 1
    alone.refused(1.0, wait=30.0)
    alone.busy = 0
    places.touch(alone, 1.0)
    places.add(new, 2.0)
    assert [places.enter((), 2.0) for _ in range(4)] == [new] * 4
