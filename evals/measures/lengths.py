"""How long solutions are, a problem and over all (CASTILLO, 2025, arXiv:2505.16881)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.measures.finding import Cell, Finding, NotMeasuredError, dots, mean, resampled
from evals.measures.stored import Stored
from evals.statistics.intervals import Floats, accuracy

MEANS = (
    "How many tokens a solution takes: what a plan, a limit of tokens and a time-out have to "
    "allow for. The P99 of all samples is a `max_tokens` that cuts one in a hundred."
)
NOT = (
    "The P99 of a problem with few samples is little more than its longest one. Samples that a "
    "limit cut would have been longer: all quantiles at the limit are lower bounds. Longer "
    "among right and wrong answers does not mean that length is why."
)

QUANTILES = (0.5, 0.9, 0.99)


def quantile(lengths: Sequence[Sequence[float]], weights: Floats, q: float) -> float:
    """The least length that a share `q` of samples do not exceed, in tokens.

    `lengths` has those of every problem; `weights` [problems] are shared out among its samples, so
    that a problem with many counts no more than another.
    """
    values = np.concatenate([np.asarray(x, dtype=float) for x in lengths])
    shares = np.repeat(weights / [len(x) for x in lengths], [len(x) for x in lengths])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(shares[order])
    place = int(np.searchsorted(reached, q * reached[-1] * (1 - 1e-12)))
    return float(values[order][place])


def of_problem(lengths: Sequence[float], q: float) -> float:
    """A problem's own quantile: the least of its lengths that a share `q` do not exceed."""
    return quantile([lengths], np.ones(1), q)


def gap(lengths: Sequence[float], correct: Sequence[bool]) -> float | None:
    """Mean length of a problem's wrong samples less that of its right ones; None without both."""
    right = [x for x, c in zip(lengths, correct, strict=True) if c]
    wrong = [x for x, c in zip(lengths, correct, strict=True) if not c]
    return float(np.mean(wrong) - np.mean(right)) if right and wrong else None


def measure(stored: Stored) -> Finding:
    problems = [p.samples for p in stored.recording.problems]
    if any(s.tokens is None or s.guessed for p in problems for s in p):
        raise NotMeasuredError("this needs the number of tokens of every sample")
    lengths = [[s.tokens or 0.0 for s in p] for p in problems]
    rows: list[tuple[Cell, ...]] = [
        ("mean", mean([float(np.mean(x)) for x in lengths]), len(lengths))
    ]
    few = 200 if sum(map(len, lengths)) > 20_000 else 1_000
    for q in QUANTILES:
        found = resampled(len(lengths), lambda w, q=q: quantile(lengths, w, q), resamples=few)  # type: ignore[misc]
        rows.append((f"P{q * 100:.0f} of all samples", found, len(lengths)))
    for q in (0.5, 0.99):
        own = mean([of_problem(x, q) for x in lengths])
        rows.append((f"P{q * 100:.0f} of a problem, mean", own, len(lengths)))
    rows.append(("longest", max(map(max, lengths)), len(lengths)))
    spread = [np.std(x, ddof=1) / np.mean(x) for x in lengths if len(x) > 1 and np.mean(x) > 0]
    if spread:
        rows.append(("standard deviation over mean, a problem", mean(spread), len(spread)))
    pairs = zip(lengths, problems, strict=True)
    gaps = [g for x, p in pairs if (g := gap(x, [s.correct for s in p])) is not None]
    if gaps:
        rows.append(("wrong less right, same problem", mean(gaps), len(gaps)))
    cut = accuracy([float(np.mean([not s.finished for s in p])) for p in problems])
    rows.append(("share cut off or failed", cut, len(lengths)))
    half, most = rows[1][1], rows[3][1]
    assert isinstance(half, tuple)
    assert isinstance(most, tuple)
    return Finding(
        f"Half of the samples end within {half[0]:,.0f} tokens and 99 % within {most[0]:,.0f} "
        f"({most[1]:,.0f} to {most[2]:,.0f}); {cut.value:.1%} were cut off or failed.",
        ("tokens", "value", "problems"),
        rows,
        chart=dots("tokens", ("tokens", "value"), rows[: 3 + len(QUANTILES)], "value"),
    )
