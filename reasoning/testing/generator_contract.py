"""What every generator promises, checked in whatever time the generator lives in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from reasoning.generate import Generator, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.tree import Node, RolloutTree, Sample


def a_problem() -> Problem:
    """What is asked unless the case says otherwise."""
    return Problem("contract", "What is 12 * 7 + 5?", gold="89")


async def no_task_left(work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, then see that it left no task behind."""
    await work()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"{len(left)} tasks are left behind: {left}"


LONGEST_TOKEN = 16
"""Characters that may follow a stop string within the token that completes it."""


@dataclass(frozen=True, kw_only=True)
class GeneratorCase:
    """A generator with the setting it is checked in.

    `make` builds a fresh one. Turn off what it does not promise: `seeded` (the same seed gives the
    same sample), `varied` (different seeds give different ones), `stops` (it honours stop strings;
    recordings cannot), `steps` (it continues a path). `stop` should occur in what it says.
    """

    make: Callable[[], Generator]
    problem: Problem = field(default_factory=a_problem)
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=48))
    stop: tuple[str, ...] = ("\n\n",)
    seeded: bool = True
    varied: bool = True
    stops: bool = True
    steps: bool = True
    slots: int = 8


async def draw(
    case: GeneratorCase,
    generator: Generator,
    slot: int,
    *,
    parent: Node | None = None,
    seed: int | None = None,
    **changes: Any,
) -> Sample:
    """One call, checked for what holds of every call."""
    params = replace(case.sampling, **changes)
    prompt = Prompt(case.problem, parent or RolloutTree(case.problem.id).root, slot)
    metered: list[int] = []
    ended = False

    def meter(tokens: int) -> None:
        assert not ended, "a call was metered after it had ended"
        assert tokens >= 0, f"{tokens} tokens were metered"
        metered.append(tokens)

    try:
        sample = await generator.generate(
            prompt, params, seed=slot if seed is None else seed, meter=meter
        )
    except asyncio.CancelledError:
        assert sum(metered) <= params.max_tokens, "a cancelled call metered more than its maximum"
        raise
    finally:
        ended = True
    check_sample(sample, params)
    assert sum(metered) == sample.generated_tokens, (
        f"{sum(metered)} tokens were metered for a sample of {sample.generated_tokens}"
    )
    return sample


def check_sample(sample: Sample, params: Sampling) -> None:
    """What holds of every sample: its counts, arrays, stop strings and reason to end agree."""
    tokens = sample.generated_tokens
    assert sample.finish in ("end", "stop", "length"), f"finish is {sample.finish!r}"
    assert 0 < tokens <= params.max_tokens, f"{tokens} tokens of at most {params.max_tokens}"
    for name in ("token_ids", "logprobs", "confidence"):
        values = getattr(sample, name)
        assert values is None or len(values) == tokens, f"{len(values)} {name} of {tokens} tokens"
    if sample.logprobs is not None:
        assert all(p <= 1e-4 for p in sample.logprobs), "a log-probability is above 0"
    ends = [at + len(stop) for stop in params.stop if (at := sample.text.find(stop)) >= 0]
    assert (sample.finish == "stop") == bool(ends), (
        f"finish is {sample.finish!r}, stop strings {params.stop}, text {sample.text!r}"
    )
    # Whole tokens are kept, so the rest of the token that completes the stop string may follow.
    assert not ends or len(sample.text) - min(ends) <= LONGEST_TOKEN, (
        f"the text goes on after a stop string: {sample.text!r}"
    )
    assert min(sample.prompt_tokens, sample.cached_tokens) >= 0
    assert sample.cached_tokens <= sample.prompt_tokens, "more tokens cached than there were"


def check_samples(case: GeneratorCase) -> None:
    """The meter adds up, whatever the token limit; a sample cut off says so."""

    async def work() -> None:
        generator = case.make()
        for most in (1, 2, 3, 5, 8, case.sampling.max_tokens):
            sample = await draw(case, generator, 0, max_tokens=most)
            assert sample.finish != "length" or sample.generated_tokens == most, (
                f"cut off for its length after {sample.generated_tokens} of {most} tokens"
            )

    asyncio.run(no_task_left(work))


def check_stops(case: GeneratorCase) -> None:
    """Stop strings end the sample and stay in its text."""
    if not case.stops:
        return

    async def work() -> None:
        generator = case.make()
        samples = [await draw(case, generator, i, stop=case.stop) for i in range(case.slots)]
        assert any(s.finish == "stop" for s in samples), (
            f"none of {case.stop} occurs in {len(samples)} samples; set `stop` to one that does"
        )

    asyncio.run(no_task_left(work))


def check_continues(case: GeneratorCase) -> None:
    """A path can be continued step by step, and its tokens are handed on as they are."""
    if not (case.steps and case.stops):
        return

    async def work() -> None:
        generator = case.make()
        tree = RolloutTree(case.problem.id)
        node = tree.root
        for slot in range(4):
            sample = await draw(case, generator, slot, parent=node, stop=case.stop)
            node = tree.add(node, slot, sample)
            if node.finished:
                break

    asyncio.run(no_task_left(work))


def check_seeds(case: GeneratorCase) -> None:
    """The same seed gives the same sample; different ones, different samples."""

    async def work() -> None:
        generator = case.make()
        samples = [await draw(case, generator, 0, seed=seed) for seed in range(case.slots)]
        if case.varied and case.slots > 1:
            assert len({s.text for s in samples}) > 1, f"{len(samples)} seeds gave one text"
        if case.seeded:
            for seed, sample in enumerate(samples):
                again = await draw(case, generator, 0, seed=seed)
                # What a cache had of the prompt may differ; what was drawn may not.
                again = replace(again, cached_tokens=sample.cached_tokens)
                assert again.to_json() == sample.to_json(), f"seed {seed} gave two samples"

    asyncio.run(no_task_left(work))


def check_concurrency(case: GeneratorCase) -> None:
    """Calls in flight together each get what they would get alone."""

    async def work() -> None:
        generator = case.make()
        calls = [
            asyncio.ensure_future(draw(case, generator, slot, seed=slot))
            for slot in range(case.slots)
        ]
        await asyncio.wait(calls)
        together = [call.result() for call in calls]
        if not case.seeded:
            return
        for slot, sample in enumerate(together):
            alone = await draw(case, generator, slot, seed=slot)
            assert alone.text == sample.text, f"call {slot} got another's sample"

    asyncio.run(no_task_left(work))


def check_call_cancellation(case: GeneratorCase) -> None:
    """Cancelled at any time, a call raises CancelledError with its tokens metered, and the
    generator serves on."""

    async def work() -> None:
        generator = case.make()
        for turns in (0, 1, 2, 3, 5, 8, 13):
            call = asyncio.ensure_future(draw(case, generator, 0))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled() or call.exception() is None, (
                f"a cancelled call raised {call.exception()!r}"
            )
        await draw(case, generator, 0)

    asyncio.run(no_task_left(work))


def check_two_loops(case: GeneratorCase) -> None:
    """One generator serves two event loops in turn."""
    generator = case.make()
    for _ in range(2):
        asyncio.run(draw(case, generator, 0))


GENERATOR_CHECKS: tuple[Callable[[GeneratorCase], None], ...] = (
    check_samples,
    check_stops,
    check_continues,
    check_seeds,
    check_concurrency,
    check_call_cancellation,
    check_two_loops,
)


def check_generator(make: Callable[[], Generator], **setting: Any) -> None:
    """All of `GENERATOR_CHECKS`; `setting` goes to `GeneratorCase`."""
    case = GeneratorCase(make=make, **setting)
    for check in GENERATOR_CHECKS:
        check(case)
