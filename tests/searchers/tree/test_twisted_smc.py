from __future__ import annotations

import asyncio
from collections import defaultdict
from math import sqrt
from typing import Any

import numpy as np
import pytest

from reasoning.budget import Budget
from reasoning.errors import VerificationError
from reasoning.generate import Sampling
from reasoning.runs.names import default_aggregator
from reasoning.search import Search
from reasoning.testing.smc_contract import Enumerated
from reasoning.testing.toys import (
    Choices,
    Steps,
    ToyGenerator,
    ToyModel,
    ToyVerifier,
    all_runs,
    markov,
    random_tree,
)
from searchers.tree.twisted_smc import twisted_smc

TWO_STEPS = markov(
    {"": {"a": 0.7, "b": 0.3}, "a": {"1": 0.9, "2": 0.1}, "b": {"1": 0.4, "2": 0.6}},
    lambda steps: {("a", "1"): 0.1, ("a", "2"): 0.9, ("b", "1"): 0.5, ("b", "2"): 0.0}[steps],
)
UNEVEN = markov(
    {"": {"1": 0.4, "a": 0.6}, "a": {"1": 0.3, "b": 0.7}, "b": {"2": 1.0}},
    lambda steps: {1: 0.2, 2: 0.7, 3: 0.5}[len(steps)],
)


def run(
    model: ToyModel,
    *,
    choices: Choices | None = None,
    verifier: ToyVerifier | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    max_tokens: int = 50,
    **params: Any,
) -> Search:
    search = Search(
        model.problem,
        ToyGenerator(model, choices=choices),
        verifier=verifier or ToyVerifier(model),
        sampling=Sampling(max_tokens=max_tokens),
        budget=budget,
        seed=seed,
    )
    if choices is not None:
        search.rng = lambda *_: Enumerated(choices)  # type: ignore[method-assign,assignment,return-value]
    asyncio.run(twisted_smc(search, **params))
    return search


def parts(search: Search) -> dict[str, float]:
    """The weight of each answer."""
    totals: dict[str, float] = defaultdict(float)
    for candidate in search.candidates:
        if candidate.answer:
            totals[candidate.answer.key] += candidate.weight
    return totals


def target(model: ToyModel) -> dict[str, float]:
    """What each answer contributes to the expected reward."""
    totals: dict[str, float] = defaultdict(float)
    for steps, p in model.complete():
        totals[steps[-1]] += p * model.reward(steps)
    return totals


def wrong(steps: Steps) -> float:
    """A value that is right about solutions and wrong about prefixes."""
    return 0.3 + 0.6 * (steps[-1] == "a")


@pytest.mark.parametrize("model", [TWO_STEPS, UNEVEN], ids=["two steps", "uneven"])
@pytest.mark.parametrize("ess_threshold", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("scheme", ["multinomial", "residual"])
@pytest.mark.parametrize("right", [True, False])
def test_weights_are_exactly_unbiased(
    model: ToyModel, ess_threshold: float, scheme: str, right: bool
) -> None:
    """Over all that can happen, the weights of an answer expect p(answer) times its reward."""

    def value(steps: Steps) -> float:
        return model.value(steps) if right or model.is_complete(steps) else wrong(steps)

    expected: dict[str, float] = defaultdict(float)
    total = 0.0
    for p, found in all_runs(
        lambda choices: parts(
            run(
                model,
                choices=choices,
                verifier=ToyVerifier(model, value),
                n=2,
                ess_threshold=ess_threshold,
                resampling=scheme,
            )
        )
    ):
        total += p
        for answer, weight in found.items():
            expected[answer] += p * weight
    assert total == pytest.approx(1)
    for answer, share in target(model).items():
        assert expected[answer] == pytest.approx(share)


@pytest.mark.parametrize("scheme", ["systematic", "stratified", "residual", "multinomial"])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_evidence_within_standard_errors(scheme: str, power: float) -> None:
    model = random_tree(11, depth=3)
    values = {steps: model.value(steps) for steps in model.sequences()}
    verifier = ToyVerifier(model, values.__getitem__)
    truth, runs = target(model), 100
    setting: dict[str, Any] = {"n": 4, "resampling": scheme, "power": power, "ess_threshold": 0.8}
    found = [parts(run(model, verifier=verifier, seed=seed, **setting)) for seed in range(runs)]
    for answer in model.answers():
        weights = np.array([one.get(answer, 0.0) for one in found])
        error = max(1e-9, weights.std(ddof=1) / sqrt(runs))
        assert abs(weights.mean() - truth[answer]) <= 5 * error


def test_without_resampling_it_is_importance_sampling() -> None:
    search = run(TWO_STEPS, seed=3, n=8, ess_threshold=0.0)
    assert len(search.candidates) == 8
    for candidate in search.candidates:
        steps, _ = TWO_STEPS.parse(search.tree[candidate.path].text)
        assert candidate.weight == pytest.approx(TWO_STEPS.reward(steps) / 8)


def test_a_resampled_solution_is_emitted_once() -> None:
    model = markov({"": {"1": 0.5, "a": 0.5}, "a": {"a": 0.5, "2": 0.5}})
    verifier = ToyVerifier(model, lambda steps: 0.9 if steps[-1] == "1" else 0.05)
    search = run(model, verifier=verifier, n=8, ess_threshold=1.0)
    ends = [node for node in search.tree if node.finished]
    assert len(search.candidates) == len(ends)
    ones = [c for c in search.candidates if c.answer and c.answer.key == "1"]
    assert len({c.path for c in ones}) == len(ones)


def test_a_path_that_is_cut_off_weighs_nothing() -> None:
    model = markov({"": {"1": 0.5, "a": 0.5}, "a": {"a": 1.0}})
    verifier = ToyVerifier(model, lambda _: 0.8)
    totals = [
        sum(c.weight for c in run(model, verifier=verifier, seed=seed, n=4, max_steps=2).candidates
            if c.answer)
        for seed in range(100)
    ]  # fmt: skip
    error = np.std(totals, ddof=1) / sqrt(len(totals))
    assert abs(np.mean(totals) - 0.4) <= 5 * error


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_scores(value: float) -> None:
    model = random_tree(2, depth=3)
    search = run(model, verifier=ToyVerifier(model, lambda _: value), n=4)
    assert all(np.isfinite(c.weight) for c in search.candidates)
    assert sum(c.weight for c in search.candidates) == pytest.approx(value)


def test_a_verifier_that_fails_leaves_weights_of_zero() -> None:
    model = random_tree(2, depth=3)
    verifier = ToyVerifier(model, failure=lambda _: VerificationError("no"))
    search = run(model, verifier=verifier, n=4)
    assert search.candidates
    assert all(c.weight == 0 for c in search.candidates)


@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_short_budgets(tokens: int) -> None:
    search = run(random_tree(2, depth=3), n=4, budget=Budget(tokens))
    assert search.usage.generated_tokens == tokens
    assert bool(search.candidates) == (tokens > 0)


def test_votes_are_weights_so_the_default_is_majority() -> None:
    assert default_aggregator(twisted_smc) == "majority"
