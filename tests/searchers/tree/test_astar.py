"""A* against a textbook A* on the same tree, and where its heuristic is perfect."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.aggregators.first import first
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.seeds import fold
from reasoning.testing.toys import ToyGenerator, ToyVerifier, markov, random_tree
from reasoning.tree import Node, Path
from reasoning.verify import Scores, Verifier
from searchers.tree.astar import Cost, astar, step_cost


class ByPath(Verifier):
    """A verifier from a function of the path; counts its calls."""

    name = "scores"

    def __init__(self, score: Any) -> None:
        self.score_of = score
        self.calls = 0

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        del problem
        self.calls += 1
        return (self.score_of(node.path),)


def end_at(depth: int) -> Scripted:
    """Every path ends after `depth` steps; slots say different things."""

    def script(prompt: Prompt, seed: int) -> str:
        del seed
        last = len(prompt.path) == depth
        return f"\\boxed{{{''.join(map(str, prompt.path))}}}" if last else f"s{prompt.slot}\n\n"

    return Scripted(script)


def run(generator: Any, verifier: Any, *, tokens: int | None = None, **params: Any) -> Search:
    search = Search(
        Problem("p", "q"),
        generator,
        verifier=verifier,
        sampling=Sampling(max_tokens=100),
        step=Step(max_tokens=10),
        budget=Budget(tokens),
    )
    asyncio.run(astar(search, **params))
    return search


def grown(search: Search) -> list[Path]:
    return sorted(node.path for node in [search.root, *search.tree] if node.children)


def textbook(score: Any, depth: int, width: int, cost: Cost) -> tuple[set[Path], Path]:
    """Nodes expanded, and the first goal popped: one at a time, everything by the book."""
    frontier: list[tuple[float, float, int, Path, float]] = [(0.0, 0.0, 0, (), 0.0)]
    expanded = set()
    while True:
        _, before, _, path, g = heapq.heappop(frontier)
        if len(path) == depth:
            return expanded, path
        expanded.add(path)
        for slot in range(width):
            child = (*path, slot)
            h = 1 - score(child)
            rise = h - before if path else 0.0
            paid = g + max(0.0, rise if cost == "drop" else -rise)
            heapq.heappush(frontier, (paid + h, h, -len(child), child, paid))


@pytest.mark.parametrize("cost", ["drop", "consistent"])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_textbooks(cost: Cost, seed: int) -> None:
    def score(path: Path) -> float:
        return round(fold(seed, *path) / 2**63, 1)  # one digit, so that there are ties

    search = run(end_at(4), ByPath(score), width=3, cost=cost)
    expanded, goal = textbook(score, 4, 3, cost)
    assert grown(search) == sorted(expanded)
    answer = (c := first(search.candidates)) and c.answer
    assert answer is not None
    assert answer.text == "".join(map(str, goal))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_f_in_both_readings(hs: list[float]) -> None:
    def f(cost: Cost) -> list[float]:
        paid = accumulate((step_cost(a, b, cost) for a, b in pairwise(hs)), initial=0.0)
        return [g + h for g, h in zip(paid, hs, strict=True)]

    falls = list(accumulate((max(0.0, b - a) for a, b in pairwise(hs)), initial=0.0))
    assert f("drop") == pytest.approx([h + fall for h, fall in zip(hs, falls, strict=True)])
    assert f("consistent") == pytest.approx([hs[0] + fall for fall in falls])
    assert all(b >= a - 1e-12 for a, b in pairwise(f("consistent")))
    for a, b in pairwise(hs):
        assert a <= step_cost(a, b, "consistent") + b + 1e-12, "h is consistent"


def test_a_perfect_heuristic_grows_the_best_path_only() -> None:
    model = random_tree(3, depth=5, width=3)
    right = [whole for whole, _ in model.complete() if whole[-1] == "0"]
    best = max(right, key=model.probability)

    def leads_there(steps: Sequence[str]) -> float:
        return float(best[: len(steps)] == tuple(steps))

    search = run(ToyGenerator(model), ToyVerifier(model, leads_there), width=24)
    names = [model.parse(search.tree[path].text)[0] for path in grown(search)]
    assert names == [best[:i] for i in range(len(best))]
    assert first(search.candidates).answer.text == "0"  # type: ignore[union-attr]


def test_a_solution_counts_when_popped_and_not_when_found() -> None:
    """A weak solution is found in the first round; the better one lies behind another step."""
    scores = {"weak": 0.3, "go on": 0.6, "strong": 0.9}
    model = markov({"": {"weak": 0.5, "go on": 0.5}, "go on": {"strong": 1.0}})
    verifier = ToyVerifier(model, lambda steps: scores[steps[-1]])
    search = run(ToyGenerator(model), verifier, width=6)
    assert len(search.candidates) > 1
    assert first(search.candidates).answer.text == "strong"  # type: ignore[union-attr]


def test_nothing_behind_a_solution_grows() -> None:
    def score(path: Path) -> float:
        return {(0,): 0.9, (1,): 0.8, (2,): 0.1}.get(path, 0.85)

    def script(prompt: Prompt, seed: int) -> str:
        del seed
        return "\\boxed{7}" if prompt.path == (1,) else f"s{prompt.slot}\n\n"

    search = run(Scripted(script), ByPath(score), width=3, parallel=3, max_steps=3, goals=1)
    assert (2,) not in grown(search)


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_several_goals_come_in_order_of_f(parallel: int) -> None:
    def score(path: Path) -> float:
        return fold(5, *path) / 2**63

    search = run(end_at(3), ByPath(score), width=3, goals=4, parallel=parallel)
    ranked = sorted(search.candidates, key=lambda c: c.rank)
    assert [c.rank for c in ranked[:4]] == [-4, -3, -2, -1]
    assert all(c.rank >= 0 for c in ranked[4:])


def test_repeated_siblings_grow_once() -> None:
    script = Scripted(lambda prompt, _: "\\boxed{1}" if prompt.parent.depth else "same\n\n")
    search = run(script, ByPath(lambda _: 0.5), width=4, goals=9)
    assert grown(search) == [(), (0,)]


def test_beyond_the_last_step_the_best_path_runs_out() -> None:
    def script(prompt: Prompt, _: int) -> str:
        return "step\n\n" * 3 + "\\boxed{5}" if prompt.parent.depth == 2 else f"s{prompt.slot}\n\n"

    search = run(Scripted(script), ByPath(lambda path: 0.1 * (1 + sum(path))), width=2, max_steps=2)
    (candidate,) = search.candidates
    assert candidate.path == (1, 1, 0)
    assert candidate.answer
    assert candidate.answer.text == "5"


def test_a_path_that_never_ends_is_put_forward_as_it_is() -> None:
    endless = Scripted(lambda prompt, _: "on and on " * 200 + str(prompt.slot))
    for max_steps in (1, 3, 40):
        search = run(endless, ByPath(lambda _: 0.5), width=2, max_steps=max_steps)
        (candidate,) = search.candidates
        assert candidate.answer is None
        assert search.tree[candidate.path].generated_tokens == 100


@pytest.mark.parametrize("tokens", range(9))
def test_short_of_tokens_the_best_partial_is_put_forward(tokens: int) -> None:
    search = run(end_at(9), ByPath(lambda path: 0.1 * path[-1]), width=2, tokens=tokens)
    assert search.usage.generated_tokens == tokens
    assert len(search.candidates) == (tokens > 0)


def test_unscored_steps_come_last() -> None:
    def score(path: Path) -> float:
        return float("nan") if path[0] == 0 else 0.01

    search = run(end_at(2), ByPath(score), width=2)
    assert grown(search) == [(), (1,)]


def test_the_engine_is_told_that_the_least_f_is_the_most_urgent() -> None:
    asked: dict[Path, float | None] = {}

    def script(prompt: Prompt, seed: int) -> str:
        del seed
        asked[prompt.path] = prompt.urgency
        return "\\boxed{1}" if len(prompt.path) == 3 else f"s{prompt.slot}\n\n"

    # The first step costs nothing, so f of a first step is its h; later falls cost what they fall.
    scores = ByPath(lambda path: {(0,): 0.75, (1,): 0.25}.get(path[:1], 0.0))
    run(Scripted(script), scores, width=2, parallel=2)
    by_parent = {path[:-1]: urgency for path, urgency in asked.items() if len(path) < 3}
    assert by_parent == {(): 0.0, (0,): -0.25, (1,): -0.75}
