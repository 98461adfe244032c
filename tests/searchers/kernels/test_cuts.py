"""Where texts are cut, and marks that are read off."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers.kernels.cuts import beginnings
from searchers.kernels.digits import expected_digit, first_digit


@given(st.text(alphabet="ab \n", max_size=40), st.integers(1, 9))
def test_beginnings_hold_their_share_of_the_words(text: str, parts: int) -> None:
    found = beginnings(text, parts)
    words = len(text.split())
    assert [len(cut.split()) for cut in found] == [i * words // parts for i in range(1, parts)]
    assert all(text.startswith(cut) and cut == cut.rstrip() for cut in found)


def test_a_text_has_at_least_one_part() -> None:
    assert beginnings("a b\n\nc d", 2) == ["a b"]
    with pytest.raises(ValueError, match="1 part or more, not 0"):
        beginnings("a", 0)


@given(st.dictionaries(st.sampled_from(["1", " 1", "8", "x", ""]), st.floats(-5, 0)))
def test_the_expected_digit_is_a_mean(logprobs: dict[str, float]) -> None:
    ones = sum(math.exp(logprobs[t]) for t in ("1", " 1") if t in logprobs)
    eights = math.exp(logprobs["8"]) if "8" in logprobs else 0.0
    mean = (ones + 8 * eights) / (ones + eights) if ones + eights else 0.0
    assert expected_digit(logprobs) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("text", "digit"), [("7", 7), (" 9.", 9), ("", 0), ("good", 0), ("²", 0), ("10", 1)]
)
def test_the_first_digit(text: str, digit: int) -> None:
    assert first_digit(text) == digit
