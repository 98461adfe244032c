from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from searchers.kernels.allocate import evenly, sibling_penalty, softmax_shares, top

scores = st.lists(st.floats(0, 1), min_size=1, max_size=12)
values = st.lists(
    st.one_of(st.floats(-1e300, 1e300), st.sampled_from([0.0, 0.5, -np.inf])),
    min_size=1,
    max_size=12,
)


def array(items: list[float]) -> np.ndarray:
    return np.array(items, dtype=float)


# --------------------------------------------------------------------------------- top


@given(values, st.integers(-2, 15))
def test_top_marks_the_highest(items: list[float], k: int) -> None:
    chosen = top(array(items), k)
    assert chosen.sum() == min(len(items), max(0, k))
    if chosen.any() and not chosen.all():
        assert array(items)[chosen].min() >= array(items)[~chosen].max()


def test_top_takes_the_earlier_of_equals() -> None:
    assert top(array([0.5, 0.7, 0.5, 0.7, 0.5]), 3).tolist() == [True, True, False, True, False]


def test_top_never_takes_one_that_is_not_eligible() -> None:
    eligible = np.array([False, True, True, False])
    assert top(array([9, -np.inf, 0.1, 8]), 3, eligible).tolist() == [False, True, True, False]


# ------------------------------------------------------------------------------ evenly


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 50))
def test_evenly_shares_out_all_and_differs_by_one(chosen: list[bool], total: int) -> None:
    mask = np.array(chosen, dtype=bool)
    counts = evenly(mask, total)
    assert not counts[~mask].any()
    if mask.any():
        assert counts.sum() == total
        assert np.ptp(counts[mask]) <= 1
        assert (np.diff(counts[mask]) <= 0).all()  # the earlier get more


# --------------------------------------------------------------------- sibling penalty


def test_sibling_penalty_by_hand() -> None:
    out = sibling_penalty(array([0.9, 0.8, 0.85, 0.5]), np.array([1, 1, 1, 2]), 0.1)
    assert out == pytest.approx([0.9, 0.6, 0.75, 0.5])


@given(scores)
def test_without_penalty_nothing_changes(items: list[float]) -> None:
    parents = np.arange(len(items)) % 3
    assert sibling_penalty(array(items), parents, 0.0).tolist() == items


# -------------------------------------------------------------------- REBASE's rounding


@pytest.mark.parametrize(
    ("items", "total", "expected"),
    [
        ([0.9, 0.8, 0.5, 0.1], 16, [10, 5, 1, 0]),
        ([0.8, 0.7, 0.6], 5, [3, 2, 0]),
        ([0.9, 0.1], 4, [4, 0]),
        ([0.5, 0.5, 0.5, 0.5], 16, [4, 4, 4, 4]),  # the plain ceiling gives 4, 4, 5, 4
    ],
)
def test_rebase_vectors(items: list[float], total: int, expected: list[int]) -> None:
    assert softmax_shares(array(items), total, 0.2).tolist() == expected


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_equal_scores_get_equal_shares(n: int, each: int, score: float) -> None:
    counts = softmax_shares(np.full(n, score), n * each, 0.2)
    assert counts.tolist() == [each] * n


@given(values, st.integers(0, 64), st.floats(1e-3, 1e3))
def test_shares_add_up_and_favour_the_best(
    items: list[float], total: int, temperature: float
) -> None:
    counts = softmax_shares(array(items), total, temperature)
    assert counts.sum() == total
    assert (counts >= 0).all()
    best_first = counts[np.argsort(-array(items), kind="stable")]
    if len(best_first) > 1:
        assert (np.diff(best_first) <= 1).all()  # a ceiling may round one up past its better


@given(scores, st.integers(1, 64), st.randoms(use_true_random=False))
def test_shares_do_not_depend_on_the_order(items: list[float], total: int, random: object) -> None:
    distinct = list(dict.fromkeys(items))
    shuffled = distinct[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = dict(zip(distinct, softmax_shares(array(distinct), total, 0.2), strict=True))
    other = dict(zip(shuffled, softmax_shares(array(shuffled), total, 0.2), strict=True))
    assert one == other


@given(scores, st.integers(1, 64))
@example([0.0, 0.0, 0.5, 2.2250738585072014e-308], 6)  # a difference that the softmax cannot see
def test_each_share_is_the_exact_ceiling_of_what_is_left(items: list[float], total: int) -> None:
    """The rule as published, in exact arithmetic on the rounded weights."""
    from fractions import Fraction
    from math import ceil, exp

    peak = max(items)
    weights = [Fraction(exp((x - peak) / 0.2)) for x in items]
    order = sorted(range(len(items)), key=lambda i: (-items[i], i))
    left, mass, expected = total, sum(weights), [0] * len(items)
    slack = Fraction(1, 10**9)
    for i in order:
        if left and mass:
            share = left * weights[i] / mass
            assume(abs(share - round(share) - slack) > slack / 2)  # else rounding errors decide
            expected[i] = ceil(share - slack)
            left -= expected[i]
            mass -= weights[i]
    assert softmax_shares(array(items), total, 0.2).tolist() == expected


def test_shares_of_nothing() -> None:
    assert softmax_shares(array([]), 5, 0.2).tolist() == []
    assert softmax_shares(array([0.3, 0.4]), 0, 0.2).tolist() == [0, 0]
    assert softmax_shares(array([0.3, 0.4]), -2, 0.2).tolist() == [0, 0]


def test_unscored_paths_get_nothing_unless_all_are() -> None:
    assert softmax_shares(array([-np.inf, 0.1]), 4, 0.2).tolist() == [0, 4]
    assert softmax_shares(array([-np.inf, -np.inf]), 4, 0.2).tolist() == [2, 2]
