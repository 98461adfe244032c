"""Folders that hold anything at all: one clear error, or what can be read of them."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from evals.replay import sources
from evals.report import terminal
from evals.report.embed import embed
from evals.report.load import load
from evals.report.trees import read_calls, read_tree, votes
from reasoning.errors import StoreError, UserError
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample

HOSTILE = {
    "deep": b"[" * 100_000,
    "deeper": b'{"path":' * 100_000,
    "no text": b"\xff\xfe\x80",
    "list": b'[]\n3\nnull\n{"path": [1], "scores": [1]}\n{"path": "ab"}\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tree = RolloutTree("p", 0)
    tree.add(tree.root, 0, Sample("\\boxed{1}", generated_tokens=2))
    candidate = {"path": [0], "answer": "1", "key": "1", "correct": True, "steps": []}
    line = {
        "problem": "p", "strategy": "s", "answer": "1", "correct": True, "candidates": [candidate],
        "usage": {"generated_tokens": 2, "cancelled_calls": 0},
    }  # fmt: skip
    with Store(tmp_path / "run").opened({"run": {"task": "t"}}) as store:
        store.append(line, tree)
    return tmp_path / "run"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["manifest.json", "results.jsonl", "trees/s/p.jsonl"])
@pytest.mark.parametrize("whole", [True, False])
def test_no_folder_ends_in_a_traceback(folder: Path, text: bytes, name: str, whole: bool) -> None:
    file = folder / name
    file.write_bytes(text if whole else file.read_bytes() + text + b"\n")
    console = Console(quiet=True)
    for act in (
        lambda: terminal.show_tree(folder, "p", None, console),
        lambda: terminal.show_comparison([folder], None, console),
        lambda: sources.load(folder),
    ):
        with suppress(UserError):
            act()


def test_numbers_and_labels_that_are_none(folder: Path) -> None:
    """Counts without end are damage; labels are plain values."""
    file = folder / "results.jsonl"
    line = json.loads(file.read_text())
    usages = [{"generated_tokens": math.inf}, {"generated_tokens": 10**400}]
    rows = [line | {"problem": f"q{i}", "usage": usage} for i, usage in enumerate(usages)]
    rows.append(line | {"problem": "r", "meta": {"level": [1], "subject": "x"}})
    with file.open("a") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    runs = load([folder])
    assert list(runs.problems) == ["p", "r"]
    assert runs.problems["r"].meta == {"subject": "x"}
    assert "damaged lines of results.jsonl, left out: 2" in runs.runs[0].troubles


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_damaged_trees(folder: Path, text: bytes) -> None:
    file = folder / "trees" / "s" / "p.jsonl"
    file.write_bytes(file.read_bytes() + text + b"\n")
    with pytest.raises(StoreError, match=r"line \d+ of a stored tree is damaged"):
        RolloutTree.load(file)
    tree = read_tree(file, {})
    assert tree is not None
    assert len(tree.nodes) == 1
    assert tree.damaged
    assert read_calls(file) is None


def test_a_problem_of_any_name_has_its_tree_in_the_page(tmp_path: Path) -> None:
    """What is shown of a name is not the name that its tree is stored under."""
    name = "a\x1b[31mred"
    tree = RolloutTree(name, 0)
    tree.add(tree.root, 0, Sample("\\boxed{1}", generated_tokens=2))
    line = {"problem": name, "strategy": "s", "candidates": [], "usage": {"generated_tokens": 2}}
    with Store(tmp_path / "run").opened({"run": {"task": "t"}}) as store:
        store.append(line, tree)
    page, kept = embed(load([tmp_path / "run"]), 10**6)
    assert (kept.whole, kept.treeless) == (1, 0)
    assert "\x1b" not in page


def test_what_only_pythons_parser_reads_is_read(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 and half a surrogate pair; scores below 0 are the best there are."""
    whole = b'{"strategy": "s", "problem": "%s", "usage": {}, "answer": "%s", "candidates": %s}\n'
    scored = (
        b'[{"path": [0], "key": "1", "steps": [-2.5]}, {"path": [1], "key": "1", "steps": [-3]}]'
    )
    odd = [whole % (b"a", b"\xff", scored), whole % (b"b", b"\\ud800", b"[]")]
    (tmp_path / "results.jsonl").write_bytes(b"".join(odd))
    (strategy,) = load([tmp_path]).strategies
    assert [row.answer for row in strategy.rows.values()] == ["\ufffd", "\ud800"]
    found = strategy.run.result(strategy.rows["a"])
    assert found["answer"] == "\ufffd"
    assert [(g["n"], g["score"]) for g in votes(found)] == [(2, -2.5)]
