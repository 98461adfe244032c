"""What the tree searchers do, step by step, on a tree that is laid out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.tree import Node, Path
from reasoning.verify import Scores, Verifier
from searchers.tree.beam_search import beam_search
from searchers.tree.dvts import dvts
from searchers.tree.mcts import mcts
from searchers.tree.particle_filter import particle_filter
from searchers.tree.twisted_smc import twisted_smc


class ByPath(Verifier):
    """Scores a node by its path; one half where nothing is laid out."""

    name = "laid"

    def __init__(self, scores: dict[Path, float]) -> None:
        self.scores = scores

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        return (self.scores.get(node.path, 0.5),)


def run(
    searcher: Any,
    scores: dict[Path, float],
    ends: Callable[[Path], bool],
    *,
    tokens: int | None = None,
    **params: Any,
) -> Search:
    """Every step is one word, but where a path `ends`."""

    def script(prompt: Prompt, seed: int) -> str:
        return f"\\boxed{{{prompt.slot}}}" if ends(prompt.path) else f"s{prompt.slot}\n\n"

    search = Search(
        Problem("p", "q"),
        Scripted(script),
        verifier=ByPath(scores),
        sampling=Sampling(max_tokens=1000),
        step=Step(max_tokens=10),
        budget=Budget(tokens),
    )
    asyncio.run(searcher(search, **params))
    return search


def children(search: Search) -> list[int]:
    """How many each of the first steps has."""
    return [len(node.children) for node in search.root.children]


def test_mcts_backs_up_the_best_child() -> None:
    """(0,) has the best child and the worst: by the best it is gone into again, to try the other;
    by the worst, (1,) would be."""
    scores = {(0,): 0.6, (1,): 0.55, (0, 0): 0.1, (0, 1): 0.9, (1, 0): 0.5, (1, 1): 0.5}
    search = run(
        mcts, scores, lambda path: len(path) == 5, simulations=4, expansions=2, parallel=1,
        policy="uct", exploration=0.0,
    )  # fmt: skip
    grown = [node.path for node in search.tree if len(node.children) == 2]
    assert grown == [(0,), (0, 0), (1,)]


def test_beam_keeps_or_frees_the_place_of_a_solution() -> None:
    scores = {(0,): 0.9, (1,): 0.8, (2,): 0.7, (3,): 0.1}
    found = {
        finished: children(
            run(
                beam_search, scores, lambda path: path == (0,) or len(path) == 2, width=2,
                expansions=2, finished=finished,
            )
        )
        for finished in ("keep", "free")
    }  # fmt: skip
    assert found == {"keep": [0, 2, 0, 0], "free": [0, 2, 2, 0]}


def test_twisted_smc_resamples_below_a_share_of_the_particles() -> None:
    """The effective sample size is 1.06 of 4: below 0.5 * 4, and above 0.2 * 4."""
    scores = {(0,): 1.0, (1,): 0.01, (2,): 0.01, (3,): 0.01}

    def grown(threshold: float) -> list[int]:
        search = run(
            twisted_smc, scores, lambda path: len(path) == 2, n=4, power=1.0,
            ess_threshold=threshold,
        )  # fmt: skip
        return children(search)

    assert grown(0.2) == [1, 1, 1, 1]
    assert grown(0.5)[0] >= 3


def test_annealing_ends_with_the_early_phase() -> None:
    """The first of two steps is half of all: annealed below 0.6, no more from 0.5 on."""
    scores = {(0,): 0.97} | {(i,): 0.4 for i in range(1, 8)}

    def grown(**annealing: Any) -> list[int]:
        search = run(
            particle_filter, scores, lambda path: len(path) == 2, n=8, max_steps=2,
            resampling="systematic", **annealing,
        )  # fmt: skip
        return children(search)

    plain = grown()
    assert plain[0] >= 6
    early = {"annealing": "base", "ess_threshold": 1.0}
    assert grown(**early, early_phase=0.5) == plain
    assert grown(**early, early_phase=0.6)[0] < plain[0]


def test_what_subtrees_of_dvts_leave_is_spent_by_those_that_go_on() -> None:
    """Seven of eight end after 2 tokens; all of the rest is for the last, not an eighth."""
    search = run(
        dvts, {}, lambda path: path[0] > 0 and len(path) == 2, tokens=800, subtrees=8,
        expansions=1, max_steps=900,
    )  # fmt: skip
    assert search.usage.generated_tokens == 800
    beside = sum(n.sample.generated_tokens for n in search.tree if n.path[0])
    assert beside == 7 * 3  # a step of two tokens, an end of one
    assert search.budget.exhausted == "tokens"
