"""What kind of value a name has, as far as a program tells before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from searchers.programs.language.parts import Parse
from searchers.programs.language.patterns import groups
from searchers.programs.language.values import REFERENCE


@dataclass(frozen=True)
class Kind:
    """`item` is the kind of a list's entries, None where it is empty; `fields` those of a record,
    None where nobody knows them."""

    name: str
    item: Kind | None = None
    fields: Mapping[str, Kind] | None = None

    def __str__(self) -> str:
        return _WORDS[self.name]


RAW, TEXT, NUMBER = Kind("raw"), Kind("text"), Kind("number")
FLAG, ANY, RECORD = Kind("flag"), Kind("any"), Kind("record")
_WORDS = {
    "raw": "a whole reply that nobody has parsed",
    "text": "a text",
    "number": "a number",
    "flag": "true or false",
    "list": "a list",
    "record": "a record",
    "any": "a value of any kind",
}


def list_of(item: Kind | None) -> Kind:
    return Kind("list", item)


def joined(one: Kind | None, other: Kind | None) -> Kind | None:
    """The kind of what is one or the other; None is the kind of nothing."""
    if one is None or other is None or one == other:
        return one or other
    if {one.name, other.name} == {"raw", "text"}:
        return RAW
    if one.name != other.name:
        return ANY
    if one.name == "list":
        return list_of(joined(one.item, other.item))
    if one.fields is None or other.fields is None:
        return RECORD
    common = [name for name in one.fields if name in other.fields]
    fields = {name: joined(one.fields[name], other.fields[name]) or ANY for name in common}
    return Kind("record", fields=fields)


def of_data(data: Any) -> Kind:
    """The kind of plain data."""
    if isinstance(data, bool):
        return FLAG
    if isinstance(data, (int, float)):
        return NUMBER
    if isinstance(data, str):
        return TEXT
    if isinstance(data, Mapping):
        return Kind("record", fields={str(k): of_data(v) for k, v in data.items()})
    if isinstance(data, (list, tuple)):
        item: Kind | None = None
        for inner in data:
            item = joined(item, of_data(inner))
        return list_of(item)
    return ANY


def of_parse(parse: Parse | None, source: Kind | None = None) -> Kind:
    """The kind of what a parser finds; of `pick`, in a list of the kind `source`."""
    if parse is None:
        return RAW
    match parse.by:
        case "lines" | "numbered":
            return list_of(TEXT)
        case "pick":
            return source or list_of(ANY)
        case "yes_no":
            return FLAG
        case "number":
            return NUMBER
        case "json":
            return Kind("record", fields=dict.fromkeys(parse.fields, ANY))
        case "regex":
            named = groups(parse.pattern)
            one = Kind("record", fields=dict.fromkeys(named, TEXT)) if named else TEXT
            return list_of(one) if parse.every else one
    return TEXT


def alone(text: str) -> str | None:
    """The name that is all of a template, None if there is more to it."""
    found = REFERENCE.fullmatch(text)
    return found[1] if found else None
