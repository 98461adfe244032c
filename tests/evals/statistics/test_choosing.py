"""What tells of choices without asking again: abstention, places, and who can be believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.statistics.abstention import risk_coverage
from evals.statistics.places import place_bias
from evals.statistics.top_two import top_two

# ---------------------------------------------------------------------------- abstention


def test_risk_by_hand() -> None:
    found = risk_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    assert found.risk == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert found.area.value == pytest.approx(7 / 48)
    assert found.best == pytest.approx(1 / 16)
    assert (found.at(0.5), found.at(1.0), found.at(0.01)) == (0, 0.25, 0)
    assert found.area.low <= found.area.value <= found.area.high


def test_equal_confidences_say_nothing() -> None:
    found = risk_coverage([0.5] * 10, [True] * 7 + [False] * 3)
    assert found.risk == pytest.approx([0.3] * 10)
    assert found.area.value == pytest.approx(0.3)


def test_the_best_order_and_the_worst() -> None:
    right = [True] * 6 + [False] * 4
    best = risk_coverage(list(range(10, 0, -1)), right)
    assert best.area.value == pytest.approx(best.best)
    worst = risk_coverage(list(range(10)), right)
    assert worst.area.value > worst.risk[-1] > best.area.value


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=9))
def test_ties_are_the_mean_over_orders(rows: list[tuple[float, bool]]) -> None:
    x, y = zip(*rows, strict=True)
    found = risk_coverage(x, y, resamples=2)
    assert found.area.value == pytest.approx(found.risk.mean())
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(400):
        order = np.lexsort((rng.random(len(x)), -np.array(x)))
        wrong = ~np.array(y)[order]
        areas.append((wrong.cumsum() / np.arange(1, len(x) + 1)).mean())
    error = np.std(areas) / 20 + 1e-9
    assert abs(np.mean(areas) - found.area.value) < 5 * error


def test_the_interval_covers() -> None:
    """Of 100 runs of a known curve some 95 intervals hold its mean."""
    rng = np.random.default_rng(1)
    areas, held = [], []
    for _ in range(100):
        x = rng.random(80)
        found = risk_coverage(x, rng.random(80) < x, resamples=200)
        areas.append(found.area.value)
        held.append(found.area)
    truth = float(np.mean(areas))
    assert 85 <= sum(i.low <= truth <= i.high for i in held) <= 100


@pytest.mark.parametrize(("x", "y"), [([], []), ([0.5], []), ([float("nan")], [True])])
def test_no_curve(x: list[float], y: list[bool]) -> None:
    with pytest.raises(ValueError, match="needed for each answer"):
        risk_coverage(x, y)


# -------------------------------------------------------------------------------- places


def test_a_fair_judge_and_one_that_likes_the_first() -> None:
    fair = place_bias([1, 0, 1, 0], [2, 2, 2, 2], "aabb")
    assert fair is not None
    assert (fair.excess.value, fair.verdicts, fair.problems) == (0, 4, 2)
    biased = place_bias([1.0] * 6, [3] * 6, "abcdef")
    assert biased is not None
    assert biased.excess.value == pytest.approx(2 / 3)
    assert biased.excess.low > 0


def test_problems_are_resampled_and_not_verdicts() -> None:
    """Many verdicts on one problem are one problem's."""
    many = place_bias([1.0] * 50 + [0.0] * 50, [2] * 100, "a" * 50 + "b" * 50)
    assert many is not None
    assert (many.excess.low, many.excess.high) == (-0.5, 0.5)


def test_no_verdicts() -> None:
    assert place_bias([], [], []) is None


# ------------------------------------------------------------------------------- top two


def test_known_pool() -> None:
    rows = ["1231", "1231", "1232", "1332", "2113"]
    found = top_two([[int(c) for c in row] for row in rows], 3)
    assert found.first.tolist() == [1, 2, 3, 1]
    assert found.second.tolist() == [2, 3, 1, 2]
    assert found.reliability == pytest.approx([0.999] * 4 + [0.001])
    assert found.sure == pytest.approx([0.938, 0.738, 0.938, 0.530], abs=5e-4)


def test_it_finds_who_can_be_believed() -> None:
    """16 workers of unlike reliability, 300 problems, 4 options: fewer errors than the vote."""
    workers, problems, options = 16, 300, 4
    votes, found, alike = [], [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        p, q = rng.random(workers), rng.uniform(0.5, 1, problems)
        pairs = np.array([rng.permutation(options)[:2] + 1 for _ in range(problems)])
        known = rng.random((workers, problems)) < p[:, None]
        told = np.where(rng.random((workers, problems)) < q, pairs[:, 0], pairs[:, 1])
        y = np.where(known, told, rng.integers(1, options + 1, (workers, problems)))
        counts = np.stack([(y == k).sum(axis=0) for k in range(1, options + 1)])
        votes.append((counts.argmax(axis=0) + 1 != pairs[:, 0]).mean())
        result = top_two(y.tolist(), options)
        found.append((result.voted != pairs[:, 0]).mean())
        alike.append(np.corrcoef(result.reliability, p)[0, 1])
    assert np.mean(found) < np.mean(votes) - 0.01
    assert min(alike) > 0.95


def test_missing_answers() -> None:
    found = top_two([[1, 2, 3, 1], [1, 2, 0, 1], [1, 0, 3, 1], [2, 2, 3, 0]], 3)
    assert found.voted.tolist() == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("labels", "options"), [([], 3), ([[1, 2]], 2), ([[4]], 3), ([[-1]], 3), ([[0]], 3)]
)
def test_no_pool(labels: list[list[int]], options: int) -> None:
    with pytest.raises(ValueError, match="labels are"):
        top_two(labels, options)
