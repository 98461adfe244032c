"""What a search may spend, and what it has spent.

A call leases its maximum first and settles what it used afterwards, so spending never passes the
limit. Requests are served in the order they were made, and one is refused only when nothing ahead
of it is outstanding: which calls are admitted does not depend on how long other calls took.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import asdict, dataclass, fields
from typing import Literal


@dataclass(slots=True)
class Usage:
    """Everything paid for. Tokens and calls are counted, whether or not their result was used.

    `generated_tokens` includes `wasted_tokens`, those of cancelled and failed calls.
    `critical_tokens` is the longest chain of tokens that had to be generated one after another
    (the deepest path), `seconds` the time from start to end on the search's clock.
    """

    generated_tokens: int = 0
    wasted_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 0
    cancelled_calls: int = 0
    failed_calls: int = 0
    retried_calls: int = 0
    verifier_calls: int = 0
    verifier_tokens: int = 0
    critical_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Totals; the critical path of things done side by side is the longer one."""
        total = Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))
        total.critical_tokens = max(self.critical_tokens, other.critical_tokens)
        return total

    def to_json(self) -> dict[str, float]:
        return asdict(self)


class Lease:
    """A right to spend up to `amount`, held until settled; `meter` records spending."""

    __slots__ = ("_purse", "amount", "short", "used")

    def __init__(self, purse: Purse, amount: int, *, short: bool = False) -> None:
        self._purse = purse
        self.amount = amount
        self.short = short  # less than was asked for, because no more was left
        self.used = 0

    def meter(self, count: int) -> None:
        self.used += count

    def settle(self) -> None:
        """Give back what was not used. Call exactly once."""
        self._purse._settle(self)


class Purse:
    """A limit on one kind of spending; None means no limit.

    `exhausted` tells that somebody was refused, or cut off by getting less than was asked for.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"a limit is 0 or more, not {limit}")
        self.limit = limit
        self.spent = 0
        self.reserved = 0
        self.exhausted = False
        self._queue: deque[tuple[int, asyncio.Future[Lease | None]]] = deque()

    @property
    def remaining(self) -> int | None:
        """What is neither spent nor reserved; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.reserved)

    async def lease(self, amount: int) -> Lease | None:
        """Wait for a turn, then all of it if that fits, else what is left; None for nothing."""
        if not self._queue and self._fits(amount):
            return self._grant(amount)
        future: asyncio.Future[Lease | None] = asyncio.get_running_loop().create_future()
        self._queue.append((amount, future))
        self._serve()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and (lease := future.result()):
                lease.settle()
            else:
                self._queue = deque(entry for entry in self._queue if entry[1] is not future)
                self._serve()
            raise

    def split(self, n: int) -> list[Purse]:
        """Hand all that is left to `n` purses in equal parts, the first ones rounded up."""
        if self.remaining is None:
            return [type(self)() for _ in range(n)]
        share, extra = divmod(self.remaining, n)
        parts = [type(self)(share + (i < extra)) for i in range(n)]
        self.limit = self.spent + self.reserved
        return parts

    def _fits(self, amount: int) -> bool:
        return self.limit is None or self.spent + self.reserved + amount <= self.limit

    def _grant(self, amount: int, *, short: bool = False) -> Lease:
        self.reserved += amount
        return Lease(self, amount, short=short)

    def _settle(self, lease: Lease) -> None:
        self.reserved -= lease.amount
        self.spent += lease.used
        self.exhausted |= lease.short and lease.used >= lease.amount
        if self._queue:
            self._serve()

    def _serve(self) -> None:
        while self._queue:
            amount, future = self._queue[0]
            if future.done():
                self._queue.popleft()
                continue
            short = not self._fits(amount)
            if short:
                if self.reserved:
                    return  # somebody ahead may yet give back enough
                amount = self.remaining or 0
            self._queue.popleft()
            if amount:
                future.set_result(self._grant(amount, short=short))
            else:
                self.exhausted = True
                future.set_result(None)


class Budget:
    """Limits on generated tokens and verifier calls. Seconds are the searcher's deadline."""

    def __init__(self, tokens: int | None = None, verifier_calls: int | None = None) -> None:
        self.tokens = Purse(tokens)
        self.verifier_calls = Purse(verifier_calls)
        self._parts: list[Budget] = []

    def split(self, n: int) -> list[Budget]:
        """`n` budgets that share out all that is left, for subtrees that run ahead on their own."""
        if n < 1:
            raise ValueError(f"a budget splits into 1 part or more, not {n}")
        parts = [Budget() for _ in range(n)]
        for purse in ("tokens", "verifier_calls"):
            for part, share in zip(parts, getattr(self, purse).split(n), strict=True):
                setattr(part, purse, share)
        self._parts += parts
        return parts

    @property
    def exhausted(self) -> Literal["tokens", "verifier_calls"] | None:
        """The kind of spending that ran out here or in a part, tokens first; None if none did."""
        kinds: tuple[Literal["tokens", "verifier_calls"], ...] = ("tokens", "verifier_calls")
        for kind in kinds:
            if getattr(self, kind).exhausted or any(p.exhausted == kind for p in self._parts):
                return kind
        return None
