"""How unsure a model was at every token."""

from __future__ import annotations

import numpy as np

from reasoning.tree import Sample, TopLogprobs


def entropies(tops: TopLogprobs | None) -> list[float]:
    """The entropy [tokens], in nats, of each position's likeliest tokens, renormalised.

    Empty if they are unknown; 0 where nothing but one token is likely.
    """
    if tops is None or not len(tops.logprobs):
        return []
    p = np.exp(tops.logprobs.astype(float))
    p /= np.maximum(p.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    return [float(x) for x in -(p * logs).sum(axis=1)]


def spelled(sample: Sample) -> list[str] | None:
    """The texts of the sample's own tokens, told from its likeliest ones; None if one is not known.

    A token is the one of its row that has its log-probability and goes on with the text; what
    stands behind the text (a mark of its end) has none.
    """
    tops, values = sample.top_logprobs, sample.logprobs
    if tops is None or values is None:
        return None
    found: list[str] = []
    at = 0
    for row, table, value in zip(tops.texts, tops.logprobs, values, strict=False):
        if at >= len(sample.text):
            break
        near = [t for t, x in zip(row, table, strict=False) if abs(x - value) < _SAME]
        fits = [token for token in near if token and sample.text.startswith(token, at)]
        if not fits:
            return None
        found.append(max(fits, key=len))
        at += len(found[-1])
    return found if at >= len(sample.text) else None


def mean_over(sample: Sample, part: str) -> float | None:
    """The mean log-probability, nats, of the tokens that spell the last `part` of the text.

    None where the text does not hold it, or its tokens are not known.
    """
    tokens, at = spelled(sample), sample.text.rfind(part) if part else -1
    if tokens is None or at < 0 or sample.logprobs is None:
        return None
    ends = np.cumsum([len(token) for token in tokens])
    first = int(np.searchsorted(ends, at, side="right"))
    last = int(np.searchsorted(ends, at + len(part), side="left"))
    return float(sample.logprobs[first : last + 1].mean())


_SAME = 1e-3
"""Log-probabilities this near are one: servers round them."""
