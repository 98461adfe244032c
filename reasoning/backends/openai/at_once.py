"""Whole answers that are a text and nothing else: asked for and read with the least work.

Most are, of those that nobody looks at before their end. What there is more to, in the call or in
what comes back, is left to `calling`, `answer` and `sampled`, which would make the same of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasoning.backends.openai import fields
from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.request import Abilities
from reasoning.errors import TransientError
from reasoning.generate import Prompt, Sampling
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
from reasoning.http.reading import count, loads
from reasoning.once import Once
from reasoning.tree import Finish, Sample

PATH = "chat/completions"
_ENDS: Mapping[Any, Finish] = {"stop": "end", "length": "length"}
_TEXT = frozenset(("role", "content"))
_CHOICE = frozenset(("index", "message", "finish_reason", "stop_reason", "matched_stop"))
_WRONG = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def _way(able: Abilities, params: Sampling) -> Mapping[str, Any] | None:
    """What is asked for besides the messages, in all calls that sample alike; of a seed only that
    there is one. None where more than the text of an answer is of use, or the server may refuse."""
    read = params.stop or params.tools or params.confidence_k or params.top_logprobs
    named = any(isinstance(token, str) for token in params.logit_bias)
    plain = able.mode == "chat" and able.streams and able.counts
    if read or named or not plain or not fields.needs(params) <= able.found:
        return None
    asked = fields.body(able, params, seed=0, model="", prompt={}, extra={}, logprobs=False)
    return {k: v for k, v in asked.items() if k not in ("model", "stream", "stream_options")}


way = Once(_way)


def is_plain(prompt: Prompt) -> bool:
    """Whether it is a question whose answer has not begun, and nothing is read but its text."""
    more = prompt.logprobs or prompt.hear or prompt.begun or prompt.suffix or prompt.turn
    if more or prompt.parent.parent is not None:
        return False
    return not any(message.more for message in prompt.problem.messages)


def said(reply: Reply, most: int) -> tuple[Sample, str] | None:
    """The sample of a reply that says a text, why it ended and what was counted, with what is told
    of the server's build; None if there is more to it, or less."""
    try:
        found = loads(reply.body)
        (choice,), usage = found["choices"], found["usage"]
        message, end = choice["message"], _ENDS[choice["finish_reason"]]
        text, size = message["content"], count(usage["completion_tokens"])
        asked, details = count(usage["prompt_tokens"]), usage.get("prompt_tokens_details") or {}
        cached = count(details.get("cached_tokens")) or 0
        thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
        more = [k for k, v in message.items() if v and k not in _TEXT]
        more += [k for k, v in choice.items() if v and k not in _CHOICE]
    except _WRONG:
        return None
    if more or thought or found.get("error") or found.get("object") == "error":
        return None
    if not (type(text) is str and text and size and size <= most and asked):
        return None
    sample = Sample(
        text,
        finish=end,
        prompt_tokens=asked,
        cached_tokens=min(asked, cached),
        generated_tokens=size,
    )
    return sample, str(found.get("system_fingerprint") or "")


class AtOnce:
    """One such call. `found` is what came of it, `answer` what there is to read if that is None."""

    def __init__(self, most: int, marks: tuple[str, str]) -> None:
        self.reply = Reply()
        self.found: Sample | None = None
        self.build = ""
        self.answer: Answer | None = None
        self._most = most
        self._marks = marks

    async def ask(self, pool: Pool, body: Mapping[str, Any], **how: Any) -> None:
        """Raises as the pool does, and TransientError for half an answer."""
        await pool.exchange(PATH, body, self.reply, ended=self._ended, **how)
        if self.answer is not None:
            self.answer.read(self.reply)
            if not self.answer.over:
                raise TransientError("the server's answer ended in the middle")

    def _ended(self) -> bool:
        if not self.reply.streamed:
            plainly = said(self.reply, self._most)
            if plainly is not None:
                self.found, self.build = plainly
                return True
        self.answer = Answer(marks=self._marks)
        return self.answer.ended(self.reply)

    @property
    def tokens(self) -> int | None:
        """Generated; None if nobody has told."""
        if self.found is not None:
            return self.found.generated_tokens
        return self.answer.tokens if self.answer is not None and self.answer.over else None
