"""Stopping rules against the papers' and our own vectors, and the searchers built on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning import solve
from reasoning.backends.recorded import Recorded
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.contracts import SEARCHER_CHECKS, Case
from searchers.kernels.stopping import (
    lead_is_safe,
    majority_probability,
    unanimous,
)
from searchers.sampling.adaptive_consistency import adaptive_consistency
from searchers.sampling.ahead_by_k import ahead_by_k
from searchers.sampling.esc import esc

CASES = {
    "adaptive_consistency": Case(searcher=adaptive_consistency, params={"n": 5, "window": 2}),
    "ahead_by_k": Case(searcher=ahead_by_k, params={"n": 5, "k": 2}),
    "esc": Case(searcher=esc, params={"n": 5, "window": 2}),
}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (3, 0, 0.9375),
        (4, 0, 0.96875),
        (4, 1, 0.8906),
        (5, 1, 0.9375),
        (6, 1, 0.9648),
        (7, 2, 0.9453),
        (9, 2, 0.9807),
        (10, 3, 0.9713),
        (10, 4, 0.9408),
    ],
)
def test_beta_vectors(first: int, second: int, expected: float) -> None:
    assert majority_probability(first, second) == pytest.approx(expected, abs=5e-5)
    assert lead_is_safe([second, first], 0.95) == (expected >= 0.95)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_sum_is_the_beta_tail(a: int, b: int) -> None:
    from scipy.stats import beta

    first, second = max(a, b), min(a, b)
    tail = beta.sf(0.5, first + 1, second + 1)
    assert majority_probability(first, second) == pytest.approx(tail, abs=1e-12)


def test_no_votes_decide_nothing() -> None:
    assert majority_probability(0, 0) == 0.5
    assert not lead_is_safe([], 0.95)
    with pytest.raises(ValueError, match="must hold"):
        majority_probability(1, 2)


def test_unanimous() -> None:
    assert unanimous(["a", "a"])
    assert not unanimous(["a", "b"])
    assert not unanimous([None, None])
    assert not unanimous(["a", None])
    assert not unanimous([])


def answer(keys: Sequence[str | None], searcher: str, **params: Any) -> tuple[str | None, int]:
    """What the searcher answers, and how many samples it drew, if the samples say `keys`."""
    samples = [{"text": f"\\boxed{{{k}}}" if k else "?", "n_tokens": 10} for k in keys]
    recording = Recorded({"p": samples}, "here", 1.0)
    result = solve(Problem("p", "?"), searcher=searcher, generator=recording, **params)
    return result.answer, result.usage.calls


def test_adaptive_consistency_stops_at_four_that_agree() -> None:
    assert answer("aaaab", "adaptive_consistency", n=5) == ("a", 4)
    assert answer("abaaaaa", "adaptive_consistency", n=7) == ("a", 7)
    assert answer("abababa", "adaptive_consistency", n=7) == ("a", 7)
    assert answer("aaaaaa", "adaptive_consistency", n=6, window=3) == ("a", 6)
    assert answer([None] * 5, "adaptive_consistency", n=5) == (None, 5)


def test_esc_answers_with_the_window_that_agrees() -> None:
    assert answer("aabb", "esc", n=4, window=2) == ("a", 2)
    assert answer("acacbb", "esc", n=8, window=2) == ("b", 6), "not the majority of all six"
    assert answer("ababa", "esc", n=5, window=2) == ("a", 5), "one left over stops nothing"
    assert answer([None, None, "a", "b", "a"], "esc", n=5, window=2) == ("a", 5)


def test_ahead_by_k_stops_at_a_lead() -> None:
    assert answer("aabb", "ahead_by_k", n=4, k=2) == ("a", 2)
    assert answer("abcbb", "ahead_by_k", n=5, k=2) == ("b", 5)
    assert answer("abab", "ahead_by_k", n=4, k=2) == ("a", 4), "even to the end: the earlier one"
    assert answer([None, "a", "b"], "ahead_by_k", n=3, k=1) == ("a", 2)
    assert answer([None, None, "a"], "ahead_by_k", n=3, k=3) == ("a", 3)


@given(st.text("abc", min_size=1, max_size=9))
def test_no_lead_to_reach_is_the_vote_of_all(drawn: str) -> None:
    n = len(drawn)
    assert answer(drawn, "ahead_by_k", n=n, k=n + 1) == answer(drawn, "self_consistency", n=n)


@pytest.fixture
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("check", SEARCHER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_contract(name: str, check: Callable[..., None]) -> None:
    check(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_can_name_them(name: str) -> None:
    function = names.find("searcher", name)
    assert names.checked(function, CASES[name].params) == CASES[name].params
