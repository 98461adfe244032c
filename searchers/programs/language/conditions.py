"""What conditions of a program of prompts say of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searchers.programs.language.parts import All, AnyOf, Compare, Not
from searchers.programs.language.values import Value, alike, looked_up, made, told


def holds(scope: Mapping[str, Value], condition: Any) -> bool:
    """Whether it does. Raises Failure for a value that cannot be asked so.

    Values are the same if they read the same, but for capitals, blanks and marks at the ends.
    """
    match condition:
        case All():
            return all(holds(scope, inner) for inner in condition.all)
        case AnyOf():
            return any(holds(scope, inner) for inner in condition.any)
        case Not():
            return not holds(scope, condition.no)
    assert isinstance(condition, Compare)
    value = looked_up(scope, condition.value)
    what, of = condition.asks
    if what == "empty":
        return (not value.data and not isinstance(value.data, (bool, float))) is of
    if what == "is":
        return same(value, made(scope, of))
    if what == "in":
        where = looked_up(scope, of) if isinstance(of, str) else made(scope, of)
        known = {key(item) for item in where.items}
        return {
            key(v) for v in (value.items if isinstance(value.data, tuple) else [value])
        } <= known
    edge = made(scope, of).number
    return value.number > edge if what == "above" else value.number < edge


def same(one: Value, other: Value) -> bool:
    return key(one) == key(other)


def key(value: Value) -> str:
    """What values have in common that are the same."""
    return alike(told(value))
