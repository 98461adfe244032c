"""A run's folder on disk. What is finished is there, whole, whatever happens next.

manifest.json     what was run: recipe, seeds, versions, sources
results.jsonl     one line for each problem and strategy, in order of completion
trees/STRATEGY/PROBLEM.jsonl
samples/PROBLEM.jsonl
                  what trees of several strategies share (see reasoning.stored)
summary.json      numbers, written at the end
journal/PROBLEM.calls
                  calls of a problem in progress; gone when it is complete
calls/model-0/PROBLEM.calls, calls/scores/PROBLEM.calls
                  which sample of the trees came of which call, and what verifiers gave: by these a
                  run that is extended pays for nothing twice (see reasoning.runs.extend)
earlier/1         what was there before the run was first extended: a run's folder, too
live.json         how a run in progress stands, for others (see reasoning.live.feed)
interrupted.jsonl what was spent on searches that were interrupted and begun again, if any were,
                  and that a run was killed before it could say

Folders come from others, too: what is read may be anything, and nothing is written but in here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

from reasoning.backends.journal import renamed
from reasoning.backends.ledger import Folder, Ledger
from reasoning.errors import StoreError
from reasoning.runs import files
from reasoning.sample import Sample, fingerprint
from reasoning.stored import Samples
from reasoning.tree import RolloutTree

log = logging.getLogger(__name__)

_REMEMBERED = 1024
"""Problems whose samples are known by name, some kilobytes each; of others they are looked up."""

T = TypeVar("T")
Other: TypeAlias = Callable[[Mapping[str, Any], Sequence[str]], None]
"""What is done about another run in the folder: its manifest, and which keys differ."""


class Store:
    """Appends results, reads them back, and refuses to mix two different runs."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._results: IO[str] | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._several = False  # strategies, which may share samples
        self._samples: dict[str, Samples] = {}

    def ledger(self, number: int = 0) -> Ledger:
        """The calls of a run's `number`-th generator."""
        journal = self._file(f"journal-{number}" if number else "journal")
        kept = self._file("calls") / f"model-{number}"
        return Folder(journal, kept, self._held, self._renamed())

    def scores(self) -> Ledger:
        """What verifiers have given."""
        kept = self._file("calls") / "scores"
        return Folder(self._file("journal-scores"), kept, renamed=self._renamed())

    def _renamed(self) -> Callable[[str], str]:
        """Whose calls the kept ones are by now: see `reasoning.runs.extend`."""
        steps = [e["calls"] for e in (self.read_json("manifest.json") or {}).get("extended", ())]
        return partial(renamed, steps)

    def _held(self, problem: str) -> dict[str, Sample]:
        """The samples of all trees of a problem, those of before the run was extended too."""
        name = f"{files.file_name(problem)}.jsonl"
        folders = (*self.folder.glob("trees/*"), *self.folder.glob("earlier/*/trees/*"))
        paths = [path for folder in folders if (path := folder / name).is_file()]
        found: dict[str, Sample] = {}
        for path in {path.stat().st_ino: path for path in paths}.values():
            try:
                tree = RolloutTree.load(path)
            except (OSError, StoreError) as error:
                log.warning("%s cannot be read, and is paid for again: %s", path, error)
                continue
            found.update((fingerprint(node.sample), node.sample) for node in tree)
        return found

    def drop_passing(self) -> None:
        """Journals and what others watch: all of it is in results and trees once it is complete."""
        self._file("live.json").unlink(missing_ok=True)
        for path in self.folder.glob("journal*"):
            if path.suffix == ".jsonl":  # of an earlier version
                path.unlink()
            elif files.JOURNAL.fullmatch(path.name):
                shutil.rmtree(path)

    @contextmanager
    def opened(self, manifest: Mapping[str, Any], other: Other | None = None) -> Iterator[Store]:
        """Hold the folder for one run; `manifest["run"]` must match what is there already.

        `other` is told of another run that is there, and makes room or refuses. Raises StoreError
        if the folder cannot be written, holds another run, or is in use.
        """
        with ExitStack() as stack:
            with _plain_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                files.refuse_links(self.folder)
                try:
                    killed = stack.enter_context(files.locked(self._file(".lock")))
                except BlockingIOError:
                    raise StoreError(
                        f"another run is writing to {self.folder}; wait for it or choose another "
                        "--out"
                    ) from None
            self._claim(manifest, other or self._refuse)
            self._several = len(manifest.get("independent") or ()) > 1
            with _plain_errors(self.folder):
                if killed:
                    self._note({"killed": 1})
                files.end_line(self._file("results.jsonl"))
                self._results = files.appending(self._file("results.jsonl"))
            try:
                with ThreadPoolExecutor(1, "store") as self._writer:
                    yield self
            finally:
                with suppress(OSError):  # a full disk has been reported where it was met
                    self._results.close()

    def append(self, result: Mapping[str, Any], tree: RolloutTree) -> None:
        """Store one result and its tree. The result's line is what makes it finished."""
        self.put(result, self._pieces(result["problem"], tree))

    def _pieces(self, problem: str, tree: RolloutTree) -> Iterator[str]:
        if self._several:
            with self._shared(problem).adding() as keep:
                yield from tree.pieces(keep)
        else:
            yield from tree.pieces()

    def _shared(self, problem: str) -> Samples:
        """The samples of a problem; what is known of those it was asked for last is kept."""
        path = self._file("samples") / f"{files.file_name(problem)}.jsonl"
        found = self._samples.pop(problem, None) or Samples(path, files.adding)
        self._samples[problem] = found
        if len(self._samples) > _REMEMBERED:
            del self._samples[next(iter(self._samples))]
        return found

    async def keep(self, found: Sequence[tuple[Mapping[str, Any], RolloutTree]]) -> None:
        """Store results in a thread, one after another. Once begun it is done, though cancelled.

        Who has paid for them may be interrupted: the folder is not let go of before they are there.
        """
        for job in [self.beside(self.append, result, tree) for result, tree in found]:
            await asyncio.shield(job)

    def beside(self, work: Callable[..., T], *args: object) -> asyncio.Future[T]:
        """Do it in the thread that writes, after all that it has been given so far."""
        assert self._writer is not None
        job = asyncio.wrap_future(self._writer.submit(work, *args))
        # The same command does again what fails when nobody waits any more.
        job.add_done_callback(lambda job: job.cancelled() or job.exception())
        return job

    def take(self, result: Mapping[str, Any], other: Store) -> None:
        """Store one result of another folder, with its tree. Raises StoreError if that is gone."""
        path = other.tree_path(result["strategy"], result["problem"])
        try:
            tree = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}; copy that folder again") from error
        with _plain_errors(self.folder):
            self._shared(result["problem"]).take(path)
        self.put(result, [tree])

    def put(
        self, result: Mapping[str, Any], tree: Iterable[str], samples: Sequence[str] = ()
    ) -> None:
        """Store one result, the text of its tree, and samples which that names."""
        assert self._results is not None
        with _plain_errors(self.folder):
            if samples:
                with self._shared(result["problem"]).adding() as keep:
                    for sample in samples:
                        keep([sample])
            files.replace(self._tree(result["strategy"], result["problem"]), tree)
            self.put_line(result)

    def put_line(self, result: Mapping[str, Any]) -> None:
        """Store one result whose tree is there."""
        assert self._results is not None
        self._results.write(json.dumps(result, ensure_ascii=False) + "\n")
        self._results.flush()

    def take_losses(self, others: Iterable[Store]) -> None:
        """Say of what was lost what `others` say together, in the place of what was said so far."""
        paths = [path for other in others if (path := other._file("interrupted.jsonl")).exists()]
        texts = [path.read_text(encoding="utf-8", errors="replace").rstrip("\n") for path in paths]
        with _plain_errors(self.folder):
            if texts:
                files.replace(self._file("interrupted.jsonl"), (f"{t}\n" for t in texts))
            else:
                self._file("interrupted.jsonl").unlink(missing_ok=True)

    def lose(self, strategy: str, problem: str, spent: Mapping[str, int]) -> None:
        """Note what an unfinished search has spent that going on with it will not make good."""
        self.note({"strategy": strategy, "problem": problem, **spent})

    def note(self, lost: Mapping[str, Any]) -> None:
        """Note something that was lost: see `lost`."""
        with _plain_errors(self.folder):
            self._note(lost)

    def _note(self, what: Mapping[str, Any]) -> None:
        with files.appending(self._file("interrupted.jsonl")) as file:
            file.write(json.dumps(what) + "\n")

    def lost(self, name: str) -> int:
        """The sum of `name` over all that was lost.

        Of `killed` and `workers`, how many runs and workers of a run could not say.
        """
        path, total = self._file("interrupted.jsonl"), 0
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, LookupError, TypeError):  # a line may be torn
                    total += int(files.parsed(line)[name])
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
                    result = files.parsed(line)
                    key = (result["strategy"], result["problem"])
                    if not all(isinstance(name, str) for name in key):
                        raise ValueError("names are text")
                except (ValueError, KeyError, TypeError):
                    log.warning("%s, line %d is damaged and left out", path, number)
                    continue
                if key not in seen:
                    seen.add(key)
                    yield result

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a file of the folder in one piece."""
        with _plain_errors(self.folder):
            files.replace(self._file(name), [json.dumps(value, indent=2, ensure_ascii=False), "\n"])

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A file of the folder, None if there is none. Raises StoreError if it is damaged."""
        path = self._file(name)
        try:
            data = files.parsed(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict):
                raise ValueError("it holds no mapping of keys")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}; choose another --out") from error
        return data

    def tree_path(self, strategy: str, problem: str) -> Path:
        """Where the tree of one result is kept, by an earlier version perhaps."""
        path = self._tree(strategy, problem)
        old = files.old_file_name
        earlier = self.folder / "trees" / old(strategy) / f"{old(problem)}.jsonl"
        return earlier if earlier.exists() and not path.exists() else path

    def _tree(self, strategy: str, problem: str) -> Path:
        name = files.file_name(problem)
        return self.folder / "trees" / files.file_name(strategy) / f"{name}.jsonl"

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _claim(self, manifest: Mapping[str, Any], other: Other) -> None:
        present = self.read_json("manifest.json")
        if present is None:
            if self._file("results.jsonl").exists():
                raise StoreError(
                    f"{self.folder} holds results without a manifest; choose another --out"
                )
            self.write_json("manifest.json", manifest)
            return
        ours, theirs = json.loads(json.dumps(manifest["run"])), present.get("run", {})
        if not isinstance(theirs, dict):
            raise StoreError(f"{self.folder}/manifest.json is no run's; choose another --out")
        # What an older version knew nothing of, and this run does not use, is no difference.
        changed = [
            k
            for k in sorted({*ours, *theirs})
            if ours.get(k) != theirs.get(k) and (k in theirs or ours[k])
        ]
        if changed:
            other(present, changed)

    def _refuse(self, _present: Mapping[str, Any], changed: Sequence[str]) -> None:
        raise StoreError(
            f"{self.folder} holds a run with another {in_words(changed)}; choose another --out, "
            "or --extend it: what it has paid for is not paid again"
        )


def in_words(changed: Sequence[str]) -> str:
    """What of a run is another one; of a task that is, so are its data, which goes unsaid."""
    known = {
        "task_source": "version of the task's data",
        "notes_read": "content of the notes that strategies read",
        "files": "content of the files that strategies name",
    }
    return ", ".join(
        known.get(k, k) for k in changed if k != "task_source" or "task" not in changed
    )


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the run folder {folder} cannot be written: {error.strerror or error}; free some "
            "space or choose another --out; the same command continues what is stored"
        ) from error
