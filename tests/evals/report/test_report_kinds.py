"""What else a tree may hold: written text, probes, turns, sources, models; and failed searches."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evals.report import numbers, write
from evals.report.load import load
from evals.report.terminal import show_comparison, show_tree
from evals.report.trees import STATES, abstained, read_calls
from evals.statistics.compute import processed
from evals.statistics.summary import summarise
from reasoning.problem import Message
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample, TopLogprobs, Turn

FAILED = 'Traceback (most recent call last):\n  File "x.py", line 3\nIndexError: none left'
NONE = {"wasted_tokens": 0, "prompt_tokens": 0, "cached_tokens": 0, "calls": 1}
NONE |= {"cancelled_calls": 0, "failed_calls": 0, "retried_calls": 0, "verifier_calls": 0}
NONE |= {"verifier_tokens": 0, "critical_tokens": 9, "seconds": 1.0}


def tree() -> RolloutTree:
    """A thought, a hint, a probe, another model's answer to two messages, a summary of both."""
    found = RolloutTree("p")
    top = TopLogprobs((("a", "]], b"),), np.array([[-0.1, -2.0]], "float32"))
    thought = found.add(found.root, 0, Sample("Hm. ", finish="stop", prompt_tokens=7,
                                              generated_tokens=4, top_logprobs=top))  # fmt: skip
    hint = found.add(thought, 0, Sample("Wait. ", finish="written"))
    found.add(hint, 0, Sample("\\boxed{2}", prompt_tokens=13, generated_tokens=5))
    look = {"suffix": "So", "ended": "length"}
    found.add(thought, 1, Sample("2", finish="probe", prompt_tokens=12, generated_tokens=1,
                                 info=look))  # fmt: skip
    said = Turn((Message("assistant", "I doubt it."), Message("user", "Are you sure?")))
    sure = Sample("Yes.", model="big", prompt_tokens=30, generated_tokens=2)
    found.add(thought, 2, sure, said, sources=((0, 0, 0),))
    final = Sample("So \\boxed{2}", finish="written")
    found.add(found.root, 1, final, Turn.user("Sum up.", afresh=True), sources=((0, 2), (0, 0, 0)))
    return found


def result(**change: Any) -> dict[str, Any]:
    paths = [[0, 0, 0], [1]]
    candidates = [
        {"path": path, "answer": "2", "key": "2", "correct": True, "weight": 1.0, "steps": []}
        for path in paths
    ]
    share = {"calls": 1, "generated_tokens": 2, "prompt_tokens": 30, "cached_tokens": 0}
    usage = NONE | {"generated_tokens": 12, "prompt_tokens": 62, "probe_tokens": 1}
    usage |= {"tool_calls": 3, "money": 0.25, "models": {"big": share}}
    line = {"problem": "p", "strategy": "s", "question": "1 + 1?", "gold": "2", "answer": "2"}
    line |= {"correct": True, "stop_reason": "finished", "candidates": candidates, "usage": usage}
    return {**line, "failures": [], "confidence": 0.75, "text": "So", "node": [1], **change}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("kinds") / "run")
    sizes = {"generator": 1e9, "verifier": None, "models": {"big": 1e10}}
    with store.opened({"run": {"name": "kinds", "task": "t"}, "parameters": {"s": sizes}}):
        store.append(result(), tree())
        store.append(result(problem="q", answer=None, correct=False, node=None), tree())
        lost = {"answer": None, "correct": False, "candidates": [], "stop_reason": "failed"}
        failed = result(problem="r", **lost, failures=["a call", FAILED], node=None)
        store.append(failed, tree())
    return store.folder


def printed(run: Path, problem: str) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        show_tree(run, problem, "s", console)
    assert max(map(len, capture.get().splitlines())) <= 80
    return capture.get()


def test_the_terminal_shows_them(run: Path) -> None:
    text = " ".join(printed(run, "p").split())
    for words in (
        "✎ 0 written Wait.",
        "? 1 probe 1 tok 2",
        "assistant: I doubt it. │ user: Are you sure? │ read: 0.0.0 │",
        "big 2 tok Yes.",
        "user, anew: Sum up.",
        "read: 0.2, 0.0.0",
        "★ 1 written = 2 ✓ ← the answer So",
        "confidence 0.75",
        "probe tokens 1, tool calls 3, money 0.25, tokens of big 2",
    ):
        assert words in text
    assert "answer none, by choice" in printed(run, "q")
    failed = printed(run, "r")
    assert "the search failed: IndexError: none left" in failed
    assert "Traceback" not in failed


def test_the_page_holds_them(run: Path, tmp_path: Path) -> None:
    written = write([run], tmp_path / "r.html")
    assert "searches that failed: 1; they count as wrong" in " ".join(written.notes)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert block
    first, second, third = json.loads(block[1])["problems"]
    (r,), texts = first["r"], first["texts"]
    names = [list(STATES)[int(code)] for code in r["tree"]["t"]]
    assert names == ["grown", "written", "chosen", "probe", "ended", "chosen"]
    assert r["tree"]["b"] == [1, 5]
    assert (r["tree"]["g"], r["tree"]["win"]) == ({"4": "big"}, 5)
    assert r["tree"]["r"] == {"4": [2], "5": [4, 2]}
    afresh, *said = r["tree"]["m"]["4"]
    assert [[role, texts[place]] for role, place in said] == [
        ["assistant", "I doubt it."],
        ["user", "Are you sure?"],
    ]
    assert (afresh, r["tree"]["m"]["5"][0]) == (0, 1)
    assert r["more"] == [["probe tokens", 1], ["tool calls", 3], ["money", 0.25],
                         ["tokens of big", 2]]  # fmt: skip
    assert (r["conf"], r.get("none")) == (0.75, None)
    assert second["r"][0]["none"] is True
    assert third["r"][0]["failures"] == [FAILED, "a call"], "the traceback stands first"
    for head in ("failed searches", "probe tokens", "tool calls", "money"):
        assert f">{head}</th>" in page
    assert "an error 1" in page


def test_failed_searches_are_wrong_and_counted(run: Path) -> None:
    (line,) = numbers.summary_lines(load([run]))
    assert line.accuracy is not None
    assert (line.failed, line.graded, line.accuracy.value) == (1, 3, pytest.approx(1 / 3))
    console = Console(width=100)
    with console.capture() as capture:
        show_comparison([run], None, console)
    assert "failed" in capture.get()
    rows = [json.loads(x) for x in (run / "results.jsonl").read_text().splitlines()]
    found = summarise(rows, strategies=[{"name": "s"}], problem_ids=["p", "q", "r"])
    (table,) = found["strategies"]
    assert (table["failed_searches"], table["graded"]) == (1, 3)
    assert table["failures"] == ["r: IndexError: none left"]
    assert (table["probe_tokens"], table["tool_calls"], table["money"]) == (3, 9, 0.75)
    assert table["models"]["big"]["generated_tokens"] == 6
    plain = [{**row, "usage": NONE | {"generated_tokens": 1}} for row in rows]
    (table,) = summarise(plain, strategies=[{"name": "s"}], problem_ids=["p"])["strategies"]
    assert not {"probe_tokens", "tool_calls", "money", "models"} & table.keys()


def test_operations_of_its_tree(run: Path) -> None:
    runs = load([run])
    calls = read_calls(Store(run).tree_path("s", "p"))
    assert calls is not None
    # The opening 7, the hint 2, the suffix of the probe 1; 30 in the other model's tokens.
    assert processed(result()["usage"], calls) == {"": 10 + 10, "big": 30 + 2}
    (strategy,) = runs.strategies
    spent = numbers.cost_of(strategy, strategy.rows["p"], "flops")
    assert spent == 2 * (20e9 + 32e10)


def test_none_of_nothing_is_no_choice() -> None:
    assert abstained(result(answer=None))
    assert not abstained(result(answer=None, candidates=[]))
    assert not abstained(result(answer=None, stop_reason="failed"))
    assert not abstained(result())
