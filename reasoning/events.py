"""What happens in a search, told while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reasoning.tree import Finish, Node, Path

if TYPE_CHECKING:
    from reasoning.result import Result


@dataclass(frozen=True, slots=True)
class Drawn:
    """A call has ended, or the search has written something: `text` stands at `path` now.

    `finish` tells what it is: "stop" a step, "end" the end of a solution, "written", "probe", ...
    `tokens` were generated for it.
    """

    path: Path
    text: str
    finish: Finish
    tokens: int
    model: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A call under way has said `text`, which stands at character `at` of the node it will be.

    One that is tried again begins anew: `at` is behind what was heard before. Told on demand, and
    only of generators whose answers come in pieces (openai, nano).
    """

    path: Path
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Scored:
    """A verifier has scored the steps that stand at `path`; no scores where it failed."""

    path: Path
    verifier: str
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Emitted:
    """The path that ends at `path` is a candidate now, or has another weight."""

    path: Path
    answer: str | None
    weight: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """The strategy has made its choice; `path` and `text` are None where it made none."""

    path: Path | None
    answer: str | None
    text: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """The search is over: what `solve` returns."""

    result: Result


Event: TypeAlias = Drawn | Heard | Scored | Emitted | Chosen | Done
Watch: TypeAlias = Callable[[Event], None]


def drawn(node: Node) -> Drawn:
    """The event of a node that has just been filed."""
    sample = node.sample
    return Drawn(node.path, sample.text, sample.finish, sample.generated_tokens, sample.model)
