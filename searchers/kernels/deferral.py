"""What a rule of deferral knows of an answer (Jitkrittum et al., 2023, arXiv:2307.02764)."""

from __future__ import annotations

from math import exp, log, log1p
from typing import Literal, TypeAlias

Feature: TypeAlias = Literal["intercept", "logprob", "tokens", "probability", "entropy"]


def features(logprob: float | None, tokens: float) -> dict[Feature, float]:
    """An answer's features, of its tokens' mean log-probability (nats, None: unknown) and number.

    "tokens" is in thousands, "probability" that of the whole solution, and "entropy" that of a coin
    which falls so often, in nats: it is highest where either model may be right.
    """
    known: dict[Feature, float] = {"intercept": 1.0, "tokens": tokens / 1000}
    if logprob is None:
        return known
    p = exp(min(0.0, logprob * tokens))
    entropy = 0.0 if p in (0.0, 1.0) else -p * log(p) - (1 - p) * log1p(-p)
    return {**known, "logprob": logprob, "probability": p, "entropy": entropy}
