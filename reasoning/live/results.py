"""Stored results as sums and the latest few: what is kept of them grows with their number by names
alone."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoning.live import board
from reasoning.live.nodes import brief

KEPT = 60
"""Searches that are over of which a page can show the trees: the latest."""
SUMS = ("generated_tokens", "wasted_tokens", "calls", "failed_calls", "verifier_calls", "seconds")

_KIND = re.compile(r"(?:^|: )(?:\w+\.)*([A-Z]\w*)(?=: |$)", re.MULTILINE)


def kind_of(failure: str) -> str:
    """The kind of a failure, told as "WHERE: KIND: WHAT" or "KIND: WHAT"."""
    found = _KIND.search(failure)
    return found[1][:60] if found else "other"


@dataclass(slots=True)
class Tally:
    """What the searches of one strategy have come to so far. `money` is None if it is unknown."""

    done: int = 0
    graded: int = 0
    correct: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    money: float | None = None


@dataclass(slots=True)
class Over:
    """A search that is over, in few words; `offset` is where its line begins."""

    key: str
    strategy: str
    problem: str
    question: str | None
    answer: str | None
    gold: str | None
    correct: bool | None
    stop: str
    confidence: float | None
    tokens: int
    failures: int
    offset: int


@dataclass(slots=True)
class Errors:
    """Failures by kind, each with its first example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, failure: str, *, last: bool = False) -> None:
        """Count one; of a traceback the `last` line says what it was."""
        told = failure.strip().rpartition("\n")[2] if last else failure
        kind = kind_of(told)
        self.counts[kind] += 1
        self.examples.setdefault(kind, brief(told, 400))


@dataclass(slots=True)
class Results:
    """Those of one folder. `read` is how many bytes of the file they are, `damaged` counts lines
    that are no results."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    latest: deque[Over] = field(default_factory=lambda: deque(maxlen=KEPT))
    errors: Errors = field(default_factory=Errors)
    damaged: int = 0
    read: int = 0
    seen: set[str] = field(default_factory=set)

    def take(self, line: Any, offset: int, *, private: bool) -> None:
        """Count a line, unless there was one of this search. Raises what no line raises."""
        strategy, problem, usage = line["strategy"], line["problem"], line["usage"]
        if not (isinstance(strategy, str) and isinstance(problem, str)):
            raise TypeError("names are text")
        key = board.key(strategy, problem)
        if key in self.seen:
            return
        spent = {name: _number(usage.get(name, 0)) for name in SUMS}
        money = _number(usage["money"]) if "money" in usage else None
        failures = [str(failure) for failure in line.get("failures") or ()]
        over = _over(key, line, spent, len(failures), offset, private)
        self.seen.add(key)
        tally = self.tallies.setdefault(strategy, Tally())
        tally.done += 1
        tally.graded += over.correct is not None
        tally.correct += over.correct is True
        tally.sums.update(spent)
        if money is not None:
            tally.money = (tally.money or 0.0) + money
        for failure in failures:
            self.errors.add(failure)
        if (error := line.get("error")) is not None:
            self.errors.add(str(error), last=True)
        self.latest.append(over)


def _over(
    key: str,
    line: Mapping[str, Any],
    spent: Mapping[str, float],
    failures: int,
    offset: int,
    private: bool,
) -> Over:
    def text(name: str, limit: int) -> str | None:
        value = line.get(name)
        return None if value is None or private else brief(str(value), limit)

    sure, correct = line.get("confidence"), line.get("correct")
    return Over(
        key=key,
        strategy=line["strategy"],
        problem=line["problem"],
        question=text("question", 600),
        answer=text("answer", 120),
        gold=text("gold", 120),
        correct=correct if isinstance(correct, bool) else None,
        stop=brief(str(line.get("stop_reason", "")), 40),
        confidence=float(sure) if isinstance(sure, int | float) else None,
        tokens=int(spent["generated_tokens"]),
        failures=failures,
        offset=offset,
    )


def _number(value: Any) -> float:
    """Raises TypeError for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("a count is a number")
    return value
