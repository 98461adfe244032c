"""A run's folder on disk. What is finished is there, whole, whatever happens next.

manifest.json     what was run: recipe, seeds, versions, sources
results.jsonl     one line for each problem and strategy, in order of completion
trees/STRATEGY/PROBLEM.jsonl
summary.json      numbers, written at the end
journal.jsonl     calls of problems in progress; gone when the run is complete
interrupted.jsonl what was spent on searches that were interrupted and begun again, if any were
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from reasoning.errors import StoreError
from reasoning.tree import RolloutTree

log = logging.getLogger(__name__)


class Store:
    """Appends results, reads them back, and refuses to mix two different runs."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock: IO[str] | None = None
        self._results: IO[str] | None = None

    def journal(self, number: int = 0) -> Path:
        """Where the calls of a run's `number`-th generator are kept while it runs."""
        return self._file(f"journal-{number}.jsonl" if number else "journal.jsonl")

    def drop_journals(self) -> None:
        """What they hold is in the trees once the run is complete."""
        for path in self.folder.glob("journal*.jsonl"):
            path.unlink()

    @contextmanager
    def opened(self, manifest: Mapping[str, Any]) -> Iterator[Store]:
        """Hold the folder for one run; `manifest["run"]` must match what is there already.

        Raises StoreError if the folder cannot be written, holds another run, or is in use.
        """
        with _plain_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                raise StoreError(
                    f"another run is writing to {self.folder}; wait for it or choose another --out"
                ) from None
        try:
            self._claim(manifest)
            with _plain_errors(self.folder):
                self._mend()
                self._results = self._file("results.jsonl").open(
                    "a", encoding="utf-8", errors="replace"
                )
            yield self
        finally:
            for file in (self._results, self._lock):
                if file is not None:
                    with suppress(OSError):  # a full disk has been reported where it was met
                        file.close()
            (self.folder / ".lock").unlink(missing_ok=True)

    def append(self, result: Mapping[str, Any], tree: RolloutTree) -> None:
        """Store one result and its tree. The result's line is what makes it finished."""
        assert self._results is not None
        with _plain_errors(self.folder):
            self._replace(self.tree_path(result["strategy"], result["problem"]), tree.to_jsonl())
            self._results.write(json.dumps(result, ensure_ascii=False) + "\n")
            self._results.flush()

    def lose(self, strategy: str, problem: str, spent: Mapping[str, int]) -> None:
        """Note what an unfinished search has spent that going on with it will not make good."""
        with _plain_errors(self.folder), self._file("interrupted.jsonl").open("a") as file:
            file.write(json.dumps({"strategy": strategy, "problem": problem, **spent}) + "\n")

    def lost(self, name: str) -> int:
        """The sum of `name` over all that was lost."""
        path, total = self._file("interrupted.jsonl"), 0
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, LookupError, TypeError):  # a line may be torn
                    total += int(json.loads(line)[name])
        return total

    def results(self) -> Iterator[dict[str, Any]]:
        """The first stored result of each problem and strategy; damaged lines are skipped."""
        path = self._file("results.jsonl")
        if not path.exists():
            return
        seen: set[tuple[str, str]] = set()
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    result = json.loads(line)
                    key = (result["strategy"], result["problem"])
                except (ValueError, KeyError, TypeError):
                    log.warning("%s, line %d is damaged and left out", path, number)
                    continue
                if key not in seen:
                    seen.add(key)
                    yield result

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a file of the folder in one piece."""
        with _plain_errors(self.folder):
            self._replace(self._file(name), json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A file of the folder, None if there is none. Raises StoreError if it is damaged."""
        path = self._file(name)
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}; choose another --out") from error
        return data

    def tree_path(self, strategy: str, problem: str) -> Path:
        """Where the tree of one result is kept."""
        return self.folder / "trees" / file_name(strategy) / f"{file_name(problem)}.jsonl"

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _claim(self, manifest: Mapping[str, Any]) -> None:
        present = self.read_json("manifest.json")
        if present is None:
            if self._file("results.jsonl").exists():
                raise StoreError(
                    f"{self.folder} holds results without a manifest; choose another --out"
                )
            self.write_json("manifest.json", manifest)
            return
        ours, theirs = json.loads(json.dumps(manifest["run"])), present.get("run", {})
        if ours != theirs:
            changed = sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))
            raise StoreError(
                f"{self.folder} holds a run with another {', '.join(changed)}; "
                "choose another --out or remove that folder"
            )

    def _mend(self) -> None:
        """End a line that a killed run left torn, so that the next one starts afresh."""
        path = self._file("results.jsonl")
        if path.exists() and path.stat().st_size:
            with path.open("rb+") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.tmp")
        draft.write_text(text, encoding="utf-8", errors="replace")
        draft.replace(path)


def file_name(name: str) -> str:
    """A safe file name for any name, different for different names."""
    safe = re.sub(r"[^A-Za-z0-9._=,-]", "_", name)[:80]
    if safe == name and not name.startswith("."):
        return safe
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{safe.lstrip('.')}-{digest}"


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the run folder {folder} cannot be written: {error.strerror or error}; free some "
            "space or choose another --out; the same command continues what is stored"
        ) from error
