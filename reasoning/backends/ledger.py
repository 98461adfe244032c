"""What a journal knows, in memory and on disk: read and forgotten problem by problem.

A run keeps a file for each problem in progress, in which numbers stand as bytes: going on with a
run reads what belongs to the problems that are left. A file is gone as its problem ends; what is
left of it are the keys of its calls, by which a run that is extended finds their samples in the
trees. A journal that a recipe names is one file of JSON lines, of which only places are kept in
memory.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
import threading
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reasoning.errors import StoreError
from reasoning.runs import files
from reasoning.sample import Sample, fingerprint, packed, unpacked

if TYPE_CHECKING:
    from reasoning.tree import Node

log = logging.getLogger(__name__)

VERSION = 2
"""Of an entry: what keys are made of. Entries of others are drawn again."""

_WRONG = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Entry(NamedTuple):
    """What came of a call: a sample and the seconds it took, or what a tool gave.

    `held` is the fingerprint of a sample that trees hold, where it is not here.
    """

    sample: Sample
    seconds: float = 0.0
    value: Any = None
    held: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.value is not None:
            return {"value": self.value}
        if self.held:
            return {"held": self.held, "seconds": self.seconds}
        return {"sample": self.sample.to_json(digits=None), "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Any) -> Entry:
        if "value" in data:
            return cls(Sample(""), value=data["value"])
        if "held" in data:
            return cls(Sample(""), float(data["seconds"]), held=str(data["held"]))
        return cls(Sample.from_json(data["sample"]), float(data["seconds"]))


class Held:
    """The samples that the trees of a problem hold."""

    def __init__(self, trees: Iterable[Iterable[Node]] = ()) -> None:
        self._samples = {id(node.sample): node.sample for tree in trees for node in tree}

    @cached_property
    def _names(self) -> set[str]:
        return {fingerprint(sample) for sample in self._samples.values()}

    def brief(self, entry: Entry) -> Entry:
        """The entry without its sample if that is one of these."""
        sample = entry.sample
        if id(sample) in self._samples or (sample.text and fingerprint(sample) in self._names):
            return Entry(Sample(""), entry.seconds, held=fingerprint(sample))
        return entry

    def briefly(self, known: Mapping[str, Entry]) -> list[bytes]:
        """What is left of the entries of a problem that is done."""
        return [packed_entry(key, self.brief(entry)) for key, entry in known.items()]


class Ledger:
    """Entries by problem and key, in memory alone."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Entry]] = {}

    def of(self, problem: str) -> dict[str, Entry]:
        """All that is known of a problem; not to be changed. Read from disk at the first call."""
        known = self._known.get(problem)
        if known is None:
            known = self._known[problem] = dict(self._read(problem))
        return known

    def add(self, problem: str, key: str, entry: Entry) -> None:
        """Raises StoreError if it cannot be written."""
        self.of(problem)[key] = entry
        with self._plain_errors(problem):
            self._write(problem, key, entry)

    def note(self, problem: str, key: str, entry: Entry) -> None:
        """Add what may be lost if the problem is interrupted, and is kept when it is settled."""
        self.of(problem)[key] = entry

    def write(self, problem: str, body: bytes) -> None:
        """Add an entry that somebody else has made bytes of, by `packed_entry`; where there is a
        disk, there alone. Raises StoreError if it cannot be written."""
        self.add(problem, *unpacked_entry(body))

    @contextmanager
    def _plain_errors(self, problem: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the journal {self._where(problem)} cannot be written: {error}"
            ) from error

    def forget(self, problem: str) -> None:
        """Drop a problem from memory."""
        self._known.pop(problem, None)

    def drop(self, problem: str) -> None:
        """Drop a problem that is done, and what only an unfinished one needs on disk."""
        self.forget(problem)

    def settle(self, problem: str, held: Held) -> None:  # noqa: ARG002 (nothing is kept here)
        """Drop a problem that is done, but for what a run that is extended asks for again."""
        self.drop(problem)

    def keep(self, problem: str, bodies: Sequence[bytes]) -> None:
        """Keep what is left of a problem that is done: see `Held.briefly`."""

    def close(self) -> None:
        """Close what is open; what was added is on disk already."""

    def _read(self, _problem: str) -> Iterable[tuple[str, Entry]]:
        return ()

    def _write(self, problem: str, key: str, entry: Entry) -> None:
        """Nothing outlives this one."""

    def _where(self, _problem: str) -> Path | None:
        return None


class Lines(Ledger):
    """One file of JSON lines for all problems. In memory is where the lines of each begin."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: IO[bytes] | None = None
        self._places: dict[str, array[int]] = {}
        self._torn = False
        if path.exists():
            self._scan()

    def _scan(self) -> None:
        at, raw = 0, b"\n"
        with self._path.open("rb") as file:
            for raw in file:
                problem = self._problem(raw, at)
                if problem is not None:
                    self._places.setdefault(problem, array("q")).append(at)
                at += len(raw)
        self._torn = not raw.endswith(b"\n")

    def _problem(self, raw: bytes, at: int) -> str | None:
        """Whom a line belongs to, from its beginning where it is as we write it."""
        try:
            if found := _BEGINS.match(raw):
                return str(json.loads(found[1]))
            data = {**json.loads(raw.decode("utf-8", "replace"))}
            return str(data["problem"]) if data.get("version") == VERSION else None
        except _WRONG:
            log.warning(_DAMAGED, self._path, at)
            return None

    def _read(self, problem: str) -> Iterator[tuple[str, Entry]]:
        places = self._places.get(problem)
        if not places:
            return
        with self._path.open("rb") as file:
            for at in places:
                file.seek(at)
                try:
                    data = json.loads(file.readline().decode("utf-8", "replace"))
                    yield data["key"], Entry.from_json(data)
                except _WRONG:
                    log.warning(_DAMAGED, self._path, at)

    def _write(self, problem: str, key: str, entry: Entry) -> None:
        line = {"version": VERSION, "problem": problem, "key": key, **entry.to_json()}
        if self._file is None:
            self._file = self._path.open("ab")
        if self._torn:
            self._file.write(b"\n")
            self._torn = False
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def _where(self, _problem: str) -> Path:
        return self._path

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


_DAMAGED = "%s is damaged at byte %d, and what stood there will be drawn again"
_BEGINS = re.compile(rb'\{"version": %d, "problem": ("(?:[^"\\]|\\.)*"), "key": ' % VERSION)


class Folder(Ledger):
    """A file for each problem in progress, gone with it, and a short one for each that is done.

    A file is a row of records: length and checksum of what follows, which is compressed. It holds
    a head of JSON and the numbers of the sample as they stand in memory. Short ones are in `kept`
    if that is given, and `held` gives the samples of a problem's trees by their fingerprints.
    `renamed` tells what a stored key is by now.
    """

    def __init__(
        self,
        folder: Path,
        kept: Path | None = None,
        held: Callable[[str], Mapping[str, Sample]] = lambda _: {},
        renamed: Callable[[str], str] = str,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._kept = kept
        self._held = held
        self._renamed = renamed
        self._turn = threading.Lock()

    def drop(self, problem: str) -> None:
        self.forget(problem)
        with suppress(FileNotFoundError):
            self._where(problem).unlink()

    def settle(self, problem: str, held: Held) -> None:
        if problem in self._known or self._where(problem).exists():
            self.keep(problem, held.briefly(self.of(problem)))
        self.drop(problem)

    def keep(self, problem: str, bodies: Sequence[bytes]) -> None:
        if self._kept is None or not bodies:
            return
        try:
            files.replace_bytes(_file_of(self._kept, problem), map(_record, bodies))
        except OSError as error:
            log.warning("%s: extending the run will pay again for %s", error, problem)

    def _where(self, problem: str) -> Path:
        return _file_of(self._folder, problem)

    def _read(self, problem: str) -> Iterator[tuple[str, Entry]]:
        if self._kept is not None:
            yield from self._settled(problem, _file_of(self._kept, problem))
        for key, entry in self._stored(self._where(problem)):
            yield self._renamed(key), entry

    def _settled(self, problem: str, path: Path) -> Iterator[tuple[str, Entry]]:
        """What is left of a problem that was done, as far as the trees still hold it."""
        held: Mapping[str, Sample] | None = None
        for key, entry in self._stored(path):
            if entry.held:
                held = self._held(problem) if held is None else held
                if (sample := held.get(entry.held)) is None:
                    continue
                # Whose it is was not its own to say.
                entry = entry._replace(sample=replace(sample, model=""), held="")
            yield self._renamed(key), entry

    def _stored(self, path: Path) -> Iterator[tuple[str, Entry]]:
        with suppress(FileNotFoundError), files.opened(path, os.O_RDWR, "rb+") as file:
            yield from self._records(file, path)

    def _records(self, file: IO[bytes], path: Path) -> Iterator[tuple[str, Entry]]:
        """What is whole; behind a torn record there is nothing, and the file ends before it."""
        size = os.fstat(file.fileno()).st_size
        while (at := file.tell()) < size:
            head = file.read(_RECORD.size)
            length, checksum = _RECORD.unpack(head) if len(head) == _RECORD.size else (size, 0)
            if length > size - at - _RECORD.size:
                log.warning(_DAMAGED, path, at)
                file.truncate(at)
                return
            body = file.read(length)
            try:
                if zlib.crc32(body) != checksum:
                    raise ValueError("the checksum differs")
                yield unpacked_entry(body)
            except (*_WRONG, zlib.error):
                log.warning(_DAMAGED, path, at)

    def _write(self, problem: str, key: str, entry: Entry) -> None:
        self._append(problem, packed_entry(key, entry))

    def write(self, problem: str, body: bytes) -> None:
        with self._plain_errors(problem):
            self._append(problem, body)

    def _append(self, problem: str, body: bytes) -> None:
        with self._turn:
            self._folder.mkdir(exist_ok=True)
            with files.opened(self._where(problem), _APPEND, "ab") as file:
                file.write(_record(body))


def _file_of(folder: Path, problem: str) -> Path:
    return folder / f"{files.file_name(problem)}.calls"


def _record(body: bytes) -> bytes:
    return _RECORD.pack(len(body), zlib.crc32(body)) + body


_RECORD = struct.Struct("<QI")
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_MOST = 1 << 30
"""Bytes that a record may hold."""
_LEVEL = 1
"""Of compression: the fastest. Numbers that hardly repeat gain little from more."""


def packed_entry(key: str, entry: Entry) -> bytes:
    """An entry as it stands in a file."""
    numbers, rest = packed(entry.sample)
    sizes = [[name, len(kept)] for name, kept in numbers.items()]
    told = {"key": key, "numbers": sizes, **entry._replace(sample=rest).to_json()}
    # The first bytes of all numbers, then the second ones: like stands by like.
    rows = [np.frombuffer(b, np.uint8).reshape(-1, 4).T.tobytes() for b in numbers.values()]
    return zlib.compress(b"\n".join([json.dumps(told).encode(), b"".join(rows)]), _LEVEL)


def unpacked_entry(body: bytes) -> tuple[str, Entry]:
    """The inverse. Raises ValueError or the like for what is no record."""
    inflate = zlib.decompressobj()
    head, _, rows = inflate.decompress(body, _MOST).partition(b"\n")
    data, numbers, at = json.loads(head), {}, 0
    for name, size in data.pop("numbers"):
        planes = np.frombuffer(rows[at : at + size], np.uint8)
        numbers[name] = planes.reshape(4, -1).T.tobytes()
        at += size
    entry = Entry.from_json(data)
    return str(data["key"]), entry._replace(sample=unpacked(numbers, entry.sample))
