"""Every benchmark's record, on rows in the form its data set is published in (made up here)."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from evals.tasks import mathematics, programs, sciences
from evals.tasks import rows as tasks
from evals.tasks.benchmark import Benchmark
from evals.tasks.jsonl import jsonl
from evals.tasks.loading import Task
from evals.tasks.sciences import gpqa_diamond, mmlu_pro
from reasoning.answers.cases import solved
from reasoning.answers.choice import MultipleChoice
from reasoning.cli.show import show_benchmarks
from reasoning.errors import RecipeError, TaskError
from reasoning.runs import names
from reasoning.runs.consent import needs
from reasoning.runs.recipe import load, parse
from reasoning.sandbox.programs import results

RECORDS: dict[str, Benchmark] = {
    name: record
    for module in (mathematics, programs, sciences)
    for name, record in inspect.getmembers(module, lambda found: isinstance(found, Benchmark))
}
ARENA = {"problem_idx": 7, "problem": "Find $x$.", "answer": "\\frac{1}{2}"}
TYPED = {**ARENA, "problem_type": ["Algebra"]}
PRIVATE = [{"input": "2 3\n", "output": "5\n", "testtype": "stdin"}]
PACKED = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(PRIVATE)))).decode()

# What a row is published as, and the id, the gold answer and the first words of the prompt from it.
ROWS: dict[str, tuple[dict[str, Any], str, str | None, str]] = {
    "aime24": (
        {"id": 60, "problem": "Find $x$.", "answer": "033", "solution": "s", "year": "2024",
         "url": "https://artofproblemsolving.com/wiki/index.php/2024_AIME_II_Problems/Problem_4"},
        "aime24-II-04", "33", "Find $x$."),
    "aime25": ({"problem": "Find $y$.", "answer": "336^\\circ", "id": "0"},
               "aime25-I-01", "336", "Find $y$."),
    "aime26": ({"id": 5, "problem": "Find $z$.", "answer": 70}, "aime26-5", "70", "Find $z$."),
    "hmmt_feb_2025": (TYPED, "hmmt_feb_2025-7", "\\frac{1}{2}", "Find $x$."),
    "hmmt_nov_2025": (TYPED, "hmmt_nov_2025-7", "\\frac{1}{2}", "Find $x$."),
    "hmmt_feb_2026": (TYPED, "hmmt_feb_2026-7", "\\frac{1}{2}", "Find $x$."),
    "brumo_2025": (TYPED, "brumo_2025-7", "\\frac{1}{2}", "Find $x$."),
    "cmimc_2025": (TYPED, "cmimc_2025-7", "\\frac{1}{2}", "Find $x$."),
    "smt_2025": (ARENA, "smt_2025-7", "\\frac{1}{2}", "Find $x$."),
    "olympiadbench": (
        {"id": 1606, "question": "Solve it.", "solution": ["s"], "final_answer": ["2,3"],
         "is_multiple_answer": True, "unit": None, "answer_type": "Numerical", "error": None,
         "language": "English", "subject": "Math", "subfield": "Algebra", "context": None},
        "olympiadbench-1606", "2,3", "Solve it."),
    "amc23": ({"id": 0, "question": "How far?", "answer": 27.0, "url": "u"},
              "amc23-0", "27", "How far?"),
    "gsm8k": ({"question": "How much?", "answer": "9 * 2 = <<9*2=18>>18,000.\n#### 18,000"},
              "gsm8k-test-0", "18000", "How much?"),
    "gsm8k_platinum": (
        {"question": "How much?", "answer": "Well.\n#### 18", "cleaning_status": "consensus"},
        "gsm8k_platinum-0", "18", "How much?"),
    "math500": (
        {"problem": "Sum?", "solution": "s", "answer": "2", "subject": "Algebra", "level": 1,
         "unique_id": "test/algebra/2584.json"}, "math500-algebra-2584", "2", "Sum?"),
    "beyond_aime": ({"problem": "Find $x$.", "answer": 1234}, "beyond_aime-1", "1234", "Find"),
    "amo_bench": (
        {"question_id": 3, "prompt": "Find $x$.", "solution": "s", "answer": "$\\boxed{13}$",
         "answer_type": "number"}, "amo_bench-3", "13", "Find $x$."),
    "gpqa_diamond": (
        {"Record ID": "rec1", "Question": "Which?", "Correct Answer": "w", "Incorrect Answer 1":
         "x", "Incorrect Answer 2": "y", "Incorrect Answer 3": "z", "Explanation": "e",
         "High-level domain": "Physics", "Subdomain": "Optics"},
        "rec1", None, "Which?\n\n(A) "),
    "mmlu_pro": (
        {"question_id": 70, "question": "Which?", "options": ["p", "q", "r"], "answer": "B",
         "answer_index": 1, "cot_content": "", "category": "law", "src": "s"},
        "mmlu_pro-70", "B", "Which?\n\n(A) p\n(B) q\n(C) r"),
    "counterbench": (
        {"question_id": 4, "given_info": "A causes B.", "question": "Would B, but for A?",
         "answer": "no", "type": "basic", "meta": {"graph_id": "g"}},
        "counterbench-4", "B", "A causes B.\n\nWould B, but for A?\n\n(A) Yes"),
    "humaneval_plus": (
        {"task_id": "HumanEval/0", "prompt": "def add(a, b):\n    \"\"\"Sum.\"\"\"\n",
         "canonical_solution": "    return a + b\n", "entry_point": "add",
         "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n"},
        "HumanEval/0", None, "Complete this function in Python:\n\n```python\ndef add"),
    "mbpp_plus": (
        {"task_id": 2, "code": "def add(a, b): return a + b", "prompt": "Write a sum.",
         "source_file": "f", "test_imports": ["import math"], "test_list":
         ["assert add(1, 1) == 2"], "test": "assert add(2, 3) == 5"},
        "mbpp_plus-2", None, "Write a sum.\n\nYour program must pass tests like these:\n\nassert"),
    "livecodebench": (
        {"question_title": "Sum", "question_content": "Add two numbers.", "platform": "atcoder",
         "question_id": "abc1", "contest_id": "c", "contest_date": "2025-01-04T00:00:00",
         "starter_code": "", "difficulty": "easy", "public_test_cases": json.dumps(
             [{"input": "1 1\n", "output": "2\n", "testtype": "stdin"}]),
         "private_test_cases": PACKED, "metadata": "{}"},
        "abc1", None, "Add two numbers.\n\nThe program reads"),
    "mathqa_python": (
        {"text": "What is n0 + n1? n0 = 2.0 n1 = 3.0", "code": "answer = 5.0", "task_id": 9,
         "dsl_code": "add(n0,n1)", "reasoning": "r", "answer": 5.0},
        "mathqa_python-9", None, "What is n0 + n1?"),
}  # fmt: skip

ADDS = {
    "humaneval_plus": "def add(a, b):\n    return a + b",
    "mbpp_plus": "def add(a, b):\n    return a + b",
    "livecodebench": "print(sum(map(int, input().split())))",
    "mathqa_python": "answer = 2.0 + 3.0",
}
FAILS = {**dict.fromkeys(ADDS, "def add(a, b):\n    return 2"), "livecodebench": "print(2)"}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def loaded(name: str, path: Path, **options: Any) -> Task:
    task: Task = names.build("task", {"name": name, "path": f"file:{path}", **options})
    return task


def test_every_record_is_known_by_its_name_and_has_a_row_here() -> None:
    assert {record.name for record in RECORDS.values()} == set(RECORDS) == set(ROWS)
    assert set(RECORDS) < set(names.known("task"))
    for name, record in RECORDS.items():
        assert names.find("task", name) is record
        assert record.hub.revision == "main" or len(record.hub.revision) in (9, 40)
        assert record.licence


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_published_row(name: str, tmp_path: Path) -> None:
    row, wanted, gold, asked = ROWS[name]
    task = loaded(name, write(tmp_path / "x.jsonl", row))
    (problem,) = task.problems
    assert (task.name, task.licence, problem.id) == (name, RECORDS[name].licence, wanted)
    assert problem.prompt.startswith(asked)
    assert problem.answers.graded
    assert gold in (None, problem.gold)
    assert task.avg_at_n is RECORDS[name].avg_at_n


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_hub_is_asked_for_what_the_record_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    hub, asked = RECORDS[name].hub, []

    def load_dataset(path: str, config: str | None, *, split: str, revision: str) -> Any:
        asked.append((path, config, split, revision))
        return datasets.Dataset.from_list([ROWS[name][0]])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(tasks, "_reachable", lambda _: True)
    task: Task = names.build("task", name)
    assert asked == [(hub.dataset, hub.config, hub.split, hub.revision)]
    assert task.problems[0].id == ROWS[name][1]
    assert task.source.startswith(str(hub))


def test_the_commit_that_was_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.Dataset.from_list([TYPED])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: found)
    monkeypatch.setattr(tasks, "_reachable", lambda _: True)
    monkeypatch.setattr(tasks, "_revision_of", lambda _: "f" * 40)
    task: Task = names.build("task", "hmmt_feb_2026")
    assert task.source == f"MathArena/hmmt_feb_2026@{'f' * 40} train"


def test_gated_data_name_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def refuses(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError("Dataset is a gated dataset on the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", refuses)
    monkeypatch.setattr(tasks, "_reachable", lambda _: True)
    with pytest.raises(TaskError, match=r"gated: accept .*datasets/Idavidrein/gpqa .*HF_TOKEN"):
        gpqa_diamond()
    with pytest.raises(TaskError) as plain:
        mmlu_pro()
    assert "HF_TOKEN" not in str(plain.value)


def test_parquet_as_the_hub_keeps_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "x.parquet"
    datasets.Dataset.from_list([ROWS["mmlu_pro"][0]]).to_parquet(path)
    (problem,) = mmlu_pro(path=path).problems
    assert (problem.id, problem.gold) == ("mmlu_pro-70", "B")
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(TaskError, match="no Parquet file that can be read"):
        mmlu_pro(path=path)


# ------------------------------------------------------------------------------------ choices


def test_options_stand_in_another_order_for_each_seed(tmp_path: Path) -> None:
    row = ROWS["gpqa_diamond"][0]
    path = write(tmp_path / "x.jsonl", *({**row, "Record ID": f"rec{i}"} for i in range(40)))
    golds = [p.gold for p in gpqa_diamond(path=path).problems]
    assert {g: golds.count(g) > 3 for g in "ABCD"} == dict.fromkeys("ABCD", True)
    assert golds == [p.gold for p in gpqa_diamond(path=path).problems]
    assert golds != [p.gold for p in gpqa_diamond(path=path, shuffle=1).problems]
    for problem in gpqa_diamond(path=path, shuffle=7).problems:
        assert isinstance(problem.answers, MultipleChoice)
        assert dict(problem.answers.options)[str(problem.gold)] == "w"
        assert f"({problem.gold}) w" in problem.prompt
        assert asyncio.run(problem.answers.grade(problem.answers.find("\\boxed{w}", True)))
        assert set(problem.meta) == {"options", "domain", "subdomain"}


def test_only_options_can_be_shuffled(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "?", "answer": "1"})
    with pytest.raises(TaskError, match=r"line 1: shuffle puts options in another order"):
        jsonl(path=path, shuffle=0)


# --------------------------------------------------------------------------------- which rows


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"level": 3}, "3"),
        ({"level": "3"}, "3"),
        ({"level": [1, 4]}, "14"),
        ({"level": {"from": 2, "to": 3}}, "23"),
        ({"level": {"from": 3}}, "34"),
        ({"day": {"from": "2025-01-02", "to": "2025-01-03"}}, "23"),
        ({"day": {"to": "2025-01-02"}, "level": [1, 3]}, "1"),
        ({}, "1234"),
    ],
    ids=str,
)  # fmt: skip
def test_where(where: dict[str, object], kept: str, tmp_path: Path) -> None:
    rows = [
        {"id": f"n{i}", "question": "?", "answer": 1, "level": i, "day": f"2025-01-0{i}T12:00"}
        for i in range(1, 5)
    ]
    task = jsonl(path=write(tmp_path / "x.jsonl", *rows), where=where)
    assert "".join(p.id[1:] for p in task.problems) == kept
    assert (" where {" in task.source) is bool(where)


def test_dates_of_a_recipe_are_texts(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "{task: {name: nano, where: {day: {from: 2025-01-31}}}, generator: nano, "
        "strategies: [{searcher: sample}]}"
    )
    assert load(str(file)).task["where"] == {"day": {"from": "2025-01-31"}}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"levl": 3}, "did you mean 'level'"),
        ({"level": 9}, r"jsonl: no row of .* is where \{'level': 9\}"),
        ({"level": {"above": 3}}, r"a range is \{from: ..., to: ...\}"),
        ({"level": {"from": "high"}}, "not in a range"),
    ],
    ids=str,
)
def test_where_that_does_not_fit(where: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "?", "answer": 1, "level": 1})
    with pytest.raises(TaskError, match=message):
        jsonl(path=path, where=where)


def test_what_cannot_be_graded_is_left_out(tmp_path: Path) -> None:
    row = ROWS["amo_bench"][0]
    path = write(tmp_path / "x.jsonl", {**row, "answer_type": "description", "question_id": 4}, row)
    assert [p.id for p in loaded("amo_bench", path).problems] == ["amo_bench-3"]
    assert len(loaded("amo_bench", path, where={}).problems) == 2


# ----------------------------------------------------------------------------------- programs


@pytest.mark.parametrize("name", sorted(ADDS))
def test_programs_are_judged_by_their_tests(name: str, tmp_path: Path) -> None:
    (problem,) = loaded(name, write(tmp_path / "x.jsonl", ROWS[name][0])).problems

    async def right(program: str) -> bool | None:
        return await problem.answers.grade(problem.answers.find(f"```python\n{program}\n```", True))

    assert asyncio.run(right(ADDS[name])) is True
    assert asyncio.run(right(FAILS[name])) is False


def test_a_contest_s_functions(tmp_path: Path) -> None:
    row = {
        **ROWS["livecodebench"][0],
        "starter_code": "class Solution:\n    def pair(self, a, b):\n        pass",
        "metadata": json.dumps({"func_name": "pair"}),
        "public_test_cases": json.dumps([{"input": "[1]\n2", "output": "[1, 2]"}]),
        "private_test_cases": json.dumps([{"input": "[3]\n4", "output": "[3, 4]"}]),
    }
    (problem,) = loaded("livecodebench", write(tmp_path / "x.jsonl", row)).problems
    assert "Start from this code:\n\n```python\nclass Solution" in problem.prompt
    for body, passes in (("return (*a, b)", True), ("return [1, 2]", False), ("a[", False)):
        program = f"class Solution:\n    def pair(self, a, b):\n        {body}\n"
        answer = problem.answers.find(f"```python\n{program}```", True)
        assert asyncio.run(problem.answers.grade(answer)) is passes


@pytest.mark.parametrize(
    ("wanted", "said", "right"),
    [
        ("1 2\n3\n", "1 2 \n3", True), ("0.50", "0.5", True), ("Yes", "yes", False),
        ("1\n2", "1 2", False), ("1", None, False), ("nan", "nan", True), ("a", "1", False),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_program_prints(wanted: str, said: str | None, right: bool) -> None:
    assert solved([{"input": "x", "output": wanted}], [said]) is right


@pytest.mark.parametrize(
    ("wanted", "said", "right"),
    [
        ([1, 2], "[1, 2]", True), (1, "1.0", True), ("a", '"a"', True), ("a", "a", False),
        ({"a": 1}, '{"a": 1}', True), (True, "false", False),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_function_returns(wanted: object, said: str, right: bool) -> None:
    assert solved([{"input": [1], "output": wanted}], [said]) is right
    assert solved([{"input": [1], "output": wanted}] * 2, [said]) is False


def test_cases_that_are_none(tmp_path: Path) -> None:
    for cases, message in ((3, "a list of"), ("[", "not JSON"), ([{"input": 1}], "a case is")):
        path = write(tmp_path / "x.jsonl", {"question": "?", "cases": cases})
        with pytest.raises(TaskError, match=f"line 1: .*{message}"):
            jsonl(path=path, answers="code")


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
        "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())), ' ')",
        "from __future__ import annotations\nprint(accumulate and sum(map(int, input().split())))",
        "import sys\nsys.stdout.buffer.write(b'%d' % sum(map(int, input().split())))\nsys.exit()",
    ],
    ids=["bytes", "lines", "imports", "writes"],
)
def test_ways_to_read_and_print(program: str) -> None:
    inputs, wanted = ["1 2\n", "3 4\n"], ["3", "7"]
    cases = [{"input": i, "output": o} for i, o in zip(inputs, wanted, strict=True)]
    assert solved(cases, results(program, inputs, None))
    assert not solved(cases[::-1], results(program, inputs, None))


def test_long_outputs_are_compared_whole() -> None:
    long = " ".join(map(str, range(50_000)))
    found = results("print(*range(50_000))", [""], None)
    assert solved([{"input": "", "output": long}], found)
    assert not solved([{"input": "", "output": long + " 1"}], found)


def test_private_tests_run_no_code(tmp_path: Path) -> None:
    harm = base64.b64encode(zlib.compress(pickle.dumps(print))).decode()
    for packed, message in ((harm, r"hold \w+\.print"), ("AAAA", "cannot be read")):
        row = {**ROWS["livecodebench"][0], "private_test_cases": packed}
        with pytest.raises(TaskError, match=rf"line 1: the private tests {message}"):
            loaded("livecodebench", write(tmp_path / "x.jsonl", row))


# ------------------------------------------------------------------------------- in YAML alone


def test_fields_by_other_names(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"q": "Add.", "asserts": ["assert add(1, 1) == 2"]})
    options = {"question_field": "q", "answers": "code", "fields": {"tests": "asserts"}}
    (problem,) = names.build("task", {"name": "jsonl", "path": str(path), **options}).problems
    answer = problem.answers.find(f"```python\n{ADDS['mbpp_plus']}\n```", True)
    assert asyncio.run(problem.answers.grade(answer)) is True
    with pytest.raises(TaskError, match=r"line 1: fields: .*did you mean 'asserts'"):
        jsonl(path=path, question_field="q", answers="code", fields={"tests": "assert"})


def test_options_that_all_rows_share(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"question": "Wet?", "answer": "no"})
    answers = {"kind": "choice", "options": ["Yes", "No"]}
    (problem,) = jsonl(path=path, answers=answers).problems
    assert problem.prompt.startswith("Wet?\n\n(A) Yes\n(B) No")
    assert asyncio.run(problem.answers.grade(problem.answers.find("**No**", True))) is True


def test_a_record_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "benchmarks_under_test.py").write_text(
        "from evals.tasks.benchmark import Benchmark\n"
        "from evals.tasks.rows import Hub\n"
        "mine = Benchmark(name='mine', about='Mine.', hub=Hub('me/mine', None, 'test'),\n"
        "                 problems=1, licence='CC0', fields={'question': 'q'})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write(tmp_path / "x.jsonl", {"q": "1+1?", "answer": 2})
    task = names.build("task", {"name": "benchmarks_under_test:mine", "path": str(path)})
    assert (task.problems[0].id, task.licence) == ("mine-1", "CC0")
    recipe = {
        "task": {"name": "rest", "task": "benchmarks_under_test:mine"},
        "generator": "nano",
        "strategies": [{"searcher": "sample"}],
    }
    assert [n.code for n in needs(parse(recipe), {})] == ["benchmarks_under_test:mine"]


def test_what_the_list_says_of_a_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    show_benchmarks([gpqa_diamond, mathematics.hmmt_feb_2026])
    said = " ".join(capsys.readouterr().out.split())
    assert "do not train on them" in said
    assert "198 problems, Idavidrein/gpqa, gated (HF_TOKEN), licence: CC BY 4.0. Note: " in said
    assert "33 problems, MathArena/hmmt_feb_2026, licence: CC BY-NC-SA 4.0." in said


def test_a_parameter_of_no_benchmark() -> None:
    with pytest.raises(RecipeError, match=r"parameter of aime26 'limt'.*did you mean 'limit'"):
        names.build("task", {"name": "aime26", "limt": 3})
