"""What every generator promises, checked in whatever time the generator lives in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from reasoning.generate import Generator
from reasoning.testing.generator_case import GeneratorCase, check_sample, draw, no_task_left
from reasoning.testing.sampling_contract import SAMPLING_CHECKS
from reasoning.tree import Node, RolloutTree, Sample

__all__ = ["GENERATOR_CHECKS", "GeneratorCase", "check_generator", "check_sample", "draw"]


_BROKEN = "\ufffd"  # what decoders make of a character that is not whole


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
            async with case.still():
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
    *SAMPLING_CHECKS,
)


def check_generator(make: Callable[[], Generator], **setting: Any) -> None:
    """All of `GENERATOR_CHECKS`; `setting` goes to `GeneratorCase`."""
    case = GeneratorCase(make=make, **setting)
    for check in GENERATOR_CHECKS:
        check(case)
