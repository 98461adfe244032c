"""A run tells how it stands while it goes on, in its own process and none of its time."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import EngineError
from reasoning.live import feed as feeds
from reasoning.live.board import Board, Shown, standing
from reasoning.live.feed import feeding
from reasoning.live.nodes import MOST, brief, entries
from reasoning.problem import Problem
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.search import Search
from reasoning.tree import RolloutTree, Sample


def search(**settings: Any) -> Search:
    return Search(Problem("p", "What?"), Scripted(["One. ", "So \\boxed{7}"]), **settings)


def test_a_look_at_a_running_search() -> None:
    async def work() -> None:
        found = search(budget=Budget(100))
        first = await found.draw(found.root)
        assert first
        first.scores = {"prm": (0.5, 0.75)}
        found.emit(found.write(first, "So \\boxed{7}"))
        board = Board()
        with board.showing("vote", found, "vote p"):
            (look,) = json.loads(json.dumps(board.looks(texts=True)))
            (blind,) = board.looks(texts=False)
        assert board.looks(texts=True) == []
        assert (look["key"], look["question"], look["nodes"], look["limit"]) == (
            "vote p", "What?", 2, 100,
        )  # fmt: skip
        assert look["tokens"] == found.usage.generated_tokens
        assert look["tree"]["0"]["v"] == 0.75
        assert look["tree"]["0.0"]["a"] == "7"
        assert look["tree"]["0.0"]["s"] == "candidate"
        assert "What" not in json.dumps(blind)
        assert not any("t" in node or "a" in node for node in blind["tree"].values())

    asyncio.run(work())


def test_what_a_task_raises_of_an_answer_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = search()
    node = found.write(found.root, "x")
    found.emit(node)
    monkeypatch.setattr(Search, "answer", lambda *_: 1 / 0)
    assert "a" not in Shown("vote", found).tree(texts=True)["0"]


STATES: list[tuple[Sample, bool, bool, str]] = [
    (Sample("x", finish="stop"), False, False, "tip"),
    (Sample("x", finish="length"), False, False, "tip"),
    (Sample("x", finish="end"), False, False, "ended"),
    (Sample("x", finish="stop"), False, True, "cut"),
    (Sample("x", finish="length"), False, True, "limit"),
    (Sample("x", finish="end"), True, False, "candidate"),
    (Sample("x", finish="cancelled"), False, False, "cancelled"),
    (Sample("x", finish="loop"), False, False, "cancelled"),
    (Sample("x", finish="failed"), False, True, "failed"),
    (Sample("x", finish="probe"), False, False, "probe"),
    (Sample("x", finish="written"), False, True, "written"),
]


@pytest.mark.parametrize(("sample", "candidate", "over", "state"), STATES)
def test_states_of_nodes(sample: Sample, candidate: bool, over: bool, state: str) -> None:
    tree = RolloutTree("p")
    tree.add(tree.root, 0, sample)
    found = entries(tree, lambda _: (None, False) if candidate else None, over=over)
    assert found["0"]["s"] == state


def test_a_large_tree_and_long_texts_are_cut() -> None:
    tree = RolloutTree("p")
    for i in range(MOST):
        node = tree.add(tree.root, i, Sample("x" * 10_000, finish="stop"))
        tree.add(node, 0, Sample("y"))
    found = entries(tree, lambda _: None, over=False)
    assert len(found) == MOST
    assert all(len(entry["t"]) < 400 for entry in found.values())
    assert len(json.dumps(found)) < 120_000
    assert len(brief("\x1b" * 10**6)) < 3000


# ------------------------------------------------------------------------------------ runs


def recipe(**more: Any) -> Any:
    data = {
        "task": {"name": "nano", "n": 3},
        "generator": {"name": "scripted", "token_seconds": 0.01},
        "strategies": [{"searcher": "self_consistency", "n": 4}],
    }
    return parse({**data, **more})


class Told:
    """A feed that looks whenever a result is there, and keeps what it saw."""

    def __init__(self) -> None:
        self.standing: Any = None
        self.looks: list[Mapping[str, Any]] = []

    @contextmanager
    def feed(self, folder: Path, standing: Any) -> Iterator[None]:
        self.standing = standing
        yield

    def watch(self, _progress: object) -> None:
        self.looks.append(json.loads(json.dumps(self.standing())))


def test_how_a_run_stands(tmp_path: Path) -> None:
    told = Told()
    limited = recipe(run_limits={"tokens": 10_000, "money": 1.0}, prices={"default": {"output": 1}})
    work = runner.run(limited, tmp_path / "run", watch=told.watch, feed=told.feed)
    asyncio.run(work)
    first, *_, last = told.looks
    assert (first["problems"], first["done"], first["tokens"]) == (3, 0, 0)
    assert last["done"] == 3
    assert last["tokens"] > 0
    assert last["spent"]["tokens"] == [last["tokens"], 10_000]
    assert last["spent"]["money"][1] == 1.0
    assert last["in_flight"] == 0
    assert last["searches"] == []


def test_a_run_is_seen_while_it_goes_on_and_leaves_no_trace(tmp_path: Path) -> None:
    """The file is there when the first call is made, and gone at the end."""
    there = threading.Event()
    seen: list[dict[str, Any]] = []

    class Watched(Scripted):
        async def generate(self, *args: Any, **call: Any) -> Any:
            while not (tmp_path / "run" / "live.json").exists():  # noqa: ASYNC110 (another thread's)
                await asyncio.sleep(0)
            if not there.is_set():
                there.set()
                seen.append(json.loads((tmp_path / "run" / "live.json").read_text()))
            return await super().generate(*args, **call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reasoning.backends.scripted.scripted", lambda: Watched(["\\boxed{1}"]))
        made = recipe(generator="scripted")
        asyncio.run(runner.run(made, tmp_path / "run", feed=feeding))
    assert seen[0]["problems"] == 3
    assert "ended" not in seen[0]
    assert not (tmp_path / "run" / "live.json").exists()
    assert not [*(tmp_path / "run").glob(".*")]


@pytest.mark.parametrize(
    ("error", "ended", "why"),
    [
        (EngineError("nobody \x1b[0m there"), "failed", "nobody <U+001B>[0m there"),
        (ZeroDivisionError("secret"), "failed", ""),
        (asyncio.CancelledError(), "interrupted", ""),
        (KeyboardInterrupt(), "interrupted", ""),
        (None, "finished", ""),
    ],
)
def test_how_it_ended_stays(
    tmp_path: Path, error: BaseException | None, ended: str, why: str
) -> None:
    async def work() -> None:
        with feeding(tmp_path, lambda: {"problems": 3, "searches": [1]}):
            if error is not None:
                raise error

    if error is None:
        asyncio.run(work())
    else:
        with pytest.raises(type(error)):
            asyncio.run(work())
    told = json.loads((tmp_path / "live.json").read_text())
    assert (told["ended"], told["why"], told["searches"]) == (ended, why, [])
    for thread in threading.enumerate():
        if thread.name == "live":
            thread.join(30)
            assert not thread.is_alive()


def test_what_goes_wrong_with_it_ends_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Mapping[str, Any]:
        raise ZeroDivisionError("a bug")

    async def work() -> None:
        with feeding(tmp_path / "nowhere" / "at all", broken):
            while not caplog.records:  # noqa: ASYNC110 (another thread's)
                await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING):
        asyncio.run(work())
    assert "so that nobody can watch: a bug" in caplog.text
    assert "could not be written" in caplog.text


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / "live.json").symlink_to(tmp_path / "other")

    async def work() -> None:
        with feeding(tmp_path, dict):
            pass

    asyncio.run(work())
    assert (tmp_path / "other").read_text() == "mine"
    assert not (tmp_path / "live.json").is_symlink()


def test_looking_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause between looks grows with what a look costs, and with what is written."""
    waits: list[float] = []

    class Over(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return len(waits) > 2

    async def work(standing: Any) -> float:
        waits.clear()
        monkeypatch.setattr(feeds.threading, "Event", Over)
        writer = feeds._Writer(tmp_path / "live.json", standing)
        monkeypatch.undo()
        monkeypatch.setattr(writer, "_look", lambda: (standing(), 0.1))
        await asyncio.to_thread(writer.run)
        return waits[-1]

    assert asyncio.run(work(lambda: {"x": "y" * 1_000_000})) >= 4.0  # 250 kB a second
    assert asyncio.run(work(lambda: {"x": 1})) >= 5.0  # a fiftieth of the time


def test_standing_of_a_private_task_has_no_texts(tmp_path: Path) -> None:
    from reasoning.runs.plan import plan
    from reasoning.runs.run import Running
    from reasoning.runs.store import Store

    todo = plan(recipe())
    for private in (True, False):
        todo.task = dataclasses.replace(todo.task, private=private)
        running = Running(todo, Store(tmp_path), lambda _: None)
        with running.board.showing("vote", search(), "vote p"):
            assert ("What?" in json.dumps(standing(running))) is not private
