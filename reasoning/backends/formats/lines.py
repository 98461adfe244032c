"""Our own form: JSON lines, gzipped or not, of problems with their samples."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from reasoning.errors import RecipeError

Tell: TypeAlias = Callable[[str, str], None]
"""Hears of what is left out: its kind, and where and why."""


def rows(files: list[Path], tell: Tell) -> Iterator[dict[str, Any]]:
    """The lines as they are; one without an id and a list of samples is left out."""
    for file in files:
        for number, row in enumerate(json_lines(file, tell), start=1):
            try:
                if not all(isinstance(sample, dict) for sample in row["samples"]):
                    raise TypeError("a sample is no mapping")
                yield {**row, "id": str(row["id"])}
            except (TypeError, KeyError) as error:
                tell(
                    "lines", f"{file}, line {number}: not a problem with id and samples ({error!r})"
                )


def _silently(kind: str, where: str) -> None:
    del kind, where


def json_lines(path: Path, tell: Tell = _silently) -> Iterator[Any]:
    """The readable lines of a JSONL file, gzipped or not.

    Raises RecipeError for a file that cannot be opened.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    tell("lines", f"{path}, line {number}: not readable JSON lines: {error}")
    except (EOFError, zlib.error) as error:
        tell("lines", f"{path} is not readable JSON lines: {error}")  # it ends too soon
    except gzip.BadGzipFile as error:
        tell("lines", f"{path} cannot be read: {error}")
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror or error}") from error
