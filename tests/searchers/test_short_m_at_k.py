"""short-m@k: the first m of k to end, and what the others cost."""

from __future__ import annotations

import pytest

from reasoning import Result, Sample, solve
from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError

Row = tuple[int, str | None]


def race(rows: list[Row], **params: int) -> Result:
    """Solutions of given lengths and answers (None: none; "cut": it met its token limit)."""
    samples = [
        Sample(
            "no answer" if answer is None else f"\\boxed{{{answer}}}",
            generated_tokens=tokens,
            finish="length" if answer == "cut" else "end",
        )
        for tokens, answer in rows
    ]
    generator = Scripted(samples, token_seconds=1.0)
    return solve(
        "q", searcher="short_m_at_k", generator=generator, sampling={"max_tokens": 99}, **params
    )


@pytest.mark.parametrize(
    ("rows", "m", "answer", "seconds", "tokens"),
    [
        ([(5, "a"), (3, "b"), (9, "a"), (4, "a")], 1, "b", 3, 12),
        ([(5, "a"), (3, "b"), (9, "a"), (4, "a")], 3, "a", 5, 17),
        ([(5, "a"), (3, "b"), (9, "a"), (4, "c")], 3, "b", 5, 17),  # a tie: the shortest
        ([(5, "a"), (3, "b"), (9, "b"), (4, "a")], 4, "b", 9, 21),  # a tie again
        ([(5, "a"), (3, None), (9, "b"), (4, "cut")], 1, "a", 5, 17),
        ([(5, None), (3, None), (9, None), (4, "cut")], 1, None, 9, 21),
        ([(5, "a"), (3, None), (9, None), (4, "cut")], 2, "a", 9, 21),
        ([(3, "a"), (3, "b"), (3, "c"), (3, "c")], 1, "a", 3, 12),  # all at once: the first
    ],
)
def test_vectors(rows: list[Row], m: int, answer: str | None, seconds: int, tokens: int) -> None:
    result = race(rows, k=4, m=m)
    assert result.answer == answer
    assert result.usage.seconds == seconds
    assert result.usage.generated_tokens == tokens


def test_more_winners_than_runners() -> None:
    with pytest.raises(RecipeError, match="m=3 is more than k=2"):
        race([(1, "a")], k=2, m=3)
    assert race([(1, "a"), (2, "b"), (3, "b")], k=3).answer == "b"  # m is 3 unless said
