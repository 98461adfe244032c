"""Whole runs: shared samples, interruption and resumption, failures, what is stored."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.scripted import Scripted, scripted
from reasoning.errors import EngineError, GenerationError, RecipeError, StoreError
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.tree import RolloutTree, Sample
from reasoning.verify import Verifier
from verifiers.logprob import Logprob

STRATEGIES: list[dict[str, Any]] = [
    {"searcher": "self_consistency", "n": [1, 4, 8]},
    {"searcher": "first_finish", "n": 4},
    {"searcher": "short_m_at_k", "k": 8, "m": 3},
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": "x" * i, "answer": str(i)} for i in range(1, 13)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def recipe(questions: Path, **change: Any) -> Any:
    data = {
        "name": "t",
        "task": {"name": "jsonl", "path": str(questions)},
        "generator": {"name": "scripted", "token_seconds": 0.02, "delay": 0.1},
        "strategies": STRATEGIES,
        "concurrency": 3,
    }
    return parse({**data, **change})


def go(recipe: Any, out: Path, **options: Any) -> dict[str, Any]:
    return asyncio.run(runner.run(recipe, out, **options))


def table(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {s["name"]: s for s in summary["strategies"]}


def counting(calls: list[str]) -> Any:
    """A scripted generator that notes every call, as a recipe would name it."""
    inner = scripted()

    class Counting(Scripted):
        async def generate(self, prompt: Any, params: Any, **kwargs: Any) -> Any:
            calls.append(f"{prompt.problem.id}/{prompt.path}")
            return await super().generate(prompt, params, **kwargs)

    return Counting(inner.script)


def test_a_sweep_draws_each_sample_once(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: counting(calls))
    summary = go(recipe(questions, generator="scripted"), tmp_path / "run")
    assert sorted(calls) == sorted(f"q{i}/({slot},)" for i in range(1, 13) for slot in range(8))
    rows = table(summary)
    assert rows["self_consistency-n=8"]["calls"] == 12 * 8
    assert rows["self_consistency-n=1"]["calls"] == 12


def test_a_generator_is_started_once_and_only_for_work(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    script = scripted().script

    class Starts(Scripted):
        async def astart(self) -> None:
            started.append(self.calls)

    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Starts(script))
    for _ in range(2):  # the second run finds everything done
        go(recipe(questions, generator="scripted"), tmp_path / "run")
    assert started == [0]


def test_slot_i_is_the_same_sample_for_every_n(questions: Path, tmp_path: Path) -> None:
    go(recipe(questions), tmp_path / "run")
    store = runner.Store(tmp_path / "run")
    small = RolloutTree.load(store.tree_path("self_consistency-n=4", "q3"))
    large = RolloutTree.load(store.tree_path("self_consistency-n=8", "q3"))
    assert [n.sample.text for n in small] == [n.sample.text for n in large][:4]


def test_a_race_over_shared_samples_costs_what_it_would_live(
    questions: Path, tmp_path: Path
) -> None:
    summary = table(go(recipe(questions), tmp_path / "run"))
    store = runner.Store(tmp_path / "run")
    expected = 0
    for i in range(1, 13):
        tree = RolloutTree.load(store.tree_path("self_consistency-n=8", f"q{i}"))
        lengths = [n.sample.generated_tokens for n in tree][:4]
        # Two that end in the same tick are both there; the others are cut at that tick.
        expected += sum(min(length, min(lengths)) for length in lengths)
    assert summary["first_finish-n=4"]["generated_tokens"] == expected
    assert summary["first_finish-n=4"]["wasted_tokens"] > 0


def test_live_and_shared_runs_agree(questions: Path, tmp_path: Path) -> None:
    shared = table(go(recipe(questions), tmp_path / "shared"))
    live = table(go(recipe(questions, share_samples=False, generator="scripted"), tmp_path / "x"))
    for name in ("self_consistency-n=4", "self_consistency-n=8"):
        for field in ("accuracy", "generated_tokens", "pass_at_k", "majority_at_k"):
            assert shared[name][field] == live[name][field]


def test_a_rerun_does_nothing_and_says_the_same(questions: Path, tmp_path: Path) -> None:
    first = go(recipe(questions), tmp_path / "run")
    stored = (tmp_path / "run" / "results.jsonl").read_bytes()
    assert go(recipe(questions), tmp_path / "run") == first
    assert (tmp_path / "run" / "results.jsonl").read_bytes() == stored


def test_the_summary_is_the_same_whatever_the_concurrency(questions: Path, tmp_path: Path) -> None:
    runs = [go(recipe(questions, concurrency=c), tmp_path / str(c)) for c in (1, 4, 50)]
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("after", [0, 1, 5, 17, 40])
def test_interrupted_runs_end_with_the_same_summary(
    questions: Path, tmp_path: Path, after: int
) -> None:
    whole = go(recipe(questions), tmp_path / "whole")
    appended = 0
    original = runner.Store.append

    class StoppedError(Exception):
        pass

    def append(self: Any, *args: Any) -> None:
        nonlocal appended
        if appended == after:
            raise StoppedError
        appended += 1
        original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.Store, "append", append)
        with pytest.raises(StoppedError):
            go(recipe(questions), tmp_path / "cut")
    resumed = go(recipe(questions), tmp_path / "cut")
    notes = [note for note in resumed["notes"] if not note.startswith("interruptions cost")]
    assert {**resumed, "notes": notes} == whole
    keys = [(r["strategy"], r["problem"]) for r in runner.Store(tmp_path / "cut").results()]
    assert len(keys) == len(set(keys)) == 5 * 12


def test_what_an_interruption_cut_off_is_told(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three calls of three tokens each, cut off after two as the engine dies, and a score."""

    class Slow(Scripted):
        async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Any:
            if prompt.slot == 0:
                return await super().generate(prompt, params, seed=seed, meter=meter)
            meter(2)
            for _ in range(9):
                await asyncio.sleep(0)
            if dying and prompt.slot == 3:
                raise EngineError("gone")
            if dying:
                await asyncio.Event().wait()
            meter(1)
            return Sample("\\boxed{1}", generated_tokens=3)

    class Scores(Verifier):
        name = "scores"

        async def score(self, problem: Any, node: Any, *, meter: Any) -> Any:
            meter(10)
            return (0.5,)

    made = {"name": "best_of_n", "searcher": "best_of_n", "n": 4}
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Slow(["\\boxed{1}"]))
    monkeypatch.setattr("verifiers.oracle.oracle", Scores)
    one = recipe(questions, generator="scripted", verifier="oracle", strategies=[made])
    dying = True
    with pytest.raises(EngineError):
        go(one, tmp_path / "run", limit=1)
    dying = False
    summary = go(one, tmp_path / "run", limit=1)
    cost = "6 generated tokens and 10 verifier tokens"
    assert summary["notes"] == [f"interruptions cost up to {cost} more, which are in no row"]
    assert summary["strategies"][0]["generated_tokens"] == 1 + 3 * 3
    assert go(one, tmp_path / "run", limit=1) == summary


def test_kill_9_and_resume(questions: Path, tmp_path: Path) -> None:
    """Killed by the system after its third result line, resumed by the same command."""
    script = f"""
import asyncio, os, signal
from pathlib import Path
from reasoning.runs import run as runner
from reasoning.runs.recipe import load
import sys
done = 0
original = runner.Store.append
def append(self, *args):
    global done
    original(self, *args)
    done += 1
    if done == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
runner.Store.append = append
asyncio.run(runner.run(load({str(tmp_path / "r.yaml")!r}), {str(tmp_path / "run")!r}))
"""
    (tmp_path / "r.yaml").write_text(json.dumps(recipe(questions).model_dump(exclude_none=True)))
    for count in (3, 20, 1000):
        done = subprocess.run([sys.executable, "-c", script, str(count)], check=False)
        assert done.returncode == (0 if count == 1000 else -signal.SIGKILL)
    killed = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "2 runs of it were killed, and what they lost is not known" in killed["notes"].pop()
    assert killed == go(recipe(questions, name="r"), tmp_path / "whole") | {"name": "t"}
    assert not list((tmp_path / "run").glob("journal*"))


def test_a_problem_leaves_no_journal_and_a_resumed_run_reads_no_other(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Scripted(["\\boxed{1}"]))
    one = recipe(questions, generator="scripted", concurrency=1, strategies=STRATEGIES[:1])
    kept, read = [], []

    def stop(progress: runner.Progress) -> None:
        kept.append([path.name for path in (tmp_path / "run").glob("journal/*")])
        if progress.done == 5:
            raise EngineError("gone")

    with pytest.raises(EngineError, match="gone"):
        go(one, tmp_path / "run", watch=stop)
    assert kept == [[]] * 6
    monkeypatch.setattr(
        "reasoning.backends.ledger.Folder._read", lambda _, problem: read.append(problem) or ()
    )
    go(one, tmp_path / "run")
    assert read == [f"q{i}" for i in range(6, 13) for _ in ("calls", "scores")]


def test_samples_drawn_before_the_kill_are_not_drawn_again(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: counting(calls))
    one = recipe(questions, generator="scripted", strategies=[STRATEGIES[0]], concurrency=1)
    original = runner.Store.append

    def append(self: Any, record: dict[str, Any], tree: Any) -> None:
        if record["problem"] == "q2" and record["strategy"].endswith("=8"):
            raise KeyboardInterrupt
        original(self, record, tree)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.Store, "append", append)
        with pytest.raises(KeyboardInterrupt):
            go(one, tmp_path / "run")
    go(one, tmp_path / "run")
    assert len(calls) == len(set(calls)) == 12 * 8


def test_failed_calls_fail_their_nodes_and_not_the_run(questions: Path, tmp_path: Path) -> None:
    failing = {"name": "scripted", "fail_every": 3}
    rows = table(go(recipe(questions, generator=failing), tmp_path / "run"))
    row = rows["self_consistency-n=8"]
    assert 0 < row["failed_calls"] < 96
    assert row["problems"] == 12
    results = list(runner.Store(tmp_path / "run").results())
    assert any("told to fail" in f for r in results for f in r["failures"])


def test_a_dead_engine_stops_the_run_and_keeps_what_is_finished(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(prompt: Any, seed: int) -> Any:
        if prompt.problem.id == "q5":
            raise EngineError("the engine died")
        return "\\boxed{1}"

    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Scripted(script))
    dying = recipe(questions, generator="scripted", concurrency=1)
    with pytest.raises(EngineError, match="the engine died"):
        go(dying, tmp_path / "run")
    stored = {r["problem"] for r in runner.Store(tmp_path / "run").results()}
    assert stored == {"q1", "q2", "q3", "q4"}


def test_a_changed_recipe_needs_another_folder(questions: Path, tmp_path: Path) -> None:
    go(recipe(questions), tmp_path / "run", limit=1)
    with pytest.raises(StoreError, match="seed"):
        go(recipe(questions, seed=1), tmp_path / "run")


def test_limit_takes_the_first_problems_and_may_grow(questions: Path, tmp_path: Path) -> None:
    assert go(recipe(questions), tmp_path / "run", limit=2)["problems"] == 2
    grown = go(recipe(questions), tmp_path / "run", limit=5)
    assert grown == go(recipe(questions), tmp_path / "other", limit=5)


def test_every_result_adds_up(questions: Path, tmp_path: Path) -> None:
    go(recipe(questions), tmp_path / "run")
    store = runner.Store(tmp_path / "run")
    for result in store.results():
        tree = RolloutTree.load(store.tree_path(result["strategy"], result["problem"]))
        nodes = list(tree)
        assert sum(n.sample.generated_tokens for n in nodes) == result["usage"]["generated_tokens"]
        assert {tuple(c["path"]) for c in result["candidates"]} == {
            n.path for n in nodes if n.emitted
        }


def test_token_limits_hold(questions: Path, tmp_path: Path) -> None:
    rows = table(go(recipe(questions, limits={"tokens": 30}), tmp_path / "run"))
    for row in rows.values():
        assert row["generated_tokens"] <= 30 * 12
    assert rows["self_consistency-n=8"]["stop_reasons"]["tokens"] > 0


def test_too_many_recorded_samples_is_a_clear_error(tmp_path: Path, questions: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps({"id": "q1", "samples": [{"text": "\\boxed{1}", "n_tokens": 3}]}))
    stored = {"name": "recorded", "path": str(file)}
    with pytest.raises(RecipeError, match=r"number 2 of problem 'q1'.*has 1"):
        go(recipe(questions, generator=stored), tmp_path / "run")


def test_the_manifest_says_what_is_needed_to_repeat(questions: Path, tmp_path: Path) -> None:
    go(recipe(questions), tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["run"]["seed"] == 0
    assert manifest["run"]["strategies"][0]["n"] == [1, 4, 8]
    assert manifest["packages"]["numpy"]
    assert "sha256" in json.dumps(manifest["run"]["task_source"])
    assert manifest["parameters"]["self_consistency-n=8"] == {"generator": None, "verifier": None}


def test_the_manifest_says_how_large_the_models_are(questions: Path, tmp_path: Path) -> None:
    sweep = {"generator.parameters": [1000, "2e9"]}
    changed = recipe(questions, strategies=STRATEGIES[:1], sweep=sweep)
    go(changed, tmp_path / "run", limit=1)
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    found = {name: size["generator"] for name, size in manifest["parameters"].items()}
    assert found["self_consistency-n=1-parameters=1000"] == 1000.0
    assert found["self_consistency-n=1-parameters=2e9"] == 2e9
    del manifest["parameters"]  # as a run that did not know it leaves it
    path.write_text(json.dumps(manifest))
    go(changed, tmp_path / "run", limit=2)
    assert set(json.loads(path.read_text())["parameters"]) == set(found)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_one_clear_error(questions: Path, tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        go(recipe(questions), tmp_path / "sealed" / "run")


def test_a_sweep_runs_every_strategy_under_every_combination(
    questions: Path, tmp_path: Path
) -> None:
    sweep = {"limits.tokens": [40, 4000], "sampling.temperature": [1.0]}
    swept = recipe(questions, strategies=STRATEGIES[:1], sweep=sweep)
    rows = table(go(swept, tmp_path / "run"))
    assert len(rows) == 3 * 2
    short = rows["self_consistency-n=8-tokens=40-temperature=1.0"]
    assert short["generated_tokens"] <= 40 * 12
    assert short["sweep"] == {"limits.tokens": 40, "sampling.temperature": 1.0}
    long = rows["self_consistency-n=8-tokens=4000-temperature=1.0"]
    alone = table(go(recipe(questions, strategies=STRATEGIES[:1]), tmp_path / "alone"))
    for field in ("accuracy", "generated_tokens", "calls"):
        assert long[field] == alone["self_consistency-n=8"][field]


def test_virtual_seconds_are_the_longest_dependent_chain(questions: Path, tmp_path: Path) -> None:
    rows = table(go(recipe(questions, strategies=STRATEGIES[:1]), tmp_path / "run"))
    store = runner.Store(tmp_path / "run")
    longest = 0
    for i in range(1, 13):
        tree = RolloutTree.load(store.tree_path("self_consistency-n=8", f"q{i}"))
        longest += max(node.sample.generated_tokens for node in tree)
    assert rows["self_consistency-n=8"]["seconds"] == pytest.approx(longest / 50)


def test_the_loop_goes_on_while_results_are_stored_and_engines_are_gone_by_the_summary(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    append, summarise = runner.Store.append, runner.summarise

    class Told(Scripted):
        async def aclose(self) -> None:
            order.append("closed")

    def stored(self: Any, *args: Any) -> None:
        order.append(threading.current_thread().name)
        append(self, *args)

    def summed(*args: Any) -> dict[str, Any]:
        order.append("summary")
        return summarise(*args)

    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Told(["\\boxed{1}"]))
    monkeypatch.setattr(runner.Store, "append", stored)
    monkeypatch.setattr(runner, "summarise", summed)
    go(recipe(questions, generator="scripted", strategies=STRATEGIES[:1]), tmp_path / "run")
    assert order == ["store_0"] * 36 + ["closed", "summary"]


def test_a_plug_in_that_cannot_be_closed_costs_nothing_else(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Stuck(Scripted):
        async def aclose(self) -> None:
            closed.append("generator")
            raise EngineError("stuck")

    class Fine(Logprob):
        async def aclose(self) -> None:
            closed.append("verifier")

    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Stuck(["\\boxed{1}"]))
    monkeypatch.setattr("verifiers.logprob.logprob", Fine)
    one = recipe(questions, generator="scripted", verifier="logprob")
    with pytest.raises(EngineError, match="stuck"):
        go(one, tmp_path / "run")
    assert sorted(closed) == ["generator", "verifier"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["problems"] == 12


def test_another_model_behind_the_same_address_is_another_run(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Served(Scripted):
        version = "the first model at http://here"

        async def astart(self) -> None:
            self.version = f"{served} at http://here"

    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Served(["\\boxed{1}"]))
    one = recipe(questions, generator="scripted", strategies=STRATEGIES[:1])
    served = "small"
    go(one, tmp_path / "run", limit=2)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["engines"] == ["small at http://here"]
    served = "large"
    with pytest.raises(StoreError, match=r"begun with small .* now there is large"):
        go(one, tmp_path / "run", limit=4)
    go(one, tmp_path / "run", limit=2)  # nothing is asked of anybody


def test_an_engine_that_fails_every_call_stops_the_run(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the third problem on; what was found without a single call is not kept."""

    def script(prompt: Any, seed: int) -> Any:
        if down and prompt.problem.id not in ("q1", "q2"):
            return GenerationError("bad gateway")
        return "\\boxed{1}"

    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: Scripted(script))
    wanted = {"generator": "scripted", "concurrency": 1, "share_samples": False}
    down = True
    with pytest.raises(EngineError, match=r"in 16 .*bad gateway.*not stored.*command continues"):
        go(recipe(questions, **wanted), tmp_path / "run")
    stored = {r["problem"] for r in runner.Store(tmp_path / "run").results()}
    assert stored == {"q1", "q2"}
    down = False
    assert (
        table(go(recipe(questions, **wanted), tmp_path / "run"))["first_finish-n=4"]["failed_calls"]
        == 0
    )


def test_a_run_in_which_nothing_succeeds_is_none(questions: Path, tmp_path: Path) -> None:
    """However short it is; where anything has succeeded, failures are results."""
    failing = {"name": "scripted", "fail_every": 1}
    one = {"strategies": [{"searcher": "sample"}], "share_samples": False}
    with pytest.raises(EngineError, match=r"every call failed, .*not stored.*command continues"):
        go(recipe(questions, generator=failing, **one), tmp_path / "run")
    assert list(runner.Store(tmp_path / "run").results()) == []
    some = recipe(questions, generator={"name": "scripted", "fail_every": 2}, **one)
    assert go(some, tmp_path / "other")["strategies"][0]["failed_calls"]
    assert len(list(runner.Store(tmp_path / "other").results())) == 12
