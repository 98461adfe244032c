"""Log-probabilities of an answer's tokens, in the words of both endpoints that tell them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from reasoning.serve.wording import Said
from reasoning.tree import Node

_LEAST = -9999.0
"""What OpenAI says for a token that cannot be."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `logprob` in nats, `top` the likeliest there."""

    text: str
    logprob: float
    top: list[tuple[str, float]]


def tokens(said: Said, k: int) -> list[Token] | None:
    """The tokens of the winner's text with `k` likeliest beside each; None if nobody told them.

    Thoughts and what ends a text are left out where the tokens show where the text stands.
    """
    found: list[Token] = []
    for node in [] if said.node is None else said.node.attempt():
        more = _tokens(node, k)
        if more is None:
            return None
        found += more
    at = "".join(token.text for token in found).rfind(said.text)
    if at < 0 or not said.text:
        return found or None
    ends = accumulate(len(token.text) for token in found)
    placed = ((end - len(token.text), end, token) for end, token in zip(ends, found, strict=True))
    return [t for start, end, t in placed if end > at and start < at + len(said.text)]


def _tokens(node: Node, k: int) -> list[Token] | None:
    tops, logprobs = node.sample.top_logprobs, node.sample.logprobs
    if tops is None or tops.said is None or logprobs is None:
        return None
    rows = zip(tops.said, logprobs.tolist(), tops.texts, tops.logprobs.tolist(), strict=False)
    return [
        Token(
            text, _finite(logprob), [(t, _finite(p)) for t, p in zip(names, row, strict=False)][:k]
        )
        for text, logprob, names, row in rows
    ]


def _finite(logprob: float) -> float:
    return max(float(logprob), _LEAST)


def of_chat(said: Said, k: int | None) -> dict[str, Any] | None:
    """As /chat/completions tells them; None where none are asked for, or known."""
    found = None if k is None else tokens(said, k or 0)
    if found is None:
        return None
    content = [
        {**_entry(t.text, t.logprob), "top_logprobs": [_entry(*pair) for pair in t.top]}
        for t in found
    ]
    return {"content": content, "refusal": None}


def _entry(text: str, logprob: float) -> dict[str, Any]:
    broken = "\ufffd" in text  # part of a character: nobody knows which bytes
    data = None if broken else list(text.encode("utf-8", "surrogatepass"))
    return {"token": text, "logprob": logprob, "bytes": data}


def of_completion(said: Said, k: int | None) -> dict[str, Any] | None:
    """As /completions tells them."""
    found = None if k is None else tokens(said, k or 0)
    if found is None:
        return None
    sizes = [len(token.text) for token in found]
    return {
        "tokens": [token.text for token in found],
        "token_logprobs": [token.logprob for token in found],
        "top_logprobs": [dict(reversed(token.top)) for token in found] if k else None,
        "text_offset": list(accumulate(sizes[:-1], initial=0)) if sizes else [],
    }
