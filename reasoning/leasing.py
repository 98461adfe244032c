"""The right to make one call: of every kind that is limited as much as it may need."""

from __future__ import annotations

from reasoning.budget import LEAST, Budget, Kind, Lease
from reasoning.errors import RecipeError
from reasoning.generate import Prompt
from reasoning.usage import NANO, Price

_KINDS: tuple[Kind, ...] = ("calls", "tokens", "money")
"""What one call needs, in the order in which it is leased: always the same, so nobody waits for
somebody who waits for him."""

_MARKS = 16
"""Tokens that a chat template puts around a message, at most."""


def lease_at_once(budget: Budget, prompt: Prompt, tokens: int, *, whole: bool) -> Lease | None:
    """What `lease_for` gives where nobody has to be asked or waited for; None where it may.

    The usual case, quickly.
    """
    if budget.bounds("calls", "money"):
        return None
    even = prompt.path if whole and budget.bounds("tokens") else None
    return budget.purse("tokens").at_once(tokens, even=even)


async def lease_for(
    budget: Budget, prompt: Prompt, tokens: int, *, whole: bool, price: Price | None
) -> Lease | None:
    """The right to make one call that may generate `tokens`; None if a limit forbids it.

    It is a lease of tokens; those of other kinds stand `beside` it. A `whole` solution gets an
    equal share where not all fit. Raises RecipeError where money is limited and the price is not
    known.
    """
    leases: dict[Kind, Lease] = {}
    try:
        for kind in _KINDS:
            bound = budget.bounds(kind)
            if kind != "tokens" and not bound:
                continue
            amount = tokens if kind == "tokens" else 1
            if kind == "money":
                price = _known(price, prompt)
                amount = max(1, _cost(prompt, price, leases["tokens"].amount))
            even = prompt.path if bound and whole and kind != "calls" else None
            least = None
            if kind == "money" and price:  # a share that pays no tokens buys nothing
                least = _cost(prompt, price, min(LEAST, leases["tokens"].amount))
            lease = await budget.purse(kind).lease(amount, even=even, least=least)
            if lease is not None:
                leases[kind] = lease
            if kind == "money" and price and lease and not _affords(prompt, price, leases):
                purse, lease = budget.purse(kind), None
                purse.exhausted = True
            if lease is None:
                _give_back(leases)
                return None
    except BaseException:
        _give_back(leases)
        raise
    tokens_lease = leases["tokens"]
    if len(leases) > 1:
        tokens_lease.beside = leases
    return tokens_lease


def settle(lease: Lease, time: int, money: int) -> None:
    """Give back what a call did not use; it ended at `time`, in serial tokens, and cost `money`."""
    leases = lease.beside
    if leases is None:
        lease.settle(time)
        return
    if "calls" in leases:
        leases["calls"].used = 1
    if "money" in leases:
        leases["money"].used = money
    _give_back(leases, time)


def _give_back(leases: dict[Kind, Lease], time: int = 0) -> None:
    """Settle all of them, the last one first."""
    for lease in reversed(leases.values()):
        lease.settle(time)


def _known(price: Price | None, prompt: Prompt) -> Price:
    if price is None:
        name = f"model {prompt.model!r}" if prompt.model else "the model asked by default"
        raise RecipeError(
            f"money is limited and nobody says what {name} costs; add it to prices, 0 if it is free"
        )
    return price


def _cost(prompt: Prompt, price: Price, tokens: int) -> int:
    """What the call costs at most, in billionths: a prompt has no more tokens than bytes."""
    said = [prompt.text, *(message.content for message in prompt.messages)]
    read = sum(len(text.encode("utf-8", "replace")) + _MARKS for text in said)
    dearest = max(price.input, price.cached or 0.0)
    return Price(dearest, price.output).of(read, 0, tokens)


def _affords(prompt: Prompt, price: Price, leases: dict[Kind, Lease]) -> bool:
    """Whether there is money for a token at least; no more are asked for than it pays."""
    tokens, money = leases["tokens"], leases["money"]
    if not money.short:
        return True
    rest, output = money.amount - _cost(prompt, price, 0), price.output
    affordable = tokens.amount if not output else int(rest * 1_000_000 / (output * NANO))
    if rest < 0 or affordable < 1:
        return False
    tokens.cap(min(tokens.amount, affordable))
    return True
