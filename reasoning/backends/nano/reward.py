"""The process reward model `nano`: how likely it is that each step of a solution is right."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from reasoning.backends.nano.engine import Engine, Job
from reasoning.backends.nano.model import (
    Config,
    FloatArray,
    StepHead,
    Transformer,
    load_weights,
)
from reasoning.backends.nano.text import Vocabulary
from reasoning.errors import VerificationError
from reasoning.problem import Message

MARK = "<extra_0>"
WEIGHTS = Path(__file__).parent / "weights" / "prm"
_REMEMBERED = 1 << 16
"""Scores kept for paths that come back."""


def marked(text: Vocabulary, prompt: str, steps: Sequence[str]) -> tuple[list[int], list[int]]:
    """The model's input: the chat prompt, then each step, stripped, and a mark after it.

    Returns token ids and the positions of the marks. The blank lines between steps are left out.
    """
    tokens, marks = list(text.encode_chat((Message("user", prompt),))), []
    mark = text.token(MARK)
    for step in steps:
        tokens.extend(text.encode(step.strip()))
        marks.append(len(tokens))
        tokens.append(mark)
    return tokens, marks


class _ScoreJob(Job):
    """Scores `marks`: ascending positions, the last of which is that of the last token."""

    def __init__(
        self, tokens: Sequence[int], marks: Sequence[int], loop: asyncio.AbstractEventLoop | None
    ) -> None:
        super().__init__(tokens, loop=loop, reuse=marks[0])
        self._marks = marks
        self._scores: list[float] = []

    def wanted(self, start: int, stop: int) -> Sequence[int]:
        return [mark for mark in self._marks if start <= mark < stop]

    def accept(self, outcome: float) -> bool:
        self._scores.append(outcome)
        return len(self._scores) == len(self._marks)

    def result(self) -> list[float]:
        return self._scores


class StepModel:
    """Scores steps in (0, 1); a step's score depends on the prompt and the steps up to it alone.

    Calls in flight together are computed together, and what a path shares with one seen before
    is not computed again. The same path gets the same scores, bit for bit, however it is asked
    for. May be used from several event loops and threads.
    """

    def __init__(
        self, path: Path = WEIGHTS, *, max_batch: int = 64, cache_tokens: int = 32768
    ) -> None:
        config, weights = Config.load(path), load_weights(path)
        model = Transformer(config, weights)
        self.text = Vocabulary(path)
        self.context = config.context
        self.parameters = sum(tensor.size for tensor in weights.values())
        self._head = StepHead(model, weights)
        self._engine: Engine[_ScoreJob] = Engine(
            model,
            lambda _, hidden: self._head(hidden).tolist(),
            max_batch=max_batch,
            cache_tokens=cache_tokens,
        )
        self._scores: OrderedDict[tuple[int, ...], float] = OrderedDict()
        self._lock = threading.Lock()

    async def score(self, prompt: str, steps: Sequence[str]) -> FloatArray:
        """Scores [steps]. Raises VerificationError if the input exceeds the context."""
        call = _Call(self, prompt, steps, asyncio.get_running_loop())
        if call.job is None:
            return call.scores([])
        self._engine.submit(call.job)
        try:
            return call.scores(await call.job.future)
        finally:
            self._engine.cancel(call.job)

    def score_steps(self, prompt: str, steps: Sequence[str]) -> FloatArray:
        """The same, blocking."""
        return self.score_batch([(prompt, steps)])[0]

    def score_batch(self, items: Iterable[tuple[str, Sequence[str]]]) -> list[FloatArray]:
        """Scores of many (prompt, steps) at once, blocking."""
        calls = [_Call(self, prompt, steps, None) for prompt, steps in items]
        self._engine.submit(*(call.job for call in calls if call.job))
        return [call.scores(call.job.future.result() if call.job else []) for call in calls]

    def close(self) -> None:
        """Stop; calls in flight and later ones raise EngineError."""
        self._engine.close()

    def recall(self, keys: Sequence[tuple[int, ...]]) -> list[float]:
        """The remembered scores of the leading `keys`."""
        found = []
        with self._lock:
            for key in keys:
                if (score := self._scores.get(key)) is None:
                    break
                self._scores.move_to_end(key)
                found.append(score)
        return found

    def remember(self, keys: Sequence[tuple[int, ...]], scores: Sequence[float]) -> None:
        """Keep the scores of `keys`, which are tokens up to and including a mark."""
        with self._lock:
            self._scores.update(zip(keys, scores, strict=True))
            while len(self._scores) > _REMEMBERED:
                self._scores.popitem(last=False)


class _Call:
    """One request: what is known of its scores, and the job (or None) for what is not."""

    def __init__(
        self,
        model: StepModel,
        prompt: str,
        steps: Sequence[str],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        tokens, marks = marked(model.text, prompt, steps)
        if len(tokens) > model.context:
            raise VerificationError(
                f"prompt and steps have {len(tokens)} tokens; the model's context is "
                f"{model.context}"
            )
        self._model = model
        self._keys = [tuple(tokens[: mark + 1]) for mark in marks]
        self._known = model.recall(self._keys)
        unknown = marks[len(self._known) :]
        self.job = _ScoreJob(tokens, unknown, loop) if unknown else None

    def scores(self, rest: Sequence[float]) -> FloatArray:
        """All scores [steps], given those of the job."""
        self._model.remember(self._keys[len(self._known) :], rest)
        return np.array([*self._known, *rest], np.float32)
