"""`reasoning eval` on folders of runs and on recordings: what people see, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from evals.measures.finding import Finding
from evals.measures.latex import tabular
from evals.measures.show import measures, show
from evals.statistics.intervals import Interval
from reasoning.cli.app import app
from reasoning.errors import RecipeError, StoreError

Record = Callable[..., Path]


def asked(*args: object) -> str:
    done = CliRunner().invoke(app, ["eval", *map(str, args)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_every_measure_says_what_it_means_and_what_not() -> None:
    shown = asked("--list")
    for name, module in measures().items():
        assert name in shown
        assert len(module.MEANS) > 40
        assert len(module.NOT) > 40
        assert "arXiv" in (module.__doc__ or "") or name in ("direct", "confidence")


def test_a_recording_is_measured_and_written(tmp_path: Path, recording: Record) -> None:
    source = recording(tmp_path / "samples.jsonl.gz")
    names = ("lengths", "reliability")
    asked(source, *(f"--measure={name}" for name in names), "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "evaluations.json").read_text())
    average = found["reliability"]["rows"][0]["worst@k"]["value"]
    assert average == pytest.approx(sum(range(6)) / 48)
    rows = list(csv.DictReader((tmp_path / "out" / "lengths.csv").read_text().splitlines()))
    longer = next(r for r in rows if r["tokens"] == "wrong less right, same problem")
    assert (float(longer["value"]), longer["problems"]) == (20.0, "5")
    for kind in ("png", "svg", "pdf", "tex"):
        assert (tmp_path / "out" / f"reliability.{kind}").stat().st_size > 100


def test_a_run_is_measured(small_run: Path) -> None:
    shown = asked(small_run, "--measure", "fragile", "--measure", "reliability")
    assert "needs a greedy answer" in shown.replace("\n", " ")
    shown = asked(small_run, "--measure", "fragile", "--greedy", "vote-n=3")
    assert "hidden failures" in shown
    assert "Keep in mind: The share of fragile problems" in shown


def test_a_wide_table_breaks_no_number() -> None:
    rows = [
        (
            f"self_consistency-n={n}-{'weighted_' * n}majority",
            12,
            *[Interval(0.25, 0.125, 1.0, "bootstrap")] * 4,
        )
        for n in (4, 16)
    ]
    head = ("strategy", "problems", "accuracy", "confident if right", "if wrong", "AUROC")
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        show("wide", Finding("Said.", head, rows), console)
    shown = capture.get()
    assert shown.count("(0.12-1.00)") == 8
    assert max(map(len, shown.splitlines())) <= 80


def test_one_problem_alone_tells_nothing_of_others(tmp_path: Path, recording: Record) -> None:
    shown = {
        rows: asked(recording(tmp_path / f"{rows}.jsonl.gz", rows=rows), "--measure", "lengths")
        for rows in (1, 2)
    }
    assert "one problem alone: an interval that has no width says nothing" in shown[1]
    assert "one problem alone" not in shown[2]


def test_what_an_option_is_about_is_looked_for_whatever_is_measured(small_run: Path) -> None:
    with pytest.raises(RecipeError, match="unknown strategy 'nope'"):
        asked(small_run, "--measure", "lengths", "--greedy", "nope")
    with pytest.raises(RecipeError, match="--max-tokens is for samples of a file"):
        asked(small_run, "--measure", "lengths", "--max-tokens", 5)


def test_what_cannot_be_is_refused(small_run: Path, tmp_path: Path, recording: Record) -> None:
    source = recording(tmp_path / "one.jsonl.gz", samples=1)
    with pytest.raises(RecipeError, match="2 samples a problem, and there are 1"):
        asked(source, "--measure", "reliability")
    with pytest.raises(RecipeError, match="did you mean 'coverage'"):
        asked(small_run, "--measure", "coverag")
    with pytest.raises(RecipeError, match="no such file or folder"):
        asked(tmp_path / "nowhere")


def test_what_is_in_the_way_of_an_output_names_its_option(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file cannot be written: File exists; .* another --out"):
        asked(small_run, "--measure", "lengths", "--out", tmp_path / "file")
    page = ["report", str(small_run), "--out", str(tmp_path / "page.html")]
    for option in ("--tables", "--figures", "--csv"):
        way = tmp_path / "file" / "x" if option == "--csv" else tmp_path / "file"
        done = CliRunner().invoke(app, [*page, option, str(way)])
        assert isinstance(done.exception, StoreError)
        assert str(done.exception).endswith(f"; choose another {option}")


def test_latex_shows_text_as_it_is() -> None:
    text = tabular(("a_b", "c"), [["5 %", "$x$"]], "50 % & more")
    assert r"a\_b & c \\" in text
    assert r"5 \% & \$x\$ \\" in text
    assert r"\caption{50 \% \& more}" in text
    assert r"\begin{tabular}{lr}" in text
