"""What a search may spend. Spending never passes a limit.

Purses form a tree (a run, its problems, stages, subtrees): what a child spends, its parent has
spent.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from reasoning.purse import Lease, Purse
from reasoning.usage import NANO, Usage

__all__ = ["KINDS", "LEAST", "Budget", "Kind", "Lease", "Parts", "Purse"]

Kind: TypeAlias = Literal["tokens", "verifier_calls", "calls", "money"]
LEAST = 256
"""Tokens that a whole solution is given to begin with, or to go on, where not all of them fit: with
fewer, none would come to its end."""

KINDS: tuple[Kind, ...] = ("tokens", "verifier_calls", "calls", "money")


class Budget:
    """The purses of one search, by kind. Seconds are its deadline.

    `money` is in the unit of the prices. With `within` it draws on another budget. A purse without
    a limit is made when somebody asks for it: most searches never touch most of them. `apart` tells
    that this is the budget of one search, and the other one that of several.
    """

    def __init__(
        self,
        tokens: int | None = None,
        verifier_calls: int | None = None,
        calls: int | None = None,
        money: float | None = None,
        *,
        within: Budget | None = None,
        apart: bool = False,
    ) -> None:
        nano = None if money is None else round(money * NANO)
        limits: dict[Kind, int | None] = {
            "tokens": tokens, "verifier_calls": verifier_calls, "calls": calls, "money": nano,
        }  # fmt: skip
        self.within = within
        self._apart = apart
        self._purses: dict[Kind, Purse] = {}
        self._bounded = {kind for kind, limit in limits.items() if limit is not None}
        if within:
            self._bounded |= within._bounded
        for kind, limit in limits.items():
            if limit is not None:
                least = LEAST if kind == "tokens" else 1
                outer = within.purse(kind) if within else None
                self._purses[kind] = Purse(limit, outer, least=least, apart=apart)

    def purse(self, kind: Kind) -> Purse:
        """The purse of one kind."""
        purse = self._purses.get(kind)
        if purse is None:
            outer = self.within.purse(kind) if self.within else None
            purse = Purse(within=outer, apart=self._apart)
            self._purses[kind] = purse
        return purse

    def bounds(self, *kinds: Kind) -> bool:
        """Whether spending of one of these kinds has a limit, here or further out."""
        return not self._bounded.isdisjoint(kinds)

    @property
    def tokens(self) -> Purse:
        return self.purse("tokens")

    @property
    def verifier_calls(self) -> Purse:
        return self.purse("verifier_calls")

    def spend(self, usage: Usage) -> None:
        """Take off what has been spent already, before anybody asks for a lease."""
        self.purse("tokens").spent += usage.generated_tokens
        self.purse("verifier_calls").spent += usage.verifier_calls
        self.purse("calls").spent += usage.calls
        self.purse("money").spent += round((usage.money or 0.0) * NANO)

    @property
    def exhausted(self) -> Kind | None:
        """The kind of spending that ran out here or further out, tokens first; None if none did.

        What a part lacked does not count where another part left it.
        """
        for kind in KINDS:
            budget: Budget | None = self
            while budget is not None:
                if (purse := budget._purses.get(kind)) is not None and purse.exhausted:
                    return kind
                budget = budget.within
        return None

    @property
    def idle(self) -> bool:
        """Nobody holds a lease."""
        return not any(purse.reserved for purse in self._purses.values())

    @property
    def stuck(self) -> bool:
        """Somebody waits for more than there is."""
        return any(purse.stuck for purse in self._purses.values())


class Parts:
    """`n` budgets that share out all that another has left, for work that runs side by side.

    All begin with equal parts. Whoever ends leaves the rest to the others: one that has too little
    for its next wish waits until all others have ended or wait, too; then what is left is shared
    out anew among those who wait. So what each can spend does not depend on who is how fast.
    """

    def __init__(self, whole: Budget, n: int) -> None:
        if n < 1:
            raise ValueError(f"a budget has 1 part or more, not {n}")
        self._whole = whole
        self.budgets = [Budget(within=whole) for _ in range(n)]
        self._open = list(self.budgets)
        for kind in KINDS:
            left = whole.purse(kind).remaining
            limits = [None] * n if left is None else _equal(left, n)
            for budget, limit in zip(self.budgets, limits, strict=True):
                budget.purse(kind).limit, budget.purse(kind)._parts = limit, self

    def close(self, budget: Budget) -> None:
        """Its work has ended: what it leaves is the others'."""
        self._open.remove(budget)
        for purse in budget._purses.values():
            if purse.exhausted and purse.within is not None:
                purse.within.exhausted = True
        self.wake()

    def all_wait(self, purse: Purse) -> bool:
        """Whether nobody can go on; then the rest has been shared out anew."""
        if not all(budget.idle and budget.stuck for budget in self._open):
            return False
        kind = next(k for k in KINDS if any(b.purse(k) is purse for b in self._open))
        hungry = [p for b in self._open if (p := b.purse(kind)).waiting]
        closed = [b.purse(kind) for b in self.budgets if b not in self._open]
        left, time = 0, max(purse._time for purse in (*closed, *hungry))
        for other in (*closed, *hungry):
            left += (other.limit or 0) - other.spent
            other.limit = other.spent
        for other, part in zip(hungry, _equal(left, len(hungry)), strict=True):
            other.limit = other.spent + part
            other._last, other._time = True, time  # it has waited for all of them
        for other in hungry:
            if other is not purse:
                other._serve_soon()
        return True

    def wake(self) -> None:
        """Somebody has ended or given back: perhaps those who wait can go on."""
        for budget in self._open:
            for purse in budget._purses.values():
                if purse.waiting:
                    purse._serve_soon()


def _equal(left: int, n: int) -> list[int]:
    share, extra = divmod(left, n)
    return [share + (i < extra) for i in range(n)]
