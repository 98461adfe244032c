"""When a vote is settled: no vote that is still to come can change whose text wins it."""

from __future__ import annotations

from collections import Counter

from reasoning.chain import Chain
from reasoning.events import Drawn, Emitted
from reasoning.tree import Path


class Vote:
    """A vote of `n` samples: the most frequent answer wins, in its earliest words.

    Answers are told apart by their spelling here, and may turn out to mean the same. That changes
    nothing of what is said to be settled: the leader only gains by it, all others together have
    fewer votes than it has, and its first words stand before everybody's.
    """

    def __init__(self, n: int) -> None:
        self._left = n
        self._votes: dict[Path, str | None] = {}
        self._texts: dict[Path, str] = {}

    @classmethod
    def of(cls, chain: Chain) -> Vote | None:
        """The vote that a strategy is; None for others, whose outcome is known at their end."""
        drawing = [s for s in chain.stages if s.kind == "searcher"]
        last = chain.stages[-1] if chain.stages[-1].kind == "aggregator" else chain.last_word
        n = drawing[0].given.get("n")
        plain = chain.independent and last.name == "majority" and len(chain.stages) <= 2
        return cls(n) if plain and isinstance(n, int) else None

    def heard(self, event: Drawn | Emitted) -> str | None:
        """The text that has won, once that is settled."""
        if len(event.path) != 1:
            return None  # texts that come in parts
        if isinstance(event, Drawn):
            self._texts[event.path] = event.text
            return None
        if event.path not in self._votes:
            self._left -= 1
        self._votes[event.path] = event.answer
        return self._settled()

    def _settled(self) -> str | None:
        counts = Counter(a for a in self._votes.values() if a is not None)
        if not counts:
            return None
        ((answer, most),) = counts.most_common(1)
        first = min(p for p, a in self._votes.items() if a == answer)
        earlier = [self._votes.get((slot,), "") for slot in range(first[0])]
        if 2 * most <= counts.total() + self._left or any(a is not None for a in earlier):
            return None
        return self._texts.get(first)
