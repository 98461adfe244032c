"""The generator behind `openai`: from a prompt to a request, from an answer to a sample."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from reasoning.backends.openai import request
from reasoning.backends.openai.answer import (
    Answer,
    chosen,
    confidence,
    count,
    finish,
    number,
    readable,
)
from reasoning.backends.openai.probe import Api, probe, served
from reasoning.backends.openai.request import Abilities
from reasoning.backends.openai.tokens import Question, Tokenizer
from reasoning.clock import Clock, RealClock
from reasoning.errors import EngineError, GenerationError, RecipeError, TransientError
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.http.admission import Limits
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
from reasoning.http.replica import checked_url
from reasoning.search import Retry
from reasoning.seeds import fold
from reasoning.thinking import Thinking
from reasoning.tree import Finish, FloatArray, Sample

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
        fields = await self._fields(prompt, able)
        answer = Answer()
        try:
            await self._answered(answer, prompt, fields, params, seed, able)
        finally:
            meter(min(answer.tokens, params.max_tokens))
        return await self._sample(answer, fields, params, able)

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
        if able.mode == "text":
            with readable():
                return await self._scored_text(prompt, sample, question, meter)
        given = sample.token_ids
        tokens = self._tokenizer(able)
        scored = list(given) if given is not None else await tokens.encode(sample.text)
        begin = await (tokens.question(prompt) if question else tokens.document())
        before = begin + await tokens.path(prompt)
        meter(len(before) + len(scored))
        if not scored:
            return np.zeros(0, np.float32)
        body = {"prompt": before + scored, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        whole = await self._post("completions", body, prompt)
        with readable():
            rows = (_choice(whole).get("prompt_logprobs") or [])[len(before) :]
            if len(rows) != len(scored):
                raise ValueError(f"{len(rows)} log-probabilities for {len(scored)} tokens")
            pairs = zip(scored, rows, strict=True)
            values = [number(row[str(i)]["logprob"]) if row else 0.0 for i, row in pairs]
        return np.array(values, dtype=np.float32)

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
                    able = await probe(
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
            "streams": "yes" if able.streams else "no: cancelled calls cannot be metered",
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
        fields: Mapping[str, Any],
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
            body = request.body(
                able, params, seed=seed, model=str(self.model), prompt=fields, extra=self._extra
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
            fields = {**fields, "prompt": [*fields["prompt"], *answer.ids[before:]]}
            seed = fold(seed, "resume", len(answer.ids))
            answer.go_on()

    async def _sample(
        self, answer: Answer, fields: Mapping[str, Any], params: Sampling, able: Abilities
    ) -> Sample:
        said = answer.said()
        ends = [at + len(stop) for stop in params.stop if (at := said.find(stop)) >= 0]
        if ends and able.mode == "tokens":
            # The text of whole tokens, also of what follows a stop string in its last one.
            whole = answer.cut(min(ends))
            if whole is None and answer.resumed and min(ends) < len(said):
                raise TransientError("a stop string came where the stream had broken")
            said = whole or said + (await self._tokenizer(able).tail(answer) if able.stops else "")
        elif ends and not able.stops:
            said = said[: min(ends)]
        why: Finish = "stop" if ends else finish(answer)
        tokens = max(1, answer.tokens)
        if tokens > params.max_tokens and answer.ids:
            raise GenerationError(
                f"the server gave {tokens} tokens where at most {params.max_tokens} were asked for"
            )
        tokens = min(tokens, params.max_tokens)
        said_so = count(answer.usage.get("completion_tokens"))
        announced = tokens if answer.resumed or said_so is None else said_so
        sent = fields.get("prompt")
        asked = len(sent) if able.mode == "tokens" and sent else 0
        asked = asked or count(answer.usage.get("prompt_tokens")) or 0
        details = answer.usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        return Sample(
            said,
            token_ids=tuple(answer.ids) if answer.ids and able.mode == "tokens" else None,
            logprobs=chosen(answer, tokens),
            confidence=confidence(answer, tokens, params.confidence_k),
            finish=why,
            prompt_tokens=asked,
            cached_tokens=min(asked, count(cached) or 0),
            generated_tokens=tokens,
            info={"announced_tokens": announced} if announced != tokens else None,
        )

    async def _fields(self, prompt: Prompt, able: Abilities) -> dict[str, Any]:
        """What holds the prompt in a request."""
        if able.mode == "chat":
            return request.chat(prompt, able)
        if able.mode == "text":
            return {"prompt": request.written(prompt, self._template) + prompt.text}
        tokens = self._tokenizer(able)
        return {"prompt": await tokens.question(prompt) + await tokens.path(prompt)}

    async def _scored_text(
        self, prompt: Prompt, sample: Sample, question: bool, meter: Meter
    ) -> FloatArray:
        """By echo: the tokens that begin in the sample's text, as the server cuts them."""
        before = request.written(prompt, self._template) if question else ""
        before += prompt.text
        body = {"prompt": before + sample.text, "max_tokens": 1, "temperature": 0}
        whole = await self._post("completions", {**body, "echo": True, "logprobs": 0}, prompt)
        usage = whole.get("usage")
        meter(count(usage.get("prompt_tokens") if isinstance(usage, dict) else None) or 0)
        logprobs = _choice(whole)["logprobs"]
        pairs = zip(logprobs["text_offset"], logprobs["token_logprobs"], strict=True)
        within = [p for at, p in pairs if len(before) <= at < len(before + sample.text)]
        if sample.text and not within:
            raise ValueError("no token begins in the given text")
        values = [0.0 if p is None else number(p) for p in within]
        return np.array(values, dtype=np.float32)

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


def _choice(whole: Any) -> Mapping[str, Any]:
    """The first choice of a whole answer. Raises TransientError."""
    try:
        choice: Mapping[str, Any] = whole["choices"][0]
    except (KeyError, IndexError, TypeError):
        raise TransientError(f"the server's answer has no choices: {str(whole)[:80]}") from None
    return choice
