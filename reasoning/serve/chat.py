"""The words of /v1/chat/completions, in one piece and as a stream."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from reasoning.http.reading import dumps
from reasoning.serve.asking import Asked
from reasoning.serve.likely import of_chat
from reasoning.serve.streams import Blocks, block
from reasoning.serve.wording import Said, message, summary, usage

DONE = b"data: [DONE]\n\n"
_HERE = "here"


def whole(asked: Asked, found: Sequence[Said], name: str) -> dict[str, Any]:
    """The answer called `name`, with all its choices."""
    return {
        "id": name,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.offer.name,
        "choices": [
            {
                "index": i,
                "message": message(said),
                "finish_reason": said.ended,
                "logprobs": of_chat(said, asked.logprobs),
                "search": summary(asked, said.result),
            }
            for i, said in enumerate(found)
        ],
        "usage": usage(found),
    }


class ChatStream:
    """A `Scribe`. Every choice begins with its role and ends with its reason, as clients expect."""

    def __init__(self, asked: Asked, name: str) -> None:
        self._asked = asked
        self._head = {
            "id": name,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": asked.offer.name,
        }
        if asked.usage:
            self._head["usage"] = None
        self._frames: dict[tuple[int, str], tuple[bytes, bytes]] = {}

    def opening(self) -> Blocks:
        role = {"role": "assistant", "content": ""}
        return [self._chunk(i, role) for i in range(self._asked.n)]

    def more(self, i: int, thought: str, text: str) -> Blocks:
        found = []
        if thought:
            found.append(self._piece(i, "reasoning_content", thought))
        if text:
            found.append(self._piece(i, "content", text))
        return found

    def _piece(self, i: int, field: str, text: str) -> bytes:
        """A piece of text, between what all of them have in common."""
        if (i, field) not in self._frames:
            before, _, after = self._chunk(i, {field: _HERE}).rpartition(dumps(_HERE))
            self._frames[i, field] = before, after
        before, after = self._frames[i, field]
        return b"%b%b%b" % (before, dumps(text), after)

    def closing(self, i: int, said: Said) -> Blocks:
        pieces = [piece for k, call in enumerate(said.calls) for piece in _pieces(k, call)]
        told = {
            "finish_reason": said.ended,
            "logprobs": of_chat(said, self._asked.logprobs),
            "search": summary(self._asked, said.result),
        }
        return [
            *[self._chunk(i, {"tool_calls": [piece]}) for piece in pieces],
            self._chunk(i, {}, **told),
        ]

    def ending(self, found: Sequence[Said]) -> Blocks:
        if not self._asked.usage:
            return [DONE]
        return [block({**self._head, "choices": [], "usage": usage(found)}), DONE]

    def _chunk(self, i: int, delta: dict[str, Any], **more: Any) -> bytes:
        choice = {"index": i, "delta": delta, "finish_reason": None, "logprobs": None, **more}
        return block({**self._head, "choices": [choice]})


def _pieces(k: int, call: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Call number `k` as it comes in a stream: who is called, then with what."""
    function = call.get("function") or {}
    called = {"name": function.get("name", ""), "arguments": ""}
    return [
        {"index": k, "id": call["id"], "type": "function", "function": called},
        {"index": k, "function": {"arguments": function.get("arguments", "")}},
    ]
