"""Folders of runs as they are while somebody looks: running, over, of shards; one is hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "\u202e\x1b[31m{{7*7}} ${7*7} <!-- @@script@@"
)


def tree(problem: str, texts: list[str]) -> RolloutTree:
    """A step below which stand candidates with the texts, the first of them scored."""
    found = RolloutTree(problem)
    first = found.add(found.root, 0, Sample("One. ", finish="stop", generated_tokens=5))
    first.scores = {"prm": (0.25,)}
    for slot, text in enumerate(texts):
        node = found.add(first, slot, Sample(text, finish="end", generated_tokens=3))
        node.emitted = (1.0, 0.0)
    found.add(found.root, 1, Sample("Two. ", finish="stop", generated_tokens=4))
    return found


def result(problem: str, strategy: str, answers: list[str], **more: Any) -> dict[str, Any]:
    """A line of results.jsonl: the first answer is chosen."""
    found = [{"path": [0, i], "answer": a, "key": a} for i, a in enumerate(answers)]
    usage = {"generated_tokens": 100, "wasted_tokens": 10, "calls": 4, "failed_calls": 1}
    return {
        "problem": problem,
        "strategy": strategy,
        "question": f"{problem}: what is 1 + 1?",
        "answer": answers[0],
        "gold": "2",
        "correct": answers[0] == "2",
        "stop_reason": "finished",
        "candidates": found,
        "node": [0, 0],
        "usage": usage,
        "failures": ["generating (0,): TransientError: no luck"],
        **more,
    }


def write(
    folder: Path, *, name: str = "small", problems: range = range(3), **manifest: Any
) -> Path:
    """Some problems of a run, as far as they are done; there is no summary yet."""
    run = {"name": "small", "task": {"name": "sums"}}
    told = {"run": run, "notes": [], "independent": {"vote": True, "later": True}, **manifest}
    store = Store(folder)
    with store.opened(told):
        for i in problems:
            answers = [["2", "3"], ["3", "2"]][i % 2]
            store.append(result(f"p{i}", "vote", answers), tree(f"p{i}", answers))
    return folder


def look(**more: Any) -> dict[str, Any]:
    """A search as `live.json` has it."""
    nodes = {"0": {"s": "grown", "n": 5, "t": "One. "}, "0.0": {"s": "candidate", "n": 3, "a": "2"}}
    told = {"strategy": "vote", "problem": "p9", "nodes": 2, "tokens": 8, "limit": 500}
    return {"key": "vote p9", **told, "failures": 0, "question": "What?", "tree": nodes, **more}


def live(folder: Path, **more: Any) -> None:
    """Write `live.json`."""
    told = {
        "version": 1, "at": 1000.0, "seconds": 30.0, "problems": 10, "done": 3, "new_done": 3,
        "tokens": 400, "calls": 12, "in_flight": 7, "most_in_flight": 32, "running": 1,
        "spent": {"tokens": [400, 1000]}, "searches": [look()], **more,
    }  # fmt: skip
    (folder / "live.json").write_text(json.dumps(told))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that goes on."""
    made = write(tmp_path / "run")
    live(made)
    return made


@pytest.fixture(scope="session")
def writing() -> Callable[..., Path]:
    """`write`."""
    return write


@pytest.fixture(scope="session")
def telling() -> Callable[..., None]:
    """`live`."""
    return live


@pytest.fixture(scope="session")
def looking() -> Callable[..., dict[str, Any]]:
    """`look`."""
    return look


@pytest.fixture
def hostile_run(tmp_path: Path) -> Path:
    """One in which every text is hostile."""
    made = tmp_path / "hostile"
    run = {"name": HOSTILE, "task": {"name": HOSTILE}}
    store = Store(made)
    with store.opened({"run": run, "notes": [HOSTILE], "independent": {HOSTILE: True}}):
        failures = [f"generating (0,): TransientError: {HOSTILE}", f"{HOSTILE}: __proto__: x"]
        told = {"question": HOSTILE, "gold": HOSTILE, "failures": failures, "error": HOSTILE}
        line = result(HOSTILE, HOSTILE, [HOSTILE, "2"], **told)
        store.append(line, tree(HOSTILE, [HOSTILE, HOSTILE * 5000]))
    nodes = {"0": {"s": HOSTILE, "n": 1, "t": HOSTILE, "a": HOSTILE, "m": HOSTILE}, "__proto__": {}}
    names = {"strategy": HOSTILE, "problem": HOSTILE, "question": HOSTILE}
    live(made, why=HOSTILE, searches=[look(key=HOSTILE, **names, tree=nodes), "no search", 3])
    return made


@pytest.fixture(scope="session")
def hostile() -> str:
    return HOSTILE
