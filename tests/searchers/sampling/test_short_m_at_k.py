"""short-m@k: the first m of k to end, and what the others cost."""

from __future__ import annotations

import pytest

from reasoning import Result, Sample, solve
from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError
from reasoning.problem import Problem

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
    sampling = {"max_tokens": 99}
    return solve(
        Problem("q", "q"), searcher="short_m_at_k", generator=generator, sampling=sampling, **params
    )


@pytest.mark.parametrize(
    ("rows", "m", "answer", "seconds", "tokens"),
    [
        ([(5, "1"), (3, "2"), (9, "1"), (4, "1")], 1, "2", 3, 12),
        ([(5, "1"), (3, "2"), (9, "1"), (4, "1")], 3, "1", 5, 17),
        ([(5, "1"), (3, "2"), (9, "1"), (4, "3")], 3, "2", 5, 17),  # a tie: the shortest
        ([(5, "1"), (3, "2"), (9, "2"), (4, "1")], 4, "2", 9, 21),  # a tie again
        ([(5, "1"), (3, None), (9, "2"), (4, "cut")], 1, "1", 5, 17),
        ([(5, None), (3, None), (9, None), (4, "cut")], 1, None, 9, 21),
        ([(5, "1"), (3, None), (9, None), (4, "cut")], 2, "1", 9, 21),
        ([(3, "1"), (3, "2"), (3, "3"), (3, "3")], 1, "1", 3, 12),  # all at once: the first
    ],
)
def test_vectors(rows: list[Row], m: int, answer: str | None, seconds: int, tokens: int) -> None:
    result = race(rows, k=4, m=m)
    assert result.answer == answer
    assert result.usage.seconds == seconds
    assert result.usage.generated_tokens == tokens


def test_more_winners_than_runners() -> None:
    with pytest.raises(RecipeError, match="m=3 is more than k=2"):
        race([(1, "1")], k=2, m=3)
    assert race([(1, "1"), (2, "2"), (3, "2")], k=3).answer == "2"  # m is 3 unless said
