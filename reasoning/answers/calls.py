"""Calls of tools as answers: who calls the same tools with the same arguments says the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reasoning.answers import Answer

_MARK = "tools "
"""What keys begin with, so that no text has the key of a call."""


def of_calls(calls: Sequence[Mapping[str, Any]]) -> Answer:
    """The calls of one message, in OpenAI's form; their order and their ids mean nothing."""
    said = "; ".join(sorted(_spelled(call.get("function") or {}) for call in calls))
    return Answer(said, _MARK + said)


def is_call(answer: Answer) -> bool:
    return answer.key.startswith(_MARK)


def _spelled(function: Mapping[str, Any]) -> str:
    return f"{function.get('name', '')}({canonical(function.get('arguments') or '{}')})"


def canonical(arguments: str) -> str:
    """Arguments in the one spelling that their JSON has here: keys sorted, no spaces, 1.0 as 1.

    What is no JSON stands as it is, spaces around it apart.
    """
    try:
        return json.dumps(
            json.loads(arguments, parse_float=_number, parse_constant=_refused),
            sort_keys=True,
            separators=(",", ":"),
        )
    except (ValueError, RecursionError):
        return arguments.strip()


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
