"""Exported tables say what the run says, exactly, and never 0 for what is not known."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reasoning.cli.app import app
from reasoning.errors import RecipeError, StoreError
from reasoning.integrations.columns import RESULTS, SAMPLES, markdown
from reasoning.integrations.export import export, frame
from reasoning.integrations.rows import StoredRun, results, samples
from reasoning.runs.store import Store

ByHand = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[3]
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def parquet(run: StoredRun, out: Path, **options: Any) -> Any:
    (file,) = export(run, "parquet", out, **options)
    return pq.read_table(file)


def test_rows_add_up_to_what_the_run_has_spent(small: Path) -> None:
    run = StoredRun.open(small)
    stored = [*Store(small).results()]
    rows, lines = [*samples(run)], [*results(run)]
    assert len(lines) == len(stored) == 6
    spent = sum(line["usage"]["generated_tokens"] for line in stored)
    assert sum(row["new_tokens"] for row in rows) == spent
    assert sum(line["generated_tokens"] for line in lines) == spent
    assert sum(row["candidate"] for row in rows) == sum(len(s["candidates"]) for s in stored)
    assert sum(row["chosen"] for row in rows) == sum("node" in s for s in stored)
    assert "cancelled" in {row["finish"] for row in rows}
    texts = {(r["strategy"], r["problem"]): r["text"] for r in rows if r["chosen"]}
    assert all(s["text"] == texts[s["strategy"], s["problem"]] for s in stored if "node" in s)
    scored = [row for row in rows if row["strategy"].startswith("best_of_n")]
    for row in scored:
        assert row["scores"] == [{"verifier": "nano_prm", "steps": row["steps"]}]
    assert {row["strategy"] for row in samples(StoredRun.open(small, ["first_finish-n=2"]))} == {
        "first_finish-n=2"
    }


def test_parquet_is_exact_and_of_one_schema(small: Path, by_hand: ByHand, tmp_path: Path) -> None:
    other = by_hand({"p/10": ["a\ud83d", "=1+1"], "p/9": [], "é 1": ["-5"]}, confidence=0.1 + 0.2)
    mine = parquet(StoredRun.open(other), tmp_path / "deep" / "a.parquet", logprobs=True)
    theirs = parquet(StoredRun.open(small), tmp_path / "b.parquet", logprobs=True)
    assert mine.schema.equals(theirs.schema)
    assert mine.column_names == [*(c.name for c in SAMPLES), "logprobs"]
    rows = mine.to_pylist()
    assert [(r["problem"], r["slot"], r["text"]) for r in rows] == [
        ("p/10", 0, "a\ufffd"),
        ("p/10", 1, "=1+1"),
        ("é 1", 0, "-5"),
    ]
    assert rows[0]["weight"] == 0.1 + 0.2
    assert rows[0]["correct"] is None
    assert rows[0]["logprob"] == sum(rows[0]["logprobs"])
    told = parquet(StoredRun.open(other), tmp_path / "c.parquet", table="results").to_pylist()
    assert [t["problem"] for t in told] == ["p/9", "p/10", "é 1"]  # none is lost
    assert {(t["confidence"], t["money"], t["gold"]) for t in told} == {(0.1 + 0.2, None, None)}


def test_csv_reads_back_and_no_cell_is_a_formula(by_hand: ByHand, tmp_path: Path) -> None:
    run = StoredRun.open(by_hand({"p": ["=1+1", "-5", 'a,\n"b"', "@x"]}))
    (file,) = export(run, "csv", tmp_path / "s.csv")
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [*csv.DictReader(lines)]
    assert [r["text"] for r in rows] == ["'=1+1", "-5", 'a,\n"b"', "'@x"]
    assert {r["candidate"] for r in rows} == {"true"}
    assert rows[0]["correct"] == rows[0]["model"] == ""
    assert float(rows[0]["weight"]) == 0.1 + 0.2
    assert json.loads(rows[0]["scores"]) == []


def test_frames_and_feather_agree(small: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    found = frame(small)
    (file,) = export(StoredRun.open(small), "dataframe", tmp_path / "s.feather")
    read = pandas.read_feather(file)
    assert list(found.columns) == list(read.columns)
    assert found.text.tolist() == read.text.tolist()
    assert found.correct.isna().sum() == (~found.candidate).sum()
    assert list(frame(small, "results").columns) == [c.name for c in RESULTS]


def test_a_data_set_loads(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, *files = export(StoredRun.open(small), "dataset", tmp_path / "set")
    yaml = pytest.importorskip("yaml")
    _, head, body = card.read_text(encoding="utf-8").split("---\n", 2)
    configs = yaml.safe_load(head)["configs"]
    assert [tmp_path / "set" / c["data_files"] for c in configs] == files
    assert '"searcher": "best_of_n"' in body
    assert pq.read_table(files[1]).num_rows == 6


def test_what_is_lost_or_withheld_is_empty_and_said(by_hand: ByHand) -> None:
    folder = by_hand({"p": ["a", "b"], "q": ["c"]})
    Store(folder).tree_path("s", "p").write_text("no tree")
    run = StoredRun.open(folder)
    rows = [*samples(run)]
    assert [(r["problem"], r.get("text"), r.get("tokens")) for r in rows] == [
        ("p", None, None),
        ("p", None, None),
        ("q", "c", 0),
    ]
    assert any("trees that are missing or damaged: 1" in note for note in run.notes)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"run": {}, "task": {"name": "t", "private": True}}))
    hidden = StoredRun.open(folder)
    assert {(r.get("text"), r["question"]) for r in samples(hidden)} == {(None, None)}
    assert any("asks not to show" in note for note in hidden.notes)


def test_mistakes_are_named(small: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no results\.jsonl"):
        StoredRun.open(tmp_path)
    with pytest.raises(RecipeError, match="did you mean 'first_finish-n=2'"):
        StoredRun.open(small, ["first_finish-n=3"])
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="choose another --out"):
        export(StoredRun.open(small), "csv", tmp_path / "file" / "s.csv")


def test_the_command(small: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["export", str(small), "--to", "csv", "--table", "results", "--out", str(tmp_path / "r")],
    )
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "r").read_text().splitlines()) == 7


def test_the_page_has_every_column() -> None:
    page = (ROOT / "docs" / "integrations" / "export.md").read_text(encoding="utf-8")
    assert page.endswith(markdown()), "python -m reasoning.integrations.columns writes the tables"
