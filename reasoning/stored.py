"""Trees on disk that share samples: what strategies drew alike is kept once for each problem.

trees/STRATEGY/PROBLEM.jsonl  a node may name its sample: "sample": ID
samples/PROBLEM.jsonl         a line a sample; ID, which it begins with, is the digest of the rest

Lines are only ever added, so nothing that a tree names goes, whoever is interrupted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO, TypeAlias

Keep: TypeAlias = Callable[[Iterable[str]], str]
"""Stores an object of JSON, given in parts, and returns its ID."""

_NODE = re.compile(rb'(\{"path": \[[0-9, ]*\], )"sample": "([0-9a-f]{32})"')
_START = re.compile(rb'\{"id": "([0-9a-f]{32})", ')


def samples_of(tree: Path) -> Path:
    """Where the samples are that the tree in the file `tree` names."""
    return tree.absolute().parents[2] / "samples" / tree.name


def named(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The samples that the lines of a tree name."""
    return (found[2] for found in map(_NODE.match, lines) if found)


def tree_lines(tree: Path) -> Iterator[bytes]:
    """The lines of the file `tree` with their samples put in; without where those are lost."""
    with ExitStack() as stack:
        places: dict[bytes, int] | None = None
        for line in stack.enter_context(tree.open("rb")):
            found = _NODE.match(line)
            if found is None:
                yield line
                continue
            if places is None:
                path = samples_of(tree)
                file = stack.enter_context(path.open("rb")) if path.is_file() else None
                places = _places(file) if file else {}
            if file and (kept := read(file, places, found[2])):
                line = found[1] + _body(kept)[1:-1] + line[found.end() :]
            yield line


def _places(file: IO[bytes]) -> dict[bytes, int]:
    """Where each sample's line begins; the last of several, since a torn one is written again."""
    places, at = {}, 0
    for line in file:
        if found := _START.match(line):
            places[found[1]] = at
        at += len(line)
    return places


def read(file: IO[bytes], places: dict[bytes, int], name: bytes) -> bytes | None:
    """The line of a sample; None if it is not there, or damaged."""
    if (at := places.get(name)) is None:
        return None
    file.seek(at)
    line = file.readline()
    return line if _whole(line) else None


def _body(line: bytes) -> bytes:
    found = _START.match(line)
    return b"{" + line[found.end() : -1] if found else b""


def _whole(line: bytes) -> bool:
    found = _START.match(line)
    return found is not None and digest(_body(line)) == found[1].decode()


def digest(body: bytes) -> str:
    """The ID of a sample."""
    return blake2b(body, digest_size=16).hexdigest()


class Samples:
    """The samples of one problem, to add to.

    `known` are those that are there; one that failed to be written makes it a matter of the disk
    again (`forget`).
    """

    def __init__(self, path: Path, opened: Callable[[Path], IO[bytes]]) -> None:
        self.path = path
        self._opened = opened
        self._known: set[str] | None = None

    @property
    def known(self) -> set[str]:
        if self._known is None:
            self._known = set()
            if self.path.exists():
                with self.path.open("rb") as lines:
                    self._known = {line[8:40].decode() for line in lines if _whole(line)}
        return self._known

    @contextmanager
    def adding(self) -> Iterator[Keep]:
        """Adds to the file; all of it is there at the end. Raises OSError."""
        known = self.known
        with ExitStack() as stack:
            file: IO[bytes] | None = None

            def keep(parts: Iterable[str]) -> str:
                nonlocal file
                body = "".join(parts).encode()
                name = digest(body)
                if name not in known:
                    file = file or stack.enter_context(self._opened(self.path))
                    file.write(b'{"id": "%s", %s\n' % (name.encode(), body[1:]))
                    known.add(name)
                return name

            try:
                yield keep
                stack.close()
            except BaseException:
                self._known = None
                raise

    def take(self, tree: Path) -> None:
        """Add the samples that a tree of another folder names, as far as they are there."""
        with tree.open("rb") as lines:
            wanted = [name for name in named(lines) if name.decode() not in self.known]
        path = samples_of(tree)
        if wanted and path.is_file():
            with path.open("rb") as file, self.adding() as keep:
                places = _places(file)
                for name in wanted:
                    if line := read(file, places, name):
                        keep([_body(line).decode()])
