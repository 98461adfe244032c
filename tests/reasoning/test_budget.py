"""Leases: never over the limit, first come first served, and the same for any timing."""

from __future__ import annotations

import asyncio
import random
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.budget import Budget, Lease, Purse, Usage


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


calls = st.lists(
    st.tuples(st.integers(1, 12), st.integers(0, 12)).map(lambda c: (c[0], min(c))), max_size=12
)
"""What each call asks for, and what it uses of it."""


async def serve(purse: Purse, wanted: list[tuple[int, int]], order: random.Random) -> list[int]:
    """All calls ask in turn and settle in random order; what each was granted."""
    granted = [0] * len(wanted)
    held: list[tuple[int, Lease]] = []

    async def call(i: int) -> None:
        lease = await purse.lease(wanted[i][0])
        if lease is not None:
            granted[i] = lease.amount
            held.append((i, lease))

    tasks = []
    for i in range(len(wanted)):
        tasks.append(asyncio.ensure_future(call(i)))
        await settled()
    while held:
        i, lease = held.pop(order.randrange(len(held)))
        lease.meter(min(wanted[i][1], lease.amount))
        assert purse.limit is None or purse.spent + purse.reserved <= purse.limit
        lease.settle()
        await settled()
    assert all(task.done() for task in tasks), "somebody waits though nobody holds anything"
    assert purse.reserved == 0
    return granted


@given(calls, st.none() | st.integers(0, 40), st.integers(0, 3))
def test_admission_does_not_depend_on_who_settles_first(
    wanted: list[tuple[int, int]], limit: int | None, seed: int
) -> None:
    purses = [Purse(limit), Purse(limit)]
    first, second = (
        asyncio.run(serve(purse, wanted, random.Random(s)))
        for purse, s in zip(purses, (seed, seed + 1), strict=True)
    )
    assert first == second
    assert purses[0].exhausted == purses[1].exhausted
    assert purses[0].spent == purses[1].spent
    assert limit is None or purses[0].spent <= limit


@given(calls, st.integers(0, 40))
def test_first_come_first_served(wanted: list[tuple[int, int]], limit: int) -> None:
    """What a call gets is what the calls before it leave: computed one after another."""
    left, expected = limit, []
    for amount, used in wanted:
        grant = min(amount, left)
        expected.append(grant)
        left -= min(used, grant)
    assert asyncio.run(serve(Purse(limit), wanted, random.Random(0))) == expected


actions = st.lists(
    st.tuples(st.sampled_from(["ask", "settle", "cancel"]), st.integers(0, 9), st.integers(0, 9)),
    max_size=40,
)


@given(actions, st.integers(0, 15))
def test_any_interleaving_stays_within_the_limit(
    script: list[tuple[str, int, int]], limit: int
) -> None:
    """Asking, settling and giving up in any order: no overdraft, no deadlock, nothing leaks."""

    async def work() -> None:
        purse = Purse(limit)
        waiting: list[asyncio.Task[Lease | None]] = []
        held: list[Lease] = []

        def collect() -> None:
            for task in [t for t in waiting if t.done()]:
                waiting.remove(task)
                if not task.cancelled() and (lease := task.result()):
                    held.append(lease)

        for what, which, amount in script:
            if what == "ask":
                waiting.append(asyncio.ensure_future(purse.lease(amount + 1)))
            elif what == "settle" and held:
                lease = held.pop(which % len(held))
                lease.meter(min(amount, lease.amount))
                lease.settle()
            elif what == "cancel" and waiting:
                waiting[which % len(waiting)].cancel()
            if amount % 2:  # else what follows happens before anybody woke up
                await settled()
                collect()
            assert purse.reserved >= 0
            assert purse.spent + purse.reserved <= limit
        while True:
            await settled()
            collect()
            if not held:
                break
            held.pop().settle()
        assert not waiting, "a deadlock"
        assert purse.reserved == 0
        assert not purse._queue

    asyncio.run(work())


@given(st.none() | st.integers(0, 50), st.integers(1, 8), st.integers(0, 20))
def test_split_hands_out_all_that_is_left(limit: int | None, n: int, spent: int) -> None:
    async def work() -> None:
        budget = Budget(limit, limit)
        if lease := await budget.tokens.lease(spent):
            lease.meter(lease.amount)
            lease.settle()
        parts = budget.split(n)
        for kind in ("tokens", "verifier_calls"):
            purse = getattr(budget, kind)
            shares = [getattr(part, kind).limit for part in parts]
            if limit is None:
                assert shares == [None] * n
                continue
            assert purse.spent + sum(shares) == limit
            assert max(shares) - min(shares) <= 1
            assert shares == sorted(shares, reverse=True)
            assert purse.remaining == 0

    if spent:
        asyncio.run(work())


def test_what_was_on_loan_when_a_budget_was_split_comes_back_to_it() -> None:
    async def work() -> None:
        purse = Purse(10)
        lease = await purse.lease(6)
        assert lease is not None
        assert [part.limit for part in purse.split(2)] == [2, 2]
        lease.meter(1)
        lease.settle()
        assert purse.remaining == 5

    asyncio.run(work())


def test_exhaustion_of_a_part_is_exhaustion() -> None:
    async def work() -> None:
        budget = Budget(4)
        one, two = budget.split(2)
        assert budget.exhausted is None
        lease = await one.tokens.lease(3)
        assert lease is not None
        assert (lease.amount, lease.short) == (2, True)
        lease.meter(1)
        lease.settle()
        assert budget.exhausted is None  # it did without what it was not given
        part = two.split(1)[0]
        lease = await part.tokens.lease(5)
        assert lease is not None
        lease.meter(2)
        lease.settle()
        assert part.exhausted == two.exhausted == budget.exhausted == "tokens"
        assert one.exhausted is None
        assert await part.tokens.lease(1) is None

    asyncio.run(work())


def test_a_lease_granted_to_somebody_just_cancelled_comes_back() -> None:
    async def work() -> None:
        purse = Purse(5)
        first = await purse.lease(5)
        assert first is not None
        task = asyncio.ensure_future(purse.lease(5))
        await settled()
        first.settle()  # grants to the task, which has not woken up
        assert purse.reserved == 5
        task.cancel()
        await settled()
        assert task.cancelled()
        assert purse.reserved == 0

    asyncio.run(work())


def test_one_who_gives_up_lets_the_next_pass() -> None:
    async def work() -> None:
        purse = Purse(5)
        first = await purse.lease(3)
        assert first is not None
        large, small = (asyncio.ensure_future(purse.lease(n)) for n in (5, 2))
        await settled()
        assert not small.done()  # it fits, but the large one was first
        large.cancel()
        await settled()
        assert small.done()
        assert (lease := small.result())
        assert lease.amount == 2

    asyncio.run(work())


@pytest.mark.parametrize("limit", [-1, -100])
def test_limits_are_not_negative(limit: int) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Purse(limit)
    with pytest.raises(ValueError, match="1 part or more"):
        Budget().split(0)


def test_usage_adds_up() -> None:
    names = [f.name for f in fields(Usage)]
    one = Usage(**{name: i + 1 for i, name in enumerate(names)})  # type: ignore[arg-type]
    two = Usage(**dict.fromkeys(names, 100))  # type: ignore[arg-type]
    total = one + two
    for i, name in enumerate(names):
        expected = 100 if name == "critical_tokens" else i + 101
        assert getattr(total, name) == expected, name
    assert (Usage() + one).to_json() == one.to_json()
