"""Pruning, weights and drawing of phi-Decoding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.kernels.foresight import Selection, draw, in_width, log_softmax, log_weights


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_softmax() -> None:
    assert np.allclose(np.exp(log_softmax(np.array([0.0, math.log(3)]))), [0.25, 0.75])
    assert np.allclose(np.exp(log_softmax(np.array([-math.inf, 5.0]))), [0, 1])
    assert np.allclose(np.exp(log_softmax(np.array([-math.inf, -math.inf]))), [0.5, 0.5])
    assert np.allclose(np.exp(log_softmax(np.array([1e9, 1e9]))), [0.5, 0.5])


def test_in_width_keeps_what_is_within_a_deviation_below_the_mean() -> None:
    # mean -1, deviation 1: the floor is -2.
    assert in_width([-2.0, 0.0, -2.0, 0.0], rng=rng()) == [0, 1, 2, 3]
    assert in_width([-1.0, -1.0, -1.0, -5.0], rng=rng()) == [0, 1, 2]
    assert in_width([-1.0, -1.0, -1.0, -5.0], deviations=9.0, rng=rng()) == [0, 1, 2, 3]
    assert in_width([0.1] * 7, rng=rng()) == list(range(7)), "equal scores are all kept"


def test_in_width_takes_pruned_steps_back_if_too_few_are_left() -> None:
    scores = [-1.0, -5.0, -1.0, -9.0]
    assert in_width(scores, deviations=0.0, rng=rng()) == [0, 2]
    assert in_width(scores, deviations=0.0, at_least=3, rng=rng()) == [0, 1, 2]
    assert in_width(scores, deviations=0.0, at_least=9, rng=rng()) == [0, 1, 2, 3]


def test_weights_of_code_and_paper() -> None:
    advantages, shares = np.array([0.1, 0.2]), np.array([0.75, 0.25])
    gain = 1 / (1 + math.exp(0.1 / 0.1))
    alike = 1 / (1 + math.exp(-0.5))
    code = np.exp(log_weights(advantages, shares))
    assert np.allclose(code, [(gain + alike) / 2, 1 - (gain + alike) / 2])
    gain, alike = 1 / (1 + math.exp(0.1 / 0.6)), 1 / (1 + math.exp(-0.5 / 0.6))
    paper = log_weights(
        advantages, shares, advantage_temperature=0.6, cluster_temperature=0.6, combine="exp"
    )
    assert np.allclose(paper, [gain + alike, 2 - gain - alike])
    alone = np.exp(log_weights(advantages, None))
    assert np.allclose(alone, [1 / (1 + math.e), math.e / (1 + math.e)])


def test_drawing_is_one_after_another() -> None:
    """All ordered pairs of three items have the probability of drawing without replacement."""
    weights = np.array([0.5, 0.3, 0.2])
    source, n = rng(1), 30_000
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(n):
        pair = tuple(draw(np.log(weights), 2, source))
        counts[pair] = counts.get(pair, 0) + 1
    for a in range(3):
        for b in set(range(3)) - {a}:
            p = weights[a] * weights[b] / (1 - weights[a])
            assert abs(counts[a, b] / n - p) < 5 * math.sqrt(p * (1 - p) / n)


@given(st.lists(st.floats(-1e4, 0), min_size=1, max_size=9), st.integers(1, 12), st.integers(0, 9))
def test_nothing_is_drawn_twice(logs: list[float], size: int, seed: int) -> None:
    drawn = draw(np.array(logs), size, rng(seed))
    assert len(set(drawn)) == len(drawn) == min(size, len(logs))


def test_only_paths_that_gain_and_say_something_are_drawn() -> None:
    advantages = np.array([0.5, -0.5, 0.4, 0.3, 0.6])
    texts = ["apple pear", "apple pear", "apple pear", "", "seven eight"]
    drawn, share = Selection().several(advantages, texts, 3, least=3, rng=rng())
    assert drawn == [0, 2, 4]
    assert share == pytest.approx(2 / 3)
    drawn, share = Selection(rise_only=False).several(advantages, texts, 4, least=4, rng=rng())
    assert drawn == [0, 1, 2, 4]
    assert share == pytest.approx(3 / 4)


def test_with_too_few_that_gain_all_may_be_drawn_by_advantage() -> None:
    """As in the first step, where every advantage is a log-probability and so below 0."""
    advantages = np.array([-0.1, -3.0, -4.0, -0.2])
    drawn, share = Selection().several(advantages, ["same text"] * 4, 2, least=2, rng=rng())
    assert drawn == [0, 3]
    assert share == 0.0


def test_the_final_one_comes_from_the_larger_cluster() -> None:
    advantages = np.array([0.2, 5.0, 0.1])
    texts = ["apple pear", "seven eight", "apple pear"]
    assert {Selection().one(advantages, texts, rng=rng(seed)) for seed in range(30)} == {0, 2}
    nothing = np.array([-1.0, -1.1])
    assert {Selection().one(nothing, ["", ""], rng=rng(seed)) for seed in range(30)} == {0, 1}
