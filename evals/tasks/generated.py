"""What tasks that make their problems share: how many there may be, no question twice, the task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from evals.tasks.loading import Task
from reasoning.errors import TaskError
from reasoning.problem import Problem

MOST = 1_000_000
"""Problems of a generated task."""

_IN_VAIN = 10_000
"""Problems drawn one after another without a new question among them: there is hardly one left."""


class Asks(Protocol):
    """A problem that is made; problems are told apart by their questions."""

    @property
    def question(self) -> str: ...


class Made(Asks, Protocol):
    """A problem of a mix of difficulties, which are numbers of operations."""

    @property
    def id(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def difficulty(self) -> int: ...


P = TypeVar("P", bound=Asks)


def different(draw: Callable[[int], P], n: int, name: str) -> Iterator[P]:
    """The first `n` problems draw(0), draw(1), ... of task `name` without repeated questions.

    Raises TaskError where there are not so many.
    """
    seen: set[str] = set()
    index = last = 0
    while len(seen) < n:
        if index - last > _IN_VAIN:
            raise TaskError(
                f"{name}: n is {n:,}, and there are about {len(seen):,} different problems with "
                "these settings; ask for fewer, or for another difficulty"
            )
        item = draw(index)
        index += 1
        if item.question not in seen:
            seen.add(item.question)
            last = index
            yield item


def mixed(
    name: str,
    problems: Callable[..., Iterable[Made]],
    kind: Callable[[str, dict[str, Any]], Any],
    *,
    n: int,
    split: str,
    seed: int,
    difficulty: int | None,
    system: str | None,
) -> Task:
    """The task of `n` such problems. Raises TaskError for a number that there is not."""
    if not 1 <= n <= MOST:
        raise TaskError(f"{name}: n is {n}; it must be from 1 to {MOST:,}")
    if difficulty is not None and not 1 <= difficulty <= 8:
        raise TaskError(f"{name}: difficulty is {difficulty}; it is a number of operations, 1 to 8")
    items = list(problems(n, split=split, seed=seed, difficulty=difficulty))
    digest = hashlib.sha256("\n".join(f"{i.question} {i.answer}" for i in items).encode())
    return Task(
        name,
        [
            Problem(
                id=item.id,
                question=item.question,
                gold=item.answer,
                system=system,
                meta={"difficulty": item.difficulty},
                answers=kind(item.answer, {}),
            )
            for item in items
        ],
        f"{name} {split} seed {seed}, generated, sha256:{digest.hexdigest()}",
    )
