"""Leases: never over the limit, first come first served, and the same for any timing."""

from __future__ import annotations

import asyncio
import random
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget, Lease, Parts, Purse
from reasoning.errors import RecipeError
from reasoning.session import solve
from reasoning.usage import Price, Share, Usage


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


async def rounds(purse: Purse, lengths: list[int], order: random.Random) -> tuple[list[int], int]:
    """Whole solutions of these lengths side by side: what each got in the end, and in how many
    rounds. Those cut short by their share ask again; who ends when is up to `order`."""
    got = [0] * len(lengths)

    async def solve(i: int) -> None:
        while True:
            lease = await purse.lease(1000, even=(i,))
            if lease is None:
                return
            done = asyncio.Event()
            ends.append(done)
            await done.wait()
            lease.meter(min(lengths[i] - got[i], lease.amount))
            got[i] += lease.used
            lease.settle()  # and ask again at once
            if got[i] == lengths[i] or not lease.short:
                return

    ends: list[asyncio.Event] = []
    count = 0
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(solve(i)) for i in range(len(lengths))]
        await settled()
        while any(not task.done() for task in tasks):
            count += 1
            assert ends, "somebody waits though nobody holds anything"
            order.shuffle(ends)
            running, ends[:] = list(ends), []
            for done in running:
                done.set()
                await settled()
    return got, count


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 120), st.integers(0, 3))
def test_whole_solutions_get_equal_shares_whoever_ends_first(
    lengths: list[int], limit: int, seed: int
) -> None:
    first, second = (Purse(limit), Purse(limit))
    got, _ = asyncio.run(rounds(first, lengths, random.Random(seed)))
    assert got == asyncio.run(rounds(second, lengths, random.Random(seed + 1)))[0]
    assert first.spent == sum(got) == min(limit, sum(lengths))
    assert first.exhausted == (limit < sum(lengths))
    share = limit // len(lengths)  # those that ended early left more, nobody less
    assert all(g >= min(n, share) for g, n in zip(got, lengths, strict=True))


def test_where_shares_would_be_too_small_fewer_start() -> None:
    """32 solutions of 75 tokens under 500: equal shares of 15 would end none of them."""
    got, _ = asyncio.run(rounds(Purse(500, least=1000), [75] * 32, random.Random(0)))
    assert sum(g == 75 for g in got) == 6
    assert sum(got) == 500
    again, _ = asyncio.run(rounds(Purse(500, least=1000), [75] * 32, random.Random(1)))
    assert again == got


def test_what_fits_is_not_served_one_after_another() -> None:
    """64 solutions of 300 tokens that might be 32,768 long, under 65,536: one round."""
    purse = Purse(65_536)

    async def work() -> list[int]:
        async def one(i: int) -> int:
            lease = await purse.lease(32_768, even=(i,))
            assert lease is not None
            amounts.append(lease.amount)
            await ready.wait()
            lease.meter(300)
            lease.settle()
            return lease.amount

        amounts: list[int] = []
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(i)) for i in range(64)]
            await settled()
            assert amounts == [1024] * 64
            ready.set()
        return [task.result() for task in tasks]

    asyncio.run(work())
    assert (purse.spent, purse.exhausted) == (64 * 300, False)


def test_a_child_draws_on_its_parent_and_leaves_the_rest() -> None:
    async def work() -> None:
        whole = Budget(10)
        part = Budget(6, within=whole)
        assert (part.tokens.remaining, whole.tokens.remaining) == (6, 10)
        lease = await part.tokens.lease(8)
        assert lease is not None
        assert (lease.amount, lease.short, whole.tokens.reserved) == (6, True, 6)
        lease.meter(2)
        lease.settle()
        assert (part.tokens.spent, whole.tokens.spent) == (2, 2)
        assert (part.tokens.remaining, whole.tokens.remaining) == (4, 8)
        other = await whole.tokens.lease(7)
        assert other is not None
        waiting = asyncio.ensure_future(part.tokens.lease(4))
        await settled()
        assert not waiting.done()  # it fits here, but not further out, as long as 7 are on loan
        other.meter(7)
        other.settle()
        last = await waiting
        assert last is not None
        assert (last.amount, last.short, part.tokens.reserved) == (1, True, 1)
        last.meter(1)
        last.settle()
        assert part.exhausted == whole.exhausted == "tokens"

    asyncio.run(work())


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 60), st.integers(0, 3))
def test_parts_leave_to_the_others_whoever_is_quick(
    wants: list[int], limit: int, seed: int
) -> None:
    """Each part spends one token a step up to what it wants: all that is there gets used."""

    async def work(order: random.Random) -> list[int]:
        whole = Budget(limit)
        parts = Parts(whole, len(wants))
        spent = [0] * len(wants)
        turns = [order.randrange(3) for _ in range(200)]

        async def one(i: int) -> None:
            budget = parts.budgets[i]
            for step in range(wants[i]):
                for _ in range(turns[(7 * i + step) % 200]):
                    await asyncio.sleep(0)
                lease = await budget.tokens.lease(1)
                if lease is None:
                    break
                lease.meter(1)
                lease.settle()
                spent[i] += 1
            parts.close(budget)

        async with asyncio.TaskGroup() as group:
            for i in range(len(wants)):
                group.create_task(one(i))
        assert whole.tokens.spent == sum(spent) == min(limit, sum(wants))
        assert whole.exhausted == ("tokens" if sum(wants) > limit else None)
        assert whole.idle
        return spent

    first = asyncio.run(work(random.Random(seed)))
    assert first == asyncio.run(work(random.Random(seed + 10)))


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
        Parts(Budget(), 0)


def test_usage_adds_up() -> None:
    names = [f.name for f in fields(Usage) if f.name != "models"]
    one = Usage(**{name: i + 1 for i, name in enumerate(names)})  # type: ignore[arg-type]
    two = Usage(**dict.fromkeys(names, 100))  # type: ignore[arg-type]
    one.models = {"small": Share(1, 2, 0, 1)}
    two.models = {"small": Share(10, 20, 5, 1), "large": Share(7, 7, 7, 1)}
    total = one + two
    for i, name in enumerate(names):
        expected = 100 if name == "critical_tokens" else i + 101
        assert getattr(total, name) == expected, name
    assert total.models == {"small": Share(11, 22, 5, 2), "large": Share(7, 7, 7, 1)}
    assert (Usage() + one).to_json() == one.to_json()
    assert Usage.from_json(total.to_json()) == total


def test_what_a_search_has_not_is_not_told() -> None:
    assert not {"money", "models", "tool_calls", "probe_tokens"} & Usage().to_json().keys()
    assert Usage(money=0.5).to_json()["money"] == 0.5


def test_prices_are_per_million_and_exact() -> None:
    price = Price(input=3.0, output=15.0, cached=0.3)
    assert price.of(1000, 400, 200) == 600 * 3000 + 400 * 300 + 200 * 15000
    assert Price(input=2.0).of(10, 10, 5) == 20_000  # a cache that nobody prices is no cheaper


@pytest.mark.parametrize("first", [0, 1])
def test_a_later_even_wish_gets_the_same_whoever_has_settled(first: int) -> None:
    """It fits in what the other has left already, or is about to leave: either way it waits."""

    async def work() -> tuple[int, int]:
        purse = Purse(10)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(purse.lease(6, even=(i,))) for i in range(2)]
        leases = [lease for task in asked if (lease := task.result())]
        assert [lease.amount for lease in leases] == [5, 5]
        for lease in leases:
            lease.used = 2
        leases[first].settle(time=(3, 7)[first])
        later = asyncio.ensure_future(purse.lease(3, even=(0,)))
        await settled()
        assert not later.done()
        leases[1 - first].settle(time=(3, 7)[1 - first])
        lease = await later
        assert lease is not None
        return lease.amount, lease.after

    assert asyncio.run(work()) == (3, 7)


def test_what_fits_whatever_the_others_leave_does_not_wait() -> None:
    async def work() -> None:
        purse = Purse(10)
        assert await purse.lease(5, even=(0,))
        late = await purse.lease(5, even=(1,))
        assert late is not None
        assert (late.amount, late.short, late.after) == (5, False, 0)

    asyncio.run(work())


def test_a_part_about_to_be_served_is_not_stuck() -> None:
    """What one has is not shared out because another waits at that very moment."""

    async def work() -> list[int]:
        parts = Parts(Budget(20), 2)
        mine, other = (budget.tokens for budget in parts.budgets)
        asked = [mine.lease(12, even=(0,)), other.lease(4, even=(1,))]
        tasks = [asyncio.ensure_future(wish) for wish in asked]
        await settled()
        assert not tasks[0].done()
        served = await tasks[1]
        assert served is not None
        served.used = 4
        served.settle()
        parts.close(parts.budgets[1])
        rest = await tasks[0]
        assert rest is not None
        return [served.amount, rest.amount]

    assert asyncio.run(work()) == [4, 12]


@pytest.mark.parametrize(("apart", "after"), [(False, 7), (True, 0)])
def test_when_a_lease_began_counts_rounds_further_out(apart: bool, after: int) -> None:
    """Unless those beside it have a time of their own, as the searches of a run have."""

    async def work() -> int:
        whole = Purse(10)
        first = await whole.lease(6, even=(0,))
        part = Purse(10, whole, apart=apart)
        asked = asyncio.ensure_future(part.lease(6, even=(1,)))
        await settled()
        assert first is not None
        assert not asked.done()
        first.used = 4
        first.settle(time=7)
        lease = await asked
        assert lease is not None
        return lease.after

    assert asyncio.run(work()) == after


def test_what_can_be_had_at_once() -> None:
    whole = Purse(10)
    part = Purse(8, whole)
    lease = part.at_once(6)
    assert lease is not None
    assert (part.reserved, whole.reserved) == (6, 6)
    assert part.at_once(3) is None, "it does not fit here"
    assert Purse(8, whole).at_once(5) is None, "nor further out"
    assert part.at_once(1, even=(0,)) is None, "a round has to gather"
    assert (part.reserved, whole.reserved) == (6, 6), "asking leaves no trace"
    lease.used = 2
    lease.settle()
    assert (part.spent, whole.spent, whole.reserved) == (2, 2, 0)
    free = Purse().at_once(10**9, even=(0,))
    assert free is not None


def test_a_price_is_no_bare_number() -> None:
    prices: Any = {"default": 5}
    with pytest.raises(RecipeError, match="prices: default is 5"):
        solve("?", generator=Scripted(["1"]), searcher="sample", prices=prices)


@pytest.mark.parametrize(("money", "samples"), [(0.0, 0), (2.0, 2), (3.0, 3), (9.0, 4)])
def test_money_that_does_not_pay_all_pays_as_many_as_it_can(money: float, samples: int) -> None:
    """Shares of it that would not buy a token each are not handed out."""
    result = solve(
        "?",
        generator=Scripted(["\\boxed{1}"]),
        searcher="self_consistency",
        n=4,
        sampling={"max_tokens": 10},
        prices={"default": {"output": 1e6}},  # one a token
        limits={"money": money},
    )
    assert result.usage.generated_tokens == samples
    assert result.answer == ("1" if samples else None)
