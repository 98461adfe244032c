"""Reading answers; and that HTTP is a room of its own."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import reasoning.http
from reasoning.errors import TransientError
from reasoning.http.reading import count, number, readable, string

ROOM = Path(next(iter(reasoning.http.__path__)))


@pytest.mark.parametrize("file", sorted(ROOM.glob("*.py")), ids=lambda file: file.name)
def test_the_room_knows_no_backend(file: Path) -> None:
    imports = [
        node.module or ""
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    assert not [name for name in imports if name.startswith(("reasoning.backends", "verifiers"))]


@pytest.mark.parametrize(
    ("value", "found"),
    [(0, 0), (7, 7), (True, None), (-1, None), (1.0, None), ("7", None), (10**12, None)],
)
def test_a_number_of_tokens(value: Any, found: int | None) -> None:
    assert count(value) == found


@pytest.mark.parametrize("read", [lambda: number(None), lambda: number(True), lambda: string(3)])
def test_what_is_none_is_worth_another_try(read: Any) -> None:
    with pytest.raises(TransientError, match="cannot be read"), readable():
        read()
