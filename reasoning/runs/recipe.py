"""A recipe: everything that decides what a run computes, in one YAML file.

task: {name: gsm8k, limit: 200}
generator: {name: vllm, model: Qwen/Qwen2.5-1.5B-Instruct}
verifier: logprob
strategies:
  - searcher: self_consistency
    n: [1, 4, 16]                # a list gives one strategy each
  - {searcher: best_of_n, n: 16, aggregator: {name: best_of_majority, alpha: 0.2}}
  - stages:                      # each goes on from what the one before it gave
      - self_consistency: {n: 16, share: 0.5}  # of the tokens that are left
      - deepconf_filter: {keep: 0.5}
      - majority
sampling: {temperature: 0.8, max_tokens: 2048}
limits: {tokens: 20000, seconds: 60}       # for each problem and strategy
seed: 0
sweep: {limits.tokens: [500, 2000]}        # every strategy under each combination

Further models and verifiers have names, by which strategies ask for them; with prices there is
money in the results, and in the limits:

models: {small: {name: vllm, model: Qwen/Qwen2.5-0.5B-Instruct}, large: nano}
generator: large                 # the one that is meant where no name is given
verifiers: {steps: nano_prm}
prices: {default: {input: 0.2, output: 0.6, cached: 0.05}}   # a million tokens
run_limits: {tokens: 1000000}    # for all problems and strategies together
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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

from reasoning.chain import Chain
from reasoning.cluster.settings import Workers
from reasoning.errors import RecipeError, nearest, unknown
from reasoning.generate import Sampling
from reasoning.runs import names
from reasoning.runs.editing import assign, read_yaml, with_sets
from reasoning.runs.stages import Entry, chain, entry
from reasoning.search import Step
from reasoning.settings import Limits, made, priced, refuse_names, refuse_unpriced
from reasoning.usage import Price

Spec = dict[str, Any]

MOST_STRATEGIES = 10_000
"""Strategies that a recipe may stand for."""

_SHIPPED = names.HERE / "recipes"
_FILES = frozenset({"file", "notes", "policy", "path"})


class StrategySpec(BaseModel):
    """One entry of `strategies`: a searcher, whatever else there is being its own parameters, or
    `stages`."""

    model_config = ConfigDict(extra="allow")

    searcher: str | None = None
    stages: list[Any] | None = None
    name: str | None = None
    aggregator: str | Spec | Annotated[list[str | Spec], Field(min_length=1)] | None = None

    @field_validator("name")
    @classmethod
    def _says_something(cls, name: str | None) -> str | None:
        if name is not None and not name.strip():
            raise ValueError("it names nothing; leave it out, or give it a letter")
        return name

    @property
    def aggregators(self) -> Sequence[str | Spec | None]:
        """Each makes a strategy of its own; None for the searcher's."""
        return self.aggregator if isinstance(self.aggregator, list) else [self.aggregator]

    @model_validator(mode="after")
    def _either(self) -> StrategySpec:
        if (self.searcher is None) == (self.stages is None):
            raise ValueError("a strategy has either a searcher or stages")
        if self.stages is not None and (more := [*(self.model_extra or {})]):
            raise ValueError(
                f"{more[0]!r} stands beside stages; a parameter stands in its stage: "
                f"{{self_consistency: {{{more[0]}: ...}}}}"
            )
        return self


class Recipe(BaseModel):
    """What a recipe may say. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")

    name: str = "run"
    description: str = ""
    task: str | Spec
    generator: str | Spec
    models: dict[str, str | Spec] = {}
    verifier: str | Spec | None = None
    verifiers: dict[str, str | Spec] = {}
    prices: dict[str, Spec] = {}
    strategies: Annotated[list[StrategySpec], Field(min_length=1)]
    sampling: Spec = {}
    step: Spec = {}
    limits: Spec = {}
    run_limits: Spec = {}
    concurrency: Annotated[int, Field(ge=1)] = 256
    share_samples: bool | None = None
    seed: int = 0
    sweep: dict[str, list[Any]] = {}
    track: list[str] = []
    workers: Workers | None = None

    @field_validator("name")
    @classmethod
    def _a_folder(cls, name: str) -> str:
        """The run's folder is named so unless --out says otherwise."""
        if not name.strip(".") or any(c in "/\\" or not c.isprintable() for c in name):
            raise ValueError(f"{name!r} cannot name a folder; use letters, digits, - and _")
        return name

    @field_validator("seed", "concurrency", mode="before")
    @classmethod
    def _a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("it is no number")
        return value

    @field_validator("models")
    @classmethod
    def _told_apart(cls, models: dict[str, str | Spec]) -> dict[str, str | Spec]:
        refuse_names(models)
        return models

    @model_validator(mode="before")
    @classmethod
    def _one_strategy(cls, data: Any) -> Any:
        """`searcher: x` with its `params`, or `stages`, is short for a list of one strategy."""
        short = [k for k in ("searcher", "stages") if isinstance(data, dict) and k in data]
        if not short:
            return data
        if "strategies" in data:
            raise ValueError(f"give either {short[0]} or strategies, not both")
        data = dict(data)
        only = {k: data.pop(k) for k in (*short, "aggregator") if k in data}
        only |= data.pop("params", None) or {}
        return {**data, "strategies": [only]}

    @property
    def generators(self) -> dict[str, str | Spec]:
        """Every model by its name, the one that is meant where no name is given as ""."""
        default = self.generator
        if isinstance(default, str) and default in self.models:
            default = self.models[default]
        return {"": default, **self.models}

    @property
    def priced(self) -> dict[str, Price]:
        """What each model costs by its name, "" for the default one."""
        named = isinstance(self.generator, str) and self.generator in self.models
        return priced(self.prices, self.models, str(self.generator) if named else "")


@dataclass(frozen=True, slots=True)
class Strategy:
    """A chain of stages, ready to run, most often a searcher and the aggregator that follows it.

    `searcher` and `aggregator` name what it is made of, `params` are those of all its stages.
    `recipe` is the one it belongs to: in a sweep, with the values of `sweep` filled in.
    """

    name: str
    searcher: str
    params: Mapping[str, Any]
    aggregator: str
    run: Chain
    recipe: Recipe
    sweep: Mapping[str, Any]


def load(source: str | Path, sets: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or one that ships with the framework by name, and apply `key=value`s.

    Raises RecipeError naming the value, the rule and the cure.
    """
    path = located(str(source))
    try:
        data = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        told = f"the recipe {path} cannot be read: {error.strerror}{_beside(path)}"
        raise RecipeError(told) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"the recipe {path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"the recipe {path} is not a mapping of keys such as task and generator")
    beside(data, path.parent)
    return parse(with_sets({"name": path.stem, **data}, sets))


def beside(data: Mapping[str, Any], folder: Path) -> None:
    """Have files that a recipe names and that lie in its folder be found from anywhere: `file`,
    `notes` and `policy` of a strategy, `path` of the task."""
    todo = [data.get(key) for key in ("task", "strategies", "stages", "params")]
    for value in todo:  # grows as it goes
        if isinstance(value, dict):
            for key in _FILES.intersection(value):
                if isinstance(file := value[key], str) and (folder / file).is_file():
                    value[key] = str(folder / file)
        if isinstance(value, (dict, list)):
            todo += value.values() if isinstance(value, dict) else value


def parse(data: Mapping[str, Any]) -> Recipe:
    """A recipe from plain data, checked. Raises RecipeError."""
    try:
        recipe = Recipe.model_validate(dict(data))
    except ValidationError as error:
        raise RecipeError(_explain(error)) from None
    made(Sampling, recipe.sampling, Sampling(max_tokens=1))
    made(Step, recipe.step, Step())
    made(Limits, recipe.limits, Limits())
    if made(Limits, recipe.run_limits, Limits()).seconds is not None:
        raise RecipeError(
            "run_limits.seconds: a whole run has no deadline; set limits.seconds, that of a search"
        )
    _check_prices(recipe)
    return recipe


def _check_prices(recipe: Recipe) -> None:
    prices = recipe.priced
    for name in ("limits", "run_limits"):
        if getattr(recipe, name).get("money") is not None:
            refuse_unpriced(f"{name}.money", prices, recipe.models)


def strategies(recipe: Recipe) -> list[Strategy]:
    """One strategy for each entry, each combination of its lists and of the sweep's.

    Raises RecipeError.
    """
    each = sum(math.prod(e.count for e in es) for spec in recipe.strategies for es in _stated(spec))
    _countable(each * math.prod(map(len, recipe.sweep.values())))
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
        s.run.refuse_models(s.recipe.models)
        bounds = {**s.recipe.limits, **s.recipe.run_limits}
        s.run.refuse_sizes(any(bounds.get(k) is not None for k in ("tokens", "calls", "money")))
        if s.recipe.verifier is None and s.run.says("SCORES"):
            raise RecipeError(
                f"strategy {s.name!r} chooses by score and there is no verifier; name one, say "
                "verifier: logprob (`reasoning list verifiers` shows all)"
            )
        s.run.refuse_unscored()
    return found


def _countable(count: int) -> None:
    """Raises RecipeError for more strategies than anybody has."""
    if count > MOST_STRATEGIES:
        raise RecipeError(
            f"the lists of the recipe multiply to {count:,} strategies; {MOST_STRATEGIES:,} is the "
            "most: shorten one of them"
        )


def variants(recipe: Recipe) -> Iterator[tuple[Recipe, dict[str, Any]]]:
    """The recipe under each combination of its sweep, and that combination. Raises RecipeError."""
    _countable(math.prod(map(len, recipe.sweep.values())))
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
            assign(data, key, value, f"sweep {key}")
        yield parse(data) if sweep else recipe, sweep


def _short(sweep: Mapping[str, Any]) -> dict[str, Any]:
    return {key.rpartition(".")[2]: value for key, value in sweep.items()}


def _expand(spec: StrategySpec, recipe: Recipe) -> Iterator[Strategy]:
    every = (itertools.product(*(e.expanded() for e in stated)) for stated in _stated(spec))
    for entries in itertools.chain.from_iterable(every):
        run = chain(entries)
        default = Entry("aggregator", names.default_aggregator(_last_searcher(entries).function))
        if entries[-1].kind == "searcher":
            entries = (*entries, default)
        *before, final = entries
        yield Strategy(
            _name(spec, entries, default),
            " > ".join(str(e.name) for e in before),
            _shown(entries),
            str(final.name),
            run,
            recipe,
            {},
        )


def _stated(spec: StrategySpec) -> Iterator[list[Entry]]:
    """The stages of a strategy with each of its aggregators, lists among their parameters and all.

    Raises RecipeError.
    """
    params = dict(spec.model_extra or {})
    stated = [entry({"searcher": spec.searcher, **params})] if spec.searcher else []
    for e in stated:
        _refuse_misplaced(e)
    stated += [entry(stage) for stage in spec.stages or ()]
    for a in spec.aggregators:
        yield stated if a is None else [*stated, entry(a, "aggregator")]


def _refuse_misplaced(e: Entry) -> None:
    """Raises RecipeError for a key beside a searcher that is none of its own, and says whose."""
    if names.open_ended(e.function):
        return
    own = names.parameters(e.function)
    for key in e.params:
        if key in own or key == "reduction":  # about which `bind_function` knows more
            continue
        told = unknown(f"parameter of {e.name}", key, [*own, "aggregator", "name"])
        if key in names.parameters(Sampling):
            told = (
                f"{e.name} takes no {key}, which is of `sampling`, for all strategies: sampling: "
                f"{{{key}: ...}}, or sweep: {{sampling.{key}: [...]}} for several"
            )
        elif key in Recipe.model_fields:
            told = f"{e.name} takes no {key}, which stands beside `strategies`, for all of them"
        raise RecipeError(told)


def _last_searcher(entries: Sequence[Entry]) -> Entry:
    return [e for e in entries if e.kind == "searcher"][-1]


def _shown(entries: Sequence[Entry]) -> dict[str, Any]:
    """The parameters of all stages, under the stage's name too where two have the same.

    Those of the last aggregator belong to it, as its name does.
    """
    found: dict[str, Any] = {}
    several = [e.kind for e in entries] != ["searcher", "aggregator"]
    for e in entries if several else entries[:1]:
        share = {} if e.share is None else {"share": e.share}
        for key, value in {**names.defaults(e.function), **e.params, **share}.items():
            found[key if key not in found else f"{e.shown}.{key}"] = value
    return found


def _name(spec: StrategySpec, entries: Sequence[Entry], default: Entry) -> str:
    """What tells the strategy apart: its stages with what was set, lists last; the name it was
    given with what lists chose."""
    varied = {k: e.params[k] for e in entries for k in e.varied}
    if spec.name is not None:
        own = f" {_stage_label(entries[-1])}" if len(spec.aggregators) > 1 else ""
        return _label(spec.name + own, varied)
    labels = [_stage_label(e) for e in entries]
    if entries[-1] is default or (entries[-1] == default and not spec.stages):
        labels.pop()
    return labels[0] + "".join(
        f" > {label}" if spec.stages else f"-{label}" for label in labels[1:]
    )


def _stage_label(e: Entry) -> str:
    fixed = {k: v for k, v in e.params.items() if k not in e.varied}
    share = {} if e.share is None else {"share": e.share}
    name = e.shown if e.kind == "searcher" else str(e.name)
    return _label(name, {**fixed, **{k: e.params[k] for k in e.varied}, **share})


def _label(base: str, params: Mapping[str, Any]) -> str:
    return "-".join([base, *(f"{key}={value}" for key, value in params.items())])


def located(source: str) -> Path:
    """The file of a recipe: one at hand, else a shipped one of that name. Raises RecipeError."""
    path = Path(source)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return path
    found = _SHIPPED / f"{source}.yaml"
    if shipped(found) and found.exists():
        return found
    raise RecipeError(unknown("recipe", source, [p.stem for p in _SHIPPED.glob("*.yaml")]))


def _beside(path: Path) -> str:
    """The recipe near a file that is not there, whose name is nearest."""
    there = [p.name for end in ("yaml", "yml") for p in path.parent.glob(f"*.{end}")]
    near = None if path.exists() else nearest(path.name, there)
    return f"; did you mean {path.parent / near}?" if near else ""


def shipped(path: Path) -> bool:
    """Whether a recipe's file is one of ours."""
    return path.resolve().parent == _SHIPPED


def _explain(error: ValidationError) -> str:
    """The first mistake in one line, with the nearest valid key for an unknown one."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] == "extra_forbidden":
        return unknown("key in recipe", where, (*Recipe.model_fields, "searcher", "stages"))
    if first["type"] == "missing":
        return f"the recipe lacks {where}; add it, see `reasoning run --help` for an example"
    why = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_type" and where.startswith("strategies."):
        why = "a strategy is a mapping, such as {searcher: self_consistency, n: 8}"
    return f"recipe: {where}={first.get('input')!r} does not fit: {why}"
