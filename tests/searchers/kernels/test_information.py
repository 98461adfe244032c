"""MITS: dynamic branching and the choice among chains."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.kernels.information import branches, elect

HISTORY = [0.01 * i for i in range(101)]  # 33rd percentile 0.33, 67th 0.67


@pytest.mark.parametrize(
    ("entropy", "expected"),
    [
        (0.50, 3),  # between the percentiles
        (0.33, 3),
        (0.67, 3),
        (0.83, 4),  # 3 + 2 * 0.16 / 0.34
        (0.90, 4),  # 3 + 1.35
        (0.95, 5),  # 3 + 1.65
        (9.99, 5),  # clipped at 2
        (0.20, 2),  # 3 - 0.76
        (0.05, 1),  # 3 - 1.65
        (-9.9, 1),  # clipped at -2
    ],
)
def test_branches_follow_entropy(entropy: float, expected: int) -> None:
    assert branches(entropy, HISTORY) == expected


def test_guards_of_branching() -> None:
    assert branches(9.0, HISTORY[:9]) == 3, "too little history"
    assert branches(math.nan, HISTORY) == 3, "the root has no entropy"
    assert branches(0.5, [0.5] * 20) == 3, "no gap, on it"
    assert branches(0.6, [0.5] * 20) == 5, "no gap, above"
    assert branches(0.4, [0.5] * 20) == 1, "no gap, below"
    assert branches(0.0, HISTORY, base=1) == 1, "one at least"
    assert branches(9.0, HISTORY, gain=0.0) == 3
    assert branches(9.0, HISTORY, spread=4.0) == 7


@given(st.floats(-5, 5), st.lists(st.floats(0, 4), max_size=40), st.integers(1, 6))
def test_branches_stay_in_bounds(entropy: float, history: list[float], base: int) -> None:
    assert max(1, base - 2) <= branches(entropy, history, base=base) <= base + 2


def test_elect_is_value_times_frequency() -> None:
    stars = elect([3.0, 2.0, 2.5], ["a", "b", "b"], 4)
    assert stars == pytest.approx([0.75, 1.0, 1.25])


def test_elect_looks_at_the_top_only() -> None:
    assert elect([3.0, 1.0, 1.0], ["a", "b", "b"], 1) == [3.0, -math.inf, -math.inf]


def test_agreement_never_hurts_where_values_are_negative() -> None:
    stars = elect([-1.0, -2.0, -1.0, -5.0], ["a", "b", "b", "c"], 4)
    assert stars == pytest.approx([1.0, 1.5, 2.0, 0.0])


def test_unknown_values_and_answers() -> None:
    assert elect([], [], 3) == []
    assert elect([1.0, 2.0], [None, "a"], 2) == [-math.inf, 1.0]
    assert elect([math.nan, 2.0, -math.inf], ["a", "b", "a"], 4) == pytest.approx([1.0, 0.5, 1.0])
    assert elect([-math.inf], ["a"], 1) == [0.0]


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.sampled_from(["a", "b", None])), min_size=1, max_size=9)
)
def test_elect_gives_no_nan_and_no_win_to_silence(chains: list[tuple[float, str | None]]) -> None:
    values, answers = zip(*chains, strict=True)
    stars = elect(values, answers, 5)
    assert not any(math.isnan(star) for star in stars)
    assert all(star == -math.inf for star, a in zip(stars, answers, strict=True) if a is None)
