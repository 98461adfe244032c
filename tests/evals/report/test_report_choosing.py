"""The sections on abstaining, judges and pools, from runs and trees as they are stored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.report import choosing, write
from evals.report.load import load
from reasoning.aggregators.genselect import genselect
from reasoning.aggregators.permutation import permutation
from reasoning.aggregators.tournament import tournament
from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.runs.store import Store
from reasoning.search import Search
from reasoning.tree import RolloutTree

LETTERS = "ABCD"


def line(problem: str, strategy: str, answer: str | None, gold: str, **more: Any) -> dict[str, Any]:
    return {
        "problem": problem,
        "strategy": strategy,
        "question": problem,
        "answer": answer,
        "gold": gold,
        "correct": answer == gold,
        "stop_reason": "finished",
        "candidates": [],
        "usage": {"generated_tokens": 10},
        **more,
    }


def stored(folder: Path, lines: list[dict[str, Any]], trees: list[Any] | None = None) -> Path:
    store = Store(folder)
    with store.opened({"run": {"name": "r", "task": {"name": "t"}}, "notes": []}):
        for i, row in enumerate(lines):
            store.append(row, trees[i] if trees else RolloutTree(row["problem"]))
    return folder


def test_abstention_from_stored_confidences(tmp_path: Path) -> None:
    sure, answers = [0.9, 0.8, 0.7, 0.6, None], ["A", "A", "B", "A", None]
    rows = [
        line(f"p{i}", "vote", a, "A", **({} if c is None else {"confidence": c}))
        for i, (c, a) in enumerate(zip(sure, answers, strict=True))
    ]
    rows += [line(f"p{i}", "plain", "A", "A") for i in range(5)]
    runs = load([stored(tmp_path / "r", rows)])
    found = choosing.curve(runs.strategies[0])
    assert found is not None
    assert found.risk == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])
    assert choosing.curve(runs.strategies[1]) is None
    write([tmp_path / "r"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Abstaining" in page
    assert f"{found.area.value:.3f}" in page
    assert "Judges and places" not in page


def asked(aggregator: Any, says: str, seed: int, **options: Any) -> Any:
    """The tree in which a judge that always says the same has looked at four answers."""

    def reply(prompt: Prompt, _: int) -> str:
        return says if prompt.turn is not None else f"It is \\boxed{{{prompt.slot}}}."

    search = Search(Problem(f"p{seed}", "?"), Scripted(reply), sampling=Sampling(60), seed=seed)

    async def choose() -> None:
        await search.draws(search.root, 4, until="end", land=search.emit)
        await aggregator(await search.agreed(search.candidates), search, **options)

    asyncio.run(choose())
    return search.tree


@pytest.mark.parametrize(
    ("aggregator", "options", "says", "bias"),
    [
        (genselect, {}, "Best: 1", 3 / 4),
        (genselect, {}, "Best: 4", -1 / 4),
        (tournament, {"form": "round_robin"}, "Better: A", 1 / 2),
        (permutation, {"m": 3}, "Ranking: 1 > 2 > 3 > 4", 3 / 4),
    ],
)
def test_a_judge_that_goes_by_place_is_told(
    aggregator: Any, options: dict[str, Any], says: str, bias: float, tmp_path: Path
) -> None:
    name = f"vote-n=4-{aggregator.__name__}"
    trees = [asked(aggregator, says, seed, **options) for seed in range(4)]
    rows = [line(f"p{i}", name, "1", "1") for i in range(4)]
    runs = load([stored(tmp_path / "r", rows, trees)])
    found = choosing.judged(runs.strategies[0])
    assert found is not None
    assert found.excess.value == pytest.approx(bias)
    assert found.problems == 4
    write([tmp_path / "r"], tmp_path / "page.html")
    assert "Judges and places" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"verdict"',
        b'["verdict"]',
        b'{"info": {"verdict": 1}}',
        b'{"info": {"verdict": "x", "shown": [1, 2]}}',
        b'{"info": {"verdict": null, "shown": [1, 2]}}',
        b'{"info": {"verdict": 7.5, "shown": [1, 2]}}',
        b'{"info": {"verdict": 0, "shown": [1]}}',
    ],
)
def test_damaged_verdicts_are_none(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "tree").write_bytes(raw + b"\n")
    assert list(choosing.verdicts(tmp_path / "tree")) == []
    assert list(choosing.verdicts(tmp_path / "none")) == []


def test_who_can_be_believed(tmp_path: Path) -> None:
    """Four who mostly know and six who mostly guess: told apart without the gold answers."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(100):
        gold, other = (LETTERS[k] for k in rng.permutation(4)[:2])
        for s in range(10):
            known = rng.random() < (0.9 if s < 4 else 0.1)
            answer = gold if rng.random() < 0.8 else other
            rows.append(line(f"p{i}", f"s{s}", answer if known else LETTERS[rng.integers(4)], gold))
    runs = load([stored(tmp_path / "r", rows)])
    found = choosing.pool(runs)
    assert found is not None
    assert min(found[0].reliability[:4]) > 0.75
    assert max(found[0].reliability[4:]) < 0.4
    right = [
        LETTERS[v - 1] == runs.problems[p].gold
        for p, v in zip(found[2], found[0].voted, strict=True)
    ]
    assert np.mean(right) > 0.85
    assert f"weighed by it are right in {np.mean(right):.3f}" in str(choosing.believed(runs))


def test_numbers_are_no_options(tmp_path: Path) -> None:
    rows = [line(f"p{i}", f"s{s}", str(i), "1") for i in range(36) for s in range(3)]
    assert choosing.pool(load([stored(tmp_path / "r", rows)])) is None
