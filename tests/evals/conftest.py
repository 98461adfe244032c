"""Small run folders to report on, with trees of every kind and hostile text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "\u202e\x1b[31m{{7*7}} ${7*7} $x_1^2$ <!-- @@data@@"
)
UNUSED = ("prompt_tokens", "cached_tokens", "calls", "cancelled_calls", "failed_calls")


def flat_tree(problem: str, answers: list[str], score: float) -> RolloutTree:
    """Whole solutions side by side, and a cancelled one."""
    tree = RolloutTree(problem)
    for slot, answer in enumerate(answers):
        text = f"So \\boxed{{{answer}}}."
        sample = Sample(text, token_ids=(1, 2), prompt_tokens=5, generated_tokens=9 + slot)
        node = tree.add(tree.root, slot, sample)
        node.scores, node.emitted = {"prm": (score, score / 2)}, (1.0, 0.0)
    tree.add(tree.root, len(answers), Sample("", finish="cancelled", generated_tokens=9))
    return tree


def deep_tree(problem: str, text: str) -> RolloutTree:
    """Steps: one branch that ends, one cut, one stopped by the limit, one failed."""
    tree = RolloutTree(problem)
    first = tree.add(
        tree.root, 0, Sample("One. ", finish="stop", prompt_tokens=5, generated_tokens=5)
    )
    last = tree.add(first, 0, Sample(text, finish="end", generated_tokens=7))
    tree.add(first, 2, Sample("Cut. ", finish="stop", generated_tokens=4))
    tree.add(tree.root, 1, Sample("Long " * 300, finish="length", generated_tokens=300))
    tree.add(tree.root, 3, Sample("", finish="failed", info={"error": "E: no \x1b[0m luck"}))
    first.scores, last.scores = {"prm": (0.5,)}, {"prm": (0.9,)}
    last.emitted = (1.0, 0.0)
    return tree


def candidates(paths: list[list[int]], answers: list[str], score: float) -> list[dict[str, Any]]:
    return [
        {"path": path, "answer": answer, "key": answer, "correct": answer == "2"}
        | {"weight": 1.0, "rank": 0.0, "steps": [score, score / 2]}
        for path, answer in zip(paths, answers, strict=True)
    ]


def result(number: int, strategy: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of results.jsonl; problem 1 is hostile."""
    usage = dict.fromkeys(UNUSED, 0) | {"generated_tokens": 30 * len(found), "wasted_tokens": 9}
    usage |= {"verifier_calls": 3, "verifier_tokens": 50, "critical_tokens": 20, "seconds": 0.5}
    return {
        "problem": f"p{number}",
        "strategy": strategy,
        "question": HOSTILE if number == 1 else f"p{number}: what is 1 + 1?",
        "answer": found[0]["answer"],
        "gold": "2",
        "correct": found[0]["correct"],
        "stop_reason": "finished",
        "candidates": found,
        "usage": usage,
        "failures": [],
        "meta": {"level": 1 + number % 2, **({"note": HOSTILE} if number == 1 else {})},
    }


def write_run(folder: Path, *, name: str = "small", task: str = "sums", problems: int = 6) -> Path:
    """Three strategies on a few problems; they differ on the odd ones."""
    store = Store(folder)
    manifest = {"run": {"name": name, "task": {"name": task}, "verifier": "prm"}, "notes": []}
    with store.opened(manifest):
        for i in range(problems):
            score, first = 0.2 + 0.1 * i, "3" if i % 2 else "2"
            for answers in ([first, "3"], ["2", "3", "2"]):
                found = candidates([[s] for s in range(len(answers))], answers, score)
                line = result(i, f"vote-n={len(answers)}", found)
                store.append(line, flat_tree(f"p{i}", answers, score))
            answer = HOSTILE if i == 1 else "2"
            line = result(i, "deep", candidates([[0, 0]], [answer], score))
            store.append(line, deep_tree(f"p{i}", answer))
    names = [{"name": s, "independent": s != "deep"} for s in ("vote-n=2", "vote-n=3", "deep")]
    store.write_json("summary.json", {"notes": ["verifier oracle looks"], "strategies": names})
    return folder


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Writes a run folder."""
    return write_run


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody changes."""
    return write_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def hostile() -> str:
    """What problem 1 of every run is full of."""
    return HOSTILE
