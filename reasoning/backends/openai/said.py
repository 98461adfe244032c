"""What a message says: text, thoughts, and calls of tools, whatever form a server gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from reasoning.http.reading import number, shown, string

THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields in which servers set thoughts apart."""


def spoken(said: Mapping[str, Any]) -> Iterable[tuple[bool, str]]:
    """The pieces of a message or of what comes to one, in order; True stands for a thought.

    Raises TypeError for what is none.
    """
    content = said.get("content")
    for field in THOUGHTS:
        if thought := said.get(field):
            return chain(((True, text) for _, text in _parts(thought)), _parts(content))
    if isinstance(content, str):  # the usual case, quickly
        return ((False, content),) if content else ()
    return _parts(content)


def _parts(content: Any) -> Iterator[tuple[bool, str]]:
    """Text, or the parts that Mistral's models and others give it in."""
    if not content:
        return
    if not isinstance(content, list):
        yield False, string(content)
        return
    for part in content:
        if not isinstance(part, Mapping):
            raise TypeError(f"a part of a text is {shown(part)}")
        for field in ("thinking", "reasoning"):
            yield from ((True, text) for _, text in _parts(part.get(field)))
        thought = str(part.get("type")) in ("thinking", "reasoning")
        yield from ((thought, text) for _, text in _parts(part.get("text")))


class ToolCalls:
    """The calls of tools in an answer, put together from what comes of each."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}

    def take(self, said: Mapping[str, Any]) -> int:
        """Take in what a message, or a piece of one, says of calls; its size in characters.

        Raises TypeError for what is none.
        """
        if "tool_calls" not in said and "function_call" not in said:
            return 0
        given = said.get("tool_calls") or ()
        if old := said.get("function_call"):
            given = [*given, {"index": 0, "function": old}]
        return sum([self._take(call) for call in given])

    def _take(self, piece: Mapping[str, Any]) -> int:
        index = piece.get("index")
        if not isinstance(index, int):  # whole calls come without; a piece goes on with the last
            index = len(self._calls) - (0 if piece.get("id") or not self._calls else 1)
        call = self._calls.setdefault(index, {"type": "function", "function": {}})
        for field in ("id", "type"):
            if piece.get(field):
                call[field] = string(piece[field])
        function = piece.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        known = call["function"]
        known["name"] = known.get("name", "") + string(name)
        known["arguments"] = known.get("arguments", "") + arguments
        return len(name) + len(arguments)

    def whole(self) -> list[dict[str, Any]]:
        """The calls, in order."""
        return [self._calls[index] for index in sorted(self._calls)]


def once(row: Iterable[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """The likeliest tokens with their log-probabilities, each once: some servers name the sampled
    one twice. Tokens of one text are told apart by their bytes, else by their log-probabilities."""
    found: dict[Any, tuple[str, float]] = {}
    for top in row:
        token, logprob = string(top["token"]), number(top["logprob"])
        spelled = top.get("bytes")
        key = tuple(spelled) if isinstance(spelled, list) and spelled else round(logprob, 4)
        found.setdefault((token, key), (token, logprob))
    return list(found.values())
