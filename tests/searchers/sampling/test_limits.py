"""Sampling under limits: what has landed counts, and racers race."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning import Result, solve
from reasoning.backends.scripted import Scripted
from reasoning.problem import Problem


def words(n: int, answer: str) -> str:
    """A solution of `n` words."""
    return "so " * (n - 1) + f"\\boxed{{{answer}}}"


def run(texts: list[str], searcher: str, **options: Any) -> Result:
    return solve(
        Problem("p", "q", gold="2"),
        searcher=searcher,
        generator=Scripted(texts, token_seconds=0.1),
        sampling={"max_tokens": 1000},
        **options,
    )


@pytest.mark.parametrize(
    ("searcher", "params"),
    [
        ("self_consistency", {"n": 8}),
        ("esc", {"n": 8, "window": 8}),
        ("adaptive_consistency", {"n": 8, "window": 8}),
        ("short_m_at_k", {"k": 8, "m": 8}),
        ("best_of_n", {"n": 8, "verifier": "oracle"}),
    ],
)
def test_a_deadline_keeps_what_has_landed(searcher: str, params: dict[str, Any]) -> None:
    """Seven of eight are there after 10 seconds, the last would take 90."""
    texts = [words(100, "2")] * 7 + [words(900, "1")]
    result = run(texts, searcher, limits={"seconds": 20}, **params)
    assert result.answer == "2"
    assert len(result.candidates) == 7
    assert result.usage.seconds == 20
    assert result.usage.cancelled_calls == 1


@pytest.mark.parametrize("tokens", [None, 1999])
def test_racers_race_under_a_limit_too(tokens: int | None) -> None:
    """The limit is below what the four may take at most, 4000, and so cuts their shares."""
    texts = [words(900, "1"), words(100, "2"), words(500, "3"), words(500, "3")]
    limits = {"limits": {"tokens": tokens}} if tokens else {}
    won = run(texts, "first_finish", n=4, **limits)
    assert (won.answer, won.usage.seconds) == ("2", 10)
    assert won.usage.generated_tokens == 400
    assert won.usage.cancelled_calls == 3
    assert won.usage.wasted_tokens == 300
    two = run(texts, "short_m_at_k", k=4, m=2, **limits)
    assert [c.path for c in two.candidates] == [(1,), (2,)]
    assert two.usage.seconds == 50


def test_a_racer_that_waits_to_go_on_is_paid_for_when_it_loses() -> None:
    """The first and the last have used up their shares when the race ends."""
    texts = [words(900, "1"), words(100, "2"), words(500, "3"), words(500, "3")]
    result = run(texts, "short_m_at_k", k=4, m=2, limits={"tokens": 1999})
    filed = {node.path: (node.sample.finish, node.generated_tokens) for node in result.tree}
    assert filed == {
        (0,): ("cancelled", 500), (1,): ("end", 100), (2,): ("end", 500), (3,): ("cancelled", 499),
    }  # fmt: skip
    assert result.usage.generated_tokens == 1599
    assert result.usage.wasted_tokens == 999
    assert result.usage.cancelled_calls == 2


@pytest.mark.parametrize("spellings", [(r"2\sqrt{3}", r"\sqrt{12}"), ("1/2", "0.5")])
@pytest.mark.parametrize(("searcher", "calls"), [("adaptive_consistency", 4), ("esc", 5)])
def test_stopping_rules_count_meanings(
    spellings: tuple[str, str], searcher: str, calls: int
) -> None:
    result = run([words(3, answer) for answer in spellings], searcher)
    assert result.usage.calls == calls
    assert result.answer == spellings[0]
