"""Self-consistency against the exact distribution of a vote."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from reasoning import solve
from reasoning.testing import ToyGenerator, distribution, markov
from reasoning.testing.toys import Choices

MODEL = markov({"": {"a": 0.7, "b": 0.3}, "a": {"1": 0.4, "2": 0.6}, "b": {"1": 0.5, "3": 0.5}})


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_vote_has_the_distribution_it_should(n: int) -> None:
    """Enumerated twice: every choice of the model, and every tuple of independent answers."""

    def run(choices: Choices) -> str | None:
        generator = ToyGenerator(MODEL, choices=choices)
        return solve(MODEL.problem, searcher="self_consistency", n=n, generator=generator).answer

    expected: dict[str, float] = {}
    answers = MODEL.answers()
    for drawn in itertools.product(answers, repeat=n):
        (winner, _), *_ = Counter(drawn).most_common()  # ties: first seen
        p = math.prod(answers[name] for name in drawn)
        expected[winner] = expected.get(winner, 0.0) + p
    assert distribution(run) == pytest.approx(expected)


def test_all_samples_go_out_at_once() -> None:
    generator = ToyGenerator(MODEL, delay=lambda _: 1.0)
    result = solve(MODEL.problem, searcher="self_consistency", n=8, generator=generator)
    assert result.usage.seconds == 1.0
    assert [c.path for c in result.candidates] == [(i,) for i in range(8)]
