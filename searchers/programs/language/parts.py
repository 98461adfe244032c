"""What statements of a program of prompts are made of: names, counts, parsers, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from reasoning.errors import unknown
from searchers.programs.language.values import alike

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Reference: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
"""A value by its name, or a field of one: `judged`, `judged.verdict`; no braces."""
Template: TypeAlias = str
"""A text in which names stand in braces."""
Expression: TypeAlias = Any
"""A template, a number, true or false, or a list or mapping of these."""
Whole: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=10_000)]
Count: TypeAlias = Whole | Annotated[str, Field(pattern=r"^\{[A-Za-z_]\w*\}$")]
"""A whole number, or a parameter in braces that is one."""

PARSERS: Mapping[str, str | None] = {
    "text": None,
    "lines": "most",
    "numbered": "most",
    "pick": "source",
    "yes_no": None,
    "choice": "options",
    "one_of": "source",
    "number": "between",
    "json": "fields",
    "regex": "pattern",
    "answer": None,
}
"""Every parser, and which of its fields its own name stands for."""


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parse(Part):
    """How a reply becomes a value: `lines`, `{numbered: 5}`, `{choice: [a, b]}`, ..."""

    by: str
    options: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    fields: tuple[Name, ...] = ()
    pattern: Annotated[str, Field(max_length=300)] = ""
    every: bool = False
    source: Reference | None = None
    between: tuple[float, float] | None = None
    most: Count = 100

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {data: None}
        if not isinstance(data, Mapping) or "by" in data:
            return data
        by = next((key for key in data if key in PARSERS), next(iter(data), ""))
        if by not in PARSERS:
            raise ValueError(unknown("parser", by, PARSERS))
        rest, own, main = dict(data), data[by], PARSERS[by]
        del rest[by]
        if own is not None:
            if main is None:
                raise ValueError(f"the parser {by} takes nothing: say parse: {by}")
            rest[main] = own
        return {"by": by, **rest}

    @model_validator(mode="after")
    def _whole(self) -> Parse:
        for by, name in (
            ("choice", "options"),
            ("json", "fields"),
            ("regex", "pattern"),
            ("pick", "source"),
            ("one_of", "source"),
        ):
            if self.by == by and not getattr(self, name):
                raise ValueError(f"the parser {by} needs its {name}, say {_EXAMPLES[by]}")
        refuse_alike("options", self.options)
        if self.between is not None and self.between[0] > self.between[1]:
            low, high = self.between
            raise ValueError(f"there is no number from {low:g} to {high:g}; the smaller one first")
        return self


def refuse_alike(what: str, texts: Iterable[str]) -> None:
    """Raise ValueError for two texts that are the same to a program, or one that says nothing."""
    known: dict[str, str] = {}
    for text in texts:
        if not (key := alike(text)) or key in known:
            other = f" as {known[key]!r} does" if key else " nothing"
            raise ValueError(f"{text!r} says{other}; {what} differ in more than capitals and marks")
        known[key] = text


_EXAMPLES = {
    "choice": "{choice: [yes, no, open]}",
    "json": "{json: [reason, answer]}",
    "regex": "{regex: 'Fact: (?P<fact>.+)'}",
    "pick": "{pick: rules}",
    "one_of": "{one_of: names}",
}


# ------------------------------------------------------------------------------- conditions


class Compare(Part):
    """One thing that is asked of a value."""

    value: Reference
    is_: Expression = Field(None, alias="is")
    in_: Reference | tuple[Expression, ...] | None = Field(None, alias="in")
    above: Expression = None
    below: Expression = None
    empty: bool | None = None

    @property
    def asks(self) -> tuple[str, Any]:
        """What is asked, and of what."""
        fields = {"is": self.is_, "in": self.in_, "above": self.above, "below": self.below}
        fields |= {"empty": self.empty}
        return next((k, v) for k, v in fields.items() if v is not None)

    @model_validator(mode="after")
    def _one(self) -> Compare:
        if len(self.model_fields_set - {"value"}) != 1:
            raise ValueError("a condition asks one thing: is, in, above, below or empty")
        if self.asks is None:
            raise ValueError("a condition compares with something")
        return self


class All(Part):
    all: Annotated[tuple[Condition, ...], Field(min_length=1)]


class AnyOf(Part):
    any: Annotated[tuple[Condition, ...], Field(min_length=1)]


class Not(Part):
    no: Condition = Field(alias="not")


def _condition(data: Any) -> str:
    if isinstance(data, BaseModel):
        return {All: "all", AnyOf: "any", Not: "not"}.get(type(data), "value")
    keys = [*data] if isinstance(data, Mapping) else [data]
    stated = next((k for k in keys if k in ("value", "all", "any", "not")), None)
    return stated or (str(keys[0]) if keys else "nothing")


Condition: TypeAlias = Annotated[
    Annotated[Compare, Tag("value")]
    | Annotated[All, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(_condition),
]


for _kind in (All, AnyOf, Not):
    _kind.model_rebuild()
