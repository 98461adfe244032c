"""What wordings that change no answer change (2025, arXiv:2504.02111; 2024, arXiv:2402.08939)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError
from evals.measures.stored import Stored
from evals.report.load import Runs, StoredStrategy
from evals.report.text import chance
from evals.statistics.intervals import Interval, accuracy
from evals.statistics.paired import Comparison, compare, holm

MEANS = (
    "By how much accuracy changes when the same problems are asked with an irrelevant passage, a "
    "needless fact or instruction, or their premises in another order (tau: 1 is their own, -1 the "
    "reverse): differences are paired by problem, p-values Holm-adjusted over all rows."
)
NOT = (
    "That an order changes nothing is taken for granted, and not true of premises that say `then` "
    "or `it`: read a few before believing a drop. Only problems with four premises have orders. A "
    "wording is one draw; another passage or instruction may do more or less."
)

PLAIN = "plain"


class Wordings(NamedTuple):
    """The results of one strategy by the problem they are wordings of, for each wording."""

    strategy: str
    by_variant: Mapping[str, Mapping[str, bool]]


def worded(runs: Runs) -> dict[str, tuple[str, str]]:
    """The wording and the original problem of each problem that has them, by its id."""
    found = {}
    for problem in runs.problems.values():
        variant = problem.meta.get("variant")
        if isinstance(variant, str) and problem.id.startswith(f"{variant}-"):
            found[problem.id] = (variant, problem.id.removeprefix(f"{variant}-"))
    if not any(variant != PLAIN for variant, _ in found.values()):
        raise NotMeasuredError("this needs a run of task `perturbed`")
    return found


def wordings(strategy: StoredStrategy, known: Mapping[str, tuple[str, str]]) -> Wordings:
    """Whether the answers of a strategy are right, by wording and problem."""
    found: dict[str, dict[str, bool]] = {}
    for name, row in strategy.rows.items():
        if name in known and row.correct is not None:
            variant, original = known[name]
            found.setdefault(variant, {})[original] = row.correct
    return Wordings(strategy.label, found)


def drop(
    plain: Mapping[str, bool], other: Mapping[str, bool], names: tuple[str, str]
) -> Comparison | None:
    """`other` against `plain` on the problems that both have; None if there are none."""
    shared = [p for p in plain if p in other]
    if not shared:
        return None
    before, after = ([float(x[p]) for p in shared] for x in (plain, other))
    return compare(before, after, names=names)


def measure(stored: Stored) -> Finding:
    known = worded(stored.runs)
    compared: list[Comparison] = []
    for strategy in stored.runs.strategies:
        name, found = wordings(strategy, known)
        for variant in found:
            if variant not in (PLAIN, "attack"):  # that one is measured by `attacked`
                pair = drop(found.get(PLAIN, {}), found[variant], (name, variant))
                compared += [pair] if pair else []
    if not compared:
        raise NotMeasuredError("no problem has graded answers both plain and in another wording")
    adjusted = holm([c.p_value for c in compared])
    rows: list[tuple[Cell, ...]] = [
        (f"{c.a}: {c.b}", c.problems, c.accuracy_a, c.accuracy_b,
         Interval(c.difference, c.low, c.high, "bootstrap"), c.only_a, c.only_b, p)
        for c, p in zip(compared, adjusted, strict=True)
    ]  # fmt: skip
    worst, p = min(zip(compared, adjusted, strict=True), key=lambda pair: pair[0].difference)
    return Finding(
        f"{worst.b} changes most: {worst.difference:+z.3f} "
        f"({worst.low:+z.3f} to {worst.high:+z.3f}) for {worst.a} on {worst.problems} problems, "
        f"{'significant' if p < 0.05 else 'not significant'} (p {chance(p, '= ')}, Holm over "
        f"{len(compared)} comparisons).",
        ("wording", "problems", "plain", "accuracy", "change", "only plain right",
         "only this right", "p"),
        rows,
        chart=_chart(stored, known),
    )  # fmt: skip


def _chart(stored: Stored, known: Mapping[str, tuple[str, str]]) -> Chart | None:
    """Accuracy against Kendall tau, over the problems that have all orders."""
    series = {}
    for strategy in stored.runs.strategies:
        name, found = wordings(strategy, known)
        taus = {float(v.removeprefix("tau=")): v for v in found if v.startswith("tau=")}
        if not taus or PLAIN not in found:
            continue
        ordered = {1.0: PLAIN, **taus}
        shared = set.intersection(*(set(found[v]) for v in ordered.values()))
        if shared:
            series[name] = [
                (tau, accuracy([float(found[ordered[tau]][p]) for p in sorted(shared)]))
                for tau in sorted(ordered)
            ]
    return Chart("Kendall tau of the premises", "accuracy", series) if series else None
