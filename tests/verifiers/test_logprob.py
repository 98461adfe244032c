"""Scores from a sample's own log-probabilities and confidences."""

from __future__ import annotations

import asyncio
import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning import names
from reasoning.errors import RecipeError, VerificationError
from reasoning.problem import Problem
from reasoning.tree import RolloutTree, Sample
from verifiers.logprob import Kind, bottom_tenth, group_means, logprob

PROBLEM = Problem("p", "?")


def score(sample: Sample, **options: Any) -> float:
    verifier = names.build("verifier", {"name": "logprob", **options})
    tree = RolloutTree("p")
    parent = tree.add(tree.root, 0, Sample("a", logprobs=np.array([-9.0], np.float32)))
    verdict = asyncio.run(verifier.score(PROBLEM, tree.add(parent, 0, sample)))
    assert verdict.tokens == 0
    (value,) = verdict.steps
    return float(value)


def with_logprobs(*values: float) -> Sample:
    return Sample("x", logprobs=np.array(values, np.float32))


def test_each_kind_by_hand() -> None:
    sample = with_logprobs(-1.0, -0.5, 0.0, -0.5)
    assert score(sample) == pytest.approx(math.exp(-0.5), rel=1e-12)
    assert score(sample, kind="min") == pytest.approx(math.exp(-1.0), rel=1e-12)
    assert score(sample, kind="sum") == pytest.approx(math.exp(-2.0), rel=1e-12)
    assert score(sample, kind="tail", window=2) == pytest.approx(math.exp(-0.25), rel=1e-12)
    assert score(sample, kind="tail") == score(sample)


def test_deepconf_by_hand() -> None:
    values = [1.0, 3.0, 5.0, 7.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 10.0]
    sample = Sample("x", confidence=np.array(values, np.float32))
    assert score(sample, kind="confidence") == pytest.approx(sum(values) / 12, rel=1e-6)
    assert score(sample, kind="confidence_tail", window=4) == 4.0
    # 11 windows of two: the lowest tenth is one of them.
    assert score(sample, kind="confidence_bottom", window=2) == 2.0
    # A trace shorter than the window is one group.
    assert score(sample, kind="confidence_bottom") == pytest.approx(sum(values) / 12, rel=1e-6)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.integers(1, 70))
def test_group_means_are_those_of_full_windows(values: list[float], window: int) -> None:
    found = group_means(np.array(values), window)
    starts = range(max(1, len(values) - window + 1))
    expected = [math.fsum(values[i : i + window]) / min(window, len(values)) for i in starts]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    lowest = sorted(expected)[: max(1, len(expected) // 10)]
    assert bottom_tenth(np.array(values), window) == pytest.approx(
        math.fsum(lowest) / len(lowest), rel=1e-9, abs=1e-9
    )


@given(
    st.lists(st.floats(-30, 0), min_size=1, max_size=30), st.sampled_from(["mean", "min", "sum"])
)
def test_in_the_unit_interval_and_ordered(values: list[float], kind: str) -> None:
    found = {k: score(with_logprobs(*values), kind=k) for k in ("mean", "min", "sum")}
    assert 0 <= found[kind] <= 1
    assert found["sum"] <= found["min"] * (1 + 1e-9)
    assert found["min"] <= found["mean"] * (1 + 1e-9)


def test_the_ends_of_the_range() -> None:
    assert score(with_logprobs(0.0)) == 1.0
    assert score(with_logprobs(1e-7)) == 1.0
    assert score(with_logprobs(-math.inf, 0.0)) == 0.0
    assert score(with_logprobs(*[-1.0] * 2000), kind="sum") == 0.0


def test_names_tell_kinds_apart() -> None:
    assert len({logprob(kind=kind).name for kind in get_args(Kind)}) == 7


@pytest.mark.parametrize(
    ("sample", "kind", "message"),
    [
        (Sample("x"), "mean", "gave no log-probabilities.*another verifier"),
        (Sample("x"), "confidence", "gave no token confidences.*sampling.confidence_k: 20"),
        (with_logprobs(), "min", "without tokens"),
        (with_logprobs(math.nan), "mean", "not numbers"),
    ],
)
def test_what_cannot_be_scored(sample: Sample, kind: str, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        score(sample, kind=kind)


def test_parameters_are_checked() -> None:
    with pytest.raises(RecipeError, match="window is 0"):
        score(with_logprobs(-1.0), window=0)
    with pytest.raises(RecipeError, match="kind='best'"):
        score(with_logprobs(-1.0), kind="best")
