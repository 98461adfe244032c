"""How long a call takes, fitted to those of a pilot, and which calls a problem had to wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reasoning.runs.timing import Call

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Law:
    """T = F + (o - 1) g seconds for a call of o tokens (idealised runtime, arXiv:2305.02440).

    F = `first` + `first_batch` b + `unread` u and g = `token` + `token_batch` b, where b calls are
    in flight on average and u prompt tokens are not in the cache: a step of an engine reads its
    weights whatever the batch, and computes in proportion to it (roofline, arXiv:2402.16363).
    All are seconds and at least 0.
    """

    first: float
    first_batch: float
    unread: float
    token: float
    token_batch: float

    def seconds(self, tokens: ArrayLike, batch: ArrayLike, unread: ArrayLike = 0.0) -> Floats:
        """The time of calls that generate `tokens` with `batch` in flight."""
        terms = [self.first, self.first_batch, self.unread, self.token, self.token_batch]
        found: Floats = _columns(tokens, batch, unread) @ np.asarray(terms)
        return found


def fit(calls: Sequence[Call], batches: ArrayLike) -> Law:
    """The law that fits the calls best in the sense of least squares with terms of at least 0.

    Without calls everything takes no time. `batches` are those of `in_flight`; 0 for calls that
    nobody's neighbours cost any time.
    """
    from scipy.optimize import nnls

    if not calls:
        return Law(0.0, 0.0, 0.0, 0.0, 0.0)
    tokens = [call.generated_tokens for call in calls]
    table = _columns(tokens, batches, [_unread(call) for call in calls])
    scale = np.maximum(table.max(axis=0), 1e-12)
    found, _ = nnls(table / scale, np.asarray([call.seconds for call in calls]))
    return Law(*(found / scale).tolist())


def of_calls(law: Law, calls: Sequence[Call], batch: float) -> float:
    """What the law says that `calls` take one after another with `batch` in flight."""
    tokens, unread = [call.generated_tokens for call in calls], [_unread(call) for call in calls]
    return float(law.seconds(tokens, [batch] * len(calls), unread).sum())


def in_flight(calls: Sequence[Call]) -> Floats:
    """How many calls were in flight while each of them was, itself included, on average."""
    starts, ends = (np.asarray([getattr(c, at) for c in calls]) for at in ("start", "end"))
    times = np.concatenate([starts, ends])
    steps = np.concatenate([np.ones(len(calls)), -np.ones(len(calls))])
    order = np.argsort(times, kind="stable")
    times, counts = times[order], np.cumsum(steps[order])
    area = np.concatenate([[0.0], np.cumsum(counts[:-1] * np.diff(times))])
    seconds = ends - starts
    busy = np.interp(ends, times, area) - np.interp(starts, times, area)
    return np.where(seconds > 0, busy / np.where(seconds > 0, seconds, 1.0), 1.0)


def chain(calls: Sequence[Call]) -> list[Call]:
    """The calls that a problem waited for: the last to end, the last to end before that, and on."""
    found: list[Call] = []
    begin = float("inf")
    for call in sorted(calls, key=lambda call: (call.end, call.start), reverse=True):
        if call.end <= begin:
            found.append(call)
            begin = call.start
    return found[::-1]


def _unread(call: Call) -> int:
    return max(0, call.prompt_tokens - call.cached_tokens)


def _columns(tokens: ArrayLike, batch: ArrayLike, unread: ArrayLike) -> Floats:
    later = np.maximum(np.asarray(tokens, dtype=float) - 1, 0)
    later, b, u = np.broadcast_arrays(later, np.asarray(batch, float), np.asarray(unread, float))
    return np.stack([np.ones(later.shape), b, u, later, later * b], axis=-1)
