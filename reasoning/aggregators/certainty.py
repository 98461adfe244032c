"""How sure the model was of what it wrote: numbers from the log-probabilities of a solution.

Each is worked out once for a candidate and kept among its `facts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasoning.aggregators import Candidate
from reasoning.tree import FloatArray, Node

Floats: TypeAlias = NDArray[np.float64]
Measure: TypeAlias = Literal["mean", "tail", "bottom", "least"]

WINDOW = 2048
"""Tokens that a group of DeepConf spans."""


def mean_logprob(candidate: Candidate) -> float | None:
    """The mean log-probability of the solution's tokens, nats; None where it is not known."""

    def work(node: Node) -> float | None:
        values = _joined(node, "logprobs")
        return None if values is None else float(np.mean(values, dtype=np.float64))

    return _fact(candidate, "logprob", work)


def probability(candidate: Candidate) -> float | None:
    """The geometric mean of the probabilities of the solution's tokens, in [0, 1]."""
    known = candidate.facts.get("probability")
    if known is None:
        logprob = mean_logprob(candidate)
        known = math.nan if logprob is None else math.exp(min(0.0, logprob))
        candidate.facts["probability"] = known
    return known if known == known else None  # NaN is equal to nothing


def confidence(candidate: Candidate, measure: Measure = "tail") -> float | None:
    """DeepConf's confidence of a solution, nats, higher is surer; None where it is not known."""

    def work(node: Node) -> float | None:
        values = _joined(node, "confidence")
        return None if values is None else MEASURES[measure](values, WINDOW)

    return _fact(candidate, f"confidence.{measure}", work)


def group_means(values: Floats, window: int) -> Floats:
    """The means of all `window` values in a row; of all of them if there are fewer."""
    if values.ndim != 1 or not len(values) or window < 1:
        raise ValueError(f"one or more confidences and a window are needed, got {values.shape}")
    size = min(window, len(values))
    sums = np.cumsum(np.r_[0.0, values])
    return np.asarray((sums[size:] - sums[:-size]) / size)


def bottom_tenth(values: Floats, window: int) -> float:
    """The mean of the lowest tenth of the group means, at least one of them."""
    means = np.sort(group_means(values, window))
    return float(means[: max(1, len(means) // 10)].mean())


MEASURES: dict[str, Callable[[Floats, int], float]] = {
    "mean": lambda x, _: float(x.mean()),
    "tail": lambda x, window: float(x[-window:].mean()),
    "bottom": bottom_tenth,
    "least": lambda x, window: float(group_means(x, window).min()),
}
"""DeepConf's: of all tokens, of the last group, of the least confident tenth of the groups, of the
least confident one; a group is `window` tokens in a row, and a shorter trace is one."""


def _fact(candidate: Candidate, name: str, work: Callable[[Node], float | None]) -> float | None:
    if name not in candidate.facts:
        found = None if candidate.node is None else work(candidate.node)
        candidate.facts[name] = math.nan if found is None else found
    value = candidate.facts[name]
    return value if math.isfinite(value) else None


def _joined(node: Node, name: Literal["logprobs", "confidence"]) -> Floats | None:
    """The array of the whole solution; None if a part that the model wrote has none."""
    parts: list[FloatArray] = []
    for part in node.attempt():
        array: FloatArray | None = getattr(part.sample, name)
        if array is not None:
            parts.append(array)
        elif part.sample.finish != "written":
            return None
    joined = np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)
    return joined if len(joined) else None
