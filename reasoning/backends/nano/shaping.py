"""What sampling does to the logits of one call before temperature, top_k and top_p: vLLM's way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reasoning.backends.nano.bounds import Bound
from reasoning.backends.nano.model import FloatArray
from reasoning.errors import RecipeError
from reasoning.generate import Sampling

_SHAPED = frozenset(
    {
        "logit_bias",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "min_tokens",
        "choice",
        "regex",
        "json_schema",
    }
)
"""The fields of sampling that ask for it."""


def shapes(params: Sampling) -> bool:
    """Whether a call with `params` needs any of this."""
    return not _SHAPED.isdisjoint(params.changed())


class Shaping:
    """The logits of one call, changed as its sampling says; told of every token that is drawn.

    In order: bias, the repetition penalty (of what stands in prompt or answer), frequency and
    presence penalty (of the answer), then what may not come: ends before `min_tokens`, and what
    `bound` forbids. Where that leaves nothing, the bound decides, and then the end.
    `before` is the prompt, `begun` what a call that is taken up again has said already.
    """

    def __init__(
        self,
        params: Sampling,
        bias: Mapping[int, float],
        bound: Bound | None,
        *,
        before: Sequence[int],
        begun: Sequence[int],
        ends: frozenset[int],
        vocabulary: int,
    ) -> None:
        self._params = params
        self._biased = np.array(list(bias), np.intp)
        self._bias = np.array(list(bias.values()), np.float32)
        self._bound = bound
        self._ends = np.array(sorted(ends), np.intp)
        self._seen = np.zeros(vocabulary, bool)
        self._seen[[token for token in before if token < vocabulary]] = True
        self._counts = np.zeros(vocabulary, np.float32)
        self._said = 0
        for token in begun:
            self.told(token)

    def told(self, token: int) -> None:
        """`token` was drawn."""
        self._said += 1
        self._seen[token] = True
        self._counts[token] += 1
        if self._bound is not None:
            self._bound.advance(token)

    def __call__(self, logits: FloatArray) -> FloatArray:
        """The changed copy of `logits` [V]; what may not come is -inf."""
        params, row = self._params, logits.copy()
        row[self._biased] += self._bias
        if params.repetition_penalty != 1:
            seen, by = row[self._seen], np.float32(params.repetition_penalty)
            row[self._seen] = np.where(seen > 0, seen / by, seen * by)
        if params.frequency_penalty:
            row -= np.float32(params.frequency_penalty) * self._counts
        if params.presence_penalty:
            row -= np.float32(params.presence_penalty) * (self._counts > 0)
        allowed = self._allowed(len(row))
        if allowed is not None:
            row[~allowed] = -np.inf
        return row

    def _allowed(self, size: int) -> NDArray[np.bool_] | None:
        early = self._said < self._params.min_tokens
        if self._bound is None and not early:
            return None
        may = np.ones(size, bool) if self._bound is None else self._bound.allowed()
        longer = may.copy()
        if early:
            longer[self._ends] = False
        if longer.any():
            return longer
        if not may.any():
            may[self._ends] = True
        return may


def biases(
    given: Mapping[int | str, float], encode: Callable[[str], Sequence[int]], vocabulary: int
) -> dict[int, float]:
    """By token id. Raises RecipeError for what is no token."""
    found: dict[int, float] = {}
    for name, value in given.items():
        ids = encode(name) if isinstance(name, str) else (name,)
        if len(ids) != 1:
            raise RecipeError(
                f"sampling.logit_bias names {name!r}, which is not one token of this model; name "
                "its tokens one by one, by text or id"
            )
        token = ids[0]
        if not 0 <= token < vocabulary:
            raise RecipeError(
                f"sampling.logit_bias names token {token}; this model's are 0 to {vocabulary - 1}"
            )
        found[token] = found.get(token, 0.0) + value
    return found
