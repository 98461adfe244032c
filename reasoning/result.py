"""What came of a search: the one place where a search starts and ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reasoning.aggregators import Candidate
from reasoning.chain import Chain, StopReason
from reasoning.events import Chosen
from reasoning.search import Search
from reasoning.tree import Node, RolloutTree
from reasoning.usage import Usage


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a search. `answer` is None if no candidate had one, or none was chosen.

    `chosen` is the winner, with its node; `confidence` in it, in [0, 1], None if nobody can say.
    `measures` are numbers that the strategy tells of its own work, by name.
    """

    answer: str | None
    stop_reason: StopReason
    usage: Usage
    candidates: list[Candidate]
    tree: RolloutTree = field(repr=False)
    failures: list[str] = field(default_factory=list)
    chosen: Candidate | None = field(default=None, repr=False)
    confidence: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def node(self) -> Node | None:
        """The winner's place in the tree, None if there is no winner."""
        return self.chosen.node if self.chosen else None

    @property
    def text(self) -> str | None:
        """The whole text of the winner, None if there is none."""
        return self.node.text if self.node else None


async def run_search(search: Search, strategy: Chain, seconds: float | None = None) -> Result:
    """Run the stages of a strategy under its deadline, and choose from what they put forward.

    Raises UserError or EngineError as they are, out of whatever task group they happened in.
    """
    start = search.clock.now()
    try:
        found = await strategy.run(search, seconds)
    finally:
        search.usage.seconds = search.clock.now() - start
    chosen = found.choice.candidate
    result = Result(
        answer=chosen.answer.text if chosen and chosen.answer else None,
        stop_reason=found.stop_reason,
        usage=search.usage,
        candidates=found.candidates,
        tree=search.tree,
        failures=search.failures,
        chosen=chosen,
        confidence=found.choice.confidence,
        measures=search.measures,
    )
    path = None if chosen is None else chosen.path
    search.tell(lambda: Chosen(path, result.answer, result.text, result.confidence))
    return result


def failed(search: Search, error: BaseException) -> Result:
    """What came of a search that an error has ended: no answer, and all that was paid for."""
    what = f"{type(error).__name__}: {error}"
    return Result(
        answer=None,
        stop_reason="failed",
        usage=search.usage,
        candidates=[],  # what it put forward is in the tree
        tree=search.tree,
        failures=[*search.failures, what],
    )
