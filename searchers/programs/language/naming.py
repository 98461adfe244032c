"""How names in programs of prompts are checked: whether they are set, and what kind they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoning.errors import RecipeError, unknown
from searchers.programs.language import kinds
from searchers.programs.language.kinds import ANY, RAW, TEXT, Kind, alone, joined
from searchers.programs.language.parts import All, AnyOf, Not
from searchers.programs.language.statements import Program
from searchers.programs.language.values import references

Env = dict[str, Kind]
"""The names that are set on every path that leads here."""


@dataclass
class Names:
    """What is known of names while statements are gone through in the order in which they run.

    `fixed` may not be set: parameters and what is built in. `ever` have been set on some path.
    """

    program: Program
    params: Mapping[str, Any]
    fixed: frozenset[str]
    routine: str = ""
    loop: bool = False
    abreast: bool = False
    ever: set[str] = field(default_factory=set)

    def fail(self, where: str, what: str) -> RecipeError:
        return RecipeError(f"{where}: {what}")

    # ----------------------------------------------------------------------------- names

    def reference(self, said: str, where: str, env: Env) -> Kind:
        """The kind of a name, or of a field of one."""
        name, *fields = said.split(".")
        if name not in env:
            if name in self.ever:
                raise self.fail(
                    where,
                    f"{name!r} is not set on every path that leads here; set it before, "
                    "with let, or in every case",
                )
            raise self.fail(
                where,
                f"{unknown('name', name, env)} (text in braces that is meant as such goes "
                "into params)",
            )
        kind = env[name]
        for part in fields:
            kind = self.part(kind, part, said, where)
        return kind

    def part(self, kind: Kind, name: str, said: str, where: str) -> Kind:
        if kind.name == "list":
            inner = ANY if kind.item is None else self.part(kind.item, name, said, where)
            return kinds.list_of(inner)
        if kind == ANY or (kind.name == "record" and kind.fields is None):
            return ANY
        if kind.fields is None:
            raise self.fail(where, f"{said!r}: {kind} has no fields")
        if name not in kind.fields:
            raise self.fail(where, f"{said!r}: {unknown('field', name, kind.fields)}")
        return kind.fields[name]

    def expression(self, said: Any, where: str, env: Env) -> Kind:
        """The kind of an expression, every name in it known."""
        if isinstance(said, str):
            found = [self.reference(name, where, env) for name in references(said)]
            return found[0] if alone(said) else TEXT
        if isinstance(said, Mapping):
            return Kind(
                "record",
                fields={k: self.expression(v, f"{where}.{k}", env) for k, v in said.items()},
            )
        if isinstance(said, (list, tuple)):
            item: Kind | None = None
            for i, inner in enumerate(said):
                item = joined(item, self.expression(inner, f"{where}[{i}]", env))
            return kinds.list_of(item)
        if said is None:
            raise self.fail(where, "there is nothing; say '' for an empty text")
        return kinds.of_data(said)

    def new(self, name: str | None, kind: Kind, where: str, env: Env) -> None:
        """Set a name. Parameters and what is built in stay as they are."""
        if name is None:
            return
        if name in self.fixed:
            raise self.fail(where, f"the name {name!r} is taken; choose another")
        env[name] = kind
        self.ever.add(name)

    def count(self, said: int | str, where: str) -> int:
        """A whole number, stated or a parameter."""
        return counted(said, self.params, where)

    def parsed(self, said: str, where: str, env: Env) -> Kind:
        """The kind of a value that is asked about: no raw reply."""
        kind = self.reference(said, where, env)
        if kind == RAW:
            raise self.fail(
                where, f"{said!r} is {kind}; give the call that made it a parser, say parse: yes_no"
            )
        return kind

    def listed(self, said: str, where: str, env: Env) -> Kind | None:
        kind = self.reference(said, where, env)
        if kind.name not in ("list", "any"):
            raise self.fail(where, f"{said!r} is {kind}, and no list; parse: numbered makes one")
        return kind.item if kind.name == "list" else ANY

    def condition(self, said: Any, where: str, env: Env) -> None:
        match said:
            case All():
                for i, inner in enumerate(said.all):
                    self.condition(inner, f"{where}.all[{i}]", env)
            case AnyOf():
                for i, inner in enumerate(said.any):
                    self.condition(inner, f"{where}.any[{i}]", env)
            case Not():
                self.condition(said.no, f"{where}.not", env)
            case _:
                self.compare(said, where, env)

    def compare(self, said: Any, where: str, env: Env) -> None:
        kind = self.parsed(said.value, f"{where}.value", env)
        what, of = said.asks
        if what == "in" and isinstance(of, str):
            self.listed(of, f"{where}.in", env)
        elif what != "empty":
            other = self.expression(of, f"{where}.{what}", env)
            if what in ("above", "below"):
                for found, place in ((kind, "value"), (other, what)):
                    if found.name not in ("number", "any"):
                        raise self.fail(f"{where}.{place}", f"{found} is no number; parse: number")


def counted(said: int | str, params: Mapping[str, Any], where: str = "") -> int:
    """A whole number, stated or as a parameter has it. Raises RecipeError."""
    if isinstance(said, int):
        return said
    name = said[1:-1]
    if name not in params:
        raise RecipeError(f"{where}: {unknown('parameter', name, params)} Only those count here")
    value = params[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise RecipeError(f"{where}: {name} is {value!r}; it is a whole number from 0 to 10,000")
    return value


def set_of(sampling: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of sampling that a call changes, names of parameters replaced by what they are."""

    def one(value: Any) -> Any:
        name = alone(value) if isinstance(value, str) else None
        return params.get(name, value) if name else value

    return {name: one(value) for name, value in sampling.items()}
