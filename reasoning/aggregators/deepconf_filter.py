"""DeepConf offline (Fu et al., 2025, arXiv:2508.15260)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.aggregators.ballots import Ballots, Floats
from reasoning.aggregators.certainty import Measure, confidence

FILTERS = True
READS = "confidence"


def deepconf_filter(
    candidates: Sequence[Candidate],
    *,
    measure: Measure = "tail",
    keep: Annotated[float, Field(gt=0, le=1)] = 0.1,
) -> list[Candidate]:
    """Keep the most confident share `keep` of the candidates, to vote by their confidence.

    A filter: what comes next counts them by weight, which becomes weight times confidence. The
    confidence of a token is minus the mean of its top-k log-probabilities (`sampling.confidence_k`)
    and that of a solution, by `measure`, the mean over all tokens, the last 2,048, the least
    confident tenth of all windows of so many, or the least confident window. Kept is who reaches
    the (1 - keep)-quantile, linear between values. If nobody has confidences, all stay as they are.
    """
    return rule(Ballots.of(candidates), measure=measure, keep=keep).row(0)


def rule(ballots: Ballots, *, measure: Measure = "tail", keep: float = 0.1) -> Ballots:
    """`deepconf_filter` in every row."""
    able = ballots.answer >= 0
    value = np.where(able, ballots.read(lambda c: confidence(c, measure)), np.nan)
    known = np.isfinite(value)
    none = ~known.any(axis=1, keepdims=True)
    kept = known & (np.nan_to_num(value) >= _quantiles(value, 1 - keep))
    weighed = replace(ballots, weight=np.where(known, ballots.weight * value, ballots.weight))
    return weighed.only(np.where(none, able, kept))


def _quantiles(values: Floats, q: float) -> Floats:
    """The quantile of each row's numbers [rows, 1], linear between them; 0 where all are NaN."""
    if not values.shape[1]:
        return np.zeros((len(values), 1))
    ordered = np.sort(values, axis=1)  # NaN comes last
    last = np.maximum(np.isfinite(ordered).sum(axis=1, keepdims=True) - 1, 0)
    place = last * q
    low = np.floor(place).astype(np.int64)
    part = place - low
    below, above = (
        np.take_along_axis(ordered, at, axis=1) for at in (low, np.minimum(low + 1, last))
    )
    return np.asarray(np.nan_to_num(below * (1 - part) + above * part))
