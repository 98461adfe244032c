"""Notes from whole runs: what is gathered, who may read it, and what it costs with and without."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from evals.gathering import gather, write
from evals.tasks.contexts import contexts
from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError, StoreError, TaskError
from reasoning.runs import run as runner
from reasoning.runs.merge import merge
from reasoning.runs.plan import plan
from reasoning.runs.recipe import parse
from reasoning.runs.shard import Shard
from searchers.across.notes import Notes, read

BEHAVIOUR = "behavior_count: Count."


def rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def recipe(path: Path, searcher: dict[str, Any], **change: Any) -> Any:
    task = {"name": "jsonl", "path": str(path)}
    replies = ["one two \\boxed{1}", BEHAVIOUR]
    data = {
        "task": task,
        "generator": {"name": "scripted", "replies": replies},
        "strategies": [searcher],
    }
    return parse({**data, **change})


def go(todo: Any, out: Path, **options: Any) -> dict[str, Any]:
    return asyncio.run(runner.run(todo, out, **options))


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return rows(
        tmp_path / "train.jsonl",
        [
            {"id": f"t{i}", "question": f"What is {i} of the {i} things?", "answer": str(i)}
            for i in (3, 1, 2)
        ],
    )


@pytest.fixture
def test(tmp_path: Path) -> Path:
    asked = [{"id": f"q{i}", "question": f"How many are {i}?", "answer": "1"} for i in range(4)]
    return rows(tmp_path / "test.jsonl", asked)


def noted(train: Path, tmp_path: Path) -> tuple[Notes, Path, dict[str, Any]]:
    summary = go(recipe(train, {"searcher": "self_consistency", "n": 2}), tmp_path / "train")
    notes, file = gather(tmp_path / "train"), tmp_path / "notes.json"
    write(notes, file)
    return notes, file, summary


def test_the_chosen_texts_in_the_order_of_the_task(train: Path, tmp_path: Path) -> None:
    notes, file, summary = noted(train, tmp_path)
    assert [note.id for note in notes.notes] == ["t3", "t1", "t2"]
    assert {note.text for note in notes.notes} == {"one two \\boxed{1}"}
    assert [note.correct for note in notes.notes] == [False, True, False]
    assert notes.notes[0].prompt.startswith("What is 3 of the 3 things?\n")
    assert (notes.about, notes.strategy) == ("questions", "self_consistency-n=2")
    (row,) = summary["strategies"]
    assert notes.cost["generated_tokens"] == row["generated_tokens"] > 0
    assert notes.cost["calls"] == row["calls"] == 6
    assert read(file) == notes
    assert isinstance(loaded := read(str(file)), Notes)
    assert loaded.digest == notes.digest


def test_what_is_shared_is_told_with_and_without(train: Path, test: Path, tmp_path: Path) -> None:
    notes, file, _ = noted(train, tmp_path)
    summary = go(
        recipe(test, {"searcher": "medprompt", "notes": str(file), "n": 2}), tmp_path / "r"
    )
    (row,) = summary["strategies"]
    assert row["shared"] == dict(notes.cost)
    own, once = row["generated_tokens"] / 4, notes.cost["generated_tokens"]
    (told,) = [note for note in summary["notes"] if "reads notes" in note]
    assert f"cost {once:,.0f} generated tokens in 6 calls, once" in told
    assert f"{own + once / 4:,.0f} a problem with them, spread over these 4, and {own:,.0f}" in told


def test_shards_pay_once(train: Path, test: Path, tmp_path: Path) -> None:
    _, file, _ = noted(train, tmp_path)
    todo = recipe(test, {"searcher": "medprompt", "notes": str(file), "n": 2})
    whole = go(todo, tmp_path / "whole")
    parts = [tmp_path / "parts" / f"shard-{i}-of-2" for i in (1, 2)]
    for i, part in enumerate(parts, start=1):
        go(todo, part, shard=Shard(i, 2))
    summary, _ = merge(parts, tmp_path / "merged")
    assert summary["strategies"] == whole["strategies"]
    assert [n for n in summary["notes"] if "once" in n] == [
        n for n in whole["notes"] if "once" in n
    ]


def test_a_leak_is_refused_before_anything_is_spent(
    train: Path, test: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file, _ = noted(train, tmp_path)
    calls: list[object] = []
    monkeypatch.setattr(Scripted, "generate", lambda *args, **kwargs: calls.append(args))
    asked = ["Else?", "what is 1 of the 1 THINGS?"]
    leaking = rows(test, [{"question": q, "answer": "1"} for q in asked])
    todo = recipe(leaking, {"searcher": "handbook", "notes": str(file)})
    with pytest.raises(RecipeError, match=r"from 't1', in which problem '2' is asked"):
        go(todo, tmp_path / "r")
    assert not calls
    assert plan(todo, limit=1).problems  # the other problem is not asked


def test_near_questions_are_named(train: Path, tmp_path: Path) -> None:
    _, file, _ = noted(train, tmp_path)
    near = rows(tmp_path / "near.jsonl", [{"question": "What is 1 of the 1 things", "answer": "1"}])
    todo = plan(recipe(near, {"searcher": "handbook", "notes": str(file)}))
    assert any("problem '1' and 't1'" in note for note in todo.notes)


def test_other_notes_are_another_run(train: Path, test: Path, tmp_path: Path) -> None:
    notes, file, _ = noted(train, tmp_path)
    todo = recipe(test, {"searcher": "medprompt", "notes": str(file), "k": 1})
    go(todo, tmp_path / "r")
    go(todo, tmp_path / "r")
    write(notes.model_copy(update={"notes": notes.notes[:1]}), file)
    with pytest.raises(StoreError, match="another content of the notes"):
        go(todo, tmp_path / "r")


def test_a_handbook_from_its_run_to_its_use(train: Path, test: Path, tmp_path: Path) -> None:
    go(recipe(train, {"searcher": "behaviours"}), tmp_path / "train")
    notes, file = gather(tmp_path / "train"), tmp_path / "book.json"
    write(notes, file)
    assert all(note.text.endswith("\\boxed{1}") for note in notes.notes)
    summary = go(recipe(test, {"searcher": "handbook", "notes": str(file)}), tmp_path / "r")
    assert summary["strategies"][0]["calls"] == 4
    assert notes.cost["calls"] == 9


# ----------------------------------------------------------------------------------- contexts

CONTEXTS = ["Ann has 2 apples.", "Bob has 3 pears."]


def about(tmp_path: Path, order: str) -> Path:
    """Two questions about each context, in the order of their numbers."""
    made = [
        {"id": f"q{i}", "question": f"How many is {i} more?", "context": CONTEXTS[i % 2]}
        for i in map(int, order)
    ]
    return rows(tmp_path / f"about-{order}.jsonl", [{**row, "answer": "1"} for row in made])


def of(path: Path) -> dict[str, Any]:
    return {"name": "jsonl", "path": str(path), "prompt": "{context}\n\n{question}"}


def studied(tmp_path: Path, order: str) -> Notes:
    task = {"name": "contexts", "task": of(about(tmp_path, order))}
    study = {"searcher": "study", "versions": 2, "rounds": 3}
    go(recipe(tmp_path, study, task=task), tmp_path / f"study-{order}")
    return gather(tmp_path / f"study-{order}")


def test_each_context_is_studied_once_whatever_the_order_of_questions(tmp_path: Path) -> None:
    one, other = studied(tmp_path, "0123"), studied(tmp_path, "3120")
    assert one.about == "contexts"
    assert one.cost["calls"] == other.cost["calls"] == 2 * 2 * 3
    assert {n.question: n.text for n in one.notes} == {n.question: n.text for n in other.notes}


def test_questions_read_what_was_thought_about_their_context(tmp_path: Path) -> None:
    notes, file = studied(tmp_path, "0123"), tmp_path / "memory.json"
    write(notes, file)
    asks = recipe(
        tmp_path,
        {"searcher": "sleep_time", "notes": str(file)},
        task=of(about(tmp_path, "0123")),
    )
    (row,) = go(asks, tmp_path / "r")["strategies"]
    assert (row["calls"], row["measures"]["noted"]) == (4, 1.0)
    assert row["shared"]["calls"] == 12


def test_a_context_that_holds_its_question_is_refused(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl", [{"question": "How?", "context": "Ann. How?", "answer": "1"}])
    with pytest.raises(TaskError, match="question of problem '1' stands in its own context"):
        contexts(task={"name": "jsonl", "path": str(path)})
    with pytest.raises(TaskError, match="no text in 'passage', but context"):
        contexts(task={"name": "jsonl", "path": str(path)}, field="passage")


# --------------------------------------------------------------------------------- what is none


def test_what_cannot_be_gathered(train: Path, test: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run that is over"):
        gather(tmp_path)
    two = recipe(train, {"searcher": "self_consistency", "n": [1, 2]})
    go(two, tmp_path / "two")
    with pytest.raises(RecipeError, match="choose with --strategy"):
        gather(tmp_path / "two")
    with pytest.raises(RecipeError, match="self_consistency-n=2"):
        gather(tmp_path / "two", "self_consistency-n=3")
    assert gather(tmp_path / "two", "self_consistency-n=2").cost["calls"] == 6
    rows(train, [{"question": "changed", "answer": "1"}])
    with pytest.raises(StoreError, match=r"was about .* gather notes while the data are the same"):
        gather(tmp_path / "two", "self_consistency-n=2")
    hidden = {"name": "jsonl", "path": str(test), "private": True}
    go(recipe(test, {"searcher": "sample"}, task=hidden), tmp_path / "private")
    with pytest.raises(RecipeError, match="is private"):
        gather(tmp_path / "private")


def test_a_foreign_task_needs_trust(train: Path, tmp_path: Path) -> None:
    go(recipe(train, {"searcher": "sample"}), tmp_path / "r")
    manifest = json.loads((tmp_path / "r/manifest.json").read_text())
    manifest["run"]["task"] = "somebody.elses:task"
    (tmp_path / "r/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecipeError, match="--trust"):
        gather(tmp_path / "r")


def test_a_folder_that_is_not_there_is_no_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such folder"):
        gather(tmp_path / "nowhere")
