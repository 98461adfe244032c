"""Rows of data: from files, and from the Hugging Face hub."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from reasoning.errors import TaskError, unknown

Row: TypeAlias = dict[str, Any]

HUB_SECONDS = 5.0
"""How long the hub may take to answer the first question before it counts as out of reach."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A split of a dataset on the Hugging Face hub at one revision.

    `revision` is a full commit hash where one is known to hold these rows; "main" otherwise, and
    then the commit that was loaded stands in the task's source. `config` may be several, read one
    after another. `gated`: it is given to accounts that have accepted its terms.
    """

    dataset: str
    config: str | tuple[str, ...] | None
    split: str
    revision: str = "main"
    gated: bool = False

    def __str__(self) -> str:
        config = " to ".join(filter(None, dict.fromkeys((self.configs[0], self.configs[-1]))))
        return f"{self.dataset}@{self.revision}{f' {config}' if config else ''} {self.split}"

    @property
    def configs(self) -> tuple[str | None, ...]:
        return self.config if isinstance(self.config, tuple) else (self.config,)


class Located(NamedTuple):
    """A row, and where a reader finds it."""

    where: str
    row: Row


# ------------------------------------------------------------------------------------- files


def from_file(path: str | Path) -> tuple[list[Located], str]:
    """The rows of a .jsonl, .json (a list), .csv or .parquet file and its identity.

    All but the last may be gzipped. Raises TaskError for a file that is missing, damaged, empty or
    of another kind.
    """
    file = Path(path).expanduser()
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    if suffix not in (*_READERS, ".parquet"):
        raise TaskError(
            f"{path} is not a .jsonl, .json, .csv or .parquet file (all but the last may end in "
            ".gz)"
        )
    try:
        raw = file.read_bytes()
        data = gzip.decompress(raw) if file.name.endswith(".gz") else raw
        text = "" if suffix == ".parquet" else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TaskError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise TaskError(
            f"{path} cannot be read: {why}; set task.path to a file of problems"
        ) from None
    read = _parquet(raw, path) if suffix == ".parquet" else _READERS[suffix](text, path)
    rows = [Located(f"{path}, {at}", _object(f"{path}, {at}", row)) for at, row in read]
    if not rows:
        raise TaskError(f"{path} holds no problem; a line is {{id, question, answer}}")
    return rows, f"{Path(path).as_posix()} sha256:{hashlib.sha256(raw).hexdigest()}"


def _jsonl(text: str, path: str | Path) -> Iterator[tuple[str, object]]:
    # Not splitlines(), which also cuts at U+2028 and the like inside strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _parsed(line, f"{path}, line {number}")


def _json(text: str, path: str | Path) -> Iterator[tuple[str, object]]:
    found = _parsed(text, str(path))
    if not isinstance(found, list):
        raise TaskError(f"{path} must hold a list of objects; one object a line is a .jsonl file")
    for number, entry in enumerate(found, start=1):
        yield f"entry {number}", entry


def _csv(text: str, path: str | Path) -> Iterator[tuple[str, object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise csv.Error("not as many cells as there are columns in the first line")
            yield f"line {reader.line_num}", {k: v for k, v in row.items() if v != ""}
    except csv.Error as error:
        raise TaskError(f"{path}, line {reader.line_num}: {error}") from None


def _parquet(raw: bytes, path: str | Path) -> Iterator[tuple[str, object]]:
    """As the hub keeps its data; read by pyarrow, which `datasets` brings along."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(raw))
    except (pyarrow.ArrowException, OSError) as error:
        raise TaskError(f"{path} is no Parquet file that can be read: {error}") from None
    for number, row in enumerate(table.to_pylist()):
        yield f"row {number}", row


_READERS: dict[str, Callable[[str, str | Path], Iterator[tuple[str, object]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
}


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f" line {error.lineno}," if "\n" in text.strip() else ""
        raise TaskError(f"{where}: not JSON:{line} column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where}: not JSON that can be read: {error}") from None


def _object(where: str, row: object) -> Row:
    if not isinstance(row, dict):
        raise TaskError(f"{where}: expected an object with question and answer, got {row!r:.60}")
    return row


# ------------------------------------------------------------------------------------- choice

Where: TypeAlias = Mapping[str, Any]
"""Which rows: fields and what they must be. A value, a list of values, or {from: ..., to: ...},
both included, either left out; dates are texts such as 2025-01-31."""


def wanted(row: Row, where: Where | None) -> bool:
    """Whether a row is all that `where` says. Raises TaskError for a field that it lacks."""
    return all(_fits(row, field, rule) for field, rule in (where or {}).items())


def _fits(row: Row, field: str, rule: object) -> bool:
    if field not in row:
        raise TaskError(f"where: {unknown('field of the rows', field, row)}")
    value = row[field]
    if isinstance(rule, Mapping):
        if not rule or not set(rule) <= {"from", "to"}:
            raise TaskError(f"where: {field} is {dict(rule)!r}; a range is {{from: ..., to: ...}}")
        try:
            low, high = rule.get("from", value), rule.get("to", value)
            if isinstance(value, int | float):
                return bool(float(low) <= value <= float(high))
            # A date is as long as it was written: 2025-01-31T09:00 is within `to: 2025-01-31`.
            return str(low) <= str(value) and str(value)[: len(str(high))] <= str(high)
        except (TypeError, ValueError):
            raise TaskError(f"where: {field} is {value!r} in a row, not in a range") from None
    among = rule if isinstance(rule, list | tuple) else [rule]
    return value in among or str(value) in map(str, among)


# --------------------------------------------------------------------------------------- hub


def from_hub(hub: Hub, where: Where | None = None) -> tuple[list[Located], str]:
    """The rows of a dataset on the Hugging Face hub, or of its cached copy, and its identity.

    Those that are not wanted are not kept. Out of reach of the hub, only a cached copy of the very
    revision will do. Raises TaskError.
    """
    try:
        offline = not _reachable(hub)
        found = [(config, _load_dataset(hub, config, offline)) for config in hub.configs]
    except Exception as error:
        terms = (
            f" It is gated: accept its terms at https://huggingface.co/datasets/{hub.dataset} and "
            "set HF_TOKEN to a token of that account."
        )
        raise TaskError(
            f"{hub.dataset} can be had neither from the hub nor from its cache "
            f"({type(error).__name__}: {_first_line(error)}); set task.path to a local file, or "
            "load it once with a connection (HF_HOME says where the cache is, HF_HUB_OFFLINE and "
            f"HF_DATASETS_OFFLINE forbid connections).{terms if hub.gated else ''}"
        ) from None
    cached = _revision_of(found[0][1])
    if cached and re.fullmatch("[0-9a-f]{40}", hub.revision) and cached != hub.revision:
        raise TaskError(
            f"{hub.dataset}: revision {hub.revision} is wanted, and the cache has {cached}; get "
            f"online, or accept the cached one with task.revision: {cached}"
        )
    rows = [
        Located(f"{hub.dataset}{f' {config}' if hub.configs[1:] else ''}, row {i}", dict(row))
        for config, part in found
        for i, row in enumerate(part)
        if wanted(row, where)
    ]
    if not rows and not where:
        raise TaskError(f"{hub} holds no problem")
    return rows, str(replace(hub, revision=cached or hub.revision))


def _load_dataset(hub: Hub, config: str | None, offline: bool) -> Any:
    """`datasets.load_dataset`, which looks at nothing but the cache if `offline`."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        return datasets.load_dataset(hub.dataset, config, split=hub.split, revision=hub.revision)
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _reachable(hub: Hub) -> bool:
    """Whether the hub answers at all. Asked first, since `datasets` goes on trying for minutes."""
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi(endpoint=datasets.config.HF_ENDPOINT)
        api.dataset_info(hub.dataset, revision=hub.revision, timeout=HUB_SECONDS)
    except HfHubHTTPError:
        return True
    except Exception:
        return False
    return True


def _revision_of(found: Any) -> str | None:
    """The commit that a loaded dataset was built from, which its cache folder is named by."""
    files = [Path(file["filename"]) for file in found.cache_files]
    names = [part for file in files for part in file.parts if re.fullmatch("[0-9a-f]{40}", part)]
    return names[-1] if names else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0]
