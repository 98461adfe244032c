"""Cascades from two recordings: the curve by one sort is every threshold tried one by one."""

from __future__ import annotations

import asyncio
import json
from math import inf
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from evals.replay.cascade import Units, area, at, curve, fitted, held_out, paired
from evals.replay.samples import Drawn, Recording, Stored
from reasoning.backends.formats import run_folder
from reasoning.cli.app import app
from reasoning.errors import RecipeError
from reasoning.runs.recipe import parse
from reasoning.runs.run import run
from reasoning.runs.store import Store
from searchers.kernels.deferral import Feature


def units(rows: list[tuple[int, float, float, float, float, float]]) -> Units:
    """Rows of problem, sureness, right and right of the large one, cost and cost of that."""
    x = np.asarray(rows, dtype=float)
    names = [str(i) for i in range(int(x[:, 0].max()) + 1)]
    return Units(names, x[:, 0].astype(np.intp), x[:, 1], x[:, 2:4], x[:, 4:6])


THREE = [(0, 0.9, 0.9, 0.95, 1.0, 3.0), (1, 0.6, 0.6, 0.65, 1.0, 3.0), (2, 0.3, 0.3, 0.9, 1.0, 3.0)]


def test_the_ends_are_the_two_models() -> None:
    """Deferring all costs both."""
    found = curve(units(THREE))
    assert found.threshold.tolist() == [0.3, 0.6, 0.9, inf]
    assert found.deferred == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert found.accuracy == pytest.approx([0.6, 0.8, 2.45 / 3, 2.5 / 3])
    assert found.cost == pytest.approx([1, 2, 3, 4])
    assert found.large == pytest.approx((3, 2.5 / 3))


def test_area_against_the_two_models_alone() -> None:
    """The line goes from (1, .6) to (3, .8333), then stays."""
    found = curve(units(THREE))
    line = [0.6, 0.6 + 0.7 / 6, 2.5 / 3, 2.5 / 3]
    assert found.alone(found.cost) == pytest.approx(line)
    gaps = np.asarray([0.6, 0.8, 2.45 / 3, 2.5 / 3]) - line
    assert found.area == pytest.approx(float((gaps[1:] + gaps[:-1]).sum() / 2 / 3))
    cheap = curve(units([(i, s, a, b, 3.0, 1.0) for i, s, a, b, _, _ in THREE]))
    assert cheap.area < 0  # the large one is cheaper and better: no cascade pays


def test_confidence_that_is_wrong_defers_the_wrong_ones() -> None:
    """By accuracy, the second gain is .05; by the gain itself the order is another."""
    by_gain = [(i, a - b, a, b, c, d) for i, _, a, b, c, d in THREE]
    assert curve(units(by_gain)).area >= curve(units(THREE)).area
    backwards = [(i, -s, a, b, c, d) for i, s, a, b, c, d in THREE]
    assert curve(units(backwards)).area < 0 < curve(units(THREE)).area


share = st.integers(0, 4).map(lambda x: x / 4)
ROWS = st.lists(
    st.tuples(st.integers(0, 3), share, share, share, st.integers(1, 5), st.integers(1, 9)),
    min_size=1,
    max_size=12,
).map(lambda rows: [(i, *row) for i in range(4) for row in [r[1:] for r in rows if r[0] == i]])


@given(ROWS)
def test_every_threshold_tried_one_by_one_gives_the_same(rows: list[Any]) -> None:
    ids = {p: i for i, p in enumerate(sorted({row[0] for row in rows}))}
    u = units([(ids[row[0]], *row[1:]) for row in rows])
    found, w = curve(u), u.weights()
    assert w.sum() == pytest.approx(1)
    for t, cost, accuracy, deferred in zip(
        found.threshold, found.cost, found.accuracy, found.deferred, strict=True
    ):
        late = u.sure < t
        assert deferred == pytest.approx(float(w @ late))
        assert cost == pytest.approx(float(w @ (u.cost[:, 0] + late * u.cost[:, 1])))
        right = np.where(late, u.right[:, 1], u.right[:, 0])
        assert accuracy == pytest.approx(float(w @ right))
    values = [mean.value for mean in at(u, found.threshold.tolist())]
    assert values == pytest.approx(found.accuracy.tolist())


def test_the_interval_is_over_problems() -> None:
    rows = [(i, (i * 7) % 20, float(i % 3 == 0), 1.0, 1.0, 2.0) for i in range(20)]
    found = area(units(rows))
    assert found.low < found.value < found.high
    assert area(units(rows)) == found


# ------------------------------------------------------------------------------ recordings


def drawn(key: int, right: bool, tokens: float = 10, **more: Any) -> Drawn:
    return Drawn(key, right, True, tokens, **more)


def recording(name: str, *problems: list[Drawn]) -> Recording:
    return Recording(name, [Stored(str(i), list(p)) for i, p in enumerate(problems)])


SMALL = recording(
    "small",
    [drawn(0, True), drawn(0, True), drawn(1, False)],
    [drawn(-1, False), drawn(1, False), drawn(0, True)],
    [drawn(0, True)] * 3,
)
LARGE = recording("large", [drawn(0, True, 30)], [drawn(0, True, 30), drawn(1, False, 50)])


def test_what_both_hold_is_paired() -> None:
    large = recording("large", [drawn(0, True, 30)] * 3, [drawn(0, True), drawn(1, False, 50)] * 3)
    found, by, rule = paired(SMALL, large, k=3, prices=(2.0, 3.0))
    assert (found.names, by, rule) == (["0", "1"], "agreement", {})
    assert found.sure == pytest.approx([2 / 3, 1 / 3])
    assert found.right.tolist() == [[1.0, 1.0], [0.0, 0.5]]  # the earliest of equal votes
    assert found.cost.tolist() == [[60.0, 270.0], [60.0, 270.0]]


def test_single_samples_share_the_weight_of_their_problem_and_silence_is_never_sure() -> None:
    found, by, _ = paired(SMALL, LARGE)
    assert by == "tokens"
    assert found.sure.tolist() == [-10, -10, -10, -inf, -10, -10]
    assert found.weights() == pytest.approx([1 / 6] * 6)
    assert found.right[:, 1].tolist() == [1.0] * 3 + [0.5] * 3
    assert found.cost[0].tolist() == [10.0, 30.0]


def test_a_rule_is_fitted_to_the_difference_and_judged_on_other_problems() -> None:
    rng = np.random.default_rng(0)
    problem = np.repeat(np.arange(40), 2)
    x = np.stack([np.ones(80), rng.uniform(size=80)], axis=1)
    gain = x @ np.asarray([-0.2, 0.7])
    assert fitted(x, gain, problem) == pytest.approx([-0.2, 0.7])
    assert held_out(x, gain, problem) == pytest.approx(gain)
    noise = rng.standard_normal(80)
    leak = np.eye(80)  # remembers every answer, and so knows nothing of another problem's
    assert fitted(leak, noise, problem) == pytest.approx(noise)
    assert held_out(leak, noise, problem) == pytest.approx(np.zeros(80))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 2}, "--votes must be from 1 to 1"),
        ({"by": "score"}, "no sample of the small model has any"),
    ],
)
def test_what_cannot_be_done_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        paired(SMALL, LARGE, **options)


def test_a_rule_is_fitted_for_single_samples() -> None:
    with pytest.raises(RecipeError, match="--votes 1"):
        paired(SMALL, SMALL, by="gain", k=2)


def test_recordings_of_other_problems_are_refused() -> None:
    other = Recording("other", [Stored("x", [drawn(0, True)])])
    with pytest.raises(RecipeError, match="share 0 problems"):
        paired(SMALL, other)


def test_the_command(tmp_path: Path) -> None:
    def write(name: str, answers: list[str]) -> Path:
        rows = [
            {
                "id": str(i),
                "question": "q",
                "answer": "1",
                "samples": [{"text": f"\\boxed{{{a}}}", "n_tokens": 5, "finish_reason": "stop"}]
                * 2,
            }
            for i, a in enumerate(answers)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    small, large = write("small", ["1", "2", "1", "2"]), write("large", ["1", "1", "1", "2"])
    out = tmp_path / "out"
    command = ["replay", str(small), "--cascade", str(large), "--out", str(out)]
    told = CliRunner().invoke(app, [*command, "--prices", "1,4"])
    assert told.exit_code == 0, told.output
    found = json.loads((out / "cascade.json").read_text())
    assert found["large_alone"] == {"cost": 20.0, "accuracy": 0.75}
    assert [p["cost"] for p in found["points"]] == [5.0, 25.0]
    curve_file = (out / "cascade.csv").read_text().splitlines()
    assert curve_file == ["threshold,deferred,cost,accuracy", "-5,0,5,0.5", "inf,1,25,0.75"]
    assert (out / "cascade.png").stat().st_size > 1000
    wrong = CliRunner().invoke(app, [*command, "--prices", "cheap"])
    assert "--prices takes two prices" in str(wrong.exception or wrong.output)


def test_two_models_of_one_file(tmp_path: Path) -> None:
    """What a recording does not count is estimated, and said."""

    def sample(answer: str, **more: Any) -> dict[str, Any]:
        return {"text": f"\\boxed{{{answer}}}", "finish_reason": "stop", **more}

    rows = [
        {"id": str(i), "question": "q", "answer": "1", "model": model, "samples": [found]}
        for i in range(3)
        for model, found in (
            ("large", sample("1", n_tokens=7)),
            ("small", sample("1" if i else "2")),
        )
    ]
    path, out = tmp_path / "both.jsonl", tmp_path / "out"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["replay", str(path), "--cascade", str(path), "--out", str(out)]
    which = ["--where", "model=small", "--large-where", "model=large"]
    told = CliRunner().invoke(app, [*command, *which])
    assert told.exit_code == 0, told.output
    found = json.loads((out / "cascade.json").read_text())
    assert found["large_alone"] == pytest.approx({"cost": 7.0, "accuracy": 1.0})
    assert found["points"][0]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["notes"] == ["both.jsonl: tokens of 3 samples are estimated"]


def test_a_rule_fitted_to_a_run_is_what_the_searcher_goes_by(tmp_path: Path) -> None:
    """Both models' samples are in one run; the searcher decides problem by problem by the rule."""
    common: dict[str, Any] = {
        "task": {"name": "nano", "n": 8, "difficulty": 2},
        "generator": "nano",
        "models": {"small": {"name": "nano", "model": "nano_draft"}},
        "sampling": {"max_tokens": 80},
    }
    strategies = [
        {"name": "large", "searcher": "self_consistency", "n": 2},
        {"name": "small", "searcher": "ensemble", "members": ["small"], "n": 2},
    ]
    folder = tmp_path / "run"
    asyncio.run(run(parse({**common, "strategies": strategies}), folder))
    command = ["replay", str(folder), "--cascade", str(folder), "--out", str(tmp_path / "out")]
    which = ["--samples-of", "small", "--large-samples-of", "large", "--by", "gain"]
    told = CliRunner().invoke(app, [*command, *which])
    assert told.exit_code == 0, told.output
    rule = json.loads((tmp_path / "out" / "cascade.json").read_text())["rule"]
    assert set(rule) == set(get_args(Feature))
    cascade = {"searcher": "cascade", "order": ["small", ""], "by": "gain", "gain": rule}
    again = tmp_path / "again"
    asyncio.run(run(parse({**common, "strategies": [cascade]}), again))
    for line in map(json.loads, (again / "results.jsonl").read_text().splitlines()):
        tree = run_folder.load(Store(again).tree_path(line["strategy"], line["problem"]))
        first = tree[(0,)].sample
        assert first.logprobs is not None
        mean, p = float(np.mean(first.logprobs)), float(np.exp(np.sum(first.logprobs)))
        worth = rule["intercept"] + rule["logprob"] * mean + rule["probability"] * p
        worth += rule["tokens"] * first.generated_tokens / 1000
        worth += rule["entropy"] * -(p * np.log(p) + (1 - p) * np.log1p(-p))
        silent = next(c for c in line["candidates"] if c["path"] == [0])["answer"] is None
        assert (len(line["candidates"]) == 2) == (worth > 0 or silent)
