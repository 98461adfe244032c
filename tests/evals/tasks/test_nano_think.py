"""The problems of the model that thinks, and the thoughts and turns that it learns from."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evals.tasks import nano_think as task
from evals.tasks.nano import split_of
from evals.tasks.nano_think import Line, Program, answer_of, first_error, problem, problems
from reasoning.errors import TaskError
from reasoning.runs import names

TRAINING = Path(__file__).resolve().parents[3] / "benchmarks" / "training"
SAMPLE = Program("x", 7, (Line("b", "a", "+", "6"), Line("c", "b", "*", "9")))


@pytest.fixture(scope="module")
def traces() -> ModuleType:
    """The module that writes training rows, which is no part of the package."""
    name = "nano_think_traces"
    spec = importlib.util.spec_from_file_location(name, TRAINING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def solve(question: str) -> str:
    """The answer of a question, read from its text alone."""
    values: dict[str, int] = {}
    for name, expression in re.findall(r"([a-i])=([-+*a-i\d]+)", question):
        values[name] = int(eval(expression, {"__builtins__": {}}, dict(values))) % 10
    asked = re.search(r"What is ([a-i]) modulo 10\?", question)
    assert asked is not None
    return str(values[asked[1]])


def test_questions_say_what_their_answers_are() -> None:
    items = [problem("train", i) for i in range(200)] + list(problems(100))
    assert SAMPLE.question == "a=7\nb=a+6\nc=b*9.\nWhat is c modulo 10?"
    for item in (SAMPLE, *items):
        assert item.answer == solve(item.question)
    assert {item.difficulty for item in items} == set(range(2, 9))


def test_no_question_of_the_test_split_can_occur_in_training() -> None:
    assert {split_of(problem("train", i, 1).question) for i in range(200)} == {"train"}
    assert {split_of(item.question) for item in problems(100)} == {"test"}


def test_a_problem_depends_on_its_number_alone() -> None:
    assert list(problems(3)) == list(problems(9))[:3]
    assert problem("test", 5, difficulty=4).difficulty == 4


def test_there_are_no_more_problems_than_there_are() -> None:
    """All of one operation are 27 tables of 10 numbers, a tenth of them in this split."""
    with pytest.raises(TaskError, match=r"n is 2,000, and there are about .* ask for fewer"):
        names.build("task", {"name": "nano_think", "n": 2000, "difficulty": 1})


def test_task() -> None:
    built = names.build("task", {"name": "nano_think", "n": 5, "difficulty": 3})
    assert len(built.problems) == 5
    assert {p.meta["difficulty"] for p in built.problems} == {3}
    first = built.problems[0]
    found = first.answers.find(f"<think>\n</think>\n\nThe answer is \\boxed{{{first.gold}}}.", True)
    assert found is not None
    assert asyncio.run(first.answers.grade(found)) is True
    for bad in ({"n": 0}, {"n": 10**7}, {"difficulty": 9}):
        with pytest.raises(TaskError, match="nano_think"):
            names.build("task", {"name": "nano_think", **bad})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("b=7+6=3.\n\nc=3*9=7.", None),
        ("b=a+6=7+6=3.\n\nc=b*9=3*9=7.", None),
        ("b=7+6=2.\n\nNo, b=7+6=3.\n\nc=3*9=7.", None),
        ("b=7+6=2.\n\nc=2*9=8.", "b=7+6=2"),
        ("b=7+6=3.\n\nc=b*9=3*9=5.", "c=3*9=5"),
        ("b=7+5=2.\n\nc=2*9=8.\nWait, b=7+6=3, not 2.", "c=2*9=8"),
        ("", None),
    ],
    ids=["right", "long", "mended", "first", "second", "undone", "empty"],
)
def test_first_error(text: str, error: str | None) -> None:
    found = first_error(SAMPLE, text)
    assert (None if found is None else str(found)) == error


def test_thoughts_of_very_different_length_with_slips_and_checks(traces: ModuleType) -> None:
    lengths, wrong, text = [], 0, ""
    for i in range(400):
        item = problem("train", i)
        trace = traces.thought(item, random.Random(i))
        said = traces.closed(trace)
        lengths.append(len(trace.lines))
        wrong += answer_of(said) != item.answer
        text += said
        assert answer_of(said) == trace.answer
        if first_error(item, said) is None:
            assert trace.answer == item.answer
    assert max(lengths) > 8 * min(lengths)
    assert 40 < wrong < 160
    for sign in ("No, ", "Wait, ", " ok.", ", not "):
        assert sign in text


def test_without_slips_every_thought_is_right(traces: ModuleType) -> None:
    habits = traces.Habits(slip=0.0)
    for i in range(50):
        item = problem("train", i)
        trace = traces.thought(item, random.Random(i), habits)
        assert {trace.answer_at(line) for line in range(len(trace.lines) + 1)} == {item.answer}


def test_a_revision_puts_the_named_error_right(traces: ModuleType) -> None:
    attempt = "<think>\nb=7+6=2.\n\nc=2*9=8.\n</think>\n\nThe answer is \\boxed{8}."
    error = first_error(SAMPLE, attempt)
    for seed in range(20):
        trace = traces.revision(SAMPLE, attempt, error, random.Random(seed))
        assert trace.lines[0] == "b=7+6=3, not 2."
    no_error = attempt.replace("2", "3").replace("8", "7")
    named = task.steps_of(no_error)[1]
    trace = traces.revision(SAMPLE, no_error, named, random.Random(0))
    assert (trace.lines, trace.answer) == (("c=3*9=7 ok.",), "7")


def test_rows(traces: ModuleType) -> None:
    """Every kind of row occurs, and what is asked is never trained on."""
    seen = ""
    for i in range(300):
        item = problem("train", i)
        pieces = traces.row(item, random.Random(i), lambda text, rng: text[: rng.randrange(40)])
        assert pieces[0][1] == 0.0
        assert pieces[-1][1] > 0
        assert item.question in pieces[0][0]
        seen += "".join(f"[{text}]" if weight else text for text, weight in pieces)
    for said in (task.JUDGE_TURN, task.CRITIQUE_TURN, task.REVISE_TURN, task.UNNAMED_TURN):
        assert said in seen
    for learnt in ("[Yes<|im_end|>]", "[No<|im_end|>]", "[None.<|im_end|>]", "[solution "):
        assert learnt in seen
