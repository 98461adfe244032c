"""What tasks that make their problems share: how many there may be, and no question twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from reasoning.errors import TaskError

MOST = 1_000_000
"""Problems of a generated task."""

_IN_VAIN = 10_000
"""Problems drawn one after another without a new question among them: there is hardly one left."""


class Asks(Protocol):
    """A problem that is made; problems are told apart by their questions."""

    @property
    def question(self) -> str: ...


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
