"""Records what a generator gave, and gives it again for free."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from reasoning.clock import Clock, ClockPerProblem, Speed, VirtualClock, stream
from reasoning.errors import StoreError
from reasoning.generate import Generator, Meter, Prompt, Sampling, Wrapping
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.tree import FloatArray, Sample

log = logging.getLogger(__name__)


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
        shared: bool = False,
        token_seconds: float = 1 / 50,
    ) -> None:
        super().__init__(generator)
        self.shared = shared
        self.token_seconds = token_seconds
        self.paid_tokens = 0
        self.paid_calls = 0
        self._clocks = ClockPerProblem()
        self._known: dict[str, dict[str, Sample]] = {}
        self._path = path
        self._file: IO[str] | None = None
        if path is not None and path.exists():
            self._load(path)

    def clock(self, problem: Problem) -> Clock:
        if self.shared:
            return self._clocks(problem.id)
        return self.generator.clock(problem)

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        clock = self._clocks(prompt.problem.id) if self.shared else None
        sample = self._recall(prompt, params, seed)
        if sample is None:
            sample = await self._pay(prompt, params, seed, meter, clock)
            if clock is None:
                return sample
        if clock is None:
            meter(sample.generated_tokens)
        else:
            await stream(sample.generated_tokens, self.token_seconds, clock, meter)
        return sample

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """Recorded as a sample of the logprobs and the tokens read."""
        problem = prompt.problem
        text = sample.text if sample.token_ids is None else sample.token_ids
        key = _digest(*_place(prompt), text, question)
        read = self._known.get(problem.id, {}).get(key)
        if read is None:
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
            read = Sample("", logprobs=logprobs, prompt_tokens=sum(used))
            self._record(problem, key, read)
        meter(read.prompt_tokens)
        assert read.logprobs is not None
        return read.logprobs

    def pause(self, problem: Problem) -> AbstractContextManager[None]:
        """Stop the virtual time of a problem while work goes on that takes none of it."""
        return self._clocks(problem.id).hold()

    def forget(self, problem: Problem) -> None:
        """Drop from memory what is known of a problem that is done."""
        self._known.pop(problem.id, None)

    def close(self) -> None:
        """Close the file; what was recorded is on disk already."""
        if self._file is not None:
            self._file.close()

    async def aclose(self) -> None:
        self.close()
        await self.generator.aclose()

    async def _pay(
        self,
        prompt: Prompt,
        params: Sampling,
        seed: int,
        meter: Meter,
        clock: VirtualClock | None,
    ) -> Sample:
        """Ask the generator. A paced call is metered when it is replayed, or now if it fails."""
        used = 0

        def count(tokens: int) -> None:
            nonlocal used
            used += tokens
            self.paid_tokens += tokens
            if clock is None:
                meter(tokens)

        self.paid_calls += 1
        try:
            with clock.hold() if clock else nullcontext():
                sample = await self.generator.generate(prompt, params, seed=seed, meter=count)
        except BaseException:
            if clock is not None:
                meter(used)
            raise
        self._record(prompt.problem, _key(prompt, params, seed, sample.finish == "length"), sample)
        return sample

    def _recall(self, prompt: Prompt, params: Sampling, seed: int) -> Sample | None:
        known = self._known.get(prompt.problem.id)
        if not known:
            return None
        sample = known.get(_key(prompt, params, seed, False))
        if sample is not None and sample.generated_tokens <= params.max_tokens:
            return sample
        return known.get(_key(prompt, params, seed, True))

    def _record(self, problem: Problem, key: str, sample: Sample) -> None:
        self._known.setdefault(problem.id, {})[key] = sample
        if self._path is None:
            return
        line = {"problem": problem.id, "key": key, "sample": sample.to_json(digits=None)}
        try:
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise StoreError(f"the journal {self._path} cannot be written: {error}") from error

    def _load(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                entry = json.loads(line)
                sample = Sample.from_json(entry["sample"])
                self._known.setdefault(entry["problem"], {})[entry["key"]] = sample
            except (ValueError, KeyError, TypeError):
                log.warning("%s, line %d is damaged and will be drawn again", path, number)
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")


def _key(prompt: Prompt, params: Sampling, seed: int, cut: bool) -> str:
    """What identifies a call. A sample that ended by itself serves every larger token limit."""
    drawn: Mapping[str, Any] = {k: v for k, v in asdict(params).items() if cut or k != "max_tokens"}
    return _digest(*_place(prompt), prompt.slot, drawn, seed)


def _place(prompt: Prompt) -> tuple[object, ...]:
    """Who is asked, the messages and what stands behind them."""
    messages = [(message.role, message.content) for message in prompt.messages]
    return (prompt.model, messages, prompt.pieces)


def _digest(*parts: object) -> str:
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
