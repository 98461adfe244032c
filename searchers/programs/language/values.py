"""Values of a program of prompts, each with whose text it was read from, and texts made of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Data: TypeAlias = "str | float | bool | tuple[Value, ...] | Mapping[str, Value]"
REFERENCE = re.compile(r"\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}", re.ASCII)
"""A name in a text; other braces are what they are."""
MOST, DEEPEST = 10_000_000, 20
"""Characters of a value as a text, and lists within lists: a loop doubles a text, or nests a list,
without any call."""


class Failure(Exception):  # noqa: N818  what becomes of data, and no error of anybody's
    """A value that a program cannot go on with, and why."""


@dataclass(frozen=True, slots=True)
class Value:
    """A text, a number, true or false, a list or a record.

    `sources` are the nodes whose text it was read from, each once; those of a list or a record are
    those of all in it, too. `reply` is the node whose whole text it is, if it is that.
    """

    data: Data
    sources: tuple[Any, ...] = ()
    reply: Any = None

    @property
    def items(self) -> tuple[Value, ...]:
        """Of a list; Failure if it is none."""
        if not isinstance(self.data, tuple):
            raise Failure(f"{shown(self)} is no list")
        return self.data

    @property
    def number(self) -> float:
        """A finite one; Failure if it is none. A text that is one counts."""
        try:
            if isinstance(self.data, (str, float)) and math.isfinite(found := float(self.data)):
                return found
        except ValueError:
            pass
        raise Failure(f"{shown(self)} is no number")

    def field(self, name: str) -> Value:
        """A field of a record, of a list that of each of its records. Failure if there is none."""
        if isinstance(self.data, tuple):
            return listed([item.field(name) for item in self.data])
        if not isinstance(self.data, Mapping) or name not in self.data:
            raise Failure(f"{shown(self)} has no field {name!r}")
        return self.data[name]


def of(data: Any, sources: Iterable[Any] = ()) -> Value:
    """Plain data as a value; whatever JSON and YAML do not know is taken for its text."""
    sources = tuple(sources)
    if isinstance(data, Value):
        return data
    if isinstance(data, Mapping):
        return Value({str(k): of(v, sources) for k, v in data.items()}, sources)
    if isinstance(data, (list, tuple)):
        return Value(tuple(of(item, sources) for item in data), sources)
    if isinstance(data, (bool, str)):
        return Value(data, sources)
    if isinstance(data, (int, float)):
        return Value(_float(data), sources)
    return Value("" if data is None else str(data), sources)


def plain(value: Value) -> Any:
    """The value as plain data."""
    if isinstance(value.data, tuple):
        return [plain(item) for item in value.data]
    if isinstance(value.data, Mapping):
        return {name: plain(item) for name, item in value.data.items()}
    return value.data


def listed(items: Iterable[Value]) -> Value:
    """A list of values, and of all that they were read from."""
    found = tuple(items)
    return Value(found, union(item.sources for item in found))


def union(sources: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    """All of them once, in the order in which they come."""
    return tuple(dict.fromkeys(source for some in sources for source in some))


def told(value: Value) -> str:
    """The value as a text: a list as numbered lines, a record as a line for each field.

    Raises Failure for one of more than MOST characters.
    """
    within(_extent(value, {})[0])
    return _told(value)


def _told(value: Value) -> str:
    if isinstance(value.data, bool):
        return "yes" if value.data else "no"
    if isinstance(value.data, float):
        return f"{value.data:.10g}"
    if isinstance(value.data, tuple):
        texts = [_told(item).replace("\n", "\n   ") for item in value.data]
        return "\n".join(f"{i}. {text}" for i, text in enumerate(texts, start=1))
    if isinstance(value.data, Mapping):
        return "\n".join(f"{name}: {_told(item)}" for name, item in value.data.items())
    return value.data


def within(characters: int) -> None:
    """Raises Failure for a text that would have more than MOST."""
    if characters > MOST:
        raise Failure(f"a value has more than {MOST:,} characters; keep less of it")


def _extent(value: Value, known: dict[int, tuple[int, int]], level: int = 0) -> tuple[int, int]:
    """About how many characters it is told in, and how deep it is; what stands in it at several
    places is looked at once."""
    data = value.data
    if isinstance(data, str):
        return len(data), 0
    if not isinstance(data, (tuple, Mapping)):
        return 1, 0
    if id(value) not in known:
        if level > DEEPEST:
            raise Failure(f"a value has more than {DEEPEST} lists or records within each other")
        inner = data if isinstance(data, tuple) else data.values()
        found = [_extent(item, known, level + 1) for item in inner]
        names = 0 if isinstance(data, tuple) else sum(map(len, data))
        deep = 1 + max((height for _, height in found), default=0)
        if deep > DEEPEST:
            raise Failure(f"a value has more than {DEEPEST} lists or records within each other")
        known[id(value)] = sum(size for size, _ in found) + 2 * len(found) + names, deep
    return known[id(value)]


def shown(value: Value) -> str:
    """The value in a message, shortened."""
    text = told(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def alike(text: str) -> str:
    """What is the same for texts that differ in capitals, blanks and marks at their ends."""
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'`*_")


def references(text: str) -> list[str]:
    """The names, with their fields, that stand in braces in a text, in order."""
    return REFERENCE.findall(text)


def looked_up(scope: Mapping[str, Value], reference: str) -> Value:
    """What `name` or `name.field` stands for. Raises Failure for a field that is not there."""
    name, *fields = reference.split(".")
    found = scope[name]
    for field in fields:
        found = found.field(field)
    return found


def filled(scope: Mapping[str, Value], text: str) -> Value:
    """The text with every name in braces replaced, once over; one that is a name alone is that
    value, of whatever kind."""
    if (alone := REFERENCE.fullmatch(text)) is not None:
        return looked_up(scope, alone[1])
    found = {name: looked_up(scope, name) for name in references(text)}
    texts = {name: told(value) for name, value in found.items()}
    within(len(text) + sum(len(texts[name]) for name in references(text)))
    said = REFERENCE.sub(lambda match: texts[match[1]], text)
    return Value(said, union(value.sources for value in found.values()))


def made(scope: Mapping[str, Value], expression: Any) -> Value:
    """The value of an expression: texts are filled in, lists and records hold expressions."""
    if isinstance(expression, str):
        return filled(scope, expression)
    if isinstance(expression, Mapping):
        fields = {name: made(scope, inner) for name, inner in expression.items()}
        return Value(fields, union(value.sources for value in fields.values()))
    if isinstance(expression, (list, tuple)):
        return listed([made(scope, inner) for inner in expression])
    return of(expression)


def text_of(scope: Mapping[str, Value], template: str) -> Value:
    """`filled`, as a text in any case."""
    found = filled(scope, template)
    return found if isinstance(found.data, str) else replace(found, data=told(found))


def each(expression: Any) -> Iterable[str]:
    """Every text in an expression."""
    if isinstance(expression, str):
        yield expression
    elif isinstance(expression, Mapping):
        for inner in expression.values():
            yield from each(inner)
    elif isinstance(expression, (list, tuple)):
        for inner in expression:
            yield from each(inner)


def mapped(value: Value, change: Callable[[Value], Value]) -> Value:
    """A list with each of its items changed."""
    return listed(map(change, value.items))


def _float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
