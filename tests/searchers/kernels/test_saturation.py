"""Where a curve saturates: fits that are exact, and the last step worth taking."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.kernels.saturation import enough, saturating


@given(st.floats(0.05, 1), st.floats(0.01, 0.95))
def test_a_curve_of_that_form_is_found_again(ceiling: float, p: float) -> None:
    counts = (1, 2, 4, 8)
    found = saturating(counts, [ceiling * (1 - (1 - p) ** n) for n in counts])
    again = [found[0] * (1 - (1 - found[1]) ** n) for n in counts]
    assert again == pytest.approx([ceiling * (1 - (1 - p) ** n) for n in counts], abs=1e-5)


@given(st.floats(0.05, 1), st.floats(0.01, 0.95), st.floats(1e-4, 0.5))
def test_one_more_is_worth_it_just_before_and_not_after(c: float, p: float, gain: float) -> None:
    """F p (1 - p)^N is what the (N + 1)-th gains; the kernel gives the first N where that is less
    than `gain`, or just that."""
    n = enough(c, p, gain)
    assert c * p * (1 - p) ** n <= gain * (1 + 1e-9)
    assert n == 1 or c * p * (1 - p) ** (n - 1) > gain * (1 - 1e-9)


def test_vectors() -> None:
    assert [enough(1, p, 0.01) for p in (0.3, 0.1, 0.05)] == [10, 22, 32]
    assert enough(0.9, 1, 1e-12) == 1
    assert saturating([1, 2, 4, 8], [0.6, 0.6, 0.6, 0.6]) == pytest.approx((0.6, 1.0))
    assert enough(0.8, 0.5, 0.4) == 1
    assert enough(0.9, 0.3, 0.01) == math.ceil(math.log(0.01 / 0.27) / math.log(0.7)) == 10
    assert saturating([1, 2], [0.0, 0.0])[0] == 0
    assert enough(0.0, 0.5, 0.01) == 1
    with pytest.raises(ValueError, match="two points"):
        saturating([1], [0.5])
