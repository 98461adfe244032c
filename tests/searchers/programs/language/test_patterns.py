"""Patterns that no text can make take long pass, others are refused with a cure."""

from __future__ import annotations

import pytest

from searchers.programs.language.patterns import GIVING, WAYS, compiled_pattern, groups


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|ab)*c",
        "(a?a?)*",
        "(a)\\1",
        "a?" * 30,
        "(?=a)a",
        "(ab|cd)" * 9,
        "a{2,3}b" * 7,
        "(",
    ],
)
def test_patterns_that_could_take_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"for ever|long|no regular expression|repetition"):
        compiled_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r".*.*x",
        r"(a*)(A*)a*b",  # capitals or not
        r"\w*\d*\w*!",
        r".*?.*?x",
        r"[ab]*b?[bc]*(?:c|d*)[cd]*e",
        r"(?:ab)*(?:ac)*(?:ad)*a",
        r"[^x]*[^y]*q",
        r"[А-Я]*[Ж-Щ]*Ж*я",
        r"(.*), (.*): (.*)",
    ],
)
def test_two_repetitions_that_give_way_are_one_too_many(pattern: str) -> None:
    with pytest.raises(ValueError, match=rf"{GIVING} is the most; say \[\^:\]\*: for \.\*: there"):
        compiled_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?P<kind>fact|rule|goal)\s*:\s*(?P<text>.+)",
        r"([^=|]*)=>([^|]+)\|(.+)",
        r"x{2} [a-z]+",
        r"a*b*c*d*e*f*",  # each stops where it has to
        r"([^,]*), (.*): (.*)",  # the last one has nothing to leave anything to
        r"(?P<what>follow up|none)\W*(?P<ask>.*)",
        r"(?:one|two|three|four)(?: (?:five|six))?",
    ],
)
def test_patterns_that_are_fine(pattern: str) -> None:
    assert compiled_pattern(pattern)


def test_ways_multiply_and_the_most_are_allowed() -> None:
    assert WAYS == 2**4
    assert compiled_pattern("a?a?a?a?b")
    with pytest.raises(ValueError, match=f"{WAYS} ways"):
        compiled_pattern("a?a?a?a?a?b")


def test_groups_by_name() -> None:
    assert groups("(?P<one>a)(?P<two>b)(c)") == ["one", "two"]
