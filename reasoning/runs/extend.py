"""A run that is asked for more: what it has paid for stays, and is not paid for again.

Strategies whose results would be others are run again: their calls are found by their keys, which
know everything that a call depends on, and only those that nobody has made yet are made. What the
folder said before is kept in earlier/1, earlier/2 and so on, each a folder of a run as well.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from reasoning.backends.journal import named
from reasoning.errors import StoreError
from reasoning.runs import files
from reasoning.runs.manifest import describe
from reasoning.runs.plan import Plan
from reasoning.runs.store import Store, in_words
from reasoning.stored import samples_of

FREE = ("limits", "name", "prices", "run_limits", "sampling", "step", "strategies", "sweep")
"""What of a recipe may be another one. So may the task, as long as no question is."""
_FOLLOWS = ("files", "notes_read")  # what strategies bring with them
_TASK = ("task", "task_source")
_SWEPT = ("limits", "run_limits", "sampling", "step")


@dataclass(frozen=True, slots=True)
class Extension:
    """The run `todo` in a folder that may hold less than it; see `Store.opened`."""

    todo: Plan
    store: Store
    command: Sequence[str] = ()

    def __call__(self, present: Mapping[str, Any], changed: Sequence[str]) -> None:
        """Make room for it. Raises StoreError for what is another run and no extension of it."""
        self._refuse(present, changed)
        manifest = describe(self.todo, self.command)
        begun, now = present["strategies"], manifest["strategies"]
        same = {name for name in begun.keys() & now.keys() if begun[name] == now[name]}
        place = self._set_aside(present, same)
        told = {
            "when": manifest["started"],
            "command": list(self.command),
            "changed": list(changed),
            "earlier": f"earlier/{place.name}",
            "calls": _calls(present, manifest),
        }
        kept = {k: present[k] for k in ("started", "engines", "servers", "met") if k in present}
        history = [*present.get("extended", ()), told]
        self.store.write_json("manifest.json", {**manifest, **kept, "extended": history})

    def _refuse(self, present: Mapping[str, Any], changed: Sequence[str]) -> None:
        folder, run = self.store.folder, present["run"]
        if not isinstance(present.get("strategies"), dict):
            raise StoreError(
                f"{folder} is of an earlier version, which did not keep what extending a run "
                "needs; choose another --out"
            )
        if fixed := [k for k in changed if k not in (*FREE, *_FOLLOWS, *_TASK)]:
            raise StoreError(
                f"{folder} holds a run with another {in_words(fixed)}, and its calls are of no "
                f"use for this one; choose another --out (--extend goes with other "
                f"{', '.join(FREE)}, or more problems)"
            )
        swept = {*(run.get("sweep") or ()), *self.todo.recipe.sweep}
        if outside := [k for k in sorted(swept) if k.split(".")[0] not in _SWEPT]:
            raise StoreError(
                f"a run that sweeps {outside[0]} cannot be extended, only those that sweep "
                f"{', '.join(_SWEPT)}; choose another --out"
            )
        if present.get("shared") and not self.todo.shared:
            raise StoreError(
                f"in {folder} strategies share samples, which one alone does not and a limit in "
                "seconds forbids; choose another --out"
            )
        if set(_TASK) & set(changed):
            self._refuse_task(run)

    def _refuse_task(self, run: Mapping[str, Any]) -> None:
        """Raise StoreError unless every question that was asked is asked again, or left out."""
        asked = {problem.id: problem.question for problem in self.todo.problems}
        for result in self.store.results():
            question = result.get("question")
            if question is None or asked.get(result["problem"], question) != question:
                why = "asks something else now" if question else "was not to be kept"
                raise StoreError(
                    f"the task is another one than {run.get('task')}: problem "
                    f"{result['problem']!r} {why}; choose another --out"
                )

    def _set_aside(self, present: Mapping[str, Any], same: set[str]) -> Path:
        """Keep what the folder says so far, and forget the results of strategies that are not the
        `same`: those that are worked out again, and those that the recipe has no longer."""
        place = next(p for n in count(1) if not (p := self.store.folder / f"earlier/{n}").exists())
        earlier, left, gone = Store(place), [], 0
        with earlier.opened(present):
            for result in self.store.results():
                self._link(result, earlier)
                earlier.put_line(result)
                if result["strategy"] in same:
                    left.append(json.dumps(result, ensure_ascii=False) + "\n")
                else:
                    gone += 1
        if summary := self.store.read_json("summary.json"):
            earlier.write_json("summary.json", summary)
        if gone:
            files.replace(self.store.folder / "results.jsonl", left)
        return place

    def _link(self, result: Mapping[str, Any], earlier: Store) -> None:
        """Have a tree and its samples in both folders, on one place of the disk."""
        tree = self.store.tree_path(result["strategy"], result["problem"])
        there = earlier.tree_path(result["strategy"], result["problem"])
        for old, new in ((tree, there), (samples_of(tree), samples_of(there))):
            with suppress(FileNotFoundError, FileExistsError):
                new.parent.mkdir(parents=True, exist_ok=True)
                _same(old, new)


def _same(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except FileExistsError:
        raise
    except OSError:  # a disk without links
        shutil.copyfile(old, new)


def _calls(present: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Whose a strategy's calls are by now: everybody's, or those of its successor.

    That is one with the same searcher that takes the place of one which is gone.
    """
    if manifest["shared"]:
        return {"": ""}
    begun, now = present["strategies"], manifest["strategies"]
    new = [name for name in now if name not in begun]

    def pairs() -> Iterator[tuple[str, str]]:
        for old in (name for name in begun if name not in now):
            heirs = (n for n in new if now[n]["searcher"] == begun[old]["searcher"])
            if heir := next(heirs, None):
                new.remove(heir)
                yield named(old), named(heir)

    return dict(pairs())
