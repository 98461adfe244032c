"""Which is better at a cost: curves of runs and replays, read off by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.measures.at_cost import compared, cost
from evals.measures.finding import Finding, told
from evals.replay import curves
from evals.replay.evaluate import choose, evaluate, report
from evals.replay.sources import load
from evals.statistics.intervals import Interval
from reasoning.cli.app import app
from reasoning.errors import RecipeError, StoreError

Record = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "amount", "axis"),
    [
        ("1000tokens", 1000, "generated_tokens"),
        ("1,000 tokens", 1000, "generated_tokens"),
        ("250", 250, "generated_tokens"),
        ("1e12flops", 1e12, "flops"),
        ("30 seconds", 30, "seconds"),
        ("1 call", 1, "verifier_calls"),
    ],
)
def test_a_cost_is_an_amount_and_a_unit(text: str, amount: float, axis: str) -> None:
    assert cost(text) == (amount, axis)


@pytest.mark.parametrize("text", ["", "tokens", "0tokens", "-5", "5 apples", "1e999", "1..2"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="such as 1000tokens"):
        cost(text)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, recording: Record) -> Path:
    """A replay of 40 problems: short_m_at_k picks the shorter answers, which are the right ones."""
    folder = tmp_path_factory.mktemp("replay")
    source = load(recording(folder / "samples.jsonl.gz", rows=40))
    strategies = choose(["self_consistency", "short_m_at_k-m=1"])
    results = evaluate(source, strategies, budgets=[1, 2, 4, 8], orders=3)
    assert report(source, results, {}, orders=3, seed=0)["cost"] == "tokens"
    curves.save(source, results, "tokens", folder)
    return folder


def test_what_is_saved_is_read_again(replayed: Path, tmp_path: Path) -> None:
    found = curves.load(replayed)
    assert list(found.points) == ["self_consistency", "short_m_at_k-m=1"]
    assert found.points["self_consistency"].values.shape == (40, 4)
    assert found.points["self_consistency"].costs[0] == pytest.approx([30, 60, 120, 240])
    (tmp_path / curves.FILE).write_bytes((replayed / curves.FILE).read_bytes()[:100])
    with pytest.raises(StoreError, match="replay again"):
        curves.load(tmp_path)


def difference(finding: Finding, name: str) -> Interval:
    (row,) = (row for row in finding.rows if str(row[0]).endswith(name))
    assert isinstance(row[2], Interval)
    return row[2]


def test_the_better_one_at_a_cost_is_named_with_its_significance(replayed: Path) -> None:
    found = compared([replayed], "60 tokens")
    known = curves.load(replayed).points
    x = [np.log(p.costs.mean(axis=0)) for p in known.values()]
    y = [p.values.mean(axis=0) for p in known.values()]
    vote, short = (float(np.interp(np.log(60), a, b)) for a, b in zip(x, y, strict=True))
    assert difference(found, "self_consistency").value == pytest.approx(vote - short)
    assert found.says.startswith("At 60 generated tokens a problem short_m_at_k-m=1 is right on")
    assert "p < 0.001), which is significant" in found.says
    assert told(found.rows[1][3]) == "< 0.001"
    named = compared([replayed], "60 tokens", "self_consistency")
    assert difference(named, "short_m_at_k-m=1").value == pytest.approx(short - vote)
    assert named.says == found.says


def test_equal_ones_are_not_told_apart(replayed: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / curves.FILE).write_bytes((replayed / curves.FILE).read_bytes())
    found = compared([replayed, twin], "60 tokens", f"{replayed.name}: self_consistency")
    same = difference(found, "twin: self_consistency")
    assert same.value == 0
    assert same.low < 0 < same.high
    again = compared([replayed, twin])  # at the largest cost that is shared
    assert again.says.startswith("At 170 generated tokens a problem")


def test_where_no_two_curves_reach_nothing_is_said(replayed: Path, small_run: Path) -> None:
    with pytest.raises(RecipeError, match=r"no strategy can be read off.*nothing is extrapolated"):
        compared([replayed], "1e6tokens")
    with pytest.raises(RecipeError, match="did you mean 'self_consistency'"):
        compared([replayed], "60tokens", "self_consistenc")
    with pytest.raises(RecipeError, match="knows what strategies cost in"):
        compared([replayed], "60seconds")
    with pytest.raises(RecipeError, match="nothing to pair"):
        compared([replayed, small_run], "60tokens")
    with pytest.raises(StoreError, match="no run and no replay"):
        compared([small_run.parent], "60tokens")


def test_a_run_is_compared_on_the_screen_and_in_files(small_run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["compare", str(small_run), "--out", str(tmp_path / "t")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "t" / "differences.csv").read_text().splitlines()
    assert text[0].startswith("a,b,problems,difference of b,difference of b low")
    assert text[1].startswith("vote-n=2,vote-n=3,6,0.5,")
    assert (tmp_path / "t" / "strategies.tex").read_text().count(r"\\") >= 4
