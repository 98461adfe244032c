"""Files of a run's folder: whole or not there, and never anywhere else.

A folder may come from somebody else, so nothing in it is trusted: a link in the place of a file
that is written is refused, and what is read may be anything.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from reasoning.errors import StoreError

JOURNAL = re.compile(r"journal(-\d+)?")
"""What the folders of calls are named."""
_WRITTEN = re.compile(
    r"(manifest|summary|live)\.json|(results|interrupted)\.jsonl|journal(-\d+)?(\.jsonl)?"
    r"|accuracy\.png|trees|samples|calls|earlier|\.lock|\..*\.tmp"
)
_MANGLED = re.compile(r".*-[0-9a-f]{32}", re.DOTALL)


def file_name(name: str) -> str:
    """A safe file name for any name, different for different names."""
    safe = _safe(name)
    if safe == name and not _MANGLED.fullmatch(name):
        return safe
    return _with_digest(safe, name, 16)


def old_file_name(name: str) -> str:
    """What `file_name` was in folders of earlier versions."""
    safe = _safe(name)
    return safe if safe == name else _with_digest(safe, name, 4)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=,-]", "_", name)[:80].lstrip(".") or "_"


def _with_digest(safe: str, name: str, size: int) -> str:
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
    return f"{safe}-{digest}"


def refuse_links(folder: Path) -> None:
    """Raise StoreError if anything a run writes in `folder` is a link to somewhere else."""
    journals = [path for path in folder.glob("journal*") if path.is_dir()]
    inner = [folder / name for name in ("trees", "samples", "calls", "earlier")]
    for place in (folder, *inner, *journals):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            for entry in entries:
                ours = place is not folder or _WRITTEN.fullmatch(entry.name)
                if ours and entry.is_symlink():
                    raise StoreError(
                        f"{entry.path} is a link, and a run writes only into its own folder; "
                        "remove it or choose another --out"
                    )


def opened(path: Path, flags: int, mode: str) -> IO[Any]:
    """Open a regular file of the folder, never what a link in its place leads to."""
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(f"{path} is no regular file")
        if "b" in mode:
            return os.fdopen(number, mode)
        return os.fdopen(number, mode, encoding="utf-8", errors="replace")
    except BaseException:
        os.close(number)
        raise


def appending(path: Path) -> IO[str]:
    """A text file to append to; it begins if there is none."""
    return opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, "a")


def adding(path: Path) -> IO[bytes]:
    """A file of lines to add to, a torn one ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end_line(path)
    file: IO[bytes] = opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, "ab")
    return file


def replace(path: Path, parts: Iterable[str]) -> None:
    """Write a file of these parts: it is there whole, or what was there before still is."""
    _replace(path, parts, "w")


def replace_bytes(path: Path, parts: Iterable[bytes]) -> None:
    """The same for a file of bytes."""
    _replace(path, parts, "wb")


def _replace(path: Path, parts: Iterable[Any], mode: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.unlink(missing_ok=True)  # one that a killed run has left, or a link
    with opened(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as file:
        file.writelines(parts)
    draft.replace(path)


@contextmanager
def writing(path: object, option: str = "--out") -> Iterator[None]:
    """Raise StoreError where something within cannot be written: `option` has named `path`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise StoreError(f"{path} cannot be written: {why}; choose another {option}") from error


@contextmanager
def drafted(out: Path) -> Iterator[Path]:
    """A file to write in the place of `out`, which gets there once it is whole."""
    draft = out.with_name(f".{out.name}.tmp")
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            os.replace(draft, out)
    finally:
        with suppress(OSError):
            draft.unlink()


def end_line(path: Path) -> None:
    """End a line that a killed run left torn, so that the next one starts afresh."""
    if path.exists() and path.stat().st_size:
        with opened(path, os.O_RDWR, "rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def parsed(text: str) -> Any:
    """What a text of JSON holds. Raises ValueError, also where it is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`; yields whether its last holder was killed.

    The file is removed before it is let go of, and one that is no longer at its path is not the
    lock any more: so it has one holder. Raises BlockingIOError if somebody holds it.
    """
    while True:
        file = opened(path, os.O_RDWR | os.O_CREAT, "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _still_there(file, path):
                break
        except BaseException:
            file.close()
            raise
        file.close()
    with file:
        killed = bool(file.read(1))
        file.seek(0)
        file.write("held\n")
        file.flush()
        try:
            yield killed
        finally:
            with suppress(OSError):
                path.unlink()


def _still_there(file: IO[Any], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    return False
