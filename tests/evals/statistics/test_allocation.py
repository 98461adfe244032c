"""The law of what documents, examples and steps are worth, and what it has a budget spent on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.statistics.allocation import Law, choose, fit

GRID = np.array([[k, m, n] for k in (1, 2, 5, 10) for m in (0, 1, 4) for n in (1, 2, 4)], float)


def test_one_of_everything_is_the_intercept() -> None:
    law = Law((0.4, 0.2, 0.3), (1.0, 1.0, 1.0), -1.0)
    assert law([[1, 1, 1]], [0.5, 0.1, 0.2]) == pytest.approx([0.2689], abs=5e-5)
    assert law([[10, 1, 1]]) == pytest.approx([1 / (1 + np.exp(1 - 0.4 * np.log(10)))])


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_what_follows_the_law_gives_the_law(numbers: list[float]) -> None:
    *weights, c = numbers
    law = Law(tuple(weights), (0.0,) * 3, c, (False, True, False))
    found = fit(GRID, law(GRID), 10**9)
    assert found.shifted == law.shifted  # no example has no logarithm
    assert found.a == pytest.approx(law.a, abs=1e-6)
    assert found.c == pytest.approx(c, abs=1e-6)
    assert found(GRID) == pytest.approx(law(GRID), abs=1e-6)


def test_over_several_domains_what_one_document_brings_is_told_apart() -> None:
    """Two domains with other gains i; the third is predicted without having been seen."""
    grid, law = GRID[:, :2], Law((0.3, 0.1), (1.5, 0.5), -0.5, (False, True))
    gains = np.array([[0.1, 0.05], [0.3, 0.0], [0.2, 0.1]])
    seen = np.repeat(gains[:2], len(grid), axis=0)
    rows = np.concatenate([grid, grid])
    found = fit(rows, law(rows, seen), 10**9, seen)
    assert found.b == pytest.approx(law.b, abs=1e-6)
    assert found(grid, gains[2]) == pytest.approx(law(grid, gains[2]), abs=1e-6)


def test_a_factor_without_gains_has_no_weight_of_them() -> None:
    """Three kinds of problems i, told by i itself beside the number: log exp(i) = i."""
    i = np.repeat([0.0, 0.5, 1.0], 4)
    rows = np.column_stack([np.tile([1.0, 2.0, 4.0, 8.0], 3), np.exp(i)])
    gains = np.column_stack([i, np.zeros(12)])
    law = Law((0.7, -2.0), (0.3, 0.0), 0.5)
    found = fit(rows, law(rows, gains), np.full(12, 10.0**9), gains)
    assert found.a == pytest.approx(law.a, abs=1e-6)
    assert found.b == pytest.approx(law.b, abs=1e-6)
    assert found.b[1] == 0


def test_certain_rates_have_a_logit_and_their_number_counts() -> None:
    few, many = (fit([[1], [2], [4]], [0, 0.5, 1], n) for n in (2, 200))
    assert 0 < few.a[0] < many.a[0] < np.inf


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ([[1, 1], [2, 2], [4, 4]], "do not tell 3 weights apart"),  # both grow together
        ([[1, 1], [2, 1]], "2 settings do not tell 3 weights apart"),
        ([[-1, 1], [2, 1]], "numbers from 0 up"),
    ],
)
def test_what_tells_no_law(settings: list[list[float]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fit(settings, [0.5] * len(settings), 10)


def test_a_factor_without_a_logarithm_is_refused() -> None:
    with pytest.raises(ValueError, match="it has no logarithm"):
        Law((1.0,), (0.0,), 0.0, (False,))([[0]])


def test_the_best_within_the_limit() -> None:
    values, costs = [0.2, 0.5, 0.5, 0.9], [10, 50, 40, 100]
    assert [choose(values, costs, limit) for limit in (10, 45, 50, 99, 100)] == [0, 2, 2, 2, 3]
    with pytest.raises(ValueError, match="cheapest setting costs 10, more than 9"):
        choose(values, costs, 9)
