"""What is worked out from whole runs: published and hand-made vectors, and runs on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.measures import loops, multiplicity, reproducibility, truncated
from evals.measures.finding import Finding, NotMeasuredError
from evals.measures.stored import Stored
from evals.statistics.intervals import Interval
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample


def cell(finding: Finding, name: str, column: int = 1) -> float:
    """The estimate in a row of a finding."""
    (row,) = (row for row in finding.rows if row[0] == name)
    found = row[column]
    assert isinstance(found, Interval)
    return found.value


def test_answers_settle_where_they_change_no_more() -> None:
    assert truncated.settled_at([0, 10, 20], ["a", "b", "b"]) == 10
    assert truncated.settled_at([0, 10, 20], ["b", "a", "b"]) == 20
    assert truncated.settled_at([0, 10, 20], [None, None, None]) == 0
    with pytest.raises(ValueError, match="rising budgets"):
        truncated.settled_at([10, 0], ["a", "a"])


def test_underthinking_is_what_was_spent_after_a_right_thought() -> None:
    found = [
        truncated.underthinking(first, total)
        for first, total in ((200, 1000), (None, 500), (3000, 6000))
    ]
    assert sum(found) / 3 == pytest.approx(0.43333, abs=1e-5)
    assert truncated.underthinking(700, 600) == 0


def test_runs_diverge_at_the_first_token_that_differs() -> None:
    assert reproducibility.divergence([[1, 2, 3], [1, 2, 4], [1, 2, 3]]) == 2
    assert reproducibility.divergence([[1, 2, 3], [1, 2, 3]]) == 3
    assert reproducibility.divergence([[1, 2, 3], [1, 2]]) == 2
    assert reproducibility.divergence([[], [1]]) == 0
    assert reproducibility.spread([0.5, 0.5]) == 0
    assert reproducibility.chance_spread([[0.9, 0.2], [0.7, 0.8]], 1) == pytest.approx(0.02**0.5)
    assert reproducibility.chance_spread([[0.9], [0.7]], 0) is None


def test_equally_good_strategies_disagree() -> None:
    found = multiplicity.disagreement([1, 1, 0, 1], [[1, 0, 0, 1], [0, 1, 0, 1]])
    assert sum(found.ambiguity) / 4 == 0.5
    assert sum(found.discrepancy) / 4 == 0.25


def test_a_loop_is_a_piece_said_three_times() -> None:
    said = "Let us check this again, from the beginning. "
    assert loops.loops_from(said * 30) is not None
    assert loops.loops_from(said * 30 + "done") is not None  # it went round on the way
    assert loops.loops_from(" ".join(map(str, range(1000)))) is None


def cut_run(folder: Path) -> Path:
    """Thinking cut at 0, 10 and 20 tokens on three problems; gold is 2."""
    answers = {"p0": "222", "p1": "332", "p2": "323"}
    store = Store(folder)
    with store.opened({"run": {"name": "cut", "task": "sums"}, "notes": []}):
        for problem, row in answers.items():
            for tokens, answer in zip((0, 10, 20), row, strict=True):
                tree = RolloutTree(problem)
                sample = Sample(answer, token_ids=(1, int(answer)), generated_tokens=tokens + 2)
                tree.add(tree.root, 0, sample)
                right = answer == "2"
                line = {
                    "problem": problem, "strategy": f"truncated_answer-tokens={tokens}",
                    "question": problem, "answer": answer, "gold": "2", "correct": right,
                    "stop_reason": "finished", "node": [0], "failures": [], "meta": {},
                    "usage": {"generated_tokens": tokens + 2},
                    "candidates": [
                        {"path": [0], "answer": answer, "key": answer, "correct": right,
                         "weight": 1.0, "rank": 0.0, "steps": []}
                    ],
                }  # fmt: skip
                store.append(line, tree)
    entries = [
        {"name": f"truncated_answer-tokens={t}", "searcher": "truncated_answer",
         "params": {"tokens": t}} for t in (20, 0, 10)
    ]  # fmt: skip
    store.write_json("summary.json", {"strategies": entries})
    return folder


def test_thinking_cut_short(tmp_path: Path) -> None:
    found = truncated.measure(Stored([cut_run(tmp_path / "cut")]))
    values = [cell(found, f"{tokens} tokens") for tokens in (0, 10, 20)]
    assert values == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert cell(found, "settled at, tokens") == pytest.approx((0 + 20 + 20) / 3)
    # The wrong one was right at 10 of 22 tokens.
    assert cell(found, "underthinking, 1 wrong answers") == pytest.approx(1 - 10 / 22)


def test_a_run_repeats_itself_and_another_does_not(tmp_path: Path) -> None:
    a, b, c = (cut_run(tmp_path / name) for name in "abc")
    text = (c / "results.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in text]
    lines[0] |= {"correct": False, "answer": "9"}
    (c / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    name = "truncated_answer-tokens=0"
    same = reproducibility.measure(Stored([a, b]))
    assert (cell(same, name, 2), cell(same, name, 6)) == (0, 2)
    other = reproducibility.measure(Stored([a, c]))
    assert (cell(other, name, 2), cell(other, name, 3)) == pytest.approx((1 / 3, 1 / 3))
    seeds = multiplicity.measure(Stored([a, c]))
    assert cell(seeds, f"runs of {name}", 2) == pytest.approx(1 / 3)
    with pytest.raises(NotMeasuredError, match="name two folders"):
        reproducibility.measure(Stored([a]))


def test_loops_of_a_run_are_looked_for_in_its_trees(small_run: Path) -> None:
    found = loops.measure(Stored([small_run]))
    assert cell(found, "share of samples that loop") == 0
    assert found.rows[0][2] == 6
