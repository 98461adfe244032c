"""Events of a stream that differ in their text alone, as nearly all of a chat do, read together.

To parse such an event and to look at its fields costs more than to see that it has the beginning
and the end of another one, between which a string stands. A run of them is one list of strings in
JSON, once what stands between two texts is replaced by a comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

from reasoning.backends.openai.said import THOUGHTS
from reasoning.http.reading import loads

ENOUGH = 12
"""Events that are worth looking for what they have in common."""
_FIELDS = ("content", "text", *THOUGHTS)
_TEXT = re.compile(rb'"(?:%b)": ?"((?:[^"\\]|\\.)*)"' % "|".join(_FIELDS).encode())
_WRONG = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Run(NamedTuple):
    """The texts of events one after another, and the lines before and behind them."""

    head: bytes
    texts: list[str]
    tail: bytes


class Pattern(NamedTuple):
    """What stands before and after the text, its quotes included; whether it is a thought."""

    before: bytes
    after: bytes
    thought: bool

    @classmethod
    def of(cls, event: bytes) -> Pattern | None:
        """That of an event which says some text, and nothing else that matters."""
        with suppress(*_WRONG):
            for found in _TEXT.finditer(event):
                before, after = event[: found.start(1)], event[found.end(1) :]
                said, thought = _silenced(loads(event))
                if _silenced(loads(b"%b?%b" % (before, after)), "?") == (said, thought):
                    return cls(before, after, thought)
        return None

    def few(self, lines: bytes) -> list[str] | None:
        """The texts, if `lines` are some such events and nothing else."""
        begin, end = b"data: " + self.before, self.after
        *events, rest = lines.split(b"\n\n")
        if rest:
            return None
        said = []
        for event in events:
            if not (event.startswith(begin) and event.endswith(end, len(begin))):
                return None
            said.append(event[len(begin) : len(event) - len(end)])
        return _texts(said)

    def run(self, lines: bytes) -> Run | None:
        """A run of such events in whole lines of a stream, if nothing else stands in between.

        The first is left in `head` and the last in `tail`: it may say more than a text.
        """
        begin, end = b"data: " + self.before, self.after + b"\n\n"
        between = end + begin
        first = lines.find(begin)
        if first < 0 or (first and not lines.endswith(b"\n", 0, first)):
            return None
        start = lines.find(b"\n\n", first) + 2
        stop = lines.rfind(between, start)
        if stop < start + len(begin) or not lines.startswith(begin, start):
            return None
        # To cut at each `between` would be to search for it: instead events are cut at their ends,
        # all at the same two places, and put together again to see whether that was right.
        events = lines[start : stop + len(self.after)].split(b"\n")[::2]
        said = [event[len(begin) : len(event) - len(self.after)] for event in events]
        if between.join(said) != lines[start + len(begin) : stop]:
            return None
        texts = _texts(said)
        return None if texts is None else Run(lines[:start], texts, lines[stop + len(end) :])


def _texts(said: Sequence[bytes]) -> list[str] | None:
    """What stands between the quotes of as many strings in JSON; None if one is none."""
    listed = b'["%b"]' % b'","'.join(said)
    # A backslash might swallow the quote behind it; a new line is of something else.
    if b'\\",' in listed or b'\\"]' in listed[-3:] or b"\n" in listed:
        return None
    with suppress(ValueError):
        texts: list[str] = loads(listed)
        if len(texts) == len(said):
            return texts
    return None


def parsed(events: Sequence[bytes]) -> Iterable[dict[str, Any]]:
    """Each of them as JSON."""
    with suppress(ValueError, RecursionError):  # one by one they show which is at fault
        found = loads(b"[%b]" % b",".join(events))
        if len(found) == len(events):
            return cast(list[dict[str, Any]], found)
    return map(loads, events)


def _silenced(event: dict[str, Any], text: str | None = None) -> tuple[dict[str, Any], bool]:
    """The event without its text, which is `text` if given, and whether that is a thought.

    Raises ValueError if there is more to it than a text: token ids, log-probabilities, a tool, an
    end, a thought and another text.
    """
    [choice] = event["choices"]
    said = choice.get("delta") or choice
    known = ("text",) if said is choice else ("content", *THOUGHTS)
    [field] = [k for k in known if said.get(k)] or known[:1]
    more = {k for k, v in said.items() if v} - {field, "role", "index"}
    more |= {k for k, v in choice.items() if v} - {"delta", "text", "index"}
    if more or event.get("usage") or not isinstance(said[field], str):
        raise ValueError(f"an event with {more}")
    if text is not None and said[field] != text:
        raise ValueError("that was not the text")
    said[field] = ""
    return event, field in THOUGHTS
