"""From the stages of a strategy, as a recipe or a caller states them, to a chain.

A stage is a name, `{name: parameters}`, or `{searcher: name, ...}` and `{aggregator: name, ...}`
with the parameters beside it; in Python a pair of a name and its parameters, too. `share`, among
the parameters, is the fraction of the tokens left that it may spend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from reasoning.chain import Chain, Stage
from reasoning.errors import RecipeError, unknown
from reasoning.runs import names

StageKind: TypeAlias = Literal["searcher", "aggregator"]
KINDS: tuple[StageKind, ...] = ("searcher", "aggregator")


@dataclass(frozen=True, slots=True)
class Entry:
    """One stage as it is stated: `name` may be a function; `varied` are the parameters that were
    picked from a list."""

    kind: StageKind
    name: Any
    params: Mapping[str, Any] = field(default_factory=dict)
    share: float | None = None
    varied: tuple[str, ...] = ()

    @property
    def function(self) -> Callable[..., Any]:
        found = names.find(self.kind, self.name) if self.named else self.name
        if not callable(found):
            raise RecipeError(
                f"{self.kind} {found!r} is neither a name nor a function; `reasoning list "
                f"{self.kind}s` shows the names"
            )
        return found

    @property
    def named(self) -> bool:
        return isinstance(self.name, str)

    @property
    def shown(self) -> str:
        """The name without the module of somebody else's."""
        return str(self.name).rpartition(":")[2] if self.named else self.stage().name

    def stage(self) -> Stage:
        """The stage itself. Raises RecipeError for a parameter that does not fit."""
        bind = names.bind_searcher if self.kind == "searcher" else names.bind_function
        return Stage(self.kind, bind(self.function, self.params), self.share)

    def expanded(self) -> Iterator[Entry]:
        """One entry for each combination of the values in its `grid`."""
        if empty := [k for k, values in self.grid.items() if not values]:
            raise RecipeError(f"{self.name}: {empty[0]} is an empty list; give one value or more")
        for values in itertools.product(*self.grid.values()):
            chosen = {**self.params, **dict(zip(self.grid, values, strict=True))}
            yield replace(self, params=chosen, varied=tuple(self.grid))

    @property
    def grid(self) -> dict[str, list[Any]]:
        """The parameters that have a list of values to choose from: those that take no list."""
        known = names.taken(self.function, self.params)
        lists = {k: v for k, v in self.params.items() if isinstance(v, list) and k in known}
        return {k: v for k, v in lists.items() if not _takes_list(known[k])}

    @property
    def count(self) -> int:
        """How many entries `expanded` gives."""
        return math.prod(map(len, self.grid.values()))


def entry(stated: Any, kind: StageKind | None = None) -> Entry:
    """One stage as it is stated; of this `kind`, else looked up among both. Raises RecipeError."""
    if isinstance(stated, Entry):
        return stated
    if isinstance(stated, (str, Mapping)) or not isinstance(stated, Sequence):
        name, params, kind = _parts(stated, kind)
    else:
        if len(stated) != 2:
            raise RecipeError(f"a stage is a name, or a name and its parameters, not {stated!r}")
        name, params = stated
    params, inner = _mapping(name, params), {}
    if "params" in params:
        inner = _mapping(name, params.pop("params") or {})
    params |= inner
    share = params.pop("share", None)
    if share is not None and not (isinstance(share, (int, float)) and 0 < share <= 1):
        raise RecipeError(
            f"stage {name}: share={share!r} does not fit: it is the fraction of the tokens left "
            "that the stage may spend, above 0 and up to 1"
        )
    return Entry(kind or _kind(name), name, params, None if share is None else float(share))


def _mapping(name: Any, params: Any) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        raise RecipeError(f"the parameters of stage {name} are a mapping, not {params!r}")
    return dict(params)


def _parts(stated: Any, kind: StageKind | None) -> tuple[Any, Any, StageKind | None]:
    """Name, parameters and kind of what is no pair."""
    if not isinstance(stated, Mapping):
        return stated, {}, kind
    rest = dict(stated)
    for key in ("name", *KINDS):
        if key in rest and (kind is None) == (key != "name"):
            inner = rest.pop(key)
            kind = kind or (key if key != "name" else None)  # type: ignore[assignment]
            if isinstance(inner, Mapping):  # aggregator: {name: best, ...}
                inner = dict(inner)
                rest = {**inner, **rest}
                inner = rest.pop("name", None)
            return inner, rest, kind
    if kind is None and len(rest) == 1:
        ((name, params),) = rest.items()
        return name, {} if params is None else params, None
    what = (
        f"{kind} is a name or a mapping with a name"
        if kind
        else (
            "stage is a name, {name: parameters}, {searcher: name, ...} or {aggregator: name, ...}"
        )
    )
    raise RecipeError(f"a {what}, not {dict(stated)!r}")


def _kind(name: Any) -> StageKind:
    """Whether a name is a searcher's or an aggregator's."""
    if not isinstance(name, str) or ":" in name:
        raise RecipeError(
            f"stage {name!r} may be a searcher or an aggregator; say which: "
            "{searcher: package.module:function, ...} or {aggregator: ...}"
        )
    for kind in KINDS:
        if name in names.known(kind):
            return kind
    raise RecipeError(unknown("stage", name, [n for kind in KINDS for n in names.known(kind)]))


def chain(entries: Sequence[Entry]) -> Chain:
    """The strategy made of these stages. Raises RecipeError for one that cannot work."""
    if not entries or entries[0].kind != "searcher":
        first = entries[0].shown if entries else "nothing"
        raise RecipeError(
            f"the first stage is a searcher, which draws what later ones choose from, not {first}"
        )
    stages = tuple(e.stage() for e in entries)
    last = next(s for s in reversed(stages) if s.kind == "searcher")
    default = names.bind_aggregator(names.default_aggregator(last.run))
    return Chain(stages, default)


def chained(
    searcher: Any, stages: Chain | Sequence[Any], aggregator: Any, params: Mapping[str, Any]
) -> Chain:
    """The chain of a caller: either a searcher with its parameters, or stages; an aggregator may
    follow either."""
    if (searcher is None) == (not stages):
        raise RecipeError("give either a searcher or stages, for example searcher='sample'")
    if searcher is not None:
        entries = [Entry("searcher", searcher, params)]
    elif params:
        raise RecipeError(
            f"parameters stand with their stage, and {', '.join(params)} with none: "
            f"stages=[('self_consistency', {dict(params)!r}), ...]"
        )
    elif isinstance(stages, Chain):
        if aggregator is not None:
            raise RecipeError("a finished chain takes no aggregator; make it the last stage")
        return stages
    elif isinstance(stages, str) or not isinstance(stages, Sequence):
        raise RecipeError(f"stages are a list, not {stages!r}")
    else:
        entries = [entry(stated) for stated in stages]
    if aggregator is not None:
        entries.append(entry(aggregator, "aggregator"))
    return chain(entries)


def _takes_list(hint: Any) -> bool:
    """Whether a list is one value of a parameter so annotated, and no choice of several."""
    origin = get_origin(hint) or hint
    if origin is Annotated:
        return _takes_list(get_args(hint)[0])
    if origin in (Union, UnionType):
        return any(map(_takes_list, get_args(hint)))
    return (
        isinstance(origin, type)
        and issubclass(origin, (list, tuple, Sequence))
        and (origin is not str)
    )
