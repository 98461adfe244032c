"""How likely given text is, as a server tells it: by token ids, or by echo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from reasoning.backends.openai import request
from reasoning.backends.openai.tokens import Tokenizer
from reasoning.errors import TransientError
from reasoning.generate import Meter, Prompt
from reasoning.http.reading import count, number, readable, shown
from reasoning.tree import FloatArray, Sample

Post: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Sends a request to /completions; what answers it."""


async def by_tokens(
    post: Post, tokens: Tokenizer, prompt: Prompt, sample: Sample, question: bool, meter: Meter
) -> FloatArray:
    """The log-probabilities [tokens] of the sample's tokens, nats, by prompt_logprobs."""
    given = sample.token_ids
    scored = list(given) if given is not None else await tokens.encode(sample.text)
    begin = await (tokens.question(prompt) if question else tokens.document())
    before = begin + await tokens.path(prompt)
    meter(len(before) + len(scored))
    if not scored:
        return np.zeros(0, np.float32)
    body = {"prompt": before + scored, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    whole = await post(body)
    with readable():
        rows = (_choice(whole).get("prompt_logprobs") or [])[len(before) :]
        if len(rows) != len(scored):
            raise ValueError(f"{len(rows)} log-probabilities for {len(scored)} tokens")
        pairs = zip(scored, rows, strict=True)
        values = [number(row[str(i)]["logprob"]) if row else 0.0 for i, row in pairs]
    return np.array(values, dtype=np.float32)


async def by_echo(
    post: Post,
    template: str | None,
    prompt: Prompt,
    sample: Sample,
    question: bool,
    meter: Meter,
    *,
    least: int = 0,
) -> FloatArray:
    """The same of the tokens that begin in the sample's text, as the server cuts them.

    `least`: fewest likely tokens to ask for, so that log-probabilities come.
    """
    before = request.written(prompt, template) if question else ""
    before += prompt.text
    body = {"prompt": before + sample.text, "max_tokens": 1, "temperature": 0}
    whole = await post({**body, "echo": True, "logprobs": least})
    with readable():
        usage, logprobs = whole.get("usage"), _choice(whole)["logprobs"]
        told = count(usage.get("prompt_tokens") if isinstance(usage, dict) else None)
        meter(told or len(logprobs["token_logprobs"]))
        pairs = zip(logprobs["text_offset"], logprobs["token_logprobs"], strict=True)
        within = [p for at, p in pairs if len(before) <= at < len(before + sample.text)]
        if sample.text and not within:
            raise ValueError("no token begins in the given text")
        values = [0.0 if p is None else number(p) for p in within]
    return np.array(values, dtype=np.float32)


def _choice(whole: Any) -> Mapping[str, Any]:
    """The first choice of a whole answer. Raises TransientError."""
    try:
        choice: Mapping[str, Any] = whole["choices"][0]
    except (KeyError, IndexError, TypeError):
        raise TransientError(f"the server's answer has no choices: {shown(whole)}") from None
    return choice
