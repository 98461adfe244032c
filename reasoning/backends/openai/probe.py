"""Finds out, once, what a server can do: by asking, not by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.probe_fields import with_fields
from reasoning.backends.openai.request import Abilities
from reasoning.errors import GenerationError, RecipeError
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
from reasoning.http.reading import count

Api: TypeAlias = Literal["auto", "tokens", "text", "chat"]

_TEXT = "1, 2, 3, 4,"
_MESSAGES = [{"role": "user", "content": "Count from 1 to 9."}]
_BEGUN = {"role": "assistant", "content": "1, 2, 3,"}
_NOISE = 0.3
"""Nats by which a log-probability may differ that is worked out twice, in 16 bits."""
_CONTINUE = {"add_generation_prompt": False, "continue_final_message": True}


async def served(pool: Pool) -> list[Mapping[str, Any]]:
    """What the server says of its models; nothing if it does not say."""
    try:
        listed = await pool.get("models")
    except GenerationError:
        return []
    data = listed.get("data") if isinstance(listed, dict) else None
    return [entry for entry in data or () if isinstance(entry, dict)]


async def find_out(
    pool: Pool, *, model: str, api: Api, templated: bool, extra: Mapping[str, Any]
) -> Abilities:
    """What `model` can do there. With `templated` the user has given a chat template.

    Raises RecipeError if `api` asks for what the server has not, TransientError and EngineError
    as the pool does.
    """
    ask = _Questions(pool, {"model": model, "temperature": 0, **extra})
    able = await _best(ask, model=model, api=api, templated=templated)
    return await with_fields(able, partial(ask.text_with, able))


async def _best(ask: _Questions, *, model: str, api: Api, templated: bool) -> Abilities:
    """The best way there is to hand over paths."""
    text = await ask.text() if api != "chat" else None
    if text is not None and text.mode == "tokens" and api in ("auto", "tokens"):
        return text
    if api == "tokens":
        raise RecipeError(
            "generator.api is tokens, and the server takes and gives no token ids "
            "(return_token_ids of /completions, and /tokenize); leave api at auto"
        )
    if text is not None and (api == "text" or templated):
        return await ask.as_text(text)
    chat = await ask.chat() if api != "text" else None
    if chat is not None:
        return chat
    if text is None:
        known = ", ".join(str(entry.get("id")) for entry in await served(ask.pool)) or "none listed"
        raise RecipeError(
            f"the server does not answer for model {model!r} (its models: {known}); its last "
            f"words: {ask.refusal}"
        )
    return await ask.as_text(text)


class _Questions:
    """What is asked of one server. `refusal` is the last no."""

    def __init__(self, pool: Pool, common: Mapping[str, Any]) -> None:
        self.pool = pool
        self.common = common
        self.refusal = "nothing was asked"

    async def text(self) -> Abilities | None:
        """About /completions; None if there are none."""
        plain = {"prompt": _TEXT, "max_tokens": 8}
        rich = {**plain, "logprobs": 0, "return_token_ids": True, "prompt_logprobs": 0}
        choice = await self._choice("completions", rich)
        if choice is None:
            choice = await self._choice("completions", plain | {"logprobs": 0})
        if choice is None:
            choice = await self._choice("completions", plain)
        if choice is None:
            return None
        logprobs, least = _has_logprobs(choice), 0
        if not logprobs:
            more = await self._choice("completions", plain | {"logprobs": 1})
            logprobs, least = more is not None and _has_logprobs(more), 1
        extended = "stop_reason" in choice or "matched_stop" in choice
        first = (choice.get("text") or "")[:1]
        stops, streams, counts = await self._stops("completions", plain, first, extended)
        ids = choice.get("token_ids")
        tokenized = await self._tokenizes()
        return Abilities(
            "tokens" if ids and tokenized is not None else "text",
            extended=extended,
            stops=stops,
            streams=streams,
            counts=counts,
            logprobs=logprobs,
            scores=tokenized is not None and bool(choice.get("prompt_logprobs")),
            template=tokenized is not False,
            tokenizes=tokenized is not None,
            least=least,
        )

    async def as_text(self, able: Abilities) -> Abilities:
        """The same, with paths handed over as text."""
        plain = {"prompt": _TEXT, "max_tokens": 4, "logprobs": able.least}
        said = await self._choice("completions", plain) or {}
        text = _TEXT + str(said.get("text") or "")
        asked = {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": able.least}
        echo = await self._choice("completions", asked) or {}
        scores = str(echo.get("text")).startswith(text) and _agree(said, echo)
        return replace(able, mode="text", scores=scores, template=False)

    async def chat(self) -> Abilities | None:
        """About /chat/completions; None if there are none."""
        limit = "max_tokens"
        plain: dict[str, Any] = {"messages": _MESSAGES, limit: 8}
        choice = await self._choice("chat/completions", plain | {"logprobs": True})
        if choice is None and "max_completion_tokens" in self.refusal:
            limit = "max_completion_tokens"
            plain = {"messages": _MESSAGES, limit: 64}
            choice = await self._choice("chat/completions", plain | {"logprobs": True})
        if choice is None:
            choice = await self._choice("chat/completions", plain)
        if choice is None:
            return None
        logprobs, least = _has_logprobs(choice), 0
        if not logprobs:
            asked = plain | {"logprobs": True, "top_logprobs": 1}
            more = await self._choice("chat/completions", asked)
            logprobs, least = more is not None and _has_logprobs(more), 1
        extended = "stop_reason" in choice or "matched_stop" in choice
        text = (choice.get("message") or {}).get("content") or ""
        found = await self._stops("chat/completions", plain, text[:1], extended)
        stops, streams, counts = found
        return Abilities(
            "chat",
            extended=extended,
            stops=stops,
            continues=await self._continues(limit),
            streams=streams,
            counts=counts,
            logprobs=logprobs,
            tokenizes=await self._tokenizes() is not None,
            least=least,
            limit=limit,
        )

    async def text_with(self, able: Abilities, fields: Mapping[str, Any]) -> str:
        """What a short answer says that is asked for with these fields. Raises as the pool does."""
        asked = {**self.common, able.limit: 64 if able.limit != "max_tokens" else 16, **fields}
        chat = able.mode == "chat"
        asked |= {"messages": _MESSAGES} if chat else {"prompt": _TEXT}
        whole = await self.pool.post("chat/completions" if chat else "completions", asked)
        choice = (whole.get("choices") or [{}])[0]
        said = (choice.get("message") or {}).get("content") if chat else choice.get("text")
        return str(said or "")

    async def _continues(self, limit: str) -> bool:
        """Whether a begun answer can be continued.

        A chat template closes a message and opens another; where that is left out, the prompt is
        shorter by some tokens. A server that does not know the wish counts the same twice.
        """
        begun = {"messages": [*_MESSAGES, _BEGUN], limit: 1}
        sizes = []
        for more in ({}, _CONTINUE):
            whole = await self._json("chat/completions", begun | more)
            usage = (whole or {}).get("usage")
            sizes.append(count(usage.get("prompt_tokens") if isinstance(usage, dict) else None))
        closed, left_open = sizes
        return closed is not None and left_open is not None and left_open < closed

    async def _tokenizes(self) -> bool | None:
        """Whether questions are put through a chat template; None if there is no tokenizer."""
        asked = {"model": self.common["model"]}
        found = await self._json("/tokenize", {**asked, "messages": _MESSAGES})
        if found is not None and found.get("tokens"):
            return True
        found = await self._json("/tokenize", {**asked, "prompt": _TEXT})
        return False if found is not None and found.get("tokens") else None

    async def _stops(
        self, path: str, body: Mapping[str, Any], stop: str, extended: bool
    ) -> tuple[bool, bool, bool]:
        """Whether stop strings are kept and named, answers are streamed, and tokens counted."""
        asked = {**self.common, **body, "stream": True, "stream_options": {"include_usage": True}}
        if extended and stop:
            asked |= {"stop": [stop], "include_stop_str_in_output": True, "no_stop_trim": True}
        answer = Answer()
        try:
            answer.read(await self.pool.exchange(path, asked, Reply()))
        except GenerationError as error:
            self.refusal = str(error)
            return False, False, True
        named = extended and answer.stopped_by == stop and answer.said().endswith(stop)
        return named, True, bool(answer.told)

    async def _choice(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first choice of the answer; None if the server refuses."""
        whole = await self._json(path, {**self.common, **body})
        choices = (whole or {}).get("choices") or [None]
        return choices[0] if isinstance(choices[0], dict) else None

    async def _json(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        full = body if path.startswith("/") else {**self.common, **body}
        try:
            found = await self.pool.post(path, full)
        except GenerationError as error:
            self.refusal = str(error)
            return None
        return found if isinstance(found, dict) else None


def _has_logprobs(choice: Mapping[str, Any]) -> bool:
    given = choice.get("logprobs") or {}
    return bool(given.get("token_logprobs") or given.get("content"))


def _agree(said: Mapping[str, Any], echo: Mapping[str, Any]) -> bool:
    """Whether an echo finds the tokens of a greedy answer as likely as that answer did.

    There are servers whose echo tells each token's probability for the place of the next one.
    """
    one, other = (choice.get("logprobs") or {} for choice in (said, echo))
    known = one.get("token_logprobs") or ()
    places = zip(other.get("text_offset") or (), other.get("token_logprobs") or (), strict=False)
    found = [p for at, p in places if at >= len(_TEXT)]
    pairs = [(a, b) for a, b in zip(known, found, strict=False) if a is not None]
    return bool(pairs) and all(b is not None and abs(a - b) < _NOISE for a, b in pairs)
