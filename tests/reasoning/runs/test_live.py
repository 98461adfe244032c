"""What a strategy gets in a run is what it would get alone; and nothing it does ends the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reasoning.aggregators import Candidate
from reasoning.backends.scripted import Scripted
from reasoning.generate import Generator
from reasoning.runs import names
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.runs.record import Record
from reasoning.runs.store import Store
from reasoning.search import Search


def words(n: int, answer: int) -> str:
    """n words, of which the last is the answer."""
    return "word " * (n - 1) + f"\\boxed{{{answer}}}"


SOLUTIONS = [words(90, 1), words(10, 2), words(50, 3), words(60, 4)]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.jsonl"
    rows = [{"id": f"p{i}", "question": f"What is {i}?", "answer": "2"} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def timed() -> Scripted:
    return Scripted(SOLUTIONS, token_seconds=0.1)


def results(
    questions: Path, out: Path, strategies: Sequence[dict[str, Any]], **recipe: Any
) -> dict[str, Record]:
    """The results of the first problem by strategy."""
    data = {
        "task": {"name": "jsonl", "path": str(questions)},
        "generator": "scripted",
        "strategies": list(strategies),
        **recipe,
    }
    asyncio.run(runner.run(parse(data), out))
    lines = [Record.from_json(line) for line in Store(out).results()]
    return {line.strategy: line for line in lines if line.problem == "p0"}


RACE = {"searcher": "first_finish", "n": 4}
VOTE = {"searcher": "self_consistency", "n": 4}
ADAPT = {"searcher": "adaptive_consistency", "n": 4}


@pytest.mark.parametrize(
    "recipe", [{"share_samples": False}, {"limits": {"seconds": 60}}, {"limits": {"seconds": 6}}]
)
def test_the_order_of_strategies_does_not_matter(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any]
) -> None:
    monkeypatch.setattr("reasoning.backends.scripted.scripted", timed)
    orders = [[VOTE, RACE, ADAPT], [RACE, ADAPT, VOTE], [ADAPT, VOTE, RACE]]
    runs = [results(questions, tmp_path / str(i), o, **recipe) for i, o in enumerate(orders)]
    alone = {
        name: results(questions, tmp_path / name, [strategy], **recipe)[f"{name}-n=4"]
        for name, strategy in (("first_finish", RACE), ("adaptive_consistency", ADAPT))
    }
    for run in runs:
        for name, line in run.items():
            assert line.answer == runs[0][name].answer
            assert line.usage == runs[0][name].usage
        for name, line in alone.items():
            assert run[f"{name}-n=4"].usage == line.usage
    race = runs[0]["first_finish-n=4"]
    assert (race.answer, race.usage["generated_tokens"], race.usage["seconds"]) == ("2", 40, 1.0)


async def buggy(search: Search) -> None:
    """Fails on one problem, after it has drawn something."""
    await search.draws(search.root, 2, until="end", land=search.emit)
    if search.problem.id == "p1":
        _ = [][3]


def picky(candidates: Sequence[Candidate]) -> Candidate | None:
    """Fails wherever it has to choose."""
    raise KeyError("nothing to choose by")


def test_one_failed_search_is_one_failed_result(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Scripted(SOLUTIONS))
    here = "tests.reasoning.runs.test_live"
    monkeypatch.setattr(names, "_foreign", lambda kind, name: globals()[name.split(":")[1]])
    strategies = [
        {"name": "buggy", "searcher": f"{here}:buggy"},
        {"name": "picky", "searcher": "sample", "aggregator": f"{here}:picky"},
        {"name": "fine", "searcher": "sample"},
    ]
    first = results(questions, tmp_path / "out", strategies)
    assert first["buggy"].stop_reason == "finished"
    lines = [Record.from_json(line) for line in Store(tmp_path / "out").results()]
    assert len(lines) == 9
    failed = {(line.strategy, line.problem): line for line in lines if line.stop_reason == "failed"}
    assert set(failed) == {("buggy", "p1"), *(("picky", f"p{i}") for i in range(3))}
    line = failed["buggy", "p1"]
    assert line.error is not None
    assert "list index out of range" in line.error
    assert (line.answer, line.correct) == (None, False)
    assert line.usage["generated_tokens"] == 100  # what it has drawn is paid for
    assert line.failures[-1] == "IndexError: list index out of range"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    again = results(questions, tmp_path / "out", strategies)  # finished: nothing is done twice
    assert again["buggy"] == first["buggy"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


def test_several_models_are_recorded_resumed_and_counted_by_name(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Named(Scripted):
        async def generate(self, prompt: Any, params: Any, **kwargs: Any) -> Any:
            asked.append(prompt.model)
            return await super().generate(prompt, params, **kwargs)

    def made(*, answer: int = 1) -> Generator:
        return Named([words(4, answer)])

    async def both(search: Search) -> None:
        await search.draw(search.root, until="end")
        if node := await search.draw(search.root, until="end", model="large"):
            search.emit(node)

    monkeypatch.setattr("reasoning.backends.scripted.scripted", made)
    monkeypatch.setattr(names, "_foreign", lambda kind, name: both)
    models = {"small": {"name": "scripted"}, "large": {"name": "scripted", "answer": 2}}
    recipe = {
        "generator": "small",
        "models": models,
        "prices": {"small": {"output": 0}, "large": {"output": 1e6}},
    }
    line = results(questions, tmp_path / "out", [{"searcher": "a:both"}], **recipe)["both"]
    assert (line.answer, line.correct, line.node) == ("2", True, [1])
    assert line.usage["models"]["large"]["generated_tokens"] == 4
    assert line.usage["generated_tokens"] == 8
    assert line.usage["money"] == pytest.approx(4.0)
    assert asked == ["", "large"] * 3


def test_a_limit_of_the_whole_run_holds(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Scripted(SOLUTIONS))
    data = {
        "task": {"name": "jsonl", "path": str(questions)},
        "generator": "scripted",
        "strategies": [VOTE],
        "run_limits": {"tokens": 250},
        "concurrency": 1,
    }
    asyncio.run(runner.run(parse(data), tmp_path / "out"))
    lines = [Record.from_json(line) for line in Store(tmp_path / "out").results()]
    assert sum(line.usage["generated_tokens"] for line in lines) == 250
    assert [line.stop_reason for line in lines] == ["finished", "tokens", "tokens"]
    # One that goes on after the first problem has no more to spend than one that was never broken.
    asyncio.run(runner.run(parse(data), tmp_path / "two", limit=1))
    asyncio.run(runner.run(parse(data), tmp_path / "two"))
    again = [Record.from_json(line) for line in Store(tmp_path / "two").results()]
    spent = [[line.usage["generated_tokens"] for line in found] for found in (lines, again)]
    assert spent[0] == spent[1] == [210, 40, 0]


def test_lines_of_the_first_version_are_read() -> None:
    old = {
        "problem": "p", "strategy": "s", "question": "q", "answer": None, "gold": None,
        "correct": None, "stop_reason": "finished", "candidates": [], "usage": {},
    }  # fmt: skip
    assert Record.from_json({**old, "unheard": 1}).version == 1


def test_serial_tokens_of_a_search_are_its_own_under_a_limit_of_the_run(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Scripted(SOLUTIONS))
    data = {
        "task": {"name": "jsonl", "path": str(questions)},
        "generator": "scripted",
        "strategies": [VOTE],
        "run_limits": {"tokens": 100_000},
        "concurrency": 1,
    }
    asyncio.run(runner.run(parse(data), tmp_path / "out"))
    lines = [Record.from_json(line) for line in Store(tmp_path / "out").results()]
    assert [line.usage["critical_tokens"] for line in lines] == [90, 90, 90]
