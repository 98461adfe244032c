"""Metrics against enumeration of every subset, and against published values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from evals.statistics import majority
from evals.statistics.metrics import (
    avg_at_n,
    bootstrap_mean,
    majority_at_k,
    pass_at_k,
    verifier_at_k,
    wilson,
)

GRADES = st.lists(st.booleans(), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [(10, 3, 1, 0.3), (10, 3, 5, 0.916667), (100, 1, 10, 0.1), (256, 2, 64, 0.438235)],
)
def test_pass_at_k_vectors(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=5e-7)


@given(GRADES, st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_success(
    grades: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(grades)))
    found = [any(subset) for subset in combinations(grades, k)]
    assert pass_at_k(len(grades), sum(grades), k) == sum(found) / len(found)


def test_pass_at_k_neither_rounds_nor_overflows() -> None:
    assert pass_at_k(10**5, 1, 10**4) == 0.1
    assert pass_at_k(10**4, 0, 5000) == 0.0
    assert pass_at_k(5, 5, 5) == 1.0
    assert pass_at_k(10**9, 1, 1) == 1e-9


def best_of(grades: Sequence[bool], scores: Sequence[float]) -> float:
    top = max(scores)
    tied = [grade for grade, score in zip(grades, scores, strict=True) if score == top]
    return sum(tied) / len(tied)


@pytest.mark.parametrize(("grades", "expected"), [([1, 0, 1, 0], 2 / 3), ([0, 1, 1, 0], 0.5)])
def test_verifier_at_k_vectors(grades: list[bool], expected: float) -> None:
    assert verifier_at_k(grades, 2) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=8), st.data())
def test_verifier_at_k_is_the_mean_over_subsets(
    samples: list[tuple[bool, int]], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(samples)))
    grades, scores = [g for g, _ in samples], [float(s) for _, s in samples]
    found = [best_of(*zip(*subset, strict=True)) for subset in combinations(samples, k)]
    expected = math.fsum(found) / len(found)
    assert verifier_at_k(grades, k, scores=scores) == pytest.approx(expected, abs=1e-12)


def test_verifier_ties_are_the_mean_over_orders() -> None:
    rest = [True]
    orders = [verifier_at_k([*tied, *rest], 2) for tied in permutations([True, False, False])]
    shared = verifier_at_k([True, False, False, True], 2, scores=[0.9, 0.9, 0.9, 0.1])
    assert shared == pytest.approx(math.fsum(orders) / len(orders), abs=1e-12)


def test_verifier_without_skill_is_the_mean() -> None:
    grades = [True, False, False, True, False]
    for k in range(1, 6):
        assert verifier_at_k(grades, k, scores=[0.5] * 5) == pytest.approx(0.4, abs=1e-12)
    assert verifier_at_k(grades, 5, scores=[1, 2, 3, 4, -math.inf]) == 1.0


def majority_of(samples: Sequence[tuple[str | None, bool]]) -> float:
    votes: dict[str, list[bool]] = {}
    for key, right in samples:
        if key is not None:
            votes.setdefault(key, []).append(right)
    top = max(map(len, votes.values()), default=0)
    tied = [sum(v) / len(v) for v in votes.values() if len(v) == top]
    return math.fsum(tied) / len(tied) if tied else 0.0


VOTES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.booleans()), min_size=1, max_size=8
)


@given(VOTES, st.data())
def test_majority_at_k_is_the_mean_over_subsets(
    samples: list[tuple[str | None, bool]], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(samples)))
    found = [majority_of(subset) for subset in combinations(samples, k)]
    keys, grades = zip(*samples, strict=True)
    expected = math.fsum(found) / len(found)
    assert majority_at_k(keys, grades, k) == pytest.approx(expected, abs=1e-12)


def test_many_problems_are_worked_out_in_the_steps_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for each alone; the steps taken for 1x, 2x and 4x problems are as many."""
    steps: list[int] = []
    won_with = majority._won_with

    def counted(v: int, *rest: Any) -> Any:
        steps.append(v)
        return won_with(v, *rest)

    rng = np.random.default_rng(0)
    rows = [rng.integers(0, rng.integers(2, 20), 24).tolist() for _ in range(100)]
    groups = [majority.groups_of(keys, [key == 0 for key in keys]) for keys in rows]
    assert len(set(groups)) > 90
    monkeypatch.setattr(majority, "_won_with", counted)
    counts = []
    for many in (25, 50, 100):
        steps.clear()
        found = majority.majorities_at_k(groups[:many] * 2, 24, 12)
        counts.append(len(steps))
    assert counts == [6, 6, 6]
    assert found[:100].tolist() == found[100:].tolist()
    alone = [majority.majorities_at_k([one], 24, 12)[0] for one in groups]
    assert found[:100].tolist() == pytest.approx(alone, abs=1e-15)


def test_a_tied_majority_is_the_mean_over_orders() -> None:
    samples = [("a", True), ("b", False), ("a", True), ("b", False), ("c", False)]

    def earliest(order: Sequence[tuple[str, bool]]) -> bool:
        keys = [key for key, _ in order]
        top = max(keys, key=lambda key: (keys.count(key), -keys.index(key)))
        return dict(order)[top]

    orders = [earliest(order) for order in permutations(samples)]
    keys, grades = zip(*samples, strict=True)
    assert sum(orders) / len(orders) == 0.5
    assert majority_at_k(keys, grades, 5) == pytest.approx(0.5, abs=1e-12)


def test_majority_edges() -> None:
    assert majority_at_k([None, None], [False, False], 2) == 0.0
    assert majority_at_k(["a"], [True], 1) == 1.0
    assert majority_at_k(["a", "a", "b"], [True, True, False], 3) == 1.0
    assert majority_at_k(["a", "a", "b"], [False, False, True], 3) == 0.0
    assert majority_at_k(["a", None, None], [True, False, False], 3) == pytest.approx(1.0)
    keys = [i % 7 for i in range(700)]
    assert majority_at_k(keys, [key == 0 for key in keys], 1) == pytest.approx(1 / 7, abs=1e-9)
    assert majority_at_k(keys, [key == 0 for key in keys], 64) == pytest.approx(1 / 7, abs=1e-9)


def test_majority_at_one_is_the_mean() -> None:
    keys, grades = ["a", "b", None, "a", "c"], [True, False, False, True, False]
    assert majority_at_k(keys, grades, 1) == pytest.approx(avg_at_n(grades), abs=1e-12)


def test_wilson_closed_form() -> None:
    for successes, n in [(0, 30), (7, 30), (30, 30), (1, 1), (500, 1319)]:
        p, z = successes / n, 1.959963984540054
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        expected = [(p + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
        assert wilson(successes, n) == pytest.approx(expected, abs=1e-9)
        assert 0 <= wilson(successes, n)[0] <= p <= wilson(successes, n)[1] <= 1


def test_bootstrap_is_seeded_and_close_to_the_normal_interval() -> None:
    values = [(i * 37 % 101) / 100 for i in range(101)]
    low, high = bootstrap_mean(values)
    assert (low, high) == bootstrap_mean(values)
    mean = math.fsum(values) / 101
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values)) / 101
    # A quantile of 10,000 resamples is off by about 0.027 standard errors of the mean.
    assert low == pytest.approx(mean - 1.96 * error, abs=5 * 0.027 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=5 * 0.027 * error)


def test_bootstrap_without_spread_does_not_claim_certainty() -> None:
    assert bootstrap_mean([0.0] * 30) == wilson(0, 30)
    assert bootstrap_mean([1.0] * 30) == wilson(30, 30)
    assert bootstrap_mean([0.3]) == (0.0, 1.0)
    low, high = bootstrap_mean([0.5] * 3)
    assert (low, high) == (wilson(1, 3)[0], wilson(2, 3)[1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(1, 0),
        lambda: wilson(3, 2),
        lambda: wilson(-1, 2),
        lambda: wilson(1, 2, confidence=95),
        lambda: bootstrap_mean([]),
        lambda: bootstrap_mean([0.5, 1.5]),
        lambda: bootstrap_mean([0.5, math.nan]),
        lambda: bootstrap_mean([0.5, 0.6], resamples=0),
        lambda: avg_at_n([]),
        lambda: pass_at_k(5, 6, 1),
        lambda: pass_at_k(5, -1, 1),
        lambda: pass_at_k(5, 1, 0),
        lambda: pass_at_k(5, 1, 6),
        lambda: verifier_at_k([], 1),
        lambda: verifier_at_k([True], 2),
        lambda: verifier_at_k([True], 1, scores=[0.5, 0.6]),
        lambda: verifier_at_k([True], 1, scores=[math.nan]),
        lambda: majority_at_k(["a"], [True, False], 1),
        lambda: majority_at_k(["a"], [True], 2),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"must|needs?|needed|not a number"):
        call()  # type: ignore[operator]


@given(st.integers(1, 300), st.integers(1, 299), st.data())
def test_chances_are_scipys(n: int, above: int, data: st.DataObject) -> None:
    p = min(above, n) / (n + 1)
    found, known = majority._binomial(n, p), scipy.stats.binom.pmf(np.arange(n + 1), n, p)
    assert found.tolist() == pytest.approx(known.tolist(), abs=1e-13)
    size, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    known = scipy.stats.hypergeom.sf(k // 2, n, size, k)
    assert majority._tail(n, size, k) == pytest.approx(known, abs=1e-12)
