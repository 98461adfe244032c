"""How many calls a program of prompts makes at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from reasoning.chain import asks
from reasoning.runs.names import bind_aggregator
from searchers.programs.language import statements as st
from searchers.programs.language.naming import counted


class _Unbounded(Exception):  # noqa: N818
    """An aggregator asks models, as often as it wants to."""


def most_calls(program: st.Program, params: Mapping[str, Any], retries: int) -> int | None:
    """A bound on calls to models, with `retries` of each that is parsed; None if votes ask models.

    Calls that fail on their way and are tried again are not in it.
    """
    routines = program.routines

    @cache
    def routine(name: str, nested: tuple[tuple[str, int], ...]) -> int:
        """Of one run of a routine, given how deep each is nested by then."""
        depths = dict(nested)
        depth = depths.get(name, -1) + 1
        if depth > counted(routines[name].depth, params):
            return 0
        return block(routines[name].steps, tuple(sorted((depths | {name: depth}).items())))

    def block(steps: Sequence[Any], nested: tuple[tuple[str, int], ...]) -> int:
        return sum(one(step, nested) for step in steps)

    def one(s: Any, nested: tuple[tuple[str, int], ...]) -> int:
        inner = [block(steps, nested) for _, steps in st.blocks(s)]
        match s:
            case st.Call():
                n = 1 if s.n is None else counted(s.n, params)
                return n * (1 + (retries if s.parse is not None else 0))
            case st.Likely():
                return 1
            case st.ForEach() | st.While():
                return counted(s.most, params) * inner[0]
            case st.Repeat():
                return counted(s.repeat, params) * inner[0]
            case st.If() | st.Branch():
                return max(inner)
            case st.Run():
                return routine(s.run, nested)
            case st.Vote() if asks(bind_aggregator(s.by)):
                raise _Unbounded
        return 0

    try:
        return block(program.steps, ())
    except _Unbounded:
        return None


def models(program: st.Program, params: Mapping[str, Any]) -> list[str]:
    """The models that a program names, each once."""
    return list(dict.fromkeys(named(s.model, params) for s in every(program) if _asks(s)))


def named(model: str, params: Mapping[str, Any]) -> str:
    """A model's name, which may be a parameter."""
    return str(params.get(model[1:-1], model)) if model.startswith("{") else model


def every(program: st.Program) -> list[Any]:
    """Every statement there is."""
    found = [*program.steps, *(s for r in program.routines.values() for s in r.steps)]
    for statement in found:  # grows as it goes
        found += [inner for _, steps in st.blocks(statement) for inner in steps]
    return found


def _asks(statement: Any) -> bool:
    return isinstance(statement, (st.Call, st.Likely))
