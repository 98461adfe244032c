"""The samples of a stored run that curves over k may be made of: drawn alike, none of them chosen.

A strategy qualifies if its searcher declares that its samples are independent (that is never told
from what it drew: to have stopped at the same n on every problem is no proof), and if it has the
same number of whole solutions for every problem: token limits, for one, keep samples by what they
turned out to be, and a mean over subsets of those is no estimate of fresh ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evals.statistics.curves import Samples


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples of one problem; `failed` tells that calls failed, so some may be missing."""

    samples: Samples
    failed: bool


def drawn(result: Mapping[str, Any]) -> Drawn | None:
    """The graded whole solutions of a stored result; None if they are not independent."""
    usage, found = result["usage"], result.get("candidates") or ()
    # What the search wrote, no model drew; what was drawn greedily, is not exchangeable.
    found = [c for c in found if not (c.get("written") or c.get("hedge"))]
    cut = usage.get("cancelled_calls") or result.get("stop_reason") != "finished"
    if result.get("correct") is None or cut:
        return None
    try:
        whole = all(len(c["path"]) == 1 for c in found)
        samples = Samples(
            [c["key"] for c in found],
            [bool(c["correct"]) for c in found],
            [_last(c.get("steps")) for c in found],
        )
    except (KeyError, TypeError, AttributeError):
        return None
    return Drawn(samples, bool(usage.get("failed_calls"))) if found and whole else None


def alike(problems: Sequence[Drawn | None]) -> list[Samples] | None:
    """The samples of all problems, as many for each; None if they were not drawn so.

    What a failed call did not bring counts as a sample without an answer.
    """
    known = [p for p in problems if p is not None]
    counts = {len(p.samples.keys) for p in known if not p.failed}
    n = max((len(p.samples.keys) for p in known), default=0)
    if len(known) < len(problems) or not known or counts - {n}:
        return None
    return [_padded(p.samples, n) for p in known]


def _padded(samples: Samples, n: int) -> Samples:
    missing = n - len(samples.keys)
    return replace(
        samples,
        keys=[*samples.keys, *[None] * missing],
        correct=[*samples.correct, *[False] * missing],
        scores=[*(samples.scores or ()), *[None] * missing],
    )


def _last(steps: Sequence[float] | None) -> float | None:
    """The score of the last step, None without a usable one."""
    return float(steps[-1]) if steps and math.isfinite(steps[-1]) else None
