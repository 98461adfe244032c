"""What vLLM's own objects mean for a sample, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeAlias

import numpy as np

from reasoning.errors import GenerationError
from reasoning.generate import Sampling
from reasoning.tree import Finish, FloatArray, TopLogprobs

Row: TypeAlias = Mapping[int, Any]
"""vLLM's log-probabilities at one token: the likeliest ones and, if it is none of them, the sampled
one, by token id."""


def bounds(params: Sampling) -> Any:
    """vLLM's name for what the text is bound to; None if it is not."""
    from vllm.sampling_params import StructuredOutputsParams

    if params.choice:
        return StructuredOutputsParams(choice=list(params.choice))
    if params.regex:
        return StructuredOutputsParams(regex=params.regex)
    if params.json_schema:
        return StructuredOutputsParams(json=dict(params.json_schema))
    return None


def chosen(ids: Sequence[int], rows: Sequence[Row]) -> FloatArray | None:
    """The logprobs of the sampled tokens [tokens], nats."""
    if len(rows) != len(ids):
        return None
    return np.array([row[i].logprob for i, row in zip(ids, rows, strict=True)], dtype=np.float32)


def confidence(rows: Sequence[Row], k: int) -> FloatArray | None:
    """Minus the mean of the k highest logprobs at each token [tokens], nats."""
    if not k:
        return None
    means = [np.mean(sorted((p.logprob for p in row.values()), reverse=True)[:k]) for row in rows]
    return -np.array(means, dtype=np.float32)


def likeliest(ids: Sequence[int], rows: Sequence[Row], k: int) -> TopLogprobs | None:
    """The k likeliest tokens at each token."""
    if not k:
        return None
    best = [sorted(row.values(), key=lambda p: -p.logprob)[:k] for row in rows]
    table = np.full((len(best), max(map(len, best), default=0)), -np.inf, np.float32)
    for i, row in enumerate(best):
        table[i, : len(row)] = [p.logprob for p in row]
    said = None
    if len(ids) == len(rows):
        said = tuple(row[i].decoded_token or "" for i, row in zip(ids, rows, strict=True))
    texts = tuple(tuple(p.decoded_token or "" for p in row) for row in best)
    return TopLogprobs(texts, table, said)


def finish_of(reason: str | None, stop: Any, stop_tokens: Set[int]) -> Finish:
    """vLLM says "stop" for a stop and for the end of the answer alike; only the first is a step."""
    if reason == "stop":
        return "stop" if isinstance(stop, str) or stop in stop_tokens else "end"
    if reason == "length":
        return "length"
    raise GenerationError(f"vLLM ended the request with {reason!r}")
