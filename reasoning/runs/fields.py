"""Every field of a recipe, read off the code, with what it means.

`reasoning list recipe` shows them, and `python -m reasoning.runs.fields > docs/recipes.md` writes
the page. Names, types and defaults are those of the classes and functions that check a recipe.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reasoning.cluster.settings import Workers
from reasoning.generate import Sampling
from reasoning.runs import names
from reasoning.runs.meanings import (
    ABOUT,
    AFTER,
    BEFORE,
    MEANINGS,
    MODEL,
    SHORT,
    STAGE,
    TITLES,
    VERIFIER,
)
from reasoning.runs.recipe import Recipe, StrategySpec
from reasoning.search import Step
from reasoning.settings import Limits
from reasoning.usage import Price

REQUIRED = "required"
OWN = "its own"
"""Words in place of a default: it must be given; whoever is named has one."""

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
_BOUNDS = {
    "ge": "{} or more",
    "gt": "above {}",
    "le": "up to {}",
    "lt": "below {}",
    "min_length": "{} entries or more",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One field: its name, what it takes, and what it is where nobody sets it, "" for nothing."""

    name: str
    takes: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Section:
    """The fields that stand in one place of a recipe."""

    title: str
    about: str
    entries: Sequence[Entry]


def sections() -> list[Section]:
    """All of them, in the order of the page. Raises KeyError for a field without a meaning."""
    return [
        Section(
            TITLES[key],
            ABOUT[key],
            [Entry(*field, MEANINGS[key][field[0]]) for field in fields],
        )
        for key, fields in declared().items()
    ]


def declared() -> dict[str, list[tuple[str, str, str]]]:
    """The fields of each section as the code has them: name, what it takes, default."""
    return {
        "recipe": [*_model(Recipe), *SHORT],
        "strategy": [*_model(StrategySpec)],
        "stage": list(STAGE),
        "generator": list(MODEL),
        "verifier": list(VERIFIER),
        "task": [*_tasks()],
        "sampling": [  # what is left out changes nothing of the generator's own
            (name, kind, OWN if default == REQUIRED else default)
            for name, kind, default in _dataclass(Sampling)
        ],
        "step": [*_dataclass(Step)],
        "limits": [*_dataclass(Limits)],
        "prices": [*_dataclass(Price)],
        "workers": [*_model(Workers)],
    }


def markdown() -> str:
    """The page docs/recipes.md."""
    blocks = [BEFORE]
    for section in sections():
        rows = ["| field | takes | default | meaning |", "|---|---|---|---|"]
        for e in section.entries:
            default = e.default if e.default in ("", REQUIRED, OWN) else f"`{e.default}`"
            cells = [f"`{e.name}`", e.takes, default, e.meaning]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        blocks.append(f"## {section.title}\n\n{section.about}\n\n" + "\n".join(rows))
    return "\n\n".join([*blocks, AFTER]) + "\n"


def _model(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        default = REQUIRED if field.is_required() else _shown(field.get_default())
        yield name, takes(field.annotation, field.metadata), default


def _dataclass(kind: type) -> Iterator[tuple[str, str, str]]:
    hints = get_type_hints(kind, include_extras=True)
    for f in dataclasses.fields(kind):
        nothing = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        default = "" if f.default is dataclasses.MISSING else _shown(f.default)
        yield f.name, takes(hints[f.name]), REQUIRED if nothing else default


def _tasks() -> Iterator[tuple[str, str, str]]:
    """The options of all tasks; where they differ in a default, each has its own."""
    functions = {name: names.find("task", name) for name in names.known("task")}
    options: dict[str, list[tuple[str, str]]] = {"name": [("text", REQUIRED)]}
    for task in sorted(functions, key=lambda name: name != "jsonl"):  # which has most
        hints = names.hints(functions[task])
        for name, parameter in names.parameters(functions[task]).items():
            missing = parameter.default is parameter.empty
            default = getattr(functions[task], name, parameter.default)  # a record's own
            default = REQUIRED if missing else _shown(default)
            options.setdefault(name, []).append((takes(hints[name]), default))
    for name, found in options.items():
        defaults = {default for _, default in found}
        yield name, found[0][0], found[0][1] if len(defaults) == 1 else OWN


def takes(kind: Any, rules: Sequence[Any] = ()) -> str:
    """A type in words: `Annotated[int, Field(ge=1)] | None` is a whole number, 1 or more."""
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        inner = [r for m in more for r in (m.metadata if isinstance(m, FieldInfo) else [m])]
        return takes(kind, [*rules, *inner])
    bounds = _bounds(rules)
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    base = get_origin(kind) or kind
    if base in (list, tuple) or base is Sequence:
        parts = [takes(part) for part in get_args(kind) if part not in (..., Any)]
        found = _list_of(parts[0]) if len({*parts} - {"anything"}) == 1 else "list"
    elif base is dict or base is Mapping or base is Workers:
        found = "mapping"
    elif base in _WORDS:
        found = _WORDS[base]
    elif get_args(kind):  # a union
        parts = [takes(part) for part in get_args(kind) if part is not NoneType]
        found = " or ".join(dict.fromkeys(parts))
    else:
        found = "anything"
    return ", ".join([found, *bounds])


def _list_of(part: str) -> str:
    return f"list of ({part})" if "," in part or " or " in part else f"list of {part}"


def _bounds(rules: Collection[Any]) -> list[str]:
    return [
        "not empty"
        if (name, getattr(rule, name)) == ("min_length", 1)
        else words.format(f"{getattr(rule, name):g}")
        for rule in rules
        for name, words in _BOUNDS.items()
        if isinstance(getattr(rule, name, None), (int, float))
    ]


def _shown(value: object) -> str:
    """A default as YAML has it; nothing for what is simply not there."""
    if value is None or value == "" or (isinstance(value, (dict, tuple, list)) and not value):
        return ""
    if isinstance(value, tuple):
        value = list(value)
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text.strip("'") if isinstance(value, str) else text


if __name__ == "__main__":
    sys.stdout.write(markdown())
