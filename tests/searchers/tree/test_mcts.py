"""Monte Carlo tree search on trees whose best leaf is known."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from reasoning.aggregators.weighted_majority import weighted_majority
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.clock import Deadline
from reasoning.generate import Prompt, Sampling
from reasoning.search import Search, Step
from reasoning.testing.toys import (
    ToyGenerator,
    ToyVerifier,
    markov,
    random_tree,
    shuffled_delays,
)
from reasoning.tree import RolloutTree, Sample
from searchers.tree.mcts import mcts, priors


def start(generator: Any, verifier: Any, tokens: int | None = None, **setting: Any) -> Search:
    return Search(
        verifier.model.problem,
        generator,
        verifier=verifier,
        sampling=Sampling(max_tokens=60),
        step=Step(max_tokens=20),
        budget=Budget(tokens),
        **setting,
    )


def run(model: Any, value: Any = None, *, tokens: int | None = None, **params: Any) -> Search:
    search = start(ToyGenerator(model), ToyVerifier(model, value), tokens)
    asyncio.run(mcts(search, **params))
    return search


ARMS = markov(
    {
        "": {"bad": 0.4, "fair": 0.4, "good": 0.2},
        "bad": {"1": 0.9, "0": 0.1},
        "fair": {"1": 0.5, "0": 0.5},
        "good": {"1": 0.1, "0": 0.9},
    },
    reward=lambda steps: float(steps[-1] == "0"),
)


@pytest.mark.parametrize("policy", ["puct", "uct"])
@pytest.mark.parametrize("rollout", [False, True])
def test_the_best_answer_wins(policy: str, rollout: bool) -> None:
    search = run(ARMS, simulations=40, policy=policy, rollout=rollout, expansions=8)
    answer = (c := weighted_majority(search.candidates)) and c.candidate and c.candidate.answer
    assert answer is not None
    assert answer.text == "0"


def test_search_leans_to_the_best_arm_although_scores_of_steps_tell_nothing() -> None:
    """Only rollouts are informative here: steps score one half, solutions 0 or 1."""

    def value(steps: Any) -> float:
        return float(steps[-1] == "0") if ARMS.is_complete(steps) else 0.5

    search = run(ARMS, value, simulations=200, policy="uct", rollout=True, expansions=12)
    below = {
        node.sample.text.strip(): len(node.children)
        for node in search.root.children
        if node.children
    }
    assert set(below) == {"bad", "fair", "good"}
    answer = (c := weighted_majority(search.candidates)) and c.candidate and c.candidate.answer
    assert answer is not None
    assert answer.text == "0"


def test_virtual_loss_makes_parallel_selections_differ() -> None:
    """Three leaves below the root take one round with it, and three without."""
    model = random_tree(11, depth=6, width=5)
    found = []
    for loss in (1.0, 0.0):
        generator = ToyGenerator(model, delay=lambda _: 1.0)
        verifier = ToyVerifier(model, lambda _: 0.5)
        search = start(generator, verifier, clock=generator.clock(model.problem))
        asyncio.run(
            mcts(
                search,
                simulations=4,
                parallel=3,
                virtual_loss=loss,
                expansions=9,
                prior="uniform",
            )
        )
        grown = [node.path for node in search.tree if node.children and node.depth == 1]
        found.append((search.clock.now(), len(grown)))
    assert found == [(2.0, 3), (4.0, 3)]


def test_one_at_a_time_virtual_loss_changes_nothing() -> None:
    model = random_tree(2, depth=5)
    trees = [
        run(model, simulations=20, parallel=1, virtual_loss=loss).tree.to_jsonl()
        for loss in (0.0, 1.0, 7.0)
    ]
    assert len(set(trees)) == 1


def test_latency_changes_nothing() -> None:
    model = random_tree(4, depth=5)
    trees = set()
    for seed in range(6):
        generator = ToyGenerator(model, delay=shuffled_delays(seed), token_seconds=0.1)
        verifier = ToyVerifier(model, delay=shuffled_delays(seed), clock=generator.clock)
        search = start(generator, verifier, clock=generator.clock(model.problem))
        asyncio.run(mcts(search, simulations=15, rollout=True))
        trees.add(search.tree.to_jsonl())
    assert len(trees) == 1


def test_the_first_descent_is_greedy_on_scores() -> None:
    """Openr's: with one simulation at a time the best-scored child is always grown first."""
    model = random_tree(11, depth=6, width=4)
    search = run(model, simulations=2, parallel=1, expansions=12)
    (grown,) = [node for node in search.tree if node.children]
    best = max(node.scores["toy"] for node in search.root.children)
    assert grown.scores["toy"] == best


def test_priors() -> None:
    tree = RolloutTree()
    known = [
        tree.add(tree.root, slot, Sample(text, logprobs=np.log(np.array(p, dtype=np.float32))))
        for slot, (text, p) in enumerate([("a", [0.5, 0.5]), ("b", [0.25])])
    ]
    assert priors(known, "model") == pytest.approx([2 / 3, 1 / 3])
    assert priors(known, "uniform").tolist() == [0.5, 0.5]
    unknown = tree.add(tree.root, 2, Sample("c"))
    assert priors([*known, unknown], "model") == pytest.approx([1 / 3] * 3)
    assert priors([], "model").size == 0


def test_root_noise_is_drawn_from_the_seed() -> None:
    model = random_tree(4, depth=5)
    trees = {
        run(model, simulations=12, root_noise=noise).tree.to_jsonl() for noise in (0.25, 0.25, 0.25)
    }
    assert len(trees) == 1


def test_repeated_siblings_count_once() -> None:
    script = Scripted(lambda prompt, _: "\\boxed{0}" if prompt.parent.depth else "good\n\n")
    search = start(script, ToyVerifier(ARMS))
    asyncio.run(mcts(search, simulations=3, parallel=3))
    assert [len(node.children) for node in search.root.children] == [4, 0, 0, 0]


@pytest.mark.parametrize("rollout", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, 2, 3, 7, 20])
def test_any_budget_is_kept(tokens: int, rollout: bool) -> None:
    search = run(random_tree(4, depth=5), tokens=tokens, simulations=10, rollout=rollout)
    assert search.usage.generated_tokens <= tokens
    assert bool(search.candidates) == (tokens > 0)


def test_one_token_short_loses_the_last_call_only() -> None:
    model = random_tree(4, depth=5)
    whole = run(model, simulations=6, parallel=2)
    short = run(model, simulations=6, parallel=2, tokens=whole.usage.generated_tokens - 1)
    texts = [{n.path: n.sample.text for n in search.tree} for search in (whole, short)]
    assert sum(texts[0][path] != texts[1].get(path) for path in texts[0]) == 1


def test_a_deadline_keeps_what_was_found() -> None:
    generator = ToyGenerator(ARMS, delay=lambda _: 1.0)
    search = start(generator, ToyVerifier(ARMS), clock=generator.clock(ARMS.problem))

    async def go(seconds: float) -> None:
        with Deadline(search.clock, seconds):
            await mcts(search, simulations=50)

    asyncio.run(go(2.5))
    assert any(candidate.answer for candidate in search.candidates)


def test_a_deadline_before_any_solution_keeps_a_partial() -> None:
    generator = ToyGenerator(ARMS, delay=lambda _: 1.0)
    search = start(generator, ToyVerifier(ARMS), clock=generator.clock(ARMS.problem))

    async def go() -> None:
        with Deadline(search.clock, 1.5):
            await mcts(search, simulations=50)

    asyncio.run(go())
    (candidate,) = search.candidates
    assert search.tree[candidate.path].sample.finish == "stop"


def test_the_step_limit_ends_in_a_run_to_the_end() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        del seed
        return f"step {prompt.slot}\n\nstep\n\n\\boxed{{0}}"

    search = start(Scripted(script), ToyVerifier(ARMS, lambda _: 0.5))
    asyncio.run(mcts(search, simulations=5, max_steps=1))
    (candidate,) = search.candidates
    assert search.tree[candidate.path].depth == 2
    assert candidate.answer
