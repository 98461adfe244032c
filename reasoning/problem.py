"""What is to be solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Problem:
    """One question, as a task states it.

    `prompt` is the user message the model sees (the question itself unless the task wraps it),
    `gold` the dataset's answer, `fallback` the task's own way to find an answer in a text that
    has neither a box nor a `####` line.
    """

    id: str
    question: str
    gold: str | None = None
    prompt: str = ""
    system: str | None = None
    meta: Mapping[str, object] = field(default_factory=dict)
    fallback: Callable[[str], str | None] | None = None

    def __post_init__(self) -> None:
        if not self.prompt:
            object.__setattr__(self, "prompt", self.question)
