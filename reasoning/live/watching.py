"""A run's folder as what a page is about: looked at twice a second, however many look on."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reasoning.errors import StoreError
from reasoning.live import view
from reasoning.live.feed import EVERY
from reasoning.live.folder import Part, folders
from reasoning.live.following import Tree
from reasoning.live.nodes import brief, sound
from reasoning.live.results import Over
from reasoning.live.words import whole

_REMEMBERED = 16
"""Trees of searches that are over, which do not change."""


class Watching:
    """Raises StoreError for a folder without a run."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.now = now
        self.parts = {path: Part(path, now) for path in folders(folder)}
        self._pace = view.Pace()
        self._found: view.Sections = {}
        self._looks: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._over: dict[str, tuple[Part, Over]] = {}
        self._trees: dict[str, Tree] = {}
        self._seqs: dict[str, int] = {}
        self._count = itertools.count(1)
        self._looked = float("-inf")
        self._turn = asyncio.Lock()

    async def sections(self) -> view.Sections:
        async with self._turn:
            if self.now() - self._looked >= EVERY:
                await asyncio.to_thread(self.look)
                self._looked = self.now()
        return self._found

    def look(self) -> None:
        """Read what is new, and say what there is to see."""
        if list(self.parts) != [self.folder]:  # shards may begin later
            for path in folders(self.folder):
                self.parts.setdefault(path, Part(path, self.now))
        for part in self.parts.values():
            part.look()
        parts, now = list(self.parts.values()), self.now()
        self._over = {over.key: (part, over) for part in parts for over in part.results.latest}
        self._looks = {
            str(look.get("key")): (view.state(part, now), look)
            for part in parts
            if part.live is not None and "ended" not in part.live
            for look in _mappings(part.live.get("searches"))
            if str(look.get("key")) not in self._over
        }
        known = [*self._over, *self._looks]
        self._seqs = {key: self._seqs.get(key) or next(self._count) for key in known}
        rows = {key: view.over_row(over, self._seqs[key]) for key, (_, over) in self._over.items()}
        rows |= {
            key: view.live_row(look, self._seqs[key], state)
            for key, (state, look) in self._looks.items()
        }
        self._found = {**view.of_run(parts, self._pace, now), "searches": rows}

    async def tree(self, key: str) -> Tree | None:
        if (told := self._looks.get(key)) is not None:
            return _live_tree(*told)
        if (found := self._over.get(key)) is None:
            return None
        if key not in self._trees:
            self._trees[key] = await asyncio.to_thread(_stored_tree, *found)
            while len(self._trees) > _REMEMBERED:
                del self._trees[next(iter(self._trees))]
        return self._trees[key]


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list in a file that may be anybody's."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _live_tree(state: str, look: Mapping[str, Any]) -> Tree:
    about = {
        **view.live_row(look, 0, state),
        "question": brief(str(look.get("question") or ""), 600),
    }
    del about["seq"]
    return Tree(about, sound(look.get("tree")), whole(look.get("nodes")) or 0)


def _stored_tree(part: Part, over: Over) -> Tree:
    about = view.over_row(over, 0) | {
        name: value
        for name in ("question", "gold", "confidence", "stop")
        if (value := getattr(over, name)) is not None
    }
    del about["seq"]
    try:
        return Tree(about, *part.tree(over))
    except StoreError as error:
        return Tree({**about, "trouble": brief(str(error), 400)}, {}, 0)
