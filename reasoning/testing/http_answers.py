"""What a misbehaving server answers: the protocol's JSON, right or wrong on purpose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from reasoning.testing.http_model import END, Writing, chat, decode, encode, logprob

Fault: TypeAlias = Literal[
    "reset", "hang", "429", "429 wait", "500", "502", "503", "529", "half", "stop short",
    "not json", "not an answer", "short logprobs", "wrong count", "drip", "hold",
]  # fmt: skip
"""reset: the connection is closed unanswered; hang: no answer; 429 wait: with Retry-After: 1;
half: the connection breaks in the middle; stop short: the stream ends properly, without its end;
not json, not an answer: what the names say; short logprobs: half of them; wrong count: usage says
more than there is; drip: a byte at a time; hold: three tokens, then silence."""


OPENAIS = frozenset({"top_p", "presence_penalty", "frequency_penalty", "logit_bias"})
FIELDS = OPENAIS | {
    "top_k", "min_p", "min_tokens", "repetition_penalty", "structured_outputs", "response_format",
}  # fmt: skip
"""vLLM's fields that say how to draw."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """What the server can do. `strict` refuses fields it does not know.

    `most_stops` strings are honoured, further ones dropped. `usage`: it counts tokens. `shifted`:
    it scores each token of a text as if it came next. `fields` are the ones it knows that say how
    to draw; `typed`, it refuses nonsense in them. `defaults` are its own values for those that a
    request leaves out.
    """

    completions: bool = True
    chat: bool = True
    tokens: bool = True
    extended: bool = True
    continues: bool = True
    logprobs: bool = True
    strict: bool = False
    usage: bool = True
    shifted: bool = False
    most_stops: int = 99
    fields: frozenset[str] = FIELDS
    typed: bool = True
    defaults: Mapping[str, float] = field(default_factory=dict)


VLLM = Flavour()
TEXT = Flavour(chat=False, tokens=False, extended=False, strict=True, fields=OPENAIS)
CHAT = Flavour(completions=False, tokens=False)
PLAIN_CHAT = Flavour(
    completions=False, tokens=False, extended=False, continues=False, strict=True, fields=OPENAIS
)
LLAMA = Flavour(
    tokens=False,
    extended=False,
    typed=False,
    fields=OPENAIS | {"top_k", "min_p", "repeat_penalty"},
    defaults={"top_k": 40, "top_p": 0.95, "min_p": 0.05},
)
"""As llama.cpp is: unknown fields and nonsense are ignored, and its own defaults decide."""


class BrokenError(Exception):
    """The connection is to be closed at once."""


class Counting(Protocol):
    """What an answer needs of its server."""

    flavour: Flavour

    def count(self, name: str, more: int = 1) -> None: ...
    def cached(self, prompt: tuple[int, ...]) -> int: ...


class Answer:
    """One answer of the model, in a stream or whole, with whatever is wrong with it."""

    def __init__(self, server: Counting, body: Mapping[str, Any], fault: Fault | None) -> None:
        self.server = server
        self.flavour = server.flavour
        self.body = body
        self.fault = fault
        self.chat = "messages" in body
        prompt = _prompt(body, self.flavour)
        self.prompt = prompt if isinstance(prompt, list) else encode(prompt)
        self.cached = server.cached(tuple(self.prompt))
        limit = body.get("max_tokens", 16)
        if limit < 1:
            raise ValueError(f"max_tokens must be at least 1, got {limit}")
        stop = body.get("stop") or ()
        fields = {**self.flavour.defaults, **_drawing(body, self.flavour)}
        self.writing = Writing(
            self.prompt,
            limit,
            temperature=body.get("temperature", 1.0),
            seed=body.get("seed", 0),
            stop=([stop] if isinstance(stop, str) else stop)[: self.flavour.most_stops],
            keep_stop=self.flavour.extended and bool(body.get("include_stop_str_in_output")),
            fields=fields,
        )

    def whole(self) -> dict[str, Any]:
        for _ in self.writing:
            self.server.count("tokens")
        text = self.writing.shown
        choice = self._choice(text, 0, len(self.writing.tokens), "message")
        if self.body.get("echo"):
            choice["text"] = decode(self.prompt) + text
            choice["logprobs"] = self._logprobs(0, echo=True)
        if self.flavour.extended and "prompt_logprobs" in self.body:
            choice["prompt_logprobs"] = [
                {str(t): {"logprob": logprob(self.prompt[: i + self.flavour.shifted], t)}}
                if i
                else None
                for i, t in enumerate(self.prompt)
            ]
        usage = {"usage": self._usage()} if self.flavour.usage else {}
        return {"choices": [choice], **usage}

    async def half(self) -> AsyncIterator[bytes]:
        """The whole answer as far as it comes before the server breaks off, or falls silent."""
        said = json.dumps(self.whole()).encode()
        yield said[: len(said) // 2]
        if self.fault == "hold":
            self.server.count("holding")
            await asyncio.get_running_loop().create_future()
        raise BrokenError

    async def stream(self) -> AsyncIterator[bytes]:
        writing, sent = self.writing, 0
        lag = 0 if writing.keep_stop else max((len(s) - 1 for s in writing.stop), default=0)
        half = max(1, int(self.body.get("max_tokens", 16)) // 8)
        for number, _ in enumerate(writing, start=1):
            self.server.count("tokens")
            end = len(writing.shown) - (0 if writing.finish else lag)
            piece, sent = writing.shown[sent:end], max(sent, end)
            yield _event({"choices": [self._choice(piece, number - 1, number, "delta")]})
            if self.fault in ("half", "stop short") and number == half and not writing.finish:
                if self.fault == "half":
                    raise BrokenError
                return
            if self.fault == "hold" and number == 3:
                self.server.count("holding")
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(0)
        if self.flavour.usage and (self.body.get("stream_options") or {}).get("include_usage"):
            yield _event({"choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _choice(self, text: str, begin: int, end: int, kind: str) -> dict[str, Any]:
        writing = self.writing
        choice: dict[str, Any] = {"index": 0, "finish_reason": writing.finish}
        if self.chat:
            choice[kind] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        if self.flavour.extended:
            choice["stop_reason"] = writing.stopped_by
        if self.flavour.tokens and self.body.get("return_token_ids"):
            choice["token_ids"] = writing.tokens[begin:end]
        if self.flavour.logprobs and self._wants_logprobs:
            choice["logprobs"] = self._logprobs(begin, end)
        return choice

    def _logprobs(self, begin: int, end: int | None = None, echo: bool = False) -> Any:
        produced = self.writing.tokens
        tokens = [*self.prompt, *produced] if echo else produced
        context = [] if echo else self.prompt
        places = list(range(begin, len(tokens) if end is None else end))
        if self.fault == "short logprobs":
            places = places[: len(places) // 2]
        values = [
            logprob([*context, *tokens[:i]], tokens[i]) if context or i else None for i in places
        ]
        if echo and self.flavour.shifted:
            values = [logprob(tokens[: i + 1], tokens[i]) for i in places]
        named = self.body.get("return_tokens_as_token_ids") and self.flavour.extended
        strings = [f"token_id:{tokens[i]}" if named else decode([tokens[i]]) for i in places]
        most = int(self.body.get("top_logprobs" if self.chat else "logprobs") or 0)
        tops = [self._tops([*context, *tokens[:i]], most) for i in places]
        if self.chat:
            rows = zip(strings, values, tops, strict=True)
            return {
                "content": [
                    {
                        "token": string,
                        "logprob": value,
                        "top_logprobs": [{"token": decode([t]), "logprob": p} for t, p in top],
                    }
                    for string, value, top in rows
                ]
            }
        offsets = [len(decode(tokens[:i])) for i in places]
        return {
            "tokens": strings,
            "token_logprobs": values,
            "text_offset": offsets,
            "top_logprobs": [
                {f"token_id:{t}" if named else f"{decode([t])} {t}": p for t, p in top}
                for top in tops
            ],
        }

    @property
    def _wants_logprobs(self) -> bool:
        asked = self.body.get("logprobs")  # a number, 0 too, or in chats a truth value
        return asked is not None and asked is not False

    def _tops(self, before: list[int], most: int) -> list[tuple[int, float]]:
        options = [(token, logprob(before, token)) for token in range(256, END + 1)]
        return sorted(options, key=lambda option: -option[1])[:most]

    def _usage(self) -> dict[str, Any]:
        generated = len(self.writing.tokens) + 5 * (self.fault == "wrong count")
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": generated,
            "total_tokens": len(self.prompt) + generated,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


def _prompt(body: Mapping[str, Any], flavour: Flavour) -> str | list[int]:
    """The prompt's tokens, or its text."""
    if "messages" in body:
        wants = flavour.continues and bool(body.get("continue_final_message"))
        return chat(body["messages"], open_ended=wants)
    prompt = body["prompt"]
    if isinstance(prompt, list) and not flavour.tokens:
        raise ValueError("prompt must be a string")
    return prompt  # type: ignore[no-any-return]


_FORMS = ("logit_bias", "structured_outputs", "response_format")


def _drawing(body: Mapping[str, Any], flavour: Flavour) -> dict[str, Any]:
    """The fields that say how to draw. Raises ValueError for nonsense in one, if it minds."""
    found = {}
    for name in flavour.fields & body.keys():
        sound = isinstance(body[name], dict if name in _FORMS else int | float)
        if sound:
            found[name] = body[name]
        elif flavour.typed:
            raise ValueError(f"{name} is {body[name]!r}, which is nothing of that kind")
    return found


def tokenizer(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What /tokenize and /detokenize answer."""
    if path == "/detokenize":
        return {"prompt": decode(body["tokens"])}
    text = chat(body["messages"], open_ended=False) if "messages" in body else body["prompt"]
    return {"tokens": encode(text)}


async def drip(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Byte after byte."""
    async for piece in stream:
        for i in range(len(piece)):
            yield piece[i : i + 1]
            await asyncio.sleep(0)


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
