"""From what a model says, piece by piece, to thoughts and the text that a client reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoning.answers.thoughts import MARK, SIGN

if TYPE_CHECKING:
    from reasoning.serve.asking import Asked

_MAY_BE_A_MARK = re.compile(r"<\|[^<]{0,200}\Z|<[^<]{0,40}\Z|\[[A-Z /]{0,24}\Z|◁[/a-z?]{0,12}\Z")


class Telling:
    """Tells thoughts from text, and cuts the text at the first of the `stop` strings.

    What may be the beginning of a mark or of a stop string is held back until more has come.
    `inside`: the text begins with a thought. `end` is a mark of the model's own.
    """

    def __init__(self, stop: Sequence[str], *, inside: bool = False, end: str = "") -> None:
        self.stopped = False
        self._stop = tuple(stop)
        self._mark = _with(end)
        self._plain = not (stop or end)
        self._inside = inside
        self._thought = inside
        self._said = False
        self._pending = ""
        self._text = ""

    @classmethod
    def of(cls, asked: Asked, whole: str | None = None) -> Telling:
        """For the answer to a request; `whole` where all of it is known."""
        thinking = asked.offer.session.generator.thinking
        end = "" if thinking is None else thinking.end
        inside = thinking is not None
        if whole is not None:
            first = _with(end).search(whole)
            inside = first is not None and not first.groupdict().get("open")
        return cls(asked.stop, inside=inside, end=end)

    @classmethod
    def whole(cls, asked: Asked, text: str) -> tuple[str, str, bool]:
        """Thought and text of a whole answer to a request, and whether a stop string has cut it."""
        thinking = asked.offer.session.generator.thinking
        if not asked.stop and thinking is None and not SIGN.search(text):
            return "", text, False
        telling = cls.of(asked, whole=text)
        return *telling.all(text), telling.stopped

    def all(self, text: str) -> tuple[str, str]:
        """Thought and text of a whole answer."""
        first, last = self.feed(text), self.finish()
        return first[0] + last[0], first[1] + last[1]

    def feed(self, piece: str) -> tuple[str, str]:
        """Take in more; what can be told of thought and text by now."""
        begins = "<" in piece or "[" in piece or "◁" in piece  # a mark, perhaps
        if self._plain and self._said and not (begins or self._pending or self._inside):
            return "", piece
        self._pending += piece
        thoughts, texts = [], []
        while found := self._mark.search(self._pending):
            thought, text = self._part(self._pending[: found.start()], over=True)
            thoughts.append(thought)
            texts.append(text)
            self._inside = bool(found.groupdict().get("open"))
            self._thought = True
            self._pending = self._pending[found.end() :]
        held = _MAY_BE_A_MARK.search(self._pending)
        at = held.start() if held else len(self._pending)
        thought, text = self._part(self._pending[:at])
        self._pending = self._pending[at:]
        return "".join([*thoughts, thought]), "".join([*texts, text])

    def finish(self) -> tuple[str, str]:
        """What is left when nothing more comes."""
        left, self._pending = self._pending, ""
        return self._part(left, over=True)

    def _part(self, piece: str, *, over: bool = False) -> tuple[str, str]:
        """A piece without marks, as (thought, text); `over`: a mark, or nothing, follows."""
        if self._inside:
            return piece, ""
        if self._thought and not self._said:
            piece = piece.lstrip()
        self._text += piece
        self._said |= bool(self._text)
        if self.stopped:
            return "", ""
        ends = [at for s in self._stop if (at := self._text.find(s)) >= 0]
        if ends:
            self.stopped = True
            return "", self._text[: min(ends)]
        keep = 0 if over else max((_begun(self._text, s) for s in self._stop), default=0)
        told = self._text[: len(self._text) - keep]
        self._text = self._text[len(self._text) - keep :]
        return "", told


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if stop.startswith(text[-n:])), 0)


def _with(end: str) -> re.Pattern[str]:
    return re.compile(f"{MARK.pattern}|{re.escape(end)}") if end else MARK
