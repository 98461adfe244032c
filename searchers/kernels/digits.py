"""A mark from 0 to 9, read off what a model would say next."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp

_DIGITS = "0123456789"


def expected_digit(logprobs: Mapping[str, float]) -> float:
    """The mean of the digits among next tokens, by their probabilities (nats); 0 if there is none.

    Blanks around a digit do not matter; what is no digit is left out.
    """
    marks = {t: float(t) for t in logprobs if t.strip() in _DIGITS and t.strip()}
    weights = {text: exp(logprobs[text]) for text in marks}
    total = sum(weights.values())
    return sum(marks[t] * w for t, w in weights.items()) / total if total else 0.0


def first_digit(text: str) -> float:
    """The digit that a text begins with; 0 if it begins with none."""
    start = text.strip()[:1]
    return float(start) if start and start in _DIGITS else 0.0
