"""How far more samples would go: pass@k and its law (Brown et al., 2024, arXiv:2407.21787)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError
from evals.measures.stored import Stored
from evals.statistics.curves import at_k_curve, fit_coverage, fit_coverage_table, log_spaced
from evals.statistics.intervals import Floats, Interval, bootstrap_weights, quantile_interval

MEANS = (
    "The share of problems that at least one of k samples solves, and the law c(k) = exp(a k^b) "
    "fitted to it, read off at twice and four times the samples there are."
)
NOT = (
    "Coverage is what a perfect verifier would reach, not what a vote or a reward model does. "
    "Beyond the stored samples the law is an extrapolation; its interval holds the error of the "
    "problems drawn, not the chance that the law does not hold there."
)

FEWEST = 8
"""Samples a problem from which a law is fitted."""


def predicted(
    ks: Sequence[int], table: Floats, at: int, *, resamples: int = 200, seed: int = 0
) -> Interval:
    """The law's coverage at `at` samples, fitted to `table` [problems, ks] of pass@k.

    With its bootstrap interval over problems. Raises ValueError where no law can be fitted.
    """
    draws = []
    for row in bootstrap_weights(len(table), resamples, seed) @ table:
        try:
            draws.append(fit_coverage(ks, row)(at))
        except ValueError:
            continue  # this resample follows no such law
    if len(draws) < resamples // 2:
        raise ValueError("coverage follows the law in less than half of the resamples")
    value = fit_coverage(ks, table.mean(axis=0))(at)
    return quantile_interval(value, np.array(draws))


def measure(stored: Stored) -> Finding:
    n = stored.at_least(2)
    curve = at_k_curve(stored.samples, "pass")
    found = curve.intervals()
    rows: list[tuple[Cell, ...]] = [
        (f"pass@{k}", interval) for k, interval in zip(curve.ks, found, strict=True)
    ]
    says = (
        f"One sample solves {found[0].value:.3f} of the problems, one of {n} {found[-1].value:.3f}"
    )
    notes: tuple[str, ...] = ()
    try:
        rows += (law := _law(stored, n))
    except (ValueError, NotMeasuredError) as error:
        notes = (f"no law is fitted: {error}",)
    else:
        further = law[-1][1]
        assert isinstance(further, Interval)
        says += (
            f"; the law expects {further.value:.3f} ({further.low:.3f} to {further.high:.3f}) "
            f"of {4 * n}"
        )
    points = list(zip(map(float, curve.ks), found, strict=True))
    chart = Chart("samples a problem", "coverage", {"pass@k": points})
    return Finding(f"{says}.", ("coverage", "value"), rows, notes, chart)


def _law(stored: Stored, n: int) -> list[tuple[Cell, ...]]:
    if n < FEWEST:
        raise NotMeasuredError(f"that takes {FEWEST} samples a problem, and there are {n}")
    grid = log_spaced(n)
    table = at_k_curve(stored.samples, "pass", grid).values
    law = fit_coverage_table(grid, table)
    return [
        ("a of the law", f"{law.a:.3f} ± {law.a_error:.3f}"),
        ("b of the law", f"{law.b:.3f} ± {law.b_error:.3f}"),
        ("rms residual of log c", law.rmse),
        (f"law at {2 * n}", predicted(grid, table, 2 * n)),
        (f"law at {4 * n}", predicted(grid, table, 4 * n)),
    ]
