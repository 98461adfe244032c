"""Tasks whose answers are more than one value: states of a procedure, expressions, REST."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.tasks.countdown import countdown
from evals.tasks.kolmogorov import _row as kolmogorov_row
from evals.tasks.kolmogorov import kolmogorov
from evals.tasks.rest import order, rest
from reasoning import solve
from reasoning.aggregators import Candidate
from reasoning.answers.code import Code
from reasoning.answers.expression import Expression, expression
from reasoning.answers.several import Several
from reasoning.answers.states import States, agrees, prefix_match, states
from reasoning.errors import RecipeError, TaskError
from reasoning.problem import Problem
from reasoning.runs import names


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------- states


def measured(wanted: str, said: str | None) -> tuple[float, float, float, float]:
    """PML, PA, SM and FM of states that are letters."""
    kind = States(tuple(wanted))
    text = json.dumps({"intermediate": list((said or " ")[:-1]), "final": (said or " ")[-1]})
    answer = None if said is None else kind.find(f"Done.\n\n{text}", True)
    found = asyncio.run(kind.measures(answer))
    return tuple(  # type: ignore[return-value]
        found[name]
        for name in ("prefix_match_length", "prefix_accuracy", "sequential_match", "final_match")
    )


@pytest.mark.parametrize(
    ("wanted", "said", "numbers"),
    [
        ("abcd", "abxd", (2, 0.5, 0, 1)),
        ("abcd", "abxde", (2, 0.4, 0, 0)),
        ("abcd", "abcd", (4, 1, 1, 1)),
        ("abcd", "abcdd", (4, 1, 1, 1)),  # the final state written twice counts once
        ("abcd", "abcxd", (3, 0.6, 0, 1)),
        ("abcd", None, (0, 0, 0, 0)),
    ],
)
def test_step_wise_metrics_of_procbench(
    wanted: str, said: str | None, numbers: tuple[float, ...]
) -> None:
    assert measured(wanted, said) == numbers


@pytest.mark.parametrize(
    ("wanted", "said", "same"),
    [
        (5, "5", True), (512, "0512", True), (5, "55", False), (231, [231], False),
        (5, None, False),
        ("21", 21, True), ("0110", "110", False), ("abc", ["abc"], False), ("abc", None, False),
        ([1, 3], ["1", 3], True), (["a"], ["a", "b"], False), ([1], 1, False),
    ],
    ids=str,
)  # fmt: skip
def test_states_agree_as_their_authors_compare_them(
    wanted: object, said: object, same: bool
) -> None:
    assert agrees(wanted, said) is same


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_a_prefix_is_of_both(wanted: list[int], said: list[int]) -> None:
    n = prefix_match(wanted, said)
    assert wanted[:n] == said[:n]
    assert n == min(len(wanted), len(said)) or wanted[n] != said[n]


def test_states_in_a_text() -> None:
    kind = states(None, {"intermediate": ["b"], "final": 7})
    text = 'First {"final": 1}.\n\n```json\n{"intermediate": ["b", {"x": 1}], "final": "7"}\n```'
    answer = kind.find(text, True)
    assert answer is not None
    assert (json.loads(answer.text)["intermediate"][0], answer.key) == ("b", "7")
    assert asyncio.run(kind.grade(answer)) is True
    assert kind.find('{no JSON} and {"intermediate": 3, "final": 1}', True) is None
    with pytest.raises(RecipeError, match="no fields 'intermediate'"):
        states(None, {"final": 7})


def test_procbench_rows(tmp_path: Path) -> None:
    row = {
        "prompt": "Sort cab.", "task_name": "task01", "example_name": "0000",
        "problem_name": "task01_0000", "label": {"init": "cab", "intermediate": ["acb"],
        "final": "abc"},
    }  # fmt: skip
    path = write(tmp_path / "x.jsonl", row, {**row, "task_name": "task02", "problem_name": "t"})
    (problem,) = names.build(
        "task", {"name": "procbench", "path": str(path), "where": {"task_name": "task01"}}
    ).problems
    assert (problem.id, problem.answers) == ("task01_0000", States(("acb", "abc")))
    assert '{"intermediate": [...], "final": ...}' in problem.prompt


def test_all_parts_of_a_data_set_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from evals.tasks import rows as tasks

    datasets = pytest.importorskip("datasets")
    asked: list[str] = []

    def load_dataset(path: str, config: str, **_: object) -> Any:
        asked.append(config)
        label = {"intermediate": ["a"], "final": "b"}
        row = {"prompt": "?", "task_name": config, "problem_name": f"{config}_0", "label": label}
        return datasets.Dataset.from_list([row])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(tasks, "_reachable", lambda _: True)
    task = names.build("task", "procbench")
    assert [p.id for p in task.problems] == [f"{config}_0" for config in asked]
    assert (asked[0], asked[-1], len(asked)) == ("task01", "task23", 23)
    assert task.source.endswith(" task01 to task23 train")


# -------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (r"\boxed{(25 - 19) * 4 = 24}", False),
        (r"\boxed{4 * (7 - 8/8)}", True),
        (r"\boxed{24 = 4 \times \left(7 - \frac{8}{8}\right)}", True),
        (r"\boxed{4 × (7 − 8 ÷ 8)}", True),
        ("The answer is 4*(7-8/8).", True),
        (r"\boxed{4 * 7 - 8 + 8 - 4}", False),  # 4 is used twice
        (r"\boxed{4 * 6}", False),
        (r"\boxed{8 / (3 - 8/3)}", False),
    ],
)
def test_the_game_of_24(said: str, right: bool) -> None:
    kind = expression(None, {"numbers": [4, 7, 8, 8], "target": 24})
    assert asyncio.run(kind.grade(kind.find(said, True))) is right


@pytest.mark.parametrize("said", ["1/0", "__import__('os')", "2 ** 9", "x + 1", "(" * 900, "1.5*2"])
def test_what_is_no_arithmetic_is_no_answer(said: str) -> None:
    assert Expression((1,), 1).find(rf"\boxed{{{said}}}", True) is None  # type: ignore[arg-type]


def test_fractions_are_exact_and_numbers_may_be_left_out() -> None:
    row = {"nums": [3, 3, 8, 8], "target": 24}
    kind = expression(None, row)
    assert asyncio.run(kind.grade(kind.find(r"\boxed{8 / (3 - 8/3)}", True))) is True
    assert asyncio.run(kind.grade(kind.find(r"\boxed{3 * 8}", True))) is False
    some = expression(None, row, use_all=False)
    assert asyncio.run(some.grade(some.find(r"\boxed{3 * 8}", True))) is True
    with pytest.raises(RecipeError, match="an expression needs whole numbers"):
        expression(None, {"numbers": ["a"], "target": 1})


@pytest.mark.parametrize("numbers", [2, 4, 6])
def test_generated_problems_can_be_solved(numbers: int) -> None:
    task = countdown(n=40, numbers=numbers)
    assert task == countdown(n=40, numbers=numbers)
    assert task.source != countdown(n=40, numbers=numbers, seed=1).source
    for problem in task.problems:
        solution, target = problem.meta["solution"], problem.meta["target"]
        answer = problem.answers.find(f"\\boxed{{{solution} = {target}}}", True)
        assert asyncio.run(problem.answers.grade(answer)) is True
        assert len(problem.meta["numbers"]) == numbers  # type: ignore[arg-type]  # a list
        assert 10 <= int(str(target)) <= 100


def test_countdown_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"nums": [3, 5], "target": 8})
    some = {"kind": "expression", "use_all": False}
    (problem,) = names.build(
        "task", {"name": "countdown", "path": str(path), "answers": some}
    ).problems
    assert problem.prompt.startswith("Make 8 out of the numbers 3, 5. Use each at most once")
    with pytest.raises(TaskError, match="line 1: a row has nums, a list, and a target"):
        countdown(path=write(tmp_path / "y.jsonl", {"nums": "3"}))


# ---------------------------------------------------------------------------------- KoLMogorov


def test_programs_that_print_data() -> None:
    task = kolmogorov(n=30)
    assert task == kolmogorov(n=30)
    assert task.source != kolmogorov(n=30, size=32).source
    assert {len(p.meta["data"]) for p in task.problems} == {64}  # type: ignore[arg-type]  # lists

    async def rate(problem: Problem, program: str) -> float:
        answer = problem.answers.find(f"```python\n{program}\n```", True)
        return (await problem.answers.measures(answer))["rate"]

    first = task.problems[0]
    short = str(first.meta["solution"])
    assert asyncio.run(rate(first, short)) == len(short) / 64
    assert asyncio.run(rate(first, short.replace("print(*", "print(0, *"))) == 1.0
    assert asyncio.run(first.answers.measures(None)) == {"rate": 1.0}


@given(st.integers(0, 400))
def test_generated_data_are_bytes_that_their_expression_makes(index: int) -> None:
    row = kolmogorov_row(index, 0, 16)
    space: dict[str, Any] = {}
    exec(str(row["solution"]).replace("print(*", "data = list(", 1), space)
    assert space["data"] == row["data"]
    assert all(0 <= x <= 255 for x in row["data"])


def test_data_of_a_file(tmp_path: Path) -> None:
    (problem,) = kolmogorov(path=write(tmp_path / "x.jsonl", {"data": [1, 2]})).problems
    assert "prints these 2 numbers" in problem.prompt
    for row, message in (
        ({"data": "ab"}, "a list of bytes"),
        ({"data": [1, 256]}, "from 0 to 255"),
    ):
        with pytest.raises(TaskError, match=f"line 1: .*{message}"):
            kolmogorov(path=write(tmp_path / "y.jsonl", row))


# --------------------------------------------------------------------------------------- REST


def quiz(tmp_path: Path, n: int = 4, **row: object) -> dict[str, str]:
    rows = [{"id": f"q{i}", "question": f"{i}+{i}?", "answer": 2 * i, **row} for i in range(n)]
    return {"name": "jsonl", "path": str(write(tmp_path / "quiz.jsonl", *rows))}


def test_every_problem_is_asked_once_at_every_position() -> None:
    assert [order(i, 4, 3) for i in range(4)] == [[1, 2, 0], [2, 3, 1], [3, 0, 2], [0, 1, 3]]
    for place in range(3):
        assert sorted(order(i, 7, 3)[place] for i in range(7)) == list(range(7))


def test_rest(tmp_path: Path) -> None:
    task = rest(task=quiz(tmp_path), stress=3)
    problem = task.problems[0]
    assert (problem.id, problem.meta["asked"]) == ("rest3-q0", ["q1", "q2", "q0"])
    assert problem.prompt.startswith("Q1: 1+1?\n\nQ2: 2+2?\n\nQ3: 0+0?\n\nAnswer the questions")
    kind = problem.answers
    for text, right in (
        (r"\boxed{2} \boxed{4} \boxed{0}", [1, 1, 1]),
        (r"<think>\boxed{9}</think>\boxed{2} then \boxed{5}", [1, 0, 0]),
        (r"\boxed{2}, \boxed{4}, \boxed{0}, \boxed{7}", [1, 1, 1]),
        ("none", [0, 0, 0]),
    ):
        answer = kind.find(text, True)
        found = asyncio.run(kind.measures(answer))
        assert [found[f"Q{i}"] for i in (1, 2, 3)] == right
        assert found["share"] == pytest.approx(sum(right) / 3)
        assert asyncio.run(kind.grade(answer)) is all(right)


def test_answers_by_label(tmp_path: Path) -> None:
    kind = rest(task=quiz(tmp_path), stress=3, by="labels").problems[0].answers
    text = "**Q1:** so \\boxed{1}, no, \\boxed{2}\n\nQ3. \\boxed{0}"
    found = asyncio.run(kind.measures(kind.find(text, True)))
    assert found == {"share": pytest.approx(2 / 3), "Q1": 1.0, "Q2": 0.0, "Q3": 1.0}


def test_without_stress_it_is_the_task_itself(tmp_path: Path) -> None:
    quizzed = quiz(tmp_path)
    assert rest(task=quizzed, stress=1) == names.build("task", quizzed)
    with pytest.raises(TaskError, match="jsonl has 4 problems; ask fewer at once"):
        rest(task=quizzed, stress=5)


def test_in_groups_every_problem_is_asked_once(tmp_path: Path) -> None:
    task = rest(task=quiz(tmp_path, n=5), stress=2, once=True)
    asked = [problem.meta["asked"] for problem in task.problems]
    assert asked == [["q0", "q1"], ["q2", "q3"], ["q4"]]
    assert [problem.id for problem in task.problems] == ["rest2-q1", "rest2-q3", "rest2-q4"]
    assert task.problems[2].prompt.startswith("Q1: 4+4?\n\nAnswer")
    assert task.source != rest(task=quiz(tmp_path, n=5), stress=2).source
    kind = task.problems[1].answers
    assert asyncio.run(kind.measures(kind.find(r"\boxed{4}", True)))["share"] == 0.5


def test_programs_under_stress(tmp_path: Path) -> None:
    task = {**quiz(tmp_path, n=2, tests="assert f() == 1"), "answers": "code"}
    (problem, _) = rest(task=task, stress=2).problems
    assert isinstance(problem.answers, Several)
    assert isinstance(problem.answers.kinds[0], Code)
    text = "".join(f"Q{i}\n```python\ndef f(): return {i}\n```\n" for i in (1, 2))
    found = asyncio.run(problem.answers.measures(problem.answers.find(text, True)))
    assert found == {"share": 0.5, "Q1": 1.0, "Q2": 0.0}


def test_each_question_has_its_own_vote(tmp_path: Path) -> None:
    problem = rest(task=quiz(tmp_path), stress=3).problems[0]
    replies = [
        r"\boxed{2} \boxed{5} \boxed{1}",
        r"\boxed{2.0} \boxed{4} \boxed{2}",
        r"\boxed{3} \boxed{4} \boxed{0}",
        r"\boxed{3} \boxed{\frac{8}{2}} \boxed{0}",
        r"\boxed{2}",
    ]
    options: dict[str, Any] = {"generator": {"name": "scripted", "replies": replies}, "n": 5}
    result = solve(problem, searcher="self_consistency", aggregator="majority_each", **options)
    assert result.answer is not None
    assert json.loads(result.answer) == ["2", "4", "0"]
    assert result.confidence == pytest.approx(2 / 4)
    one = {**options, "generator": {"name": "scripted", "replies": ["\\boxed{2}"]}}
    plain = solve(
        Problem("p", "1+1?", "2"), searcher="self_consistency", aggregator="majority_each", **one
    )
    assert (plain.answer, plain.confidence) == ("2", 1.0)


def test_nobody_votes_without_candidates() -> None:
    from reasoning.aggregators.majority_each import majority_each

    class Search:
        problem = Problem("p", "?", answers=Several([]))

    none = Candidate((0,), None)
    assert asyncio.run(majority_each([none], Search())) is None  # type: ignore[arg-type]
