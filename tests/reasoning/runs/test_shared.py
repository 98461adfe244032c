"""What problems share: what a problem costs with its part of it, and from how many on that pays."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.runs.shared import break_even, per_problem, told

amounts = st.floats(1, 1e9)


def test_the_numbers_of_the_paper_on_sleep_time_compute() -> None:
    """20,000 tokens beforehand, answers of 200 for 1,000, a token that is waited for costs ten."""
    assert break_even(20_000, 1_000 - 200) == 2.5
    assert per_problem(20_000, 200, 10) == 4_000
    assert per_problem(0, 1_000, 10) == 10_000  # without: 2.5 times as much
    assert [per_problem(20_000, 200, n) < 10_000 for n in (1, 2, 3, 4)] == [
        False,
        False,
        True,
        True,
    ]
    assert break_even(20_000, 800, price=1) == 25


@pytest.mark.parametrize("saved", [0, -5])
def test_what_saves_nothing_never_pays(saved: float) -> None:
    assert break_even(100, saved) == math.inf


@given(once=amounts, own=amounts, saved=amounts, price=st.floats(0.01, 100))
def test_there_both_cost_the_same(once: float, own: float, saved: float, price: float) -> None:
    n = break_even(once, saved, price)
    assert per_problem(once, own, n, price) == pytest.approx(price * (own + saved))
    assert per_problem(once, own, 2 * n, price) < price * (own + saved)


def row(name: str, tokens: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "generated_tokens": tokens, "problems": 10, **more}


ONCE = {"generated_tokens": 20_000.0, "calls": 12.0}


def test_a_run_tells_from_where_on_its_notes_pay() -> None:
    read = row("sleep_time", 2_000, shared=ONCE)
    (said,) = told([row("sample", 10_000), row("other", 99_000), read])
    assert said == (
        "sleep_time reads notes that cost 20,000 generated tokens in 12 calls, once: 2,200 a "
        "problem with them, spread over these 10, and 200 without, as in the table; it saves 800 "
        "on sample and pays beyond 25.0 problems, or 2.5 where a token that is waited for costs 10 "
        "that are not"
    )
    (nothing,) = told([row("sample", 2_000), read])
    assert nothing.endswith("; it saves no tokens on sample")
    (alone,) = told([read])
    assert alone.endswith("as in the table")
    assert not [*told([row("sample", 10_000)])]
