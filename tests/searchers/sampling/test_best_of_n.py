"""Best-of-n against the exact distribution of the best of n."""

from __future__ import annotations

import itertools
import math

import pytest

from reasoning import solve
from reasoning.testing import ToyGenerator, ToyVerifier, distribution, markov
from reasoning.testing.toys import Choices, Steps

MODEL = markov({"": {"a": 0.7, "b": 0.3}, "a": {"1": 0.4, "2": 0.6}, "b": {"1": 0.5, "3": 0.5}})


def liking(steps: Steps) -> float:
    """Prefers 3 to 1 to 2, and what went by way of b among equals."""
    return {"3": 0.9, "1": 0.5, "2": 0.1}[steps[-1]] + 0.05 * (steps[0] == "b")


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("aggregator", ["best", "weighted_majority"])
def test_the_best_has_the_distribution_it_should(n: int, aggregator: str) -> None:
    def run(choices: Choices) -> str | None:
        return solve(
            MODEL.problem,
            searcher="best_of_n",
            n=n,
            generator=ToyGenerator(MODEL, choices=choices),
            verifier=ToyVerifier(MODEL, liking, outcome=True),
            aggregator=aggregator,
        ).answer

    expected: dict[str, float] = {}
    for drawn in itertools.product(MODEL.complete(), repeat=n):
        worth: dict[str, list[float]] = {}
        for steps, _ in drawn:
            worth.setdefault(steps[-1], []).append(liking(steps))
        judge = max if aggregator == "best" else math.fsum
        winner = max(worth, key=lambda name: judge(worth[name]))
        p = math.prod(p for _, p in drawn)
        expected[winner] = expected.get(winner, 0.0) + p
    assert distribution(run) == pytest.approx(expected)


def test_a_sample_is_scored_as_soon_as_it_lands() -> None:
    """The slowest sample takes 8 s, a score 1 s: 9 s in all, not one score after another."""
    generator = ToyGenerator(MODEL, delay=lambda seed: 1.0 + seed % 8)
    verifier = ToyVerifier(MODEL, delay=lambda _: 1.0, clock=generator.clock)
    result = solve(MODEL.problem, searcher="best_of_n", n=8, generator=generator, verifier=verifier)
    slowest = max(1.0 + node.key % 8 for node in result.tree)
    assert result.usage.seconds == slowest + 1
    assert result.usage.verifier_calls == 8


@pytest.mark.parametrize("limit", range(5))
def test_with_few_verifier_calls_the_first_samples_are_scored(limit: int) -> None:
    for pace in (1, 3, 5):
        generator = ToyGenerator(MODEL, delay=lambda seed, pace=pace: seed * pace % 7)  # type: ignore[misc]
        result = solve(
            MODEL.problem,
            searcher="best_of_n",
            n=4,
            generator=generator,
            verifier=ToyVerifier(MODEL),
            limits={"verifier_calls": limit},
        )
        assert [bool(c.steps) for c in result.candidates] == [i < limit for i in range(4)]
        assert result.stop_reason == ("finished" if limit == 4 else "verifier_calls")
