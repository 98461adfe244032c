"""Make a language model answer better by spending compute when it answers.

>>> import reasoning
>>> result = reasoning.solve("What is 12 * 7 + 5?", searcher="best_of_n", n=8,
...                          generator="nano", verifier="nano_prm")
>>> result.answer, result.usage, result.tree, result.stop_reason
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning.aggregators import Candidate, Choice
    from reasoning.answers import Answer
    from reasoning.budget import Budget
    from reasoning.generate import Generator, Meter, Prompt, Sampling
    from reasoning.problem import Message, Problem
    from reasoning.racing import race
    from reasoning.result import Result
    from reasoning.search import Search, Step
    from reasoning.session import Session, solve, solve_async
    from reasoning.settings import Limits
    from reasoning.tree import Node, RolloutTree, Sample, Turn
    from reasoning.usage import Usage
    from reasoning.verify import Scores, Verifier

__version__ = "0.2.0"

_HOMES = {
    "Answer": "answers",
    "Budget": "budget",
    "Candidate": "aggregators",
    "Choice": "aggregators",
    "Generator": "generate",
    "Limits": "settings",
    "Message": "problem",
    "Meter": "generate",
    "Node": "tree",
    "Problem": "problem",
    "Prompt": "generate",
    "Result": "result",
    "RolloutTree": "tree",
    "Sample": "tree",
    "Sampling": "generate",
    "Scores": "verify",
    "Search": "search",
    "Session": "session",
    "Step": "search",
    "Turn": "tree",
    "Usage": "usage",
    "Verifier": "verify",
    "race": "racing",
    "solve": "session",
    "solve_async": "session",
}

__all__ = [
    "Answer",
    "Budget",
    "Candidate",
    "Choice",
    "Generator",
    "Limits",
    "Message",
    "Meter",
    "Node",
    "Problem",
    "Prompt",
    "Result",
    "RolloutTree",
    "Sample",
    "Sampling",
    "Scores",
    "Search",
    "Session",
    "Step",
    "Turn",
    "Usage",
    "Verifier",
    "race",
    "solve",
    "solve_async",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that the import itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'reasoning' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"reasoning.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
