"""What may be set for a search, as objects or as plain data: its limits, its prices."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, TypeVar

from pydantic import Field

from reasoning.budget import Budget
from reasoning.errors import RecipeError, unknown
from reasoning.generate import Generator, Sampling, fitted
from reasoning.runs import names
from reasoning.usage import Price

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one search may spend; None means no limit. Tokens are generated tokens, calls those of
    models, money is in the unit of the prices."""

    tokens: Annotated[int, Field(ge=0)] | None = None
    verifier_calls: Annotated[int, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    money: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    def budget(self, within: Budget | None = None) -> Budget:
        """The purses of one search, or of a whole run."""
        return Budget(
            self.tokens,
            self.verifier_calls,
            self.calls,
            self.money,
            within=within,
            apart=within is not None,
        )


def made(kind: type[T], value: T | Mapping[str, Any] | None, default: T) -> T:
    """`value`, or `default` with the fields that a mapping changes; RecipeError for a misfit."""
    if isinstance(value, Mapping):
        return replace(default, **names.checked(kind, value))  # type: ignore[type-var]
    if value is None or value is default:
        return default
    if not isinstance(value, kind):
        raise RecipeError(
            f"{kind.__name__} is {value!r}; give reasoning.{kind.__name__}(...), or a mapping of "
            "its fields"
        )
    fitted(kind, {f.name: getattr(value, f.name) for f in fields(value)}, kind.__name__)  # type: ignore[arg-type]
    return value


def sampling_for(generator: Generator, changes: Sampling | Mapping[str, Any] | None) -> Sampling:
    """The generator's own defaults (else temperature 1, 1,024 tokens a solution), changed."""
    return made(Sampling, changes, generator.sampling or Sampling(max_tokens=1024))


def priced(
    prices: Mapping[str, Price | Mapping[str, Any]], models: Collection[str], generator: str = ""
) -> dict[str, Price]:
    """What each of the models costs, "" for the one asked by default, which may be one of them.

    "default" among `prices` is for all that have none. Raises RecipeError.
    """
    given = {}
    for name, stated in named("prices", prices).items():
        if name not in ("default", "", *models):
            raise RecipeError(unknown("model in prices", name, ("default", *models)))
        if not isinstance(stated, Price | Mapping):
            raise RecipeError(f"prices: {name} is {stated!r}; say, for example, {{output: 1.5}}")
        price = given[name] = made(Price, stated, Price())
        costs = (price.input, price.output, price.cached or 0.0)
        if wrong := [cost for cost in costs if not 0 <= cost < math.inf]:
            raise RecipeError(
                f"prices: {name} has {wrong[0]}; a price is 0 or more, a million tokens"
            )
    base = given.pop("default", None)
    found = {} if base is None else dict.fromkeys(("", *models), base)
    found |= given
    if generator in found:
        found[""] = found[generator]
    return found


def named(what: str, given: Mapping[str, T] | None) -> Mapping[str, T]:
    """`given`, which is a mapping from names, or nothing. Raises RecipeError."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise RecipeError(f"{what} is {given!r}; it is a mapping from names")
    return given


def refuse_names(models: Iterable[str]) -> None:
    """Raise RecipeError for models called what means another one: "" and "default"."""
    for name in models:
        if name in ("", "default") or not isinstance(name, str):
            raise RecipeError(
                f"a model cannot be called {name!r}, which is the one asked where none is named; "
                "choose another name"
            )


def refuse_unpriced(limit: str, prices: Mapping[str, Price], models: Iterable[str]) -> None:
    """Raise RecipeError, which names the `limit` of money, for a model whose price is not known."""
    unpriced = [
        name or "the model asked by default" for name in ("", *models) if name not in prices
    ]
    if unpriced:
        raise RecipeError(
            f"{limit} needs to know what tokens cost, and nobody says it of "
            f"{', '.join(unpriced)}; add, for example, "
            "prices: {default: {input: 0.2, output: 0.6}}, per million tokens"
        )
