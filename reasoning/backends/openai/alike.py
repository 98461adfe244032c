"""Events of a stream that differ in their text alone, as nearly all of a chat do, read together.

To parse such an event and to look at its fields costs more than to see that it has the beginning
and the end of another one, between which a string stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

ENOUGH = 12
"""Events that are worth looking for what they have in common."""
_TEXT = re.compile(rb'"(?:content|text)": ?"((?:[^"\\]|\\.)*)"')
_WRONG = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Pattern(NamedTuple):
    """What stands before and after the text, its quotes included."""

    before: bytes
    after: bytes

    @classmethod
    def of(cls, event: bytes) -> Pattern | None:
        """That of an event which says some text, and nothing else that matters."""
        with suppress(*_WRONG):
            for found in _TEXT.finditer(event):
                pattern = cls(event[: found.start(1)], event[found.end(1) :])
                probe = json.loads(b"%b?%b" % pattern)
                if _silenced(json.loads(event)) == _silenced(probe, "?"):
                    return pattern
        return None

    def fits(self, event: bytes) -> bool:
        return event.startswith(self.before) and event.endswith(self.after)

    def texts(self, events: Sequence[bytes]) -> list[str] | None:
        """The text of each of `events`, which fit; None if one is not as it seems."""
        begin, end = len(self.before), len(self.after)
        said = [event[begin:-end] for event in events]
        if any(text.endswith(b"\\") for text in said):  # it might swallow the quote behind it
            return None
        with suppress(ValueError):
            texts: list[str] = json.loads(b'["%b"]' % b'","'.join(said))
            if len(texts) == len(events):
                return texts
        return None


def parsed(events: Sequence[bytes]) -> Iterable[dict[str, Any]]:
    """Each of them as JSON."""
    with suppress(ValueError, RecursionError):  # one by one they show which is at fault
        found = json.loads(b"[%b]" % b",".join(events))
        if len(found) == len(events):
            return cast(list[dict[str, Any]], found)
    return map(json.loads, events)


def _silenced(event: dict[str, Any], text: str | None = None) -> dict[str, Any]:
    """The event without its text, which is `text` if given. Raises ValueError if there is more to
    it than a text: token ids, log-probabilities, a thought, a tool, an end."""
    [choice] = event["choices"]
    said = choice.get("delta") or choice
    field = "text" if said is choice else "content"
    more = {k for k, v in said.items() if v} - {field, "role", "index"}
    more |= {k for k, v in choice.items() if v} - {"delta", "text", "index"}
    if more or event.get("usage") or not isinstance(said[field], str):
        raise ValueError(f"an event with {more}")
    if text is not None and said[field] != text:
        raise ValueError("that was not the text")
    said[field] = ""
    return event
