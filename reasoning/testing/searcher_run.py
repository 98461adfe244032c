"""One run of a searcher on toys in virtual time, and what holds of every one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from reasoning.budget import KINDS, Budget, Lease, Purse
from reasoning.clock import Deadline, VirtualClock
from reasoning.generate import Generator, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Step
from reasoning.testing.toys import (
    ToyGenerator,
    ToyModel,
    ToyVerifier,
    random_tree,
    shuffled_delays,
)
from reasoning.tree import LOST
from reasoning.verify import Verifier

MOST_REQUESTS = 20_000
"""A searcher that asks more often than this on a toy will not end by itself."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A searcher with the setting it is checked in.

    `races` exempts one whose paper has it look at arrival from independence of latency: it must
    still give the same trace whenever the delays are the same.
    """

    searcher: Callable[..., Awaitable[None]]
    params: Mapping[str, Any] = field(default_factory=dict)
    races: bool = False
    models: tuple[str, ...] = ()
    model: ToyModel = field(default_factory=lambda: random_tree(7, depth=4))
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=14))
    step: Step = field(default_factory=lambda: Step(max_tokens=6))
    seed: int = 1

    @property
    def name(self) -> str:
        return getattr(self.searcher, "__name__", repr(self.searcher))


class WatchedPurse(Purse):
    """A purse that notices a task which asks while it holds, and one that asks for ever."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(limit)
        self._holders: dict[Lease, asyncio.Task[Any] | None] = {}
        self._requests = 0

    async def lease(
        self, amount: int, *, even: Sequence[int] | None = None, least: int | None = None
    ) -> Lease | None:
        self._asked()
        return self._held(await super().lease(amount, even=even, least=least))

    def at_once(self, amount: int, *, even: Sequence[int] | None = None) -> Lease | None:
        self._asked()
        return self._held(super().at_once(amount, even=even))

    def _asked(self) -> None:
        task = asyncio.current_task()
        assert task not in self._holders.values(), "a task asked for a lease while holding one"
        self._requests += 1
        assert self._requests < MOST_REQUESTS, f"{MOST_REQUESTS} requests: does this ever end?"

    def _held(self, lease: Lease | None) -> Lease | None:
        if lease is not None:
            self._holders[lease] = asyncio.current_task()
        return lease

    def _settle(self, lease: Lease, time: int) -> None:
        super()._settle(lease, time)
        self._holders.pop(lease, None)


class Run:
    """One run of a case, to be looked at afterwards."""

    def __init__(
        self,
        case: Case,
        *,
        tokens: int | None = None,
        verifier_calls: int | None = None,
        delays: int | None = None,
        ticks: bool = False,
        generator: Generator | None = None,
        verifier: Verifier | None = None,
        failure: Callable[[Prompt, int], Exception | None] | None = None,
    ) -> None:
        delay = None if delays is None else shuffled_delays(delays)
        self.case = case
        self.toy = ToyGenerator(
            case.model,
            delay=delay,
            token_seconds=1.0 if ticks else 0.0 if delays is None else 0.1,
            failure=failure,
        )
        self.clock = VirtualClock()
        self.toy.clock = self._clock_of  # type: ignore[method-assign]
        self.verifier = verifier or ToyVerifier(case.model, delay=delay, clock=self._clock_of)
        budget = Budget(tokens, verifier_calls)
        budget._purses["tokens"] = WatchedPurse(tokens)
        budget._purses["verifier_calls"] = WatchedPurse(verifier_calls)
        self.search = Search(
            case.model.problem,
            generator or self.toy,
            models=dict.fromkeys(case.models, generator or self.toy),
            verifier=self.verifier,
            sampling=case.sampling,
            step=case.step,
            budget=budget,
            seed=case.seed,
            clock=self.clock,
        )

    def _clock_of(self, problem: Problem) -> VirtualClock:
        del problem
        return self.clock

    def ask(self, generator: Generator) -> None:
        """Have every model of the search be `generator`."""
        self.search.generator = generator
        self.search.models = dict.fromkeys(self.case.models, generator)

    def __call__(self, *, seconds: float | None = None, cancel_at: float | None = None) -> Run:
        """Run to the end, the deadline, or a cancellation from outside."""
        with suppress(asyncio.CancelledError):
            asyncio.run(self._run(seconds, cancel_at))
        self.check_sound()
        return self

    async def _run(self, seconds: float | None, cancel_at: float | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if cancel_at is not None:
            self.clock.call_later(cancel_at, task.cancel)
        try:
            with Deadline(self.clock, seconds):
                await self.case.searcher(self.search, **self.case.params)
        finally:
            # While the loop still runs: closing it would cancel, and so hide, what was left.
            left = asyncio.all_tasks() - {task}
            assert not left, f"{self.case.name} left {len(left)} tasks behind: {left}"

    @property
    def trace(self) -> str:
        """All that must not depend on latency: tree, candidates, usage but for the time it took."""
        lines = [repr(candidate) for candidate in self.search.candidates]
        usage = replace(self.search.usage, seconds=0.0)
        return "\n".join([self.search.tree.to_jsonl(), *lines, repr(usage)])

    def check_sound(self) -> None:
        """What holds at the end of every run, whichever way it ended."""
        name, search = self.case.name, self.search
        assert self.toy.live == 0, f"{name} left {self.toy.live} calls to the generator live"
        assert not getattr(self.verifier, "live", 0), f"{name} left calls to the verifier live"
        for kind in KINDS:
            purse = search.budget.purse(kind)
            idle = not purse.reserved and not purse.waiting
            assert idle, f"{name} left a lease of {kind} open or somebody waiting"
            if purse.limit is not None:
                assert purse.spent <= purse.limit, (
                    f"{name} spent {purse.spent} of {purse.limit} {kind}"
                )
        check_accounts(search)
        for candidate in search.candidates:
            assert search.tree[candidate.path].emitted is not None


def check_accounts(search: Search) -> None:
    """Tree, usage and budget tell the same story."""
    usage, nodes = search.usage, list(search.tree)
    spent = search.budget.tokens.spent
    assert usage.generated_tokens == spent, (
        f"usage has {usage.generated_tokens} generated tokens, the budget {spent}"
    )
    lost = [n for n in nodes if n.sample.finish in LOST]
    filed = sum(n.sample.generated_tokens for n in nodes)
    retried = usage.wasted_tokens - sum(n.sample.generated_tokens for n in lost)
    assert retried >= 0, f"wasted tokens in the tree are missing from usage: {usage}"
    assert filed + retried == usage.generated_tokens, (
        f"nodes hold {filed} tokens, {retried} went into retries, "
        f"but usage has {usage.generated_tokens}"
    )
    calls = search.budget.verifier_calls.spent
    assert usage.verifier_calls == calls, (
        f"usage has {usage.verifier_calls} verifier calls, the budget {calls}"
    )


def assert_same(case: Case, what: str, expected: Run, got: Run) -> None:
    """Compare two traces; the message holds the first line that differs."""
    left, right = expected.trace.split("\n"), got.trace.split("\n")
    for a, b in zip(left, right, strict=False):
        assert a == b, f"{case.name}: {what} changed the trace:\n  {a}\n  {b}"
    assert len(left) == len(right), (
        f"{case.name}: {what} changed the trace from {len(left)} lines to {len(right)}"
    )
