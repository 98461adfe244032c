"""Programs of prompts as data: see docs/programs.md. Those that ship: LAMBADA and ThinkSum (2022,
arXiv:2212.13894, 2210.01293), Algorithm of Thoughts, IEP, COP and Tree of Thoughts
(2023, arXiv:2308.10379, 2310.12342, 2310.03309, 2305.10601), STOC-ToT, DRAG and IterDRAG (2024,
arXiv:2407.03687, 2410.04343), Syzygy and CoIn (2025, arXiv:2504.09566, 2502.11008)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from reasoning.chain import Stage
from reasoning.errors import RecipeError
from reasoning.runs.names import bind_aggregator, checked
from reasoning.search import Search
from searchers.programs.interpreter import Interpreter
from searchers.programs.language.bounds import every, models, most_calls
from searchers.programs.language.checks import check
from searchers.programs.language.reading import digest, given, parse, read, shipped
from searchers.programs.language.statements import Program, Vote

AGGREGATOR = "majority"
MOST_TOLD = 1_000_000_000
"""A bound on calls that still tells something."""


async def program(
    search: Search,
    *,
    program: Annotated[
        Program | None,
        BeforeValidator(lambda name: shipped(name) if isinstance(name, str) else name),
        WithJsonSchema({"type": "string"}),
    ] = None,
    file: Annotated[
        Program | None,
        BeforeValidator(lambda path: read(path) if isinstance(path, str) else path),
        WithJsonSchema({"type": "string"}),
    ] = None,
    steps: Annotated[
        Program | list[Any] | None,
        BeforeValidator(
            lambda steps: parse({"steps": steps}) if isinstance(steps, list) else steps
        ),
        WithJsonSchema({"type": "array"}),
    ] = None,
    retries: Annotated[int, Field(ge=0)] = 1,
    plain: bool = True,
    **params: Any,
) -> None:
    """Run a program of prompts, which is data: one that ships with the framework, a file, or steps.

    program: the name of one that ships, say lambada. file: one of yours, beside the recipe. steps:
    one that stands in the recipe itself. retries: how often a reply that cannot be parsed is asked
    for again; after that its default is taken, or the program is given up with a note. plain:
    whether a plain solution is drawn where a program ends without a candidate. The parameters of
    the program itself stand beside these.
    """
    which, values = _chosen({"program": program, "file": file, "steps": steps, **params})
    done = await Interpreter(which, values, retries).run(search)
    search.measure(gave_up=not done)
    if plain and not search.candidates:
        await search.draw(search.root, until="end", land=search.emit)


def ABOUT(stated: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802  a constant that depends
    """What depends on the parameters: the models that are asked, whether equal answers are
    counted, a bound on calls, what a file holds. Raises RecipeError for what cannot run."""
    which, values = _chosen(stated)
    try:
        check(which, values)
    except RecipeError as error:
        raise RecipeError(f"program {which.name or 'of the recipe'}: {error}") from None
    bound = most_calls(which, values, stated.get("retries", 1))
    calls = "as many calls as its votes ask for"
    if bound is not None and bound <= MOST_TOLD:
        calls = f"at most {bound:,} call{'s' * (bound != 1)}"
    elif bound is not None:
        calls = f"by its bounds more than {MOST_TOLD:,} calls, which limits.calls bounds better,"
    plain = ", and one for a plain solution where it comes to nothing"
    return {
        "ASKS": models(which, values),
        "VOTES": any(_counts(s) for s in every(which)),
        "NOTES": [
            f"program {which.name or 'of the recipe'}: {calls} a problem"
            + (plain if stated.get("plain", True) else "")
        ],
        "FILES": {which.name: digest(which)} if stated.get("file") is not None else {},
    }


def PARAMETERS(stated: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802  see ABOUT
    """What the program's own parameters take, by their names. Raises RecipeError for no program."""
    own = checked(program, {name: stated[name] for name in _OWN[:3] if name in stated})
    return {name: type(usual) for name, usual in _chosen(own)[0].params.items()}


_OWN = ("program", "file", "steps", "retries", "plain")


def _chosen(stated: Mapping[str, Any]) -> tuple[Program, dict[str, Any]]:
    """The program that is meant, and all of its parameters."""
    which = [stated[name] for name in _OWN[:3] if stated.get(name) is not None]
    if len(which) != 1:
        raise RecipeError(
            "give one of program: a name, file: my.yaml and steps: [...]; `reasoning list` and "
            "docs/programs.md show the names"
        )
    return which[0], given(which[0], {k: v for k, v in stated.items() if k not in _OWN})


def _counts(statement: Any) -> bool:
    """Whether it is a vote that counts equal answers."""
    if not isinstance(statement, Vote):
        return False
    return Stage("aggregator", bind_aggregator(statement.by)).says("VOTES") is True
