"""Wordings of a task that leave its answers as they are."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from random import Random

import pytest

from evals.tasks.perturbed import INSTRUCTIONS, PASSAGES, order_at, perturbed, sentences
from evals.tasks.shards import shards
from reasoning.errors import TaskError

STORY = (
    "Ann has 3 pens. Bob has 4.5 cups. Mr. Cy sold 12 maps. Dee is 7. How many maps did he sell?"
)


def quiz(tmp_path: Path, **more: object) -> dict[str, object]:
    rows = [
        {"id": "q0", "question": STORY, "answer": "12"},
        {"id": "q1", "question": "What is 2 + 2?", "answer": "4"},
    ]
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "jsonl", "path": str(path), **more}


def test_what_asks_stays_behind_the_premises() -> None:
    premises, asked = sentences(STORY)
    assert len(premises) == 4
    assert premises[2] == "Mr. Cy sold 12 maps."
    assert asked == "How many maps did he sell?"
    assert sentences("A is 1. What is A? Round it.") == (["A is 1."], "What is A? Round it.")
    assert sentences("Let x be 1. Compute x.") == (["Let x be 1."], "Compute x.")


@pytest.mark.parametrize(("tau", "found"), [(1, 1), (0.5, 0.6), (0, 0), (-0.5, -0.6), (-1, -1)])
def test_an_order_has_its_kendall_tau(tau: float, found: float) -> None:
    for seed in range(20):
        order = order_at(tau, 5, Random(seed))
        assert sorted(order) == [0, 1, 2, 3, 4]
        signs = [1 if a < b else -1 for a, b in combinations(order, 2)]
        assert sum(signs) / len(signs) == pytest.approx(found)


def test_wordings_of_a_problem(tmp_path: Path) -> None:
    kinds = ("irrelevant", "needless", "instruction", "both", "attack")
    task = perturbed(task=quiz(tmp_path), kinds=kinds, orders=[-1, 0])
    ids = [p.id for p in task.problems]
    assert ids[:2] == ["plain-q0", "irrelevant-q0"]
    assert [i for i in ids if i.startswith("tau")] == ["tau=-1-q0", "tau=0-q0"]  # of q0 alone
    known = {p.id: p for p in task.problems}
    assert known["plain-q0"].question == STORY
    assert all(p.gold == ("12" if p.id.endswith("q0") else "4") for p in task.problems)
    assert known["tau=-1-q0"].question.startswith("Dee is 7. Mr. Cy sold 12 maps. Bob")
    assert known["tau=-1-q0"].prompt.startswith("Dee is 7.")
    assert known["irrelevant-q1"].question.partition("\n\n")[0] in PASSAGES
    assert known["instruction-q1"].question.partition("\n\n")[2] in INSTRUCTIONS
    facts = known["needless-q1"].question.removesuffix(" What is 2 + 2?")
    left, _, right = facts.removesuffix(".").partition(" is ")
    more, _, total = right.partition(" less than ")
    assert int(left) + int(more) == int(total)
    attacked = known["attack-q0"]
    assert f"\\boxed{{{attacked.meta['target']}}}" in attacked.prompt
    again = perturbed(task=quiz(tmp_path), kinds=kinds, orders=[-1, 0])
    assert [p.prompt for p in again.problems] == [p.prompt for p in task.problems]


def test_paraphrases_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "again.jsonl"
    path.write_text(json.dumps({"id": "q1", "paraphrases": ["Add 2 and 2.", "2 + 2 is?"]}) + "\n")
    task = perturbed(task=quiz(tmp_path), kinds=(), paraphrases=str(path))
    assert [p.id for p in task.problems] == ["plain-q0", "plain-q1", "paraphrase-1-q1",
                                             "paraphrase-2-q1"]  # fmt: skip
    assert task.problems[2].prompt.startswith("Add 2 and 2.")
    path.write_text(json.dumps({"id": "else", "paraphrases": ["x"]}) + "\n")
    with pytest.raises(TaskError, match="no problem of the task"):
        perturbed(task=quiz(tmp_path), kinds=(), paraphrases=str(path))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no other wording"):
        perturbed(task=quiz(tmp_path), kinds=())
    with pytest.raises(TaskError, match="4 sentences before"):
        perturbed(task={"name": "nano", "n": 3, "difficulty": 1}, kinds=(), orders=[0])
    with pytest.raises(TaskError, match="nowhere in its prompt"):
        perturbed(task=quiz(tmp_path, prompt="{id}"))
    with pytest.raises(TaskError, match="neither mathematics nor options"):
        perturbed(task={"name": "countdown", "n": 2}, kinds=("attack",))


def test_shards_are_neighbours(tmp_path: Path) -> None:
    task = shards(task={"name": "nano", "n": 7}, shards=3)
    whole = [t for p in task.problems for t in p.meta["examples"]]  # type: ignore[attr-defined]
    assert [p.meta["of"] for p in task.problems] == [2, 3, 2]
    assert len(whole) == 7
    assert whole[0].count("\n") == 1
    bare = shards(task={"name": "nano", "n": 7}, shards=3, gold=False)
    assert bare.problems[0].question.startswith(whole[0].partition("\n")[0] + "\n\n")
    with pytest.raises(TaskError, match="3 at most"):
        shards(task={"name": "nano", "n": 7}, shards=4)
