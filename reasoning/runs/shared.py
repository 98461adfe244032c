"""What the problems of a run share: notes of another run, paid for once, that strategies read.

Notes are told by their `digest`; their `cost` has what all of them together have used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reasoning.runs.recipe import Strategy


def digests(strategies: Iterable[Strategy]) -> dict[str, list[str]]:
    """What each strategy reads, of those that read any: a file may hold something else later."""
    found = {s.name: [notes.digest for notes in _notes(s)] for s in strategies}
    return {name: read for name, read in found.items() if read}


def cost(strategy: Strategy) -> dict[str, float]:
    """What the notes that a strategy reads have cost, whatever is asked with them; {} for none."""
    total: Counter[str] = Counter()
    for notes in _notes(strategy):
        total.update(notes.cost)
    return dict(total)


def told(strategies: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What rows of a summary have cost with and without what their problems share."""
    for s in strategies:
        if (once := s.get("shared")) and (n := s["problems"]):
            notes, own = once.get("generated_tokens", 0), s["generated_tokens"] / n
            price = f" and {once['money']:g} of money" if once.get("money") else ""
            yield (
                f"{s['name']} reads notes that cost {notes:,.0f} generated tokens in "
                f"{once.get('calls', 0):,.0f} calls{price}, once: {own + notes / n:,.0f} a problem "
                f"with them, spread over these {n:,}, and {own:,.0f} without, as in the table"
            )


def _notes(strategy: Strategy) -> list[Any]:
    values = [v for stage in strategy.run.stages for v in stage.given.values()]
    return list({v.digest: v for v in values if hasattr(v, "digest")}.values())
