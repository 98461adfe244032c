"""One sample is one sample."""

from __future__ import annotations

import pytest

from reasoning import solve
from reasoning.testing import ToyGenerator, distribution, markov
from reasoning.testing.toys import Choices

MODEL = markov({"": {"a": 0.7, "b": 0.3}, "a": {"1": 0.4, "2": 0.6}, "b": {"1": 1.0}})


def test_its_answers_have_the_model_s_own_distribution() -> None:
    def run(choices: Choices) -> str | None:
        generator = ToyGenerator(MODEL, choices=choices)
        return solve(MODEL.problem, searcher="sample", generator=generator).answer

    assert distribution(run) == pytest.approx(MODEL.answers())


def test_greedy_takes_the_likeliest_step() -> None:
    for seed in range(5):
        result = solve(
            MODEL.problem,
            searcher="sample",
            temperature=0.0,
            generator=ToyGenerator(MODEL),
            seed=seed,
        )
        assert result.tree[(0,)].text == MODEL.text(("a", "2"))
        assert result.usage.calls == 1
