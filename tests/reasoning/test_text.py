"""Text that is shown does nothing."""

from __future__ import annotations

import pytest

from reasoning.text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ½ 漢\n\ttext", "plain ½ 漢\n\ttext"),
        ("\x1b]0;title\x07", "<U+001B>]0;title<U+0007>"),
        ("\x9b31m", "<U+009B>31m"),
        ("a\u202eb\u2066", "a<U+202E>b<U+2066>"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\ud800", "<U+D800>"),
    ],
)
def test_what_acts_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
