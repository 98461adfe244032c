"""Finds out which fields of `Sampling` a server knows: by what it refuses, and by what it does.

A server that does not know a field may refuse it or ignore it. One that refuses nonsense in it
knows it; one that takes nonsense is watched: hot, but bound to the likeliest token, it must say
what it says greedily.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from reasoning.backends.openai.fields import OFF, STANDARD, json_schema
from reasoning.backends.openai.request import Abilities, names
from reasoning.errors import GenerationError, TransientError

Post: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[str]]
"""The text that answers a request with these fields. Raises as the pool does."""

_WORD = "7x"
_SCHEMA = {
    "type": "object",
    "properties": {"q7": {"type": "integer"}},
    "required": ["q7"],
    "additionalProperties": False,
}
_BOUNDS: Mapping[str, Mapping[str, Any]] = {
    "structured_outputs": {"structured_outputs": {"choice": [_WORD]}},
    "guided": {"guided_choice": [_WORD]},
    "regex": {"regex": _WORD},
}


async def accepted(post: Post) -> tuple[dict[str, float], frozenset[str]]:
    """The fields that may be sent, with the values that mean nothing; and those that are refused.

    All at once; of those that a refusal names the next value is tried, or they are dropped. A
    server that does not say what it refuses is asked about each.
    """
    ask = _Fields(post)
    left = {wire: list(values) for wire, (_, values) in OFF.items()}
    found: dict[str, float] = {}
    while left:
        off = {wire: values[0] for wire, values in left.items()}
        if not await ask.refused(off):
            found = off
            break
        named = [wire for wire in left if names(ask.refusal, wire)]
        for wire in named:
            del left[wire][0]
            if not left[wire]:
                del left[wire]
        if not named:
            for wire, values in left.items():
                for value in values:
                    if not await ask.refused({wire: value}):
                        found[wire] = value
                        break
            break
    return found, frozenset(OFF) - found.keys()


async def with_fields(able: Abilities, post: Post) -> Abilities:
    """With the fields that the server does what they say. Raises as the pool does."""
    ask, off = _Fields(post), able.off
    known = {wire for wire in off if wire in STANDARD or await ask.knows(wire, off)}
    same = [wire for wire, (name, _) in OFF.items() if name == "repetition_penalty"]
    if known.intersection(same):  # of two names for one field the one that counts is enough
        off = {wire: value for wire, value in off.items() if wire in known or wire not in same}
    knows = {OFF[wire][0] for wire in known}
    if await ask.refused({"logit_bias": "none"}) and not await ask.refused({"logit_bias": {}}):
        knows.add("logit_bias")
    bounds = await ask.bounds()
    if bounds:
        knows |= {"choice", "regex"}
    if bounds in ("structured_outputs", "guided") or await ask.writes_json():
        knows.add("json_schema")
    return replace(able, off=off, knows=frozenset(knows), bounds=bounds)


class _Fields:
    """What is asked about fields. `refusal` is the last no."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._greedy: str | None = None
        self._hot: str | None = None
        self.refusal = ""

    async def said(self, fields: Mapping[str, Any]) -> str | None:
        """The text that comes with these fields; None if the server refuses them.

        Some answer with an error of their own (500) to what they should refuse.
        """
        try:
            return await self._post(fields)
        except GenerationError as error:
            self.refusal = str(error)
        except TransientError as error:
            self.refusal = str(error)
            if " answered 5" not in self.refusal:
                raise
        return None

    async def refused(self, fields: Mapping[str, Any]) -> bool:
        return await self.said(fields) is None

    async def knows(self, wire: str, off: Mapping[str, float]) -> bool:
        """Whether the server does what the field says."""
        if await self.refused({wire: "none"}):
            return True
        if self._greedy is None:
            self._greedy = await self.said(off) or ""
            self._hot = await self.said({**off, "temperature": 2.0})
        if not self._greedy:
            return False
        if wire in ("top_k", "min_p"):
            bound = await self.said({**off, "temperature": 2.0, wire: 1})
            return self._greedy != self._hot and bound == self._greedy
        if OFF[wire][0] == "repetition_penalty":
            return await self.said({**off, wire: 10.0}) not in (None, self._greedy)
        return False

    async def bounds(self) -> str:
        """How the server is told what form a text must have; empty where it cannot be."""
        for name, fields in _BOUNDS.items():
            if (await self.said(fields) or "").strip() == _WORD:
                return name
        return ""

    async def writes_json(self) -> bool:
        said = (await self.said(json_schema(_SCHEMA)) or "").lstrip()
        return said.startswith("{") and '"q7"' in said
