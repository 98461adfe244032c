"""Plans: laws and schedules by hand, and runs of known cost foretold."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from evals.plan.draws import counts, estimate
from evals.plan.forecast import Forecast, forecast
from evals.plan.law import Law, chain, fit, in_flight
from evals.plan.pace import Pace
from evals.plan.schedule import makespan
from evals.plan.show import show
from reasoning.cli.app import app
from reasoning.errors import StoreError
from reasoning.runs import run as runner
from reasoning.runs.pilot import pilot, spread, waves
from reasoning.runs.recipe import parse
from reasoning.runs.timing import Call

EQUAL = "one two three four five six seven \\boxed{8}"


def recipe(**change: Any) -> Any:
    data: dict[str, Any] = {
        "name": "t",
        "task": {"name": "nano", "n": 40},
        "generator": {"name": "scripted", "token_seconds": 0.02, "delay": 0.1},
        "verifier": "oracle",
        "strategies": [
            {"searcher": "best_of_n", "n": 4},
            {"searcher": "beam_search", "width": 2, "expansions": 2},
        ],
        "step": {"max_tokens": 8},
        "share_samples": False,
        "prices": {"default": {"input": 1, "output": 2}},
        "concurrency": 4,
    }
    return parse({**data, **change})


def planned(recipe: Any, out: Path, problems: int = 8, **options: Any) -> Forecast:
    seen = asyncio.run(pilot(recipe, out, problems=problems, watch=lambda progress: None))
    return forecast(seen, **options)


def call(start: float, end: float, tokens: int = 1, **more: Any) -> Call:
    return Call("p", start, end, tokens, **more)


def test_the_idealised_runtime_of_the_paper() -> None:
    law = Law(0.08, 0, 0, 0.02, 0)
    assert law.seconds(101, 1) == pytest.approx(2.08)
    calls = [call(0, 0.08 + 0.02 * (o - 1), o) for o in (1, 5, 20, 101)]
    found = fit(calls, np.zeros(4))
    assert found.first == pytest.approx(0.08)
    assert found.token == pytest.approx(0.02)
    assert found.seconds(51, 0) == pytest.approx(1.08)


def test_a_law_tells_weights_from_neighbours_and_prompts() -> None:
    true = Law(0.1, 0.01, 0.0005, 0.02, 0.003)
    calls, batches = [], []
    for tokens in (1, 10, 40):
        for batch in (1.0, 4.0, 16.0):
            for prompt in (0, 100, 400):
                seconds = float(true.seconds(tokens, batch, prompt - prompt // 4))
                known = {"prompt_tokens": prompt, "cached_tokens": prompt // 4}
                calls.append(call(0, seconds, tokens, **known))
                batches.append(batch)
    found = fit(calls, batches)
    for name in Law.__slots__:
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=1e-6)
    assert fit([], []).seconds(10, 1) == 0


def test_how_many_calls_were_in_flight() -> None:
    calls = [call(0, 4), call(0, 2), call(1, 2), call(6, 7), call(8, 8)]
    assert in_flight(calls).tolist() == pytest.approx([7 / 4, 5 / 2, 3, 1, 1])


def test_the_calls_that_were_waited_for() -> None:
    first, short, second, last = call(0, 3), call(0, 1), call(3, 4), call(5, 6)
    assert chain([last, short, first, second, call(3, 3.5)]) == [first, second, last]
    assert chain([]) == []


def test_longest_first_is_what_the_table_says() -> None:
    """Lengths (1, 1, 1, 1, 1, 1, 2, 8) on two slots: 11 as they come, 8 longest first."""
    lengths = np.asarray([1.0, 1, 1, 1, 1, 1, 2, 8])
    table = np.repeat(lengths[:, None], 2, axis=1)
    assert makespan(table, range(8)) == pytest.approx(11)
    assert makespan(table, np.argsort(-lengths)) == pytest.approx(8)


def test_problems_slow_each_other_down() -> None:
    table = np.asarray([[1.0, 2.0]])  # two take as long side by side as one after the other
    assert makespan(table, [0] * 4) == pytest.approx(4)
    assert makespan(np.asarray([[1.0, 1.0]]), [0] * 4) == pytest.approx(2)
    assert makespan(np.asarray([[1.0, 2.0]]), [0]) == pytest.approx(1)


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 120),
)
def test_no_schedule_beats_its_bounds(lengths: list[float], slots: int, problems: int) -> None:
    kinds = np.arange(problems) % len(lengths)
    table = np.repeat(np.asarray(lengths)[:, None], slots, axis=1)
    total, longest = float(table[kinds, 0].sum()), float(table[kinds, 0].max())
    found = makespan(table, kinds)
    assert total / slots - 1e-6 <= found <= total / slots + longest + 1e-6


def test_what_company_costs_a_problem() -> None:
    """Two chained calls of 11 tokens, seen alone: 0.1 + 10 (0.01 + 0.01 b), and 1 s of our own."""
    law = Law(0.1, 0, 0, 0.01, 0.01)
    calls = [call(0, 0.3, 11), call(0.3, 0.6, 11)]
    ones = np.asarray([1.0])
    pace = Pace(law, ones * 1.6, [calls], ones * 0.6, ones, ones, 1.0, 0.0, False)
    assert pace.table(3)[0, 0] == pytest.approx(1.6)
    waiting = pace.table(3)[0] - pace.table(3, replicas=3)[0]
    assert waiting == pytest.approx([0, 0.2, 0.4])  # a third of the batch, but never below 1
    assert (np.diff(pace.table(8)[0]) > 0).all()


@given(st.integers(1, 12), st.integers(0, 50), st.integers(0, 3))
def test_every_draw_is_a_whole_task(seen: int, more: int, seed: int) -> None:
    drawn = counts(seen, seen + more, 20, seed)
    assert drawn.shape == (20, seen)
    assert (drawn >= 1).all()
    assert (drawn.sum(axis=1) == seen + more).all()


def test_an_interval_covers_its_estimate_and_one_problem_has_none() -> None:
    found = estimate(10.0, np.linspace(8, 13, 100), 8)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 8.2 < 12.8 < found.high
    assert estimate(10.0, np.linspace(8, 13, 100), 1).low is None


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 3))
def test_a_pilot_is_from_all_over_the_task(problems: int, count: int, seed: int) -> None:
    chosen = spread(range(problems), count, seed)
    assert len(set(chosen)) == min(count, problems)
    assert chosen == sorted(chosen)
    parts = waves(chosen, 4)
    assert [p for wave in parts for p in wave] == chosen
    assert max(map(len, parts)) <= 4


def test_waves_grow() -> None:
    assert [len(wave) for wave in waves(range(8), 32)] == [1, 2, 5]


def test_equal_lengths_are_foretold_exactly(tmp_path: Path) -> None:
    """Every call says 8 tokens: 0.1 + 8 x 0.02 s."""
    generator = {"name": "scripted", "replies": [EQUAL], "token_seconds": 0.02, "delay": 0.1}
    equal = recipe(generator=generator, strategies=[{"searcher": "best_of_n", "n": 4}])
    found = planned(equal, tmp_path / "pilot", gpus=2)
    row = found.strategies["best_of_n-n=4"]
    (ran,) = asyncio.run(runner.run(equal, tmp_path / "run"))["strategies"]
    for field in row:
        if field != "flops":
            assert row[field].value == pytest.approx(ran.get(field, 0)), field
            assert row[field].low == pytest.approx(row[field].high), field
    assert row["money"].value == pytest.approx(40 * 4 * 8 * 2e-6)
    assert found.run["calls"].value == 160
    assert found.run["seconds"].value == pytest.approx(20 * 0.26)  # of 40, 2 make 4 calls at once
    assert found.run["gpu_hours"].value == pytest.approx(2 * 5.2 / 3600)
    assert found.law.seconds(8, 0) == pytest.approx(0.26)
    assert found.otherwise["twice as many problems at once"] == pytest.approx(10 * 0.26)


@pytest.mark.parametrize("shared", [False, True], ids=["live", "shared"])
def test_what_a_run_costs_is_foretold(shared: bool, tmp_path: Path) -> None:
    changed = recipe(share_samples=shared)
    found = planned(changed, tmp_path / "pilot")
    summary = asyncio.run(runner.run(changed, tmp_path / "run"))
    for ran in summary["strategies"]:
        row = found.strategies[ran["name"]]
        for field in ("calls", "generated_tokens", "critical_tokens", "seconds", "money"):
            assert row[field].value == pytest.approx(ran[field], rel=0.2), (ran["name"], field)
            assert row[field].low is not None
            assert row[field].low <= row[field].value <= (row[field].high or 0)
    paid = sum(s["calls"] for s in summary["strategies"])
    assert found.run["calls"].value == pytest.approx(paid, rel=0.2)


def test_shared_samples_are_paid_once(tmp_path: Path) -> None:
    strategies = [{"searcher": "self_consistency", "n": [2, 4]}]
    found = planned(recipe(strategies=strategies, share_samples=True), tmp_path / "run")
    assert found.run["calls"].value == 40 * 4
    assert found.strategies["self_consistency-n=2"]["calls"].value == 40 * 2
    most = found.strategies["self_consistency-n=4"]["money"].value
    assert found.run["money"].value == pytest.approx(most)


def test_a_pilot_of_everything_is_certain(tmp_path: Path) -> None:
    whole = recipe(task={"name": "nano", "n": 5})
    found = planned(whole, tmp_path / "run")
    summary = asyncio.run(runner.run(whole, tmp_path / "run"))
    assert found.seen == 5
    for ran in summary["strategies"]:
        row = found.strategies[ran["name"]]
        assert row["generated_tokens"].value == ran["generated_tokens"]
        assert row["generated_tokens"].low == row["generated_tokens"].high


def test_a_run_goes_on_with_its_pilot(tmp_path: Path) -> None:
    planned(recipe(), tmp_path / "run")
    before = (tmp_path / "run" / "results.jsonl").read_text()
    summary = asyncio.run(runner.run(recipe(), tmp_path / "run"))
    assert (tmp_path / "run" / "results.jsonl").read_text().startswith(before)
    assert summary["strategies"][0]["problems"] == 40
    with pytest.raises(StoreError, match="a pilot needs a new --out"):
        planned(recipe(), tmp_path / "run")


def test_the_embedded_model_in_real_time(tmp_path: Path) -> None:
    real = recipe(
        task={"name": "nano", "n": 30},
        generator="nano",
        verifier="nano_prm",
        strategies=[{"searcher": "best_of_n", "n": 2}],
        sampling={"max_tokens": 12},
    )
    found = planned(real, tmp_path / "run", problems=3)
    row = found.strategies["best_of_n-n=2"]
    assert not found.virtual
    assert row["calls"].value == 60
    assert row["flops"].value > 0
    assert found.run["flops"].value == pytest.approx(row["flops"].value)
    assert found.run["seconds"].value > 0
    assert "two replicas" in found.otherwise


def test_the_command(tmp_path: Path) -> None:
    command = CliRunner()
    sets = ["--set", "generator={name: scripted, token_seconds: 0.02}", "--set", "verifier=oracle"]
    sets += ["--set", "strategies=[{searcher: best_of_n, n: 2}]", "--limit", "6", "--pilot", "3"]
    done = command.invoke(app, ["plan", "quickstart", *sets])
    assert done.exit_code == 0, done.output
    assert "the whole run" in done.output.replace("\n", " ")
    done = command.invoke(app, ["plan", "quickstart", "--json", "--gpus", "2", *sets])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pilot"] == 3
    assert found["strategies"]["best_of_n-n=2"]["calls"]["value"] == 12
    assert found["run"]["gpu_hours"]["value"] > 0


def test_a_narrow_terminal_leaves_nothing_of_an_interval_out(tmp_path: Path) -> None:
    found = planned(recipe(), tmp_path)
    console = Console(width=60, force_terminal=False)
    with console.capture() as capture:
        show(found, console)
    assert "…" not in capture.get()
    known = replace(found.run["seconds"], value=0.676, low=0.67601, high=0.67602)
    with console.capture() as capture:
        show(replace(found, run={**found.run, "seconds": known}), console)
    assert "0.676" in capture.get()
    assert "0.676 to" not in " ".join(capture.get().split())
