"""DeepConf offline (Fu et al., 2025, arXiv:2508.15260)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.aggregators.certainty import Measure, confidence
from reasoning.aggregators.voting import in_order

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
    ordered = in_order(candidates)
    values = [confidence(c, measure) for c in ordered]
    known = sorted(v for v in values if v is not None)
    if not known:
        return ordered
    least = _quantile(known, 1 - keep)
    return [
        replace(c, weight=c.weight * value)
        for c, value in zip(ordered, values, strict=True)
        if value is not None and value >= least
    ]


def _quantile(ordered: Sequence[float], q: float) -> float:
    place = (len(ordered) - 1) * q
    low = math.floor(place)
    part = place - low
    return ordered[low] * (1 - part) + ordered[min(low + 1, len(ordered) - 1)] * part
