"""From candidates to the chosen one.

An aggregator is a function in a file of its name here, or anybody's: `f(candidates)`, or
`f(candidates, search)` if it asks models, which then pay from the search's purse; plain or a
coroutine; its keyword-only parameters are its options in a recipe. It gives back the candidate it
chooses, a `Choice`, None if there is nothing to choose, or, as a filter, those that it keeps.

All that are here agree: the order of the list does not count, a candidate without an answer never
wins, and the earliest (lowest rank, then path) wins a tie. docs/aggregators.md shows how to write
one; `VOTES = True` in a file says that it counts equal answers, `SCORES = True` that it reads the
scores of a verifier.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reasoning.answers import Answer
from reasoning.tree import Node, Path


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node put forward as a solution.

    `steps` are the verifier's scores along its path, empty if it has none, and `score` the one
    number that the verifier's reduction makes of them. `rank` orders candidates that arrived one
    before another (racing strategies); others leave it at 0. `node` holds text, tokens and
    log-probabilities; `facts` are numbers worked out of these once, by name, NaN if they cannot be.
    """

    path: Path
    answer: Answer | None
    weight: float = 1.0
    rank: float = 0.0
    steps: tuple[float, ...] = ()
    score: float | None = None
    node: Node | None = None
    facts: dict[str, float] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, None to abstain; `confidence` in it, in [0, 1], None if nobody can say."""

    candidate: Candidate | None
    confidence: float | None = None


Chosen: TypeAlias = Choice | Candidate | Sequence[Candidate] | None
Aggregator: TypeAlias = Callable[..., Chosen | Awaitable[Chosen]]
Pure: TypeAlias = Callable[[Sequence[Candidate]], Any]
"""An aggregator that needs nothing but the candidates, so that it can choose at any time."""
