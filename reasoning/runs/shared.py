"""What the problems of a run share: notes of another run, paid for once, that strategies read.

Notes are told by their `digest`; their `cost` has what all of them together have used.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


WAITED = 10.0
"""What a token that somebody waits for costs, where one that nobody waits for costs 1, in the paper
on sleep-time compute (2025, arXiv:2504.13171)."""


def per_problem(once: float, own: float, n: float, price: float = WAITED) -> float:
    """What each of `n` problems costs with its part of what was paid `once`: once / n + price own.

    `own` are its own tokens, which somebody waits for at `price`; the unit is a token that nobody
    waits for.
    """
    return once / n + price * own


def break_even(once: float, saved: float, price: float = WAITED) -> float:
    """The number of problems beyond which what was paid `once` pays: once / (price saved).

    `saved` are the tokens of its own that each problem needs less; infinity where it saves none.
    """
    return once / (price * saved) if saved > 0 else math.inf


def told(strategies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What rows of a summary have cost with and without what their problems share, and from how
    many problems on that pays: against the first row that reads nothing."""
    plain = next((s for s in strategies if not s.get("shared") and s["problems"]), None)
    for s in strategies:
        if (once := s.get("shared")) and (n := s["problems"]):
            notes, own = once.get("generated_tokens", 0), s["generated_tokens"] / n
            price = f" and {once['money']:g} of money" if once.get("money") else ""
            pays = "" if plain is None else f"; {_pays(notes, own, plain)}"
            whole = per_problem(notes, own, n, price=1)
            yield (
                f"{s['name']} reads notes that cost {notes:,.0f} generated tokens in "
                f"{once.get('calls', 0):,.0f} calls{price}, once: {whole:,.0f} a problem "
                f"with them, spread over these {n:,}, and {own:,.0f} without, as in the table{pays}"
            )


def _pays(notes: float, own: float, plain: Mapping[str, Any]) -> str:
    """From how many problems on the notes pay against a strategy that reads none."""
    saved = plain["generated_tokens"] / plain["problems"] - own
    if saved <= 0:
        return f"it saves no tokens on {plain['name']}"
    alike, waited = break_even(notes, saved, 1), break_even(notes, saved)
    return (
        f"it saves {saved:,.0f} on {plain['name']} and pays beyond {alike:,.1f} problems, or "
        f"{waited:,.1f} where a token that is waited for costs {WAITED:g} that are not"
    )


def _notes(strategy: Strategy) -> list[Any]:
    values = [v for stage in strategy.run.stages for v in stage.given.values()]
    return list({v.digest: v for v in values if hasattr(v, "digest")}.values())
