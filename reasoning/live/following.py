"""Which search a page shows the tree of, and what is sent of it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from reasoning.live.nodes import Entries
from reasoning.live.view import Sections, changes

HOLD = 2.5
"""Seconds for which a tree stays after its search is over, if nobody has chosen it."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What is told of one search: facts about it, and its nodes, of `size` in all."""

    about: Mapping[str, Any]
    nodes: Entries
    size: int


class Source(Protocol):
    """What a page is about."""

    async def sections(self) -> Sections:
        """Everything but trees; `searches` lists those that have one."""

    async def tree(self, key: str) -> Tree | None:
        """The tree of one of them; None if it is not known any more."""


def followed(
    searches: Mapping[str, Mapping[str, Any]], chosen: str | None, before: str | None, held: float
) -> str | None:
    """The search whose tree is shown: the one that was chosen, else one that runs.

    It changes no sooner than the search `before` has been over for some seconds: `held`.
    """
    if chosen is not None:
        return chosen
    if before is not None and (held < HOLD or searches.get(before, {}).get("state") == "running"):
        return before
    running = [key for key, row in searches.items() if row["state"] == "running"]
    if running:
        return max(running, key=lambda key: searches[key].get("nodes", 0))
    if before is not None:
        return before
    return max(searches, key=lambda key: searches[key]["seq"], default=None)


@dataclass(slots=True)
class Follower:
    """What one page has been sent, and what it has to be sent now."""

    source: Source
    chosen: str | None
    now: Callable[[], float]
    sent: Sections = field(default_factory=dict)
    key: str | None = None
    _ran: float = float("-inf")

    async def news(self) -> Sections:
        """What has changed since it was asked last; nothing if nothing has."""
        found = dict(await self.source.sections())
        searches = found.get("searches", {})
        if self.key is not None and searches.get(self.key, {}).get("state") == "running":
            self._ran = self.now()
        self.key = followed(searches, self.chosen, self.key, self.now() - self._ran)
        tree = None if self.key is None else await self.source.tree(self.key)
        if tree is not None:
            about = {"key": self.key, "size": tree.size, **tree.about}
            found |= {"about": about, "nodes": tree.nodes}
        else:  # what was shown last stays
            found |= {name: self.sent[name] for name in ("about", "nodes") if name in self.sent}
        news = changes(self.sent, found)
        self.sent = found
        return news
