"""The searches that run in this process, for whoever looks at them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from reasoning.budget import KINDS, Budget
from reasoning.live.nodes import Entries, brief, entries
from reasoning.tree import Node, Path, RolloutTree
from reasoning.usage import NANO, Usage

if TYPE_CHECKING:
    from reasoning.answers import Answer
    from reasoning.problem import Problem
    from reasoning.runs.run import Running

DETAILED = 12
"""Running searches whose trees a run tells of: those that began first, until they are over."""


class Seen(Protocol):
    """What is looked at of a search."""

    @property
    def problem(self) -> Problem: ...
    @property
    def tree(self) -> RolloutTree: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def failures(self) -> list[str]: ...

    def answer(self, node: Node, /) -> Answer | None: ...


@dataclass(eq=False, slots=True)
class Shown:
    """A search that runs. It is looked at where it stands: it tells nobody anything."""

    strategy: str
    search: Seen
    answers: dict[Path, str | None] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """What it has come to and spent."""
        search = self.search
        return row(
            self.strategy, search.usage, search.budget, len(search.tree), len(search.failures)
        )

    def tree(self, *, texts: bool) -> Entries:
        """Its tree as it is now; see `reasoning.live.nodes`."""

        def mark(node: Node) -> tuple[str | None, bool] | None:
            return None if node.emitted is None else (self._answer(node) if texts else None, False)

        return entries(self.search.tree, mark, over=False, texts=texts)

    def _answer(self, node: Node) -> str | None:
        path = node.path
        if path not in self.answers:
            try:
                found = self.search.answer(node)
            except Exception:  # whatever a task's own kind raises, where it matters too
                found = None
            self.answers[path] = None if found is None else found.text
        return self.answers[path]


def row(strategy: str, usage: Usage, budget: Budget, nodes: int, failures: int) -> dict[str, Any]:
    """A search in few words; `limit` is that of its tokens."""
    bound = budget.purse("tokens").limit if budget.bounds("tokens") else None
    return {
        "strategy": brief(strategy, 120),
        "nodes": nodes,
        "tokens": usage.generated_tokens,
        "limit": bound,
        "failures": failures,
    }


class Board:
    """The searches that run, in the order in which they began."""

    def __init__(self) -> None:
        self.running: dict[str, Shown] = {}
        self._count = itertools.count(1)

    def begin(self, strategy: str, search: Seen, key: str = "") -> str:
        """It runs from now on, until it is taken from `running`. Without a `key` it has a number;
        what it is known by comes back."""
        key = key or str(next(self._count))
        self.running[key] = Shown(strategy, search)
        return key

    @contextmanager
    def showing(self, strategy: str, search: Seen, key: str = "") -> Iterator[None]:
        """It runs meanwhile; see `begin`."""
        key = self.begin(strategy, search, key)
        try:
            yield
        finally:
            del self.running[key]

    def looks(self, *, texts: bool, most: int = DETAILED) -> list[dict[str, Any]]:
        """The first of them with their trees."""
        found = []
        for key, shown in itertools.islice(self.running.items(), most):
            problem = shown.search.problem
            told = {"key": key, "problem": brief(problem.id, 120), **shown.row()}
            if texts:
                told["question"] = brief(problem.question, 600)
            found.append({**told, "tree": shown.tree(texts=texts)})
        return found


def key(strategy: str, problem: str) -> str:
    """What a search of a run is known by, running or stored."""
    return f"{strategy} {problem}"


def standing(running: Running) -> dict[str, Any]:
    """How a run in this process stands, in plain values of a few hundred kilobytes at the most.

    `spent` has what all its problems together have spent and may, where that has a limit.
    """
    progress, board = running.progress, running.board
    journals = running.journals.values()
    spent = {}
    for kind in KINDS:
        if (limit := running.budget.purse(kind).limit) is not None:
            unit = NANO if kind == "money" else 1
            spent[kind] = [running.budget.purse(kind).spent / unit, limit / unit]
    return {
        "problems": progress.problems,
        "done": progress.done,
        "new_done": progress.new_done,
        "tokens": running.live_tokens + sum(journal.paid_tokens for journal in journals),
        "calls": sum(journal.paid_calls for journal in journals) if journals else None,
        "in_flight": running.gate.running if journals else None,
        "most_in_flight": running.gate.most,
        "spent": spent,
        "running": len(board.running),
        "searches": board.looks(texts=not getattr(running.plan.task, "private", False)),
    }
