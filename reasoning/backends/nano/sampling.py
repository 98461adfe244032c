"""Drawing tokens for many calls at once; row i sees only its own logits, parameters and stream.

Letters: B calls, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from reasoning.backends.nano.model import FloatArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, slots=True)
class Knobs:
    """How B calls draw their next token: arrays [B]; `top_k`, `min_p`, `confidence_k` and
    `top_logprobs` 0 mean off."""

    stream: NDArray[np.uint64]
    position: NDArray[np.uint64]
    temperature: FloatArray
    top_p: NDArray[np.float64]
    top_k: NDArray[np.intp]
    confidence_k: NDArray[np.intp]
    min_p: FloatArray
    top_logprobs: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn: arrays [B]. Logprobs and confidence (nats) are of the raw distribution."""

    token: NDArray[np.intp]
    logprob: FloatArray
    confidence: FloatArray
    """Minus the mean of the top-k logprobs; nan where it was not asked for."""
    tops: dict[int, tuple[list[int], list[float]]]
    """The likeliest tokens and their logprobs, likeliest first, of the rows that asked."""


def stream(seed: int) -> int:
    """The 64-bit key of a call's random numbers."""
    return int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "little")


def uniform(keys: NDArray[np.uint64], positions: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The numbers in (0, 1) at `positions` of the streams `keys`: SplitMix64, by counter."""
    x = keys + (positions + np.uint64(1)) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _MIX[0]
    x = (x ^ (x >> np.uint64(27))) * _MIX[1]
    x ^= x >> np.uint64(31)
    # 48 bits: however large the sum of probabilities, the product with it stays below the sum.
    number: NDArray[np.float64] = ((x >> np.uint64(16)).astype(np.float64) + 0.5) * 2.0**-48
    return number


def log_softmax(logits: FloatArray) -> FloatArray:
    """Logprobs (nats) of `logits` [B, V]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logprobs: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logprobs


def draw(logits: FloatArray, knobs: Knobs, shaped: Mapping[int, FloatArray] | None = None) -> Drawn:
    """One token per row of `logits` [B, V], by inversion of the cumulative distribution.

    Rows in `shaped` draw from those logits [V] instead of their own, -inf where nothing may come.
    """
    rows = np.arange(len(logits))
    logprobs = log_softmax(logits)
    if shaped:
        logits, scores = logits.copy(), logprobs.copy()
        for i, row in shaped.items():
            logits[i], scores[i] = row, log_softmax(row[None])[0]
    else:
        scores = logprobs
    greedy = knobs.temperature == 0
    heat = np.where(greedy, np.float32(1), knobs.temperature)
    likeliest = scores.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, which is right
        weights = np.exp((scores - likeliest) / heat[:, None])
    asking = np.flatnonzero(knobs.min_p > 0)
    if asking.size:  # the likeliest has weight 1
        weak = weights[asking] < knobs.min_p[asking, None]
        weights[asking] = np.where(weak, np.float32(0), weights[asking])
    asking = np.flatnonzero((knobs.top_p < 1) | (knobs.top_k > 0))
    if asking.size:
        weights[asking] = truncate(weights[asking], knobs.top_k[asking], knobs.top_p[asking])
    cumulative = weights.cumsum(axis=1, dtype=np.float64)
    target = uniform(knobs.stream, knobs.position) * cumulative[:, -1]
    token = np.count_nonzero(cumulative <= target[:, None], axis=1)
    token[greedy] = logits[greedy].argmax(axis=1)
    return Drawn(
        token,
        logprobs[rows, token],
        _confidence(logprobs, knobs.confidence_k),
        _tops(logprobs, knobs.top_logprobs),
    )


def truncate(
    weights: FloatArray, top_k: NDArray[np.intp], top_p: NDArray[np.float64]
) -> FloatArray:
    """Zero what lies outside the k largest weights, then outside the nucleus of what is left.

    The nucleus is the fewest tokens, largest first, whose share is at least `top_p`; it has at
    least one. Ties go to the smaller token id.
    """
    order = np.argsort(-weights, axis=1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=1)
    rank = np.arange(weights.shape[1])
    ranked[(top_k > 0)[:, None] & (rank >= top_k[:, None])] = 0
    before = ranked.cumsum(axis=1, dtype=np.float64)
    total = before[:, -1:].copy()
    before -= ranked
    ranked[(top_p < 1)[:, None] & (rank > 0) & (before >= top_p[:, None] * total)] = 0
    kept = np.empty_like(weights)
    np.put_along_axis(kept, order, ranked, axis=1)
    return kept


def _confidence(logprobs: FloatArray, k: NDArray[np.intp]) -> FloatArray:
    out = np.full(len(logprobs), np.nan, np.float32)
    for size in set(k[k > 0].tolist()):
        rows = np.flatnonzero(k == size)
        top = np.sort(logprobs[rows], axis=1)[:, -size:]
        out[rows] = -top.mean(axis=1, dtype=np.float64)
    return out


def _tops(logprobs: FloatArray, k: NDArray[np.intp]) -> dict[int, tuple[list[int], list[float]]]:
    """Ties go to the smaller token id."""
    found = {}
    for i in np.flatnonzero(k):
        ids = np.argsort(-logprobs[i], kind="stable")[: k[i]]
        found[int(i)] = (ids.tolist(), logprobs[i, ids].tolist())
    return found


def knobs(
    streams: Sequence[int],
    positions: Sequence[int],
    temperature: Sequence[float],
    top_p: Sequence[float],
    top_k: Sequence[int],
    confidence_k: Sequence[int],
    min_p: Sequence[float],
    top_logprobs: Sequence[int],
) -> Knobs:
    """`Knobs` from plain sequences, one entry per call."""
    return Knobs(
        np.array(streams, np.uint64),
        np.array(positions, np.uint64),
        np.array(temperature, np.float32),
        np.array(top_p, np.float64),
        np.array(top_k, np.intp),
        np.array(confidence_k, np.intp),
        np.array(min_p, np.float32),
        np.array(top_logprobs, np.intp),
    )
