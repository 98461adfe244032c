"""The pool of connections: lines, windows, several servers, servers that go and come back."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from reasoning.backends.openai import OpenAI
from reasoning.backends.openai.pool import Pool
from reasoning.clock import RealClock
from reasoning.errors import EngineError, TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.testing.hand_clock import HandClock, HastyClock
from reasoning.testing.http_model import encode
from reasoning.testing.http_server import Served, serving
from reasoning.tree import Node, RolloutTree, Sample

T = TypeVar("T")
PARAMS = Sampling(max_tokens=4)


@pytest.fixture
def server() -> Iterator[Served]:
    with serving() as server:
        yield server


@pytest.fixture
def servers() -> Iterator[list[Served]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(3)]


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 120))


def generator(*servers: Served, **options: Any) -> OpenAI:
    return OpenAI([server.url for server in servers], "toy", **{"clock": HandClock(), **options})


async def draw(source: OpenAI, seed: int, parent: Node | None = None, slot: int = 0) -> Sample:
    parent = parent or RolloutTree(f"p{seed}").root
    prompt = Prompt(Problem(f"p{seed}", f"What is {seed} + 4?"), parent, slot)
    return await source.generate(prompt, PARAMS, seed=seed, meter=lambda _: None)


async def draw_many(source: OpenAI, seeds: range) -> list[Sample | BaseException]:
    """What each call came to."""
    calls = [asyncio.ensure_future(draw(source, seed)) for seed in seeds]
    await asyncio.wait(calls)
    return [call.exception() or call.result() for call in calls]


def test_a_server_that_refuses_gets_as_much_as_it_holds(server: Served) -> None:
    """Of 30 calls at once it takes 4; from then on there are about so many at once."""
    source = generator(server, window=30)

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "429" if call.number < 30 and call.number % 8 else "hold"
        calls = [asyncio.ensure_future(draw(source, seed)) for seed in range(30)]
        await asyncio.to_thread(server.wait_until, lambda counts: counts["holding"] == 4)
        done, held = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        while len(held) > 4:
            done, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(call.exception(), TransientError) for call in done)
        replica = source.pool.replicas[0]
        assert replica.busy == 4
        assert int(replica.window) == 4
        for call in held:
            call.cancel()
        await asyncio.wait(held)
        server.fault = lambda call: None
        results = await draw_many(source, range(100, 200))
        assert not [r for r in results if isinstance(r, BaseException)]
        assert 10 < replica.window < 30  # it opens again, slowly

    run(work())


def test_a_refused_call_gives_its_place_to_nobody(server: Served) -> None:
    """Forty calls in line, eight sent, four taken: until an answer comes, no other one is sent."""
    source = generator(server, window=8)

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "hold" if call.number < 4 else "429"
        calls = [asyncio.ensure_future(draw(source, seed)) for seed in range(40)]
        held: set[asyncio.Future[Sample]] = set(calls)
        while len(held) > 36:
            _, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(lambda: None)
        assert server.counts["calls"] == 8
        for call in held:
            call.cancel()
        await asyncio.wait(held)

    run(work())


def test_a_server_is_left_alone_for_as_long_as_it_asks(server: Served) -> None:
    clock = HandClock()
    source = generator(server, clock=clock)

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "429 wait" if call.number == 0 else None
        with pytest.raises(TransientError):
            await draw(source, 0)
        before = server.counts["requests"]
        call = asyncio.ensure_future(draw(source, 1))
        clock.move(0.9)
        await asyncio.to_thread(lambda: None)
        assert server.counts["requests"] == before
        clock.move(0.2)
        await call

    run(work())


def test_siblings_and_children_go_where_their_prefix_is(servers: list[Served]) -> None:
    source = generator(*servers)

    async def work() -> None:
        await source.abilities()
        trees = [RolloutTree(f"p{i}") for i in range(5)]

        async def walk(i: int) -> None:
            node = trees[i].root
            for _ in range(5):
                async with asyncio.TaskGroup() as group:
                    calls = [group.create_task(draw(source, i, node, slot)) for slot in range(3)]
                nodes = [trees[i].add(node, slot, call.result()) for slot, call in enumerate(calls)]
                node = nodes[i % 3]

        async with asyncio.TaskGroup() as group:
            for i in range(5):
                group.create_task(walk(i))

    run(work())
    homes: dict[str, set[int]] = {}
    for number, server in enumerate(servers):
        for call in server.seen:
            question = str(call.body["prompt"][:30])
            homes.setdefault(question, set()).add(number)
    assert len(homes) == 5
    assert all(len(home) == 1 for home in homes.values())
    assert {number for home in homes.values() for number in home} == {0, 1, 2}


def test_what_comes_of_a_call_goes_on_where_it_was_made(servers: list[Served]) -> None:
    """The second of two siblings had to go elsewhere; its children follow it."""
    pair = servers[:2]
    source = generator(*pair, window=1)

    async def work() -> None:
        await source.abilities()
        for server in pair:
            server.fault = lambda call: "hold"
        tree = RolloutTree("p")
        held = asyncio.ensure_future(draw(source, 1, tree.root, 0))
        while not (holding := [server for server in pair if server.counts["holding"]]):
            await asyncio.to_thread(lambda: None)
        for server in pair:
            server.fault = lambda call: None
        node = tree.add(tree.root, 1, await draw(source, 1, tree.root, 1))
        held.cancel()
        await asyncio.wait([held])
        for slot in range(3):
            await draw(source, 1, node, slot)
        calls = {server in holding: server.counts["calls"] for server in pair}
        assert calls == {True: 1, False: 4}

    run(work())


def test_siblings_spill_over_when_their_server_is_full(servers: list[Served]) -> None:
    source = generator(*servers, window=5)

    async def work() -> None:
        await source.abilities()
        root = RolloutTree("p").root
        async with asyncio.TaskGroup() as group:
            for slot in range(60):
                group.create_task(draw(source, 1, root, slot))

    run(work())
    counts = [server.counts["calls"] for server in servers]
    assert sum(counts) == 60
    assert min(counts) > 5


def test_one_of_two_servers_dies_and_comes_back(servers: list[Served]) -> None:
    first, second, _ = servers
    clock = HandClock()
    source = generator(first, second, clock=clock)

    async def work() -> None:
        await draw_many(source, range(20))
        first.down()
        before = first.counts["calls"]
        results = await draw_many(source, range(20, 60))
        failed = [r for r in results if isinstance(r, BaseException)]
        assert not failed  # idle connections that are gone are replaced, by those to the other one
        assert first.counts["calls"] == before
        first.up()
        await draw_many(source, range(60, 80))
        assert first.counts["calls"] == before  # it is left alone for a while
        clock.move(1.0)
        await draw_many(source, range(80, 90))  # one call tries it
        results = await draw_many(source, range(90, 130))
        assert not [r for r in results if isinstance(r, BaseException)]
        assert first.counts["calls"] > before + 8

    run(work())


def test_calls_wait_for_a_server_to_come_back(server: Served) -> None:
    source = generator(server, clock=HastyClock(), patience=float("inf"), silence=1e9)

    async def work() -> None:
        await draw_many(source, range(5))
        server.down()
        waiting = asyncio.ensure_future(draw_many(source, range(5, 25)))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.to_thread(server.up)
        results = await waiting
        assert not [r for r in results if isinstance(r, BaseException)]

    run(work())


def test_patience_ends(server: Served) -> None:
    source = generator(server, clock=HastyClock(), patience=60.0, silence=1e9)

    async def work() -> None:
        await draw_many(source, range(5))
        server.down()
        results = await draw_many(source, range(5, 25))
        assert all(isinstance(result, EngineError) for result in results)
        assert "the same command continues" in str(results[0])

    run(work())


def test_a_server_that_falls_silent_is_given_up(server: Served) -> None:
    clock = HandClock()
    source = generator(server, clock=clock, silence=60.0)

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "hang" if call.number == 0 else "hold"
        call = asyncio.ensure_future(draw(source, 0))
        await asyncio.to_thread(server.wait_until, lambda counts: counts["hanging"] == 1)
        for _ in range(4):
            assert not call.done()
            clock.move(15.0)
        await asyncio.wait([call])
        error = call.exception()
        assert isinstance(error, TransientError)
        assert "silent for 60 s" in str(error)
        await asyncio.to_thread(server.wait_until, lambda counts: counts["cancelled"] == 1)

    run(work())


def test_anything_may_be_asked_over_the_same_connections(server: Served) -> None:
    async def work() -> None:
        pool = Pool([server.url], clock=RealClock())
        for text in ("one", "seven"):
            assert await pool.post("/tokenize", {"prompt": text}) == {"tokens": encode(text)}
        assert (await pool.get("models"))["data"][0]["id"] == "toy"
        assert pool.connections_made == 1
        assert pool.requests_sent == 3

    run(work())


def test_no_more_files_may_be_opened(server: Served) -> None:
    """Then the calls in flight share the connections there are."""
    source = generator(server)

    async def work() -> None:
        await source.abilities()
        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        opened = 0

        async def few(*args: Any, **kwargs: Any) -> Any:
            nonlocal opened
            opened += 1
            if opened > 6:
                raise OSError(errno.EMFILE, "Too many open files")
            return await connect(*args, **kwargs)

        loop.create_connection = few  # type: ignore[method-assign]
        results = await draw_many(source, range(100))
        assert not [r for r in results if isinstance(r, BaseException)]
        assert source.pool.replicas[0].window <= 8

    run(work())
