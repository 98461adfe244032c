"""The wrappers every verifier shares: batches and memory."""

from __future__ import annotations

import asyncio
import math
import threading
from asyncio import TaskGroup
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest

from reasoning.cached import Cached
from reasoning.clock import VirtualClock
from reasoning.errors import EngineError, VerificationError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing import ToyVerifier, random_tree
from reasoning.testing.verifier_contract import ask
from reasoning.tree import Node, RolloutTree, Sample
from reasoning.verify import Batched, Item, Scores, reading

PROBLEM = Problem("p", "question")


def nodes(n: int) -> list[Node]:
    tree = RolloutTree("p")
    return [tree.add(tree.root, i, Sample(str(i))) for i in range(n)]


class Engine:
    """Scores a node by its text, many at once, a second a batch."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.batches: list[list[str]] = []
        self.finished = 0
        self.error: Exception | None = None

    async def many(self, items: Sequence[Item]) -> list[Scores | Exception]:
        self.batches.append([item.node.text for item in items])
        await self.clock.sleep(1)
        self.finished += 1
        if self.error:
            raise self.error
        for item in items:
            item.meter(len(item.node.text))
        return [
            VerificationError("odd") if item.node.slot == 13 else (item.node.slot / 100,)
            for item in items
        ]


async def score_all(verifier: Batched, some: Sequence[Node]) -> list[float]:
    async with TaskGroup() as group:
        tasks = [group.create_task(ask(verifier, PROBLEM, node)) for node in some]
    return [task.result().steps[0] for task in tasks]


def test_calls_that_wait_together_go_together() -> None:
    engine = Engine()
    verifier = Batched("v", engine.many, max_batch=4)

    async def work() -> None:
        assert await score_all(verifier, nodes(10)) == [i / 100 for i in range(10)]

    asyncio.run(work())
    assert list(map(len, engine.batches)) == [4, 4, 2]
    assert [text for batch in engine.batches for text in batch] == [str(i) for i in range(10)]


def test_nothing_waits_for_a_batch_to_fill() -> None:
    engine = Engine()
    verifier = Batched("v", engine.many)
    some = nodes(4)

    async def work() -> None:
        async with TaskGroup() as group:
            group.create_task(ask(verifier, PROBLEM, some[0]))
            await engine.clock.sleep(0.5)
            for node in some[1:]:
                group.create_task(ask(verifier, PROBLEM, node))
        await ask(verifier, PROBLEM, some[0])

    asyncio.run(work())
    assert engine.batches == [["0"], ["1", "2", "3"], ["0"]]
    assert engine.clock.now() == 3


def test_a_failure_in_place_of_a_verdict_fails_that_one() -> None:
    verifier = Batched("v", Engine().many)
    some = nodes(15)

    async def work() -> None:
        calls = [asyncio.ensure_future(ask(verifier, PROBLEM, node)) for node in some]
        await asyncio.wait(calls)
        assert [i for i, call in enumerate(calls) if call.exception()] == [13]

    asyncio.run(work())


@pytest.mark.parametrize("error", [EngineError("gone"), ValueError("bug")])
def test_a_failure_of_the_batch_fails_it_and_not_the_next(error: Exception) -> None:
    engine = Engine()
    engine.error = error
    verifier = Batched("v", engine.many)

    async def work() -> None:
        calls = [asyncio.ensure_future(ask(verifier, PROBLEM, node)) for node in nodes(3)]
        await asyncio.wait(calls)
        assert all(call.exception() is error for call in calls)
        engine.error = None
        assert await score_all(verifier, nodes(2)) == [0.0, 0.01]

    asyncio.run(work())


def test_too_few_results_are_a_failure() -> None:
    async def none(_: Sequence[Item]) -> list[Scores]:
        return []

    with pytest.raises(VerificationError, match="v gave 0 results for 1 nodes"):
        asyncio.run(ask(Batched("v", none), PROBLEM, nodes(1)[0]))


def test_who_gives_up_is_not_scored_and_harms_nobody() -> None:
    engine = Engine()
    verifier = Batched("v", engine.many)
    some = nodes(4)

    async def work() -> None:
        calls = [asyncio.ensure_future(ask(verifier, PROBLEM, node)) for node in some]
        await asyncio.sleep(0)
        calls[2].cancel()
        await asyncio.wait(calls)
        assert [call.cancelled() for call in calls] == [False, False, True, False]

    asyncio.run(work())
    assert engine.batches == [["0", "1", "3"]]


def test_a_batch_that_nobody_waits_for_is_cancelled() -> None:
    engine = Engine()
    verifier = Batched("v", engine.many, max_batch=2)

    async def work() -> None:
        calls = [asyncio.ensure_future(ask(verifier, PROBLEM, node)) for node in nodes(4)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert engine.batches == [["0", "1"]]
        for call in calls[:2]:
            call.cancel()
        await asyncio.wait(calls)
        assert [call.result().steps for call in calls[2:]] == [(0.02,), (0.03,)]

    asyncio.run(work())
    assert engine.batches == [["0", "1"], ["2", "3"]]
    assert engine.finished == 1


def test_one_batcher_in_two_loops() -> None:
    verifier = Batched("v", Engine().many)
    for _ in range(2):
        assert asyncio.run(score_all(verifier, nodes(3))) == [0.0, 0.01, 0.02]


def test_one_batcher_in_two_loops_at_once() -> None:
    """Each in a thread; the first one's batch ends when the second has begun."""
    begun = threading.Event()

    async def many(items: Sequence[Item]) -> list[Scores]:
        if threading.current_thread() is threading.main_thread():
            await asyncio.to_thread(begun.wait, 60)
        begun.set()
        return [(item.node.slot / 100,) for item in items]

    verifier = Batched("v", many)
    found: list[list[float]] = []
    other = threading.Thread(target=lambda: found.append(asyncio.run(both())))

    async def both() -> list[float]:
        return await asyncio.wait_for(score_all(verifier, nodes(3)), 60)

    async def work() -> list[float]:
        asyncio.get_running_loop().call_later(0, other.start)
        return await both()

    found.append(asyncio.run(work()))
    other.join(60)
    assert found == [[0.0, 0.01, 0.02]] * 2


def test_a_loop_that_ended_amid_a_batch_does_not_block_the_next() -> None:
    engine = Engine()
    verifier = Batched("v", engine.many)

    async def abandoned() -> None:
        call = asyncio.ensure_future(ask(verifier, PROBLEM, nodes(1)[0]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del call

    asyncio.run(abandoned())
    assert asyncio.run(score_all(verifier, nodes(2))) == [0.0, 0.01]


def test_the_same_text_is_scored_once() -> None:
    model = random_tree(2)
    inner = ToyVerifier(model)
    verifier = Cached(inner)
    (steps, _), *_ = model.complete()
    text = model.text(steps)
    other = Problem("other", "question")

    async def work() -> None:
        for tree in (RolloutTree("p", 1), RolloutTree("p", 2)):
            whole = tree.add(tree.root, 0, Sample(text))
            first = await ask(verifier, PROBLEM, whole)
            assert first == await ask(ToyVerifier(model), PROBLEM, whole)
        assert inner.calls == 1
        await ask(verifier, other, whole)
        assert inner.calls == 2
        verifier.forget(PROBLEM)
        await ask(verifier, PROBLEM, whole)
        await ask(verifier, other, whole)
        assert inner.calls == 3

    asyncio.run(work())


def test_a_step_is_known_with_what_stands_before_it() -> None:
    tree = RolloutTree("p")
    a, b = (tree.add(tree.root, i, Sample(text)) for i, text in enumerate("ab"))
    inner = ToyVerifier(random_tree(2))
    verifier = Cached(inner)

    async def work() -> None:
        for parent in (a, b):
            await ask(verifier, PROBLEM, tree.add(parent, 0, Sample("same")))

    asyncio.run(work())
    assert inner.calls == 2
    assert verifier.name == "toy"


def test_strategies_that_do_not_share_pay_for_their_own_scores() -> None:
    tree = RolloutTree("p")
    node = tree.add(tree.root, 0, Sample("same"))
    inner = ToyVerifier(random_tree(2))
    cached = Cached(inner)

    async def work() -> None:
        for name, calls in (("one", 1), ("two", 2), ("one", 2)):
            view = cached.of(name)
            assert (view.name, view.reduction) == (inner.name, inner.reduction)
            await ask(view, PROBLEM, node)
            assert inner.calls == calls
        cached.forget(PROBLEM)
        await ask(cached.of("one"), PROBLEM, node)
        assert inner.calls == 3

    asyncio.run(work())


def test_those_who_ask_for_the_same_at_once_wait_for_the_first() -> None:
    clock, model = VirtualClock(), random_tree(2)
    inner = ToyVerifier(model, delay=lambda _: 1.0, clock=lambda _: clock)
    verifier = Cached(inner)
    tree = RolloutTree("p")
    some = [tree.add(tree.root, i, Sample("same")) for i in range(5)]

    async def work() -> None:
        calls = [asyncio.ensure_future(ask(verifier, PROBLEM, node)) for node in some]
        await clock.sleep(0.5)
        calls[0].cancel()  # the next one takes over
        await asyncio.wait(calls)
        assert len({call.result() for call in calls[1:]}) == 1

    asyncio.run(work())
    assert inner.calls == 2


def test_a_verifier_that_reads_more_than_text_sees_every_sample() -> None:
    tree = RolloutTree("p")
    sure, unsure = (
        tree.add(tree.root, i, Sample("x", logprobs=np.array([p], np.float32), finish=finish))
        for i, (p, finish) in enumerate([(-0.1, "end"), (-3.0, "length")])
    )
    verifier = Cached(names.build("verifier", "logprob"))
    values = [asyncio.run(ask(verifier, PROBLEM, node)).steps[0] for node in (sure, unsure, sure)]
    assert values == pytest.approx([math.exp(-0.1), math.exp(-3.0), math.exp(-0.1)])


def test_failures_are_not_remembered() -> None:
    errors: list[Exception | None] = [VerificationError("no"), None]
    inner = ToyVerifier(random_tree(2), failure=lambda _: errors.pop(0))
    verifier = Cached(inner)
    (node,) = nodes(1)
    with pytest.raises(VerificationError):
        asyncio.run(ask(verifier, PROBLEM, node))
    asyncio.run(ask(verifier, PROBLEM, node))
    assert inner.calls == 2


def test_several_batches_under_way() -> None:
    engine = Engine()
    verifier = Batched("v", engine.many, max_batch=3, in_flight=2)
    some = nodes(10)

    async def work() -> None:
        assert await score_all(verifier, some) == [i / 100 for i in range(10)]

    asyncio.run(work())
    assert list(map(len, engine.batches)) == [3, 3, 3, 1]
    assert engine.clock.now() == 2


def test_a_call_leaves_while_another_batch_is_under_way() -> None:
    engine = Engine()
    verifier = Batched("v", engine.many, in_flight=2)
    some = nodes(4)

    async def work() -> None:
        async with TaskGroup() as group:
            group.create_task(ask(verifier, PROBLEM, some[0]))
            await engine.clock.sleep(0.5)
            for node in some[1:3]:
                group.create_task(ask(verifier, PROBLEM, node))
            await engine.clock.sleep(0.1)
            group.create_task(ask(verifier, PROBLEM, some[3]))

    asyncio.run(work())
    assert engine.batches == [["0"], ["1", "2"], ["3"]]
    assert engine.clock.now() == 2


def test_the_cost_of_what_is_known_and_of_what_failed_is_metered() -> None:
    errors: list[Exception | None] = [VerificationError("no"), None]
    model = random_tree(2)
    verifier = Cached(ToyVerifier(model, failure=lambda _: errors.pop(0)))
    (steps, _), *_ = model.complete()
    node = RolloutTree("p").root
    node = RolloutTree("p").add(node, 0, Sample(model.text(steps)))
    told: list[int] = []
    with pytest.raises(VerificationError):
        asyncio.run(verifier.score(PROBLEM, node, meter=told.append))
    assert sum(told) == len(steps) > 0
    for _ in range(2):
        assert asyncio.run(ask(verifier, PROBLEM, node)).tokens == len(steps)


@pytest.mark.parametrize(
    ("error", "tokens"), [(None, 7), (asyncio.CancelledError(), 7), (VerificationError("no"), 0)]
)
def test_what_was_read_is_metered_and_what_was_refused_is_not(
    error: BaseException | None, tokens: int
) -> None:
    told: list[int] = []
    with suppress(asyncio.CancelledError, VerificationError), reading(7, told.append):
        if error:
            raise error
    assert sum(told) == tokens
