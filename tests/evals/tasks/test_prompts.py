"""What a model is shown: fields of the rows, worked examples, conversations; kinds of answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from evals.tasks.jsonl import jsonl
from evals.tasks.mathematics import aime24, gsm8k
from evals.tasks.nano import nano
from evals.tasks.prompts import fields_of, fill
from reasoning.answers.choice import MultipleChoice
from reasoning.answers.code import Code
from reasoning.answers.number import Number
from reasoning.errors import RecipeError, TaskError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.runs.consent import needs
from reasoning.runs.plan import plan
from reasoning.runs.recipe import parse

ROW = {"question": "1+1?", "answer": "2", "topic": "sums", "hints": ["count", "add"], "n": 3}


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    def write(*given: object) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
        return path

    return write


def said(problem: Problem) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in problem.messages]


# ------------------------------------------------------------------------------------ fields


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("On {topic}: {question}", "On sums: 1+1?"),
        (r"{question} $\frac{a}{b}$ \boxed{} \boxed{topic} x_{max} \{topic}", None),
        (r"\text{about {topic}} {x} {} {a b} {1}", r"\text{about sums} {x} {} {a b} {1}"),
        ('{topic} as {"answer": 1}', 'sums as {"answer": 1}'),
        ("{{topic}} is {topic}", "{topic} is sums"),
    ],
)
def test_fields_and_other_braces(template: str, filled: str | None) -> None:
    values = {"topic": "sums", "question": "1+1?"}
    expected = template.replace("{question}", "1+1?") if filled is None else filled
    assert fill(template, values) == expected
    assert set(fields_of(template, values)) <= {"topic", "question"}


def test_any_field_of_the_row(rows: Any) -> None:
    (problem,) = jsonl(
        path=rows(ROW), prompt="{topic}\n{hints}\n{n}: {question}", system="{id} on {topic}"
    ).problems
    assert said(problem) == [("system", "1 on sums"), ("user", "sums\ncount\nadd\n3: 1+1?")]
    (problem,) = jsonl(path=rows({"topic": "rain", "answer": 1}), prompt="On {topic}.").problems
    assert (problem.question, problem.prompt) == ("On rain.", "On rain.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "{qestion}"}, r"\{qestion\}: .*did you mean 'question'.*\{\{qestion"),
        ({"prompt": "{question}", "system": "{tpoic}"}, "did you mean 'topic'"),
        ({"prompt": "{question} {answer}"}, r"shows the model \{answer\}, the right answer"),
        ({"prompt": [{"user": "{question}", "assistant": "2"}]}, "must end with a message of"),
        ({"prompt": [{"asks": "{question}"}]}, "is no message"),
        ({"prompt": [{"role": "boss", "content": "{question}"}]}, "a role of system, user"),
        ({"prompt": [{"system": "a", "user": "{question}"}], "system": "b"}, "keep one"),
        ({"prompt": "nothing"}, r"must contain \{question\}"),
    ],
)  # fmt: skip
def test_prompts_that_do_not_fit(rows: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=f"jsonl: .*{message}"):
        jsonl(path=rows(ROW), **options)


def test_a_field_that_one_row_lacks(rows: Any) -> None:
    with pytest.raises(TaskError, match=r"line 2: the prompt needs \{topic\}, and this row has no"):
        jsonl(path=rows(ROW, {"question": "?", "answer": 1}), prompt="{question} {topic}")


# ----------------------------------------------------------------------------- conversations


def test_worked_examples(rows: Any) -> None:
    for shots in (
        [{"user": "0+1?", "assistant": "1"}],
        [{"role": "user", "content": "0+1?"}, {"role": "assistant", "content": "1"}],
    ):
        task = names.build(
            "task",
            {
                "name": "gsm8k",
                "path": str(rows(ROW)),
                "prompt": [*shots, "{question}"],
                "system": "s",
            },
        )
        assert said(task.problems[0]) == [
            ("system", "s"), ("user", "0+1?"), ("assistant", "1"), ("user", "1+1?"),
        ]  # fmt: skip


def test_a_question_that_is_a_conversation(rows: Any) -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "1+1?"}]},
    ]
    path = rows({"messages": talk, "answer": "2"})
    (problem,) = jsonl(path=path, question_field="messages", prompt="{question} In short.").problems
    assert problem.question == "1+1?"
    assert said(problem) == [
        ("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "1+1? In short."),
    ]  # fmt: skip
    with pytest.raises(TaskError, match=r"line 1: .*a system message of its own"):
        jsonl(path=path, question_field="messages", system="s")
    for bad, message in (
        (talk[:3], "ends with one of the user's"),
        ([{"role": "user"}], "content of a message must be a text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "content of a message"),
        ([{"who": "me"}], "is no message"),
    ):
        with pytest.raises(TaskError, match=f"line 1: .*{message}"):
            jsonl(path=rows({"question": bad, "answer": 1}))


# ---------------------------------------------------------------------------- kinds of answers


def test_kinds_and_fallbacks_by_name(rows: Any) -> None:
    path = str(rows(ROW))
    for spec in ("number", {"kind": "number"}, {"name": "number", "decimals": 2}):
        (problem,) = names.build("task", {"name": "jsonl", "path": path, "answers": spec}).problems
        assert isinstance(problem.answers, Number)
    (problem,) = gsm8k(path=path).problems
    assert problem.answers.find("So 5", True) is not None
    (problem,) = gsm8k(path=path, fallback="none").problems
    assert problem.answers.find("So 5", True) is None
    (problem,) = nano(n=1, fallback="after_answer_is").problems
    assert problem.answers.find("So 5", True) is None
    for options, message in (
        ({"answers": "nmber"}, "unknown answers 'nmber'; did you mean 'number'"),
        ({"answers": {"kind": "number", "decimal": 2}}, "did you mean 'decimals'"),
        ({"answers": "code", "fallback": "stated"}, "answers of kind code have no fallback"),
        ({"fallback": "last"}, "fallback='last' does not fit"),
    ):
        with pytest.raises(RecipeError, match=message):
            names.build("task", {"name": "jsonl", "path": path, **options})


def test_the_kinds_there_are() -> None:
    kinds = ["choice", "code", "compression", "exact", "expression", "math", "number", "plain"]
    kinds += ["states", "text"]
    assert names.known("answers") == kinds


def test_multiple_choice(rows: Any) -> None:
    row = {"question": "Even?", "options": ["1", "2"], "answer": "B"}
    (problem,) = jsonl(path=rows(row), answers="choice").problems
    assert isinstance(problem.answers, MultipleChoice)
    assert problem.prompt.startswith("Even?\n\n(A) 1\n(B) 2\n\n")
    assert asyncio.run(problem.answers.grade(problem.answers.find("It is **2**", True)))
    with pytest.raises(TaskError, match=r"line 1: the answer '7' is none of the options A, B"):
        jsonl(path=rows({**row, "answer": 7}), answers="choice")


def test_programs_need_no_gold_answer(rows: Any) -> None:
    row = {"question": "Add.", "tests": ["assert add(1, 2) == 3"]}
    (problem,) = jsonl(path=rows(row), answers={"kind": "code", "seconds": 5}).problems
    assert isinstance(problem.answers, Code)
    assert (problem.gold, problem.answers.graded) == (None, True)
    with pytest.raises(TaskError, match=r"line 1: no field 'answer'"):
        jsonl(path=rows(row))


def test_degrees_of_an_aime_answer(rows: Any) -> None:
    (problem,) = aime24(path=rows({"question": "?", "answer": r"$336^\circ$"})).problems
    assert problem.gold == "336"


def test_kinds_of_ones_own(rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kinds_under_test.py").write_text(
        "from reasoning.answers.exact import Exact\n"
        "def mine(gold, row, *, suffix=''): return Exact(gold + suffix)\n"
        "def odd(*, gold): return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"kind": "kinds_under_test:mine", "suffix": "!"}
    (problem,) = jsonl(path=rows(ROW), answers=own).problems
    assert asyncio.run(problem.answers.grade(problem.answers.find("#### 2!", True)))
    with pytest.raises(RecipeError, match=r"called as mine\(gold, row\)"):
        jsonl(path=rows(ROW), answers="kinds_under_test:odd")
    recipe = parse(
        {"task": {"name": "jsonl", "answers": own}, "generator": "nano", "searcher": "sample"}
    )
    assert [need.code for need in needs(recipe, {})] == ["kinds_under_test:mine"]


@pytest.mark.parametrize(
    ("strategy", "refused"),
    [
        ({"searcher": "self_consistency", "n": 2}, "majority"),
        ({"searcher": "esc", "n": 2, "window": 2, "aggregator": "first"}, "esc"),
        ({"searcher": "sample", "aggregator": "first"}, None),
    ],
)
def test_nobody_votes_on_free_text(
    rows: Any, strategy: dict[str, Any], refused: str | None
) -> None:
    task = {"name": "jsonl", "path": str(rows({"question": "Write."})), "answers": "text"}
    recipe = parse({"task": task, "generator": "scripted", "strategies": [strategy]})
    if refused is None:
        assert plan(recipe).problems[0].prompt == "Write."
    else:
        with pytest.raises(
            RecipeError, match=rf"{refused} counts equal .* kind text \(problem '1'"
        ):
            plan(recipe)
