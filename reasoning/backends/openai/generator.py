"""The generator behind `openai`: from a prompt to a request, from an answer to a sample."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from reasoning.backends.openai import fields, request, scoring
from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.probe import Api, find_out, served
from reasoning.backends.openai.request import Abilities
from reasoning.backends.openai.sampled import sample as sample_of
from reasoning.backends.openai.tokens import Question, Tokenizer
from reasoning.clock import Clock, RealClock
from reasoning.errors import EngineError, RecipeError, TransientError
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.http.admission import Limits
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
from reasoning.http.reading import count, readable
from reasoning.http.replica import checked_url
from reasoning.search import Retry
from reasoning.seeds import fold
from reasoning.thinking import Thinking
from reasoning.tree import FloatArray, Sample

_URGENCY_STEPS = 1000
"""Servers' priorities are integers, urgencies are not."""


class OpenAI(Generator):
    """The generator behind `openai`. Serves any number of event loops, each with its own pool."""

    def __init__(
        self,
        urls: Sequence[str],
        model: str | None = None,
        *,
        api: Api = "auto",
        key_env: str = "OPENAI_API_KEY",
        template: str | None = None,
        priority: bool = False,
        extra: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.urls = [checked_url(url, "openai") for url in urls]
        if not self.urls:
            raise RecipeError("openai: base_url is an empty list; give one URL or more")
        if template is not None and "{prompt}" not in template:
            raise RecipeError("openai: template has no {prompt}, where the question belongs")
        self.model = model
        self._api: Api = api
        self._key_env = key_env
        self._template = template
        self._priority = priority
        self._extra = request.checked_extra(extra or {})
        self._thinking = thinking
        self._clock: Clock = clock or RealClock()
        self.limits = limits or Limits()
        self._able: Abilities | None = None
        self._questions: dict[Question, list[int]] = {}
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()

    @property
    def version(self) -> str:
        """For the manifest."""
        return f"{self.model or 'the first model'} at {', '.join(self.urls)}"

    @property
    def reads(self) -> bool:
        """As far as is known; a server is asked once, at the start."""
        return self._able is None or self._able.scores

    @property
    def thinking(self) -> Thinking | None:
        return self._thinking

    @property
    def resumes(self) -> bool:
        return self._able is None or self._able.continues

    @property
    def pool(self) -> Pool:
        """The connections of the running event loop."""
        return self._here().pool

    async def astart(self) -> None:
        """Find out now what the server can do. Raises EngineError if it does not say."""
        retry = Retry()
        for attempt in range(retry.attempts):
            try:
                await self.abilities()
                return
            except TransientError as error:
                if attempt + 1 == retry.attempts:
                    raise EngineError(f"no start with {self.urls[0]}: {error}") from error
                u = fold(0, "start", self.urls[0], attempt) / 2**63
                await self._clock.sleep(retry.delay(attempt, error.retry_after, u))

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        """See `reasoning.generate.Generator`. A broken stream of tokens is taken up where it broke.

        Raises RecipeError for what the server cannot do, EngineError once no server is left.
        """
        able = self._able or await self.abilities()
        self.refuse(params)
        if any(isinstance(token, str) for token in params.logit_bias):
            params = replace(params, logit_bias=await self._biases(params, able))
        held = await self._holding(prompt, able)
        answer = Answer()
        try:
            await self._answered(answer, prompt, held, params, seed, able)
        finally:
            meter(min(answer.tokens, params.max_tokens))
        return await sample_of(answer, held.get("prompt"), params, able, self._tokenizer(able))

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        """See `reasoning.generate.Generator`.

        Without `question` a document begins with the model's beginning-of-text token, or else
        <|endoftext|>; if it has neither, with the path's own text, whose first token has logprob 0.
        Without token ids the server decides where tokens begin. Raises RecipeError if it does not
        tell the log-probabilities of given text.
        """
        able = self._able or await self.abilities()
        if not able.scores:
            raise RecipeError(
                f"the server at {self.urls[0]} does not tell how likely given text is "
                "(prompt_logprobs, or echo with logprobs); use vLLM, or generator nano"
            )
        post = partial(self._post, "completions", prompt=prompt)
        if able.mode == "text":
            return await scoring.by_echo(post, self._template, prompt, sample, question, meter)
        tokens = self._tokenizer(able)
        return await scoring.by_tokens(post, tokens, prompt, sample, question, meter)

    async def encode(self, text: str) -> list[int]:
        """The token ids of `text`. Raises RecipeError if the server deals in text alone."""
        able = self._able or await self.abilities()
        if able.mode != "tokens":
            raise RecipeError(f"the server at {self.urls[0]} does not tell token ids")
        return await self._tokenizer(able).encode(text)

    async def abilities(self) -> Abilities:
        """What the server can do; asked once. Raises what a call raises."""
        here = self._here()
        async with here.asking:
            if self._able is None:
                models = await served(here.pool) if self.model is None else []
                if self.model is None:
                    if not models:
                        raise RecipeError(
                            f"the server at {self.urls[0]} does not list its models; set model"
                        )
                    self.model = str(models[0].get("id"))
                with readable():
                    able = await find_out(
                        here.pool,
                        model=self.model,
                        api=self._api,
                        templated=self._template is not None,
                        extra=self._extra,
                    )
                if self._thinking and not able.continues:
                    raise RecipeError(
                        "generator.thinking_tokens is set, and this server starts every chat "
                        "answer afresh, so it cannot go on from a thinking that was cut; leave "
                        "thinking_tokens out, or use a server that continues answers (vLLM, SGLang)"
                    )
                for entry in models or await served(here.pool):
                    if entry.get("id") == self.model:
                        able = replace(able, context=count(entry.get("max_model_len")) or None)
                self._able = able
        return self._able

    async def _biases(self, params: Sampling, able: Abilities) -> dict[int | str, float]:
        """By token ids, as servers want them."""
        if not able.tokenizes:
            raise RecipeError(
                "sampling.logit_bias names tokens by their text, and the server at "
                f"{self.urls[0]} does not tell their ids (/tokenize); name them by their ids"
            )
        return await self._tokenizer(able).biases(params.logit_bias)

    def refuse(self, params: Sampling) -> None:
        """Raise RecipeError for a field that the server is known not to know."""
        if self._able is not None:
            fields.refuse(self._able, params, self.urls[0])

    @property
    def honours(self) -> frozenset[str]:
        """As far as is known; a server is asked once, at the start."""
        everything = frozenset(Sampling.__dataclass_fields__) - {"max_tokens"}
        if self._able is None:
            return everything
        told = ("confidence_k", "top_logprobs") if self._able.logprobs else ()
        return (self._able.knows | {"temperature", "stop", *told}) & everything

    def refuse_steps(self) -> None:
        """Raises RecipeError if the server is known not to go on from a step."""
        if self._able is not None:
            request.refuse_steps(self._able)

    async def describe(self) -> Mapping[str, str]:
        """What the server can do, in words, for people. Raises what a call raises."""
        able = await self.abilities()
        modes = {
            "tokens": "token ids to /completions: prefixes are found in the cache",
            "text": "text to /completions",
            "chat": "/chat/completions",
        }
        return {
            "server": ", ".join(self.urls),
            "model": f"{self.model}" + (f", {able.context:,} tokens" if able.context else ""),
            "paths": modes[able.mode],
            "step search": "yes" if able.continues else "no: it starts every answer afresh",
            "stop strings": "the server's" if able.stops else "cut here",
            "tokens generated": "counted" if able.counts or able.logprobs else "estimated here",
            "streams": "yes" if able.streams else "no: cancelled calls cannot be metered",
            "fields of sampling": fields.in_words(able),
            "not known there": fields.not_in_words(able),
            "log-probabilities": "yes" if able.logprobs else "no",
            "likelihood of given text": "yes" if able.scores else "no",
        }

    async def aclose(self) -> None:
        here = self._pools.pop(asyncio.get_running_loop(), None)
        if here is not None:
            here.pool.close()
            await asyncio.sleep(0)  # sockets are closed in the loop's next turn

    async def _answered(
        self,
        answer: Answer,
        prompt: Prompt,
        held: Mapping[str, Any],
        params: Sampling,
        seed: int,
        able: Abilities,
    ) -> None:
        """Ask, and ask for the rest if the stream breaks.

        A try that brings nothing more is repeated a few times in a row, if tokens have come before.
        """
        retry, stalled = Retry(), 0
        path = "chat/completions" if able.mode == "chat" else "completions"
        pool = self._here().pool
        several = len(self.urls) > 1
        affinity = request.affinity(prompt) if several else ()
        watch = answer.watch if able.stops or not params.stop else _stop_here(answer, params.stop)
        while not answer.over:
            body = fields.body(
                able, params, seed=seed, model=str(self.model), prompt=held, extra=self._extra
            )
            if self._priority and able.extended:
                body["priority"] = _priority(prompt)
            reply, before = Reply(watch), len(answer.ids)
            try:
                await pool.exchange(
                    path,
                    body,
                    reply,
                    affinity=affinity,
                    becomes=fold(prompt.parent.key, prompt.slot) if several else None,
                )
                answer.read(reply)
            except BaseException as error:
                if reply.status < 300:
                    with suppress(TransientError):
                        answer.read(reply)
                more = able.mode == "tokens" and len(answer.ids) > before
                stalled = 0 if more else stalled + 1
                if not isinstance(error, TransientError) or answer.garbled:
                    raise
                if not more and not answer.over:
                    if able.mode != "tokens" or not answer.ids or stalled == retry.attempts:
                        raise
                    u = fold(seed, "resume", stalled) / 2**63
                    await self._clock.sleep(retry.delay(stalled - 1, error.retry_after, u))
                    answer.go_on()
                    continue
            if reply.enough or answer.over:
                return
            if able.mode != "tokens" or len(answer.ids) == before:
                raise TransientError("the server's answer ended in the middle")
            left = params.max_tokens - (len(answer.ids) - before)
            if left < 1:
                answer.reason = "length"
                break
            # The rest is drawn as a continuation: its random numbers are its own.
            params = replace(params, max_tokens=left)
            held = {**held, "prompt": [*held["prompt"], *answer.ids[before:]]}
            seed = fold(seed, "resume", len(answer.ids))
            answer.go_on()

    async def _holding(self, prompt: Prompt, able: Abilities) -> dict[str, Any]:
        """What holds the prompt in a request."""
        if able.mode == "chat":
            return request.chat(prompt, able)
        if able.mode == "text":
            return {"prompt": request.written(prompt, self._template) + prompt.text}
        tokens = self._tokenizer(able)
        return {"prompt": await tokens.question(prompt) + await tokens.path(prompt)}

    async def _post(self, path: str, body: Mapping[str, Any], prompt: Prompt | None = None) -> Any:
        near = request.affinity(prompt) if prompt is not None and len(self.urls) > 1 else ()
        return await self._here().pool.post(path, {"model": self.model, **body}, affinity=near)

    def _tokenizer(self, able: Abilities) -> Tokenizer:
        here = self._here()
        if here.tokenizer is None:
            here.tokenizer = Tokenizer(
                here.pool,
                str(self.model),
                chats=able.template,
                template=self._template,
                kwargs=self._extra.get("chat_template_kwargs"),
                known=self._questions,
            )
        return here.tokenizer

    def _here(self) -> _Loop:
        loop = asyncio.get_running_loop()
        here = self._pools.get(loop)
        if here is None:
            key = os.environ.get(self._key_env)
            pool = Pool(self.urls, key=key, limits=self.limits, clock=self._clock)
            here = self._pools[loop] = _Loop(pool)
        return here


class _Loop:
    """What belongs to one event loop."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.asking = asyncio.Lock()
        self.tokenizer: Tokenizer | None = None


def _stop_here(answer: Answer, stop: Sequence[str]) -> Any:
    """Reads a stream as it comes, and has enough once it holds a stop string."""

    def watch(reply: Reply) -> bool:
        with suppress(TransientError):  # raised again when the whole is read
            answer.read(reply)
        said = answer.said()
        return any(s in said for s in stop)

    return watch


def _priority(prompt: Prompt) -> int:
    """Lower runs first: what the search finds urgent, else deeper before wider."""
    urgency = prompt.parent.depth if prompt.urgency is None else prompt.urgency
    return -round(_URGENCY_STEPS * urgency)
