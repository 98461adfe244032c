"""How replies become values: what is found, what is not, and that no text does any harm."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from searchers.programs.language import parsers
from searchers.programs.language.parsers import LINES, LONGEST, parsed, record
from searchers.programs.language.parts import PARSERS, Parse
from searchers.programs.language.values import Failure


def read(text: str, how: Any, most: int = 100, entries: Any = ()) -> Any:
    return asyncio.run(parsed(text, TypeAdapter(Parse).validate_python(how), most, entries))


HOWS: list[Any] = [
    *("text", "lines", "numbered", "yes_no", "number"),
    {"choice": ["entailed", "open", "open to doubt"]},
    {"number": [0, 1]},
    {"json": ["a"]},
    {"pick": "rules"},
    {"one_of": "rules"},
    {"regex": r"(?P<x>\w+): (?P<y>.*)", "every": True},
]
REPLIES = st.text(max_size=200) | st.text(alphabet='{}[]",:\\ \n1.a-NONE', max_size=120)


@given(REPLIES, st.sampled_from(HOWS))
@example("{" * 5000, {"json": ["a"]})
@example('{"a": ' * 3000, {"json": ["a"]})
@example("9" * 5000, "number")
@example("9" * 5000, {"pick": "rules"})
@example("1e999", "number")
@example("\\" * 3000, {"json": ["a"]})
def test_no_text_raises_anything_but_failure(text: str, how: Any) -> None:
    with suppress(Failure):
        read(text, how, entries=["r1", "r2"])


@pytest.mark.parametrize(
    ("text", "how", "found"),
    [
        ("a\n\n  b ", "lines", ["a", "b"]),
        ("Sure:\n1. a\n2) b\n3. a", "numbered", ["a", "b"]),
        ("- a\n- b", "numbered", ["a", "b"]),
        ("NONE", "numbered", []),
        ("I think.\nNone.", "numbered", []),
        ("Reasons.\nYes.", "yes_no", True),
        ("yes and no\nSo: NO", "yes_no", False),
        ("It is open to doubt", {"choice": ["open", "open to doubt"]}, "open to doubt"),
        ("Open.\n\n", {"choice": ["open", "shut"]}, "open"),
        ("about 1,234.5", "number", 1234.5),
        ("from 3 to -4e1.", "number", -40.0),
        ("5-3", "number", 3.0),
        ("a probability of 70 %", {"number": [0, 1]}, 0.7),
        ("0.7", {"number": [0, 1]}, 0.7),
        ("2 and 3, and 2", {"pick": "rules"}, [1, 2]),
        ("numbers: 9, 1", {"pick": "rules"}, [0]),
        ("12. 3", {"pick": "rules"}, [2]),
        ("There is none.\nNONE", {"pick": "rules"}, []),
        ("r1 or r2:\n\\boxed{R2}.", {"one_of": "rules"}, "r2"),
        ("So it is r3", {"one_of": "rules"}, "r3"),
        ('so {"a": 1, "b": [2]} ok', {"json": ["b"]}, {"b": [2]}),
        ("fact : A.\nno\nRule: B", {"regex": r"(fact|rule)\s*: (.+)"}, "Rule"),
        ("x: 1\ny: 2", {"regex": r"\w: (\d)", "every": True}, ["1", "2"]),
        ("x 1", {"regex": r"x \d"}, "x 1"),
        (" whole ", "text", "whole"),
    ],
)
def test_what_is_found(text: str, how: Any, found: Any) -> None:
    assert read(text, how, entries=["r1", "r2", "r3"]) == found


@pytest.mark.parametrize(
    ("text", "how", "why"),
    [
        ("", "lines", "no line"),
        ("", "numbered", "no list"),
        ("yes or no", "yes_no", "not one of yes, no"),
        ("opening", {"choice": ["open"]}, "not one of open"),
        ("seven", "number", "does not end in a number"),
        ("7", {"number": [0, 1]}, "from 0 to 1"),
        ("0.5 then 7", {"number": [0, 1]}, "from 0 to 1"),
        ("rule 7", {"pick": "rules"}, "none of the numbers 1 to 3"),
        ("10000000000001", {"pick": "rules"}, "none of the numbers 1 to 3"),
        ("r12", {"one_of": "rules"}, "none of the 3 texts that it may be: 'r1', 'r2', 'r3', ..."),
        ("r1 or r2", {"one_of": "rules"}, "none of the 3 texts"),
        ("r1\nno", {"one_of": "rules"}, "none of the 3 texts"),
        ("", {"one_of": "rules"}, "none of the 3 texts"),
        ('{"b": 1}', {"json": ["a"]}, "no 'a'"),
        ("[1]", {"json": ["a"]}, "no object of JSON"),
        ("nothing", {"regex": r"x: (.+)"}, "no line of it is like"),
    ],
)
def test_what_is_not_found(text: str, how: Any, why: str) -> None:
    with pytest.raises(Failure, match=re.escape(why)):
        read(text, how, entries=["r1", "r2", "r3"])


@given(st.integers(-(10**12), 10**12) | st.floats(-1e12, 1e12))
def test_numbers_come_back(number: float) -> None:
    assert read(f"So it is {number!r}.", "number") == number


WORDS = st.from_regex(r"[a-z]{2,8}( [a-z]{2,8}){0,2}", fullmatch=True)


@given(st.lists(WORDS, min_size=1, max_size=8, unique=True), st.integers(1, 8))
def test_lists_come_back(entries: list[str], most: int) -> None:
    text = "Here:\n" + "\n".join(f"{i}. {e}" for i, e in enumerate(entries, 1))
    assert read(text, "numbered", most) == entries[:most]


# ------------------------------------------------------------------------------------- JSON

JSON = st.recursive(
    st.text(alphabet="abc d,:{}[]\"\n'", max_size=10) | st.integers(-9, 9) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.fixed_dictionaries({"steps": JSON, "answer": JSON}), st.sampled_from([None, 1]))
def test_json_comes_back(data: dict[str, Any], indent: int | None) -> None:
    text = f"Let me see.\n```json\n{json.dumps(data, indent=indent)}\n```\nDone."
    assert record(text, ["steps", "answer"]) == data


@given(JSON, JSON, st.integers(1, 60))
def test_of_json_that_is_cut_off_what_is_whole_is_taken(first: Any, last: Any, cut: int) -> None:
    """A field is whole where a comma follows; one that is not is never taken for one that is."""
    text = json.dumps({"first": first, "last": last})[:-cut]
    whole = len(json.dumps({"first": first})) - 1
    if whole < len(text):
        assert record(text, ["first"]) == {"first": first}
    for field, value in (("first", first), ("last", last)):
        with suppress(Failure):
            assert record(text, [field]) == {field: value}


@pytest.mark.parametrize("said", ['{"a": "4', '{"a": 4', '{"a": [4, 2', '{"a', '{"b": 1, "a": 4'])
def test_half_an_answer_is_none(said: str) -> None:
    with pytest.raises(Failure):
        record(said, ["a"])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"\boxed{3}", r"\boxed{3}"),
        (r"\text{m} \times \theta", r"\text{m} \times \theta"),
        (r"a\nb\tC\"d\\e", 'a\nb\tC"d\\e'),
        (r"\nabla \neq \rho \u00e9", r"\nabla \neq \rho é"),
        ("a\nb", "a\nb"),
    ],
)
def test_latex_in_json(said: str, meant: str) -> None:
    assert record(f'{{"a": "{said}",}}', ["a"]) == {"a": meant}


# ------------------------------------------------------------------------------------ regex


def test_a_pattern_is_tried_on_a_bounded_part_of_a_text() -> None:
    seen: list[int] = []
    text = "\n".join("x" * 1000 for _ in range(500))

    class Pattern:
        def fullmatch(self, line: str) -> None:
            seen.append(len(line))

    original = parsers.compiled_pattern
    try:
        parsers.compiled_pattern = lambda pattern: Pattern()  # type: ignore[assignment]
        with pytest.raises(Failure):
            asyncio.run(parsers.matched(text, "x", True, 9))
    finally:
        parsers.compiled_pattern = original
    assert (len(seen), set(seen)) == (LINES, {LONGEST})


def test_others_run_between_the_lines_that_a_pattern_is_tried_on() -> None:
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def both() -> Any:
        beside = asyncio.ensure_future(other())
        found = await parsers.matched("x: 1\n" * 50, r"x: (\d)", True, 99)
        beside.cancel()
        return found

    assert asyncio.run(both()) == ["1"] * 50
    assert len(turns) >= 50


# ---------------------------------------------------------------------------------- the form


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("linse", "did you mean 'lines'"),
        ({"choise": ["a"]}, "did you mean 'choice'"),
        ("choice", "needs its options"),
        ("json", "needs its fields"),
        ("regex", "needs its pattern"),
        ("pick", "needs its source"),
        ("one_of", "needs its source"),
        ({"yes_no": 3}, "takes nothing"),
        ({"lines": 3, "mosst": 4}, "Extra inputs"),
        ({"number": 3}, "valid tuple"),
        ({}, "unknown parser"),
    ],
)
def test_parsers_that_are_none(how: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        read("", how)


def test_every_parser_is_tried_here() -> None:
    tried = {how if isinstance(how, str) else next(iter(how)) for how in HOWS}
    assert tried | {"answer"} == set(PARSERS)
