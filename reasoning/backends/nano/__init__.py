"""`nano`, the embedded models: small language models that run in this process, on NumPy alone.

They exist so that searches, tests and examples meet real sampling without a GPU or a server.
`nano()` is the generator of recipes: `nano` writes solutions, `nano_draft` does so with fewer
parameters and more errors, `nano_think` thinks before it answers. `StepModel` scores the steps of
nano's solutions.

**Determinism.** A call's tokens and logprobs are a function of checkpoint, prompt, parameters and
seed alone, bit for bit on one machine: what else is in the batch, when the call joined it, whether
its prefix came from the cache and how its prompt was cut into chunks make no difference. See
`reasoning.backends.nano.model` for how. Only `Sample.cached_tokens` depends on what ran before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from reasoning.backends.healing import Healing, Look, healable
from reasoning.backends.nano.bounds import Bounds
from reasoning.backends.nano.calls import Call, Looking, Reading, Writing, compute
from reasoning.backends.nano.engine import Engine
from reasoning.backends.nano.model import (
    Config,
    FloatArray,
    LanguageHead,
    Transformer,
    load_weights,
)
from reasoning.backends.nano.reward import StepModel
from reasoning.backends.nano.shaping import Shaping, biases, shapes
from reasoning.backends.nano.text import Vocabulary
from reasoning.backends.token_ids import tokens_of
from reasoning.errors import ContextError, GenerationError, RecipeError
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.thinking import Thinking
from reasoning.tree import Sample

__all__ = ["DRAFT", "THINKER", "WEIGHTS", "Nano", "StepModel", "nano"]

WEIGHTS = Path(__file__).parent / "weights" / "lm"
"""The checkpoint of `nano`, which comes with the package."""
THINKER = WEIGHTS.parent / "think"
"""That of `nano_think`."""
DRAFT = WEIGHTS.parent / "draft"
"""That of `nano_draft`."""
_MODELS = {"nano": WEIGHTS, "nano_draft": DRAFT, "nano_think": THINKER}

_DOCUMENT = "<|endoftext|>"
"""What stands before a text that has no prompt."""


def nano(
    *,
    model: Literal["nano", "nano_draft", "nano_think"] = "nano",
    path: str | Path | None = None,
    max_batch: int = 64,
    cache_tokens: int = 32768,
    thinking_tokens: int | None = None,
    thinking_end: str = "</think>",
    heal: bool = False,
) -> Nano:
    """An embedded model as a generator.

    model: which one; nano_draft is a small one to draft for nano, nano_think thinks between <think>
    and </think> before it answers.
    path: in its place, a checkpoint folder in Hugging Face layout (Qwen2, byte-level BPE), which is
    computed in float32.
    max_batch: calls computed at once; more of them wait in line, first come first served.
    cache_tokens: prompt and generated tokens whose keys and values are kept for continuations.
    thinking_tokens: after so many tokens a model that thinks is made to end its thinking, which
    `thinking_end` marks, and to answer.
    heal: go on from written text as from its bytes: see `reasoning.backends.healing`.

    From now on the BLAS behind NumPy uses one thread in this process. Raises RecipeError.
    """
    if max_batch < 1:
        raise RecipeError(f"nano: max_batch is {max_batch}; it must be at least 1")
    if cache_tokens < 0:
        raise RecipeError(f"nano: cache_tokens is {cache_tokens}; it must be at least 0")
    thinking = None if thinking_tokens is None else Thinking(thinking_tokens, thinking_end)
    folder = _MODELS[model] if path is None else Path(path)
    try:
        return Nano(
            folder, max_batch=max_batch, cache_tokens=cache_tokens, thinking=thinking, heal=heal
        )
    except Exception as error:  # tokenizers and safetensors raise kinds of their own
        raise RecipeError(
            f"nano: {folder} holds no usable checkpoint ({type(error).__name__}: {error}); leave "
            "generator.path out for the bundled ones"
        ) from error


class Nano(Generator):
    """A generator and text scorer with continuous batching and prefix reuse.

    May be used from several event loops and threads. It holds no thread while idle.
    """

    def __init__(
        self,
        path: Path = WEIGHTS,
        *,
        max_batch: int = 64,
        cache_tokens: int = 32768,
        thinking: Thinking | None = None,
        heal: bool = False,
    ) -> None:
        config, weights = Config.load(path), load_weights(path)
        model = Transformer(config, weights)
        self.text = Vocabulary(path)
        self.context = config.context
        """Largest number of tokens of prompt and answer together."""
        self._thinking = thinking
        self._healing = Healing(self._encode, self.text.pieces) if heal else None
        self._parameters = sum(tensor.size for tensor in weights.values())
        self._ends = _end_tokens(path)
        self._vocabulary = weights["model.embed_tokens.weight"].shape[0]
        self._bounds = Bounds(path, self.text, self._ends, self._vocabulary)
        self.engine: Engine[Call] = Engine(
            model,
            partial(compute, LanguageHead(model, weights)),
            max_batch=max_batch,
            cache_tokens=cache_tokens,
        )

    @property
    def parameters(self) -> int:
        """Of the model, embeddings included."""
        return self._parameters

    @property
    def thinking(self) -> Thinking | None:
        return self._thinking

    @property
    def reads(self) -> bool:
        return True

    @property
    def honours(self) -> frozenset[str]:
        return frozenset(Sampling.__dataclass_fields__) - {"tools"}

    def refuse(self, params: Sampling) -> None:
        """Raise RecipeError for a bias of what is no token and a pattern that cannot be used."""
        super().refuse(params)
        biases(params.logit_bias, self._encode, self._vocabulary)
        self._bounds.of(params)

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        """Continue `prompt`, as any fields of `params` say; penalties are of vLLM's kind.

        Raises ContextError if the prompt leaves no room in the context, RecipeError for what
        `refuse` refuses.

        Generation ends with "length" at `max_tokens` or when the context is full. A stop string
        is looked for in the text of this call; the token that completes it is kept whole. Bytes
        that are not UTF-8 show as U+FFFD, also those of a character that the call left unfinished.
        """
        if self._healing is None or not (text := healable(prompt, params)):
            return await self._write(prompt, params, seed=seed, meter=meter)
        path = self._path(prompt)
        head = (*self._question(prompt), *path[: len(path) - len(self._encode(text))])
        return await self._healing.go_on(
            text, head, self._look, self._write, prompt, params, seed, meter
        )

    async def _look(self, tokens: list[int]) -> Look:
        """What may come behind `tokens`."""
        self._refuse_long(tokens)
        call = Looking(tokens)
        self.engine.submit(call)
        try:
            found: Look = await call.future
        finally:
            self.engine.cancel(call)
        return found

    def _refuse_long(self, tokens: Sequence[int]) -> None:
        if len(tokens) >= self.context:
            raise ContextError(
                f"the prompt has {len(tokens)} tokens; the model's context of {self.context} "
                "leaves no room for an answer"
            )

    async def _write(self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter) -> Sample:
        """Generate token by token."""
        tokens, begun = (*self._question(prompt), *self._path(prompt)), self._begun(prompt)
        self._refuse_long(tokens)
        call = Writing(
            tokens,
            params,
            seed=seed,
            limit=min(params.max_tokens, self.context - len(tokens)),
            text=self.text,
            ends=self._ends,
            meter=meter,
            begun=begun,
            shaping=self._shaping(params, tokens, begun),
            hear=prompt.hear,
        )
        self.engine.submit(call)
        try:
            sample: Sample = await call.future
        finally:
            self.engine.cancel(call)
            call.flush()
        return sample

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """Logprobs [tokens] of the tokens of `sample` after `prompt`, in nats.

        With `question` they are, bit for bit, those the model would have reported had it drawn
        the tokens itself. Without it, a document begins with the path's own text. `meter` is told
        the number of all tokens before they are read. Raises GenerationError.
        """
        begin = self._question(prompt) if question else (self.text.token(_DOCUMENT),)
        before = (*begin, *self._path(prompt))
        own = sample.token_ids if sample.model == prompt.model else None
        target = self._encode(sample.text) if own is None else own
        if (size := len(before) + len(target)) > self.context:
            raise GenerationError(
                f"prompt and text have {size} tokens; the model's context is {self.context}"
            )
        meter(size)
        if not target:
            return np.zeros(0, np.float32)
        call = Reading(before, target)
        self.engine.submit(call)
        try:
            logprobs: FloatArray = await call.future
        finally:
            self.engine.cancel(call)
        return logprobs

    def close(self) -> None:
        """Stop; calls in flight and later ones raise EngineError."""
        self.engine.close()

    async def aclose(self) -> None:
        """The same, while the event loop goes on."""
        await asyncio.to_thread(self.close)

    def _begun(self, prompt: Prompt) -> tuple[int, ...]:
        """The tokens that an earlier part of this very call has said; they end the path."""
        if prompt.begun is None:
            return ()
        ids = prompt.begun.token_ids
        return self._encode(prompt.begun.text) if ids is None else ids

    def _shaping(
        self, params: Sampling, tokens: Sequence[int], begun: Sequence[int]
    ) -> Shaping | None:
        if not shapes(params):
            return None
        return Shaping(
            params,
            biases(params.logit_bias, self._encode, self._vocabulary),
            self._bounds.of(params),
            before=tokens,
            begun=begun,
            ends=self._ends,
            vocabulary=self._vocabulary,
        )

    def _question(self, prompt: Prompt) -> tuple[int, ...]:
        """The chat prompt."""
        try:
            return self.text.encode_chat(prompt.messages)
        except UnicodeError as error:
            raise GenerationError(f"the prompt is not valid text: {error}") from None

    def _path(self, prompt: Prompt) -> tuple[int, ...]:
        """The assistant's tokens so far."""
        return tuple(tokens_of(prompt.pieces, self._encode, self._ends))

    def _encode(self, text: str) -> tuple[int, ...]:
        try:
            return self.text.encode(text)
        except UnicodeError as error:
            raise GenerationError(f"the text so far is not valid: {error}") from None


def _end_tokens(path: Path) -> frozenset[int]:
    """The tokens that end an answer, from generation_config.json or else config.json."""
    files = (path / "generation_config.json", path / "config.json")
    for file in filter(Path.exists, files):
        ends = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
        if ends is not None:
            return frozenset(ends if isinstance(ends, list) else [ends])
    raise ValueError(f"{path}: neither config file names an eos_token_id")
