"""The searches of a server: those that run, and what those that are over have come to."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from reasoning.chain import Chain, Outcome
from reasoning.live import board
from reasoning.live.board import Board, Seen
from reasoning.live.results import Errors, Tally
from reasoning.search import Search
from reasoning.usage import Usage

KEPT = 20
"""Searches that are over, in the list; their trees are not kept."""
SPENT = (
    "generated_tokens",
    "wasted_tokens",
    "prompt_tokens",
    "cached_tokens",
    "verifier_tokens",
    "calls",
    "failed_calls",
    "verifier_calls",
    "seconds",
)
"""Fields of `Usage` that are added up."""
spent = attrgetter(*SPENT)
"""These of a `Usage`, in that order."""
_MANY = 256
"""Searches that are over and not added up yet."""


class Floor(Board):
    """The searches of a server, and what those that are over have come to.

    What was spent is added up when somebody looks, or when many searches are over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends: Counter[tuple[str, str]] = Counter()
        """Searches by strategy and why they ended; "left" and "failed" are no ends of theirs."""
        self.errors = Errors()
        self._tallies: dict[str, Tally] = {}
        self._fresh: list[tuple[str, Usage]] = []
        self._over: deque[tuple[str, str, tuple[Any, ...]]] = deque(maxlen=KEPT)

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """Sums by strategy, whatever searches ended by."""
        self._settle()
        return self._tallies

    @property
    def over(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The latest, told as those that run; without their trees, which are not kept."""
        for key, state, told in self._over:
            yield key, {**board.row(*told), "state": state}

    def begin(self, strategy: str, search: Seen, key: str = "") -> str:
        if len(self._fresh) >= _MANY:
            self._settle()
        return super().begin(strategy, search, key)

    def end(self, key: str, why: str | BaseException) -> None:
        """A search is over: why it ended, or what broke it off. Its seconds may be told later, but
        before another begins."""
        shown, state = self.running.pop(key), "ended"
        if isinstance(why, BaseException):
            state = "left" if isinstance(why, asyncio.CancelledError) else "failed"
            if state == "failed":
                self.errors.add(f"{type(why).__name__}: {why}")
            why = state
        search = shown.search
        self.ends[shown.strategy, why] += 1
        self._fresh.append((shown.strategy, search.usage))
        for failure in search.failures:
            self.errors.add(failure)
        told = shown.strategy, search.usage, search.budget, len(search.tree), len(search.failures)
        self._over.append((key, state, told))

    def _settle(self) -> None:
        by_strategy: dict[str, list[Usage]] = {}
        for strategy, usage in self._fresh:
            by_strategy.setdefault(strategy, []).append(usage)
        self._fresh.clear()
        for strategy, usages in by_strategy.items():
            tally = self._tallies.setdefault(strategy, Tally())
            tally.done += len(usages)
            for name, amounts in zip(SPENT, zip(*map(spent, usages), strict=True), strict=True):
                tally.sums[name] += sum(amounts)
            if known := [usage.money for usage in usages if usage.money is not None]:
                tally.money = (tally.money or 0.0) + sum(known)


@dataclass(frozen=True)
class OnFloor(Chain):
    """A strategy whose searches are seen while they run."""

    floor: Floor = field(default_factory=Floor)
    listed: str = ""

    async def run(self, search: Search, seconds: float | None = None) -> Outcome:
        search.logprobs = not self.reads_texts_alone  # clients get no tree
        key = self.floor.begin(self.listed, search)
        try:
            found = await super().run(search, seconds)
        except BaseException as error:
            self.floor.end(key, error)
            raise
        self.floor.end(key, found.stop_reason)
        return found
