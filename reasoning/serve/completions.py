"""The words of /v1/completions: a prompt is what the user says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from reasoning.serve.asking import Asked
from reasoning.serve.chat import DONE
from reasoning.serve.likely import of_completion
from reasoning.serve.refusal import RequestError
from reasoning.serve.streams import Blocks, block
from reasoning.serve.wording import Said, summary, usage

_REFUSED = {
    "messages": "a prompt is what /completions takes; messages go to /chat/completions",
    "suffix": "nothing is filled in here",
    "echo": "the prompt does not come back",
    "tools": "calls of tools are no text; /chat/completions takes tools",
}


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as one of /chat/completions. Raises RequestError."""
    found = dict(body)
    for name, why in _REFUSED.items():
        if found.pop(name, None):
            raise RequestError(f"{name} is not supported: {why}", param=name)
    likely = found.pop("logprobs", None)
    if likely is not None:
        if isinstance(likely, bool) or not isinstance(likely, int):
            raise RequestError("logprobs is a whole number, of likeliest tokens", param="logprobs")
        found |= {"logprobs": True, "top_logprobs": likely}
    prompt = found.pop("prompt", None)
    if isinstance(prompt, list) and len(prompt) == 1:
        (prompt,) = prompt
    if not isinstance(prompt, str) or not prompt.strip():
        raise RequestError(
            "prompt is one text that asks something; token ids and several prompts are not taken",
            param="prompt",
        )
    return {**found, "messages": [{"role": "user", "content": prompt}]}


def whole(asked: Asked, found: Sequence[Said], name: str) -> dict[str, Any]:
    """The answer called `name`, with all its choices."""
    choices = [_choice(asked, i, said, said.text) for i, said in enumerate(found)]
    return {**_head(asked, name), "choices": choices, "usage": usage(found)}


class CompletionStream:
    """A `Scribe`."""

    def __init__(self, asked: Asked, name: str) -> None:
        self._asked = asked
        self._head = _head(asked, name)

    def opening(self) -> Blocks:
        return []

    def more(self, i: int, thought: str, text: str) -> Blocks:
        piece = {"index": i, "text": text, "logprobs": None, "finish_reason": None}
        if thought:
            piece["reasoning_content"] = thought
        return [block({**self._head, "choices": [piece]})]

    def closing(self, i: int, said: Said) -> Blocks:
        last = _choice(self._asked, i, said, "")
        last.pop("reasoning_content", None)
        return [block({**self._head, "choices": [last]})]

    def ending(self, found: Sequence[Said]) -> Blocks:
        if not self._asked.usage:
            return [DONE]
        return [block({**self._head, "choices": [], "usage": usage(found)}), DONE]


def _head(asked: Asked, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "text_completion",
        "created": int(time.time()),
        "model": asked.offer.name,
    }


def _choice(asked: Asked, i: int, said: Said, text: str) -> dict[str, Any]:
    found = {
        "index": i,
        "text": text,
        "logprobs": of_completion(said, asked.logprobs),
        "finish_reason": "stop" if said.ended == "tool_calls" else said.ended,
        "search": summary(asked, said.result),
    }
    if said.thought:
        found["reasoning_content"] = said.thought
    return found
