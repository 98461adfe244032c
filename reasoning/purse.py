"""A limit on one kind of spending: who may spend how much of it, and when.

A call leases what it may use before it starts and gives back what it did not use.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning.budget import Kind, Parts


class Lease:
    """A right to spend up to `amount`, held until settled; `meter` records spending.

    `short` tells that it is less than was asked for, because no more was left. `even` leases are
    shares of a round: another may follow; `after` is the time, in serial tokens, at which the
    round began. `beside` it stand all leases of the same call, where it needs several kinds.
    """

    __slots__ = ("_outer", "_purse", "after", "amount", "beside", "capped", "even", "short", "used")

    def __init__(
        self,
        purse: Purse,
        amount: int,
        *,
        short: bool = False,
        even: bool = False,
        after: int = 0,
        outer: Lease | None = None,
    ) -> None:
        self._purse = purse
        self.even = even
        self._outer = outer
        self.amount = amount
        self.short = short
        self.capped = False  # by another kind of limit
        self.after = after
        self.used = 0
        self.beside: dict[Kind, Lease] | None = None

    def meter(self, count: int) -> None:
        self.used += count

    def cap(self, amount: int) -> None:
        """Give back now what is above `amount`."""
        if self._outer is not None:
            self._outer.cap(amount)
        self.short |= amount < self.amount
        self.capped |= amount < self.amount
        self._purse.reserved -= self.amount - amount
        self.amount = amount

    def settle(self, time: int = 0) -> None:
        """Give back what was not used. Call exactly once; `time` is when its work ended."""
        if self._outer is not None:
            self._outer.used = self.used
            self._outer.settle(time)
        self._purse._settle(self, time)


@dataclass(eq=False, slots=True)
class _Wish:
    """Somebody who waits for a lease; `even` is the place of one who gets an equal share."""

    amount: int
    even: Sequence[int] | None
    least: int
    future: asyncio.Future[Lease | None]


_NOBODY: deque[_Wish] = deque()
"""The queue of every purse that nobody has waited for yet; it stays empty."""


class Purse:
    """A limit on one kind of spending; None means no limit. `within` is the purse it draws on.

    Wishes are served in order; one that does not fit waits for those ahead of it to give back, and
    gets what is left once nobody holds anything. So what is admitted does not depend on how fast
    calls happen to be. Wishes with an `even` place are served in rounds: all that wait when nobody
    holds anything start at once, each with an equal share of what is left if their sum does not
    fit, but of `least` at least: where that does not go round, fewer start. Whoever asks later is
    in the same round if it fits though all others used all they may, else in the next. Places
    order them, so that it does not matter either who of them asks first.

    `exhausted` tells that somebody was refused, or cut off by getting less than was asked for.
    `apart` tells that those who draw on `within` beside this one have a time of their own.
    """

    def __init__(
        self,
        limit: int | None = None,
        within: Purse | None = None,
        *,
        least: int = 1,
        apart: bool = False,
    ) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"a limit is 0 or more, not {limit}")
        self.limit = limit
        self.within = within
        self.least = least
        self.apart = apart
        self.spent = 0
        self.reserved = 0
        self.exhausted = False
        self._queue: deque[_Wish] = _NOBODY
        self._time = 0  # serial tokens: when the last lease ended
        self._begun = 0  # serial tokens: when the round began
        self._committed = 0  # what is spent if all leases of the round are used up
        self._due = False  # even wishes are about to be served
        self._parts: Parts | None = None  # those it shares out a purse with
        self._last = False  # nobody will leave it more before it has spent what it has

    @property
    def remaining(self) -> int | None:
        """What is neither spent nor reserved, here and further out; None without a limit."""
        outer = None if self.within is None else self.within.remaining
        own = None if self.limit is None else max(0, self.limit - self.spent - self.reserved)
        return own if outer is None else outer if own is None else min(own, outer)

    @property
    def left(self) -> int | None:
        """What is not spent, on loan or not; None without a limit here or further out."""
        outer = None if self.within is None else self.within.left
        own = None if self.limit is None else max(0, self.limit - self.spent)
        return own if outer is None else outer if own is None else min(own, outer)

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for a lease."""
        return any(not wish.future.done() for wish in self._queue)

    @property
    def stuck(self) -> bool:
        """Whether somebody waits for more than there is: nobody will be served by itself."""
        if self._last or not self.waiting:
            return False
        return not self._fits(sum(wish.amount for wish in self._first()))

    async def lease(
        self, amount: int, *, even: Sequence[int] | None = None, least: int | None = None
    ) -> Lease | None:
        """Wait for a turn, then all of it if that fits, else what is left; None for nothing.

        `least` is what an even share is worth asking for, where it differs from the purse's.
        """
        if (lease := self.at_once(amount, even=even)) is not None:
            return lease
        least = self.least if least is None else least
        own = await self._admitted(amount, even, least)
        if own is None or self.within is None:
            return own
        try:
            # A part has its own: what others ask further out is none of its business.
            outer = await self.within.lease(
                own.amount, even=None if self._parts else even, least=least
            )
        except BaseException:
            own.settle()
            raise
        if outer is None:
            own.settle()
            return None
        self.reserved -= own.amount - outer.amount
        short = own.short or outer.short
        after = own.after if self.apart else max(own.after, outer.after)
        return Lease(
            self, outer.amount, short=short, even=even is not None, after=after, outer=outer
        )

    def at_once(self, amount: int, *, even: Sequence[int] | None = None) -> Lease | None:
        """All of it, if that fits and nobody waits for a turn or a round; else None, untouched."""
        bound = self.limit is not None
        if bound and (even is not None or self._queue or not self._fits(amount)):
            return None
        outer = None
        if self.within is not None:
            outer = self.within.at_once(amount, even=None if self._parts else even)
            if outer is None:
                return None
        return self._grant(amount, even=even is not None, outer=outer)

    async def _admitted(self, amount: int, even: Sequence[int] | None, least: int) -> Lease | None:
        """A lease of this purse alone."""
        if self.limit is None or (even is None and not self._queue and self._fits(amount)):
            return self._grant(amount)
        wish = _Wish(amount, even, least, asyncio.get_running_loop().create_future())
        if self._queue is _NOBODY:
            self._queue = deque()
        self._queue.append(wish)
        self._serve_soon()
        try:
            return await wish.future
        except asyncio.CancelledError:
            future = wish.future
            if future.done() and not future.cancelled() and (lease := future.result()):
                lease.settle()
            else:
                future.cancel()
                self._serve_soon()
            raise

    def _fits(self, amount: int) -> bool:
        return self.limit is None or self.spent + self.reserved + amount <= self.limit

    def _grant(
        self,
        amount: int,
        *,
        short: bool = False,
        even: bool = False,
        after: int = 0,
        outer: Lease | None = None,
    ) -> Lease:
        self.reserved += amount
        self._committed += amount
        self._last = False
        return Lease(self, amount, short=short, even=even, after=after, outer=outer)

    def _settle(self, lease: Lease, time: int) -> None:
        self.reserved -= lease.amount
        self.spent += lease.used
        self._time = max(self._time, time)
        bound = lease.short and not lease.even and not lease.capped
        self.exhausted |= bound and lease.used >= lease.amount
        if self._queue:
            self._serve_soon()
        if self._parts is not None and not self.reserved:
            self._parts.wake()

    def _serve_soon(self) -> None:
        """Even wishes are served when all that ask at this moment have asked."""
        if all(wish.even is None for wish in self._queue):
            self._serve()
        elif not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self._due = False
        while self._queue:
            wish = self._queue[0]
            if wish.future.done():
                self._queue.popleft()
                continue
            together = self._first()
            asked = sum(wish.amount for wish in together)
            if not (self._fits(asked) and (wish.even is None or self._is_in_round(asked))):
                if self.reserved:
                    return  # somebody ahead may yet give back enough
                parts = None if self._last or self._fits(asked) else self._parts
                if parts is not None and not parts.all_wait(self):
                    return  # so may those who have a part of the same purse
                self._begun, self._committed = self._time, self.spent
                together = self._who_can_start(together)
            self._hand_out(together)

    def _who_can_start(self, wishes: list[_Wish]) -> list[_Wish]:
        """As many of them, in their order, as can have the least share or all that they ask for.

        More would all be cut before they get anywhere; the others wait for the next round.
        """
        left = 0 if self.limit is None else self.limit - self.spent - self.reserved
        needs = itertools.accumulate(min(wish.amount, wish.least) for wish in wishes)
        return wishes[: max(1, sum(need <= left for need in needs))]

    def _is_in_round(self, amount: int) -> bool:
        """Whether it fits whatever those before have left or will leave."""
        return self.limit is None or self._committed + amount <= self.limit

    def _first(self) -> list[_Wish]:
        """Who is served next: the first that waits, with the other even ones if it is even."""
        waiting = [wish for wish in self._queue if not wish.future.done()]
        if waiting[0].even is None:
            return waiting[:1]
        together = [(wish.even, wish) for wish in waiting if wish.even is not None]
        return [wish for _, wish in sorted(together, key=lambda pair: tuple(pair[0]))]

    def _hand_out(self, wishes: Sequence[_Wish]) -> None:
        """Give each wish what it asks for, or of what is left an equal share at most."""
        left = self.limit - self.spent - self.reserved if self.limit is not None else 0
        amounts = _evenly(max(0, left), [wish.amount for wish in wishes])
        served = set(map(id, wishes))
        self._queue = deque(wish for wish in self._queue if id(wish) not in served)
        for wish, amount in zip(wishes, amounts, strict=True):
            if amount:
                short = amount < wish.amount
                even = wish.even is not None
                after = self._begun if even else 0  # a round begins when all before have ended
                lease = self._grant(amount, short=short, even=even, after=after)
                wish.future.set_result(lease)
            else:
                self.exhausted = True
                wish.future.set_result(None)


def _evenly(left: int, asked: Sequence[int]) -> list[int]:
    """Shares of `left`, none above what is asked and otherwise equal, the first ones rounded up."""
    given = [0] * len(asked)
    open_ = list(range(len(asked)))
    while open_ and left:
        share, extra = divmod(left, len(open_))
        full = [i for i in open_ if asked[i] <= share]
        if not full:
            for rank, i in enumerate(open_):
                given[i] = share + (rank < extra)
            break
        for i in full:
            given[i] = asked[i]
            left -= asked[i]
        open_ = [i for i in open_ if asked[i] > share]
    return given
