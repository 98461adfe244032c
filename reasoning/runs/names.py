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
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, get_type_hints

from reasoning.chain import about
from reasoning.errors import RecipeError, unknown
from reasoning.generate import Generator
from reasoning.plugin import Plugin
from reasoning.verify import Verifier

P = ParamSpec("P")
T = TypeVar("T")
Kind: TypeAlias = Literal["searcher", "verifier", "aggregator", "generator", "task", "answers"]

PACKAGES: Mapping[Kind, str] = {
    "searcher": "searchers",
    "verifier": "verifiers",
    "generator": "reasoning.backends",
    "task": "evals.tasks",
    "aggregator": "reasoning.aggregators",
    "answers": "reasoning.answers",
}
HERE = Path(__file__).resolve().parents[2]
"""Where `reasoning` and the packages beside it stand."""

OURS = ("searchers", "verifiers", "evals")
"""The packages beside it, which find their way into a program by name."""

_BASES: Mapping[str, type] = {"generator": Generator, "verifier": Verifier}
_SHAPES: Mapping[str, str] = {"answers": "gold, row", "grader": "text, gold, row"}
_RECORD = re.compile(r"(?m)^(\w+) = Benchmark\(")
"""Benchmarks are records, many to a file; see `evals.tasks.benchmark`."""

_trusted: ContextVar[frozenset[str] | None] = ContextVar("trusted", default=None)
_EXAMPLES = {  # of what has no default and is no number
    "base_url": "http://localhost:8000/v1",
    "generator": "nano",
    "members": "[nano_prm, logprob]",
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "path": "problems.jsonl",
}


def known(kind: Kind) -> list[str]:
    """The names that come with the framework: the public modules that define their own name."""
    return sorted(_modules(kind))


def find(kind: Kind, name: str) -> Callable[..., Any]:
    """The function behind `name`. Raises RecipeError naming the nearest valid name."""
    if ":" in name:
        return _foreign(kind, name)
    if name not in known(kind):
        raise RecipeError(unknown(kind, name, known(kind)))
    function: Callable[..., Any] = getattr(importlib.import_module(_modules(kind)[name]), name)
    return function


@contextmanager
def trusting(names: Iterable[str]) -> Iterator[None]:
    """Import no foreign name but these meanwhile; see `reasoning.runs.consent`."""
    before = _trusted.set(frozenset(names))
    try:
        yield
    finally:
        _trusted.reset(before)


def trusted() -> frozenset[str] | None:
    """The foreign names that may be imported; None for any."""
    return _trusted.get()


def build(kind: Kind, spec: object) -> Any:
    """The object a name, or a mapping of `name` and options, stands for; objects pass through.

    `parameters` among a model's options is for whoever counts compute: see `size`.
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        return _fitting(kind, spec, type(spec).__name__)
    if kind in ("generator", "verifier"):
        size(spec, None)
        spec = {key: value for key, value in spec.items() if key != "parameters"}
    factory, options = _split(kind, spec)
    return _fitting(kind, factory(**options), spec["name"])


def _fitting(kind: Kind, made: Any, name: str) -> Any:
    """`made`, if it is what `kind` is. Raises RecipeError."""
    if (base := _BASES.get(kind)) and not isinstance(made, base):
        raise RecipeError(
            f"{kind} {name!r} is {made!r}, and no reasoning.{base.__name__}: derive its class from "
            "that, or give the name of one"
        )
    if kind == "task" and not hasattr(made, "problems"):
        raise RecipeError(f"task {name!r} is {made!r}, which has no problems; return a Task")
    return made


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
    return bind_function(function, params)


def bind_function(function: Any, params: Mapping[str, Any]) -> Any:
    """A searcher or an aggregator with its parameters checked and filled in."""
    if isinstance(function, functools.partial):
        function, params = function.func, {**function.keywords, **params}
    if "reduction" in params and "reduction" not in parameters(function):
        raise RecipeError(
            f"{getattr(function, '__name__', function)} takes no reduction: that of step scores is "
            f"the verifier's, verifier: {{name: ..., reduction: {params['reduction']}}}"
        )
    bound = functools.partial(function, **checked(function, params))
    about(bound)  # which refuses what is right one by one and does not fit together
    return bound


def bind_aggregator(spec: object) -> Any:
    """The aggregator a name, or a mapping of `name` and parameters, stands for."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        return spec
    options = dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(f"an aggregator is a name or a mapping with a name, not {dict(spec)!r}")
    return bind_function(find("aggregator", name), options)


def bind_answers(spec: object) -> Callable[[str | None, Mapping[str, Any]], Any]:
    """The kind of answers a name, or a mapping of `name` (or `kind`) and options, stands for.

    It is given the data set's answer, or None, and the row. Raises RecipeError.
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping):
        raise RecipeError(f"answers is a kind or a mapping with a kind, not {spec!r}")
    options = {"name" if key == "kind" else key: value for key, value in spec.items()}
    function, options = _split("answers", options)
    return functools.partial(function, **options)


def grader(name: str) -> Callable[..., Any]:
    """The function `module:function`, which says whether a text is right. Raises RecipeError."""
    if ":" not in name:
        raise RecipeError(f"the grader {name!r} is not named package.module:function")
    return _foreign("grader", name)


def default_aggregator(searcher: Any) -> str:
    """What the searcher's file names as AGGREGATOR, else majority."""
    return str(getattr(_module(searcher), "AGGREGATOR", "majority"))


def steps(searcher: Any) -> bool:
    """Whether the searcher's file says STEPS = True: it has the generator continue its own text."""
    return getattr(_module(searcher), "STEPS", False) is True


def independent(searcher: Any) -> bool:
    """Whether the searcher's file says INDEPENDENT = True: it waits for n exchangeable samples.

    Their number is fixed in advance, whatever they say, so that their first k are k samples.
    """
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


def open_ended(function: Callable[..., Any]) -> bool:
    """Whether it takes any parameter, and passes on what somebody else checks."""
    found = inspect.signature(function).parameters.values()
    return inspect.Parameter.VAR_KEYWORD in {p.kind for p in found}


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """What its parameters take; of an object that is called, those of the call."""
    plain = inspect.isroutine(function) or isinstance(function, type)
    return get_type_hints(function if plain else type(function).__call__, include_extras=True)


def taken(function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What its parameters take, those too that it has by its other ones: PARAMETERS of its file.

    Raises RecipeError where `values` do not say which those are.
    """
    more = getattr(inspect.getmodule(function), "PARAMETERS", None)
    return hints(function) | ({} if more is None else more(values))


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
    known = hints(function)
    passes_on = open_ended(function)
    fit = {}
    for name, value in values.items():
        if name not in allowed and passes_on:
            fit[name] = value
            continue
        if name not in allowed:
            raise RecipeError(unknown(f"parameter of {owner}", name, allowed))
        try:
            fit[name] = TypeAdapter(known.get(name, Any)).validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            if isinstance(value, Mapping) and value and set(value.values()) == {None}:
                why += f"; YAML reads braces as a mapping, quote them: '{{{next(iter(value))}}}'"
            raise RecipeError(f"{owner}: {name}={value!r} does not fit: {why}") from None
        if (isinstance(value, bool) and not isinstance(fit[name], bool)) or _has_nan(fit[name]):
            raise RecipeError(f"{owner}: {name}={value!r} does not fit: it is no number")
    if not isinstance(function, type):
        needed = [n for n, p in allowed.items() if p.default is p.empty and n not in fit]
        if needed:
            example = f"{needed[0]}: {_EXAMPLES.get(needed[0], '8')}"
            raise RecipeError(f"{owner} needs {', '.join(needed)}; set it, for example {example}")
    return fit


def _has_nan(value: Any) -> bool:
    """Whether there is one in it, which compares with nothing: no test would ever pass or fail."""
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, Mapping):
        return any(map(_has_nan, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_nan, value))


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
    """The modules below the kind's package that define a function of their own name, by name; of
    tasks also those with records, by the names of these.

    Told from their text: no import, no cost.
    """
    package = ours(PACKAGES[kind]).__name__
    found: dict[str, str] = {}
    root = HERE.joinpath(*package.split("."))
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        package_like = parts[-1] == "__init__"
        name = parts[-2] if len(parts) > 1 and package_like else parts[-1]
        if name[0] == "_" or (package_like and len(parts) == 1):
            continue
        text = file.read_text(encoding="utf-8")
        module = ".".join([package, *(parts[:-1] if package_like else parts)])
        if any(f"\n{word} {name}(" in text for word in ("def", "async def")):
            found[name] = module
        if kind == "task":
            found |= dict.fromkeys(_RECORD.findall(text), module)
    return found


def ours(name: str) -> ModuleType:
    """A module of one of our packages, whatever else of that name stands on `sys.path`.

    They lie beside `reasoning` and are loaded from there; a stranger's modules are found behind
    them. Raises RecipeError if the program has loaded a stranger of the same name already.
    """
    top = name.partition(".")[0]
    for package in OURS:
        if package not in sys.modules:
            _load(package)
    if top in OURS and str(HERE / top) not in _folders(sys.modules[top]):
        raise RecipeError(
            f"the package {top!r} that this program has loaded is not ours but "
            f"{_folders(sys.modules[top]) or sys.modules[top]}; give it another name"
        )
    return importlib.import_module(name)


def _load(package: str) -> None:
    """Put the package that lies beside `reasoning` into `sys.modules`."""
    folder = HERE / package
    spec = importlib.util.spec_from_file_location(
        package, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    _with_strangers(package)


def _folders(module: ModuleType) -> list[str]:
    return [str(Path(folder).resolve()) for folder in getattr(module, "__path__", ())]


def _foreign(kind: str, name: str) -> Callable[..., Any]:
    """The function behind `module:function`, seen to be a plug-in before anybody calls it."""
    trusted = _trusted.get()
    if trusted is not None and name not in trusted:
        raise RecipeError(f"{kind} {name!r} is code that nobody has agreed to; say --trust")
    module_name, _, attribute = name.partition(":")
    top = module_name.partition(".")[0]
    try:
        if top in OURS:
            ours(top)
            _with_strangers(top)
        function = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # whatever a foreign module raises while it is imported
        cure = f"; {top!r} is a package of the framework: give yours another name"
        raise RecipeError(
            f"{kind} {name!r} cannot be imported: {error}{cure if top in OURS else ''}"
        ) from error
    if not callable(function):
        raise RecipeError(f"{kind} {name!r} is not a function")
    if fault := _no_plug_in(kind, function):
        raise RecipeError(f"{kind} {name!r} is no plug-in: {fault}")
    return function  # type: ignore[no-any-return]


def _with_strangers(package: str) -> None:
    """Let submodules be found in other folders of our package's name, too, behind our own."""
    path = sys.modules[package].__path__
    others = [str(Path(entry or ".").resolve() / package) for entry in sys.path]
    path.extend(o for o in dict.fromkeys(others) if Path(o).is_dir() and o not in path)
    importlib.invalidate_caches()


def _no_plug_in(kind: str, function: Callable[..., Any]) -> str | None:
    """Why a callable cannot be what a recipe names as `kind`; None if it can."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return "its parameters cannot be read; wrap it in a function of your own"
    positional = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    if kind == "searcher":
        calls = (inspect.unwrap(function), type(function).__call__)
        if isinstance(function, type) or not any(map(inspect.iscoroutinefunction, calls)):
            return "a searcher is a coroutine function, async def mine(search, *, ...)"
        return None if positional else "its first parameter is the search"
    if kind == "aggregator":
        if (
            isinstance(function, type)
            or not positional
            or [p.name for p in needed[1:]] not in ([], ["search"])
        ):
            return (
                "an aggregator is a function of the candidates, def mine(candidates, *, ...), and "
                "of the search if it asks models, def mine(candidates, search, *, ...)"
            )
        return None
    if (shape := _SHAPES.get(kind)) is not None:
        fits = len(needed) <= shape.count(",") + 1 <= len(positional)
        return None if fits else f"it is called as mine({shape})"
    if isinstance(function, type):
        if (base := _BASES.get(kind)) and not issubclass(function, base):
            return f"the class does not derive from reasoning.{base.__name__}"
        said = {n for c in function.__mro__ for n in (*vars(c), *inspect.get_annotations(c))}
        return None if kind != "task" or "problems" in said else "the class has no problems"
    if any(p.kind is p.VAR_POSITIONAL for p in found) or needed:
        return f"what makes a {kind} takes keywords alone, def mine(*, ...)"
    return None


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
