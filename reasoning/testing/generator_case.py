"""A generator in the setting it is checked in, and one checked call of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
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
    recordings cannot), `steps` (it continues a path), `streams` (tokens come one after the other,
    so a call cancelled in the middle has metered some). `stop` should occur in what it says.

    What more can be checked: with `fixed`, one seed says the same however it is cut and taken up
    again, at any temperature; with `greedy`, at temperature 0 it goes on from any token as it would
    have without a break; with `decode`, the text of token ids, that text and ids of a path agree;
    with `produced`, the engine's own count of the tokens of all calls so far, that cancelled calls
    meter all but those of `late` steps each, in which the engine has not heard of it yet. How many
    steps that takes is up to the machine, unless they are cancelled within `still`: there the
    engine makes nothing, what it had made has come, and at the end it has heard of all that left.
    """

    make: Callable[[], Generator]
    problem: Problem = field(default_factory=a_problem)
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=48))
    stop: tuple[str, ...] = ("\n\n",)
    seeded: bool = True
    varied: bool = True
    stops: bool = True
    steps: bool = True
    fixed: bool = False
    streams: bool = True
    greedy: bool = False
    decode: Callable[[Sequence[int]], str] | None = None
    produced: Callable[[], int] | None = None
    late: int = 4
    still: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    slots: int = 8


async def draw(
    case: GeneratorCase,
    generator: Generator,
    slot: int,
    *,
    parent: Node | None = None,
    seed: int | None = None,
    paid: list[int] | None = None,
    asked: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Sample:
    """One call, checked for what holds of every call. `paid` is told what it metered in all.

    `asked` are further fields of the prompt, `changes` those of the sampling.
    """
    params = replace(case.sampling, **changes)
    root = parent or RolloutTree(case.problem.id).root
    prompt = Prompt(case.problem, root, slot, **(asked or {}))
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
        if paid is not None:
            paid.append(sum(metered))
    if prompt.begun is None or sample.generated_tokens:  # else nothing was left to say
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
        # The token that ends an answer may have none; so where a stop string is found in one that
        # had ended by itself.
        told = sample.finish == "length" or name == "token_ids"
        sizes = (tokens,) if told else (tokens, tokens - 1)
        assert values is None or len(values) in sizes, f"{len(values)} {name} of {tokens} tokens"
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
