"""Conversations as clients send them: texts, or lists of parts that are texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasoning.problem import Message, Role
from reasoning.serve.refusal import RequestError
from reasoning.serve.tools import spoken

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_PLAIN = {"role", "content"}
_TEXTS = ("text", "input_text", "output_text")


def conversation(given: Any, field: str = "messages") -> tuple[list[Message], list[str]]:
    """The messages, and the fields of them that do nothing here. Raises RequestError.

    The last is the user's, or a tool's. What an assistant has thought is no part of what it said.
    """
    if not isinstance(given, list) or not given:
        raise RequestError(f"{field} is a list of messages, one or more", param=field)
    found, ignored = [], []
    for i, message in enumerate(given):
        if type(message) is dict and message.keys() == _PLAIN:  # the usual case, quickly
            role, content = _ROLES.get(str(message["role"])), message["content"]
            if role is not None and role != "tool" and type(content) is str:
                found.append(Message(role, content))
                continue
        where = f"{field}[{i}]"
        if not isinstance(message, Mapping):
            raise RequestError(f"{where} is no message: it has a role and a content", param=where)
        role = _ROLES.get(str(message.get("role")))
        if role is None or message.get("function_call"):
            raise RequestError(
                f"{where} has the role {str(message.get('role'))[:40]!r}"
                + (" and function_call" if role else "")
                + "; messages here are those of system, developer, user, assistant and tool, and "
                "calls are tool_calls",
                param=where,
                code="unsupported_value",
            )
        more, said = spoken(message, where), message.get("content")
        if said is None and "tool_calls" in more:
            said = ""
        found.append(Message(role, text(said, f"{where}.content"), more))
        known = ("role", "content", "type", *more)
        ignored += [f"{where}.{k}" for k, v in message.items() if k not in known and v]
    if found[-1].role == "tool":
        return found, ignored
    if found[-1].role != "user" or not found[-1].content.strip():
        raise RequestError(
            f"{field} ends with the {found[-1].role}'s message"
            + (", which is empty" if found[-1].role == "user" else "")
            + "; the last one is the user's, and asks something",
            param=field,
        )
    return found, ignored


def text(content: Any, where: str) -> str:
    """The text of a message's content. Raises RequestError for images, sounds and files."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(part, where) for part in content)
    raise RequestError(f"{where} is a text, or a list of parts that are texts", param=where)


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in _TEXTS and isinstance(said := part.get("text"), str):
        return said
    raise RequestError(
        f"{where} has a part of type {kind!r}; models here read texts",
        param=where,
        code="unsupported_value",
    )
