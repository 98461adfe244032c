"""The purse of a run: what easy problems leave goes to hard ones, whoever is how fast.

A strategy whose searcher says PURSE in its file, and whose `tokens` say what a problem may cost on
average, is told when a problem begins what that problem's share is (`Search.allowance`). The share
follows from what the problems before it in the task have spent, all but the last ones: at most
`abreast` are in progress, and of these only the shares count. So it does not depend on how fast
calls are, on what an interrupted run had done, on workers, nor on how many problems come after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from reasoning.errors import RecipeError
from reasoning.runs.recipe import Strategy

SPREAD = 2
"""What is left, or lacks, is spread over so many times the problems that may be in progress."""


class Terms(NamedTuple):
    """Tokens that a problem may cost on average, and how many problems are in progress at most."""

    tokens: float
    abreast: int


def terms(strategies: Iterable[Strategy]) -> dict[str, Terms]:
    """Those of every strategy that has a purse."""
    return {
        s.name: Terms(float(s.params["tokens"]), int(s.params["abreast"]))
        for s in strategies
        if s.run.says("PURSE") and s.params.get("tokens") is not None
    }


def refuse_parts(strategies: Iterable[Strategy], who: str) -> None:
    """Raise RecipeError where `who`, a part of a run, would have to know what the others spend."""
    if found := sorted(terms(strategies)):
        raise RecipeError(
            f"{who}: by its `tokens` {found[0]} has a purse for all problems, and a shard knows "
            "nothing of the others; leave tokens out, and the policy's own budget holds, or use "
            "workers"
        )


class Shares:
    """One strategy's: what each place in the task may spend, from what was spent before it."""

    def __init__(self, terms: Terms) -> None:
        self._tokens, self._abreast = terms
        self._spent: dict[int, float] = {}
        self._known = 0  # places before it have been spent on
        self._counted = 0
        self._left = 0.0  # by the places counted
        self._shares: list[float] = []

    def spend(self, place: int, tokens: float) -> None:
        """A place is over."""
        self._spent[place] = tokens
        while self._known in self._spent:
            self._known += 1

    def ready(self, place: int) -> bool:
        """Whether all that its share follows from is known."""
        return place - self._abreast < self._known

    def share(self, place: int) -> float:
        """The tokens that it may cost, 0 or more. Call only where it is `ready`."""
        while len(self._shares) <= place:
            at = len(self._shares)
            while self._counted <= at - self._abreast:
                self._left += self._tokens - self._spent[self._counted]
                self._counted += 1
            promised = sum(self._tokens - share for share in self._shares[self._counted :])
            left = (self._left + promised) / (SPREAD * self._abreast)
            self._shares.append(max(0.0, self._tokens + left))
        return self._shares[place]


class Common:
    """The purses of a run on `problems`, in their order, by strategy."""

    def __init__(self, problems: Sequence[str], terms: Mapping[str, Terms]) -> None:
        self._places = {problem: place for place, problem in enumerate(problems)}
        self._of = {name: Shares(found) for name, found in terms.items()}
        self._news = asyncio.Event()

    def spend(self, result: Mapping[str, Any]) -> None:
        """A search is over: `result` is its line."""
        shares, place = self._of.get(result["strategy"]), self._places.get(result["problem"])
        if shares is not None and place is not None:
            shares.spend(place, float((result.get("usage") or {}).get("generated_tokens", 0)))
            self._news.set()

    def ready(self, problem: str) -> bool:
        """Whether the problem may begin."""
        place = self._places[problem]
        return all(shares.ready(place) for shares in self._of.values())

    async def turn(self, problem: str) -> None:
        """Wait until the problem may begin."""
        while not self.ready(problem):
            self._news.clear()
            await self._news.wait()

    def shares(self, problem: str) -> dict[str, float]:
        """What the problem may cost, by strategy. Call only where it is `ready`."""
        place = self._places[problem]
        return {name: shares.share(place) for name, shares in self._of.items()}
