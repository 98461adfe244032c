"""`nano`, the embedded model: a small language model that runs in this process, on NumPy alone.

It exists so that searches, tests and examples meet real sampling without a GPU or a server.
`nano()` is the generator of recipes, `RewardModel` scores the steps of its solutions.

**Determinism.** A call's tokens and logprobs are a function of checkpoint, prompt, parameters and
seed alone, bit for bit on one machine: what else is in the batch, when the call joined it, whether
its prefix came from the cache and how its prompt was cut into chunks make no difference. See
`reasoning.backends.nano.model` for how. Only `Sample.cached_tokens` depends on what ran before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reasoning.backends.nano.engine import Engine, Job
from reasoning.backends.nano.model import (
    Config,
    FloatArray,
    LanguageHead,
    Transformer,
    load_weights,
)
from reasoning.backends.nano.reward import RewardModel
from reasoning.backends.nano.sampling import draw, knobs, stream
from reasoning.backends.nano.text import Text
from reasoning.errors import GenerationError
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.tree import Finish, Sample

__all__ = ["WEIGHTS", "Nano", "RewardModel", "nano"]

WEIGHTS = Path(__file__).parent / "weights" / "lm"
"""The checkpoint that comes with the package."""


def nano(
    *,
    path: str | Path = WEIGHTS,
    max_batch: int = 64,
    cache_tokens: int = 32768,
) -> Nano:
    """The embedded model as a generator.

    path: a checkpoint folder in Hugging Face layout (Qwen2, float32, byte-level BPE).
    max_batch: calls computed at once; more of them wait in line, first come first served.
    cache_tokens: prompt and generated tokens whose keys and values are kept for continuations.
    """
    return Nano(Path(path), max_batch=max_batch, cache_tokens=cache_tokens)


class Nano:
    """A generator (`reasoning.generate.Generator`) with continuous batching and prefix reuse.

    May be used from several event loops and threads. It holds no thread while idle.
    """

    def __init__(
        self, path: Path = WEIGHTS, *, max_batch: int = 64, cache_tokens: int = 32768
    ) -> None:
        config, weights = Config.load(path), load_weights(path)
        model = Transformer(config, weights)
        self.text = Text(path)
        self.context = config.context
        """Largest number of tokens of prompt and answer together."""
        self._ends = _end_tokens(path)
        self._head = LanguageHead(model, weights)
        self.engine: Engine[_Call] = Engine(
            model, self._sample, max_batch=max_batch, cache_tokens=cache_tokens
        )

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        """Continue `prompt`. Raises GenerationError if the prompt leaves no room in the context.

        Generation ends with "length" at `max_tokens` or when the context is full. A stop string
        is looked for in the text of this call; the token that completes it is kept whole. A
        token's bytes that are not UTF-8 by themselves show as U+FFFD only if no later token of
        the call completes them.
        """
        tokens = self._tokens(prompt)
        if len(tokens) >= self.context:
            raise GenerationError(
                f"the prompt has {len(tokens)} tokens; the model's context of {self.context} "
                "leaves no room for an answer"
            )
        limit = min(params.max_tokens, self.context - len(tokens))
        call = _Call(tokens, params, seed, meter, limit, self.text, self._ends)
        self.engine.submit(call)
        try:
            sample: Sample = await call.future
        finally:
            self.engine.cancel(call)
            call.flush()
        return sample

    def close(self) -> None:
        """Stop; calls in flight and later ones raise EngineError."""
        self.engine.close()

    def _tokens(self, prompt: Prompt) -> tuple[int, ...]:
        """The chat prompt, then the assistant's tokens so far."""
        begin = self.text.encode_chat(prompt.problem.prompt, prompt.problem.system)
        path = prompt.token_ids
        return begin + (self.text.encode(prompt.text) if path is None else tuple(path))

    def _sample(self, calls: Sequence[_Call], hidden: FloatArray) -> list[tuple[int, float, float]]:
        """The next token of each call, its logprob and confidence."""
        params = [call.params for call in calls]
        drawn = draw(
            self._head(hidden),
            knobs(
                streams=[call.stream for call in calls],
                positions=[call.produced for call in calls],
                temperature=[p.temperature for p in params],
                top_p=[p.top_p for p in params],
                top_k=[p.top_k for p in params],
                confidence_k=[p.confidence_k for p in params],
            ),
        )
        arrays = (drawn.token, drawn.logprob, drawn.confidence)
        return list(zip(*(array.tolist() for array in arrays), strict=True))


class _Call(Job):
    """One call to `generate` in the engine."""

    def __init__(
        self,
        tokens: Sequence[int],
        params: Sampling,
        seed: int,
        meter: Meter,
        limit: int,
        text: Text,
        ends: frozenset[int],
    ) -> None:
        super().__init__(tokens, loop=asyncio.get_running_loop(), meter=meter)
        self.params = params
        self.stream = stream(seed)
        self._limit = limit
        self._text = text
        self._ends = ends
        self._stops = [stop.encode() for stop in params.stop]
        self._longest = max(map(len, self._stops), default=0)
        self._bytes = bytearray()
        self._logprobs: list[float] = []
        self._confidence: list[float] = []
        self._finish: Finish | None = None

    def wanted(self, start: int, stop: int) -> Sequence[int]:
        """The state of the last token, from which the next is drawn."""
        return range(max(start, len(self.tokens) - 1), stop)

    def accept(self, outcome: tuple[int, float, float]) -> bool:
        token, logprob, confidence = outcome
        self.tokens.append(token)
        self.produced += 1
        self._logprobs.append(logprob)
        self._confidence.append(confidence)
        piece = self._text.piece(token)
        self._bytes += piece
        if token in self._ends:
            self._finish = "end"
        elif self._stops and self._stopped(len(piece)):
            self._finish = "stop"
        elif self.produced == self._limit:
            self._finish = "length"
        return self._finish is not None

    def _stopped(self, fresh: int) -> bool:
        """Whether one of the last `fresh` bytes ends a stop string."""
        start = max(0, len(self._bytes) - fresh - self._longest + 1)
        return any(self._bytes.find(stop, start) >= 0 for stop in self._stops)

    def result(self) -> Sample:
        assert self._finish is not None
        asked = self.params.confidence_k > 0
        return Sample(
            text=self._bytes.decode("utf-8", errors="replace"),
            token_ids=tuple(self.tokens[self.prompt_tokens :]),
            logprobs=np.array(self._logprobs, np.float32),
            confidence=np.array(self._confidence, np.float32) if asked else None,
            finish=self._finish,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            generated_tokens=self.produced,
        )


def _end_tokens(path: Path) -> frozenset[int]:
    """The tokens that end an answer, from generation_config.json or else config.json."""
    files = (path / "generation_config.json", path / "config.json")
    for file in filter(Path.exists, files):
        ends = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
        if ends is not None:
            return frozenset(ends if isinstance(ends, list) else [ends])
    raise ValueError(f"{path}: neither config file names an eos_token_id")
