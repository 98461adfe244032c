"""One call of a server: asked, and asked for the rest if the stream breaks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from reasoning.backends.openai import fields, request
from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.asking import in_words_of, path_of
from reasoning.backends.openai.request import Abilities
from reasoning.clock import Clock
from reasoning.errors import TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
from reasoning.http.tracing import TRACE
from reasoning.search import Retry
from reasoning.seeds import fold

_RETRY = Retry()
_URGENCY_STEPS = 1000
"""Servers' priorities are integers, urgencies are not."""


class Call:
    """A call for one sample. `body` are fields of every request.

    session: the name of the header that is the same for all calls of a tree; empty for none.
    priority: more urgent calls are to run first.
    entire: the answer is wanted in one piece.
    dropped: the fields that the server has refused, and that an answer could do without.
    """

    def __init__(
        self,
        pool: Pool,
        able: Abilities,
        prompt: Prompt,
        *,
        body: Mapping[str, Any],
        session: bytes,
        priority: bool,
        entire: bool,
        clock: Clock,
    ) -> None:
        self.dropped: frozenset[str] = frozenset()
        self._pool = pool
        self._able = able
        self._prompt = prompt
        self._extra = dict(body)
        self._model = str(self._extra.pop("model"))
        self._priority = priority and able.extended
        self._entire = entire
        self._clock = clock
        self._session = session

    async def into(
        self, answer: Answer, held: Mapping[str, Any], params: Sampling, seed: int
    ) -> None:
        """Fill `answer`; `held` are the fields that hold the prompt. Raises as the pool does.

        A try that brings nothing more is repeated a few times in a row, if tokens have come before.
        """
        stalled, tokens = 0, self._able.mode == "tokens"
        while not answer.over:
            before = len(answer.ids)
            try:
                if await self._tried(answer, held, params, seed):
                    return
            except TransientError as error:
                more = tokens and len(answer.ids) > before
                if more and not answer.over and _bound(params):
                    raise  # a form is that of the whole answer
                stalled = 0 if more else stalled + 1
                if answer.garbled:
                    raise
                if not more and not answer.over:
                    if not tokens or not answer.ids or stalled == _RETRY.attempts:
                        raise
                    u = fold(seed, "resume", stalled) / 2**63
                    await self._clock.sleep(_RETRY.delay(stalled - 1, error.retry_after, u))
                    answer.go_on()
                    continue
            if answer.over:
                return
            if not tokens or len(answer.ids) == before or _bound(params):
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

    async def _tried(
        self, answer: Answer, held: Mapping[str, Any], params: Sampling, seed: int
    ) -> bool:
        """Ask once; whether what has come is enough. What has come has been read in any case.

        What the server refuses and an answer can do without is left out from then on.
        """
        several, prompt = self._pool.several, self._prompt
        while True:
            there = not params.stop or fields.stops_there(self._able, params)
            if prompt.hear is not None:
                stop = () if there else params.stop
                reply = Reply(partial(answer.aloud, prompt.hear, stop))
            else:
                watch = answer.watch if there else partial(answer.until, params.stop)
                reply = Reply(watch, patient=there)
            body = fields.body(
                self._able,
                params,
                seed=seed,
                model=self._model,
                prompt=held,
                extra=self._extra,
                logprobs=prompt.logprobs or not self._able.counts,
            )
            if self._entire:
                del body["stream"], body["stream_options"]
            if self._priority:
                body["priority"] = _priority(prompt)
            try:
                path = path_of(self._able)
                await self._pool.exchange(
                    path,
                    in_words_of(path, body),
                    reply,
                    affinity=request.affinity(prompt) if several else (),
                    becomes=fold(prompt.parent.key, prompt.slot) if several else None,
                    headers=headers(self._session, prompt),
                    ended=partial(answer.ended, reply),
                )
                answer.read(reply)
            except BaseException as error:
                if reply.status in (400, 422):
                    refused = fields.neutral(self._able, params, str(error)) & body.keys()
                    if refused:
                        self.dropped |= refused
                        self._able = fields.without(self._able, refused)
                        continue
                if reply.status < 300:
                    with suppress(TransientError):
                        answer.read(reply)
                raise
            return reply.enough


def headers(session: bytes, prompt: Prompt) -> bytes:
    """Lines of a call. Routers keep together what has the same value behind `session`."""
    return (_together(session, prompt.problem.id) if session else b"") + TRACE.get()


@lru_cache
def _together(session: bytes, problem: str) -> bytes:
    """The header of all calls for a problem."""
    return b"%b: %016x\r\n" % (session, fold(0, "tree", problem))


def _bound(params: Sampling) -> bool:
    return bool(params.choice or params.regex or params.json_schema)


def _priority(prompt: Prompt) -> int:
    """Lower runs first: what the search finds urgent, else deeper before wider."""
    urgency = prompt.parent.depth if prompt.urgency is None else prompt.urgency
    return -round(_URGENCY_STEPS * urgency)
