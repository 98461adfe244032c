"""Tools that a client offers, and conversations that have used some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasoning.problem import Message
from reasoning.serve.offers import Offer
from reasoning.serve.refusal import RequestError

FIELDS = ("tools", "tool_choice", "parallel_tool_calls")
_CHOICES = ("none", "auto", "required")
_MOST = 128


def offered(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body that offer tools, empty where it offers none. Raises RequestError."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not tools:
        if choice not in (None, "none", "auto"):
            raise RequestError("tool_choice names tools, and there are none", param="tool_choice")
        return {}
    if not isinstance(tools, list) or len(tools) > _MOST:
        raise RequestError(f"tools is a list of {_MOST} tools at most", param="tools")
    for i, tool in enumerate(tools):
        _function(tool, f"tools[{i}]")
    names = {tool["function"]["name"] for tool in tools}
    if isinstance(choice, Mapping):
        if _function(choice, "tool_choice") not in names:
            raise RequestError("tool_choice names none of the tools", param="tool_choice")
    elif choice not in (None, *_CHOICES):
        raise RequestError(
            f"tool_choice is {str(choice)[:40]!r}; it is one of {', '.join(_CHOICES)}, or names a "
            "function",
            param="tool_choice",
        )
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        raise RequestError("parallel_tool_calls is true or false", param="parallel_tool_calls")
    return {name: body[name] for name in FIELDS if body.get(name) is not None}


def allow(offer: Offer, tools: Mapping[str, Any], messages: Sequence[Message]) -> None:
    """Raise RequestError for tools that the strategy, or the model behind it, can do nothing with.

    A vote counts calls; a verifier or a judge reads texts, and a call is none.
    """
    spoken = [i for i, message in enumerate(messages) if message.more]
    if not tools and not spoken:
        return
    param = "tools" if tools else f"messages[{spoken[0]}]"
    if "tools" not in offer.session.generator.honours:
        raise RequestError(
            "tools are not supported: the generator of this server is given none (generator "
            "openai passes them on)",
            param=param,
            code="unsupported_value",
        )
    if not offer.whole:
        raise RequestError(
            f"{offer.name} does more with a text than to count equal ones, and a call of a tool is "
            "no text; choose a strategy that takes whole answers as they are, such as sample or "
            "self_consistency",
            param=param,
            code="unsupported_value",
        )


def spoken(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a message has besides its text: calls of an assistant, whose call a tool answers.

    Raises RequestError for what is none.
    """
    calls, answered = message.get("tool_calls"), message.get("tool_call_id")
    if message.get("role") == "tool":
        if not isinstance(answered, str) or not answered:
            raise RequestError(f"{where} of a tool has no tool_call_id", param=where)
        return {"tool_call_id": answered}
    if not calls or message.get("role") != "assistant":
        return {}
    if not isinstance(calls, list):
        raise RequestError(f"{where}.tool_calls is a list of calls", param=f"{where}.tool_calls")
    found = []
    for i, call in enumerate(calls):
        here = f"{where}.tool_calls[{i}]"
        name = _function(call, here)
        arguments = call["function"].get("arguments", "")
        if not isinstance(arguments, str):
            raise RequestError(f"{here}.function.arguments is a text of JSON", param=here)
        function = {"name": name, "arguments": arguments}
        found.append({"id": str(call.get("id")), "type": "function", "function": function})
    return {"tool_calls": found}


def _function(given: Any, where: str) -> str:
    """The name of the function that is meant."""
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind != "function":
        raise RequestError(
            f"{where} is of type {str(kind)[:40]!r}; tools here are functions",
            param=where,
            code="unsupported_value",
        )
    function = given.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise RequestError(f"{where}.function has no name", param=where)
    return name
