"""What every generator promises, checked in whatever time the generator lives in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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


_BROKEN = "\ufffd"  # what decoders make of a character that is not whole

LONGEST_TOKEN = 16
"""Characters that may follow a stop string within the token that completes it."""


@dataclass(frozen=True, kw_only=True)
class GeneratorCase:
    """A generator with the setting it is checked in.

    `make` builds a fresh one. Turn off what it does not promise: `seeded` (the same seed gives the
    same sample), `varied` (different seeds give different ones), `stops` (it honours stop strings;
    recordings cannot), `steps` (it continues a path), `streams` (tokens come one after the other,
    so a call cancelled in the middle has metered some). `stop` should occur in what it says.

    What more can be checked: with `greedy`, at temperature 0 it goes on from any token as it would
    have without a break; with `decode`, the text of token ids, that text and ids of a path agree;
    with `produced`, the engine's own count of the tokens of all calls so far, that cancelled calls
    meter all but those of `late` steps each, in which the engine has not heard of it yet.
    """

    make: Callable[[], Generator]
    problem: Problem = field(default_factory=a_problem)
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=48))
    stop: tuple[str, ...] = ("\n\n",)
    seeded: bool = True
    varied: bool = True
    stops: bool = True
    steps: bool = True
    streams: bool = True
    greedy: bool = False
    decode: Callable[[Sequence[int]], str] | None = None
    produced: Callable[[], int] | None = None
    late: int = 4
    slots: int = 8


async def draw(
    case: GeneratorCase,
    generator: Generator,
    slot: int,
    *,
    parent: Node | None = None,
    seed: int | None = None,
    paid: list[int] | None = None,
    **changes: Any,
) -> Sample:
    """One call, checked for what holds of every call. `paid` is told what it metered in all."""
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
        if paid is not None:
            paid.append(sum(metered))
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
    """A path can be continued step by step, and what comes next depends on the path."""
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
        if not (case.seeded and case.varied):
            return
        cut = await draw(case, generator, 0, stop=case.stop, max_tokens=3)
        node = tree.add(tree.root, 4, cut)
        pairs = [
            [(await draw(case, generator, 0, parent=parent, seed=seed)).text for seed in range(8)]
            for parent in (tree.root, node)
        ]
        assert pairs[0] != pairs[1], "whatever the path, the same seeds go on in the same way"

    asyncio.run(no_task_left(work))


def check_greedy_paths(case: GeneratorCase) -> None:
    """At temperature 0 a path cut anywhere, also by a stop, goes on as the uncut answer does."""
    if not (case.greedy and case.steps):
        return

    async def work() -> None:
        generator = case.make()
        most = case.sampling.max_tokens
        whole = await draw(case, generator, 0, temperature=0.0)
        cuts: list[dict[str, Any]] = [{"max_tokens": n} for n in (1, 2, 5, 12) if n < most]
        for cut in [*cuts, {"stop": case.stop}] if case.stops else cuts:
            tree = RolloutTree(case.problem.id)
            first = await draw(case, generator, 0, temperature=0.0, **cut)
            node = tree.add(tree.root, 0, first)
            if not node.finished and first.generated_tokens < most:
                room = most - first.generated_tokens
                rest = await draw(case, generator, 0, parent=node, temperature=0.0, max_tokens=room)
                node = tree.add(node, 0, rest)
            assert (node.text, node.token_ids) == (whole.text, whole.token_ids), (
                f"with a cut by {cut} the path says {node.text!r} and not {whole.text!r}"
            )

    asyncio.run(no_task_left(work))


def check_text_of_tokens(case: GeneratorCase) -> None:
    """Text and token ids of a path agree, at every stop and wherever it is cut."""
    decode = case.decode
    if decode is None:
        return

    async def work() -> None:
        generator = case.make()
        whole = (await draw(case, generator, 0)).text
        stops = {whole[i:j] for i in range(0, 40, 3) for j in (i + 1, i + 2, i + 5)}
        for stop in sorted(filter(None, stops)) if case.stops else ():
            agree(await draw(case, generator, 0, stop=(stop,)))
        for slot in range(case.slots if case.steps else 0):
            tree = RolloutTree(case.problem.id)
            node = tree.root
            while node.depth < 8 and not node.finished:  # hot, so that characters are cut, too
                sample = await draw(
                    case, generator, slot, parent=node, max_tokens=2, temperature=2.0
                )
                node = tree.add(node, 0, sample)
                agree(node)

    def agree(said: Sample | Node) -> None:
        ids = said.token_ids
        assert ids is not None, "there is text without token ids"
        # What is not a whole character yet may come with the next tokens.
        assert said.text.rstrip(_BROKEN) == decode(ids).rstrip(_BROKEN), (
            f"the text is {said.text!r}, its tokens say {decode(ids)!r}"
        )

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
    """Cancelled at any time, a call raises CancelledError, and the generator serves on."""

    async def work() -> None:
        generator = case.make()
        for turns in (0, 1, 2, 3, 5, 8, 13):
            call = asyncio.ensure_future(draw(case, generator, 0))
            for _ in range(turns):
                await asyncio.sleep(0)
            await left([call])
        await draw(case, generator, 0)

    asyncio.run(no_task_left(work))


def check_cancelled_calls_are_paid_for(case: GeneratorCase) -> None:
    """Cancelled while it produces tokens, a call has metered those that it had produced.

    It is cancelled when a shorter call beside it is over, in whatever time that takes.
    """
    if not case.streams:
        return

    async def work() -> None:
        generator = case.make()
        await draw(case, generator, 0)  # whatever is done once is done
        caught = 0
        for most in (1, 2, 4, 8, 16):
            before = case.produced() if case.produced else 0
            paid: list[list[int]] = [[] for _ in range(case.slots + 1)]
            calls = [
                asyncio.ensure_future(draw(case, generator, slot, paid=paid[slot]))
                for slot in range(case.slots)
            ]
            await draw(case, generator, case.slots, max_tokens=most, paid=paid[-1])
            gone = await left(calls)
            caught += sum(paid[slot][0] > 0 for slot in gone if paid[slot])
            if case.produced is None:
                continue
            # Behind the others: when it is back, the engine is done with them.
            await draw(case, generator, 0, max_tokens=1, paid=paid[-1])
            late = case.produced() - before - sum(map(sum, paid))
            assert 0 <= late <= case.late * len(gone), (
                f"{sum(map(sum, paid))} tokens were metered and the engine made {late} more, with "
                f"{len(gone)} calls cancelled"
            )
        assert caught, (
            "no call that was cancelled in the middle metered any tokens; set streams=False for a "
            "generator whose samples come in one piece"
        )

    asyncio.run(no_task_left(work))


async def left(calls: Sequence[asyncio.Future[Sample]]) -> list[int]:
    """Cancel the calls; the places of those that were not over yet."""
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    for call in calls:
        assert call.cancelled() or call.exception() is None, (
            f"a cancelled call raised {call.exception()!r}"
        )
    return [i for i, call in enumerate(calls) if call.cancelled()]


def check_two_loops(case: GeneratorCase) -> None:
    """One generator serves two event loops in turn."""
    generator = case.make()
    for _ in range(2):
        asyncio.run(draw(case, generator, 0))


GENERATOR_CHECKS: tuple[Callable[[GeneratorCase], None], ...] = (
    check_samples,
    check_stops,
    check_continues,
    check_greedy_paths,
    check_text_of_tokens,
    check_seeds,
    check_concurrency,
    check_call_cancellation,
    check_cancelled_calls_are_paid_for,
    check_two_loops,
)


def check_generator(make: Callable[[], Generator], **setting: Any) -> None:
    """All of `GENERATOR_CHECKS`; `setting` goes to `GeneratorCase`."""
    case = GeneratorCase(make=make, **setting)
    for check in GENERATOR_CHECKS:
        check(case)
