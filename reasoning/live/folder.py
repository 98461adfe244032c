"""What a second process can read of a run, while it goes on or when it is over.

Results are read as they are added, some megabytes at a time, and kept as sums. The folder may be
anybody's: what is damaged is counted and left out.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from reasoning.errors import StoreError
from reasoning.live import feed
from reasoning.live.nodes import Entries, entries, stored_mark
from reasoning.live.results import Over, Results
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree

AT_ONCE = 8 << 20
"""Bytes of results that are read between two looks at the rest."""
_NO_LINE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


class Part:
    """One folder that one process writes to. `heard` is when something in it last changed."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.store = Store(folder)
        self.manifest: Mapping[str, Any] = {}
        self.summary: Mapping[str, Any] | None = None
        self.live: Mapping[str, Any] | None = None
        self.results = Results()
        self.size = 0
        self.heard = float("-inf")
        self._now = now
        self._stamps: dict[str, tuple[int, int, int]] = {}

    @property
    def private(self) -> bool:
        """Whether nothing is to be shown that could quote its questions."""
        told = self.manifest.get("task")
        return isinstance(told, Mapping) and told.get("private") is True

    def look(self) -> None:
        """Take in what is new."""
        if self._changed("manifest.json"):
            self.manifest = self._json("manifest.json") or {}
        if self._changed("summary.json"):
            self.summary = self._json("summary.json")
        if self._changed(feed.NAME):
            self.live = self._json(feed.NAME)
        if self._changed("results.jsonl") or self.results.read < self.size:
            self._read()

    def _changed(self, name: str) -> bool:
        """Whether a file is another one than at the last look; gone counts."""
        try:
            stat = os.stat(self.folder / name)
        except OSError:
            return self._stamps.pop(name, None) is not None
        stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        before = self._stamps.get(name)
        self._stamps[name] = stamp
        if stamp != before and name in (feed.NAME, "results.jsonl"):
            # Clocks of machines differ: what changes while we look, changes now.
            age = max(0.0, time.time() - stat.st_mtime) if before is None else 0.0
            self.heard = max(self.heard, self._now() - age)
        return stamp != before

    def _json(self, name: str) -> Mapping[str, Any] | None:
        try:
            return self.store.read_json(name)
        except StoreError:
            return None

    def _read(self) -> None:
        try:
            with (self.folder / "results.jsonl").open("rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if self.size < self.results.read:  # another file, from its beginning
                    self.results = Results()
                self._lines(file)
        except OSError:
            self.size = self.results.read

    def _lines(self, file: IO[bytes]) -> None:
        results = self.results
        file.seek(results.read)
        until = results.read + AT_ONCE
        while results.read < until:
            raw = file.readline()
            if not raw.endswith(b"\n"):  # the end, or a line that is being written
                self.size = results.read
                return
            try:
                results.take(json.loads(raw), results.read, private=self.private)
            except _NO_LINE:
                results.damaged += 1
            results.read += len(raw)

    def tree(self, over: Over) -> tuple[Entries, int]:
        """The stored tree of a search that is over, and of how many nodes. Raises StoreError."""
        try:
            with (self.folder / "results.jsonl").open("rb") as file:
                file.seek(over.offset)
                result = json.loads(file.readline())
            tree = RolloutTree.load(self.store.tree_path(over.strategy, over.problem))
            node = result.get("node")
            winner = tuple(node) if isinstance(node, list) else None
            mark = stored_mark(result)
            found = entries(tree, mark, over=True, winner=winner, texts=not self.private)
        except (OSError, *_NO_LINE) as error:
            raise StoreError(f"the tree cannot be read: {error}") from error
        return found, len(tree)


def folders(run: Path) -> Sequence[Path]:
    """The folder of a run, or those of its shards in it.

    Raises StoreError where there is neither.
    """
    files = ("manifest.json", "results.jsonl", feed.NAME)
    if any((run / name).is_file() for name in files):
        return [run]
    shards = sorted(path.parent for path in run.glob("shard-*-of-*/manifest.json"))
    if not shards:
        raise StoreError(
            f"{run} holds no run; name a folder that `reasoning run` writes to, or has written"
        )
    return shards
