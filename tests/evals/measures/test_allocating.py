"""From a run over a grid of settings to what a limit of tokens is best spent on."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from evals.measures.allocation import measure
from evals.measures.finding import NotMeasuredError
from evals.measures.stored import Stored
from evals.statistics.intervals import Interval
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse

PASSAGES = [f"Passage {i}." for i in range(8)]
READER = """\
from reasoning.backends.scripted import Scripted
from reasoning.tree import Sample

def reader() -> Scripted:
    '''Right where at least as many passages were read as the problem's number asks for.'''
    def reply(prompt, seed):
        said = prompt.messages[-1].content
        read = said.count("Passage ")
        text = "\\\\boxed{1}" if read >= prompt.problem.meta["needs"] else "\\\\boxed{2}"
        tokens = len(said.split())
        return Sample(text, finish="stop", generated_tokens=1, prompt_tokens=tokens)
    return Scripted(reply)
"""


def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategies: list[dict[str, Any]], n: int = 12
) -> Stored:
    (tmp_path / "reader_of_passages.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    quiz = tmp_path / "quiz.jsonl"
    rows = [{"question": f"Why {i}?", "answer": "1", "needs": 1 + i % 6} for i in range(n)]
    quiz.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = parse(
        {
            "task": {"name": "jsonl", "path": str(quiz), "prompt": "{question}"},
            "generator": "reader_of_passages:reader",
            "strategies": strategies,
        }
    )
    asyncio.run(runner.run(recipe, tmp_path / "run"))
    return Stored([tmp_path / "run"])


def drag(**params: Any) -> dict[str, Any]:
    return {"searcher": "program", "program": "drag", "corpus": PASSAGES, **params}


def test_a_grid_in_one_line_and_what_each_limit_is_spent_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More passages help, more samples only cost: the law never buys these."""
    found = measure(run(tmp_path, monkeypatch, [drag(k=[1, 2, 4, 6], samples=[1, 2])]))
    assert len(found.rows) == 8
    assert [row[1] for row in found.rows if "samples=2" in str(row[1])] == []
    choices = [str(row[1]) for row in found.rows]
    assert choices == sorted(choices)
    assert choices[0].startswith("k=1")
    assert choices[-1].startswith("k=6")
    assert "chooses k=6, samples=1; its choices reach 100.0% of the best" in found.says
    measured = [row[3] for row in found.rows]
    assert [x.value for x in measured if isinstance(x, Interval)] == sorted(
        {"k=1": 2 / 12, "k=2": 4 / 12, "k=4": 8 / 12, "k=6": 1.0}[c.split(",")[0]] for c in choices
    )
    (law,) = found.notes
    assert re.fullmatch(r"logit P = \+2\.40 log k, [+-]0\.00 log samples -1\.88, R2 .+", law)


def test_where_nothing_differs_no_number_is_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads enough for any of these: logits have no spread, and no choice is right."""
    strategies = [{"searcher": "self_consistency", "n": [1, 2]}]
    found = measure(run(tmp_path, monkeypatch, strategies))
    assert "no setting is right on any problem" in found.says
    assert "nan" not in found.says + " ".join(found.notes)
    assert "R2" not in found.notes[0]


def test_what_is_no_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = run(tmp_path, monkeypatch, [drag(k=2), {"searcher": "sample"}])
    with pytest.raises(NotMeasuredError, match="settings of one searcher that differ in numbers"):
        measure(stored)


def test_too_few_settings_are_no_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = run(tmp_path, monkeypatch, [drag(k=1, samples=1), drag(k=2, samples=2)])
    with pytest.raises(NotMeasuredError, match="no law can be fitted: 2 settings do not tell"):
        measure(stored)
