"""Adaptive branching: what each belief sees, where the tree grows, what the model is asked."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
import pytest

from reasoning.aggregators.best import best
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.clock import Deadline
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Node, RolloutTree, Sample
from reasoning.verify import Scores, Verifier
from searchers.kernels.branching import Attempt, Chooser, Separate, Together, stale
from searchers.kernels.posteriors import Beta, Mixed, NormalInverseGamma
from searchers.tree.ab_mcts import ab_mcts, filled

POSTERIORS = ["gaussian", "beta", "mixed"]


class Grower:
    """Drives a chooser with rewards from a function of the parent and the number of siblings."""

    def __init__(self, chooser: Chooser, reward: Any, seed: int = 0) -> None:
        self.chooser = chooser
        self.reward = reward
        self.rng = np.random.default_rng(seed)
        self.tree = RolloutTree()
        self.root = Attempt(self.tree.root, None, Beta())
        if isinstance(chooser, Separate):
            self.root = Attempt(self.tree.root, None, chooser.prior)

    def add(self, parent: Attempt, reward: float) -> Attempt:
        node = self.tree.add(parent.node, len(parent.children), Sample("x"))
        return self.chooser.back_up(parent, node, reward)

    def run(self, n: int) -> None:
        for _ in range(n):
            spot = self.chooser.descend(self.root, self.rng)
            self.add(spot, self.reward(spot, self.rng))


def test_who_sees_a_reward() -> None:
    """root -> a (0.2), root -> b (0.6), a -> c (1.0), c -> d (0.4)"""
    prior = NormalInverseGamma()
    grower = Grower(Separate(prior), None)
    root = grower.root
    a = grower.add(root, 0.2)
    b = grower.add(root, 0.6)
    c = grower.add(a, 1.0)
    d = grower.add(c, 0.4)

    def seen(*rewards: float) -> NormalInverseGamma:
        belief = prior
        for reward in rewards:
            belief = belief.observe(reward)
        return belief

    assert root.wider == seen(0.2, 0.6), "GEN sees its own new children"
    assert root.deeper == seen(1.0, 0.4), "CONT sees what comes of refining, not new children"
    assert a.arm == seen(0.2, 1.0, 0.4)
    assert b.arm == seen(0.6)
    assert (a.wider, a.deeper) == (seen(1.0), seen(0.4))
    assert c.arm == seen(1.0, 0.4)
    assert (c.wider, c.deeper) == (seen(0.4), prior)
    assert d.arm == seen(0.4)
    assert (d.wider, d.deeper) == (prior, prior)


def test_the_mixed_model_sees_subtrees() -> None:
    grower = Grower(Together(Mixed()), None)
    a = grower.add(grower.root, 0.2)
    b = grower.add(grower.root, 0.6)
    c = grower.add(a, 1.0)
    grower.add(c, 0.4)
    assert [child.rewards for child in grower.root.children] == [[0.2, 1.0, 0.4], [0.6]]
    assert a.children == [c]
    assert c.rewards == [1.0, 0.4]
    assert b.children == []


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([0.5, 0.5, 0.5], False),
        ([0.5, 0.5, 0.5, 0.5], True),
        ([0.5, 0.501, 0.499, 0.9], True),
        ([0.5, 0.5, 0.1, 0.9], False),
        ([1, 1, 1, 1, 1, 1, 0, 0], True),
        ([1, 1, 1, 1, 1, 0, 0, 0], False),
    ],
)
def test_stale_subtrees(rewards: list[float], expected: bool) -> None:
    assert stale(rewards) is expected


def test_stale_subtrees_do_not_compete() -> None:
    grower = Grower(Together(Mixed()), None)
    spot = grower.add(grower.root, 0.9)
    for _ in range(3):
        spot = grower.add(spot, 0.9)
    assert grower.chooser.descend(grower.root, grower.rng) is grower.root
    free = Grower(Together(Mixed(), prune=False), None)
    spot = free.add(free.root, 0.9)
    for _ in range(3):
        spot = free.add(spot, 0.9)
    assert any(free.chooser.descend(free.root, free.rng) is not free.root for _ in range(20))


CHOOSERS = {
    "gaussian": lambda: Separate(NormalInverseGamma()),
    "beta": lambda: Separate(Beta()),
    "mixed": lambda: Together(Mixed(points=24)),
}


def depths(grower: Grower) -> list[int]:
    return [node.depth for node in grower.tree]


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("seed", range(3))
def test_where_refinement_helps_the_tree_is_deep(posterior: str, seed: int) -> None:
    def reward(spot: Attempt, rng: np.random.Generator) -> float:
        return float(np.clip(0.2 + 0.2 * spot.node.depth + 0.05 * rng.standard_normal(), 0, 1))

    grower = Grower(CHOOSERS[posterior](), reward, seed)
    grower.run(100)
    assert depths(grower).count(1) < 30
    assert max(depths(grower)) >= 4


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
@pytest.mark.parametrize("seed", range(3))
def test_where_refinement_does_harm_the_tree_is_wide(posterior: str, seed: int) -> None:
    def reward(spot: Attempt, rng: np.random.Generator) -> float:
        return float(np.clip((0.1 if spot.parent else 0.7) + 0.1 * rng.standard_normal(), 0, 1))

    grower = Grower(CHOOSERS[posterior](), reward, seed)
    grower.run(100)
    assert depths(grower).count(1) > 60


@pytest.mark.parametrize("seed", range(3))
def test_the_mixed_model_finds_the_one_worth_refining(seed: int) -> None:
    """Fresh answers are bad; refining the second is good, refining others makes it worse."""

    def reward(spot: Attempt, rng: np.random.Generator) -> float:
        path = spot.node.path
        level = 0.3 if not path else 0.8 if path[0] == 1 else 0.1
        return level + 0.05 * float(rng.standard_normal())

    grower = Grower(CHOOSERS["mixed"](), reward, seed)
    grower.run(100)
    assert sum(node.path[0] == 1 for node in grower.tree) > 60


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_beliefs_about_fixed_arms_find_the_best(posterior: str) -> None:
    """Thompson sampling over children whose refinements have fixed means."""
    means = [0.2, 0.7, 0.4]

    def reward(spot: Attempt, rng: np.random.Generator) -> float:
        return float(rng.normal(means[spot.node.path[0]], 0.1)) if spot.node.path else 0.0

    grower = Grower(CHOOSERS[posterior](), reward)
    for _ in means:
        grower.add(grower.root, 0.4)
    counts = [0, 0, 0]
    for _ in range(150):
        spot = grower.chooser.descend(grower.root, grower.rng)
        if spot is not grower.root:
            grower.add(spot, reward(spot, grower.rng))
            counts[spot.node.path[0]] += 1
    assert counts[1] > 0.6 * sum(counts) > 30


# ------------------------------------------------------------------------- the searcher


class Grades(Verifier):
    """The number in the text over 10."""

    name = "grades"

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        del problem
        found = re.findall(r"boxed\{(\d+)\}", node.text)
        if not found:
            raise ValueError("no number")
        return (int(found[-1]) / 10,)


def better(prompt: Prompt, seed: int) -> str:
    """A fresh answer is 1 to 4; a refinement is one better than the attempt in its prompt."""
    found = re.findall(r"boxed\{(\d+)\}", prompt.messages[-1].content)
    number = min(9, int(found[-1]) + 1) if found else 1 + seed % 4
    return f"I say \\boxed{{{number}}}"


def start(script: Any = better, tokens: int | None = None, **setting: Any) -> Search:
    return Search(
        Problem("p", "What {is} it?", system="Be brief."),
        Scripted(script, delay=lambda _: 1.0),
        verifier=Grades(),
        sampling=Sampling(max_tokens=8),
        budget=Budget(tokens),
        **setting,
    )


def asked(node: Node) -> str:
    """What the node refines upon, all of it in one message."""
    assert node.turn is not None
    assert node.turn.afresh
    (message,) = node.turn.messages
    return message.content


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_refinement_climbs(posterior: str) -> None:
    search = start()
    asyncio.run(ab_mcts(search, n=40, posterior=posterior))
    assert len(search.tree) == 40
    answer = (c := best(search.candidates)) and c.answer
    assert answer is not None
    assert int(answer.text) > 4, "better than any fresh answer"
    for node in search.tree:
        if node.depth > 1:
            said = asked(node)
            assert node.parent is not None
            assert node.parent.text in said
            assert search.problem.prompt in said
            assert f"{node.parent.scores['grades'][0]:.2f}" in said
            assert node.text == node.sample.text, "a refinement starts over"
        else:
            assert node.turn is None


def test_the_template_is_the_users() -> None:
    search = start()
    refine = "Q {prompt} A {attempt} S {score} keep {this} \\frac{1}{2}"
    asyncio.run(ab_mcts(search, n=20, refine=refine))
    (node, *_) = [node for node in search.tree if node.depth == 2]
    assert node.parent is not None
    score = node.parent.scores["grades"][0]
    assert asked(node) == (
        f"Q What {{is}} it? A {node.parent.text} S {score:.2f} keep {{this}} \\frac{{1}}{{2}}"
    )


def test_filling_in_does_not_look_into_what_it_filled_in() -> None:
    assert filled("{a} {b} {c}", {"a": "{b}", "b": "{a}"}) == "{b} {a} {c}"


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_answers_without_a_score_count_as_0(posterior: str) -> None:
    search = start(lambda prompt, seed: "no idea" if seed % 2 else better(prompt, seed))
    asyncio.run(ab_mcts(search, n=20, posterior=posterior))
    assert len(search.tree) == 20
    assert best(search.candidates)


@pytest.mark.parametrize("tokens", [0, 1, 2, 3, 4, 10, 59])
def test_any_budget_is_kept(tokens: int) -> None:
    search = start(tokens=tokens)
    asyncio.run(ab_mcts(search, n=20))
    assert search.usage.generated_tokens == tokens
    assert bool(search.candidates) == (tokens > 0)


def test_a_refinement_has_all_the_room_again() -> None:
    """Eight tokens each, though the path of nodes is longer."""
    search = start()
    asyncio.run(ab_mcts(search, n=40))
    assert max(node.generated_tokens for node in search.tree) > 8


def test_parallel_places_are_tried_side_by_side() -> None:
    search = start()
    search.clock = search.generator.clock(search.problem)  # type: ignore[attr-defined]
    asyncio.run(ab_mcts(search, n=12, parallel=4))
    assert search.clock.now() == 3.0


def test_a_deadline_keeps_what_was_found() -> None:
    search = start()
    search.clock = search.generator.clock(search.problem)  # type: ignore[attr-defined]

    async def go() -> None:
        with Deadline(search.clock, 2.5):
            await ab_mcts(search, n=100, parallel=2)

    asyncio.run(go())
    assert len(search.candidates) == 4
