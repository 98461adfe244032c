"""Virtual time: it moves when nothing else can, and for each problem on its own."""

from __future__ import annotations

import asyncio
import weakref
from asyncio import TaskGroup
from collections.abc import Callable

import pytest

from reasoning.clock import (
    ClockPerProblem,
    Deadline,
    PatientClock,
    RealClock,
    VirtualClock,
    stream,
)


def test_sleepers_wake_in_order_and_on_time() -> None:
    async def work() -> list[tuple[str, float]]:
        clock = VirtualClock()
        log = []

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await clock.sleep(nap)
                log.append((name, clock.now()))

        async with TaskGroup() as group:
            for name, naps in (("a", (3.0, 3.0)), ("b", (1.0, 2.0, 2.5)), ("c", (0.0, 6.0))):
                group.create_task(sleeper(name, *naps))
        return log

    expected = [("c", 0), ("b", 1), ("a", 3), ("b", 3), ("b", 5.5), ("a", 6), ("c", 6)]
    log = asyncio.run(work())
    assert sorted(log[-2:]) == expected[-2:]
    assert log[:-2] == expected[:-2]


def test_time_stands_still_while_anything_can_run() -> None:
    async def work() -> None:
        clock = VirtualClock()
        busy_until = []

        async def busy() -> None:
            for _ in range(200):
                await asyncio.sleep(0)
            busy_until.append(clock.now())

        async with TaskGroup() as group:
            group.create_task(busy())
            group.create_task(clock.sleep(1))
        assert busy_until == [0.0]
        assert clock.now() == 1.0

    asyncio.run(work())


def test_time_stands_still_while_it_is_held() -> None:
    async def work() -> None:
        clock = VirtualClock()
        loop = asyncio.get_running_loop()
        outside = loop.create_future()
        loop.run_in_executor(None, lambda: None).add_done_callback(
            lambda _: loop.call_soon(outside.set_result, None)
        )

        async def real() -> float:
            with clock.hold():
                await outside
            return clock.now()

        async with TaskGroup() as group:
            group.create_task(clock.sleep(1))
            task = group.create_task(real())
        assert task.result() == 0.0
        assert clock.now() == 1.0

    asyncio.run(work())


def test_holds_nest() -> None:
    async def work() -> None:
        clock = VirtualClock()
        sleeper = asyncio.ensure_future(clock.sleep(1))
        with clock.hold():
            with clock.hold():
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            assert not sleeper.done()
        await sleeper

    asyncio.run(work())


def test_a_clock_nobody_sleeps_on_costs_nothing() -> None:
    """No polling when there is nothing to wait for, or time is held: the loop can block."""

    async def work() -> int:
        clock = VirtualClock()
        clock.call_later(5, lambda: None)
        await clock.sleep(1)
        turns = 0
        loop = asyncio.get_running_loop()
        original = loop._run_once  # type: ignore[attr-defined]

        def counted() -> None:
            nonlocal turns
            turns += 1
            original()

        loop._run_once = counted  # type: ignore[attr-defined]
        sleeper = asyncio.ensure_future(clock.sleep(1))
        with clock.hold():
            await loop.run_in_executor(None, lambda: sum(range(1_000_000)))
        await sleeper
        return turns

    assert asyncio.run(work()) < 30


def test_problems_do_not_delay_each_other() -> None:
    async def work() -> None:
        clocks = ClockPerProblem()
        a, b = clocks("a"), clocks("b")
        assert clocks("a") is a

        async def sleeper(clock: VirtualClock, naps: int, nap: float) -> float:
            for _ in range(naps):
                await clock.sleep(nap)
            return clock.now()

        with a.hold():
            assert await sleeper(b, 3, 1.0) == 3.0
        async with TaskGroup() as group:
            slow = group.create_task(sleeper(a, 100, 1.0))
            fast = group.create_task(sleeper(b, 2, 0.25))
        assert slow.result() == 100.0
        assert fast.result() == 3.5

    asyncio.run(work())


def test_clocks_are_forgotten_with_their_search() -> None:
    clocks = ClockPerProblem()
    clock = clocks("a")
    clock._now = 5.0
    del clock
    assert clocks("a").now() == 0.0


def test_one_clock_in_two_loops() -> None:
    clock = VirtualClock()
    for expected in (1.0, 2.0):
        asyncio.run(clock.sleep(1))
        assert clock.now() == expected


def test_alarms_ring_only_when_time_is_carried_past_them() -> None:
    async def work() -> None:
        clock = VirtualClock()
        rung: list[str] = []
        clock.call_later(1, lambda: rung.append("one"))
        clock.call_later(2, lambda: rung.append("two"))
        clock.call_later(1.5, lambda: rung.append("never")).cancel()
        for _ in range(100):
            await asyncio.sleep(0)
        assert rung == []
        await clock.sleep(1.75)
        assert rung == ["one"]

    asyncio.run(work())


def test_a_cancelled_sleeper_moves_no_time() -> None:
    async def work() -> None:
        clock = VirtualClock()
        task = asyncio.ensure_future(clock.sleep(10))
        await asyncio.sleep(0)
        task.cancel()
        await clock.sleep(1)
        assert clock.now() == 1.0
        assert task.cancelled()

    asyncio.run(work())


# ---------------------------------------------------------------------------- deadlines


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.5])
def test_a_deadline_cuts_its_body(seconds: float) -> None:
    async def work() -> None:
        clock = VirtualClock()
        log = []
        with Deadline(clock, seconds) as deadline:
            for second in range(1, 4):
                await clock.sleep(1)
                log.append(second)
        assert deadline.expired
        # Who was to wake at the very moment was asleep still when the deadline, set first, rang.
        assert log == [second for second in (1, 2, 3) if second < seconds]
        assert clock.now() == seconds
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        await clock.sleep(1)  # life goes on

    asyncio.run(work())


@pytest.mark.parametrize("seconds", [None, 100.0])
def test_a_deadline_that_is_not_met_changes_nothing(seconds: float | None) -> None:
    async def work() -> None:
        clock = VirtualClock()
        with Deadline(clock, seconds) as deadline:
            await clock.sleep(1)
        assert not deadline.expired
        with pytest.raises(KeyError), Deadline(clock, seconds):
            raise KeyError
        await clock.sleep(200)  # the alarm was taken off

    asyncio.run(work())


def test_cancellation_from_outside_passes_through() -> None:
    async def work() -> None:
        clock = VirtualClock()

        async def body() -> None:
            with Deadline(clock, 5):
                await clock.sleep(10)

        for at, outside in ((1.0, True), (5.0, True), (7.0, False)):
            task = asyncio.ensure_future(body())
            alarm = clock.call_later(at, task.cancel)
            await asyncio.wait([task])
            alarm.cancel()
            assert task.cancelled() is outside, at

    asyncio.run(work())


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        (1.0, 2.0, (True, False)),
        (2.0, 1.0, (False, True)),
        (1.0, 1.0, (True, True)),
        (None, 1.0, (False, True)),
        (9.0, 9.0, (False, False)),
    ],
)
def test_nested_deadlines(
    outer: float | None, inner: float | None, expected: tuple[bool, bool]
) -> None:
    async def work() -> None:
        clock = VirtualClock()
        after_inner = []
        with Deadline(clock, outer) as one:
            with Deadline(clock, inner) as two:
                await clock.sleep(5)
            after_inner.append(clock.now())
        assert (one.expired, two.expired) == expected
        assert after_inner == ([] if one.expired else [clock.now()])

    asyncio.run(work())


def test_alarms_of_a_patient_clock_ring_in_time_and_only_if_they_are_set() -> None:
    async def work() -> None:
        clock, rung = PatientClock(), list[tuple[str, float]]()

        def alarm(name: str) -> Callable[[], object]:
            return lambda: rung.append((name, clock.now()))

        begun = clock.now()
        clock.call_later(0.02, alarm("a"))
        off = clock.call_later(0.02, alarm("off"))
        clock.call_later(0.01, alarm("sooner"))
        await clock.sleep(0.01)
        clock.call_later(0.02, alarm("b"))
        both = clock.call_later(0.02, lambda: last.cancel())
        last = clock.call_later(0.02, alarm("taken off by another"))
        off.cancel()
        off.cancel()
        await clock.sleep(0.1)
        both.cancel()
        assert [name for name, _ in rung] == ["sooner", "a", "b"]
        assert all(at - begun >= due for (_, at), due in zip(rung, (0.01, 0.02, 0.03), strict=True))
        clock.call_later(0.01, alarm("again"))
        await clock.sleep(0.05)
        assert rung[-1][0] == "again"

    asyncio.run(work())


def test_what_goes_wrong_in_an_alarm_keeps_no_other_from_ringing() -> None:
    async def work() -> None:
        clock, rung = PatientClock(), asyncio.Event()
        wrong: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: wrong.append(context["exception"]))
        clock.call_later(0.001, lambda: 1 / 0)
        clock.call_later(0.001, rung.set)
        await rung.wait()
        rung.clear()
        clock.call_later(0.001, rung.set)
        await rung.wait()
        assert [type(error) for error in wrong] == [ZeroDivisionError]

    asyncio.run(work())


def test_an_alarm_that_is_taken_off_keeps_nothing() -> None:
    class Owner:
        def ring(self) -> None:
            raise AssertionError("it is taken off")

    async def work() -> None:
        owner = Owner()
        there = weakref.ref(owner)
        alarm = PatientClock().call_later(60.0, owner.ring)
        alarm.cancel()
        del owner
        assert there() is None

    asyncio.run(work())


def test_a_deadline_ends_task_groups_inside_it() -> None:
    async def work() -> None:
        clock = VirtualClock()
        with Deadline(clock, 1) as deadline:
            async with TaskGroup() as group:
                tasks = [group.create_task(clock.sleep(n)) for n in (0.5, 2, 3)]
        assert deadline.expired
        assert [task.cancelled() for task in tasks] == [False, True, True]

    asyncio.run(work())


# ------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize(
    ("at", "expected"), [(0.0, 0), (0.019, 0), (0.02, 1), (0.9999, 49), (1.0, 50), (1.5, 75)]
)
@pytest.mark.parametrize("start", [0.0, 12_345.67])
def test_tokens_that_arrived_before_a_cancellation_are_metered(
    at: float, expected: int, start: float
) -> None:
    async def work() -> None:
        clock = VirtualClock()
        await clock.sleep(start)
        metered: list[int] = []
        task = asyncio.ensure_future(stream(100, 0.02, clock, metered.append))
        clock.call_later(at, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()
        assert sum(metered) == expected

    asyncio.run(work())


def test_a_stream_to_its_end() -> None:
    async def work() -> None:
        clock = VirtualClock()
        metered: list[int] = []
        await stream(100, 0.02, clock, metered.append)
        assert (sum(metered), clock.now()) == (100, 2.0)
        await stream(7, 0.0, clock, metered.append)
        assert (sum(metered), clock.now()) == (107, 2.0)

    asyncio.run(work())


def test_the_real_clock_is_the_loop() -> None:
    async def work() -> None:
        clock = RealClock()
        before = clock.now()
        await clock.sleep(0)
        assert clock.now() >= before
        rung = asyncio.Event()
        clock.call_later(0, rung.set)
        await rung.wait()

    asyncio.run(work())
