"""Scores from token confidences: DeepConf's, and self-certainty."""

from __future__ import annotations

import asyncio
import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.aggregators.certainty import bottom_tenth, group_means
from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.verifier_contract import ask
from reasoning.tree import RolloutTree, Sample
from verifiers.deepconf import Kind, deepconf

PROBLEM = Problem("p", "?")


def score(sample: Sample, name: str = "deepconf", **options: Any) -> float:
    verifier = names.build("verifier", {"name": name, **options})
    tree = RolloutTree("p")
    verdict = asyncio.run(ask(verifier, PROBLEM, tree.add(tree.root, 0, sample)))
    assert verdict.tokens == 0
    (value,) = verdict.steps
    return float(value)


def confident(*values: float) -> Sample:
    return Sample("x", confidence=np.array(values, np.float32))


def test_deepconf_by_hand() -> None:
    values = [1.0, 3.0, 5.0, 7.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 10.0]
    sample = confident(*values)
    assert score(sample, kind="mean") == pytest.approx(sum(values) / 12, rel=1e-6)
    assert score(sample, kind="tail", window=4) == 4.0
    # 11 windows of two: the lowest tenth is one of them.
    assert score(sample, kind="bottom", window=2) == 2.0
    assert score(sample, kind="lowest", window=2) == 2.0
    assert score(sample, kind="lowest", window=3) == 2.0
    assert score(sample, kind="lowest", window=11) == pytest.approx(30 / 11, rel=1e-6)
    # A trace shorter than the window is one group.
    assert score(sample, kind="bottom") == pytest.approx(sum(values) / 12, rel=1e-6)


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


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.integers(1, 70))
def test_the_lowest_group_is_below_the_others(values: list[float], window: int) -> None:
    lowest, bottom, tail = (
        score(confident(*values), kind=kind, window=window) for kind in ("lowest", "bottom", "tail")
    )
    assert lowest <= bottom + 1e-4
    assert lowest <= tail + 1e-4
    assert bottom <= group_means(np.array(values), window).mean() + 1e-4


def test_names_tell_kinds_apart() -> None:
    assert len({deepconf(kind=kind).name for kind in get_args(Kind)}) == 4


# ------------------------------------------------------------------------------ self-certainty


def distributions(rows: Any) -> Sample:
    """What a generator reports that has drawn from `rows` [tokens, vocabulary], with all as k."""
    return Sample("x", confidence=-np.log(np.asarray(rows)).mean(axis=1).astype(np.float32))


def test_self_certainty_is_the_divergence_of_uniform() -> None:
    rows = np.array([[0.7, 0.2, 0.1], [0.98, 0.01, 0.01]])
    by_hand = np.mean([sum(math.log(1 / 3 / p) / 3 for p in row) for row in rows])
    found = score(distributions(rows), "self_certainty", k=3)
    assert found == pytest.approx(by_hand, rel=1e-6)
    even = distributions([[0.25] * 4] * 2)
    assert score(even, "self_certainty", k=4) == pytest.approx(0, abs=1e-6)


@given(st.lists(st.lists(st.floats(1e-3, 1), min_size=5, max_size=5), min_size=1, max_size=9))
def test_self_certainty_is_never_negative(weights: list[list[float]]) -> None:
    rows = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    assert score(distributions(rows), "self_certainty", k=5) >= 0
    top = -np.sort(-rows, axis=1)[:, :3]  # the likeliest ones of a larger vocabulary
    assert score(distributions(top), "self_certainty", k=3) >= 0


def test_a_k_that_cannot_be() -> None:
    with pytest.raises(VerificationError, match="self_certainty's k to sampling"):
        score(distributions([[0.6, 0.4]]), "self_certainty", k=20)


def test_self_certainty_of_the_embedded_model() -> None:
    """With its whole vocabulary as k, from what a real generator gives with a sample."""
    generator = names.build("generator", "nano")
    size = len(generator.text.pieces)
    root = RolloutTree("p").root
    problem = Problem("p", "What is 12 * 7 + 5?")

    async def work() -> Sample:
        params = Sampling(max_tokens=20, confidence_k=size)
        sample: Sample = await generator.generate(
            Prompt(problem, root, 0), params, seed=1, meter=lambda n: None
        )
        await generator.aclose()
        return sample

    sample = asyncio.run(work())
    assert score(sample, "self_certainty", k=size) > 2
    assert score(sample, "deepconf", kind="mean") == pytest.approx(
        score(sample, "self_certainty", k=size) + math.log(size), rel=1e-6
    )


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("name", ["deepconf", "self_certainty"])
@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (Sample("x"), "gave no token confidences.*sampling.confidence_k: 20"),
        (confident(), "without tokens"),
        (confident(math.nan), "not numbers"),
    ],
)
def test_what_cannot_be_scored(name: str, sample: Sample, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        score(sample, name)


def test_parameters_are_checked() -> None:
    with pytest.raises(RecipeError, match="window=0"):
        score(confident(1.0), window=0)
    with pytest.raises(RecipeError, match="kind='best'"):
        score(confident(1.0), kind="best")
    with pytest.raises(RecipeError, match="k=0"):
        score(confident(1.0), "self_certainty", k=0)


@pytest.mark.parametrize(
    ("spec", "k", "message"),
    [
        ("deepconf", 0, "deepconf_bottom reads token confidences and none are asked for"),
        ("self_certainty", 0, "set sampling.confidence_k: 20"),
        ("self_certainty", 5, "reckons with k=20 and sampling.confidence_k is 5"),
        ({"name": "ensemble", "members": ["logprob", "deepconf"]}, 0, "deepconf_bottom reads"),
    ],
)
def test_what_could_never_be_scored_is_refused(spec: Any, k: int, message: str) -> None:
    verifier = names.build("verifier", spec)
    with pytest.raises(RecipeError, match=message):
        verifier.preflight(Sampling(max_tokens=9, confidence_k=k), [PROBLEM])
    verifier.preflight(Sampling(max_tokens=9, confidence_k=20), [PROBLEM])
