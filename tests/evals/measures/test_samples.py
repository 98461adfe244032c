"""What is worked out from the samples of one problem: published and hand-made vectors."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evals
from evals.measures.coverage import predicted
from evals.measures.finding import resampled, told
from evals.measures.fragile import shares
from evals.measures.hope_and_risk import relative
from evals.measures.lengths import gap, of_problem, quantile
from evals.measures.reliability import worst_at_k
from evals.measures.saturation import Saturation, fit
from evals.statistics.intervals import Interval
from evals.statistics.metrics import pass_at_k


@pytest.mark.parametrize(
    ("n", "c", "k", "worst"),
    [(10, 3, 1, 0.3), (10, 3, 2, 0.066667), (10, 3, 3, 0.008333), (10, 9, 5, 0.5)],
)
def test_worst_at_k_is_all_of_k(n: int, c: int, k: int, worst: float) -> None:
    assert worst_at_k(n, c, k) == pytest.approx(worst, abs=5e-7)


@given(st.integers(1, 30), st.data())
def test_worst_is_below_average_is_below_best(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    worst, best = worst_at_k(n, c, k), pass_at_k(n, c, k)
    assert worst <= c / n + 1e-12 <= best + 2e-12
    assert worst == pytest.approx(1 - pass_at_k(n, n - c, k))


@pytest.mark.parametrize(("p", "n"), [(0.3, 9.5), (0.1, 21.9), (0.05, 31.4)])
def test_saturation_where_one_more_gains_a_hundredth(p: float, n: float) -> None:
    law = Saturation(1.0, p)
    assert law.samples(0.01) == math.ceil(n)
    gains = [law(i + 1) - law(i) for i in range(60)]
    assert min(i for i, g in enumerate(gains) if g <= 0.01) == law.samples(0.01)
    assert Saturation(0.01, p).samples(0.01) == 1


def test_saturation_is_fitted_to_its_own_curve() -> None:
    law = Saturation(0.8, 0.25)
    found = fit([1, 2, 4, 8], [law(n) for n in (1, 2, 4, 8)])
    assert found == pytest.approx(law, abs=1e-5)
    with pytest.raises(ValueError, match="three different"):
        fit([1, 2, 2], [0.1, 0.2, 0.2])


def test_lengths_weigh_problems_alike() -> None:
    lengths = [[1.0] * 99 + [1000.0], [5.0]]
    assert quantile(lengths, np.array([0.5, 0.5]), 0.49) == 1.0
    assert quantile(lengths, np.array([0.5, 0.5]), 0.9) == 5.0
    assert quantile(lengths, np.array([1.0, 0.0]), 0.99) == 1.0
    assert of_problem([3, 1, 2, 4], 0.5) == 2
    assert of_problem([3, 1, 2, 4], 0.99) == 4
    assert gap([100, 300, 400], [True, False, False]) == 250
    assert gap([1, 2], [True, True]) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_a_quantile_covers_its_share(lengths: list[float], q: float) -> None:
    found = of_problem(lengths, q)
    assert np.mean([x <= found for x in lengths]) >= q - 1e-9
    assert np.mean([x < found for x in lengths]) < q + 1e-9


def test_hope_and_risk_are_relative_to_the_reference() -> None:
    assert relative([0.5, 1.0, 0.25], 0.5) == (1.0, -0.5)
    with pytest.raises(ValueError, match="above 0"):
        relative([0.5, 0.0], 0.5)


def test_shares_of_a_problem() -> None:
    assert shares([True, False, False], True) == (1, 1 / 3, 1, 1, 1, 0)
    assert shares([True, False, False], False) == (0, 1 / 3, 1, 1, 0, 1)
    assert shares([True, True], True) == (1, 1, 1, 0, 0, 0)
    assert shares([True, False], True).hidden_failure == 0  # a half is not less than a half


def test_the_coverage_law_is_read_off_beyond_the_samples() -> None:
    ks = [1, 2, 4, 8]
    row = [math.exp(-1.5 * k**-0.5) for k in ks]
    found = predicted(ks, np.array([row] * 4), 32, resamples=20)
    assert found.value == pytest.approx(math.exp(-1.5 * 32**-0.5))
    assert found.low <= found.value <= found.high + 1e-12
    with pytest.raises(ValueError, match="in less than half"):
        predicted(ks, np.ones((4, 4)), 32, resamples=20)


def test_a_statistic_is_resampled_over_problems() -> None:
    values = np.array([0.0, 1.0, 2.0, 3.0])
    found = resampled(4, lambda w: float(w @ values))
    assert found.value == 1.5
    assert 0 <= found.low < 1.5 < found.high <= 3
    with pytest.raises(ValueError, match="in no resample"):
        resampled(2, lambda w: math.nan)


def test_nothing_printed_is_below_0_by_less_than_can_be_seen() -> None:
    near = Interval(-0.0001, -0.00049, 0.0, "bootstrap")
    assert near.signed == "+0.000 (+0.000 to +0.000)"
    assert told(near) == "0.000 (0.00 to 0.00)"
    assert Interval(-0.0012, -0.01, 0.02, "bootstrap").signed == "-0.001 (-0.010 to +0.020)"
    signed = [
        f"{file.name}:{number}"
        for file in Path(evals.__file__).parent.rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r":\+,?\.\d[f%]", line)
    ]
    assert not signed, "write +z"
