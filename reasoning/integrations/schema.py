"""The JSON schema of recipes, for editors: read off what checks a recipe, so it cannot differ.

It is looser than the check: names of models and references to other files are not followed, and a
parameter may be a list, which makes one strategy of each value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from reasoning.generate import Sampling
from reasoning.runs import names
from reasoning.runs.fields import sections
from reasoning.runs.recipe import Recipe
from reasoning.search import Step
from reasoning.settings import Limits
from reasoning.usage import Price

Schema = dict[str, Any]

FOREIGN: Schema = {"type": "string", "pattern": ":", "description": "package.module:function"}
_SHARED: Mapping[str, Schema] = {
    "parameters": {"type": ["number", "string"], "description": "how many the model has"},
}
_BASE: Mapping[str, Schema] = {  # of a strategy, beside its searcher's parameters
    "searcher": {"type": "string"},
    "name": {"type": "string"},
    "aggregator": {"$ref": "#/$defs/aggregators"},
}


def schema() -> Schema:
    """JSON Schema, draft 2020-12."""
    defs: Schema = {}
    for kind in ("generator", "verifier", "aggregator", "task"):
        defs[kind] = _named(kind, defs)
    aggregator = {"$ref": "#/$defs/aggregator"}
    defs["aggregators"] = {"anyOf": [aggregator, {"type": "array", "items": aggregator}]}
    defs["stage"] = _stage()
    defs["strategy"] = _strategy(defs)
    fields = _fields(defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a recipe of reasoning",
        "type": "object",
        "properties": fields,
        "required": ["task", "generator"],
        "anyOf": [{"required": [name]} for name in ("strategies", "searcher", "stages")],
        "additionalProperties": False,
        "$defs": defs,
    }


def _fields(defs: Schema) -> Schema:
    """The fields of a recipe, each with what it means."""
    known = Recipe.model_json_schema()["properties"]
    model = {"anyOf": [{"$ref": "#/$defs/generator"}, {"type": "string"}]}  # or one of `models`
    limits = _object(Limits, defs)
    own: Schema = {
        "task": {"$ref": "#/$defs/task"},
        "generator": model,
        "models": {"type": "object", "additionalProperties": {"$ref": "#/$defs/generator"}},
        "verifier": {"anyOf": [{"$ref": "#/$defs/verifier"}, {"type": ["string", "null"]}]},
        "verifiers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/verifier"}},
        "prices": {"type": "object", "additionalProperties": _object(Price, defs)},
        "strategies": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/strategy"}},
        "sampling": _object(Sampling, defs),
        "step": _object(Step, defs),
        "limits": limits,
        "run_limits": limits,
        "searcher": _name("searcher"),
        "stages": {"type": "array", "items": {"$ref": "#/$defs/stage"}},
        "aggregator": {"$ref": "#/$defs/aggregators"},
        "params": {"type": "object"},
    }
    meanings = {e.name: e.meaning for e in sections()[0].entries}
    return {
        name: {**own.get(name, known.get(name, {})), "description": meanings[name]}
        for name in (*Recipe.model_fields, "searcher", "stages", "aggregator", "params")
    }


def _name(kind: names.Kind) -> Schema:
    """A name of ours, each with what it is, or anybody else's."""
    ours = [
        {"const": name, "description": names.summary(names.find(kind, name))}
        for name in names.known(kind)
    ]
    return {"anyOf": [*ours, FOREIGN]}


def _named(kind: Any, defs: Schema) -> Schema:
    """A name, or a mapping of one with its options."""
    each = [
        _if({"name": name}, _options(names.find(kind, name), defs, {"name": {}, **_extra(kind)}))
        for name in names.known(kind)
    ]
    mapping = {
        "type": "object",
        "properties": {"name": _name(kind)},
        "required": ["name"],
        "allOf": each,
    }
    return {"anyOf": [_name(kind), mapping]}


def _extra(kind: str) -> Mapping[str, Schema]:
    return _SHARED if kind in ("generator", "verifier") else {}


def _strategy(defs: Schema) -> Schema:
    """A searcher with its parameters beside it, or stages."""
    each = [
        _if({"searcher": name}, _options(names.find("searcher", name), defs, _BASE, lists=True))
        for name in names.known("searcher")
    ]
    chain = {"type": "array", "items": {"$ref": "#/$defs/stage"}}
    return {
        "type": "object",
        "properties": {**_BASE, "searcher": _name("searcher"), "stages": chain},
        "oneOf": [{"required": ["searcher"]}, {"required": ["stages"]}],
        "allOf": each,
    }


def _stage() -> Schema:
    ours = [*names.known("searcher"), *names.known("aggregator")]
    pair = {"type": "array", "minItems": 1, "maxItems": 2}
    mapping = {"type": "object", "minProperties": 1}
    return {"anyOf": [{"enum": ours}, FOREIGN, mapping, pair]}


def _if(told: Mapping[str, str], then: Schema) -> Schema:
    constants = {key: {"const": value} for key, value in told.items()}
    return {"if": {"properties": constants, "required": [*told]}, "then": then}


def _options(
    function: Callable[..., Any],
    defs: Schema,
    beside: Mapping[str, Schema],
    *,
    lists: bool = False,
) -> Schema:
    """The parameters of a plug-in; with `lists` also several values of one."""
    hints, found = names.hints(function), dict(beside)
    needed = []
    for name, parameter in names.parameters(function).items():
        taken = _type(hints.get(name, Any), defs)
        found[name] = {"anyOf": [taken, {"type": "array", "items": taken}]} if lists else taken
        if parameter.default is parameter.empty:
            needed.append(name)
        elif isinstance(parameter.default, str | int | float):
            found[name] = {**found[name], "default": parameter.default}
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    open_ended = inspect.Parameter.VAR_KEYWORD in kinds
    made: Schema = {"properties": found, "required": needed}
    return made if open_ended else {**made, "additionalProperties": False}


def _object(kind: type, defs: Schema) -> Schema:
    """A mapping that changes some fields of a dataclass; lists make variants in a sweep alone."""
    found = {name: _type(hint, defs) for name, hint in names.hints(kind).items()}
    fields: Iterable[str] = names.parameters(kind)
    kept = {name: found.get(name, {}) for name in fields}
    return {"type": "object", "properties": kept, "additionalProperties": False}


def _type(hint: Any, defs: Schema) -> Schema:
    """What fits an annotation; anything, where JSON has no word for it."""
    try:
        found = TypeAdapter(hint).json_schema(ref_template="#/$defs/{model}")
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {}
    defs |= found.pop("$defs", {})
    return found
