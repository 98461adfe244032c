"""Every field of a recipe has a meaning, and the page says what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from reasoning.cli.show import console, show_fields
from reasoning.errors import RecipeError
from reasoning.runs.fields import declared, markdown, sections, takes
from reasoning.runs.meanings import ABOUT, MEANINGS, TITLES
from reasoning.runs.recipe import parse

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"


def test_fields_and_meanings_are_the_same() -> None:
    found = {key: [name for name, _, _ in fields] for key, fields in declared().items()}
    assert {key: sorted(fields) for key, fields in found.items()} == {
        key: sorted(meanings) for key, meanings in MEANINGS.items()
    }
    assert list(found) == list(TITLES) == list(ABOUT)
    for fields in found.values():
        assert len(set(fields)) == len(fields)


def test_the_page_is_what_the_code_generates() -> None:
    made = markdown()
    assert PAGE.read_text(encoding="utf-8") == made, (
        "docs/recipes.md is old: python -m reasoning.runs.fields > docs/recipes.md"
    )
    for section in sections():
        for entry in section.entries:
            assert f"| `{entry.name}` | {entry.takes} | " in made


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[int, Field(ge=1)] | None, "whole number, 1 or more"),
        (Annotated[float, Field(gt=0, le=1)], "number, above 0, up to 1"),
        (Annotated[float, Field(ge=0, allow_inf_nan=False)], "number, 0 or more"),
        (tuple[Annotated[str, Field(min_length=1)], ...], "list of (text, not empty)"),
        (Annotated[list[int], Field(min_length=2)], "list of whole number, 2 entries or more"),
        (list[Any], "list"),
        (Annotated[float, Field(gt=0, lt=1)], "number, above 0, below 1"),
        (str | dict[str, Any] | None, "text or mapping"),
        (Literal["a", "b"], "a, b"),
        (bool | None, "true or false"),
        (object, "anything"),
    ],
)
def test_types_in_words(kind: Any, words: str) -> None:
    assert takes(kind) == words


def test_the_terminal_shows_them() -> None:
    with console.capture() as shown:
        show_fields()
    for words in ("concurrency: whole number, 1 or more [256]", "share_samples: true or false"):
        assert words in shown.get()


def test_a_whole_run_has_no_deadline() -> None:
    data = {"task": "nano", "generator": "nano", "searcher": "sample"}
    with pytest.raises(RecipeError, match=r"set limits\.seconds"):
        parse({**data, "run_limits": {"seconds": 5}})
