"""Reading answers; and that HTTP is a room of its own."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reasoning.http
from reasoning.errors import TransientError
from reasoning.http.reading import count, dumps, loads, number, readable, string

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


def came_of(read: Callable[[Any], Any], data: Any) -> str:
    """What is found, or what kind of error comes of it."""
    try:
        return repr(read(data))
    except (ValueError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"


any_text = st.text(st.characters())  # lone halves of pairs with them
a_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
)
LITTLE = st.lists(
    st.sampled_from([*b'{}[],:"\\/u dD8e-+.019tfnNaI \n\xc3\xa9\xed\xa0\x80\xff\xfe\x00', 34, 34])
)


@given(a_value)
def test_json_is_read_and_written_as_by_the_standard_library(value: Any) -> None:
    for data in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        encoded = data.encode("utf-8", "surrogatepass")
        assert came_of(loads, encoded) == came_of(json.loads, encoded)
        assert came_of(loads, bytearray(encoded[:-1])) == came_of(json.loads, encoded[:-1])
    assert came_of(json.loads, dumps(value)) == came_of(json.loads, json.dumps(value))


@given(st.one_of(st.binary(), LITTLE.map(bytes), st.floats().map(lambda x: repr(x).encode())))
def test_what_is_no_json_is_none_here_either(data: bytes) -> None:
    assert came_of(loads, data) == came_of(json.loads, data)


@pytest.mark.parametrize(
    "data",
    [b"[" * 150 + b"]" * 150, b"[" * 300 + b"]" * 300, b"[" * 10**5, b'{"a":1,"a":2}', b"-0",
     b"1e999", b"9" * 5000, b"\xef\xbb\xbf[1]", "[1]".encode("utf-16"), b'"\\ud83d"', b"NaN"],
    ids=lambda data: repr(data[:9]),
)  # fmt: skip
def test_json_that_is_odd(data: bytes) -> None:
    assert came_of(loads, data) == came_of(json.loads, data)
