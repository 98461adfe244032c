"""Thinking stopped as soon as a test says that more of it changes nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from searchers.thinking.calibration import Calibration, calibrated
from searchers.thinking.closing import END, answered
from searchers.thinking.stops import TESTS

AGGREGATOR = "majority"
STEPS = True


async def early_stop(
    search: Search,
    *,
    test: Literal["agreement", "confidence", "entropy", "saturation", "verifier"] = "agreement",
    threshold: float | None = None,
    n: Annotated[int, Field(ge=1)] = 1,
    m: Annotated[int, Field(ge=1)] = 3,
    every: Annotated[int, Field(ge=1)] = 1,
    answer_tokens: Annotated[int, Field(ge=1)] = 64,
    end: Annotated[str, Field(min_length=1)] = END,
    opener: str = "So, I'm",
    calibration: str | None = None,
    watch: bool = False,
) -> None:
    """Think step by step n times, and end each thought when `test` is passed behind a step.

    "agreement": the greedy answers of m thoughts cut in a row, `every` steps apart, are the same
    (the rule of TrimR, 2025, arXiv:2505.17155). "entropy": m answers drawn behind the cut thought
    have an entropy of at most `threshold` nats (0) over their meanings (SEAT, arXiv:2507.06829).
    "confidence": once the text holds an answer, P(confident) + P(sure) + P(pretty) (P(confident) +
    P(sure) behind it) after the opener `opener` is above `threshold` (.5; ConCISE,
    arXiv:2505.04881). "verifier": the verifier's score of the answer behind the cut thought reaches
    `threshold` (.9). "saturation": after so many steps that by the calibration's curve one more
    gains less than `threshold` (.01) of accuracy (TTSPM, arXiv:2505.20522).

    Whatever is tried out is paid for: `answer_tokens` bound each answer, and are cheap only where
    the prefix is cached. That a test tells right from wrong is an assumption, and for plain
    instruct models it may not. `watch` makes the tests and stops at none; `reasoning calibrate` of
    such a run writes the file `calibration`, by which a test whose signal has an AUROC under .55 is
    refused. A threshold that nothing passes is n plain thoughts, step by step.
    """
    known = refused(test, threshold, calibration) if not watch else Calibration(1.0)
    make, usual = TESTS[test]
    least = usual if threshold is None else threshold
    how = {"m": m, "every": every, "end": end, "answer_tokens": answer_tokens, "opener": opener}
    stop = (*search.sampling.stop, end)

    async def think(view: Search, _: int) -> None:
        stopped = make(threshold=least, watch=watch, curve=known.curve, **how)
        node, steps = view.root, 0
        try:
            while (more := await view.draw(node, stop=stop)) is not None:
                node, steps = more, steps + 1
                if node.finished or end in node.text:
                    break
                tried = await stopped(view, node) if steps % every == 0 else None
                if tried and watch:
                    view.emit(tried.node, 0.0, rank=tried.signal)
                elif tried and tried.passed:
                    node = tried.node
                    return
            if node is not view.root and end in node.text:
                node = await answered(view, node, end)
        finally:
            view.emit(node)

    await search.split(n, think)


def refused(test: str, threshold: float | None, calibration: str | None) -> Calibration:
    """What is known of a test. Raises RecipeError where it must not, or cannot, be used."""
    if test != "saturation":
        return calibrated(calibration, test) if calibration else Calibration(1.0)
    if not calibration:
        raise RecipeError(
            "early_stop: test 'saturation' stops where a measured curve saturates, and needs "
            "calibration: FILE, which `reasoning calibrate RUN --out FILE` writes"
        )
    if threshold is not None and threshold <= 0:
        raise RecipeError(
            f"early_stop: threshold={threshold} of test 'saturation' is the accuracy that one more "
            "step must gain, and must be above 0"
        )
    known = calibrated(calibration, test)
    if len(known.curve) < 2:
        raise RecipeError(
            f"calibration {calibration!r} has a curve of {len(known.curve)} points for test "
            "'saturation', and a curve is fitted to 2 or more: watch it on longer thoughts"
        )
    return known
