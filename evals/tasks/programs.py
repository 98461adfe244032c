"""Benchmarks of programs that tests judge in the sandbox, as records.

See `evals.tasks.mathematics`.
"""

from __future__ import annotations

import ast
import base64
import builtins
import io
import json
import pickle
import zlib
from typing import Any

from evals.tasks.benchmark import Benchmark
from evals.tasks.rows import Hub, Row
from reasoning.errors import TaskError

PASSES = (
    "{question}\n\nYour program must pass tests like these:\n\n{test_list}\n\n"
    "Write it in Python. End with all of it in one fenced block, without the tests."
)
COMPLETES = (
    "Complete this function in Python:\n\n```python\n{question}\n```\n\n"
    "End with the whole function, and what it imports, in one fenced block."
)
SOLVES = (
    "{question}\n\n{form}\n\nThink step by step, with a blank line between steps. End with the "
    "whole program in Python in one fenced block."
)
STDIN = "The program reads the input from standard input and prints the output."


def _mbpp(number: int, row: Row) -> Row:
    """The published test is a script of its own; what it needs is imported before it.

    Programs vote by what they do on the inputs of the tests that the prompt shows.
    """
    del number
    if "test" not in row:
        return row
    shown = [call for call in map(_called, row.get("test_list") or ()) if call]
    return {
        **row,
        "tests": [*(row.get("test_imports") or ()), row["test"]],
        "inputs": [arguments for _, arguments in shown],
        "entry_point": shown[0][0] if shown else None,
    }


def _called(test: str) -> tuple[str, list[Any]] | None:
    """Function and arguments in `assert f(1, [2]) == 3`, if they are written out."""
    try:
        calls = [node for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
        for call in calls:
            if isinstance(call.func, ast.Name) and not hasattr(builtins, call.func.id):
                return call.func.id, [ast.literal_eval(argument) for argument in call.args]
    except (SyntaxError, ValueError):
        return None
    return None


def _mathqa(number: int, row: Row) -> Row:
    """The program is to leave its result in `answer`; the test is that it is the published one."""
    del number
    if "tests" in row or "answer" not in row:
        return row
    row = dict(row)
    wanted = float(row.pop("answer"))
    tests = f"assert abs(float(answer) - {wanted!r}) <= 1e-4 * max(1.0, abs({wanted!r}))"
    return {**row, "tests": tests}


def _livecodebench(number: int, row: Row) -> Row:
    """Public and private tests as cases; without them for its voters, who see the public inputs."""
    del number
    if "public_test_cases" not in row:
        return row
    row = dict(row)
    called = json.loads(row.pop("metadata", None) or "{}").get("func_name")
    public = [_case(test, called) for test in json.loads(row.pop("public_test_cases"))]
    hidden = [_case(test, called) for test in _private(row.pop("private_test_cases", ""))]
    starter = row.get("starter_code")
    form = f"Start from this code:\n\n```python\n{starter}\n```" if starter else STDIN
    return {
        **row,
        "cases": [*public, *hidden],
        "inputs": [case["input"] for case in public],
        "entry_point": called,
        "form": form,
    }


def _case(test: dict[str, Any], called: str | None) -> dict[str, Any]:
    """A test as {input, output}: texts to read and print, or arguments and what is returned."""
    if called is None:
        return {"input": test["input"], "output": test["output"]}
    arguments = [json.loads(line) for line in test["input"].split("\n") if line.strip()]
    return {"input": arguments, "output": json.loads(test["output"])}


class _TextOnly(pickle.Unpickler):
    """Reads a pickled text and nothing else: any other pickle could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise TaskError(f"the private tests hold {module}.{name}, and should hold texts only")


def _private(packed: str) -> list[dict[str, Any]]:
    """The private tests: JSON, or JSON pickled, compressed and in base 64. Raises TaskError."""
    if not packed or packed.lstrip().startswith("["):
        return json.loads(packed or "[]")  # type: ignore[no-any-return]
    try:
        text = _TextOnly(io.BytesIO(zlib.decompress(base64.b64decode(packed)))).load()
        return json.loads(text)  # type: ignore[no-any-return]
    except (ValueError, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise TaskError(f"the private tests cannot be read: {error}") from None


humaneval_plus = Benchmark(
    name="humaneval_plus",
    about="HumanEval+ (arXiv:2305.01210): functions to complete, with many more tests.",
    hub=Hub("evalplus/humanevalplus", None, "test", "d32357cf319e50e9c8d8dab5ea876c72b0fd321b"),
    problems=164,
    licence="Apache-2.0",
    prompt=COMPLETES,
    answers={"kind": "code", "seconds": 20.0},
    fields={"question": "prompt", "id": "task_id"},
    note="its tests import numpy",
)

mbpp_plus = Benchmark(
    name="mbpp_plus",
    about="MBPP+ (arXiv:2305.01210): short functions to write, with many more tests.",
    hub=Hub("evalplus/mbppplus", None, "test", "9a36f31e81d5e1670b68e6de8ef23da0c4e1abb5"),
    problems=378,
    licence="Apache-2.0",
    prompt=PASSES,
    answers={"kind": "code", "seconds": 20.0},
    fields={"question": "prompt", "id": "task_id"},
    adapt=_mbpp,
    note="its tests import numpy",
)

livecodebench = Benchmark(
    name="livecodebench",
    about="LiveCodeBench (arXiv:2403.07974): contest problems, chosen by date.",
    hub=Hub("livecodebench/code_generation_lite", "release_latest", "test", "refs/pr/7"),
    problems=1055,
    licence="CC",
    prompt=SOLVES,
    answers={"kind": "code", "seconds": 60.0, "memory_mb": 4096.0},
    fields={"question": "question_content", "id": "question_id"},
    adapt=_livecodebench,
    note=(
        "several GB; say which dates, where: {contest_date: {from: 2025-01-01, to: 2025-04-30}}; "
        "the time limit holds for all tests of a program together"
    ),
)

mathqa_python = Benchmark(
    name="mathqa_python",
    about="MathQA-Python (arXiv:2108.07732): word problems answered by a program.",
    hub=Hub("dtruong46me/mathqa-python", None, "test"),
    problems=None,
    licence="MIT",
    prompt=(
        "{question}\n\nWrite a program in Python that leaves the result, a number, in the variable "
        "`answer`. End with all of it in one fenced block."
    ),
    answers="code",
    fields={"question": "text", "id": "task_id"},
    adapt=_mathqa,
    note="a copy by a third party; columns `answer` and `task_id` are from the paper's code",
)
