"""What a server's own page shows: counts, strategies, and trees without texts.

Texts of clients and models are shown only where whoever runs the server says so (`texts`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

from reasoning.live import view
from reasoning.live.feed import EVERY
from reasoning.live.following import Tree
from reasoning.live.nodes import brief
from reasoning.live.words import against, card, count
from reasoning.serve.desk import Desk
from reasoning.serve.floor import SPENT, Floor, spent

LISTED = 50
"""Searches that run, in the list of the page; how many there are is told beside it."""


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
            running.update(dict(zip(SPENT, spent(shown.search.usage), strict=True)))
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
