"""The driver with workers in this very process: everything but the cluster."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import reasoning.errors as errors
from reasoning.backends.scripted import Scripted, scripted
from reasoning.cluster import actors, driver
from reasoning.cluster.driver import LostError
from reasoning.cluster.worker import Job, Order, Reply, Worker, installed
from reasoning.errors import EngineError, GenerationError, RecipeError, StoreError
from reasoning.runs import run as runner
from reasoning.runs.manifest import Found
from tests.reasoning.cluster.conftest import contents

Recipes = Callable[..., Any]


class Near:
    """A worker in this process. `spoil` may raise in the place of its nth reply, or wait."""

    def __init__(self, order: Order, name: str, spoil: Any) -> None:
        self.worker, self.name, self.spoil = Worker(order), name, spoil
        self.replies = 0

    async def hello(self) -> Mapping[str, str]:
        return installed()

    async def start(self) -> Found:
        return await self.worker.start()

    async def exchange(self, jobs: Sequence[Job]) -> Reply:
        reply = await self.worker.exchange([pickle.loads(pickle.dumps(job)) for job in jobs])
        self.replies += 1
        await self.spoil(self, reply)
        return pickle.loads(pickle.dumps(reply))

    async def finish(self, others: bool) -> Reply:
        return await self.worker.finish(others)

    async def stop(self) -> Reply:
        return await self.worker.stop()

    def kill(self) -> None:
        for task in self.worker._tasks:
            task.cancel()


async def fine(hand: Near, reply: Reply) -> None:
    """Nothing happens."""


def nearby(monkeypatch: pytest.MonkeyPatch, spoil: Any = fine, make: Any = Near) -> list[Near]:
    """Have workers hired here; returns those that have been."""
    hired: list[Near] = []

    @asynccontextmanager
    async def crew(todo: Any, settings: Any) -> AsyncIterator[Any]:
        order = Order(todo.recipe, todo.task.name, False, None, None)

        def hire(name: str) -> Near:
            hired.append(make(order, name, spoil))
            return hired[-1]

        yield hire

    monkeypatch.setattr(actors, "crew", crew)
    return hired


def go(recipe: Any, out: Path, **options: Any) -> dict[str, Any]:
    return asyncio.run(runner.run(recipe, out, **options))


@pytest.mark.parametrize("shared", [True, False])
def test_results_are_those_of_one_process(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    go(recipe(share_samples=shared), tmp_path / "one")
    hired = nearby(monkeypatch)
    seen: list[int] = []
    away = recipe(share_samples=shared, workers={"n": 3, "at_once": 2})
    go(away, tmp_path / "three", watch=lambda progress: seen.append(progress.done))
    assert len(hired) == 3
    assert seen[0] == 0
    assert seen[-1] == 12
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    go(recipe(share_samples=shared), tmp_path / "three")  # with no workers it goes on just as well


def test_who_looks_on_sees_the_searches_of_workers(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning.cluster.worker.LOOK", 0.0)
    monkeypatch.setattr("reasoning.cluster.worker.BATCH", 0.0)
    standings: list[Any] = []
    looks: list[Any] = []

    @contextmanager
    def feed(folder: Path, standing: Any) -> Iterator[None]:
        standings.append(standing)
        yield

    async def look(hand: Near, reply: Reply) -> None:
        looks.append(json.loads(json.dumps(standings[0]())))

    nearby(monkeypatch, look)
    go(recipe(workers={"n": 2, "at_once": 2}), tmp_path / "run", feed=feed)
    assert {look["problems"] for look in looks} == {12}
    assert max(look["workers"] for look in looks) == 2
    assert looks[-1]["in_flight"] is None  # nobody here knows
    searches = [search for look in looks for search in look["searches"]]
    assert searches
    assert all(search["key"].endswith(f" {search['problem']}") for search in searches)


def test_a_run_on_workers_is_extended_and_nothing_is_paid_twice(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Counting(Scripted):
        async def generate(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(prompt.problem.id)
            return await super().generate(prompt, *args, **kwargs)

    inner = scripted()
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Counting(inner.script))
    four, eight = ([{"searcher": "best_of_n", "n": n}] for n in (4, [4, 8]))
    nearby(monkeypatch)
    go(recipe(generator="scripted", strategies=four, workers=2), tmp_path / "run")
    calls.clear()
    more = recipe(generator="scripted", strategies=eight, workers=2)
    go(more, tmp_path / "run", extend=True)
    assert len(calls) == 12 * 4
    go(recipe(generator="scripted", strategies=eight), tmp_path / "new")
    assert contents(tmp_path / "run") == contents(tmp_path / "new")
    kept = [
        {p.relative_to(f) for p in f.glob("calls/**/*")}
        for f in (tmp_path / "run", tmp_path / "new")
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 2 + 2 * 12


def test_what_engines_tell_later_is_told_of_all_workers(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many calls each server has answered by the end, and what was met on the way."""
    made: list[Any] = []

    class Several(Scripted):
        answered = 0
        served = property(lambda self: {"a": self.answered, "b": 1} if self.answered else {})
        notes = property(lambda self: [f"{self.answered} is not few"] if self.answered > 3 else [])

        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            self.answered += 1
            return await super().generate(*args, **kwargs)

    def several() -> Any:
        made.append(Several(inner.script))
        return made[-1]

    inner = scripted()
    monkeypatch.setattr("reasoning.backends.scripted.scripted", several)
    nearby(monkeypatch)
    strategies = [{"searcher": "best_of_n", "n": 4}]
    summary = go(recipe(generator="scripted", strategies=strategies, workers=2), tmp_path / "run")
    at_work = [engine for engine in made if engine.answered]
    assert len(at_work) == 2
    assert sum(engine.answered for engine in made) == 12 * 4
    assert summary["served"] == {"a": 12 * 4, "b": 2}
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert told["served"] == summary["served"]
    assert sum("is not few" in note for note in summary["notes"]) == 2

    async def lost_once(hand: Near, reply: Reply) -> None:
        if hand.name == "worker 1" and reply.found is not None and reply.found.served:
            heard.append(reply.found.served["a"])
        if hand.name == "worker 1" and len(heard) > 1:
            raise LostError("its machine is gone")

    made.clear()
    heard: list[int] = []
    monkeypatch.setattr("reasoning.cluster.worker.LOOK", 0.0)
    nearby(monkeypatch, lost_once)
    summary = go(recipe(generator="scripted", strategies=strategies, workers=2), tmp_path / "lost")
    others = [engine.answered for engine in made[2:]]  # the first is the driver's, the next lost
    assert summary["served"]["a"] == heard[-2] + sum(others)


def test_few_problems_are_shared_out_fairly(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, list[int]] = {}

    class Counted(Near):
        async def exchange(self, jobs: Sequence[Job]) -> Reply:
            given.setdefault(self.name, []).append(len(jobs))
            return await super().exchange(jobs)

    nearby(monkeypatch, make=Counted)
    go(recipe(workers=4), tmp_path / "wide")
    assert [given[name][0] for name in sorted(given)] == [3, 3, 2, 1]


def test_a_worker_with_calls_enough_gets_no_more_problems(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy: list[int] = []

    class Real(Scripted):
        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0.2)
            return await super().generate(*args, **kwargs)

    async def seen(hand: Near, reply: Reply) -> None:
        busy.append(reply.busy)

    inner = scripted()
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Real(inner.script))
    monkeypatch.setattr(driver, "STRIDE", 1)
    nearby(monkeypatch, seen)
    strategies = [{"searcher": "self_consistency", "n": 1}]
    go(
        recipe(
            generator="scripted",
            strategies=strategies,
            concurrency=3,
            workers={"n": 1, "at_once": 8},
        ),
        tmp_path / "run",
        limit=8,
    )
    assert max(busy) == 3


def test_what_a_lost_worker_held_is_gone_on_with(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(recipe(), tmp_path / "one")

    async def spoil(hand: Near, reply: Reply) -> None:
        if hand.name in ("worker 1", "worker 3") and hand.replies == 1:
            raise LostError("it was killed", blame=hand.name == "worker 1")

    hired = nearby(monkeypatch, spoil)
    go(recipe(workers={"n": 2, "at_once": 4}), tmp_path / "two")
    assert len(hired) == 4
    found, one = contents(tmp_path / "two"), contents(tmp_path / "one")
    assert any("workers were lost 2 time(s)" in note for note in found["summary"]["notes"])
    found["summary"]["notes"] = one["summary"]["notes"]
    assert found == one


def test_a_frozen_worker_is_given_up_and_not_heard_when_it_wakes(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[Reply] = []

    async def spoil(hand: Near, reply: Reply) -> None:
        if hand.name == "worker 1":
            await asyncio.sleep(0.6)
            woken.append(reply)
        elif not woken:
            await asyncio.sleep(0.1)  # the others are at work when it wakes

    nearby(monkeypatch, spoil)
    away = recipe(workers={"n": 2, "at_once": 1, "patience": 0.4})
    go(away, tmp_path / "two")
    go(recipe(), tmp_path / "one")
    assert woken
    assert woken[0].events
    assert contents(tmp_path / "two")["results"] == contents(tmp_path / "one")["results"]


def test_a_poison_problem_is_one_failed_result(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mortal(Near):
        async def exchange(self, jobs: Sequence[Job]) -> Reply:
            if any(job.problem.id == "q5" for job in jobs):
                raise LostError("signal 9", blame=True)
            return await super().exchange(jobs)

    hired = nearby(monkeypatch, make=Mortal)
    summary = go(recipe(workers={"n": 2, "at_once": 3}), tmp_path / "two")
    assert len(hired) == 4
    found = contents(tmp_path / "two")["results"]
    bad = {key for key, line in found.items() if line["stop_reason"] == "failed"}
    assert bad == {(s["name"], "q5") for s in summary["strategies"]}
    line = found["self_consistency-n=4", "q5"]
    assert line["correct"] is False
    assert "2 workers died of this problem" in line["failures"][0]
    assert len(found) == 4 * 12


def test_an_engine_that_dies_costs_its_place_and_the_last_one_the_run(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Near] = []

    class Weak(Near):
        async def start(self) -> Found:
            started.append(self)
            if len(started) > strong:
                raise EngineError("no CUDA")
            return await super().start()

    strong = 1
    nearby(monkeypatch, make=Weak)
    go(recipe(workers=3), tmp_path / "one lives")
    assert len(contents(tmp_path / "one lives")["results"]) == 4 * 12
    strong = 0
    with pytest.raises(EngineError, match="no CUDA"):
        go(recipe(workers=3), tmp_path / "none lives")


def test_workers_of_another_version_are_refused(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Old(Near):
        async def hello(self) -> Mapping[str, str]:
            return {**installed(), "reasoning": "0.0.1"}

    nearby(monkeypatch, make=Old)
    with pytest.raises(EngineError, match=r"has reasoning 0\.0\.1 and the driver"):
        go(recipe(workers=2), tmp_path / "run")

    class Other(Near):
        async def hello(self) -> Mapping[str, str]:
            return {**installed(), "numpy": self.name}

    nearby(monkeypatch, make=Other)
    summary = go(recipe(workers=2), tmp_path / "run")
    assert any("different numpy: worker" in note for note in summary["notes"])


def test_one_that_never_starts_is_not_tried_for_ever(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still(Near):
        async def start(self) -> Found:
            raise LostError("ModuleNotFoundError")

    hired = nearby(monkeypatch, make=Still)
    with pytest.raises(EngineError, match="3 workers in a row did not start"):
        go(recipe(workers=2), tmp_path / "run")
    assert 3 <= len(hired) <= 6


def test_an_interrupted_run_notes_its_losses_and_goes_on(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    class Slow(Scripted):
        async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Any:
            calls.append(seed)
            if len(calls) == 20:  # some are back; these will never be
                meter(7)
                await asyncio.Event().wait()
            return await super().generate(prompt, params, seed=seed, meter=meter)

    inner = scripted()
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Slow(inner.script))
    plain = {"generator": "scripted", "share_samples": False}
    nearby(monkeypatch)

    async def interrupted() -> None:
        work = asyncio.ensure_future(
            runner.run(recipe(**plain, workers={"n": 2, "at_once": 2}), tmp_path / "run")
        )
        while len(calls) < 20:  # noqa: ASYNC110 (they are counted elsewhere)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(interrupted())
    assert '"wasted_tokens": 7' in (tmp_path / "run" / "interrupted.jsonl").read_text()
    go(recipe(**plain, workers=2), tmp_path / "run")
    again = len(calls)
    go(recipe(**plain), tmp_path / "one")
    assert again == len(calls) - again + 1  # each call once, and the one that was cut off
    assert contents(tmp_path / "run")["trees"] == contents(tmp_path / "one")["trees"]


def test_results_after_which_nothing_succeeds_are_not_stored(
    recipe: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = {"generator": {"name": "scripted", "fail_every": 1}, "verifier": None}
    strategies = [{"searcher": "self_consistency", "n": 2}]
    nearby(monkeypatch)
    with pytest.raises(EngineError, match="every call failed"):
        go(recipe(**down, strategies=strategies, workers={"n": 2, "at_once": 2}), tmp_path / "run")
    assert not (tmp_path / "run" / "results.jsonl").read_text()


def test_limits_of_the_whole_run_are_refused(recipe: Recipes, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="run_limits hold for all problems together"):
        go(recipe(workers=2, run_limits={"tokens": 100}), tmp_path / "run")
    with pytest.raises(RecipeError, match="workers"):
        recipe(workers={"n": 0})


def test_errors_survive_the_way_from_a_worker() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)]
    assert {GenerationError, StoreError} < set(kinds)
    for kind in kinds:
        error = pickle.loads(pickle.dumps(kind("what happened")))
        assert type(error) is kind
        assert str(error) == "what happened"
    slow = pickle.loads(pickle.dumps(errors.TransientError("wait", retry_after=3.0)))
    assert slow.retry_after == 3.0
