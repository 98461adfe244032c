"""What is on offer: the strategies of a recipe by their names, each with what it runs on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_origin

from reasoning.chain import Stage
from reasoning.errors import RecipeError, unknown
from reasoning.http.tracing import hand_on
from reasoning.plugin import Plugin
from reasoning.runs import names
from reasoning.runs.recipe import Recipe, Strategy, strategies
from reasoning.serve.discreet import discreet
from reasoning.serve.floor import Floor, OnFloor
from reasoning.serve.refusal import RequestError
from reasoning.session import Session, expect
from reasoning.settings import Limits

MOST = 1024
"""The largest number that a client may set a parameter to, unless the recipe's own is larger.
Limits bound what is spent, and not the work of lining up as many calls as that."""


@dataclass(frozen=True)
class Offer:
    """One strategy; `chain` is what runs, under the limits and defaults of `session`.

    `listed` is its name in the recipe, whatever parameters `name` adds.
    """

    name: str
    listed: str
    searcher: str
    chain: OnFloor
    session: Session

    @cached_property
    def steps(self) -> bool:
        """Whether it searches step by step, so that an answer comes in parts."""
        return bool(self.chain.says("STEPS"))

    @cached_property
    def single(self) -> bool:
        """Whether the first text that is drawn is the answer, whatever follows."""
        return bool(self.chain.says("SINGLE")) and len(self.chain.stages) == 1

    @cached_property
    def whole(self) -> bool:
        """Whether all that it does with whole answers is to count equal ones, or to race them."""
        more = [k for k in ("STEPS", "SCORES", "MODELS", "READS") if self.chain.says(k)]
        thinking = self.session.generator.thinking
        parts = thinking is not None and thinking.tokens is not None
        return not more and not parts and not any(stage.asks for stage in self._choosing)

    @property
    def _choosing(self) -> list[Stage]:
        stages = (*self.chain.stages, self.chain.last_word)
        return [stage for stage in stages if stage.kind == "aggregator"]

    def with_params(self, params: Mapping[str, Any]) -> Offer:
        """The strategy with other parameters. Raises RequestError for those that it does not take.

        Whole numbers are raised only where limits bound what a search may spend. No parameter is
        a name of code.
        """
        chain = self.chain
        for name, value in params.items():
            chain = self._changed(chain, name, value)
        stated = ",".join(f"{k}={json.dumps(v)}" for k, v in params.items())
        return replace(self, name=f"{self.name}:{stated}" if params else self.name, chain=chain)

    def _changed(self, chain: OnFloor, name: str, value: Any) -> OnFloor:
        where, _, key = name.rpartition(".")
        stages = [s for s in chain.stages if not where or s.name == where]
        takes = [s for s in stages if key in names.parameters(_function(s))]
        if len(takes) != 1:
            told = sorted({k for s in chain.stages for k in names.parameters(_function(s))})
            why = (
                unknown(f"parameter of {self.name}", name, told)
                if not takes
                else f"several stages of {self.name} take {name}; say STAGE.{key}"
            )
            raise RequestError(why, param=f"reasoning.params.{name}", code="unknown_parameter")
        (stage,) = takes
        self._allow(stage, key, value)
        try:
            with names.trusting(()):
                changed = replace(stage, run=names.bind_function(stage.run, {key: value}))
        except RecipeError as error:
            raise RequestError(str(error), param=f"reasoning.params.{name}") from None
        return replace(chain, stages=tuple(changed if s is stage else s for s in chain.stages))

    def _allow(self, stage: Stage, key: str, value: Any) -> None:
        function, refused = _function(stage), f"reasoning.params.{key}"
        literal = "Literal" in str(get_origin(names.hints(function).get(key)))
        if not isinstance(value, (bool, int, float)) and not (literal and isinstance(value, str)):
            raise RequestError(
                f"{key} is {value!r:.60}; numbers, true and false, and words from a fixed list can "
                "be asked for, the rest is set by whoever runs this server",
                param=refused,
            )
        limits = self.session.limits
        bounded = (limits.tokens, limits.calls, limits.money) != (None, None, None)
        now = stage.given.get(key, names.defaults(function).get(key))
        whole = isinstance(now, int) and not isinstance(now, bool)
        most = now if whole and not bounded else max(MOST, now if whole else 0)
        if isinstance(value, (int, float)) and value > most:
            why = (
                ": this server has no limits.tokens, limits.calls or limits.money that would "
                "bound a larger search"
            )
            raise RequestError(
                f"{key} is at most {most} here{why if most < MOST else ''}",
                param=refused,
                code="limit_exceeded",
            )


def _function(stage: Stage) -> Any:
    return getattr(stage.run, "func", stage.run)


class Offers:
    """The strategies of a recipe, on sessions that are `open` together."""

    def __init__(self, recipe: Recipe, *, traced: bool = False) -> None:
        if any(value is not None for value in recipe.run_limits.values()):
            raise RecipeError(
                "run_limits bound a run, and a server has no end; set limits, those of a search"
            )
        self.join: Callable[[Iterable[tuple[bytes, bytes]]], None] = hand_on
        """Lets what is done for a request belong to the trace that its headers tell of."""
        self._session: type[Session] = Session
        if traced:
            from reasoning.integrations.tracing import TracedSession, join

            self.join, self._session = join, TracedSession
        self._built: dict[str, Any] = {}
        self._sessions: dict[str, Session] = {}
        self.floor = Floor()
        self.by_name = {s.name: self._offer(s) for s in strategies(recipe)}

    def _offer(self, strategy: Strategy) -> Offer:
        recipe = strategy.recipe
        ground = recipe.model_dump(exclude={"strategies", "name", "description"})
        key = json.dumps(ground, sort_keys=True, default=str)
        if key not in self._sessions:
            models = {k: self._part("generator", v) for k, v in recipe.generators.items()}
            self._sessions[key] = self._session(
                generator=models.pop(""),
                models=models,
                verifier=recipe.verifier and self._part("verifier", recipe.verifier),
                verifiers={k: self._part("verifier", v) for k, v in recipe.verifiers.items()},
                prices=recipe.priced,
                stages=strategy.run,
                sampling=recipe.sampling,
                step=recipe.step,
                limits=recipe.limits,
                seed=recipe.seed,
            )
        session = self._sessions[key]
        session.generator.refuse(session.sampling)
        run, name = strategy.run, strategy.name
        chain = OnFloor(run.stages, run.default, self.floor, name)
        return Offer(name, name, strategy.searcher, chain, session)

    def _part(self, kind: names.Kind, spec: object) -> Any:
        """A generator or verifier, built once however many strategies share it."""
        key = f"{kind} {json.dumps(spec, sort_keys=True, default=str)}"
        if key not in self._built:
            self._built[key] = names.build(kind, spec)
        return self._built[key]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Start everything, and close it at the end. Raises EngineError, RecipeError."""
        async with AsyncExitStack() as stack:
            stack.enter_context(discreet())
            for part in self._built.values():
                if isinstance(part, Plugin):
                    stack.push_async_callback(part.aclose)
            for offer in self.by_name.values():
                session = offer.session
                models = (session.generator, *session.models.values())
                expect(models, offer.chain, session.sampling, session.limits)
            for session in self._sessions.values():
                await stack.enter_async_context(session)
            for offer in self.by_name.values():
                if offer.steps:
                    for model in (offer.session.generator, *offer.session.models.values()):
                        model.refuse_steps()
            yield

    def find(self, name: str) -> Offer:
        """The strategy `name`, or `name:parameter=value,...`. Raises RequestError for another.

        A searcher's name will do where it leaves no doubt.
        """
        if name in self.by_name:
            return self.by_name[name]
        base, _, stated = name.partition(":")
        while base not in self.by_name and ":" in stated:  # a strategy's own name may hold one
            more, _, stated = stated.partition(":")
            base = f"{base}:{more}"
        params = dict(_param(part, name) for part in stated.split(",") if part)
        if base in self.by_name:
            return self.by_name[base].with_params(params)
        return self._by_searcher(base, params)

    def _by_searcher(self, base: str, params: Mapping[str, Any]) -> Offer:
        """Strategies that differ in nothing but the parameters are one."""
        fitting = [o for o in self.by_name.values() if o.searcher == base]
        if not fitting:
            raise RequestError(
                unknown("model", base, self.by_name),
                status=404,
                param="model",
                code="model_not_found",
            )
        changed = [offer.with_params(params) for offer in _loosest_first(fitting, params)]
        first = changed[0]
        if any(_differs(first, other) for other in changed[1:]):
            raise RequestError(
                f"several strategies are called {base}: {', '.join(o.name for o in fitting)}; "
                "name one of them",
                status=404,
                param="model",
                code="model_not_found",
            )
        stated = first.name.partition(":")[2]
        return replace(first, name=f"{base}:{stated}" if stated else base)


def _loosest_first(offers: list[Offer], params: Mapping[str, Any]) -> list[Offer]:
    """Those that allow the parameters; if none does, the last, which says why."""
    allowed = []
    for offer in offers:
        try:
            offer.with_params(params)
        except RequestError:
            continue
        allowed.append(offer)
    return allowed or offers[-1:]


def _differs(a: Offer, b: Offer) -> bool:
    def shape(offer: Offer) -> Any:
        return [(_function(s), dict(s.given), s.share) for s in offer.chain.stages]

    return a.session is not b.session or shape(a) != shape(b)


def _param(stated: str, name: str) -> tuple[str, Any]:
    key, equals, value = stated.partition("=")
    if not (key and equals):
        raise RequestError(
            f"the model {name!r} is not STRATEGY:PARAMETER=VALUE,...",
            status=404,
            param="model",
            code="model_not_found",
        )
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def sooner(limits: Limits, seconds: float | None) -> Limits:
    """The limits with a deadline; the nearest counts."""
    if seconds is None:
        return limits
    return replace(limits, seconds=min(seconds, limits.seconds or seconds))


def tightened(limits: Limits, asked: Mapping[str, Any]) -> Limits:
    """The limits with those that a client asks for. Raises RequestError for a wider one."""
    if not asked:
        return limits
    try:
        wanted = Limits(**names.checked(Limits, asked))
    except RecipeError as error:
        raise RequestError(str(error), param="reasoning.limits") from None
    found: dict[str, Any] = {}
    for name in Limits.__dataclass_fields__:
        own, other = getattr(limits, name), getattr(wanted, name)
        if own is not None and other is not None and other > own:
            raise RequestError(
                f"limits.{name} is at most {own} here, and {other} was asked for",
                param=f"reasoning.limits.{name}",
                code="limit_exceeded",
            )
        found[name] = own if other is None else other
    return Limits(**found)
