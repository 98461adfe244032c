"""Tasks: from files, from the hub, and what is said where they cannot be loaded."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.tasks import rows as tasks
from evals.tasks.jsonl import jsonl
from evals.tasks.loading import Task
from evals.tasks.mathematics import aime24, aime25, gsm8k, math500
from evals.tasks.nano import nano
from reasoning.errors import RecipeError, TaskError
from reasoning.problem import Problem
from reasoning.runs import names


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# -------------------------------------------------------------------------- local benchmarks


@pytest.mark.parametrize(
    ("name", "file", "n", "first", "last_gold"),
    [
        ("gsm8k", "gsm8k_test", 1319, "gsm8k-test-0", None),
        ("math500", "math500", 500, "math500-precalculus-807", None),
        ("aime24", "aime24", 30, "aime24-I-01", None),
        ("aime25", "aime25", 30, "aime25-I-01", "240"),
        ("jsonl", "amc23", 40, "amc23-12A-01", None),
    ],
)
def test_local_benchmarks(
    data: Path, name: str, file: str, n: int, first: str, last_gold: str | None
) -> None:
    path = data / "benchmarks" / f"{file}.jsonl"
    task: Task = names.build("task", {"name": name, "path": str(path)})
    assert (task.name, len(task.problems), task.problems[0].id) == (name, n, first)
    assert task.source.endswith(f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    assert task.avg_at_n is name.startswith("aime")
    assert last_gold in (None, task.problems[-1].gold)
    for problem in task.problems:
        assert problem.gold
        assert problem.prompt.startswith(problem.question)
        assert problem.prompt.count("\\boxed{}") == 1 + problem.question.count("\\boxed{}")


def test_levels_and_subjects_are_kept(data: Path) -> None:
    task = math500(path=data / "benchmarks" / "math500.jsonl", limit=3)
    assert [p.meta["level"] for p in task.problems] == [2, 5, 3]
    assert task.problems[0].meta["subject"] == "Precalculus"


# ------------------------------------------------------------------------------ rows of the hub


GSM_ROW = {"question": "How much?", "answer": "She makes 9 * 2 = <<9*2=18>>18,000.\n#### 18,000"}
MATH_ROW = {
    "problem": "What is $1+1$?",
    "solution": "It is $\\boxed{2}$.",
    "answer": "2",
    "subject": "Algebra",
    "level": 1,
    "unique_id": "test/algebra/2584.json",
}
AIME24_ROW = {
    "id": 60,
    "problem": "Find $x$.",
    "answer": "033",
    "url": "https://artofproblemsolving.com/wiki/index.php/2024_AIME_II_Problems/Problem_4",
}
AIME25_ROW = {"problem": "Find $y$.", "answer": "70", "id": "0"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """`datasets.load_dataset` from memory; what it was asked for."""
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []
    rows = {
        "openai/gsm8k": [GSM_ROW, GSM_ROW],
        "HuggingFaceH4/MATH-500": [MATH_ROW],
        "HuggingFaceH4/aime_2024": [AIME24_ROW],
        "math-ai/aime25": [AIME25_ROW] * 16,
    }

    def load_dataset(path: str, name: str | None, *, split: str, revision: str) -> Any:
        asked.append((path, name, split, revision, datasets.config.HF_HUB_OFFLINE))
        return datasets.Dataset.from_list(rows[path])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(tasks, "_reachable", lambda _: True)
    yield asked
    assert datasets.config.HF_HUB_OFFLINE is False


def test_gsm8k_from_the_hub(hub: list[Any]) -> None:
    task = gsm8k()
    assert [p.gold for p in task.problems] == ["18000", "18000"]
    assert [p.id for p in task.problems] == ["gsm8k-test-0", "gsm8k-test-1"]
    assert task.problems[0].meta["solution"] == GSM_ROW["answer"]
    ((path, name, split, revision, offline),) = hub
    assert (path, name, split, offline) == ("openai/gsm8k", "main", "test", False)
    assert len(revision) == 40
    assert revision in task.source


def test_the_others_from_the_hub(hub: list[Any]) -> None:
    problem = math500().problems[0]
    assert (problem.id, problem.question, problem.gold) == (
        "math500-algebra-2584",
        "What is $1+1$?",
        "2",
    )
    assert problem.meta["level"] == 1
    assert "problem" not in problem.meta
    problem = aime24(revision="main").problems[0]
    assert (problem.id, problem.gold) == ("aime24-II-04", "33")
    ids = [p.id for p in aime25().problems]
    assert (ids[0], ids[14], ids[15]) == ("aime25-I-01", "aime25-I-15", "aime25-II-01")
    assert [call[3] for call in hub][1] == "main"


def test_out_of_reach_only_the_cache_is_asked(
    hub: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_reachable", lambda _: False)
    assert len(gsm8k().problems) == 2
    assert hub[0][-1] is True


def test_offline_without_a_path_names_both_cures(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def fails(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", fails)
    monkeypatch.setattr(tasks, "_reachable", lambda _: False)
    with pytest.raises(TaskError, match=r"openai/gsm8k.*task\.path.*HF_HOME.*HF_HUB_OFFLINE") as e:
        gsm8k()
    assert "\n" not in str(e.value)
    assert e.value.__suppress_context__


def test_a_hub_out_of_reach_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", "/nonexistent/cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(TaskError, match=r"(?i)offline ?mode ?is ?enabled.*task\.path"):
        math500()


def test_a_cached_copy_of_another_revision_is_refused(
    hub: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "0" * 39 + "1"
    monkeypatch.setattr(tasks, "_revision_of", lambda _: other)
    with pytest.raises(TaskError, match=f"task.revision: {other}"):
        gsm8k()
    assert other in gsm8k(revision=other).source
    assert len(hub) == 2


def test_a_real_dataset_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "dataset"
    folder.mkdir()
    write(
        folder / "test.jsonl", {"question": "1+1?", "answer": "2"}, {"question": "?", "answer": "3"}
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(tasks, "_reachable", lambda _: True)
    rows, source = tasks.from_hub(tasks.Hub(str(folder), None, "test", "main"))
    assert [row for _, row in rows] == [
        {"question": "1+1?", "answer": "2"},
        {"question": "?", "answer": "3"},
    ]
    assert source == f"{folder}@main test"


# ------------------------------------------------------------------------------------ own files


ROWS = [
    {"id": "a", "question": "1+1?", "answer": 2, "level": 1},
    {"question": "2+2?", "answer": "4"},
]


def test_own_problems(tmp_path: Path) -> None:
    plain = write(tmp_path / "mine.jsonl", *ROWS)
    zipped = tmp_path / "mine.jsonl.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    listed = tmp_path / "mine.json"
    listed.write_text(json.dumps(ROWS), encoding="utf-8")
    table = tmp_path / "mine.csv"
    table.write_text('﻿id,question,answer,level\na,1+1?,2,1\n,2+2?,"4",\n', encoding="utf-8")
    for path in (plain, zipped, listed, table):
        found = jsonl(path=path).problems
        assert [(p.id, p.question, p.gold) for p in found] == [
            ("a", "1+1?", "2"),
            ("2", "2+2?", "4"),
        ]
        assert {key: str(value) for key, value in found[0].meta.items()} == {"level": "1"}


def test_fields_prompt_system_and_limit(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl", *({"n": i, "q": f"{i}+{i}={{?}}", "gold": 2 * i} for i in range(5))
    )
    task = jsonl(
        path=path,
        prompt=r"{question} Use \boxed{} and {{braces}}.",
        system="Be brief.",
        limit=2,
        id_field="n",
        question_field="q",
        answer_field="gold",
    )
    assert [p.id for p in task.problems] == ["0", "1"]
    assert task.problems[1].prompt == r"1+1={?} Use \boxed{} and {braces}."
    assert task.problems[1].question == "1+1={?}"
    assert task.problems[1].system == "Be brief."
    assert task.problems[1].meta == {}


def test_unusual_but_valid_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes('\ufeff{"question": "a\u2028b 数 {question}", "answer": "๔"}\r\n\r\n'.encode())
    (problem,) = jsonl(path=path, prompt="{question}").problems
    assert problem.prompt == "a\u2028b 数 {question}"
    assert problem.gold == "๔"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"", "holds no problem"),
        ("x.jsonl", b"\n \n", "holds no problem"),
        (
            "x.jsonl",
            b'{"question": "a", "answer": 1}\n{"question": ',
            r"line 2: not JSON: column 14",
        ),
        ("x.jsonl", b"[1, 2]", r"line 1: expected an object"),
        (
            "x.jsonl",
            b'{"answer": 1}',
            r"line 1: no field 'question' among 'answer'; .*question_field",
        ),
        ("x.jsonl", b'{"question": "a"}', r"line 1: no field 'answer'"),
        ("x.jsonl", b'{"question": "a", "answer": null}', r"no field 'answer'"),
        ("x.jsonl", b'{"question": " ", "answer": 1}', r"line 1: field 'question' is empty"),
        ("x.jsonl", b'{"question": "a", "answer": ""}', r"field 'answer' is empty"),
        ("x.jsonl", b'{"question": ["a"], "answer": 1}', r"'question' must be a text"),
        ("x.jsonl", b'{"question": "a", "answer": true}', r"'answer' must be a text or a number"),
        ("x.jsonl", b'{"question": "\\ud800", "answer": 1}', r"surrogate"),
        ("x.jsonl", b'{"question": "a", "answer": 1}\n{"question": "\xff"}', "line 2: not UTF-8"),
        ("x.jsonl", b"[" * 100_000, "line 1: not JSON"),
        (
            "x.jsonl",
            b'{"id": 7, "question": "a", "answer": 1}\n\n{"id": "7", "question": "b", "answer": 1}',
            r"line 3: id '7' is taken by .*line 1",
        ),
        ("x.json", b'{"question": "a", "answer": 1}', r"list of objects.*\.jsonl"),
        ("x.json", b'[\n{"question": "a",\n}]', r"not JSON: line 3"),
        ("x.json", b'[{"question": "a", "answer": 1}, 3]', "entry 2: expected an object"),
        ("x.csv", b"question,answer\na\n", "line 2: not as many cells"),
        ("x.csv", b'question,answer\n"a,b\n', "unexpected end of data"),
        ("x.csv", b"question,answer\n", "holds no problem"),
        ("x.jsonl.gz", b"no gzip", "cannot be read"),
        ("x.jsonl.gz", gzip.compress(b'{"question": 1}', mtime=0)[:-9], "cannot be read"),
        ("x.txt", b"hello", r"not a \.jsonl, \.json, \.csv or \.parquet file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TaskError, match=message) as error:
        jsonl(path=path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path)) * 2


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"gone\.jsonl cannot be read: No such file.*task\.path"):
        gsm8k(path=tmp_path / "gone.jsonl")
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    with pytest.raises(TaskError, match="cannot be read: Is a directory"):
        gsm8k(path=folder)
    with pytest.raises(TaskError, match="cannot be read"):
        gsm8k(path="\0.jsonl")


def test_parameters_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", *ROWS)
    with pytest.raises(TaskError, match=r"must contain \{question\}"):
        jsonl(path=path, prompt="no place for it")
    with pytest.raises(TaskError, match="limit is 0"):
        jsonl(path=path, limit=0)
    with pytest.raises(RecipeError, match="needs path"):
        names.build("task", "jsonl")
    with pytest.raises(RecipeError, match="did you mean 'limit'"):
        names.build("task", {"name": "gsm8k", "limt": 3})


def test_aime_answers_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "a", "answer": "1/2"})
    with pytest.raises(TaskError, match=r"line 1: an AIME answer is an integer from 0 to 999.*1/2"):
        aime25(path=path)
    path = write(tmp_path / "y.jsonl", {"question": "a"})
    with pytest.raises(TaskError, match=r"line 1: no field 'answer'"):
        aime24(path=path)


# ------------------------------------------------------------------------------ the rest of it


def test_fallbacks(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "a", "answer": "1"})

    def found(problem: Problem, text: str) -> str | None:
        answer = problem.answers.find(text, True)
        return answer.text if answer else None

    (number,) = gsm8k(path=path).problems
    assert found(number, "So it is 1,234 in all.") == "1,234"
    (formula,) = math500(path=path).problems
    assert found(formula, "Hence $x = 3$ and the answer is $\\frac12$.") == "$\\frac12$"
    assert found(formula, "Hence it is $\\frac12$") == "\\frac12"
    assert found(formula, "Hence it is 5") is None
    (own,) = jsonl(path=path).problems
    assert found(own, "Hence it is 5") == "5"


def test_nano_needs_no_file() -> None:
    task: Task = names.build("task", {"name": "nano", "n": 5, "difficulty": 3})
    assert len(task.problems) == 5
    assert task.source == nano(n=5, difficulty=3).source != nano(n=5, difficulty=3, seed=1).source
    for problem in task.problems:
        assert problem.prompt == problem.question
        assert problem.meta["difficulty"] == 3
    assert [p.question for p in nano(n=3).problems] == [p.question for p in nano(n=9).problems[:3]]
    for bad in ({"n": 0}, {"difficulty": 9}):
        with pytest.raises(TaskError, match="nano"):
            names.build("task", {"name": "nano", **bad})
