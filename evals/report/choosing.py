"""The sections on choosing: what abstaining is worth, whether judges favour a place, and who of
several strategies can be believed about options."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evals.report.html import Html, Part, breakable, element, join, table
from evals.report.load import Runs, StoredStrategy
from evals.statistics.abstention import RiskCoverage, risk_coverage
from evals.statistics.places import PlaceBias, place_bias
from evals.statistics.top_two import TopTwo, top_two
from reasoning.runs.store import Store

JUDGES = ("genselect", "chops", "tournament", "permutation", "mbr")
"""Aggregators whose verdicts on lists stand in the trees."""

FEWEST = 30
"""Problems from which on reliabilities are estimated."""


# ---------------------------------------------------------------------------- abstention


def curve(strategy: StoredStrategy) -> RiskCoverage | None:
    """Of its answers by their confidence, who abstained last; None where it has none, or one."""
    rows = [r for r in strategy.rows.values() if r.correct is not None]
    sure = [-math.inf if r.answer is None or r.confidence is None else r.confidence for r in rows]
    if len(set(sure)) < 2:
        return None
    return risk_coverage(sure, [bool(r.correct) for r in rows])


def abstention(runs: Runs) -> Html | None:
    """What would be wrong among the surest answers, for strategies that say how sure they are."""
    found = [(s, c) for s in runs.strategies if (c := curve(s)) is not None]
    rows: list[list[Part]] = [
        [
            element("th", breakable(s.label), scope="row"),
            *(f"{c.at(share):.3f}" for share in (1.0, 0.8, 0.5, 0.2)),
            f"{c.area.value:.3f}",
            f"{c.area.low:.3f} to {c.area.high:.3f}",
            f"{c.best:.3f}",
        ]
        for s, c in found
    ]
    head: list[Part] = ["strategy", "risk of all", "of the surest 80 %", "50 %", "20 %"]
    head += ["AURC", "95 % interval", "best order"]
    caption = (
        "Share of wrong answers among those that a strategy is surest of, by its own confidence "
        "(the share of a vote, ...); no answer comes last, and is wrong. AURC: the mean risk over "
        "all shares (1805.08206), 95 % bootstrap interval over problems; a confidence that says "
        "nothing has the risk of all, one that puts every right answer first the best order's."
    )
    return table(head, rows, caption=caption) if rows else None


# -------------------------------------------------------------------------------- judges


class Verdict(NamedTuple):
    """How far a verdict was for the first place, in [0, 1], of how many shown."""

    first: float
    shown: int


def verdicts(file: Path) -> Iterator[Verdict]:
    """Those in a stored tree: of pairs how likely the first is better, of lists who is best."""
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for raw in lines:
            if b'"verdict"' in raw and (found := _verdict(raw)) is not None:
                yield found


def _verdict(raw: bytes) -> Verdict | None:
    try:
        info = json.loads(raw).get("info") or {}
        shown, said = len(info["shown"]), info["verdict"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if isinstance(said, list) and said:
        said = said[0]
    if shown < 2 or isinstance(said, bool) or not isinstance(said, int | float):
        return None
    first = said if isinstance(said, float) else float(said == 0)
    return Verdict(first, shown) if 0 <= first <= 1 else None


def judged(strategy: StoredStrategy) -> PlaceBias | None:
    """Whether its judge favours the first place; None where no verdict is stored."""
    if not any(judge in strategy.name for judge in JUDGES):
        return None
    store = Store(strategy.run.folder)
    found = [(v, p) for p in strategy.rows for v in verdicts(store.tree_path(strategy.name, p))]
    first, shown = [v.first for v, _ in found], [v.shown for v, _ in found]
    return place_bias(first, shown, [p for _, p in found])


def judges(runs: Runs) -> Html | None:
    """How much more often than by chance the first that is shown wins."""
    found = [(s, b) for s in runs.strategies if (b := judged(s)) is not None]
    rows: list[list[Part]] = [
        [
            element("th", breakable(s.label), scope="row"),
            f"{b.verdicts:,}",
            f"{b.problems:,}",
            f"{b.excess.value:+z.3f}",
            f"{b.excess.low:+z.3f} to {b.excess.high:+z.3f}",
        ]
        for s, b in found
    ]
    head: list[Part] = ["judge of", "verdicts", "problems", "first place", "95 % interval"]
    caption = (
        "How much more often than by chance a judge preferred what it was shown first; who stood "
        "where was drawn by lot, so 0 is fair. Bootstrap over problems. Pairs in both orders, and "
        "several orders of a list, take such a bias out of the choice, at the price of calls."
    )
    return table(head, rows, caption=caption) if rows else None


# ------------------------------------------------------------------------------- top two


def pool(runs: Runs) -> tuple[TopTwo, list[str], list[str]] | None:
    """What the strategies' answers say of each other where all are options: with the labels of the
    strategies, and the problems; None where they are not, or too few."""
    problems = [p for p in runs.problems if all(p in s.rows for s in runs.strategies)]
    if len(runs.strategies) < 3 or len(problems) < FEWEST:
        return None
    told = [[s.rows[p].answer for p in problems] for s in runs.strategies]
    options = {a for row in told for a in row if a is not None}
    if not all(len(a) == 1 and "A" <= a <= "Z" for a in options):
        return None
    most = max((ord(a) - 64 for a in options), default=0)
    if most < 3:
        return None
    labels = [[0 if a is None else ord(a) - 64 for a in row] for row in told]
    return top_two(labels, most), [s.label for s in runs.strategies], problems


def believed(runs: Runs) -> Html | None:
    """How reliable each strategy is by the others' answers, and how often it is right."""
    if (found := pool(runs)) is None:
        return None
    result, labels, problems = found
    rows: list[list[Part]] = []
    for s, label, p in zip(runs.strategies, labels, result.reliability, strict=True):
        grades = [s.rows[name].correct for name in problems]
        known = [g for g in grades if g is not None]
        right = f"{np.mean(known):.3f}" if known else "?"
        rows.append([element("th", breakable(label), scope="row"), f"{p:.3f}", right])
    unsure = [name for name, q in zip(problems, result.sure, strict=True) if q < 0.6]
    golds = [runs.problems[p].gold for p in problems]
    hits = [chr(64 + v) == g for v, g in zip(result.voted, golds, strict=True) if g is not None]
    caption = (
        "Reliability (0 guesses, 1 always picks one of two plausible options) told from agreement "
        f"alone, without gold answers, over {len(problems):,} problems (top-two; Jeong and Chung, "
        "2023), beside the accuracy. "
        + (f"The answers weighed by it are right in {np.mean(hits):.3f}. " if hits else "")
        + f"Toss-ups between two options: {len(unsure):,} problems"
        + (f" ({', '.join(unsure[:10])}{', ...' if len(unsure) > 10 else ''})." if unsure else ".")
    )
    return join(table(["strategy", "reliability", "accuracy"], rows, caption=caption))
