"""What is shown does nothing to the terminal, whatever models, servers and recipes say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.report.plot import accuracy_plot
from reasoning.cli import show
from reasoning.result import Result
from reasoning.tree import RolloutTree
from reasoning.usage import Usage

EVIL = "[red]\x1b]0;owned\x07\x9b31m\u202e$x_{$"
SEEN = "[red]<U+001B>]0;owned<U+0007><U+009B>31m<U+202E>$x_{$"


def said(capture: Any) -> str:
    text: str = capture.get()
    assert not set("\x1b\x07\x9b\u202e") & set(text)
    return text


def test_an_answer_and_a_failure() -> None:
    result = Result(EVIL, "finished", Usage(), [], RolloutTree("q"), failures=[EVIL])
    with show.console.capture() as capture:
        show.show_result(result)
    assert said(capture).replace("\n", "").count(SEEN) == 2


def test_what_a_server_says_of_itself() -> None:
    with show.console.capture() as capture:
        show.show_description({"model": EVIL})
    assert f"model: {SEEN}" in said(capture)


def summary() -> dict[str, Any]:
    row = {
        "name": EVIL, "searcher": EVIL, "aggregator": EVIL, "problems": 1, "accuracy": 0.5,
        "ci95": [0.1, 0.9], "generated_tokens": 10, "wasted_tokens": 0, "verifier_calls": 0,
        "failed_calls": 1, "failures": [EVIL], "params": {},
    }  # fmt: skip
    return {"name": EVIL, "task": EVIL, "problems": 1, "notes": [EVIL], "strategies": [row]}


def test_a_summary_of_names_and_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.console, "width", 200)
    with show.console.capture() as capture:
        show.show_summary(summary(), tmp_path)
    assert said(capture).count(SEEN) >= 4
    assert (tmp_path / "accuracy.png").exists()


def test_dollars_are_no_formula(tmp_path: Path) -> None:
    assert accuracy_plot(summary(), tmp_path / "a.png")


def test_a_recipe_s_name_in_the_progress_line() -> None:
    with show.ProgressLine("{task.__class__}[red]{") as line:
        (text,) = [c.text_format for c in line._bar.columns[:1] if hasattr(c, "text_format")]
    assert text.format(task=None) == r"{task.__class__}\[red]{"
