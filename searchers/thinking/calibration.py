"""What `reasoning calibrate` has found out about a stopping test, and when that forbids its use."""

from __future__ import annotations

import json
from dataclasses import dataclass

from reasoning.errors import RecipeError

LEAST = 0.55
"""AUROC below which a test's signal says too little of right and wrong to stop by it."""
_CURE = "`reasoning calibrate RUN --out FILE` writes one"


@dataclass(frozen=True, slots=True)
class Calibration:
    """auroc: of the test's signal. curve: accuracy of answers by the steps they were cut after."""

    auroc: float
    curve: tuple[tuple[int, float], ...] = ()


def calibrated(file: str, test: str) -> Calibration:
    """What `file` says of `test`. Raises RecipeError where it says nothing, or says not to."""
    try:
        with open(file, encoding="utf-8") as stream:
            tests = json.load(stream)["tests"]
        told = tests.get(test)
        auroc = None if told is None else told["auroc"]
        auroc = None if auroc is None else float(auroc)
        curve = () if told is None else tuple((int(n), float(y)) for n, y in told["curve"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"calibration {file!r} cannot be read ({error!r}); {_CURE}") from None
    if told is None:
        raise RecipeError(
            f"calibration {file!r} says nothing of test {test!r}, only of "
            f"{', '.join(tests) or 'none'}; watch it in a run and calibrate again"
        )
    if auroc is None:
        raise RecipeError(
            f"by {file!r} the answers that test {test!r} was tried on are all right or all wrong "
            "(or there are none), so nobody knows whether it can tell them apart; watch it on more "
            "problems"
        )
    if not auroc >= LEAST:
        raise RecipeError(
            f"by {file!r} the signal of test {test!r} has an AUROC of {auroc:.3f} (0.5 is chance): "
            f"it must be {LEAST} at least to stop by it; take another test, or leave out "
            "calibration"
        )
    return Calibration(auroc, curve)
