"""Replicas that die and come back in the middle of a run: nothing is lost and nothing is double.

`python -m benchmarks.kills` does the same with processes and 10,000 problems.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills import faults, recipe, samples
from reasoning.backends.openai import Limits, OpenAI
from reasoning.runs.run import run
from reasoning.runs.store import Store
from reasoning.testing.hand_clock import HastyClock
from reasoning.testing.http_server import TEXT, VLLM, Flavour, Served, serving

PROBLEMS, N, EVERY = 200, 2, 37
AT_ONCE = 12
"""Problems. A call is made four times at most: with hundreds in flight, which are all made again
when a replica dies, and no pause between, the same one would be broken four times now and then."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits in real time."""

    def openai(*, base_url: Any, model: Any = None, **_: Any) -> OpenAI:
        limits = Limits(timeout=1e9, patience=1e9)
        clock = HastyClock()
        generator = OpenAI(base_url, model, clock=clock, limits=limits)
        generator.clock = lambda problem: clock  # type: ignore[method-assign]
        return generator

    monkeypatch.setattr("reasoning.backends.openai.openai", openai)


class Mortal:
    """Replicas, of which one dies at every so many calls, in the middle of what it says."""

    def __init__(self, servers: list[Served], every: int) -> None:
        self.servers, self.every = servers, every
        self.calls = self.deaths = 0
        self._dying: dict[Served, asyncio.Task[None]] = {}
        for server in servers:
            server.fault = lambda call, server=server: self.met(server)  # type: ignore[misc]

    def met(self, server: Served) -> None:
        self.calls += 1
        if self.every and self.calls % self.every == 0 and server not in self._dying:
            task = asyncio.get_running_loop().create_task(self._bounce(server))
            self._dying[server] = task

    async def _bounce(self, server: Served) -> None:
        await server.stop()
        await server.start()
        self.deaths += 1
        del self._dying[server]


def ran(folder: Path, flavour: Flavour, every: int, problems: int = PROBLEMS) -> tuple[Store, int]:
    folder.mkdir()
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(flavour)) for _ in range(3)]
        mortal = Mortal(servers, every)
        plan = recipe(folder, [server.url for server in servers], problems, N)
        plan = plan.model_copy(update={"concurrency": AT_ONCE})
        asyncio.run(asyncio.wait_for(run(plan, folder / "run"), 240))
        return Store(folder / "run"), mortal.deaths


@pytest.mark.parametrize("flavour", [VLLM, TEXT], ids=["token ids", "text"])
def test_nothing_is_lost_and_nothing_double(tmp_path: Path, flavour: Flavour) -> None:
    store, deaths = ran(tmp_path / "killed", flavour, EVERY)
    assert deaths >= 5
    found = faults(store, PROBLEMS, N)
    assert found == dict.fromkeys(found, 0)
    if flavour is TEXT:  # a broken call is made again: the very samples of an undisturbed run
        left, none = ran(tmp_path / "left", flavour, 0)
        assert none == 0
        assert texts(store) == texts(left)


def texts(store: Store) -> dict[str, list[str]]:
    return {problem: said for problem, said, _ in samples(store)}


def test_what_is_lost_double_or_wrong_is_seen(tmp_path: Path) -> None:
    """Of a whole run's folder one line is taken out, one is there twice, one has lost a sample."""
    store, _ = ran(tmp_path / "run", TEXT, 0, 20)
    file = store.folder / "results.jsonl"
    _, second, third, *rest = file.read_text().splitlines()
    short = third.replace('"candidates": [', '"candidates": [], "were": [', 1)
    assert short != third
    file.write_text("\n".join([second, second, short, *rest]) + "\n")
    assert faults(store, 20, N) == {"lost": 1, "double": 1, "short": 1, "wrong": 1}
