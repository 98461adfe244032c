"""The text of recipes: YAML without surprises, and changes by dotted keys."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any

import yaml

from reasoning.errors import RecipeError

MOST = 100_000
"""Values in a recipe: more are a mistake or an attack."""

_NAMES = ("task", "generator", "verifier")
_NAMED = ("models", "verifiers")
"""Where a bare name may stand for a mapping with a name."""


def with_sets(data: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """`data` changed by `key=value`s, where dots lead into mappings and lists."""
    for item, (key, value) in zip(sets, changes(sets), strict=True):
        assign(data, key, value, f"--set {item}")
    return data


def changes(sets: Sequence[str]) -> list[tuple[str, Any]]:
    """The key and the value, read as YAML, of each `a.b=value`. Raises RecipeError."""
    found = []
    for item in sets:
        key, eq, text = item.partition("=")
        if not eq or not key:
            raise RecipeError(f"--set takes key=value, for example seed=1, not {item!r}")
        try:
            found.append((key, read_yaml(text)))
        except (yaml.YAMLError, RecursionError) as error:
            raise RecipeError(f"--set {item}: the value is not valid YAML: {error}") from error
    return found


def assign(data: dict[str, Any], key: str, value: Any, what: str) -> None:
    """Put `value` where the dotted `key` leads; a part that is a bare name gets options."""
    *parents, last = key.split(".")
    place: Any = data
    for i, part in enumerate(parents):
        if isinstance(place, list):
            place = place[_index(what, part, place)]
            continue
        if isinstance(place.get(part), str) and (part in _NAMES or parents[0] in _NAMED):
            place[part] = _named(place[part])
        place = place.setdefault(part, {}) if place.get(part) is not None else _new(place, part)
        if not isinstance(place, (dict, list)):
            where = ".".join(parents[: i + 1])
            raise RecipeError(f"{what}: {where} is {place!r}, which has no keys below it")
    if isinstance(place, list):
        place[_index(what, last, place)] = value
    else:
        place[last] = value


def _new(place: dict[str, Any], part: str) -> dict[str, Any]:
    place[part] = {}
    fresh: dict[str, Any] = place[part]
    return fresh


def _index(what: str, part: str, place: list[Any]) -> int:
    if not part.isdecimal() or int(part) >= len(place):
        raise RecipeError(f"{what}: {part!r} is not one of the positions 0 to {len(place) - 1}")
    return int(part)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def read_yaml(text: str) -> Any:
    """What a YAML document holds. Raises YAMLError, also where anchors make it grow beyond MOST."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(_bounded(node))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, UnicodeError):
            raise
        raise yaml.YAMLError(f"a value does not fit its tag: {error}") from error
    finally:
        loader.dispose()


def _bounded(root: yaml.Node) -> yaml.Node:
    """`root`, if it has no more than MOST nodes where shared ones count at each place they stand.

    Linear in the text, because each node is counted once and added where it is referred to.
    """
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MOST  # within itself it has no end
            values = node.value if isinstance(node, yaml.CollectionNode) else ()
            inner = [part for v in values for part in (v if isinstance(v, tuple) else (v,))]
            sizes[id(node)] = 1 + sum(map(size, inner))
        return sizes[id(node)]

    if size(root) > MOST:
        raise yaml.MarkedYAMLError(
            problem=f"it holds more than {MOST:,} values with its anchors written out; shorten it",
            problem_mark=root.start_mark,
        )
    return root


class _Loader(yaml.SafeLoader):
    """YAML's safe subset; a key given twice is an error instead of a silent overwrite.

    As in YAML 1.2, yes, no, on and off are words, which the judge's options are called, and dates
    are texts, as they are in data.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
