from __future__ import annotations

import asyncio
from collections import defaultdict
from math import sqrt
from typing import Any

import numpy as np
import pytest

from reasoning.aggregators.best import best
from reasoning.aggregators.majority import majority
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.clock import Deadline
from reasoning.errors import VerificationError
from reasoning.generate import Sampling
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
from reasoning.tree import Node
from reasoning.verify import Scores
from searchers.kernels.resample import annealed_temperature, logit, softmax
from searchers.tree.particle_filter import particle_filter

SCORES = {"a": 0.8, "b": 0.3, "1": 0.6, "2": 0.9, "c": 0.5}
TWO_STEPS = markov({"": {"a": 0.7, "b": 0.3}, "a": {"1": 0.9, "2": 0.1}, "b": {"1": 0.4, "2": 0.6}})
UNEVEN = markov({"": {"1": 0.4, "a": 0.6}, "a": {"1": 0.3, "b": 0.7}, "b": {"2": 1.0}})


def score(steps: Steps) -> float:
    return SCORES[steps[-1]]


def run(
    model: ToyModel,
    *,
    source: Scripted | None = None,
    choices: Choices | None = None,
    verifier: ToyVerifier | None = None,
    budget: Budget | None = None,
    seconds: float | None = None,
    seed: int = 0,
    **params: Any,
) -> Search:
    pace = 1.0 if seconds else 0.0
    source = source or ToyGenerator(model, choices=choices, token_seconds=pace)
    search = Search(
        model.problem,
        source,
        verifier=verifier or ToyVerifier(model, score),
        sampling=Sampling(max_tokens=50),
        budget=budget,
        seed=seed,
    )
    search.clock = source.clock(model.problem)
    if choices is not None:
        search.rng = lambda *_: Enumerated(choices)  # type: ignore[method-assign,assignment,return-value]

    async def work() -> None:
        with Deadline(search.clock, seconds):
            await particle_filter(search, **params)

    asyncio.run(work())
    return search


def weights(search: Search) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for candidate in search.candidates:
        if candidate.answer:
            totals[candidate.answer.key] += candidate.weight
    return totals


def particles(search: Search, depth: int) -> list[int]:
    """How many children the nodes of a level have, in path order."""
    level = sorted((n for n in search.tree if n.depth == depth), key=lambda n: n.path)
    return [len(node.children) for node in level]


# -------------------------------------------------------------------- exact expectations


@pytest.mark.parametrize("model", [TWO_STEPS, UNEVEN], ids=["two steps", "uneven"])
@pytest.mark.parametrize("finished", ["compete", "freeze"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"tau": 2.0},
        {"resampling": "residual"},
        {"annealing": "ess", "ess_threshold": 1.0, "early_phase": 1.0, "max_steps": 4},
        {"lookahead": 1},
    ],
    ids=str,
)
def test_incremental_weights_are_exactly_unbiased(
    model: ToyModel, finished: str, more: dict[str, Any]
) -> None:
    """Over all that can happen an answer's weight expects p(answer) times its score's odds^1/tau,
    whatever the resampling follows on the way."""
    tau = more.get("tau", 1.0)
    truth: dict[str, float] = defaultdict(float)
    for steps, p in model.complete():
        truth[steps[-1]] += p * (score(steps) / (1 - score(steps))) ** (1 / tau)
    expected: dict[str, float] = defaultdict(float)
    setting = {"n": 2, "weights": "incremental", "finished": finished}
    for p, found in all_runs(
        lambda choices: weights(run(model, choices=choices, **setting, **more))
    ):
        for answer, weight in found.items():
            expected[answer] += p * weight
    assert expected == pytest.approx(truth)


def test_published_weights_decide_how_often_a_particle_is_copied() -> None:
    """Scores .99, .9, .5 are copied with chances .908, .083, .009."""
    values = {"a": 0.99, "b": 0.9, "c": 0.5}
    source = Scripted([f"{name}\n\n\\boxed{{1}}" for name in values])  # one for each slot
    verifier = ToyVerifier(TWO_STEPS)
    verifier.score = lambda _, node, *, meter: _scores(values[node.text[0]])  # type: ignore[method-assign]

    def first_round(choices: Choices) -> list[int]:
        search = run(TWO_STEPS, source=source, choices=choices, verifier=verifier, n=3, max_steps=2)
        return particles(search, 1)

    copied = sum(p * np.array(counts) for p, counts in all_runs(first_round))
    assert copied / 3 == pytest.approx([0.908, 0.083, 0.009], abs=5e-4)


async def _scores(value: float) -> Scores:
    return (value,)


def test_absolute_weights_forget_the_scores_before() -> None:
    """Equal scores now mean equal chances, whatever they were one step ago."""
    model = markov({"": {"a": 1.0}, "a": {"b": 0.5, "c": 0.5}, "b": {"1": 1.0}, "c": {"2": 1.0}})
    values = {"a": 0.2, "b": 0.7, "c": 0.7, "1": 0.5, "2": 0.5}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    search = run(model, verifier=verifier, n=6, resampling="systematic")
    assert particles(search, 2) == [1] * 6


def test_at_the_answer_the_population_follows_the_odds() -> None:
    """One step, many particles: the weighted vote is p times odds, by the law of large numbers."""
    model = markov({"": {"1": 0.6, "2": 0.4}})
    found = [weights(run(model, seed=seed, n=20, weights="incremental")) for seed in range(30)]
    for answer, p in [("1", 0.6), ("2", 0.4)]:
        odds = SCORES[answer] / (1 - SCORES[answer])
        values = np.array([one.get(answer, 0.0) for one in found])
        error = values.std(ddof=1) / sqrt(len(values))
        assert abs(values.mean() - p * odds) <= 5 * error


# ------------------------------------------------------------------------------- variants


def test_each_scheme_keeps_the_number_of_particles() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"a": 0.5, "b": 0.5}, "b": {"a": 0.5, "b": 0.5}})
    for scheme in ("multinomial", "systematic", "stratified", "residual"):
        search = run(model, n=7, resampling=scheme, max_steps=5)
        for depth in range(1, 5):
            assert sum(particles(search, depth)) == 7


def copies(search: Search) -> int:
    return sum(not n.finished for n in search.root.children)


def test_finished_particles_compete_or_freeze() -> None:
    model = markov({"": {"1": 0.5, "a": 0.5}, "a": {"b": 1.0}, "b": {"2": 1.0}})
    values = {"1": 0.999999, "a": 0.01, "b": 0.01, "2": 0.01}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    setting: dict[str, Any] = {"verifier": verifier, "n": 8, "resampling": "systematic"}
    crowded = run(model, **setting)
    assert 0 < copies(crowded) < 8
    assert sum(particles(crowded, 1)) == 0  # the finished ones take all places
    frozen = run(model, finished="freeze", **setting)
    assert sum(particles(frozen, 1)) == copies(frozen)


def test_a_copied_solution_is_one_candidate() -> None:
    model = markov({"": {"1": 0.5, "a": 0.5}, "a": {"a": 0.5, "2": 0.5}})
    values = {"1": 0.9, "a": 0.5, "2": 0.4}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    search = run(model, verifier=verifier, n=8, max_steps=6)
    ends = {node.path for node in search.tree if node.finished}
    assert {c.path for c in search.candidates} == ends


def test_the_vote_is_the_particles() -> None:
    """`best` takes the highest score; under `majority` many a good one outweighs it."""
    model = markov({"": {"1": 0.8, "2": 0.2}})
    verifier = ToyVerifier(model, lambda steps: {"1": 0.8, "2": 0.9}[steps[-1]])
    search = run(model, verifier=verifier, n=12)
    drawn = [node.sample.text for node in search.tree]
    ones = sum("1" in text for text in drawn)
    assert 3 <= ones < len(drawn) == 12
    by_answer = weights(search)
    assert by_answer["1"] == pytest.approx(ones * (0.8 / 0.2) / 12)
    assert by_answer["2"] == pytest.approx((12 - ones) * (0.9 / 0.1) / 12)
    voted = majority(search.candidates)
    winners = [best(search.candidates), voted.candidate if voted else None]
    assert [c.answer.key for c in winners if c and c.answer] == ["2", "1"]


def test_a_dropped_solution_has_no_particles() -> None:
    model = markov({"": {"1": 0.5, "a": 0.5}, "a": {"b": 1.0}, "b": {"2": 1.0}})
    values = {"1": 0.000001, "a": 0.9, "b": 0.9, "2": 0.9}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    search = run(model, verifier=verifier, n=6)
    by_answer = weights(search)
    assert by_answer["1"] == 0
    assert by_answer["2"] > 0
    assert any(c.answer and c.answer.key == "1" for c in search.candidates)


def test_annealing_flattens_the_first_resampling() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"1": 1.0}, "b": {"1": 1.0}})
    values = {"a": 0.99, "b": 0.5, "1": 0.5}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    setting: dict[str, Any] = {"verifier": verifier, "n": 10, "resampling": "systematic"}
    sharp = run(model, **setting)
    flat = run(model, annealing="ess", ess_threshold=0.9, max_steps=10, **setting)
    first = [values[n.text.strip()] for n in sharp.root.children]
    p = softmax(logit(np.array(first)))
    tau = annealed_temperature(p, 0.1, ess_threshold=0.9)
    q = softmax(logit(np.array(first)) / tau)
    assert tau > 1
    for search, chances in ((sharp, p), (flat, q)):
        good = sum(len(n.children) for n in search.root.children if n.text[0] == "a")
        expected = 10 * chances[np.array(first) > 0.9].sum()
        assert abs(good - expected) < 2


def test_lookahead_guides_the_resampling() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"x": 1.0}, "b": {"y": 1.0}, "x": {"1": 1.0},
                    "y": {"2": 1.0}})  # fmt: skip
    values = {"a": 0.5, "b": 0.5, "x": 0.001, "y": 0.9, "1": 0.5, "2": 0.5}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])
    search = run(model, verifier=verifier, n=8, lookahead=1, resampling="systematic")
    grown = {n.text.strip(): len(n.children) for n in search.root.children}
    assert grown["b"] > grown["a"]
    assert not any(n.emitted for n in search.tree if n.depth == 2)


def test_tau_sharpens() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"1": 1.0}, "b": {"1": 1.0}})
    values = {"a": 0.6, "b": 0.4, "1": 0.5}
    verifier = ToyVerifier(model, lambda steps: values[steps[-1]])

    def share(tau: float) -> int:
        search = run(model, verifier=verifier, n=12, tau=tau, resampling="systematic")
        return sum(len(n.children) for n in search.root.children if n.text[0] == "a")

    assert share(0.001) == 12
    assert share(1.0) < 12
    assert share(0.001) > share(1.0) >= share(100.0)


# ------------------------------------------------------------------------- scores, limits


@pytest.mark.parametrize("weighting", ["absolute", "incremental"])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_scores(weighting: str, value: float) -> None:
    model = random_tree(2, depth=4)
    search = run(model, verifier=ToyVerifier(model, lambda _: value), n=5, tau=0.01,
                 weights=weighting, resampling="systematic")  # fmt: skip
    assert all(np.isfinite(c.weight) for c in search.candidates)
    by_depth = [particles(search, depth) for depth in range(1, 4)]
    assert all(count <= 1 for level in by_depth for count in level)  # nobody is copied


def test_an_unscored_particle_ranks_lowest() -> None:
    model = markov({"": {"a": 0.5, "b": 0.5}, "a": {"1": 1.0}, "b": {"2": 1.0}})

    def failure(node: Node) -> Exception | None:
        return VerificationError("no") if node.text.startswith("a") else None

    search = run(model, verifier=ToyVerifier(model, lambda _: 0.5, failure=failure), n=8)
    assert {c.answer.key for c in search.candidates if c.answer} == {"2"}


@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_short_budgets(tokens: int) -> None:
    search = run(TWO_STEPS, n=4, budget=Budget(tokens))
    assert search.usage.generated_tokens == tokens
    assert bool(search.candidates) == (tokens > 0)
    assert len([n for n in search.tree if n.finished]) == max(0, tokens - 4)


def test_a_deadline_keeps_what_has_ended() -> None:
    search = run(UNEVEN, n=8, seconds=1.5)
    assert {search.tree[c.path].depth for c in search.candidates} == {1}
    assert all(c.answer for c in search.candidates)


def test_never_ending_paths_are_cut_off() -> None:
    model = markov({"": {"a": 1.0}, "a": {"a": 1.0}})
    search = run(model, n=3, max_steps=4)
    assert max(n.depth for n in search.tree) == 4
    assert len(search.candidates) == 1
