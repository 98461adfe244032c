"""Runs as tables in files of others: Parquet, CSV, Arrow, a data set that `datasets` loads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from reasoning.integrations import Format, Table, needed
from reasoning.integrations.columns import LOGPROBS, RESULTS, SAMPLES, Column
from reasoning.integrations.rows import Row, StoredRun, results, samples
from reasoning.runs.files import drafted

SUFFIX: Mapping[Format, str] = {"parquet": ".parquet", "csv": ".csv", "dataframe": ".feather"}
BATCH = 512
"""Rows that are held at once."""


def frame(run: str | Path, table: Table = "samples", *, strategies: Sequence[str] = ()) -> Any:
    """A run as a pandas.DataFrame, with Arrow's types: what is not known is NA, never NaN or 0.

    Raises StoreError for a folder that is no run's, RecipeError for a strategy it lacks.
    """
    pandas = needed("pandas", "a data frame", "pandas")
    found = StoredRun.open(run, strategies)
    rows = [*_rows(found, table, False)]
    arrow = _arrow().Table.from_pylist(rows, schema=_schema(_columns(table, False)))
    return arrow.to_pandas(types_mapper=pandas.ArrowDtype)


def export(
    run: StoredRun, to: Format, out: Path, *, table: Table = "samples", logprobs: bool = False
) -> list[Path]:
    """Write a run to `out`; the files. Raises StoreError where that cannot be written."""
    if to == "dataset":
        return _dataset(run, out, logprobs)
    if to == "inspect":
        from reasoning.integrations import inspect_export

        return inspect_export.export(run, out)
    columns = _columns(table, logprobs)
    writers: dict[str, Callable[[Path, Sequence[Column], Iterable[Row]], None]] = {
        "parquet": _parquet,
        "csv": _csv,
        "dataframe": _feather,
    }
    with drafted(out) as draft:
        writers[to](draft, columns, _rows(run, table, logprobs))
    return [out]


def _columns(table: Table, logprobs: bool) -> Sequence[Column]:
    if table == "results":
        return RESULTS
    return (*SAMPLES, LOGPROBS) if logprobs else SAMPLES


def _rows(run: StoredRun, table: Table, logprobs: bool) -> Iterator[Row]:
    return results(run) if table == "results" else samples(run, logprobs=logprobs)


# ------------------------------------------------------------------------------------ Arrow


def _arrow() -> Any:
    return needed("pyarrow", "this format", "pyarrow")


def _schema(columns: Sequence[Column]) -> Any:
    """The same for every run, whatever stands in it."""
    pa = _arrow()
    kinds = {
        "text": pa.string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "truth": pa.bool_(),
        "texts": pa.list_(pa.string()),
        "numbers": pa.list_(pa.float64()),
        "scores": pa.list_(
            pa.struct([("verifier", pa.string()), ("steps", pa.list_(pa.float64()))])
        ),
    }
    return pa.schema([(c.name, kinds[c.kind]) for c in columns])


def _batches(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[Any]:
    schema, rows = _schema(columns), iter(rows)
    while batch := [*islice(rows, BATCH)]:
        yield _arrow().Table.from_pylist(batch, schema=schema)


def _parquet(out: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    parquet = needed("pyarrow.parquet", "Parquet", "pyarrow")
    with parquet.ParquetWriter(out, _schema(columns), compression="zstd") as writer:
        for batch in _batches(columns, rows):
            writer.write_table(batch)


def _feather(out: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    pa = _arrow()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(out), _schema(columns), options=options) as writer:
        for batch in _batches(columns, rows):
            writer.write_table(batch)


# -------------------------------------------------------------------------------------- CSV


def _csv(out: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Empty is unknown, lists are JSON, floats exact; no cell is a formula to a spreadsheet."""
    with out.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([c.name for c in columns])
        for row in rows:
            table.writerow([_cell(row.get(c.name)) for c in columns])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    acts = value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _numeric(value)
    return f"'{value}" if acts else value


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --------------------------------------------------------------------------------- data set


def _dataset(run: StoredRun, out: Path, logprobs: bool) -> list[Path]:
    """A folder that `datasets.load_dataset` reads, with a card that says what is in it."""
    files = []
    for table in get_args(Table):
        path = out / "data" / f"{table}.parquet"
        files += export(run, "parquet", path, table=table, logprobs=logprobs)
    card = out / "README.md"
    with drafted(card) as draft:
        draft.write_text(_card(run), encoding="utf-8")
    return [card, *files]


def _card(run: StoredRun) -> str:
    configs = "".join(
        f"- config_name: {table}\n  data_files: data/{table}.parquet\n"
        + ("  default: true\n" if table == "samples" else "")
        for table in get_args(Table)
    )
    told = [f"Samples and results of the run `{run.name}` on the task `{run.task}`."]
    if run.licence:
        told.append(
            f"The problems' licence: {run.licence}. For evaluation only: do not train on them."
        )
    told += [f"Note: {note}." for note in dict.fromkeys(run.notes)]
    recipe = json.dumps(run.manifest.get("run") or {}, indent=2, ensure_ascii=False)
    body = "\n\n".join([f"# {run.name}", *told, f"What was run:\n\n```json\n{recipe}\n```"])
    return f"---\nconfigs:\n{configs}---\n\n{body}\n"
