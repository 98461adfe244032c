"""Programs of prompts by name, from files, and as they stand in a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from reasoning.errors import RecipeError, unknown
from reasoning.runs.editing import read_yaml
from searchers.programs.language.kinds import NUMBER, of_data
from searchers.programs.language.parts import Part
from searchers.programs.language.statements import VERBS, Program

LIBRARY = Path(__file__).parents[1] / "library"
"""Those that come with the framework, a file each."""


def known() -> list[str]:
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


@cache
def shipped(name: str) -> Program:
    """The program of that name that comes with the framework. Raises RecipeError."""
    if name not in known():
        raise RecipeError(
            f"{unknown('program', name, known())} One of your own is a file (file: my.yaml), or "
            "stands in the recipe (steps: [...])"
        )
    return read(LIBRARY / f"{name}.yaml")


def read(path: str | Path) -> Program:
    """The program in a file. Raises RecipeError."""
    path = Path(path)
    try:
        data = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"the program {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"the program {path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"the program {path} is not a mapping of keys such as params and steps")
    return parse({"name": path.stem, **data})


def parse(data: Mapping[str, Any]) -> Program:
    """A program from plain data. Raises RecipeError that says where in it the mistake is."""
    try:
        return Program.model_validate(dict(data))
    except (ValidationError, RecursionError) as error:
        what = explained(error) if isinstance(error, ValidationError) else "it is nested too deep"
        raise RecipeError(f"program {data.get('name') or 'of the recipe'}: {what}") from None


def explained(error: ValidationError) -> str:
    """The first mistake, with its place: `steps[2].for_each.do[0].call.as: ...`."""
    first = error.errors()[0]
    place, kind = _place(first["loc"]), first["type"]
    if kind == "union_tag_invalid":
        tag = first["ctx"]["tag"]
        if "_verb" in first["ctx"]["discriminator"]:
            return f"{place}: {unknown('statement', tag, VERBS)}"
        return f"{place}: {unknown('condition', tag, ('value', 'all', 'any', 'not'))}"
    if kind == "extra_forbidden":
        *before, name = first["loc"]
        owner = next((str(p) for p in reversed(before) if p in VERBS), "program")
        return f"{_place(tuple(before))}: {unknown(f'field of {owner}', name, _fields(owner))}"
    if kind == "missing":
        *before, name = first["loc"]
        why = _WHY.get(str(name), "")
        return f"{_place(tuple(before))}: there is no `{name}`{why}"
    said = first["msg"].removeprefix("Value error, ")
    return (
        f"{place}: {first['input']!r:.60} does not fit: {said}"
        if kind != "value_error"
        else (f"{place}: {said}")
    )


_WHY = {
    "most": "; every loop has a bound",
    "else": "; say what is done, or given, where nothing fits (else: [] for nothing)",
}


_LONG = 200
"""Characters of a place that is told whole."""


def _place(loc: tuple[int | str, ...]) -> str:
    """A place in the YAML; a statement's verb is told once where its value is meant."""
    told = ""
    last: int | str = ""
    for part in loc:
        if isinstance(part, int) and not isinstance(part, bool):
            told += f"[{part}]"
        elif part != last and not str(part).startswith("constrained"):
            told += f".{part}"
        last = part
    told = told.lstrip(".") or "the program"
    return told if len(told) <= _LONG else f"...{told[-_LONG:]}"


def _fields(owner: str) -> list[str]:
    kind: type[Part] = VERBS.get(owner, Program)
    return [field.alias or name for name, field in kind.model_fields.items()]


def given(program: Program, stated: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a program: as stated, else its own. Raises RecipeError for others."""
    for name, value in stated.items():
        if name not in program.params:
            raise RecipeError(unknown(f"parameter of program {program.name}", name, program.params))
        usual, found = of_data(program.params[name]), of_data(value)
        if usual.name != found.name or (usual == NUMBER and not isfinite(value)):
            raise RecipeError(
                f"program {program.name}: {name}={value!r} does not fit: it is {usual}, say "
                f"{program.params[name]!r}"
            )
    return {**program.params, **stated}


def digest(program: Program) -> str:
    """What tells a program from another one of its name."""
    return blake2b(program.model_dump_json().encode(), digest_size=8).hexdigest()
