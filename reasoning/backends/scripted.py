"""The programmable fake: says what it is told, when it is told, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import Field

from reasoning.backends.parts import part
from reasoning.clock import Clock, ClockPerProblem, Seconds, stream
from reasoning.errors import GenerationError
from reasoning.generate import EVERYONES, Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.seeds import fold
from reasoning.seeds import generator as numpy_generator
from reasoning.tree import Finish, FloatArray, Sample, TopLogprobs

Reply: TypeAlias = str | Sample | Exception
Script: TypeAlias = Sequence[Reply] | Callable[[Prompt, int], Reply]
"""A list (slot i below any node says entry i modulo its length), or a function of prompt and
seed."""


def scripted(
    *,
    replies: list[str] | None = None,
    delay: Seconds = 0.0,
    token_seconds: Seconds = 0.0,
    fail_every: Annotated[int, Field(ge=0)] = 0,
) -> Scripted:
    """The programmable fake: replies from a list, else small sums with honest mistakes.

    A token is a word with the blanks before it. A call takes `delay` seconds and `token_seconds`
    more for each token, on a virtual clock. Every `fail_every`-th seed fails (0: none).
    """

    def failure(prompt: Prompt, seed: int) -> Exception | None:
        del prompt
        return GenerationError("told to fail") if fail_every and seed % fail_every == 0 else None

    return Scripted(
        replies or _sums, delay=lambda _: delay, token_seconds=token_seconds, failure=failure
    )


class Scripted(Generator):
    """The fake behind `scripted`, with functions where a recipe has numbers.

    Of the fields of sampling it does what has a meaning without a distribution: `choice` (what it
    is told to say if that is one of them, else one by seed), `min_tokens` (it says "more" until
    then), and `top_logprobs`, made up, in which the token said is the likeliest. The rest is
    refused; temperature, top_p and top_k change nothing. A `Sample` is given as it is, up to
    max_tokens.

    `delay(seed)` is the time to the first token in virtual seconds, `failure(prompt, seed)` an
    exception to raise after it, or None. `live` counts the calls in flight.
    """

    def __init__(
        self,
        script: Script,
        *,
        delay: Callable[[int], float] | None = None,
        token_seconds: float = 0.0,
        failure: Callable[[Prompt, int], Exception | None] | None = None,
    ) -> None:
        self.script = script
        self.delay = delay
        self.token_seconds = token_seconds
        self.failure = failure
        self.calls = 0
        self.live = 0
        self.metered = 0
        self._clocks = ClockPerProblem()

    @property
    def reads(self) -> bool:
        return True

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"choice", "min_tokens", "top_logprobs"}

    def clock(self, problem: Problem) -> Clock:
        return self._clocks(problem.id)

    def join(self, problem: Problem, clock: Clock) -> None:
        self._clocks.adopt(problem.id, clock)

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        self.calls += 1
        self.live += 1

        def count(tokens: int) -> None:
            self.metered += tokens
            meter(tokens)

        try:
            if self.delay and (pause := self.delay(seed)):
                await self.clock(prompt.problem).sleep(pause)
            if self.failure and (error := self.failure(prompt, seed)):
                raise error
            sample = self.reply(prompt, params, seed)
            if self.token_seconds:
                clock = self.clock(prompt.problem)
                await stream(sample.generated_tokens, self.token_seconds, clock, count)
            else:
                count(sample.generated_tokens)
            return sample
        finally:
            self.live -= 1

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        """What to give, or raise, as the script has it; of one that was begun, the rest."""
        script, begun = self.script, prompt.begun
        if begun is not None:
            prompt, seed = replace(prompt, begun=None), fold(prompt.parent.key, prompt.slot)
        reply = script(prompt, seed) if callable(script) else script[prompt.slot % len(script)]
        if isinstance(reply, Exception):
            raise reply
        if params.choice:
            reply = _chosen(reply, params.choice, seed)
        if isinstance(reply, str):
            before = begun.generated_tokens if begun else 0
            longer = replace(params, max_tokens=before + params.max_tokens)
            reply = cut(reply, longer)
        return part(reply, params.max_tokens, begun=begun, words=words)

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """With the question what the sample was drawn with; without it, made up word by word."""
        self.calls += 1
        self.live += 1
        try:
            seed = fold(prompt.parent.key, prompt.slot, "read")
            if self.delay and (pause := self.delay(seed)):
                await self.clock(prompt.problem).sleep(pause)
            if self.failure and (error := self.failure(prompt, seed)):
                raise error
            asked = [message.content for message in prompt.messages] if question else []
            meter(sum(len(words(text)) for text in [*asked, prompt.text, sample.text]))
            if question and sample.logprobs is not None:
                return sample.logprobs
            marks = (fold(0, "unasked", word) % 997 for word in words(sample.text))
            return np.asarray([-mark / 997 for mark in marks], dtype=np.float32)
        finally:
            self.live -= 1


def words(text: str) -> list[str]:
    """Split into words with the blanks before them; their concatenation is the text."""
    parts: list[str] = []
    start = 0
    for i in range(1, len(text)):
        if text[i].isspace() and not text[i - 1].isspace():
            parts.append(text[start:i])
            start = i
    return [*parts, text[start:]] if text else []


def cut(text: str, params: Sampling) -> Sample:
    """The sample a model would give that wants to say `text`, under `params`; words are tokens."""
    while len(words(text)) < params.min_tokens:
        text += " more"
    first = len("".join(words(text)[: params.min_tokens]))
    ends = [at + len(s) for s in params.stop if (at := _found(text, s, first)) >= 0]
    said = text[: min(ends)] if ends else text
    tokens = words(said)[: params.max_tokens]
    kept = "".join(tokens)
    finish: Finish = "length" if kept != said else "stop" if ends else "end"
    ids = tuple(fold(0, token) % 50_000 for token in tokens)
    logprobs = np.asarray([-(i % 997) / 997 for i in ids], dtype=np.float32)
    tops = alternatives(tokens, logprobs, params.top_logprobs) if params.top_logprobs else None
    return Sample(
        kept,
        token_ids=ids,
        logprobs=logprobs,
        confidence=-logprobs if params.confidence_k else None,
        finish=finish,
        generated_tokens=len(tokens),
        top_logprobs=tops,
    )


def _found(text: str, stop: str, first: int) -> int:
    """Where `stop` stands so that it ends behind the first characters; -1 if nowhere."""
    return text.find(stop, max(0, first - len(stop) + 1)) if first else text.find(stop)


def alternatives(tokens: Sequence[str], logprobs: FloatArray, k: int) -> TopLogprobs:
    """Made up: each token with its log-probability, then k - 1 others that halve what is left."""
    left = np.maximum(1 - np.exp(logprobs.astype(float)), 1e-6)
    halves = np.log(left)[:, None] - np.log(2) * np.arange(1, k)
    table = np.concatenate([logprobs[:, None], halves], axis=1).astype(np.float32)
    texts = tuple((token, *(f"{token}~{i}" for i in range(1, k))) for token in tokens)
    return TopLogprobs(texts, table, tuple(tokens))


def _chosen(reply: str | Sample, choice: Sequence[str], seed: int) -> str | Sample:
    """The reply if it is one of `choice`, else one of them by seed."""
    text = reply.text if isinstance(reply, Sample) else reply
    return reply if text in choice else choice[fold(seed, "choice") % len(choice)]


def _sums(prompt: Prompt, seed: int) -> str:
    """A few steps of addition; wrong now and then, and never the same for two seeds."""
    rng = numpy_generator(seed)
    total, depth = len(prompt.problem.question), prompt.parent.depth
    if depth or rng.random() < 0.1:
        total += int(rng.integers(0, 3))
    steps = [f"Add {i} to get {total + i}." for i in range(depth, 1 + int(rng.integers(1, 5)))]
    return "\n\n".join([*steps, f"The answer is \\boxed{{{total}}}"])
