"""What a server's own page shows: counts, strategies, and trees without texts.

Texts of clients and models are shown only where whoever runs the server says so (`texts`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from reasoning.chain import Chain, Outcome
from reasoning.live import board, view
from reasoning.live.board import Board, Seen
from reasoning.live.feed import EVERY
from reasoning.live.following import Tree
from reasoning.live.nodes import brief
from reasoning.live.results import Errors, Tally
from reasoning.live.words import against, card, count
from reasoning.search import Search
from reasoning.serve.desk import Desk
from reasoning.usage import Usage

LISTED = 50
"""Searches that run, in the list of the page; how many there are is told beside it."""
KEPT = 20
"""Searches that are over, in the list; their trees are not kept."""


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
            for name, amounts in zip(SPENT, zip(*map(_spent, usages), strict=True), strict=True):
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


class Looking:
    """The page's source. What it says is worked out twice a second, while somebody looks."""

    def __init__(self, floor: Floor, desk: Desk, names: list[str]) -> None:
        self.floor = floor
        self.desk = desk
        self.names = names
        self.texts = desk.settings.texts
        self._pace = view.Pace()
        self._found: view.Sections = {}
        self._looked = float("-inf")

    async def sections(self) -> view.Sections:
        now = asyncio.get_running_loop().time()
        if now - self._looked >= EVERY:
            self._looked, self._found = now, self.look(now)
        return self._found

    def look(self, now: float) -> view.Sections:
        """Everything but trees."""
        floor = self.floor
        listed = dict(itertools.islice(floor.running.items(), LISTED))
        rows = {key: self._row(key, row) for key, row in floor.over}
        rows |= {
            key: self._row(key, {**shown.row(), "state": "running"}, shown.search.problem.question)
            for key, shown in listed.items()
        }
        texts = "" if self.texts else "; texts are not shown, --show-texts shows them"
        about = {
            "title": "reasoning serve",
            "task": ", ".join(brief(name, 60) for name in self.names[:8]),
            "state": "serving",
            "told": f"{len(self.names)} strategies{texts}",
        }
        return {
            "run": about,
            "numbers": self._numbers(now),
            "strategies": {n: view.strategy(n, tally) for n, tally in floor.tallies.items()},
            "errors": view.errors([floor.errors], texts=self.texts),
            "searches": rows,
        }

    def _row(self, key: str, row: dict[str, Any], question: str = "") -> dict[str, Any]:
        named = brief(question, 80) if self.texts and question else f"search {key}"
        return {k: v for k, v in row.items() if v is not None} | {"problem": named, "seq": int(key)}

    def _numbers(self, now: float) -> dict[str, Any]:
        floor, most = self.floor, self.desk.settings.most_searches
        sums = sum((t.sums for t in floor.tallies.values()), Counter[str]())
        running: Counter[str] = Counter()
        for shown in floor.running.values():
            running.update(dict(zip(SPENT, _spent(shown.search.usage), strict=True)))
        tokens = sums["generated_tokens"] + running["generated_tokens"]
        money = [t.money for t in floor.tallies.values()]
        known = sum(m for m in money if m is not None) if money and None not in money else None
        both = sums + running
        wasted, failed = both["wasted_tokens"], both["failed_calls"]
        pace = count(self._pace.at(now, tokens))
        unknown = "no prices known" if money else "nothing is over yet"
        price = count(known, 4), unknown if known is None else ""
        return {
            "running": against("Searches running", len(floor.running), most),
            "over": card("Searches over", f"{sum(t.done for t in floor.tallies.values()):,}"),
            "pace": card("Tokens a second", pace, "the last 10 s"),
            "tokens": card("Tokens spent", f"{tokens:,.0f}", f"{wasted:,.0f} wasted"),
            "calls": card("Calls", f"{both['calls']:,.0f}", f"{failed:,.0f} failed"),
            "money": card("Money", *price),
        }

    async def tree(self, key: str) -> Tree | None:
        shown = self.floor.running.get(key)
        if shown is None:
            return None
        about = self._row(key, {**shown.row(), "state": "running"})
        if self.texts:
            about["question"] = brief(shown.search.problem.question, 600)
        del about["seq"]
        return Tree(about, shown.tree(texts=self.texts), len(shown.search.tree))


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
_spent = attrgetter(*SPENT)
_MANY = 256
"""Searches that are over and not added up yet."""
