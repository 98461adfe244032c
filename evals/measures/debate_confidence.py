"""How sure those are who argue (Prasad and Nguyen, 2025, arXiv:2505.19184)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evals.measures.finding import Cell, Chart, Finding, NotMeasuredError, mean
from evals.measures.stored import Stored, described
from evals.report.load import StoredStrategy
from evals.statistics.intervals import Interval, accuracy
from reasoning.backends.formats import run_folder
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree

MEANS = (
    "What seats of a debate bet on their own answers, round by round, beside how often these are "
    "right. Where they hold several answers at most one is right, so that the bets of all sides "
    "may add up to 1 at most, and a side's to 1 / sides on average: the excess needs no right "
    "answer to be known."
)
NOT = (
    "A bet is what a model says when it is asked, not what it would act on; seats that agree are "
    "one side, which is left out of the excess. A confidence stated in debate is no weight for a "
    "vote."
)

SURE = 0.75


class Bet(NamedTuple):
    """What a seat says in [0, 1] of the answer it gave, and whether that is right."""

    share: float
    answer: Hashable
    right: bool


def sides(bets: Sequence[Bet]) -> list[float]:
    """The mean bet of every answer that is held in a round."""
    found = defaultdict[Hashable, list[float]](list)
    for bet in bets:
        found[bet.answer].append(bet.share)
    return [float(np.mean(each)) for each in found.values()]


def excess(bets: Sequence[Bet]) -> float:
    """The mean bet of the sides less 1 / sides: above 0 they cannot all be as right as they say.

    Raises ValueError for fewer than two sides.
    """
    each = sides(bets)
    if len(each) < 2:
        raise ValueError(f"an excess is about two sides or more, got {len(each)}")
    return float(np.mean(each)) - 1 / len(each)


def measure(stored: Stored) -> Finding:
    rows: list[tuple[Cell, ...]] = []
    series: dict[str, list[tuple[float, Interval]]] = {}
    said = []
    for strategy in stored.runs.strategies:
        if described(strategy).get("searcher") != "debate":
            continue
        rounds = _rounds(strategy)
        found = [
            (number, _row(strategy.label, number, rounds[number])) for number in sorted(rounds)
        ]
        rows += [row for _, row in found]
        series[strategy.label] = [(float(n), r[3]) for n, r in found if isinstance(r[3], Interval)]
        said += [r[4:] for _, r in found[-1:]]
    if not rows:
        raise NotMeasuredError("this needs searcher `debate` with `bet`, a question about sureness")
    last = rows[-1]
    bet, right, over = last[3], last[4], last[6]
    assert isinstance(bet, Interval)
    assert isinstance(right, Interval)
    beyond = "seats never disagree then"
    if isinstance(over, Interval):
        beyond = f"where they disagree they bet {over.signed} beside what could be"
    return Finding(
        f"After {last[1]} rounds seats of {last[0]} bet {bet.value:.3f} ({bet.low:.3f} to "
        f"{bet.high:.3f}) on answers that are right in {right.value:.3f}; {beyond}.",
        ("strategy", "round", "problems", "mean bet", "right", "disagree", "excess over 1/sides",
         f"all sides {SURE:g} or more"),
        rows,
        chart=Chart("round", "mean bet", series),
    )  # fmt: skip


def _row(label: str, number: int, problems: Mapping[str, Sequence[Bet]]) -> tuple[Cell, ...]:
    """One round: each problem's mean counts, and of excess and sureness those with two sides."""
    bets = accuracy([float(np.mean([b.share for b in each])) for each in problems.values()])
    right = accuracy([float(np.mean([b.right for b in each])) for each in problems.values()])
    split = [each for each in problems.values() if len(sides(each)) > 1]
    over = mean([excess(each) for each in split]) if split else None
    sure = accuracy([float(min(sides(each)) >= SURE) for each in split]) if split else None
    apart = accuracy([float(len(sides(each)) > 1) for each in problems.values()])
    return label, number, len(problems), bets, right, apart, over, sure


def _rounds(strategy: StoredStrategy) -> dict[int, dict[str, list[Bet]]]:
    """The bets of every problem by round."""
    found = defaultdict[int, dict[str, list[Bet]]](dict)
    for problem, row in strategy.rows.items():
        result = strategy.run.result(row)
        known = {tuple(c["path"]): c for c in result.get("candidates") or ()}
        tree = Store(strategy.run.folder).tree_path(strategy.name, problem)
        try:
            told = list(_bets(run_folder.load(tree), known))
        except run_folder.DAMAGE:
            continue
        for number, bet in told:
            found[number].setdefault(problem, []).append(bet)
    return found


def _bets(
    tree: RolloutTree, known: Mapping[tuple[int, ...], Mapping[str, Any]]
) -> Iterator[tuple[int, Bet]]:
    for node in tree:
        info = node.sample.info or {}
        about = None if node.parent is None else known.get(node.parent.path)
        share = info.get("bet")
        if about is not None and about.get("key") is not None and isinstance(share, float | int):
            yield int(info["round"]), Bet(float(share), about["key"], bool(about["correct"]))
