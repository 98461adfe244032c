"""Records what a generator gave, and gives it again for free."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any

from reasoning.backends.ledger import Entry, Held, Ledger, Lines
from reasoning.clock import Clock, ClockPerProblem, Speed, VirtualClock, stream
from reasoning.errors import RecipeError
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.places import Places, by_tokens
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.sample import rounded
from reasoning.tree import FloatArray, RolloutTree, Sample
from reasoning.wrapping import Wrapping

_LARGE = 4096
"""Tokens of a sample that is made ready and written beside the event loop, which goes on."""


def journal(
    *,
    generator: str | dict[str, Any],
    path: str | None = None,
    shared: bool = False,
    tokens_per_second: Speed = 50.0,
) -> Journal:
    """Wraps any generator: records by (prefix, params, seed) and replays; a rerun pays nothing.

    `path` is the JSONL file to keep, memory alone without one. With `shared`, strategies that draw
    the same samples pay for what they would have used alone: samples arrive in virtual time, token
    by token, so that races come out as they would live.
    """
    return Journal(
        names.build("generator", generator),
        path=Path(path) if path else None,
        shared=shared,
        token_seconds=1 / tokens_per_second,
    )


class Journal(Wrapping):
    """`paid_tokens` and `paid_calls` count what the wrapped generator really was asked for."""

    def __init__(
        self,
        generator: Generator,
        *,
        path: Path | None = None,
        kept: Ledger | None = None,
        shared: bool = False,
        token_seconds: float = 1 / 50,
    ) -> None:
        super().__init__(generator)
        self.shared = shared
        self.token_seconds = token_seconds
        self.paid_tokens = 0
        self.paid_calls = 0
        self._clocks = ClockPerProblem()
        self._places = Places(by_tokens)
        self._ledger = kept or (Ledger() if path is None else Lines(path))
        self._writer: ThreadPoolExecutor | None = None

    def of(self, strategy: str, *, live: bool = False) -> Generator:
        """What one strategy draws from: without `shared`, from samples of its own alone.

        With `live` what is replayed takes the seconds that it took when it was drawn, in real time,
        so that a run under a limit in seconds that is resumed is not favoured. (In virtual time
        everything that is replayed does.)
        """
        return self if self.shared else _Own(self, strategy, live)

    def clock(self, problem: Problem) -> Clock:
        if self.shared:
            return self._clocks(problem.id)
        return self.generator.clock(problem)

    def join(self, problem: Problem, clock: Clock) -> None:
        if self.shared:
            self._clocks.adopt(problem.id, clock)
        else:
            self.generator.join(problem, clock)

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        return await self.draw(prompt, params, seed=seed, meter=meter)

    async def draw(
        self,
        prompt: Prompt,
        params: Sampling,
        *,
        seed: int,
        meter: Meter,
        who: str = "",
        live: bool = False,
    ) -> Sample:
        """A sample for `who`: recorded, or drawn now."""
        key = self._key(prompt, params, seed, who)
        known = self._recall(prompt.problem, key, params.max_tokens)
        shared = self._clocks(prompt.problem.id) if self.shared else None
        if shared is not None:
            if known is None:
                known = await self._pay(prompt, params, seed, meter, key, shared)
            tokens = known.sample.generated_tokens
            await stream(tokens, self.token_seconds, shared, meter)
        elif known is None:
            known = await self._pay(prompt, params, seed, meter, key, None)
        else:
            await self._replay(known, prompt.problem, meter, live)
        return known.sample

    async def _replay(self, known: Entry, problem: Problem, meter: Meter, live: bool) -> None:
        tokens, clock = known.sample.generated_tokens, self.generator.clock(problem)
        if not known.seconds or not (live or isinstance(clock, VirtualClock)):
            meter(tokens)
        elif tokens:
            await stream(tokens, known.seconds / tokens, clock, meter)
        else:
            await clock.sleep(known.seconds)

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        return await self.read(prompt, sample, question=question, meter=meter)

    async def read(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter, who: str = ""
    ) -> FloatArray:
        """How likely a text is; recorded as a sample of the logprobs and the tokens read."""
        problem = prompt.problem
        key = owned(_digest("read", "", *self._place(prompt), by_tokens(sample), question), who)
        known = self._ledger.of(problem.id).get(key)
        if known is None:
            used: list[int] = []
            self.paid_calls += 1
            with self.pause(problem) if self.shared else nullcontext():
                try:
                    logprobs = await self.generator.score_text(
                        prompt, sample, question=question, meter=used.append
                    )
                except BaseException:
                    meter(sum(used))
                    raise
            known = Entry(Sample("", logprobs=logprobs, prompt_tokens=sum(used)))
            self._ledger.add(problem.id, key, known)
        meter(known.sample.prompt_tokens)
        assert known.sample.logprobs is not None
        return known.sample.logprobs

    async def remembered(
        self, problem: Problem, key: object, make: Callable[[], Awaitable[Any]]
    ) -> Any:
        return await self.recollect(problem, key, make)

    async def recollect(
        self, problem: Problem, key: object, make: Callable[[], Awaitable[Any]], who: str = ""
    ) -> Any:
        """What a tool gave; `key` is its place, its name and its arguments, as JSON."""
        place = owned(_digest("tool", "", _json(key, key, "arguments")), who)
        known = self._ledger.of(problem.id).get(place)
        if known is None:
            value = json.loads(_json(await make(), key, "result"))
            known = Entry(Sample(""), value=value)
            self._ledger.add(problem.id, place, known)
        return known.value

    def pause(self, problem: Problem) -> AbstractContextManager[None]:
        """Stop the virtual time of a problem while work goes on that takes none of it."""
        return self._clocks(problem.id).hold()

    def forget(self, problem: Problem, held: Held | None = None) -> None:
        """Drop what is known of a problem that is done, but for what its ledger keeps; no samples
        that are `held` by trees."""
        self._ledger.settle(problem.id, held or Held())

    def close(self) -> None:
        """Close the file; what was recorded is on disk by then."""
        if self._writer is not None:
            self._writer.shutdown()
        self._ledger.close()

    async def aclose(self) -> None:
        self.close()
        await self.generator.aclose()

    async def _pay(
        self,
        prompt: Prompt,
        params: Sampling,
        seed: int,
        meter: Meter,
        key: str,
        shared: VirtualClock | None,
    ) -> Entry:
        """Ask the generator. A shared call is metered when it is replayed, or now if it fails."""
        used = 0

        def count(tokens: int) -> None:
            nonlocal used
            used += tokens
            self.paid_tokens += tokens
            if shared is None:
                meter(tokens)

        self.paid_calls += 1
        clock = self.generator.clock(prompt.problem)
        start = clock.now()
        try:
            with shared.hold() if shared else nullcontext():
                sample = await self.generator.generate(prompt, params, seed=seed, meter=count)
        except BaseException:
            if shared is not None:
                meter(used)
            raise
        sample = rounded(sample)
        entry = Entry(sample, clock.now() - start)
        cut = sample.finish == "length"
        key = _cut(key, params.max_tokens) if cut else key
        if sample.generated_tokens < _LARGE:
            self._ledger.add(prompt.problem.id, key, entry)
        else:
            with ExitStack() as held:
                for timer in {clock, shared or clock}:
                    if isinstance(timer, VirtualClock):
                        held.enter_context(timer.hold())
                await self._beside(self._ledger.add, prompt.problem.id, key, entry)
        return entry

    async def known(self, problem: Problem) -> None:
        """Read what is on disk of a problem, as a search would when it first asks."""
        await self._beside(self._ledger.of, problem.id)

    async def _beside(self, work: Callable[..., object], *args: object) -> None:
        """Do it in a thread, one thing after another."""
        self._writer = self._writer or ThreadPoolExecutor(1, "journal")
        await asyncio.get_running_loop().run_in_executor(self._writer, work, *args)

    def _recall(self, problem: Problem, key: str, max_tokens: int) -> Entry | None:
        """What is known of a call. A sample that ended by itself serves every larger limit."""
        known = self._ledger.of(problem.id)
        entry = known.get(key)
        if entry is not None and entry.sample.generated_tokens <= max_tokens:
            return entry
        return known.get(_cut(key, max_tokens))

    def _key(self, prompt: Prompt, params: Sampling, seed: int, who: str) -> str:
        """What identifies a call, however many tokens it may give."""
        drawn = [(name, _plain(getattr(params, name))) for name in params.changed()]
        begun = None if prompt.begun is None else prompt.begun.generated_tokens
        return owned(_digest("", *self._place(prompt), begun, prompt.slot, drawn, seed), who)

    def _place(self, prompt: Prompt) -> tuple[object, ...]:
        """Who is asked, the messages and what stands behind them."""
        messages = [(message.role, message.content) for message in prompt.messages]
        root = prompt.parent if prompt.turn is None else _ROOT
        return (prompt.model, messages, self._places(root, prompt.begun), prompt.suffix)


class _Own(Wrapping):
    """One strategy's view of a journal that strategies do not share."""

    def __init__(self, journal: Journal, strategy: str, live: bool) -> None:
        super().__init__(journal)
        self._journal = journal
        self._strategy = strategy
        self._live = live

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        return await self._journal.draw(
            prompt, params, seed=seed, meter=meter, who=self._strategy, live=self._live
        )

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        return await self._journal.read(
            prompt, sample, question=question, meter=meter, who=self._strategy
        )

    async def remembered(
        self, problem: Problem, key: object, make: Callable[[], Awaitable[Any]]
    ) -> Any:
        return await self._journal.recollect(problem, key, make, self._strategy)


_ROOT = RolloutTree().root
"""Where the text of a call that answers a turn begins: nowhere."""


def owned(key: str, who: str) -> str:
    """The key of a call that `who` alone may draw on; anybody if it is nobody."""
    return f"{key}@{named(who)}" if who else key


def named(who: str) -> str:
    """What stands for `who` in a key."""
    return _digest(who)[:8]


def renamed(steps: Sequence[Mapping[str, str]], key: str) -> str:
    """The key of a call that belongs to others by now: each step tells to whom, by `named`.

    A step's entry for "" is meant for everybody.
    """
    found = _OWNER.search(key)
    if not steps or found is None:
        return key
    who = found[1]
    for step in steps:
        who = step.get(who, step.get("", who))
    return key[: found.start()] + (f"@{who}" if who else "") + key[found.end() :]


_OWNER = re.compile("@([0-9a-f]{8})")


def _cut(key: str, max_tokens: int) -> str:
    """The key of a sample that a limit of `max_tokens` cut short."""
    return f"{key}:{max_tokens}"


def _plain(value: object) -> object:
    """The same for two mappings with the same entries, whatever their order."""
    if isinstance(value, Mapping):
        return sorted((repr(name), _plain(item)) for name, item in value.items())
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _json(value: object, key: object, what: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        name = key[1] if isinstance(key, tuple) and len(key) > 1 else key
        raise RecipeError(
            f"tool {name}: its {what} cannot be kept in the journal ({error}); a tool takes and "
            "returns text, numbers, lists and mappings of them"
        ) from None


def _digest(*parts: object) -> str:
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
