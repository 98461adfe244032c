"""What a recipe asks for that only its reader can allow: code of others, keys, files.

A recipe is text that people send each other. Most of it can do no harm: names of ours, numbers,
prompts. What can is listed here, so that the command line can ask before any of it happens. Who
calls `solve` or `run` from Python has written or read what is passed, and is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reasoning.http.keys import loopback
from reasoning.runs.recipe import Recipe, variants

_PLUGS = frozenset(
    (
        "searcher",
        "generator",
        "verifier",
        "task",
        "aggregator",
        "members",
        "models",
        "verifiers",
        "check",
        "answers",
        "grader",
    )
)
"""Keys whose values name plug-ins, or functions as `module:function`."""

_CODE = re.compile(
    r"remote_code|_cls$|_class$|module|plugin|middleware|processors|passes|connector"
)
"""Engine options that have the engine load code."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to allow. Whoever has typed `said` has allowed it.

    `code` is the foreign name that would be imported, `key` the URL that would be sent a key, if
    that is what it is.
    """

    what: str
    said: str
    code: str | None = None
    key: str | None = None


def needs(recipe: Recipe, environ: Mapping[str, str]) -> list[Need]:
    """All that a recipe asks for, under every combination of its sweep; each thing once.

    `environ` tells which keys there are: one that is not set is not sent. Pure. Raises RecipeError
    for a sweep that is none.
    """
    found: dict[Need, None] = {}
    for variant, _ in variants(recipe):
        data = variant.model_dump(exclude={"name", "description", "sweep"}, exclude_none=True)
        for entry in data["strategies"]:
            entry.pop("name", None)  # its label
        found |= dict.fromkeys(_within(data, False, environ))
    return list(found)


def typed(changes: Iterable[tuple[str, Any]]) -> frozenset[str]:
    """Every word in keys and values that somebody typed: all they have allowed by typing it."""
    words: set[str] = set()
    for key, value in changes:
        words |= {key, *key.split(".")}
        words |= set(_words(value))
    return frozenset(words)


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _words(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _words(inner)
    else:
        yield str(value)


def _within(value: Any, plugged: bool, environ: Mapping[str, str]) -> Iterator[Need]:
    """What `value` asks for; `plugged` if it stands where a plug-in is named."""
    if isinstance(value, str) and plugged and ":" in value:
        yield Need(f"import and call {value}", value, value)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _within(inner, plugged, environ)
    elif isinstance(value, Mapping):
        yield from _keys(value, environ)
        if value.get("name") == "journal" and value.get("path"):
            yield Need(f"write to the file {value['path']}", str(value["path"]))
        for key, inner in value.items():
            if key == "steps" and isinstance(inner, list):  # a program of prompts: mostly texts
                yield from _votes(inner)
                continue
            names = key == "name" or str(key) in _PLUGS or (plugged and "name" not in value)
            number = isinstance(inner, int | float) and inner is not True
            if _CODE.search(str(key)) and inner and not number:
                yield Need(f"let an engine load code: {key}={inner}", str(key))
            yield from _within(inner, names, environ)


def _votes(statements: Any) -> Iterator[Need]:
    """The aggregators of others that the statements of a program name."""
    inside = statements.values() if isinstance(statements, Mapping) else statements
    for inner in inside:
        if isinstance(inner, Mapping) and "vote" in inner:
            yield from _within({"aggregator": inner.get("by")}, False, {})
        if isinstance(inner, Mapping | list):
            yield from _votes(inner)


def _keys(spec: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Need]:
    """The key that a client would send to hosts other than this one."""
    urls = spec.get("base_url") or ()
    variable = str(spec.get("api_key_env", "OPENAI_API_KEY"))
    if not environ.get(variable):
        return
    for url in map(str, urls if isinstance(urls, list | tuple) else [urls]):
        if not loopback(url):
            yield Need(
                f"send what the environment variable {variable} holds to {url}", url, key=url
            )
