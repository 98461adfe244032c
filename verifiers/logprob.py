"""The model's own certainty as a score: log-probabilities, and DeepConf's (arXiv:2508.15260).

Reads what the generator returned with a sample, so it costs no call and no token.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasoning.errors import RecipeError, VerificationError
from reasoning.problem import Problem
from reasoning.tree import Node
from reasoning.verify import Verdict

Kind: TypeAlias = Literal[
    "mean", "min", "sum", "tail", "confidence", "confidence_bottom", "confidence_tail"
]
Floats: TypeAlias = NDArray[np.float64]


def logprob(*, kind: Kind = "mean", window: int = 2048) -> Logprob:
    """The model's certainty about what it wrote, from its own log-probabilities.

    kind: in [0, 1], from the log-probabilities of the sampled tokens,

    - mean: exp of their mean, which is 1 / perplexity; does not depend on length;
    - min: the probability of the least likely token;
    - sum: the probability of the text; favours short ones, and is 0 below exp(-745);
    - tail: `mean` over the last `window` tokens;

    and in [0, inf), higher is surer, from DeepConf's token confidences (minus the mean of the
    top-k log-probabilities, in nats),

    - confidence: their mean;
    - confidence_bottom: the mean of the lowest tenth of the means of `window` tokens in a row;
    - confidence_tail: the mean over the last `window` tokens.

    A node is scored by its own sample alone, a step by its own tokens: what to make of a path of
    steps is the aggregator's business.
    """
    if window < 1:
        raise RecipeError(f"logprob: window is {window} tokens; it must be at least 1")
    return Logprob(kind, window)


class Logprob:
    """One score a node, under the name logprob_<kind>."""

    def __init__(self, kind: Kind = "mean", window: int = 2048) -> None:
        self.name = f"logprob_{kind}"
        self._kind = kind
        self._window = window

    async def score(self, problem: Problem, node: Node) -> Verdict:
        """Raises VerificationError if the generator gave no log-probabilities, or no tokens."""
        sample = node.sample
        if self._kind.startswith("confidence"):
            values = _usable(sample.confidence, "token confidences", problem, _ASK_CONFIDENCE)
            return Verdict((_CONFIDENCE[self._kind](values, self._window),))
        values = _usable(sample.logprobs, "log-probabilities", problem, _ASK_LOGPROBS)
        return Verdict((min(1.0, math.exp(_LOGPROB[self._kind](values, self._window))),))


_ASK_LOGPROBS = "use a generator that does (nano, vllm, most servers), or another verifier"
_ASK_CONFIDENCE = "set sampling.confidence_k: 20 and use a generator that gives them"


def group_means(values: Floats, window: int) -> Floats:
    """The means of all `window` values in a row; of all of them if there are fewer."""
    if len(values) <= window:
        return np.array([values.mean()])
    sums: Floats = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((sums[window:] - sums[:-window]) / window)


def bottom_tenth(values: Floats, window: int) -> float:
    """The mean of the lowest tenth of the group means, at least one of them."""
    means = np.sort(group_means(values, window))
    return float(means[: max(1, len(means) // 10)].mean())


Reduce: TypeAlias = Callable[[Floats, int], float]

_LOGPROB: dict[str, Reduce] = {
    "mean": lambda x, _: float(x.mean()),
    "min": lambda x, _: float(x.min()),
    "sum": lambda x, _: float(x.sum()),
    "tail": lambda x, window: float(x[-window:].mean()),
}
_CONFIDENCE: dict[str, Reduce] = {
    "confidence": lambda x, _: float(x.mean()),
    "confidence_bottom": bottom_tenth,
    "confidence_tail": lambda x, window: float(x[-window:].mean()),
}


def _usable(array: object, what: str, problem: Problem, cure: str) -> Floats:
    """`array` as numbers to reckon with."""
    if array is None:
        raise VerificationError(
            f"problem {problem.id!r}: the generator gave no {what} with this sample; {cure}"
        )
    values = np.asarray(array, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise VerificationError(f"problem {problem.id!r}: a sample without tokens has no score")
    if np.isnan(values).any():
        raise VerificationError(f"problem {problem.id!r}: some {what} are not numbers")
    return values
