"""What is worked out about strategies and verifiers: published and hand-made vectors."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.measures import confidence, direct, elimination, flawed_verifier, judges
from evals.measures.finding import NotMeasuredError
from evals.measures.flawed_verifier import Resampling
from evals.measures.stored import Stored
from evals.statistics.intervals import Interval
from reasoning.runs.recipe import parse
from reasoning.runs.run import run


@pytest.mark.parametrize(
    ("penalty", "attempts", "worth"), [(-0.7, 3, 0.5246), (-1, 2, 0.4724), (-2, 1, 0.3388)]
)
def test_the_published_example_of_an_imperfect_verifier(
    penalty: float, attempts: int, worth: float
) -> None:
    model = Resampling(np.array([0.58, 0.42]), np.array([0.87, 0.13]), 1.0, 0.75)
    assert model.best(penalty) == attempts
    assert model.worth(penalty)[attempts] == pytest.approx(worth, abs=5e-5)


def test_infinite_resampling_is_no_better_than_its_verifier_on_the_hardest() -> None:
    assert flawed_verifier.limit_precision(0.13, 1.0, 0.75) == pytest.approx(0.3741, abs=5e-5)
    model = Resampling(np.array([1.0]), np.array([0.13]), 1.0, 0.75)
    assert model.precision(1) == pytest.approx(0.3741, abs=5e-5)
    assert model.precision(64) == pytest.approx(0.3741, abs=5e-5)  # of one type it stays
    assert model.best(-10) == 0  # better not to answer


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_every_attempt_ends_or_goes_on(rate: float, complete: float, sound: float) -> None:
    right, wrong = Resampling(np.ones(1), np.array([rate]), complete, sound).accepted(2)
    rejected = (1 - complete) * rate + sound * (1 - rate)
    assert right[0] + wrong[0] + rejected == pytest.approx(1)
    assert right[1] == pytest.approx(rejected * right[0])


def test_a_binary_judge_is_corrected() -> None:
    assert judges.corrected(0.6, 0.9, 0.2) == pytest.approx(0.5714, abs=5e-5)
    assert judges.corrected(0.1, 0.9, 0.2) == 0
    assert math.isnan(judges.corrected(0.6, 0.5, 0.5))
    assert judges.ranks([0.3, 0.9, 0.3]).tolist() == [2.5, 1, 2.5]


def test_a_trusted_judge_ranks_by_its_means_and_another_leaves_it_open() -> None:
    counts = np.array([[300, 400, 300], [200, 500, 300]])
    means = judges.levels(counts, 1e9, draws=300)
    assert means.mean(axis=0) == pytest.approx([1.0, 1.1], abs=0.01)
    assert np.mean(means[:, 1] > means[:, 0]) > 0.95
    # Three levels and an unknown judge: the order is not identified.
    doubtful = judges.levels(np.array([[300, 400, 300], [240, 500, 260]]), 0.0, draws=600)
    assert 0.02 < np.mean(doubtful[:, 1] > doubtful[:, 0]) < 0.98
    with pytest.raises(ValueError, match="two levels"):
        judges.levels(np.array([[3], [4]]), 1.0)


def test_two_levels_keep_the_raw_order_whatever_the_judge() -> None:
    counts = np.array([[60, 140], [80, 120], [120, 80]])
    means = judges.levels(counts, 5.0, draws=400).mean(axis=0)
    assert means[0] > means[1] > means[2]


def test_help_and_hurt_add_up_to_the_difference() -> None:
    found = direct.changed([1, 0, 0, 1], [0, 1, 1, 1])
    assert (sum(found.helped), sum(found.hurt)) == (2, 1)
    assert confidence.overconfidence([0.9, 0.7], [True, False]) == pytest.approx(0.3)


def test_a_worse_strategy_is_dropped_early_and_an_equal_one_never() -> None:
    good, bad = np.ones(64), np.zeros(64)
    raced = elimination.eliminate([good, bad])
    assert raced == ([0], 16)  # 8 problems each: 2 / 2^8 is less than 0.05 / 4 looks
    assert elimination.eliminate([good, good]) == ([0, 1], 128)
    assert elimination.eliminate([good, bad], delta=0) == ([0, 1], 128)
    with pytest.raises(ValueError, match="0 and 1"):
        elimination.eliminate([[0.5]])


def test_where_nothing_hurts_nothing_hurts_most(tmp_path: Path) -> None:
    quiz = tmp_path / "quiz.jsonl"
    quiz.write_text('{"id": "p", "question": "q", "answer": "1"}\n')
    recipe = {
        "task": {"name": "jsonl", "path": str(quiz)},
        "generator": {"name": "scripted", "replies": ["\\boxed{1}"]},
        "strategies": [{"searcher": "self_consistency", "n": [1, 2]}],
    }
    asyncio.run(run(parse(recipe), tmp_path / "run"))
    found = direct.measure(Stored([tmp_path / "run"]))
    assert "nothing turns a right answer wrong (0.000 to 0.793) of 1 problems" in found.says
    assert "hurts" not in found.says


def test_strategies_of_a_run(small_run: Path) -> None:
    stored = Stored([small_run])
    found = direct.measure(stored)
    assert [row[0] for row in found.rows] == ["vote-n=2", "vote-n=3"]  # deep is the cheapest
    hurt = found.rows[0][4]
    assert isinstance(hurt, Interval)
    assert hurt.value == pytest.approx(2 / 6)
    with pytest.raises(NotMeasuredError, match="more than 8 common problems"):
        elimination.measure(stored)
    with pytest.raises(NotMeasuredError, match="no strategy reports a confidence"):
        confidence.measure(stored)
    with pytest.raises(NotMeasuredError, match="accepts no sample"):
        flawed_verifier.measure(stored)
