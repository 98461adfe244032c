"""What a server's answer says: pieces of it put together, in one format for all protocols.

Answers come as a stream of events, a few tokens each, or in one piece; from /completions or
/chat/completions; with token ids or without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from reasoning.backends.recorded import CHARS_A_TOKEN
from reasoning.errors import TransientError
from reasoning.http.connection import Reply
from reasoning.http.reading import count, number, shown, string

_CHUNK = 1 << 16
"""Bytes of a stream that are kept unread at most."""
_EVENT = 8
"""Characters of an event, on average, that are more than a token."""


class Answer:
    """An answer as far as it has come. `read` it from a reply as often as you like."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.thought: list[str] = []
        """What a reasoning parser of the server has set apart."""
        self.ids: list[int] = []
        self.logprobs: list[float | None] = []
        self.strings: list[str] = []
        """Each token's text, or "token_id:N"."""
        self.tops: list[list[tuple[str, float]]] = []
        """The likeliest tokens at each, with their log-probabilities."""
        self.pieces = 0
        """Events that brought anything."""
        self.reason: str | None = None
        self.stopped_by: Any = None
        self.usage: Mapping[str, Any] = {}
        self.extra: Mapping[str, Any] = {}
        """The first choice as it came."""
        self.resumed = False
        """It was put together from the replies to several requests."""
        self.garbled = False
        """Something in it could not be read, so nothing can go on from it."""
        self._last = (0, 0)
        self._at = 0
        self._streamed: bool | None = None
        self._problem: TransientError | None = None

    @property
    def over(self) -> bool:
        """The server has said why it ended."""
        return self.reason is not None

    @property
    def told(self) -> int:
        """Tokens generated so far as the server tells: ids, else its count or log-probabilities."""
        if self.ids:
            return len(self.ids)
        return max(count(self.usage.get("completion_tokens")) or 0, len(self.logprobs))

    @property
    def tokens(self) -> int:
        """Generated so far; where the server does not tell, an event is taken for a token, or if
        events hold more than that the number is estimated from the text."""
        if told := self.told:
            return told
        size = sum(map(len, self.text)) + sum(map(len, self.thought))
        many = size > _EVENT * self.pieces
        return math.ceil(size / CHARS_A_TOKEN) if many else self.pieces

    def read(self, reply: Reply) -> None:
        """Take in what is new. Raises TransientError if it cannot be understood."""
        if self._problem is not None:
            raise self._problem
        if self._streamed is None and reply.status:
            self._streamed = b"event-stream" in reply.headers.get(b"content-type", b"")
        try:
            if self._streamed:
                for event in self._events(reply):
                    self._take(event)
            elif reply.whole and not self._at:
                self._at = len(reply.body)
                self._take(json.loads(reply.body))
        except TransientError as error:
            self._problem = error
            raise
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            self.garbled = True
            why = f"{type(error).__name__}: {error}"
            self._problem = TransientError(f"the server's answer cannot be read: {why}")
            raise self._problem from error

    def watch(self, reply: Reply) -> bool:
        """Read a long stream before it takes up much memory."""
        if len(reply.body) - self._at > _CHUNK:
            with suppress(TransientError):  # raised again when the whole is read
                self.read(reply)
            del reply.body[: self._at]
            self._at = 0
        return False

    def _events(self, reply: Reply) -> Iterator[dict[str, Any]]:
        end = reply.body.rfind(b"\n") + 1
        lines = bytes(reply.body[self._at : end]).split(b"\n")
        self._at = max(self._at, end)
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                if data and data != b"[DONE]":
                    yield json.loads(data)

    def _take(self, event: dict[str, Any]) -> None:
        if error := event.get("error"):
            message = error.get("message") if isinstance(error, dict) else error
            raise TransientError(f"the server broke off: {message}")
        usage = event.get("usage") or {}
        if isinstance(usage, dict):
            self.usage = usage or self.usage
        for choice in event.get("choices") or ():
            self.extra = self.extra or choice
            self._choice(choice)
        if not isinstance(usage, dict):
            raise TypeError(f"usage is {shown(usage)}")

    def _choice(self, choice: dict[str, Any]) -> None:
        said: Mapping[str, Any] = choice.get("delta") or choice.get("message") or choice
        text = said.get("text") if said is choice else said.get("content")
        thought = None
        if said is not choice:
            thought = said.get("reasoning_content") or said.get("reasoning")
        ids = choice.get("token_ids") or []
        before = len(self.strings)
        if text or ids or thought:
            self.pieces += 1
        # Tokens first: they are paid for, also where the rest cannot be read.
        if not isinstance(ids, list) or any(count(i) is None for i in ids):
            raise TypeError(f"token_ids is {shown(ids)}")
        self.ids += ids
        if text:
            self.text.append(string(text))
        if thought:
            self.thought.append(string(thought))
        if logprobs := choice.get("logprobs"):
            self._take_logprobs(logprobs)
        if text or ids or thought:
            self._last = (before, len(text or ""))
        if (reason := choice.get("finish_reason")) is not None:
            self.reason = reason
            stopped = choice.get("stop_reason")
            self.stopped_by = choice.get("matched_stop") if stopped is None else stopped

    def _take_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        if (content := logprobs.get("content")) is not None:  # chat, llama.cpp everywhere
            for token in content:
                self.logprobs.append(number(token["logprob"]))
                self.strings.append(string(token["token"]))
                tops = token.get("top_logprobs") or ()
                self.tops.append(_once((top["token"], top["logprob"]) for top in tops))
            return
        given = logprobs.get("token_logprobs") or ()
        self.logprobs += [None if p is None else number(p) for p in given]
        self.strings += [string(s) for s in logprobs.get("tokens") or ()]
        rows = logprobs.get("top_logprobs") or ()
        self.tops += [_once((row or {}).items()) for row in rows]

    def go_on(self) -> None:
        """What is read next is the reply to another request, which goes on from here."""
        self._at, self._streamed, self._problem = 0, None, None
        self.resumed = True

    def cut(self, end: int) -> str | None:
        """Drop the tokens that begin at or after character `end`; the text that is left.

        None if tokens do not tell their text, or if the text does not show all of its last token.
        """
        if "".join(self.strings) != "".join(self.text):
            return None
        size = 0
        for kept, piece in enumerate(self.strings, start=1):
            size += len(piece)
            if size >= end:
                self.text = self.strings[:kept]
                for part in (self.ids, self.logprobs, self.strings, self.tops):
                    del part[kept:]
                break
        return self.said()

    def said(self) -> str:
        """All of the text, thoughts in front."""
        text = "".join(self.text)
        return f"<think>{''.join(self.thought)}</think>{text}" if self.thought else text

    def last_piece(self) -> tuple[int, str]:
        """The number of the first token of the last event, and that event's text."""
        before, size = self._last
        return before, "".join(self.text)[-size:] if size else ""

    def tail(self) -> str | None:
        """The rest of the token that completed a stop string, which servers cut off.

        None if the answer does not tell.
        """
        before, shown = self.last_piece()
        strings = "".join(self.strings[before:])
        return strings[len(shown) :] if strings and strings.startswith(shown) else None


def _once(row: Iterable[tuple[Any, Any]]) -> list[tuple[str, float]]:
    """Every token once: some servers name the sampled one twice."""
    return list(dict.fromkeys((string(token), number(logprob)) for token, logprob in row))
