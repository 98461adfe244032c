"""The tree of errors, as its module draws it."""

from __future__ import annotations

import re

import pytest

from reasoning import errors
from reasoning.errors import (
    CallError,
    ContextError,
    EngineError,
    GenerationError,
    ReasoningError,
    RecipeError,
    TransientError,
    UserError,
    cause,
    refused,
    unknown,
)


def test_the_drawing_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    stack = ["Exception"]
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ([│ ├└─]*)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            stack[depth + 1 :] = [match[2]]
            drawn[match[2]] = stack[depth]
    real = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert drawn == real


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("This model's maximum context length is 1024 tokens, however you requested", ContextError),
        (
            "the request exceeds the available context size (exceed_context_size_error)",
            ContextError,
        ),
        ("The decoder prompt is longer than the maximum model length of 512.", ContextError),
        ("temperature must be non-negative", GenerationError),
    ],
)
def test_a_prompt_that_is_too_long_is_known_by_what_engines_say(said: str, kind: type) -> None:
    assert type(refused(said)) is kind


def test_retry_after() -> None:
    assert TransientError("busy").retry_after is None
    assert TransientError("busy", retry_after=2.5).retry_after == 2.5
    assert issubclass(TransientError, CallError)
    assert issubclass(CallError, ReasoningError)


@pytest.mark.parametrize(
    ("name", "valid", "expected"),
    [
        ("sampel", ["sample", "other"], "unknown thing 'sampel'; did you mean 'sample'? Known: "),
        ("xyz", ["sample"], "unknown thing 'xyz'. Known: sample."),
        ("xyz", [], "unknown thing 'xyz'. Known: none."),
    ],
)
def test_unknown(name: str, valid: list[str], expected: str) -> None:
    assert unknown("thing", name, valid).startswith(expected)


def test_cause_finds_what_to_report() -> None:
    recipe, engine, other = RecipeError("n"), EngineError("gone"), ValueError("bug")
    assert cause(other) is other
    assert cause(ExceptionGroup("", [other])) is other
    assert cause(ExceptionGroup("", [other, ExceptionGroup("", [other, recipe])])) is recipe
    assert cause(ExceptionGroup("", [GenerationError("x"), engine, recipe])) is engine
    assert cause(BaseExceptionGroup("", [KeyboardInterrupt(), UserError("u")])).args == ("u",)


@pytest.mark.parametrize(
    ("name", "near"), [("N", "n"), ("Hedge", "hedge"), ("aggregater", "aggregator"), ("zzz", None)]
)
def test_the_nearest_name_is_found_in_letters_of_either_case(name: str, near: str | None) -> None:
    assert errors.nearest(name, ["n", "hedge", "aggregator"]) == near
