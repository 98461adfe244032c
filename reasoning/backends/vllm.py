"""vLLM's asynchronous engine, in process: token ids in, token ids out.

A path is resubmitted as the very tokens the model produced, behind a prompt that went through the
chat template once, so its prefix is found in the cache. Needs `pip install 'reasoning[vllm]'`; a
script that uses it needs an `if __name__ == "__main__"` guard, because vLLM starts processes.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from reasoning.backends import checkpoint
from reasoning.backends.healing import Healing, Look, healable
from reasoning.backends.own_loop import OwnLoop
from reasoning.backends.token_ids import (
    BROKEN,
    CONTEXT,
    DOCUMENT,
    one_token,
    priority,
    text_of,
    tokens_of,
)
from reasoning.backends.vllm_common import engine_options, installed_version
from reasoning.backends.vllm_fields import bounds, chosen, confidence, finish_of, likeliest
from reasoning.errors import (
    EngineError,
    GenerationError,
    RecipeError,
    TransientError,
    refused,
)
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.problem import Message
from reasoning.thinking import Thinking
from reasoning.tree import FloatArray, Sample


def vllm(
    *,
    model: str,
    lora: str | None = None,
    chat_template_kwargs: dict[str, Any] | None = None,
    thinking_tokens: int | None = None,
    thinking_end: str = "</think>",
    heal: bool = False,
    **engine: Any,
) -> Vllm:
    """vLLM in process. Further options go to the engine by vLLM's own names.

    For example max_model_len, tensor_parallel_size, quantization, dtype, speculative_config.
    lora: the path of an adapter to answer with. chat_template_kwargs: for the model's chat
    template, say {enable_thinking: false}. thinking_tokens: after so many tokens a model that
    thinks is made to end its thinking, which `thinking_end` marks, and to answer. Answers are
    looked for behind that mark. heal: go on from written text as from its bytes, for which every
    token's log-probability is read at some places (max_logprobs: -1): see
    `reasoning.backends.healing`.
    """
    if importlib.util.find_spec("vllm") is None:
        raise RecipeError(
            "generator vllm needs vLLM, which is not installed: pip install 'reasoning[vllm]'; "
            "generator nano needs nothing"
        )
    thinking = Thinking.stated(thinking_tokens, thinking_end)
    return Vllm(model, engine, lora, chat_template_kwargs, thinking, heal)


class Vllm(Generator):
    """One engine, started by the first call, on an event loop of its own.

    One request a sample: the engine batches requests as they come and computes the prompt that
    siblings share once, so `n` samples in one request are no faster (benchmarks/vllm.py) and could
    not be cancelled one by one. A call that is cancelled aborts its request and meters what the
    engine had produced.
    """

    def __init__(
        self,
        model: str,
        engine: Mapping[str, Any],
        lora: str | None = None,
        template: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
        heal: bool = False,
    ) -> None:
        self.model = model
        self._heals = heal
        self._healing: Healing | None = None
        self._thinking = thinking
        self._version = f"vllm {installed_version()}, {model}"
        if heal and engine.get("max_logprobs", -1) != -1:
            raise RecipeError(
                f"generator.heal reads all log-probabilities, and max_logprobs is "
                f"{engine['max_logprobs']}; leave that out, or heal"
            )
        more = {"max_logprobs": -1} if heal else {}
        self._options = engine_options(model, {**engine, **more}, lora)
        self._lora = lora
        self._template_options = dict(template or {})
        self._loop = OwnLoop(f"vLLM with {model}")
        self._engine: Any = None
        self._tokenizer: Any = None
        self._vocabulary: list[str] = []
        self._stops: dict[tuple[str, ...], frozenset[int]] = {(): frozenset()}
        self._prompts: dict[tuple[Message, ...], list[int]] = {}
        self._names = itertools.count()

    @property
    def honours(self) -> frozenset[str]:
        return frozenset(Sampling.__dataclass_fields__) - {"max_tokens", "tools"}

    @property
    def reads(self) -> bool:
        return True

    @property
    def thinking(self) -> Thinking | None:
        return self._thinking

    @property
    def version(self) -> str:
        return self._version

    @property
    def parameters(self) -> int | None:
        """Of the model, None where its files are not here (yet) or do not tell."""
        return checkpoint.parameters(self.model)

    async def astart(self) -> None:
        """Start the engine now, so that no call waits for it. Raises EngineError."""
        await self._loop.run(self._started)

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        await self._ready()
        if not self._heals or not (text := healable(prompt, params)):
            return await self._write(prompt, params, seed=seed, meter=meter)
        if self._healing is None:
            pieces = [b"" if BROKEN in t else t.encode() for t in self._texts()]
            self._healing = Healing(self._encode, pieces)
        ids = self._input(prompt)
        head = ids[: len(ids) - len(self._encode(text))]
        return await self._healing.go_on(
            text, head, partial(self._look, prompt), self._write, prompt, params, seed, meter
        )

    async def _look(self, prompt: Prompt, ids: list[int]) -> Look:
        """What may come behind `ids`. The engine draws a token there, which nobody sees."""
        request = self._sampling(Sampling(max_tokens=1, temperature=0.0), 0)
        request.logprobs, outputs = -1, list[Any]()
        await self._loop.run(lambda: self._collect(ids, request, prompt, outputs))
        (row,) = outputs[0].outputs[0].logprobs
        logprobs = np.full(len(self._texts()), -np.inf, np.float32)
        for token, one in row.items():
            if token < len(logprobs):  # the rest is padding
                logprobs[token] = one.logprob
        return Look(logprobs, len(ids), outputs[0].num_cached_tokens or 0)

    async def _write(self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter) -> Sample:
        ids, outputs = self._input(prompt), list[Any]()
        request = self._sampling(params, seed)
        if self._decode(ids[-CONTEXT:]).endswith(BROKEN):
            # vLLM would look for stop strings in the prompt, too; the tokens that hold one end it.
            request.stop = []
        try:
            await self._loop.run(lambda: self._collect(ids, request, prompt, outputs))
        finally:
            meter(len(outputs[0].outputs[0].token_ids) if outputs else 0)
        part = outputs[0].outputs[0]
        produced, rows = list(part.token_ids), list(part.logprobs or ())
        finish = finish_of(part.finish_reason, part.stop_reason, self._stop_tokens(params.stop))
        return Sample(
            text_of(self._decode, ids, produced, ended=finish == "end"),
            token_ids=tuple(produced),
            logprobs=chosen(produced, rows),
            confidence=confidence(rows, params.confidence_k),
            top_logprobs=likeliest(produced, rows, params.top_logprobs),
            finish=finish,
            prompt_tokens=len(ids),
            cached_tokens=outputs[0].num_cached_tokens or 0,
            generated_tokens=len(produced),
        )

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """See `reasoning.generate.Generator`.

        Without `question` a document begins with the model's beginning-of-text token, or else
        <|endoftext|>; if it has neither, with the path's own text, whose first token has logprob 0.
        The engine draws one token behind the text, which nobody sees.
        """
        await self._ready()
        given = sample.token_ids
        scored = list(given) if given is not None else self._encode(sample.text)
        before = self._input(prompt) if question else self._document() + self._path(prompt)
        request = self._sampling(Sampling(max_tokens=1, temperature=0.0), 0, prompt_logprobs=0)
        outputs: list[Any] = []
        meter(len(before) + len(scored))
        if not scored:
            return np.zeros(0, np.float32)
        await self._loop.run(lambda: self._collect(before + scored, request, prompt, outputs))
        rows = outputs[0].prompt_logprobs[len(before) :]
        pairs = zip(scored, rows, strict=True)
        return np.array([row[i].logprob if row else 0.0 for i, row in pairs], dtype=np.float32)

    async def encode(self, text: str) -> list[int]:
        """The token ids of `text`; special tokens written out in it count as such."""
        await self._ready()
        return self._encode(text)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    async def aclose(self) -> None:
        """Shut the engine down; a later call starts another."""
        if self._engine is not None:
            await self._loop.run(self._stopped)
        await self._loop.close()

    async def _collect(
        self, ids: list[int], request: Any, prompt: Prompt, found: list[Any]
    ) -> None:
        """Put what comes of the request into `found`: of a cancelled one what there was of it.

        Only the final output is asked for: a stream of tokens would wake this process for every
        request at every step of the engine, and nobody looks before the end.
        """
        from vllm.inputs import tokens_input

        more: dict[str, Any] = {}
        if self._options.get("scheduling_policy") == "priority":
            more["priority"] = priority(prompt)
        if self._lora is not None:
            from vllm.lora.request import LoRARequest

            more["lora_request"] = LoRARequest("adapter", 1, self._lora)
        name = f"{prompt.problem.id}-{next(self._names)}"
        engine, queue = self._engine, None
        try:
            queue = await engine.add_request(name, tokens_input(ids), request, **more)
            found.append(await queue.get())
        except asyncio.CancelledError:
            await engine.abort(name)  # ends the request and hands over what there is of it
            if queue is not None and (rest := queue.get_nowait()) is not None:
                found.append(rest)
            raise
        except Exception as error:
            _explain(error, self.model)

    async def _ready(self) -> None:
        if self._engine is None:
            await self.astart()

    async def _started(self) -> None:
        """Blocks the engine's loop, on which nothing could go on without it."""
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        if self._engine is not None:
            return
        try:
            engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._options))
        except Exception as error:
            raise EngineError(
                f"vLLM could not start {self.model!r}: {error}; its log above says why"
            ) from error
        self._tokenizer, self._engine = engine.get_tokenizer(), engine

    async def _stopped(self) -> None:
        engine, self._engine = self._engine, None
        engine.shutdown()

    def refuse(self, params: Sampling) -> None:
        """See `reasoning.generate.Generator`; the number of likely tokens is bounded, too."""
        super().refuse(params)
        most = self._options.get("max_logprobs", 20)
        for name in ("confidence_k", "top_logprobs"):
            asked = getattr(params, name)
            if 0 <= most < asked:  # -1: as many as there are
                raise RecipeError(
                    f"sampling.{name} is {asked} and vLLM gives the {most} most likely tokens; "
                    "raise generator.max_logprobs"
                )

    def _sampling(self, params: Sampling, seed: int, **more: Any) -> Any:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.sampling_params import RequestOutputKind

        self.refuse(params)
        try:
            return SamplingParams(
                max_tokens=params.max_tokens,
                temperature=params.temperature,
                top_p=params.top_p,
                top_k=params.top_k,
                min_p=params.min_p,
                min_tokens=params.min_tokens,
                presence_penalty=params.presence_penalty,
                frequency_penalty=params.frequency_penalty,
                repetition_penalty=params.repetition_penalty,
                logit_bias=self._biases(params.logit_bias),
                structured_outputs=bounds(params),
                stop=list(params.stop) or None,
                stop_token_ids=sorted(self._stop_tokens(params.stop)),
                seed=seed if params.temperature > 0 else None,
                logprobs=max(params.confidence_k, params.top_logprobs),
                output_kind=RequestOutputKind.FINAL_ONLY,
                **more,
            )
        except (VLLMValidationError, ValueError) as error:
            raise RecipeError(f"vLLM refuses the sampling parameters: {error}") from error

    def _biases(self, biases: Mapping[int | str, float]) -> dict[int, float] | None:
        """By token ids. Raises RecipeError for a text that is not one token."""
        found: dict[int, float] = {}
        for token, bias in biases.items():
            ids = [token] if isinstance(token, int) else self._encode(token)
            found[one_token(token, ids)] = bias
        return found or None

    def _stop_tokens(self, stop: tuple[str, ...]) -> frozenset[int]:
        """The tokens that hold a stop string in one piece, as most stops come.

        The engine's core ends a request at a token by itself. A stop string is found outside, by
        when the core has gone on by some steps that nobody wants.
        """
        if stop not in self._stops:
            pieces = enumerate(self._texts())
            self._stops[stop] = frozenset(i for i, text in pieces if any(s in text for s in stop))
        return self._stops[stop]

    def _texts(self) -> list[str]:
        """The text of every token by itself, "" for special ones."""
        if not self._vocabulary:
            every = range(len(self._tokenizer))
            self._vocabulary = self._tokenizer.batch_decode(
                [[i] for i in every], skip_special_tokens=True
            )
        return self._vocabulary

    def _input(self, prompt: Prompt) -> list[int]:
        """The question through the chat template, once, then the path's own tokens."""
        key = prompt.messages
        if key not in self._prompts:
            if len(self._prompts) > 10_000:
                self._prompts.clear()
            self._prompts[key] = self._template(key)
        return self._prompts[key] + self._path(prompt)

    def _path(self, prompt: Prompt) -> list[int]:
        ends = {self._tokenizer.eos_token_id}
        return tokens_of(prompt.pieces, self._encode, ends)

    def _document(self) -> list[int]:
        begin = self._tokenizer.bos_token_id
        if begin is None:
            begin = self._tokenizer.get_vocab().get(DOCUMENT)
        return [] if begin is None else [begin]

    def _template(self, messages: Sequence[Message]) -> list[int]:
        if not getattr(self._tokenizer, "chat_template", None):
            return list(self._tokenizer.encode("".join(m.content for m in messages)))
        text = self._tokenizer.apply_chat_template(
            [m.to_json() for m in messages],
            add_generation_prompt=True,
            tokenize=False,
            **self._template_options,
        )
        return self._encode(text)


def _explain(error: Exception, model: str) -> NoReturn:
    """Raise what the engine's error means to a search.

    By the names of its kinds: to import them could fail, and would hide the error.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "EngineDeadError" in kinds:
        raise EngineError(
            f"the vLLM engine of {model!r} died: {error}; its log above says why"
        ) from error
    if "GracefulHTTPError" in kinds:  # its queue is full
        raise TransientError(f"vLLM has too much to do: {error}") from error
    if "RetryableRequestError" in kinds:  # it is paused
        raise TransientError(f"vLLM takes no requests now: {error}") from error
    if "VLLMClientError" in kinds:
        raise refused(f"vLLM refused the request: {error}") from error
    raise GenerationError(f"vLLM failed: {type(error).__name__}: {error}") from error
