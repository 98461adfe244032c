"""What a program of prompts may say: a model for each statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from reasoning.errors import unknown
from searchers.programs.language.parts import (
    Condition,
    Count,
    Expression,
    Name,
    Parse,
    Part,
    Reference,
    Template,
    refuse_alike,
)

OPERATIONS = (
    *("sort", "reverse", "first", "distinct", "nearest", "join", "split", "spans"),
    *("count", "sum", "minus", "mix", "softmax"),
)


class Shot(Part):
    """An example that stands before a prompt: what was asked, and what was said."""

    ask: Template
    say: Template


class Call(Part):
    """Asks the model `call`, in a conversation of its own, and keeps the reply `as` a name."""

    VERB: ClassVar = "call"
    call: Annotated[Template, Field(min_length=1)]
    as_: Name | None = Field(None, alias="as")
    parse: Parse | None = None
    default: Expression = None
    n: Count | None = None
    model: str = ""
    sampling: Mapping[str, Any] = {}
    shots: tuple[Shot, ...] = ()
    emit: bool = False


class Likely(Part):
    """How likely the text `likely` is after the prompt `after`: its log-probability, nats."""

    VERB: ClassVar = "likely"
    likely: Template
    after: Template
    as_: Name = Field(alias="as")
    model: str = ""


class Let(Part):
    VERB: ClassVar = "let"
    let: Annotated[Mapping[Name, Expression], Field(min_length=1)]


class Add(Part):
    """Puts one more value at the end of a list."""

    VERB: ClassVar = "add"
    add: Expression
    to: Name


class Make(Part):
    """Computes something of the value `of`."""

    VERB: ClassVar = "make"
    make: str
    of: Reference
    as_: Name = Field(alias="as")
    by: Name | None = None
    to: Template | None = None
    n: Count | None = None
    down: bool = False

    @model_validator(mode="after")
    def _known(self) -> Make:
        if self.make not in OPERATIONS:
            raise ValueError(unknown("operation", self.make, OPERATIONS))
        if self.make in ("nearest", "minus", "split") and not self.to:
            raise ValueError(f"{self.make} needs `to`")
        if self.make == "softmax" and self.by is None:
            raise ValueError("softmax needs `by`, the field with each record's logarithm")
        return self


class ForEach(Part):
    """Runs `do` with each of the first `most` items of a list: side by side, or in turn."""

    VERB: ClassVar = "for_each"
    for_each: Reference
    do: Body
    most: Count
    item: Name = "item"
    in_turn: bool = False


class Repeat(Part):
    VERB: ClassVar = "repeat"
    repeat: Count
    do: Body


class While(Part):
    VERB: ClassVar = "while"
    while_: Condition = Field(alias="while")
    most: Count
    do: Body


class If(Part):
    VERB: ClassVar = "if"
    if_: Condition = Field(alias="if")
    then: Block
    else_: Block = Field((), alias="else")


class Branch(Part):
    VERB: ClassVar = "branch"
    branch: Reference
    cases: Annotated[Mapping[str, Block], Field(min_length=1)]
    else_: Block = Field(alias="else")

    @model_validator(mode="after")
    def _differ(self) -> Branch:
        refuse_alike("cases", self.cases)
        return self


class Vote(Part):
    """Has an aggregator choose among a list of replies or texts."""

    VERB: ClassVar = "vote"
    vote: Reference
    as_: Name = Field(alias="as")
    by: str | Mapping[str, Any] = "majority"


class Emit(Part):
    """Puts a text forward as a whole solution."""

    VERB: ClassVar = "emit"
    emit: Template
    weight: Reference | float = 1.0


class Run(Part):
    """Runs a routine; what it gives is kept `as` a name."""

    VERB: ClassVar = "run"
    run: Name
    with_: Mapping[Name, Expression] = Field({}, alias="with")
    as_: Name = Field(alias="as")


class Give(Part):
    """Ends the routine, with what it gives."""

    VERB: ClassVar = "give"
    give: Expression


class Break(Part):
    """Ends the nearest loop."""

    VERB: ClassVar = "break"
    break_: Literal[True] = Field(True, alias="break")


class Stop(Part):
    """Ends the program."""

    VERB: ClassVar = "stop"
    stop: Literal[True] = True


VERBS: Mapping[str, type[Part]] = {
    kind.VERB: kind
    for kind in (
        *(Call, Likely, Let, Add, Make, ForEach, Repeat, While, If, Branch),
        *(Vote, Emit, Run, Give, Break, Stop),
    )
}


def _verb(data: Any) -> str:
    """Which statement it is: its verb, else what stands there in the place of one."""
    if isinstance(data, BaseModel):
        return str(getattr(data, "VERB", type(data).__name__))
    if not isinstance(data, Mapping):
        return str(data)
    # In this order, since a call may say that it is put forward (emit), too.
    return next((verb for verb in VERBS if verb in data), str(next(iter(data), "")))


def _bare(data: Any) -> Any:
    """`stop` and `break` may stand alone."""
    return {data: True} if data in ("stop", "break") else data


Statement: TypeAlias = Annotated[
    Annotated[Call, Tag("call")]
    | Annotated[Likely, Tag("likely")]
    | Annotated[Let, Tag("let")]
    | Annotated[Add, Tag("add")]
    | Annotated[Make, Tag("make")]
    | Annotated[ForEach, Tag("for_each")]
    | Annotated[Repeat, Tag("repeat")]
    | Annotated[While, Tag("while")]
    | Annotated[If, Tag("if")]
    | Annotated[Branch, Tag("branch")]
    | Annotated[Vote, Tag("vote")]
    | Annotated[Emit, Tag("emit")]
    | Annotated[Run, Tag("run")]
    | Annotated[Give, Tag("give")]
    | Annotated[Break, Tag("break")]
    | Annotated[Stop, Tag("stop")],
    Discriminator(_verb),
    BeforeValidator(_bare),
]
Block: TypeAlias = tuple[Statement, ...]
Body: TypeAlias = Annotated[tuple[Statement, ...], Field(min_length=1)]


class Routine(Part):
    """Steps by a name, which may run themselves, `depth` times within each other.

    What it comes to is `else` where nothing is given, where it is nested deeper, and, with
    `remember`, where it is run within itself with the same arguments; what else those gave is then
    known.
    """

    takes: tuple[Name, ...] = ()
    depth: Count = 0
    remember: bool = False
    else_: Expression = Field(alias="else")
    steps: Body


class Program(Part):
    """A program, checked in itself: see `reasoning` docs/programs.md."""

    name: str = ""
    about: str = ""
    source: str = ""
    params: Mapping[Name, Expression] = {}
    row: Mapping[Name, Expression] = {}
    routines: Mapping[Name, Routine] = {}
    steps: Body


for _kind in (ForEach, Repeat, While, If, Branch, Routine, Program):
    _kind.model_rebuild()


def blocks(statement: Any) -> Sequence[tuple[str, Sequence[Any]]]:
    """The statements within one, each block with its place."""
    match statement:
        case ForEach() | Repeat() | While():
            return [("do", statement.do)]
        case If():
            return [("then", statement.then), ("else", statement.else_)]
        case Branch():
            cases = [(f"cases.{name}", block) for name, block in statement.cases.items()]
            return [*cases, ("else", statement.else_)]
    return []
