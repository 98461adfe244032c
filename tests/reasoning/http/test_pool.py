"""The pool of connections: lines, windows, several servers, servers that go and come back."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import pytest

from reasoning.backends.openai import Limits, OpenAI, openai
from reasoning.clock import RealClock
from reasoning.errors import EngineError, RecipeError, TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
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


def generator(*servers: Served, clock: HandClock | None = None, **options: Any) -> OpenAI:
    clock = clock or HandClock()
    source = OpenAI([server.url for server in servers], "toy", clock=clock, **options)
    if isinstance(clock, HastyClock):  # time stands still while a server has a call
        clock.busy = lambda: sum(replica.busy for replica in source.pool.replicas)
    return source


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
    source = generator(server, limits=Limits(max_in_flight=30))

    async def work() -> None:
        await draw_many(source, range(30))  # the prompts' tokens are known from then on
        server.fault = lambda call: "429" if call.number < 60 and call.number % 8 else "hold"
        calls = [asyncio.ensure_future(draw(source, seed)) for seed in range(30)]
        await asyncio.to_thread(server.wait_until, lambda counts: counts["holding"] == 4)
        replica = source.pool.replicas[0]
        while replica.busy > 4:
            await asyncio.to_thread(lambda: None)
        assert int(replica.window) == 4
        assert server.counts["calls"] == 60
        assert not any(call.done() for call in calls)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        server.fault = lambda call: None
        results = await draw_many(source, range(100, 200))
        assert not [r for r in results if isinstance(r, BaseException)]
        assert 10 < replica.window < 30  # it opens again, slowly

    run(work())


def test_what_was_sent_before_a_refusal_opens_no_window() -> None:
    """Three calls are answered after a fourth was refused: a fourth at once is not due yet."""
    late, again = asyncio.Event(), asyncio.Event()
    events: dict[bytes, list[asyncio.Event | None]] = {
        b"/late": [late] * 3,
        b"/refused": [None, again],
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, path, *_ = (await reader.readuntil(b"\r\n\r\n")).split()
        status = 200
        if path in events and (event := events[path].pop(0)):
            await event.wait()
        elif path in events:
            status = 429
        writer.write(b"HTTP/1.1 %d -\r\ncontent-length: 2\r\n" % status)
        writer.write(b"connection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def work() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            pool = Pool([f"http://127.0.0.1:{port}"], limits=Limits(4), clock=HandClock())
            await pool.get("first")
            paths = ["late", "late", "late", "refused"]
            calls = [asyncio.ensure_future(pool.get(path)) for path in paths]
            while pool.replicas[0].window == 4:
                await asyncio.to_thread(lambda: None)
            late.set()
            await asyncio.wait(calls[:3])
            assert pool.replicas[0].window == 3
            again.set()  # this one was sent after it
            await calls[3]
            assert 3 < pool.replicas[0].window < 4
            pool.close()

    run(work())


def test_a_refused_call_gives_its_place_to_nobody(server: Served) -> None:
    """Forty calls in line, eight sent, four taken: until an answer comes, no other one is sent."""
    source = generator(server, limits=Limits(max_in_flight=8))

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "hold" if call.number < 4 else "429"
        calls = [asyncio.ensure_future(draw(source, seed)) for seed in range(40)]
        while source.pool.replicas[0].window > 4:
            await asyncio.to_thread(lambda: None)
        await asyncio.to_thread(lambda: None)
        assert server.counts["calls"] == 8
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    run(work())


def test_a_server_is_left_alone_for_as_long_as_it_asks(server: Served) -> None:
    clock = HandClock()
    source = generator(server, clock=clock)

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "429 wait" if call.number == 0 else None
        call = asyncio.ensure_future(draw(source, 0))
        while not source.pool.replicas[0].paused:
            await asyncio.to_thread(lambda: None)
        before = server.counts["requests"]
        clock.move(0.9)
        await asyncio.to_thread(lambda: None)
        assert server.counts["requests"] == before
        clock.move(0.2)
        await call

    run(work())


@pytest.mark.parametrize("fault", ["429", "429 wait", "502", "503", "529"])
def test_a_server_that_turns_all_away_for_a_while_fails_nothing(server: Served, fault: Any) -> None:
    """Two hundred calls, none taken for 20 seconds: then all are, and few were sent in vain."""
    clock = HastyClock()
    source = generator(server, clock=clock, limits=Limits(200, timeout=1e9))

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: fault if clock.now() < 20 else None
        results = await draw_many(source, range(200))
        assert not [r for r in results if isinstance(r, BaseException)]
        assert 20 <= clock.now() < 60
        assert server.counts["calls"] < 200 + 200 + 30
        assert source.pool.replicas[0].window > 1  # opening again

    run(work())


def test_a_server_that_takes_no_calls_is_tried_ever_less_often(server: Served) -> None:
    clock = HastyClock()
    source = generator(server, clock=clock, limits=Limits(timeout=1e9, patience=300.0))

    async def work() -> None:
        await source.abilities()
        tries: list[float] = []

        def fault(call: Any) -> Any:
            tries.append(clock.now())
            return "503"

        server.fault = fault
        with pytest.raises(TransientError, match="503: something went wrong"):
            await draw(source, 0)
        pauses = [b - a for a, b in itertools.pairwise(tries)]
        assert 300 <= sum(pauses) < 330
        for number, pause in enumerate(pauses):
            assert 0.5 <= pause / min(30.0, 0.5 * 2**number) <= 1

    run(work())


def test_calls_in_line_do_not_wait_for_ever_for_a_server_that_takes_none(server: Served) -> None:
    clock = HastyClock()
    source = generator(server, clock=clock, limits=Limits(1, timeout=1e9, patience=100.0))

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "503"
        results = await draw_many(source, range(30))
        assert all(isinstance(result, EngineError) for result in results)
        assert 100 <= clock.now() < 200
        server.fault = lambda call: None
        assert isinstance(await draw(source, 31), Sample)

    run(work())


def test_a_call_that_is_always_refused_does_not_stop_the_others(server: Served) -> None:
    clock = HastyClock()
    limits = Limits(4, timeout=1e9, patience=30.0)
    source = generator(server, clock=clock, limits=limits)
    refused = encode("What is 0 + 4?")

    async def work() -> None:
        await source.abilities()
        server.fault = lambda call: "429" if holds(call.body["prompt"], refused) else None
        first, *others = await draw_many(source, range(50))
        assert isinstance(first, TransientError)
        assert not [r for r in others if isinstance(r, BaseException)]

    run(work())


def holds(tokens: list[int], part: list[int]) -> bool:
    return any(tokens[at : at + len(part)] == part for at in range(len(tokens)))


def test_a_call_that_one_server_refuses_goes_to_the_other(servers: list[Served]) -> None:
    first, second, _ = servers
    source = generator(first, second)  # on a clock that stands still

    async def work() -> None:
        await source.abilities()
        first.fault = lambda call: "503"
        results = await draw_many(source, range(40))
        assert not [r for r in results if isinstance(r, BaseException)]
        assert second.counts["calls"] == 40

    run(work())


def test_a_call_is_sent_twice_at_most_when_idle_connections_break(server: Served) -> None:
    source = generator(server)

    async def work() -> None:
        await draw_many(source, range(20))
        assert len(source.pool.replicas[0].idle) > 2
        before = server.counts["calls"]
        server.fault = lambda call: "reset"
        with pytest.raises(TransientError, match="broke unanswered"):
            await draw(source, 99)
        assert server.counts["calls"] == before + 2

    run(work())


def test_calls_in_flight_fail_when_the_pool_is_closed(server: Served) -> None:
    source = generator(server, limits=Limits(2))

    async def work() -> None:
        await draw_many(source, range(3))
        before = server.counts["calls"]
        server.fault = lambda call: "hang"
        calls = [asyncio.ensure_future(draw(source, seed)) for seed in range(5)]
        await asyncio.to_thread(server.wait_until, lambda counts: counts["hanging"] == 2)
        pool = source.pool
        await source.aclose()
        await asyncio.wait(calls)
        for call in calls:
            with pytest.raises(EngineError, match="pool was closed"):
                call.result()
        assert server.counts["calls"] == before + 2
        with pytest.raises(EngineError, match="pool was closed"):
            await pool.get("models")

    run(work())


def test_hints_ahead_of_an_answer_are_none() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n[1, 2]\n")
        await writer.drain()
        writer.close()

    async def work() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            pool = Pool([f"http://127.0.0.1:{port}"], clock=RealClock())
            assert await pool.get("x") == [1, 2]
            pool.close()

    run(work())


@pytest.mark.parametrize("heard", [False, True])
def test_who_was_there_when_an_answer_was_broken_off(heard: bool) -> None:
    """A call that is over before the broken answer is read, unless more of that came since."""
    chunked = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
    said = b"9\r\ndata: {}\n\r\n"

    async def work() -> None:
        clock, lines = HandClock(), dict[str, asyncio.StreamWriter]()
        told, both = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            lines[head.split(b" ")[1].decode()] = writer
            if len(lines) == 2:
                both.set()

        def watch(reply: Reply) -> bool:
            told.set()
            return False

        async def more(data: bytes) -> None:
            told.clear()
            clock.move(1.0)
            lines["/broken"].write(data)
            await told.wait()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            pool = Pool([f"http://127.0.0.1:{port}"], clock=clock)
            ask = partial(pool.exchange, body=None)
            async with asyncio.TaskGroup() as group:
                other = group.create_task(ask("/whole", reply=Reply()))
                call = group.create_task(
                    caught(ask("/broken", reply=Reply(watch), ended=lambda: False))
                )
                await both.wait()
                await more(chunked + b"\r\n\r\n" + said)
                clock.move(1.0)
                lines["/whole"].write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                await other
                if heard:
                    await more(said)
                clock.move(1.0)
                lines["/broken"].write(said + b"0\r\n\r\n")
            alone = "the answer ended in the middle" in await call
            assert alone is heard
            assert pool.fleet.breaks is not heard
            assert pool.replicas[0].most == (512 if heard else 1)
            for line in lines.values():
                line.close()
            pool.close()

    run(work())


async def caught(work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(TransientError) as caught:
        await work
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_in_flight": 0}, "max_in_flight is 0; .*1 or more"),
        ({"max_in_flight": 2.0}, "max_in_flight is 2.0"),
        ({"max_in_flight": True}, "max_in_flight is True"),
        ({"timeout": 0}, "timeout is 0; .*more than 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": "1"}, "timeout is '1'"),
        ({"patience": -1.0}, r"patience is -1\.0; .*0 or more"),
        ({"patience": float("nan")}, "patience is nan"),
    ],
)
def test_limits_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Limits(**values)
    with pytest.raises(RecipeError, match=message):
        openai(base_url="http://h/v1", **values)


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
    source = generator(*pair, limits=Limits(max_in_flight=1))

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
    source = generator(*servers, limits=Limits(max_in_flight=5))

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
        before = first.counts["requests"]
        results = await draw_many(source, range(90, 130))
        assert not [r for r in results if isinstance(r, BaseException)]
        # Each asks for its tokens first: all at once, so that each server gets a half. How many
        # samples are drawn there depends on how long it takes to connect again.
        assert first.counts["requests"] >= before + 20

    run(work())


def test_calls_wait_for_a_server_to_come_back(server: Served) -> None:
    source = generator(
        server, clock=HastyClock(), limits=Limits(timeout=1e9, patience=float("inf"))
    )

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
    source = generator(server, clock=HastyClock(), limits=Limits(timeout=1e9, patience=60.0))

    async def work() -> None:
        await draw_many(source, range(5))
        server.down()
        results = await draw_many(source, range(5, 25))
        assert all(isinstance(result, EngineError) for result in results)
        assert "can be reached" in str(results[0])

    run(work())


def test_a_server_that_falls_silent_is_given_up(server: Served) -> None:
    clock = HandClock()
    source = generator(server, clock=clock, limits=Limits(timeout=60.0))

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
