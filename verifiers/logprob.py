"""The model's own certainty as a score: the log-probabilities of what it wrote.

Reads what the generator returned with a sample, so it costs no call and no token.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from reasoning.errors import VerificationError
from reasoning.generate import Meter
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.thinking import drawn
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier

Kind: TypeAlias = Literal["mean", "min", "sum", "tail"]
Window: TypeAlias = Annotated[int, Field(ge=1)]
Floats: TypeAlias = NDArray[np.float64]


@names.validated
def logprob(
    *, kind: Kind = "mean", window: Window = 2048, reduction: Reduction = "last"
) -> Logprob:
    """The model's certainty about what it wrote, from its own log-probabilities.

    kind: in [0, 1], from the log-probabilities of the sampled tokens,

    - mean: exp of their mean, which is 1 / perplexity; does not depend on length;
    - min: the probability of the least likely token;
    - sum: the probability of the text; favours short ones, and is 0 below exp(-745);
    - tail: `mean` over the last `window` tokens.

    A node is scored by its own sample alone, a step by its own tokens: `reduction` says what to
    make of a path of steps.
    """
    return Logprob(kind, window).reduced_by(reduction)


class Logprob(Verifier):
    """One score a node, under the name logprob_<kind>."""

    reads_logprobs = True

    def __init__(self, kind: Kind = "mean", window: int = 2048) -> None:
        self.name = f"logprob_{kind}"
        self._kind = kind
        self._window = window

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError if the generator gave no log-probabilities, or no tokens."""
        values = usable(drawn(node, "logprobs"), "log-probabilities", problem, _CURE)
        return (min(1.0, math.exp(_REDUCE[self._kind](values, self._window))),)


_CURE = "use a generator that does (nano, vllm, most servers), or another verifier"

_REDUCE: dict[str, Callable[[Floats, int], float]] = {
    "mean": lambda x, _: float(x.mean()),
    "min": lambda x, _: float(x.min()),
    "sum": lambda x, _: float(x.sum()),
    "tail": lambda x, window: float(x[-window:].mean()),
}


def usable(array: object, what: str, problem: Problem, cure: str) -> Floats:
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
