"""What every aggregator promises, checked on made-up candidates and on toys in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.majority import majority
from reasoning.answers import Answer
from reasoning.budget import Budget
from reasoning.chain import Chain, Stage, asks, decide
from reasoning.clock import VirtualClock
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.search import Search
from reasoning.testing.toys import ToyGenerator, ToyModel, ToyVerifier, random_tree
from reasoning.tree import RolloutTree, Sample

POOLS = 20
"""Made-up sets of candidates that each promise is checked on."""


@dataclass(frozen=True, kw_only=True)
class AggregatorCase:
    """An aggregator with the setting it is checked in."""

    aggregator: Callable[..., Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    model: ToyModel = field(default_factory=lambda: random_tree(7, depth=4))

    @property
    def bound(self) -> Callable[..., Any]:
        bound: Callable[..., Any] = names.bind_function(self.aggregator, self.params)
        return bound

    def search(self, tokens: int | None = None, *, token_seconds: float = 0.0) -> Search:
        """A search of the toy with a budget of so many tokens."""
        generator = ToyGenerator(self.model, token_seconds=token_seconds)
        clock = VirtualClock()

        def of(problem: Problem) -> VirtualClock:
            del problem
            return clock

        generator.clock = of  # type: ignore[method-assign]
        return Search(
            self.model.problem,
            generator,
            verifier=ToyVerifier(self.model),
            sampling=Sampling(max_tokens=14, confidence_k=2),
            budget=Budget(tokens),
            clock=clock,
        )

    def chain(self, given: Sequence[Candidate]) -> Chain:
        """The aggregator behind a searcher that hands over `given`; filters go on to a vote."""

        async def hand_over(search: Search) -> None:
            del search

        async def keep(candidates: Sequence[Candidate], search: Search) -> list[Candidate]:
            del candidates, search
            return list(given)

        stages = (Stage("searcher", hand_over), Stage("aggregator", keep))
        return Chain((*stages, Stage("aggregator", self.bound)), majority)

    def choose(self, given: Sequence[Candidate], search: Search | None = None) -> Choice:
        """What it makes of `given`, live."""
        return asyncio.run(self.chain(given).run(search or self.search())).choice


def pool(seed: int, *, n: int | None = None) -> list[Candidate]:
    """Made-up candidates in path order: answers that repeat or are none, scores and lengths."""
    rng = np.random.default_rng(seed)
    tree = RolloutTree(f"pool {seed}")
    found = []
    for slot in range(int(rng.integers(1, 9)) if n is None else n):
        tokens = int(rng.integers(1, 5))
        arrays: dict[str, Any] = {}
        if rng.random() < 0.8:
            arrays["logprobs"] = -rng.choice([0.25, 0.5, 1.0, 2.0], tokens).astype(np.float32)
            arrays["confidence"] = rng.choice([1.0, 2.0, 4.0], tokens).astype(np.float32)
        finish: Any = "end" if rng.random() < 0.8 else "length"
        sample = Sample("text", finish=finish, generated_tokens=tokens, **arrays)
        node = tree.add(tree.root, slot, sample)
        key = rng.choice(["a", "b", "c", ""])
        found.append(
            Candidate(
                node.path,
                Answer(f"{key}{slot}", str(key)) if key else None,
                weight=float(rng.choice([0.5, 1.0, 2.0])),
                rank=float(rng.integers(0, 3)),
                score=None if rng.random() < 0.2 else float(rng.choice([0.0, 0.25, 0.5, 1.0])),
                node=node,
            )
        )
    return found


def place(choice: Choice) -> tuple[int, ...] | None:
    return None if choice.candidate is None else choice.candidate.path


def check_empty(case: AggregatorCase) -> None:
    """Of nothing, nothing is chosen."""
    assert case.choose([]).candidate is None, f"{case.bound} chose from nothing"


def check_one_of_those(case: AggregatorCase) -> None:
    """The chosen one is of those given, has an answer, and confidence is a share."""
    for seed in range(POOLS):
        given = pool(seed)
        before = list(given)
        choice = case.choose(given)
        assert given == before, "the candidates were changed"
        sure = choice.confidence
        assert sure is None or 0 <= sure <= 1, f"confidence {sure} is no share"
        if (chosen := choice.candidate) is None:
            continue
        assert chosen.path in [c.path for c in given], f"{chosen.path} was not given"
        assert chosen.answer is not None, "a candidate without an answer won"


def check_order(case: AggregatorCase) -> None:
    """The order of the list, which is that of arrival in careless hands, does not count."""
    for seed in range(POOLS):
        given = pool(seed)
        mixed = [given[i] for i in np.random.default_rng(seed).permutation(len(given))]
        assert place(case.choose(given)) == place(case.choose(mixed)), "the list's order counts"


def check_unanswered(case: AggregatorCase) -> None:
    """Where nobody has an answer, nobody wins."""
    for seed in range(POOLS // 4):
        silent = [replace(c, answer=None) for c in pool(seed)]
        assert case.choose(silent).candidate is None, "a candidate without an answer won"


def check_ties(case: AggregatorCase) -> None:
    """Of candidates alike but for their answer, that with the lowest rank, then path, wins."""
    tree = RolloutTree("ties")
    ones = np.ones(2, np.float32)
    sample = Sample("x", finish="end", generated_tokens=2, logprobs=-ones, confidence=ones)
    for ranks in ((0, 0, 0), (2, 1, 1), (1, 1, 0)):
        given = []
        for slot, rank in enumerate(ranks):
            node = tree.add(tree.root, len(tree), sample)
            answer = Answer(str(slot), str(slot))
            given.append(Candidate((slot,), answer, rank=rank, score=0.5, node=node))
        chosen = place(case.choose(given))
        first = min(given, key=lambda c: (c.rank, c.path)).path
        assert chosen in (None, first), f"{chosen} won a tie of ranks {ranks}"


def check_offline(case: AggregatorCase) -> None:
    """One that asks nobody makes the same of stored candidates, with no search at all."""
    if asks(case.bound):
        return
    for seed in range(POOLS):
        given = pool(seed)
        assert decide(given, case.bound, majority) == case.choose(given), "live is not offline"


def check_budget(case: AggregatorCase) -> None:
    """What it spends is within the limit at every limit, and there is an outcome."""
    for tokens in (0, 1, 2, 5, 10, 30, 100):
        search = case.search(tokens)
        case.choose(pool(3), search)
        spent = search.usage.generated_tokens
        assert spent <= tokens, f"{spent} tokens were spent under a limit of {tokens}"
        assert search.budget.idle, "a lease is still held"


def check_cancel(case: AggregatorCase) -> None:
    """Cancelled at any moment it leaves no call, no lease and no task; a deadline loses nothing."""
    for at in (0.05, 0.35, 1.15, 3.05):
        for inside in (True, False):
            search = case.search(token_seconds=0.1)
            with suppress(asyncio.CancelledError):
                asyncio.run(_ended(case, search, at, inside))
            assert isinstance(search.generator, ToyGenerator)
            assert search.generator.live == 0, "a call is still under way"
            assert search.budget.idle, "a lease is still held"


async def _ended(case: AggregatorCase, search: Search, at: float, inside: bool) -> None:
    """Run to a deadline at `at`, or to a cancellation from outside."""
    work = case.chain(pool(3)).run(search, at if inside else None)
    task = asyncio.ensure_future(work)
    if not inside:
        search.clock.call_later(at, task.cancel)
    await asyncio.wait([task])
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, f"tasks are left: {others}"
    found = await task
    if inside and found.stop_reason == "seconds":
        assert found.choice.candidate is not None, "a deadline lost the candidates"


AGGREGATOR_CHECKS: tuple[Callable[[AggregatorCase], None], ...] = (
    check_empty,
    check_one_of_those,
    check_order,
    check_unanswered,
    check_ties,
    check_offline,
    check_budget,
    check_cancel,
)


def check_aggregator(
    aggregator: Callable[..., Any], params: Mapping[str, Any] | None = None
) -> None:
    """Run the whole suite. Raises AssertionError that says which promise is broken."""
    for check in AGGREGATOR_CHECKS:
        check(AggregatorCase(aggregator=aggregator, params=params or {}))
