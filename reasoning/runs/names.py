"""From names in a recipe to objects: no registry, the file's name is the plug-in's name.

`searchers/tree/astar.py` defines `astar`, so a recipe says `astar`; `package.module:function` names
anybody else's. The keyword-only parameters of the function are the recipe's schema.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, get_type_hints

from reasoning.errors import RecipeError, unknown
from reasoning.plugin import Plugin

P = ParamSpec("P")
T = TypeVar("T")
Kind: TypeAlias = Literal["searcher", "verifier", "aggregator", "generator", "task"]

PACKAGES: Mapping[Kind, str] = {
    "searcher": "searchers",
    "verifier": "verifiers",
    "generator": "reasoning.backends",
    "task": "evals.tasks",
    "aggregator": "reasoning.aggregators",
}
_AGGREGATORS = ("first", "best", "majority", "weighted_majority")
_EXAMPLES = {  # of what has no default and is no number
    "base_url": "http://localhost:8000/v1",
    "generator": "nano",
    "members": "[nano_prm, logprob]",
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "path": "problems.jsonl",
}


def known(kind: Kind) -> list[str]:
    """The names that come with the framework: the public modules that define their own name."""
    if kind == "aggregator":
        return list(_AGGREGATORS)
    return sorted(_modules(kind))


def find(kind: Kind, name: str) -> Callable[..., Any]:
    """The function behind `name`. Raises RecipeError naming the nearest valid name."""
    if ":" in name:
        return _foreign(kind, name)
    if name not in known(kind):
        raise RecipeError(unknown(kind, name, known(kind)))
    module = PACKAGES[kind] if kind == "aggregator" else _modules(kind)[name]
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def build(kind: Kind, spec: object) -> Any:
    """The object a name, or a mapping of `name` and options, stands for; objects pass through.

    `parameters` among a model's options is for whoever counts compute: see `size`.
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        return spec
    if kind in ("generator", "verifier"):
        size(spec, None)
        spec = {key: value for key, value in spec.items() if key != "parameters"}
    factory, options = _split(kind, spec)
    return factory(**options)


def size(spec: object, part: object) -> float | None:
    """How many parameters a model has: as its entry in the recipe says, else as it says itself.

    None if neither does. Raises RecipeError for a size that is none.
    """
    told = spec.get("parameters") if isinstance(spec, Mapping) else None
    told = part.parameters if told is None and isinstance(part, Plugin) else told
    if told is None:
        return None
    try:
        found = float(told)  # YAML reads 7e9 as a text
    except (TypeError, ValueError):
        found = math.nan
    if not 0 < found < math.inf:
        raise RecipeError(
            f"parameters is {told!r}; it must be how many parameters the model has, say 1.5e9"
        )
    return found


def bind_searcher(searcher: str | Callable[..., Any], params: Mapping[str, Any]) -> Any:
    """The searcher with its parameters checked and filled in."""
    function: Any = find("searcher", searcher) if isinstance(searcher, str) else searcher
    if isinstance(function, functools.partial):
        function, params = function.func, {**function.keywords, **params}
    return functools.partial(function, **checked(function, params))


def bind_aggregator(spec: object) -> Any:
    """The aggregator a name, or a mapping of `name` and parameters, stands for."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        return spec
    function, options = _split("aggregator", spec)
    return functools.partial(function, **options)


def default_aggregator(searcher: Any) -> str:
    """What the searcher's file names as AGGREGATOR, else majority."""
    return str(getattr(_module(searcher), "AGGREGATOR", "majority"))


def steps(searcher: Any) -> bool:
    """Whether the searcher's file says STEPS = True: it has the generator continue its own text."""
    return getattr(_module(searcher), "STEPS", False) is True


def independent(searcher: Any) -> bool:
    """Whether the searcher's file says INDEPENDENT = True: its samples say nothing of each other,
    and how many there are does not depend on them."""
    return getattr(_module(searcher), "INDEPENDENT", False) is True


def _module(searcher: Any) -> ModuleType | None:
    function = searcher.func if isinstance(searcher, functools.partial) else searcher
    return sys.modules.get(getattr(function, "__module__", ""))


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters: what a recipe may set."""
    found = inspect.signature(function).parameters.values()
    only = inspect.Parameter.KEYWORD_ONLY
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD if isinstance(function, type) else only
    return {p.name: p for p in found if p.kind in (only, positional)}


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters that need not be given, and what they are then."""
    return {n: p.default for n, p in parameters(function).items() if p.default is not p.empty}


def checked(function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` fit for `function`, converted to its annotations where that loses nothing.

    Raises RecipeError for an unknown or missing parameter, or a value of the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    owner = getattr(function, "__name__", str(function))
    allowed = parameters(function)
    plain = inspect.isroutine(function) or isinstance(function, type)
    hints = get_type_hints(function if plain else type(function).__call__, include_extras=True)
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    open_ended = inspect.Parameter.VAR_KEYWORD in kinds  # passes on what somebody else checks
    fit = {}
    for name, value in values.items():
        if name not in allowed and open_ended:
            fit[name] = value
            continue
        if name not in allowed:
            raise RecipeError(unknown(f"parameter of {owner}", name, allowed))
        try:
            fit[name] = TypeAdapter(hints.get(name, Any)).validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise RecipeError(f"{owner}: {name}={value!r} does not fit: {why}") from None
    if not isinstance(function, type):
        needed = [n for n, p in allowed.items() if p.default is p.empty and n not in fit]
        if needed:
            example = f"{needed[0]}: {_EXAMPLES.get(needed[0], '8')}"
            raise RecipeError(f"{owner} needs {', '.join(needed)}; set it, for example {example}")
    return fit


def validated(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, which takes keywords alone, with what it is given `checked` by whoever calls it.

    What a recipe names is checked anyway; this is for direct calls.
    """

    @functools.wraps(function)
    def call(*args: P.args, **values: P.kwargs) -> T:
        return function(*args, **checked(function, values))

    return call


def summary(function: Callable[..., Any]) -> str:
    """The first sentence of a plug-in's documentation."""
    lines = (inspect.getdoc(function) or "").split("\n\n")[0].split()
    return " ".join(lines)


def _split(kind: Kind, spec: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    options = dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(f"a {kind} is a name or a mapping with a name, not {dict(spec)!r}")
    function = find(kind, name)
    return function, checked(function, options)


@functools.cache
def _modules(kind: Kind) -> dict[str, str]:
    """The modules below the kind's package that define a function of their own name, by name.

    Told from their text: no import, no cost.
    """
    package = _our_package(PACKAGES[kind])
    found: dict[str, str] = {}
    for root in map(Path, package.__path__):
        for file in sorted(root.rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            package_like = parts[-1] == "__init__"
            name = parts[-2] if len(parts) > 1 and package_like else parts[-1]
            if name[0] == "_" or (package_like and len(parts) == 1):
                continue
            text = file.read_text(encoding="utf-8")
            if any(f"\n{word} {name}(" in text for word in ("def", "async def")):
                inner = parts[:-1] if package_like else parts
                found[name] = ".".join([package.__name__, *inner])
    return found


def _our_package(name: str) -> ModuleType:
    """Import one of our packages; refuse a stranger of the same name."""
    module = importlib.import_module(name)
    here = Path(__file__).resolve().parents[2]
    origins = [Path(p).resolve() for p in getattr(module, "__path__", [])]
    if not any(origin.is_relative_to(here) for origin in origins):
        raise RecipeError(
            f"the package {name!r} that Python finds is not ours but {origins or module}; "
            f"uninstall it or move it behind {here} on sys.path"
        )
    return module


def _foreign(kind: Kind, name: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # whatever a foreign module raises while it is imported
        raise RecipeError(f"{kind} {name!r} cannot be imported: {error}") from error
    if not callable(function):
        raise RecipeError(f"{kind} {name!r} is not a function")
    return function  # type: ignore[no-any-return]


def help_lines(functions: Iterable[Callable[..., Any]]) -> list[tuple[str, str]]:
    """Signature and first sentence of each, for listings."""
    lines = []
    for function in functions:
        shown = ", ".join(
            n if p.default is p.empty else f"{n}={_shown(p.default)}"
            for n, p in parameters(function).items()
        )
        lines.append((f"{function.__name__}({shown})", summary(function)))
    return lines


def _shown(default: object) -> str:
    """A file that comes with the framework is nobody's business."""
    return "(bundled)" if isinstance(default, Path) else repr(default)
