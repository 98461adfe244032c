"""Verdicts, bets and their pictures: vectors, limits, and runs on disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from evals.measures import debate_confidence, generative_verifier, judges
from evals.measures.charts import draw, save
from evals.measures.debate_confidence import Bet, excess, sides
from evals.measures.finding import Dots, Finding, NotMeasuredError, dots
from evals.measures.generative_verifier import Point, cost, exponents, frontier, wins_from
from evals.measures.stored import Stored
from evals.statistics.intervals import Interval
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample

# ------------------------------------------------------------------------ generative verifier


def test_what_verdicts_cost() -> None:
    assert (cost(4, 2, 1), cost(4, 2, 2), cost(8, 0, 2)) == (12, 20, 8)
    with pytest.raises(ValueError, match="S is 1 or more"):
        cost(0, 1, 1)


def test_the_exponents_of_a_known_law() -> None:
    """Error S^-a + V^-b under S V = C is least at S = C^(b / (a + b)) times a constant."""
    grid = [2.0 ** (i / 4) for i in range(61)]
    a, b = 0.4, 0.6
    points = [
        Point(s, v, s * v, 1 - s**-a / 4 - v**-b / 4)  # type: ignore[arg-type]
        for s, v in itertools.product(grid, grid)
        if 2 <= s * v <= 2**12
    ]
    assert exponents(points) == pytest.approx((0.6, 0.4), abs=0.05)
    assert np.isnan(exponents(points[:2])).all()


def test_who_wins_from_which_cost_on() -> None:
    voted = [Point(1, 0, 1, 0.5), Point(4, 0, 4, 0.7), Point(16, 0, 16, 0.71)]
    asked = [Point(1, 1, 2, 0.5), Point(4, 1, 8, 0.72), Point(8, 1, 16, 0.8)]
    assert wins_from(asked, voted) == 8
    assert wins_from(voted, asked) is None  # it leads at 4, and not to the end
    assert wins_from(voted[:1], asked) is None
    assert wins_from([*asked[:2], Point(16, 1, 32, 0.8)], voted[:2]) is None  # nobody voted then
    assert frontier([*voted, Point(2, 1, 5, 0.7)]) == voted


def judged_run(folder: Path, by: str = "judge", number: str = "verdicts") -> Path:
    """4 samples on 6 problems: half are right, and the judge knows with 4 verdicts only; without
    one there are 8 samples, three in four right."""
    store = Store(folder)
    manifest = {"run": {"name": "j", "task": "sums", "verifier": {"name": by}}, "notes": []}
    names = {v: f"best_of_n-n=4-verdicts={v}" for v in (1, 4)} | {0: "self_consistency-n=8"}
    with store.opened(manifest):
        for i, (verdicts, name) in itertools.product(range(6), names.items()):
            tree = RolloutTree(f"p{i}")
            found = []
            for slot, answer in enumerate("2332" if verdicts else "23222322"):
                sample = Sample(f"\\boxed{{{answer}}}", generated_tokens=10)
                node = tree.add(tree.root, slot, sample)
                score = (0.9 if answer == "2" else 0.1) if verdicts == 4 else 0.5
                steps = [score] if verdicts else []
                node.scores, node.emitted = {by: tuple(steps)} if steps else {}, (1.0, 0.0)
                found.append({"path": [slot], "answer": answer, "key": answer, "weight": 1.0,
                              "correct": answer == "2", "rank": 0.0, "steps": steps})  # fmt: skip
            usage = {"generated_tokens": 40, "verifier_tokens": 20 * verdicts,
                     "cancelled_calls": 0}  # fmt: skip
            line = {"problem": f"p{i}", "strategy": name, "question": "q", "answer": "2",
                    "gold": "2", "correct": True, "stop_reason": "finished", "node": [0],
                    "failures": [], "meta": {}, "usage": usage, "candidates": found}  # fmt: skip
            store.append(line, tree)
    entries = [
        {"name": n, "searcher": n.partition("-")[0], "independent": True, "params": {},
         "sweep": {f"verifier.{number}": v} if v else {}} for v, n in names.items()
    ]  # fmt: skip
    store.write_json("summary.json", {"strategies": entries})
    return folder


@pytest.mark.parametrize(("by", "number"), [("judge", "verdicts"), ("challenge", "n")])
def test_verdicts_of_a_run(tmp_path: Path, small_run: Path, by: str, number: str) -> None:
    found = generative_verifier.measure(Stored([judged_run(tmp_path / "j", by, number)]))
    assert "lambda 0.50" in found.notes[0]
    by_rows = {(row[0], row[1]): row[2:] for row in found.rows}
    assert by_rows["4 verdicts a solution", 2][0] == 6  # 2 (1 + 4 / 2)
    value = by_rows["4 verdicts a solution", 4][1]
    assert isinstance(value, Interval)
    assert value.value == 1
    low = by_rows["1 verdict a solution", 4][1]
    assert isinstance(low, Interval)
    assert low.value == pytest.approx(0.5)
    assert ("4 verdicts a solution", 8) not in by_rows
    voted = by_rows["the vote", 8][1]  # of the fullest strategy, which nobody has judged
    assert isinstance(voted, Interval)
    assert voted.value == 1
    with pytest.raises(NotMeasuredError, match="verifier `judge`"):
        generative_verifier.measure(Stored([small_run]))


# ------------------------------------------------------------------------------------ debate


def test_sides_cannot_all_be_sure() -> None:
    bets = [Bet(0.75, "a", True), Bet(0.8, "b", False)]
    assert excess(bets) == pytest.approx(0.275)
    assert excess([*bets, Bet(0.65, "a", True)]) == pytest.approx(0.25)  # a's side says .7
    assert sides([Bet(0.9, "a", True), Bet(0.7, "a", True)]) == pytest.approx([0.8])
    with pytest.raises(ValueError, match="two sides"):
        excess(bets[:1])


def debated_run(folder: Path) -> Path:
    """Two seats that disagree at first on every problem; p1's stay apart, both of them sure."""
    store = Store(folder)
    with store.opened({"run": {"name": "d", "task": "sums"}, "notes": []}):
        for problem, last in (("p0", "22"), ("p1", "23")):
            tree, found = RolloutTree(problem), []
            for seat, (first, then) in enumerate(zip("23", last, strict=True)):
                node = tree.add(tree.root, seat, Sample(first, generated_tokens=1))
                later = tree.add(node, 0, Sample(then, generated_tokens=1))
                for said, answer, number, bet in ((node, first, 0, 0.6), (later, then, 1, 0.8)):
                    info = {"bet": bet, "seat": seat, "round": number}
                    tree.add(said, 5, Sample("", generated_tokens=1, info=info))
                    found.append({"path": list(said.path), "answer": answer, "key": answer,
                                  "correct": answer == "2", "weight": float(number), "rank": 0.0,
                                  "steps": []})  # fmt: skip
            line = {"problem": problem, "strategy": "debate", "question": "q", "answer": "2",
                    "gold": "2", "correct": True, "stop_reason": "finished", "node": [0, 0],
                    "failures": [], "meta": {}, "usage": {"generated_tokens": 8},
                    "candidates": found}  # fmt: skip
            store.append(line, tree)
    store.write_json("summary.json", {"strategies": [{"name": "debate", "searcher": "debate"}]})
    return folder


def test_bets_of_a_run(tmp_path: Path, small_run: Path) -> None:
    found = debate_confidence.measure(Stored([debated_run(tmp_path / "d")]))

    def values(row: int) -> list[float]:
        return [x.value for x in found.rows[row][3:] if isinstance(x, Interval)]

    assert values(0) == pytest.approx([0.6, 0.5, 1, 0.1, 0])  # bet, right, apart, excess, sure
    assert values(1) == pytest.approx([0.8, 0.75, 0.5, 0.3, 1])
    with pytest.raises(NotMeasuredError, match="debate"):
        debate_confidence.measure(Stored([small_run]))


# ------------------------------------------------------------------------------------ judges


def test_a_partial_judge_leaves_more_open() -> None:
    counts = np.array([[40, 160], [60, 140]])
    alike, own = (judges.levels(counts, 10, partial=p, draws=800) for p in (False, True))
    surer, less = (np.mean(x[:, 0] > x[:, 1]) for x in (alike, own))
    assert 0.5 < less < surer
    assert surer > 0.95


def test_two_judges_of_three_levels_turn_the_order_round() -> None:
    """The published counterexample: observed alike, the truth is not."""
    observed = np.array([[0.3, 0.4, 0.3], [0.24, 0.5, 0.26]])
    honest = np.eye(3)
    stern = np.array([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]])  # half of the threes are called two
    means = [observed @ np.linalg.inv(j) @ [1, 2, 3] for j in (honest, stern)]
    assert means[0] == pytest.approx([2.00, 2.02])
    assert means[1] == pytest.approx([2.30, 2.28])


# ---------------------------------------------------------------------------------- pictures


def test_a_picture_of_named_estimates(tmp_path: Path) -> None:
    head = ("name", "value", "other")
    rows = [("b", Interval(0.5, 0.4, 0.6, "w"), 3), ("a_$x$", Interval(-0.1, -0.2, 0.1, "w"), None)]
    chart = dots("accuracy", head, rows, "value", "other")
    assert chart == Dots("accuracy", {"value": [("b", rows[0][1]), ("a_$x$", rows[1][1])],
                                      "other": []})  # fmt: skip
    (axes,) = draw(chart).axes
    assert next(label.get_text() for label in axes.get_yticklabels()) == "b"
    written = save(chart, tmp_path, "n")
    assert [p.name for p in written] == ["n.png", "n.svg", "n.pdf"]
    assert Finding("s", head, rows, chart=chart).chart is chart
