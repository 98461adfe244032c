"""vLLM's pooling runner, which reward models run on: in this process, or behind HTTP.

Both take token ids and give back rows of numbers: one row for the whole text (task `classify`), or
one for every token, or for every step tag (task `token_classify`).
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from reasoning.backends.own_loop import OwnLoop
from reasoning.backends.vllm_common import cpu_defaults, installed_version
from reasoning.clock import RealClock
from reasoning.errors import (
    EngineError,
    GenerationError,
    RecipeError,
    TransientError,
    VerificationError,
    unknown,
)
from reasoning.generate import Meter
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
from reasoning.http.reading import count
from reasoning.http.replica import parsed
from reasoning.http.sources import sources

Rows: TypeAlias = NDArray[np.float32]
Task: TypeAlias = Literal["classify", "token_classify"]


@dataclass(frozen=True, slots=True)
class Pooled:
    """What the engine says of one text: `rows` [n, columns].

    `first` is the position of the token that the first row belongs to: the rows of tokens before
    it were not computed, because the engine's cache held them.
    """

    rows: Rows
    first: int = 0


class PoolingEngine:
    """vLLM's asynchronous engine with the pooling runner.

    It starts with the first call, on an event loop and thread of its own, so that it serves any
    number of loops, one after the other or at once.
    """

    def __init__(self, model: str, options: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise RecipeError(
                "a verifier on vLLM needs vLLM, which is not installed: pip install "
                "'reasoning[vllm]', or name the base_url of a server that has it"
            )
        from vllm.engine.arg_utils import AsyncEngineArgs

        for name in options:
            if name not in AsyncEngineArgs.__dataclass_fields__:
                raise RecipeError(
                    unknown("option of vLLM", name, AsyncEngineArgs.__dataclass_fields__)
                )
        self.model = model
        self.version = f"{model} on vLLM {installed_version()}"
        self._options = {"model": model, "runner": "pooling", **cpu_defaults(options), **options}
        self._own = OwnLoop("reward-model")
        self._engine: Any = None
        self._names = itertools.count()

    async def pool(
        self, ids: Sequence[int], task: Task, *, activate: bool = True, fresh: bool = True
    ) -> Pooled:
        """One text. Unless `fresh`, rows of tokens in the engine's cache are left out.

        Rows are probabilities, or logits unless they are to `activate`.
        Raises VerificationError for what the engine refuses, EngineError if it is dead.
        """
        return await self._own.run(lambda: self._pool(list(ids), task, activate, fresh))

    async def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The token ids of a conversation under the model's own chat template."""
        return await self._own.run(lambda: self._render(list(messages)))

    async def astart(self) -> None:
        """Start it now, so that no call waits for that. Raises EngineError."""
        await self._own.run(self._started)

    async def aclose(self) -> None:
        """Shut the engine down; a later call starts another."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.to_thread(engine.shutdown)
        await self._own.close()

    async def _started(self) -> None:
        self._start()

    def _start(self) -> Any:
        """The engine. Blocks its own loop, on which nothing else could go on without it."""
        if self._engine is None:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM

            try:
                self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._options))
            except Exception as error:
                raise EngineError(f"vLLM could not start {self.model!r}: {error}") from error
        return self._engine

    async def _pool(self, ids: list[int], task: Task, activate: bool, fresh: bool) -> Pooled:
        from vllm import PoolingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        engine = self._start()
        params = PoolingParams(task=task, use_activation=activate, skip_reading_prefix_cache=fresh)
        name = f"score-{next(self._names)}"
        try:
            async for output in engine.encode(tokens_input(ids), params, name):
                data = output.outputs.data
                rows = np.asarray(data.float().numpy(), dtype=np.float32)
                return Pooled(np.atleast_2d(rows), output.num_cached_tokens or 0)
        except VLLMValidationError as error:
            raise VerificationError(f"vLLM refused the request: {error}") from error
        except EngineDeadError as error:
            raise EngineError(
                f"the vLLM engine of {self.model!r} died: {error}; its log above says why. What "
                "was finished is stored; the same command continues"
            ) from error
        raise VerificationError("vLLM ended the request without an output")

    async def _render(self, messages: list[Mapping[str, str]]) -> list[int]:
        tokenizer = self._start().get_tokenizer()
        if not getattr(tokenizer, "chat_template", None):
            raise RecipeError(
                f"{self.model!r} has no chat template, which a reward model is asked through; "
                "give the engine one (chat_template), or use another model"
            )
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        return list(tokenizer.encode(text, add_special_tokens=False))


class PoolingServer:
    """The same behind HTTP: `vllm serve` with `--runner pooling`, one server or several."""

    def __init__(self, urls: str | Sequence[str], model: str, api_key_env: str) -> None:
        self.urls = [found.name.removesuffix("/v1") for found in sources(urls, "verifier")]
        self.model = model
        self.version = f"{model} at {', '.join(self.urls)}"
        self._key = os.environ.get(api_key_env)
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()

    async def pool(self, many: Sequence[Sequence[int]], task: Task) -> list[Rows]:
        """The probabilities of each text of token ids, in one request: its rows, end to end.

        Raises VerificationError, TransientError or EngineError.
        """
        asked = {"input": [list(ids) for ids in many], "task": task, "use_activation": True}
        return await self._post(len(many), asked)

    async def converse(
        self, messages: Sequence[Mapping[str, str]], task: Task, meter: Meter
    ) -> Rows:
        """The logits of one conversation under the server's chat template, which it counts."""
        asked = {"messages": list(messages), "task": task, "use_activation": False}
        (rows,) = await self._post(1, asked, meter)
        return rows

    async def context(self) -> int | None:
        """Tokens that a text may have; None if the server does not say."""
        reply = await self._call("/v1/models", None)
        try:
            found = next(m for m in reply["data"] if m["id"] == self.model)
        except (LookupError, TypeError, StopIteration):
            names = [m.get("id") for m in reply.get("data", [])] if isinstance(reply, dict) else []
            raise RecipeError(
                f"{self.urls[0]} serves {names}, not {self.model!r}; set verifier.model to the "
                "name it is served by (and verifier.tokenizer to its checkpoint)"
            ) from None
        length = found.get("max_model_len")
        return length if isinstance(length, int) else None

    async def astart(self) -> None:
        """See that the model is served. Raises RecipeError or EngineError."""
        await self._pool().expect(self.model)
        await self.context()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        if pool := self._pools.pop(asyncio.get_running_loop(), None):
            pool.close()

    async def _post(
        self, n: int, asked: Mapping[str, Any], meter: Meter | None = None
    ) -> list[Rows]:
        form = {"encoding_format": "base64", "endianness": "little"}
        body = {"model": self.model, **form, **asked}
        reply = await self._call("/pooling", body)
        try:
            data = sorted(reply["data"], key=lambda item: item["index"])
            rows = [
                np.frombuffer(base64.b64decode(item["data"], validate=True), "<f4") for item in data
            ]
            if meter is not None:
                meter(count(reply["usage"]["total_tokens"]) or 0)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise TransientError(
                f"{self.urls[0]}: the answer is not as vLLM's /pooling gives it "
                f"({type(error).__name__}: {error})"
            ) from error
        if len(rows) != n:
            raise TransientError(f"{self.urls[0]} scored {len(rows)} texts of {n}")
        return rows

    async def _call(self, path: str, body: Mapping[str, Any] | None) -> Any:
        reply = Reply()
        try:
            return parsed(await self._pool().exchange(path, body, reply))
        except GenerationError as error:
            if reply.status == 404:
                raise RecipeError(
                    f"{error}. A reward model is served with --runner pooling, under the name in "
                    "verifier.model"
                ) from error
            raise VerificationError(str(error)) from error

    def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = Pool(self.urls, key=self._key, clock=RealClock())
        return self._pools[loop]
