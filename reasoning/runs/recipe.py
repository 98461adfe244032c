"""A recipe: everything that decides what a run computes, in one YAML file.

task: {name: gsm8k, limit: 200}
generator: {name: vllm, model: Qwen/Qwen2.5-1.5B-Instruct}
verifier: logprob
strategies:
  - searcher: self_consistency
    n: [1, 4, 16]                # a list gives one strategy each
  - {searcher: best_of_n, n: 16, aggregator: {name: weighted_majority, reduction: min}}
sampling: {temperature: 0.8, max_tokens: 2048}
limits: {tokens: 20000, seconds: 60}       # for each problem and strategy
seed: 0
    sweep: {limits.tokens: [500, 2000]}        # every strategy under each combination
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from reasoning.aggregators import Aggregator
from reasoning.errors import RecipeError, unknown
from reasoning.generate import Sampling
from reasoning.runs import names
from reasoning.search import Searcher, Step
from reasoning.session import Limits, made

Spec = dict[str, Any]

MOST = 100_000
"""Values in a recipe: more are a mistake or an attack."""

MOST_STRATEGIES = 10_000
"""Strategies that a recipe may stand for."""

_SHIPPED = names.HERE / "recipes"


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class StrategySpec(BaseModel):
    """One entry of `strategies`; whatever else it has are the searcher's own parameters."""

    model_config = ConfigDict(extra="allow")

    searcher: str
    name: str | None = None
    aggregator: str | Spec | None = None


class Recipe(BaseModel):
    """What a recipe may say. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")

    name: str = "run"
    description: str = ""
    task: str | Spec
    generator: str | Spec
    verifier: str | Spec | None = None
    strategies: Annotated[list[StrategySpec], Field(min_length=1)]
    sampling: Spec = {}
    step: Spec = {}
    limits: Spec = {}
    concurrency: Annotated[int, Field(ge=1)] = 32
    share_samples: bool | None = None
    seed: int = 0
    sweep: dict[str, list[Any]] = {}

    @field_validator("name")
    @classmethod
    def _a_folder(cls, name: str) -> str:
        """The run's folder is named so unless --out says otherwise."""
        if not name.strip(".") or any(c in "/\\" or not c.isprintable() for c in name):
            raise ValueError(f"{name!r} cannot name a folder; use letters, digits, - and _")
        return name

    @model_validator(mode="before")
    @classmethod
    def _one_strategy(cls, data: Any) -> Any:
        """`searcher: x` with its `params` is short for a list of one strategy."""
        if not isinstance(data, dict) or "searcher" not in data:
            return data
        if "strategies" in data:
            raise ValueError("give either searcher or strategies, not both")
        data = dict(data)
        params = data.pop("params", None) or {}
        entry = {"searcher": data.pop("searcher"), **params}
        if "aggregator" in data:
            entry["aggregator"] = data.pop("aggregator")
        return {**data, "strategies": [entry]}


@dataclass(frozen=True, slots=True)
class Strategy:
    """A searcher with its parameters and the aggregator that follows it, ready to run.

    `recipe` is the one it belongs to: in a sweep, with the values of `sweep` filled in.
    """

    name: str
    searcher: str
    params: Mapping[str, Any]
    aggregator: str
    run: Searcher
    vote: Aggregator
    recipe: Recipe
    sweep: Mapping[str, Any]


def load(source: str | Path, sets: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or one that ships with the framework by name, and apply `key=value`s.

    Raises RecipeError naming the value, the rule and the cure.
    """
    path = located(str(source))
    try:
        data = _yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"the recipe {path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"the recipe {path} is not a mapping of keys such as task and generator")
    return parse(with_sets({"name": path.stem, **data}, sets))


def with_sets(data: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """`data` changed by `key=value`s, where dots lead into mappings and lists."""
    for item, (key, value) in zip(sets, changes(sets), strict=True):
        _assign(data, key, value, f"--set {item}")
    return data


def changes(sets: Sequence[str]) -> list[tuple[str, Any]]:
    """The key and the value, read as YAML, of each `a.b=value`. Raises RecipeError."""
    found = []
    for item in sets:
        key, eq, text = item.partition("=")
        if not eq or not key:
            raise RecipeError(f"--set takes key=value, for example seed=1, not {item!r}")
        try:
            found.append((key, _yaml(text)))
        except (yaml.YAMLError, RecursionError) as error:
            raise RecipeError(f"--set {item}: the value is not valid YAML: {error}") from error
    return found


def parse(data: Mapping[str, Any]) -> Recipe:
    """A recipe from plain data, checked. Raises RecipeError."""
    try:
        recipe = Recipe.model_validate(dict(data))
    except ValidationError as error:
        raise RecipeError(_explain(error)) from None
    made(Sampling, recipe.sampling, Sampling(max_tokens=1))
    made(Step, recipe.step, Step())
    made(Limits, recipe.limits, Limits())
    return recipe


def strategies(recipe: Recipe) -> list[Strategy]:
    """One strategy for each entry, each combination of its lists and of the sweep's.

    Raises RecipeError.
    """
    found = [
        replace(s, name=_label(s.name, _short(sweep)), sweep=sweep)
        for variant, sweep in variants(recipe)
        for spec in variant.strategies
        for s in _expand(spec, variant)
    ]
    doubles = [name for name, times in Counter(s.name for s in found).items() if times > 1]
    if doubles:
        raise RecipeError(
            f"two strategies are called {sorted(doubles)[0]!r}; give one of them a name of its own"
        )
    for s in found:
        if s.recipe.verifier is None:
            names.refuse_unscored(f"strategy {s.name!r}", s.vote)
    return found


def _countable(recipe: Recipe) -> None:
    """Raises RecipeError where lists in the recipe multiply to more strategies than anybody has."""
    count = sum(
        math.prod(len(v) for v in (spec.model_extra or {}).values() if isinstance(v, list) and v)
        for spec in recipe.strategies
    ) * math.prod(map(len, recipe.sweep.values()))
    if count > MOST_STRATEGIES:
        raise RecipeError(
            f"the lists of the recipe multiply to {count:,} strategies; {MOST_STRATEGIES:,} is the "
            "most: shorten one of them"
        )


def variants(recipe: Recipe) -> Iterator[tuple[Recipe, dict[str, Any]]]:
    """The recipe under each combination of its sweep, and that combination. Raises RecipeError."""
    _countable(recipe)
    for key, values in recipe.sweep.items():
        if key.split(".")[0] in ("task", "sweep", "strategies"):
            raise RecipeError(
                f"sweep cannot change {key}: a list in a strategy makes one strategy each, and "
                "another task is another run (`reasoning compare` puts runs side by side)"
            )
        if not values:
            raise RecipeError(f"sweep: {key} is an empty list; give one value or more")
    for combination in itertools.product(*recipe.sweep.values()):
        sweep = dict(zip(recipe.sweep, combination, strict=True))
        data = recipe.model_dump(exclude={"sweep"}, exclude_none=True)
        for key, value in sweep.items():
            _assign(data, key, value, f"sweep {key}")
        yield parse(data) if sweep else recipe, sweep


def _short(sweep: Mapping[str, Any]) -> dict[str, Any]:
    return {key.rpartition(".")[2]: value for key, value in sweep.items()}


def _expand(spec: StrategySpec, recipe: Recipe) -> Iterator[Strategy]:
    function = names.find("searcher", spec.searcher)
    params = dict(spec.model_extra or {})
    nested = params.pop("params", None) or {}
    if not isinstance(nested, Mapping):
        raise RecipeError(f"params of {spec.searcher} is a mapping, not {nested!r}")
    params |= nested
    known = names.parameters(function)
    grid = [key for key, value in params.items() if isinstance(value, list) and key in known]
    grid = [key for key in grid if not _takes_list(known[key])]
    if empty := [key for key in grid if not params[key]]:
        raise RecipeError(f"{spec.searcher}: {empty[0]} is an empty list; give one value or more")
    default = names.default_aggregator(function)
    aggregator = _named(spec.aggregator or default)
    vote = names.bind_aggregator(aggregator)
    for values in itertools.product(*(params[key] for key in grid)):
        chosen = {**params, **dict(zip(grid, values, strict=True))}
        run = names.bind_searcher(function, chosen)
        base = spec.name or _label(
            spec.searcher.rpartition(":")[2], {k: v for k, v in chosen.items() if k not in grid}
        )
        label = _label(base, {key: chosen[key] for key in grid})
        if spec.name is None and spec.aggregator is not None and aggregator != {"name": default}:
            label = _label(
                f"{label}-{aggregator['name']}",
                {k: v for k, v in aggregator.items() if k != "name"},
            )
        shown = {**names.defaults(function), **chosen}
        yield Strategy(label, spec.searcher, shown, aggregator["name"], run, vote, recipe, {})


def _label(base: str, params: Mapping[str, Any]) -> str:
    return "-".join([base, *(f"{key}={value}" for key, value in params.items())])


def _takes_list(parameter: inspect.Parameter) -> bool:
    return any(word in str(parameter.annotation) for word in ("list", "Sequence", "tuple"))


def _assign(data: dict[str, Any], key: str, value: Any, what: str) -> None:
    """Put `value` where the dotted `key` leads; a part that is a bare name gets options."""
    *parents, last = key.split(".")
    place: Any = data
    for i, part in enumerate(parents):
        if isinstance(place, list):
            place = place[_index(what, part, place)]
            continue
        if isinstance(place.get(part), str) and part in ("task", "generator", "verifier"):
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


def located(source: str) -> Path:
    """The file of a recipe: one at hand, else a shipped one of that name. Raises RecipeError."""
    path = Path(source)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return path
    found = _SHIPPED / f"{source}.yaml"
    if shipped(found) and found.exists():
        return found
    raise RecipeError(unknown("recipe", source, [p.stem for p in _SHIPPED.glob("*.yaml")]))


def shipped(path: Path) -> bool:
    """Whether a recipe's file is one of ours."""
    return path.resolve().parent == _SHIPPED


def _explain(error: ValidationError) -> str:
    """The first mistake in one line, with the nearest valid key for an unknown one."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] == "extra_forbidden":
        return unknown("key in recipe", where, Recipe.model_fields)
    if first["type"] == "missing":
        return f"the recipe lacks {where}; add it, see `reasoning run --help` for an example"
    return f"recipe: {where}={first.get('input')!r} does not fit: {first['msg']}"


def _yaml(text: str) -> Any:
    """What a YAML document holds. Raises YAMLError, also where anchors make it grow beyond MOST."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(_bounded(node))
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

    As in YAML 1.2, yes, no, on and off are words: the judge's options are called so.
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
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
