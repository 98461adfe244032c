"""Scores from a sample's own log-probabilities."""

from __future__ import annotations

import asyncio
import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.errors import RecipeError, VerificationError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import ask
from reasoning.tree import RolloutTree, Sample
from verifiers.logprob import Kind, logprob

PROBLEM = Problem("p", "?")


def score(sample: Sample, **options: Any) -> float:
    verifier = names.build("verifier", {"name": "logprob", **options})
    tree = RolloutTree("p")
    parent = tree.add(tree.root, 0, Sample("a", logprobs=np.array([-9.0], np.float32)))
    verdict = asyncio.run(ask(verifier, PROBLEM, tree.add(parent, 0, sample)))
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
    assert len({logprob(kind=kind).name for kind in get_args(Kind)}) == 4


@pytest.mark.parametrize(
    ("sample", "kind", "message"),
    [
        (Sample("x"), "mean", "gave no log-probabilities.*another verifier"),
        (with_logprobs(), "min", "without tokens"),
        (with_logprobs(math.nan), "mean", "not numbers"),
    ],
)
def test_what_cannot_be_scored(sample: Sample, kind: str, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        score(sample, kind=kind)


def test_parameters_are_checked() -> None:
    with pytest.raises(RecipeError, match="window=0"):
        score(with_logprobs(-1.0), window=0)
    with pytest.raises(RecipeError, match="kind='best'"):
        score(with_logprobs(-1.0), kind="best")
