"""What a server's answer says: pieces of it put together, in one format for all protocols.

Answers come as a stream of events, a few tokens each, or in one piece; from /completions or
/chat/completions; with token ids or without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from reasoning.backends.openai import native
from reasoning.backends.openai.alike import ENOUGH, Pattern, parsed
from reasoning.backends.openai.said import THOUGHTS, ToolCalls, once, spoken
from reasoning.backends.recorded import CHARS_A_TOKEN
from reasoning.errors import TransientError
from reasoning.http.connection import Reply
from reasoning.http.keys import told
from reasoning.http.reading import count, loads, number, shown, string, unreadable

_CHUNK = 1 << 16
"""Bytes of a stream that are kept unread at most."""
_LOOKED = 1 << 13
"""Bytes of new lines in which there are many, if there are."""
_DONE = b"[DONE]"
_FEW = 4
"""Looks at new events before it is found out what they have in common."""
_EVENT = 8
"""Characters of an event, on average, that are more than a token."""
_WRONG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
THINK = ("<think>", "</think>")
"""What stands around a thought unless the recipe says otherwise."""


class Answer:
    """An answer as far as it has come. `read` it from a reply as often as you like.

    opened: what it goes on from ends within a thought; None if so, and the server is not known to
    set the rest of that thought apart, too.
    marks: what stands around thoughts that a server sets apart.
    skips: the server may say this once more before it goes on from it.
    """

    def __init__(
        self, opened: bool | None = False, marks: tuple[str, str] = THINK, skips: str = ""
    ) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float | None] = []
        self.strings: list[str] = []
        """Each token's text, or "token_id:N"."""
        self.tops: list[list[tuple[str, float]]] = []
        """The likeliest tokens at each, with their log-probabilities."""
        self.pieces = 0
        """Events that brought anything."""
        self.reason: Any = None
        self.stopped_by: Any = None
        self.usage: Mapping[str, Any] = {}
        self.extra: Mapping[str, Any] = {}
        """The first choice as it came."""
        self.tools = ToolCalls()
        self._native = native.Said()
        self._pattern: Pattern | None = None
        self._looks, self._worth = 0, _FEW
        self.fingerprint = ""
        """What the server says of its build, if it does."""
        self.thinks = False
        """A part of it came as a thought, set apart."""
        self.done = False
        """The stream has ended as streams do."""
        self.resumed = False
        """It was put together from the replies to several requests."""
        self.garbled = False
        """Something in it could not be read, so nothing can go on from it."""
        self._said: list[str] = []
        self._size = 0
        self._inside = opened
        self._skips = skips
        self.marks = marks
        self._scanned, self._before = 0, ""
        self._told = 0
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
        many = self._size > _EVENT * self.pieces
        return math.ceil(self._size / CHARS_A_TOKEN) if many else self.pieces

    def read(self, reply: Reply) -> None:
        """Take in what is new. Raises TransientError if it cannot be understood."""
        if self._problem is not None:
            raise self._problem
        if self._streamed is None and reply.status:
            self._streamed = reply.streamed
        try:
            if self._streamed:
                if lines := self._lines(reply):
                    self._take_lines(lines)
            elif reply.whole and not self._at:
                self._at = len(reply.body)
                self._take(loads(reply.body))
        except TransientError as error:
            self._problem = error
            raise
        except _WRONG as error:
            self.garbled = True
            self._problem = unreadable(error)
            raise self._problem from error

    def watch(self, reply: Reply) -> bool:
        """Read a long stream before it takes up much memory."""
        if len(reply.body) - self._at > _CHUNK:
            self._read_on(reply)
        return False

    def until(self, stop: Sequence[str], reply: Reply) -> bool:
        """Read a stream as it comes; whether it has come to one of the strings."""
        self._read_on(reply)
        new = self._before + "".join(self._said[self._scanned :])
        self._scanned = len(self._said)
        longest = max([len(s) for s in stop])
        self._before = new[1 - longest :] if longest > 1 else ""
        for s in stop:  # noqa: SIM110 (it is asked at every token)
            if s in new:
                return True
        return False

    def aloud(self, hear: Callable[[str], None], stop: Sequence[str], reply: Reply) -> bool:
        """Read a stream as it comes, and tell what is new; whether it has come to a string."""
        over = False
        if stop:
            over = self.until(stop, reply)
        else:
            self._read_on(reply)
        told, self._told = self._told, len(self._said)
        if new := "".join(self._said[told:]):
            hear(new)
        return over

    def _read_on(self, reply: Reply) -> None:
        try:  # noqa: SIM105 (it is done at every token)
            self.read(reply)
        except TransientError:
            pass  # raised again when the whole is read
        if self._streamed:
            del reply.body[: self._at]
            self._at = 0

    def ended(self, reply: Reply) -> bool:
        """Whether a whole reply has its end: not so if it stops as streams do, and says no why."""
        with suppress(TransientError):
            self.read(reply)
        return self.over or not self.done

    def _lines(self, reply: Reply) -> bytes:
        """Those that have come as a whole."""
        begin, end = self._at, reply.body.rfind(b"\n") + 1
        self._at = max(begin, end)
        with memoryview(reply.body) as body:
            return bytes(body[begin:end])

    def _take_lines(self, lines: bytes) -> None:
        """Take in events, those together that say a text and nothing else."""
        if lines.count(b"\n", 0, _LOOKED) < 2 * ENOUGH:
            if (pattern := self._pattern) and (texts := pattern.few(lines)) is not None:
                self._say_all(texts, pattern.thought)
                return
        else:
            at = lines.find(b"data:", len(lines) // 2)
            likely = lines[at : lines.find(b"\n", at)][5:].strip()
            pattern = self._pattern
            if pattern is None or not likely.startswith(pattern.before):
                pattern = self._pattern = Pattern.of(likely)
            if pattern is not None and (run := pattern.run(lines)):
                self._take_each(run.head)  # in which another pattern may be found
                self._say_all(run.texts, pattern.thought)
                lines = run.tail
        self._take_each(lines)

    def _take_each(self, lines: bytes) -> None:
        events = [line[5:].strip() for line in lines.split(b"\n") if line.startswith(b"data:")]
        if _DONE in events:
            self.done = True
        for event in parsed([event for event in events if event and event != _DONE]):
            self._take(event)
        self._looks += bool(events)
        if events and self._looks >= self._worth:  # what they have in common is worth knowing
            self._pattern, self._worth = Pattern.of(events[0]), 4 * self._worth

    def _say_all(self, texts: Iterable[str], thought: bool) -> None:
        """Take in events that say a text, and nothing else."""
        left = [text for text in texts if text]
        while left and (self._skips or (self._inside or False) is not thought):
            text = left.pop(0)
            self._choice({"delta": {THOUGHTS[0] if thought else "content": text}})
        if left:
            self._said += left
            self._size += len("".join(left))
            self.pieces += len(left)
            self._last = (len(self.strings), len(left[-1]))

    def _take(self, event: Mapping[str, Any]) -> None:
        if "choices" not in event and "meta_info" in event:
            event = self._native.event(event)
        error = event.get("error") or (event if event.get("object") == "error" else None)
        if error:
            message = error.get("message") if isinstance(error, dict) else error
            raise TransientError(f"the server broke off: {told(str(message))}")
        usage = event.get("usage")
        if usage and isinstance(usage, dict):
            self.usage = usage
        if not self.fingerprint and (build := event.get("system_fingerprint")):
            self.fingerprint = str(build)
        for choice in event.get("choices") or ():
            self.extra = self.extra or choice
            self._choice(choice)
        if usage and not isinstance(usage, dict):
            raise TypeError(f"usage is {shown(usage)}")

    def _choice(self, choice: dict[str, Any]) -> None:
        said: Mapping[str, Any] = choice.get("delta") or choice.get("message") or choice
        before = len(self.strings)
        # Tokens first: they are paid for, also where the rest cannot be read.
        if ids := choice.get("token_ids"):
            if not isinstance(ids, list) or any(count(i) is None for i in ids):
                raise TypeError(f"token_ids is {shown(ids)}")
            self.ids += ids
        size = self._size
        if said is not choice:
            for thought, text in spoken(said):
                self._say(thought, text)
            self._size += self.tools.take(said)
        elif said.get("text"):
            self._say(False, string(said["text"]))
        new = self._size - size
        if new or ids:
            self.pieces += 1
        if logprobs := choice.get("logprobs"):
            self._take_logprobs(logprobs)
        if new or ids:
            self._last = (before, new)
        if reason := choice.get("finish_reason"):
            self.reason = reason
            stopped = choice.get("stop_reason")
            self.stopped_by = choice.get("matched_stop") if stopped is None else stopped

    def _say(self, thought: bool, text: str) -> None:
        """Add to the text, with a mark where a thought begins or ends.

        A thought is ended by what comes behind it, and by nothing else: the next call goes on with
        one that is open.
        """
        self._size += len(text)
        if self._skips:
            same = min(len(text), len(self._skips))
            again = text[:same] == self._skips[:same]
            self._skips = self._skips[same:] if again else ""
            text = text[same:] if again else text
            if not text:
                return
        if thought is not self._inside and (thought or self._inside is not None):
            if self._inside is not None:
                self._said.append(self.marks[not thought])
            self._inside = thought
        self.thinks |= thought
        self._said.append(text)

    def _take_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        if (content := logprobs.get("content")) is not None:  # chat, llama.cpp everywhere
            for token in content:
                self.logprobs.append(number(token["logprob"]))
                self.strings.append(string(token["token"]))
                self.tops.append(once(token.get("top_logprobs") or ()))
            return
        given = logprobs.get("token_logprobs") or ()
        self.logprobs += [None if p is None else number(p) for p in given]
        self.strings += [string(s) for s in logprobs.get("tokens") or ()]
        for row in logprobs.get("top_logprobs") or ():
            pairs = (row or {}).items()
            self.tops.append([(string(token), number(logprob)) for token, logprob in pairs])

    def go_on(self) -> None:
        """What is read next is the reply to another request, which goes on from here."""
        self._at, self._streamed, self._problem = 0, None, None
        self.resumed, self.done = True, False

    def cut(self, end: int) -> str | None:
        """Drop the tokens that begin at or after character `end`; the text that is left.

        None if tokens do not tell their text, or if the text does not show all of its last token.
        """
        if "".join(self.strings) != self.said():
            return None
        size = 0
        for kept, piece in enumerate(self.strings, start=1):
            size += len(piece)
            if size >= end:
                self._said = self.strings[:kept]
                for part in (self.ids, self.logprobs, self.strings, self.tops):
                    del part[kept:]
                break
        return self.said()

    def said(self) -> str:
        """All of the text, thoughts between their marks. One that is not over is left open."""
        return "".join(self._said)

    def last_piece(self) -> tuple[int, str]:
        """The number of the first token of the last event, and that event's text."""
        before, size = self._last
        return before, self.said()[-size:] if size else ""

    def tail(self) -> str | None:
        """The rest of the token that completed a stop string, which servers cut off.

        None if the answer does not tell.
        """
        before, shown = self.last_piece()
        strings = "".join(self.strings[before:])
        return strings[len(shown) :] if strings and strings.startswith(shown) else None
