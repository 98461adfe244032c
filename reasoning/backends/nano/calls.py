"""What the generator asks of its engine: to go on with a text, or to read one."""

from __future__ import annotations

import asyncio
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence

import numpy as np

from reasoning.backends.healing import Look
from reasoning.backends.nano.engine import Job
from reasoning.backends.nano.model import FloatArray, LanguageHead
from reasoning.backends.nano.sampling import draw, knobs, log_softmax, stream
from reasoning.backends.nano.shaping import Shaping
from reasoning.backends.nano.text import Vocabulary
from reasoning.generate import Meter, Sampling
from reasoning.tree import Finish, Sample, TopLogprobs

Drawn = tuple[int, float, float, tuple[list[int], list[float]] | None]
"""A token, its logprob, its confidence, the likeliest tokens and their logprobs."""


class Writing(Job):
    """A call that generates at most `limit` tokens after `tokens`; one of `ends` ends it.

    The last of `tokens` are `begun`, if the call is taken up again: they count as said by it.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        params: Sampling,
        *,
        seed: int,
        limit: int,
        text: Vocabulary,
        ends: frozenset[int],
        meter: Meter,
        begun: Sequence[int] = (),
        shaping: Shaping | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(tokens, loop=asyncio.get_running_loop(), meter=meter)
        self.params = params
        self.stream = stream(seed)
        self._limit = limit
        self._text = text
        self._ends = ends
        self._stops = [stop.encode() for stop in params.stop]
        self._bytes = bytearray(b"".join(map(text.piece, begun)))
        self._begun = (len(begun), len(self._bytes))
        self._hear = hear
        self._heard = len(self._bytes)
        self._decoder = getincrementaldecoder("utf-8")(errors="replace")
        self._early = 0  # bytes of the tokens that must come first
        self._tops: list[tuple[list[int], list[float]]] = []
        self.shaping = shaping
        self._logprobs: list[float] = []
        self._confidence: list[float] = []
        self._finish: Finish | None = None

    def wanted(self, start: int, stop: int) -> Sequence[int]:
        """The state of the last token, from which the next is drawn."""
        return range(max(start, len(self.tokens) - 1), stop)

    def accept(self, outcome: Drawn) -> bool:
        token, logprob, confidence, tops = outcome
        self.tokens.append(token)
        self.produced += 1
        self._logprobs.append(logprob)
        self._confidence.append(confidence)
        if tops is not None:
            self._tops.append(tops)
        piece = self._text.piece(token)
        self._bytes += piece
        if self.shaping is not None:
            self.shaping.told(token)
            if self._begun[0] + self.produced <= self.params.min_tokens:
                self._early = len(self._bytes)
        if token in self._ends:
            self._finish = "end"
        elif self._stops and self._stopped(len(piece)):
            self._finish = "stop"
        elif self.produced == self._limit:
            self._finish = "length"
        return self._finish is not None

    def flush(self) -> None:
        """Meter, and tell whoever listens, what was produced since the last time."""
        super().flush()
        if self._hear is not None:
            new = bytes(self._bytes[self._heard :])
            self._heard += len(new)
            if text := self._decoder.decode(new):
                self._hear(text)

    def _stopped(self, fresh: int) -> bool:
        """Whether one of the last `fresh` bytes, of a token that may end it, ends a stop string."""
        first = max(len(self._bytes) - fresh, self._early)
        return any(self._bytes.find(s, max(0, first - len(s) + 1)) >= 0 for s in self._stops)

    def result(self) -> Sample:
        assert self._finish is not None
        asked = self.params.confidence_k > 0
        return Sample(
            text=self._bytes[self._begun[1] :].decode("utf-8", errors="replace"),
            token_ids=tuple(self.tokens[self.prompt_tokens :]),
            logprobs=np.array(self._logprobs, np.float32),
            confidence=np.array(self._confidence, np.float32) if asked else None,
            finish=self._finish,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            generated_tokens=self.produced,
            top_logprobs=self._top_logprobs() if self.params.top_logprobs else None,
        )

    def _top_logprobs(self) -> TopLogprobs:
        texts = tuple(tuple(map(self._text.name, ids)) for ids, _ in self._tops)
        said = tuple(map(self._text.name, self.tokens[self.prompt_tokens :]))
        return TopLogprobs(texts, np.array([values for _, values in self._tops], np.float32), said)


class Reading(Job):
    """A call that asks how likely `target` (not empty) is after `before` (not empty)."""

    def __init__(self, before: Sequence[int], target: Sequence[int]) -> None:
        first = len(before) - 1  # the state here predicts the first of the target
        super().__init__([*before, *target[:-1]], loop=asyncio.get_running_loop(), reuse=first)
        self._first = first
        self._target = target
        self._logprobs: list[float] = []

    def wanted(self, start: int, stop: int) -> Sequence[int]:
        return range(max(start, self._first), stop)

    def next_token(self, position: int) -> int:
        """The token that follows `position`."""
        return self._target[position - self._first]

    def accept(self, outcome: float) -> bool:
        self._logprobs.append(outcome)
        return len(self._logprobs) == len(self._target)

    def result(self) -> FloatArray:
        return np.array(self._logprobs, np.float32)


class Looking(Job):
    """A call that asks what may come behind `tokens`: their log-probabilities [V], nats."""

    def __init__(self, tokens: Sequence[int]) -> None:
        super().__init__(tokens, loop=asyncio.get_running_loop())
        self._row: FloatArray | None = None

    def wanted(self, start: int, stop: int) -> Sequence[int]:
        return range(max(start, len(self.tokens) - 1), stop)

    def accept(self, outcome: FloatArray) -> bool:
        self._row = outcome
        return True

    def result(self) -> Look:
        assert self._row is not None
        return Look(self._row, self.prompt_tokens, self.cached_tokens)


Call = Writing | Reading | Looking


def compute(
    head: LanguageHead, wants: Sequence[tuple[Call, int]], hidden: FloatArray
) -> list[Drawn | float | FloatArray]:
    """What each position's state gives: the next token drawn, the logprob of the known one, or
    those of all."""
    logits = head(hidden)
    outcomes: list[Drawn | float | FloatArray] = [0.0] * len(wants)
    write = [i for i, (call, _) in enumerate(wants) if isinstance(call, Writing)]
    read = [i for i, (call, _) in enumerate(wants) if isinstance(call, Reading)]
    if write:
        calls = [call for call, _ in wants if isinstance(call, Writing)]
        for i, drawn in zip(write, _next_tokens(calls, logits[write]), strict=True):
            outcomes[i] = drawn
    if read:
        known = [call.next_token(at) for call, at in wants if isinstance(call, Reading)]
        logprobs = log_softmax(logits[read])[np.arange(len(read)), known]
        for i, logprob in zip(read, logprobs.tolist(), strict=True):
            outcomes[i] = logprob
    for i, (call, _) in enumerate(wants):
        if isinstance(call, Looking):
            outcomes[i] = log_softmax(logits[[i]])[0]
    return outcomes


def _next_tokens(calls: Sequence[Writing], logits: FloatArray) -> list[Drawn]:
    params = [call.params for call in calls]
    drawn = draw(
        logits,
        knobs(
            streams=[call.stream for call in calls],
            positions=[call.produced for call in calls],
            temperature=[p.temperature for p in params],
            top_p=[p.top_p for p in params],
            top_k=[p.top_k for p in params],
            confidence_k=[p.confidence_k for p in params],
            min_p=[p.min_p for p in params],
            top_logprobs=[p.top_logprobs for p in params],
        ),
        {i: call.shaping(logits[i]) for i, call in enumerate(calls) if call.shaping is not None},
    )
    arrays = (drawn.token, drawn.logprob, drawn.confidence)
    tops = map(drawn.tops.get, range(len(calls)))
    return list(zip(*(array.tolist() for array in arrays), tops, strict=True))
