"""From candidates to one answer: pure functions, one policy for ties.

Every aggregator takes candidates in path order and returns the winning answer, or None. An answer
that could not be parsed never wins; the earliest candidate (lowest rank, then path) wins a tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reasoning.answers import Answer
from reasoning.errors import RecipeError
from reasoning.tree import Node, Path
from reasoning.verify import Reduction, reduce_steps


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node put forward as a solution.

    `steps` are the verifier's scores along its path, empty if it has none, and `score` the one
    number that the verifier's reduction makes of them. `rank` orders candidates that arrived one
    before another (racing strategies); others leave it at 0. `node` holds text, tokens and
    log-probabilities.
    """

    path: Path
    answer: Answer | None
    weight: float = 1.0
    rank: float = 0.0
    steps: tuple[float, ...] = ()
    score: float | None = None
    node: Node | None = None


Aggregator: TypeAlias = Callable[[Sequence[Candidate]], Answer | None]


def first(candidates: Sequence[Candidate]) -> Answer | None:
    """The answer of the earliest candidate that has one."""
    return next((c.answer for c in _in_order(candidates)), None)


def best(candidates: Sequence[Candidate], *, reduction: Reduction = "last") -> Answer | None:
    """The answer of the candidate with the highest score (Cobbe et al., 2021, arXiv:2110.14168).

    Candidates without a score come last; if none has one, this is `first`.
    """
    scored = [(reduce_steps(c.steps, reduction), c.answer) for c in _in_order(candidates)]
    top = max(scored, key=lambda pair: -math.inf if pair[0] is None else pair[0], default=None)
    return top[1] if top else None


def majority(candidates: Sequence[Candidate]) -> Answer | None:
    """The most frequent answer (self-consistency; Wang et al., 2022, arXiv:2203.11171).

    Candidates count by their weight, which is 1 unless the searcher says otherwise.
    """
    return _vote((c, c.weight) for c in _in_order(candidates))


def weighted_majority(
    candidates: Sequence[Candidate], *, reduction: Reduction = "last"
) -> Answer | None:
    """The answer whose candidates' scores add up highest (Li et al., 2022, arXiv:2206.02336).

    Candidates without a score do not vote; if none has one, this is `majority`. Scores are 0 or
    more: sums of logarithms would favour rare answers. Raises RecipeError for a negative one.
    """
    scored = [(c, reduce_steps(c.steps, reduction)) for c in _in_order(candidates)]
    votes = [(c, c.weight * score) for c, score in scored if score is not None]
    for c, weight in votes:
        if weight < 0:
            raise RecipeError(
                f"weighted_majority needs scores of 0 or more, candidate {c.path} has {weight:g}; "
                "use aggregator 'best', or a verifier that maps its scores to [0, 1]"
            )
    return _vote(votes) if votes else majority(candidates)


def _in_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those with an answer, earliest first."""
    return sorted((c for c in candidates if c.answer), key=lambda c: (c.rank, c.path))


def _vote(votes: Iterable[tuple[Candidate, float]]) -> Answer | None:
    totals: dict[str, float] = {}
    answers: dict[str, Answer] = {}
    for candidate, weight in votes:
        assert candidate.answer is not None
        key = candidate.answer.key
        totals[key] = totals.get(key, 0.0) + weight
        answers.setdefault(key, candidate.answer)
    # max() keeps the first of equals, and the keys stand in order of first appearance.
    return answers[max(totals, key=totals.__getitem__)] if totals else None
