"""What an evaluation comes to: a sentence, a table with intervals, perhaps a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from evals.report.text import chance
from evals.statistics.intervals import Floats, Interval, bootstrap_weights, quantile_interval

Cell: TypeAlias = "str | int | float | Interval | None"
"""None is not known, which is not 0."""

RESAMPLES = 1_000


class NotMeasuredError(Exception):
    """What is stored does not hold what this evaluation needs; the message says what that is."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves with their intervals: for each name its points (x, estimate), by rising x."""

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, Interval]]]


@dataclass(frozen=True, slots=True)
class Dots:
    """Named estimates with their intervals, one below the other: for each series its (name,
    estimate), from the top."""

    x: str
    series: Mapping[str, Sequence[tuple[str, Interval]]]


def dots(x: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], *columns: str) -> Dots:
    """These columns of a table, whose first one has the names; what is no interval is left out."""
    series = {}
    for column in columns:
        place = list(head).index(column)
        found = [(str(r[0]), cell) for r in rows if isinstance(cell := r[place], Interval)]
        series[column] = found
    return Dots(x, series)


@dataclass(frozen=True, slots=True)
class Finding:
    """`says` is the result in words; `rows` have a cell for each name in `head`."""

    says: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    notes: tuple[str, ...] = ()
    chart: Chart | Dots | None = None


def mean(values: ArrayLike, *, seed: int = 0) -> Interval:
    """The mean of one number a problem, of any size, with a bootstrap interval over problems.

    Shares in [0, 1] belong to `evals.statistics.intervals.accuracy`, which claims no certainty
    where nothing varies. Raises ValueError for no problems.
    """
    x = np.asarray(values, dtype=float)
    if not len(x):
        raise ValueError("a mean needs at least one problem, got none")
    return quantile_interval(float(x.mean()), bootstrap_weights(len(x), RESAMPLES, seed) @ x)


def resampled(
    problems: int, statistic: Callable[[Floats], float], *, resamples: int = RESAMPLES
) -> Interval:
    """Any statistic of weighted problems with its bootstrap interval over them.

    `statistic` gets the weights of the problems [problems], which add up to 1; resamples for which
    it is no number are left out. Raises ValueError if that is the case of all of them.
    """
    value = statistic(np.full(problems, 1 / problems))
    draws = np.array([statistic(w) for w in bootstrap_weights(problems, resamples, 0)])
    found = draws[np.isfinite(draws)]
    if not len(found):
        raise ValueError("the statistic is defined in no resample of the problems")
    return quantile_interval(value, found)


class PValue(float):
    """A cell that is never shown as 0."""


def told(cell: Cell, digits: int = 3) -> str:
    """A cell as people read it; an interval as `0.350 (0.24-0.48)`."""
    if isinstance(cell, PValue):
        return chance(cell)
    if isinstance(cell, Interval):
        low, high = (_number(x, digits - 1) for x in cell[1:3])
        between = " to " if cell.low < 0 else "-"
        return f"{_number(cell.value, digits)} ({low}{between}{high})"
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else _number(cell, digits)


def _number(value: float, digits: int) -> str:
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 20 else f"{value:z.{digits}f}"
