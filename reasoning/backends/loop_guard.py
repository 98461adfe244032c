"""A guard against loops around any generator: text that repeats itself is cut off, and dropped.

Repetition is where models end up that have lost the thread (Ivgi et al., 2024, From loops to oops,
arXiv:2407.06071); it befalls some samples of a prompt and not the others, so that dropping is safe.
"""

from __future__ import annotations

from asyncio import TaskGroup
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from reasoning.errors import cause
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.runs import names
from reasoning.tree import Sample
from reasoning.wrapping import Wrapping

_SUFFIX = 16
"""Characters by whose return a loop is looked for."""


def loop_guard(
    *,
    generator: str | dict[str, Any],
    least: Annotated[int, Field(ge=32)] = 400,
    repeats: Annotated[int, Field(ge=2)] = 3,
    window: Annotated[int, Field(ge=64)] = 8192,
) -> LoopGuard:
    """Wraps any generator: a call whose text goes round in a loop is ended, and what it said lost.

    A loop is an end of the answer so far, steps before this one included, that says the same piece
    `repeats` times or more, on `least` characters or more, within the last `window`. Its sample has
    finish "loop": it is paid for, is no candidate, has no vote, and nothing goes on from it.

    Where answers come in pieces (openai, nano) the call is ended in flight; elsewhere it is looked
    at once it is over, which saves no tokens. The text kept is the same. What such a call's prompt
    held is not known where it was ended in flight.
    """
    return LoopGuard(names.build("generator", generator), least, repeats, window)


class LoopGuard(Wrapping):
    """`generator` behind a guard; see `loop_guard`."""

    def __init__(self, generator: Generator, least: int, repeats: int, window: int) -> None:
        super().__init__(generator)
        self._least, self._repeats, self._window = least, repeats, window

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        ear = Ear(prompt.text, self._least, self._repeats, self._window)
        used = 0

        def count(tokens: int) -> None:
            nonlocal used
            used += tokens
            meter(tokens)

        def hear(text: str) -> None:
            if prompt.hear is not None:
                prompt.hear(text)
            if ear.found is None and ear.hears(text):
                task.cancel()

        call = self.generator.generate(replace(prompt, hear=hear), params, seed=seed, meter=count)
        try:
            async with TaskGroup() as group:
                task = group.create_task(call)
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        if task.cancelled():
            return Sample(ear.said, finish="loop", generated_tokens=used, info=ear.found)
        sample = task.result()
        if not ear.hears(sample.text[len(ear.said) :]):
            return sample
        info: Mapping[str, Any] = {**(sample.info or {}), **(ear.found or {})}
        return Sample(
            ear.said,
            finish="loop",
            prompt_tokens=sample.prompt_tokens,
            cached_tokens=sample.cached_tokens,
            generated_tokens=sample.generated_tokens,
            info=info,
        )


class Ear:
    """Listens to an answer that begins with `before`, and notices when it goes round.

    It is looked at wherever its length is a multiple of an eighth of `least`, so that where it is
    cut does not depend on the pieces it comes in. `said` is what was heard, up to there; `found`
    holds the length of the repeated piece, `period`, in characters.
    """

    def __init__(self, before: str, least: int, repeats: int, window: int) -> None:
        self.said = ""
        self.found: dict[str, int] | None = None
        self._least, self._repeats, self._window = least, repeats, window
        self._stride = max(1, least // 8)
        self._tail = before[-window:]
        self._length = len(before)

    def hears(self, text: str) -> bool:
        """Take in what is said next; whether it goes round, by now or since before."""
        while text and self.found is None:
            piece = text[: self._stride - self._length % self._stride]
            text = text[len(piece) :]
            self.said += piece
            self._length += len(piece)
            self._tail = (self._tail + piece)[-self._window :]
            if self._length % self._stride == 0:
                period = loop_at_end(self._tail, self._least, self._repeats)
                self.found = {"period": period} if period else None
        return self.found is not None


def loop_at_end(text: str, least: int, repeats: int) -> int | None:
    """The length of the shortest piece whose repetition ends `text`, None if it ends otherwise.

    It stands there `repeats` times or more, and the repetition is `least` characters or longer.
    """
    suffix = text[-_SUFFIX:]
    at = len(text) - len(suffix)
    while (at := text.rfind(suffix, 0, at + len(suffix) - 1)) >= 0:
        period = len(text) - len(suffix) - at
        span = max(least, repeats * period)
        if span > len(text):
            break
        if text[-span:-period] == text[period - span :]:
            return period
    return None
