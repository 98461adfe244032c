"""Samples that repeat themselves (Ivgi et al., 2024, arXiv:2407.06071)."""

from __future__ import annotations

from evals.measures.finding import Cell, Finding, NotMeasuredError, mean
from evals.measures.stored import Stored
from evals.statistics.intervals import accuracy
from reasoning.backends.loop_guard import Ear

MEANS = (
    "How many samples get stuck saying the same over and over, and what that costs: the rule is "
    "that of the generator `loop_guard`, so the share is what it would have ended."
)
NOT = (
    "Only verbatim repetition counts, 400 characters or more of a piece said three times; a "
    "thought that goes round in other words does not. That looped samples are wrong does not "
    "mean that ending them sooner would have made them right."
)

LEAST, REPEATS, WINDOW = 400, 3, 8192


def loops_from(
    text: str, *, least: int = LEAST, repeats: int = REPEATS, window: int = WINDOW
) -> int | None:
    """After how many characters `text` has gone round in a loop; None if it never does."""
    ear = Ear("", least, repeats, window)
    return len(ear.said) if ear.hears(text) else None


def measure(stored: Stored) -> Finding:
    shares: list[float] = []
    right: list[float] = []
    after: list[float] = []
    texts = False
    for problem in stored.with_texts():
        found = [loops_from(text) for text in problem.texts]
        texts = texts or any(problem.texts)
        looped = [at is not None for at in found]
        shares.append(sum(looped) / len(looped))
        if any(looped):
            grades = [s.correct for s, lost in zip(problem.samples, looped, strict=True) if lost]
            right.append(sum(grades) / len(grades))
            ends = [(t, at) for t, at in zip(problem.texts, found, strict=True) if at is not None]
            after.append(sum(1 - at / len(t) for t, at in ends) / len(ends))
    if not texts:
        raise NotMeasuredError("this needs the texts of the samples")
    share = accuracy(shares)
    rows: list[tuple[Cell, ...]] = [("share of samples that loop", share, len(shares))]
    touched = accuracy([float(s > 0) for s in shares])
    rows.append(("share of problems with a loop", touched, len(shares)))
    if right:
        rows.append(("accuracy of looped samples", accuracy(right), len(right)))
        rows.append(("share of their text after the loop is plain", mean(after), len(after)))
    return Finding(
        f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%}) of the samples go round in a "
        f"loop, on {touched.value:.1%} of the problems.",
        ("loops", "value", "problems"),
        rows,
    )
