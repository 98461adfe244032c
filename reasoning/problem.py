"""What is to be solved: a conversation that ends in a question, and what counts as its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from reasoning.answers.thoughts import known, opened

if TYPE_CHECKING:
    from reasoning.answers import Answer
    from reasoning.answers.kind import Answers
    from reasoning.generate import Generator
    from reasoning.tree import Node

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
_SPEAKERS: Final = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as chat templates and servers know them.

    `more` are the fields that only conversations with tools have: `tool_calls` of an assistant,
    `tool_call_id` of what a tool gave back.
    """

    role: Role
    content: str
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content, **self.more}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        """A message of texts alone. Raises ValueError for another role or no text."""
        if not isinstance(data, Mapping):
            raise ValueError(f"{data!r} is no message: a mapping with a role and its content")
        role: Any = data.get("role")
        content = data.get("content")
        if role not in _SPEAKERS or not isinstance(content, str):
            raise ValueError(f"{dict(data)!r} is no message: a role and its content as text")
        return cls(role, content)


@dataclass(frozen=True, slots=True)
class Problem:
    """One question, as a task states it.

    `messages` is what the model sees: a system message perhaps, turns that show how it is done,
    and at the end a user message, or what a tool gave back. Without them they are `system`, if
    there is one, and `prompt` (the question itself unless the task wraps it); given, `prompt` is
    the last message, and a `prompt` or `system` beside them that says something else replaces
    theirs.
    `gold` is the dataset's answer, for reports; `answers` finds answers in texts, compares and
    grades them: mathematics with `gold` as the right answer unless a task says otherwise. `ends`
    are the marks that the thinking of the models ends with, by their names; see `thought_by`.
    """

    id: str
    question: str
    gold: str | None = None
    prompt: str = ""
    system: str | None = None
    meta: Mapping[str, object] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    answers: Answers = field(default=None, repr=False, compare=False)  # type: ignore[assignment]
    ends: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        if self.messages:
            last = self.messages[-1]
            if last.role not in ("user", "tool"):
                raise ValueError(
                    f"problem {self.id!r}: the last message is the {last.role}'s; a "
                    "conversation to be answered ends with the user's"
                )
            # What `dataclasses.replace` changes is changed in the conversation, too.
            if self.prompt and self.prompt != last.content:
                put("messages", (*self.messages[:-1], replace(last, content=self.prompt)))
            systems = [m.content for m in self.messages if m.role == "system"]
            if self.system is not None and [self.system] != systems[:1]:
                rest = tuple(m for m in self.messages if m.role != "system")
                put("messages", (Message("system", self.system), *rest))
            elif systems:
                put("system", systems[0])
            put("messages", tuple(self.messages))
            put("prompt", self.messages[-1].content)
        else:
            if not self.prompt:
                put("prompt", self.question)
            system = () if self.system is None else (Message("system", self.system),)
            put("messages", (*system, Message("user", self.prompt)))
        if self.answers is None:
            from reasoning.answers.math import Math

            put("answers", Math(self.gold))

    def thought_by(self, models: Mapping[str, Generator]) -> Problem:
        """The problem as asked of these models, whose thoughts are no answers."""
        ends = {name: m.thinking.end for name, m in models.items() if m.thinking is not None}
        return replace(self, ends=ends) if ends else self

    def answer(self, node: Node) -> Answer | None:
        """What the path that ends in `node` answers, behind the thoughts of whoever was asked.

        A text that was cut off has an answer only where that is marked, and a thought has none.
        Calls of tools are answers, for kinds of answers that count them.
        """
        if calls := (node.sample.info or {}).get("tool_calls"):
            called = self.answers.called(calls)
            if called is not None:
                return called
        if not self.ends:
            return self.answers.find(node.text, node.finished)
        text, thinks = node.text, self.ends.get(node.sample.model)
        for end in dict.fromkeys(self.ends.values()):
            text = known(text, end)
        if thinks is not None and not node.finished:
            text = opened(text)
        return self.answers.find(text, node.finished)

    @property
    def opening(self) -> tuple[Message, ...]:
        """The system's messages, with which a conversation that starts afresh begins, too."""
        return tuple(m for m in self.messages if m.role == "system")
