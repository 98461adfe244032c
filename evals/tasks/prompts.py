"""What a model is shown: a row's fields in a template, worked examples, and conversations."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from reasoning.errors import TaskError, unknown
from reasoning.problem import Message, Role

Template: TypeAlias = str | Sequence[str | Mapping[str, str]]
"""The user message; or a conversation: messages {role, content}, turns {user, assistant}, and texts
of the user's."""

_FIELD = re.compile(
    r"(?P<literal>\{\{[A-Za-z_]\w*\}\})"
    r"|(?P<command>\\[A-Za-z]+(?:\[[^\]]*\])?(?:\{[^{}]*\})+)"
    r"|(?<![\\{^_])\{(?P<name>[A-Za-z_]\w*)\}"
)
"""Fields, and what only looks like one: `{{name}}`, and the arguments of a command of LaTeX."""


def _looks_like_a_field(name: str) -> bool:
    return len(name) > 2


def fields_of(text: str, known: Collection[str]) -> list[str]:
    """The fields that a template names: those known, and what looks like one (three letters or
    more in braces)."""
    names = [found["name"] for found in _FIELD.finditer(text) if found["name"]]
    return list(dict.fromkeys(n for n in names if n in known or _looks_like_a_field(n)))


def fill(text: str, values: Mapping[str, str]) -> str:
    """The template with values in place of their fields, and `{{name}}` as `{name}`.

    All other braces stand for themselves. What a value holds is not looked at again.
    """

    def put(found: re.Match[str]) -> str:
        if found["literal"]:
            return found[0][1:-1]
        return found[0] if found["command"] else values.get(found["name"], found[0])

    return _FIELD.sub(put, text)


def shown(value: object) -> str | None:
    """A field of a row in a prompt: texts as they are, lists line by line; None for nothing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return "\n".join(map(str, value))
    return json.dumps(value, ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class Wording:
    """The messages that every row's are made of; the last one is the user's."""

    messages: tuple[Message, ...]

    @classmethod
    def of(cls, template: Template, system: str | None) -> Wording:
        """From what a recipe says. Raises TaskError for what is no conversation."""
        given = [template] if isinstance(template, str) else list(template)
        messages = [message for item in given for message in _messages(item)]
        if not messages or messages[-1].role != "user":
            raise TaskError("the prompt must end with a message of the user's, which is answered")
        if system is not None:
            if any(m.role == "system" for m in messages):
                raise TaskError("there is a system message in prompt and one in system; keep one")
            messages.insert(0, Message("system", system))
        return cls(tuple(messages))

    def check(self, known: Collection[str], hidden: Collection[str]) -> set[str]:
        """The fields it needs. Raises TaskError for one that no row has, or that must be hidden."""
        needed = {n for m in self.messages for n in fields_of(m.content, known)}
        for name in sorted(needed - set(known)):
            raise TaskError(
                f"the prompt has {{{name}}}: {unknown('field of the rows', name, known)} Write "
                f"{{{{{name}}}}} for braces that stand for themselves"
            )
        if shown_gold := sorted(needed & set(hidden)):
            raise TaskError(
                f"the prompt shows the model {{{shown_gold[0]}}}, the right answer; leave it out, "
                f"or write {{{{{shown_gold[0]}}}}} for braces that stand for themselves"
            )
        if not needed:
            raise TaskError(
                "the prompt must contain {question}, or another field of the rows, and "
                f"{self.messages[-1].content!r:.200} has none"
            )
        return needed

    def filled(self, values: Mapping[str, str], before: Sequence[Message]) -> tuple[Message, ...]:
        """The conversation of one row; `before` is what was said before its question."""
        mine = [Message(m.role, fill(m.content, values)) for m in self.messages]
        if any(m.role == "system" for m in before) and any(m.role == "system" for m in mine):
            raise TaskError(
                "its question is a conversation with a system message of its own; leave out the "
                "task's system"
            )
        opening = [m for m in (*mine[:-1], *before) if m.role == "system"]
        turns = [m for m in (*mine[:-1], *before) if m.role != "system"]
        return (*opening, *turns, mine[-1])


def _messages(item: str | Mapping[str, Any]) -> Iterable[Message]:
    if isinstance(item, str):
        return [Message("user", item)]
    if set(item) == {"role", "content"}:
        return [_message(item)]
    if item and set(item) <= set(get_args(Role)):
        order = [role for role in get_args(Role) if role in item]
        return [_message({"role": role, "content": item[role]}) for role in order]
    raise TaskError(
        f"{dict(item)!r:.80} in prompt is no message; one is a text of the user's, "
        "{user: ..., assistant: ...}, or {role: ..., content: ...}"
    )


def _message(item: object) -> Message:
    """A message as servers have it; its content is a text, or a list of parts that are texts."""
    if not isinstance(item, Mapping) or item.get("role") not in get_args(Role):
        raise TaskError(
            f"{item!r:.80} is no message; one is {{role: ..., content: ...}}, with a role of "
            f"{', '.join(get_args(Role))}"
        )
    content = item.get("content")
    if isinstance(content, list) and all(isinstance(p, Mapping) and "text" in p for p in content):
        content = "\n\n".join(str(part["text"]) for part in content)
    if not isinstance(content, str):
        raise TaskError(f"the content of a message must be a text, not {content!r:.60}")
    return Message(item["role"], content)


def conversation(question: object) -> tuple[tuple[Message, ...], str]:
    """A question that is a list of messages: what was said before, and the user's last words.

    Raises TaskError where it is no conversation that can be answered.
    """
    messages = tuple(map(_message, question)) if isinstance(question, list) else ()
    if not messages or messages[-1].role != "user":
        raise TaskError("a question that is a list of messages ends with one of the user's")
    return messages[:-1], messages[-1].content
