"""One choice of a stream: what can be told of it after each event of its search."""

from __future__ import annotations

from reasoning.events import Chosen, Done, Drawn, Emitted, Event, Heard, Scored
from reasoning.serve.asking import Asked
from reasoning.serve.refusal import RequestError
from reasoning.serve.telling import Telling
from reasoning.serve.votes import Vote
from reasoning.serve.wording import Hearing, Said, said, so_far


class Choice:
    """What of an answer has been told, and what can be told now.

    Of a strategy that draws one text that text is told as it comes, of a vote the winner's as soon
    as it is settled, of others at the end.
    """

    def __init__(self, asked: Asked) -> None:
        thinking = asked.offer.session.generator.thinking
        parts = thinking is not None and thinking.tokens is not None  # texts come in parts
        self.aloud = asked.offer.single and not parts
        self.said: Said | None = None
        self._asked = asked
        whole = not (self.aloud or parts or asked.offer.steps)
        self._vote = Vote.of(asked.offer.chain) if whole else None
        self._telling = Telling.of(asked)
        self._raw = ""
        self._heard = Hearing()

    def hear(self, event: Event) -> tuple[str, str]:
        """What is to be told of thought and text now. Raises RequestError where all is lost."""
        if isinstance(event, Done):
            return self._end(said(event.result, self._asked))
        progress = _progress(event) if self._asked.progress else ""
        thought = text = ""
        if isinstance(event, Heard):
            if self.aloud and event.path == (0,):
                thought, text = self._more(event.text, event.at)
            else:
                self._heard.take(event)
        elif isinstance(event, (Drawn, Emitted)) and self._vote is not None and not self._raw:
            won = self._vote.heard(event)
            if won:
                self._raw, self._telling = won, Telling.of(self._asked, whole=won)
                thought, text = self._telling.all(won)
        return progress + thought, text

    def _more(self, piece: str, at: int) -> tuple[str, str]:
        """Take in a piece of the text; what is known of it must not have changed."""
        known = self._raw[at : at + len(piece)]
        if at > len(self._raw) or not piece.startswith(known):
            raise _changed()
        new = piece[len(known) :]
        self._raw += new
        return self._telling.feed(new)

    def _end(self, said: Said) -> tuple[str, str]:
        if self._asked.offer.single:
            if self.aloud and self._raw:
                self._heard.take(Heard((0,), 0, self._raw))
            said = so_far(said, self._asked, self._heard)
        self.said = said
        if not self._raw:
            return said.thought, said.text
        node = said.node
        if node is None:  # cut off by a limit: what has been told stands
            return self._telling.finish()
        text = node.text
        if self._raw.startswith(text):  # an engine says a little more before it has stopped
            return self._telling.finish()
        if not text.startswith(self._raw):
            raise _changed()
        first, last = self._telling.feed(text[len(self._raw) :]), self._telling.finish()
        return first[0] + last[0], first[1] + last[1]


def _changed() -> RequestError:
    return RequestError(
        "the model was asked again and said something else than what has been told",
        status=502,
        code="text_changed",
    )


def _progress(event: Event) -> str:
    """A line about what has happened."""
    match event:
        case Drawn():
            return f"drew {_at(event.path)}: {event.tokens} tokens, {event.finish}\n"
        case Scored():
            scores = " ".join(f"{score:.3f}" for score in event.scores) or "failed"
            return f"{event.verifier} of {_at(event.path)}: {scores}\n"
        case Emitted():
            answer = "no answer" if event.answer is None else event.answer
            return f"candidate {_at(event.path)}: {answer}\n"
        case Chosen():
            sure = "" if event.confidence is None else f", confidence {event.confidence:.2f}"
            return f"chosen: {event.answer or 'nothing'}{sure}\n"
    return ""


def _at(path: tuple[int, ...]) -> str:
    return ".".join(map(str, path))
