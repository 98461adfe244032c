"""Cases of a program: inputs, and what a right program gives on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from reasoning.errors import RecipeError


def cases_of(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The row's cases; a cell of a table holds them as JSON. Raises RecipeError."""
    given = row.get("cases")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            raise RecipeError(f"cases is {given!r:.80}, which is not JSON") from None
    if given is not None and not isinstance(given, list):
        raise RecipeError(f"cases is {given!r:.80}; it must be a list of {{input, output}}")
    for case in given or ():
        if not (isinstance(case, Mapping) and {"input", "output"} <= set(case)):
            raise RecipeError(f"a case is {case!r:.80}; it must be {{input: ..., output: ...}}")
    return list(given or ())


def solved(cases: Sequence[Mapping[str, Any]], results: object) -> bool:
    """Whether a program gave every case's output; see `reasoning.sandbox.programs.results`.

    Values are compared as JSON; texts line by line and word by word, numbers in them by value.
    """
    if not isinstance(results, list) or len(results) != len(cases):
        return False
    return all(map(_right, cases, results))


def _right(case: Mapping[str, Any], result: object) -> bool:
    if not isinstance(result, str):
        return False
    if isinstance(case["input"], list):
        try:
            return bool(json.loads(result) == json.loads(json.dumps(case["output"])))
        except ValueError:  # cut, since it is too long
            return False
    said, wanted = (text.strip().split("\n") for text in (result, str(case["output"])))
    return len(said) == len(wanted) and all(map(_alike, said, wanted))


def _alike(said: str, wanted: str) -> bool:
    a, b = said.split(), wanted.split()
    return len(a) == len(b) and all(x == y or _equal(x, y) for x, y in zip(a, b, strict=True))


def _equal(a: str, b: str) -> bool:
    try:
        return Decimal(a) == Decimal(b)
    except ArithmeticError:
        return False
