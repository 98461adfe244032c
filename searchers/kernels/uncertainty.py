"""How unsure a model was at every token."""

from __future__ import annotations

import numpy as np

from reasoning.tree import TopLogprobs


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
