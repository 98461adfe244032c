"""A strategy: stages from candidates to candidates, of which the last chooses one.

A searcher is a stage that draws (it finds the candidates before it in `search.given`), an
aggregator one that keeps or chooses. `[self_consistency, majority]` is the simple case.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard

from reasoning.aggregators import Aggregator, Candidate, Choice, Chosen, Pure
from reasoning.aggregators.first import first
from reasoning.aggregators.majority import majority
from reasoning.answers.kind import refuse_votes
from reasoning.clock import Deadline
from reasoning.drawing import MOST, too_many
from reasoning.errors import ChoiceError, RecipeError, cause, unknown

if TYPE_CHECKING:
    from reasoning.budget import Kind
    from reasoning.search import Search

StopReason: TypeAlias = "Literal['finished', 'seconds', 'failed'] | Kind"
"""The strategy ended by itself, or which limit ended or curtailed it."""


@dataclass(frozen=True)
class Stage:
    """One part of a strategy, its parameters bound. `share` is the fraction of the tokens that are
    left which it may spend, None for all."""

    kind: Literal["searcher", "aggregator"]
    run: Callable[..., Any]
    share: float | None = None

    def says(self, name: str) -> Any:
        """What its file says of it in the constant `name`, None for nothing.

        What depends on its parameters is what the function ABOUT of its file makes of them.
        """
        function = self.run.func if isinstance(self.run, partial) else self.run
        said = getattr(inspect.getmodule(function), name, None)
        return self._about.get(name) if said is None else said

    @cached_property
    def _about(self) -> Mapping[str, Any]:
        return about(self.run)

    @cached_property
    def asks(self) -> bool:
        """Whether it is an aggregator that is given the search, too."""
        return _places(self.run) > 1

    @property
    def given(self) -> Mapping[str, Any]:
        """Its parameters, as far as they are stated."""
        return self.run.keywords if isinstance(self.run, partial) else {}

    @cached_property
    def models(self) -> list[str]:
        """The models that its parameters name: its file says in MODELS which of them do."""
        stated = [self.given[name] for name in self.says("MODELS") or () if name in self.given]
        named = [m for s in stated for m in ((s,) if isinstance(s, str) else s)]
        return [*named, *(self._about.get("ASKS") or ())]

    @property
    def name(self) -> str:
        function = self.run.func if isinstance(self.run, partial) else self.run
        return getattr(function, "__name__", type(function).__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a chain: the choice, and what the last searcher put forward."""

    choice: Choice
    candidates: list[Candidate]
    stop_reason: StopReason


@dataclass(frozen=True)
class Chain:
    """The stages of a strategy; `default` chooses where the last one leaves several candidates."""

    stages: tuple[Stage, ...]
    default: Aggregator = majority

    @cached_property
    def last_word(self) -> Stage:
        """The stage that `default` is."""
        return Stage("aggregator", self.default)

    @property
    def chooser(self) -> Aggregator:
        """Who has the last word: the aggregator that the chain ends in, else the default one."""
        last = self.stages[-1]
        return last.run if last.kind == "aggregator" else self.default

    @property
    def independent(self) -> bool:
        """Whether its samples say nothing of each other: see `reasoning.runs.names.independent`."""
        drawing = [stage for stage in self.stages if stage.kind == "searcher"]
        return len(drawing) == 1 and drawing[0].says("INDEPENDENT") is True

    @cached_property
    def reads_texts_alone(self) -> bool:
        """Whether nothing of its samples is looked at but what they say."""
        stages = (*self.stages, self.last_word)
        more = any(s.asks or s.says("SCORES") or s.says("READS") for s in stages)
        return self.independent and not more

    def says(self, name: str) -> list[str]:
        """The stages, the default chooser among them, whose files set the constant `name`."""
        stages = list(self.stages)
        if self.stages[-1].kind == "searcher" or self.stages[-1].says("FILTERS"):
            stages.append(self.last_word)
        return [stage.name for stage in stages if stage.says(name)]

    def refuse(self, search: Search) -> None:
        """Raise RecipeError for what the chain needs and this search lacks, before it is spent."""
        self.refuse_models(search.models)
        self.refuse_sizes(search.budget.bounds("tokens", "calls", "money"))
        voters, judges, confident = self._needs
        for name in voters:
            refuse_votes(name, [search.problem])
        if judges and search.verifier is None:
            raise RecipeError(
                f"{judges[0]} chooses by score and there is no verifier; name one, for example "
                "verifier: logprob (`reasoning list verifiers` shows all)"
            )
        self.refuse_unscored()
        if confident and not search.sampling.confidence_k:
            raise RecipeError(
                f"{confident[0]} reads token confidences and none are asked for; set "
                "sampling.confidence_k: 20"
            )

    def refuse_unscored(self) -> None:
        """Raise RecipeError for a chooser by scores of samples that nothing scores."""
        drawing = [stage for stage in self.stages if stage.kind == "searcher"]
        judges = [name for name in self.says("SCORES") if name not in (s.name for s in drawing)]
        asked = any(stage.asks for stage in self.stages)
        if judges and self.independent and not asked and not drawing[0].says("SCORES"):
            raise RecipeError(
                f"{judges[0]} chooses by score and {drawing[0].name} scores nothing; take searcher "
                f"best_of_n with aggregator {judges[0]}"
            )

    def refuse_models(self, known: Collection[str]) -> None:
        """Raise RecipeError for a model that a stage asks and that is not among those known."""
        for stage in self.stages:
            if wrong := [name for name in stage.models if name and name not in known]:
                raise RecipeError(
                    f"{stage.name}: {unknown('model', wrong[0], known)} Name it in models"
                )

    def refuse_sizes(self, limited: bool) -> None:
        """Raise RecipeError for more than a search may do at once, unless a limit bounds it."""
        for stage in () if limited else self.stages:
            for name, value in stage.given.items():
                if isinstance(value, int) and value > MOST:
                    raise RecipeError(f"{stage.name}: {name}: {too_many(value)}")

    @cached_property
    def _needs(self) -> tuple[list[str], list[str], list[str]]:
        """The stages that count equal answers, choose by score, and read token confidences."""
        confident = [s.name for s in self.stages if s.says("READS") == "confidence"]
        return self.says("VOTES"), self.says("SCORES"), confident

    async def run(self, search: Search, seconds: float | None = None) -> Outcome:
        """Run all stages under one deadline, then choose.

        Whatever ends them, what the running stage has emitted, else what the one before it gave,
        is chosen from: by the last aggregator, or where that asks models and time is up, by the
        last of the chain that does not. Raises what a stage raises, out of whatever task group it
        happened in.
        """
        self.refuse(search)
        search.undisturbed = 0.0 if not self.independent else seconds or math.inf
        course = _Course(search)
        try:
            with Deadline(search.clock, seconds) as deadline:
                await course.along(self.stages)
                choice = await course.choose(self.last_word)
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        if deadline.expired:
            choice = self._at_once(course.rescued(), search)
        stop: StopReason = "seconds" if deadline.expired else course.exhausted or "finished"
        return Outcome(choice, course.emitted, stop)

    def _at_once(self, candidates: Sequence[Candidate], search: Search) -> Choice:
        """The choice of the last aggregator that needs no model, and so no time."""
        every = [*(s.run for s in self.stages if s.kind == "aggregator"), self.default]
        if self.stages[-1].kind == "aggregator":
            every = [self.default, *every[:-1]]
        last = majority if search.problem.answers.votes else first
        pure = [f for f in (last, *every) if not asks(f)]
        return decide(candidates, pure[-1], last)


@dataclass(slots=True)
class _Course:
    """How far a chain has come. `emitted` are the candidates of the last searcher."""

    search: Search
    given: list[Candidate] = field(default_factory=list)
    emitted: list[Candidate] = field(default_factory=list)
    choice: Choice | None = None
    views: list[Search] = field(default_factory=list)
    drawing: bool = False

    async def along(self, stages: Sequence[Stage]) -> None:
        for stage in stages:
            self.choice = None
            search = self.search if stage.share is None else self.search.share(stage.share)
            # Before the first stage nothing was given, and nothing put forward.
            view = search.stage(self.given) if self.views else search
            self.views.append(view)
            if stage.kind == "aggregator":
                self._take(await _asked(stage, self.given, view), stage.run)
                continue
            self.drawing = True
            running = stage.run(view)
            if not inspect.isawaitable(running):
                raise RecipeError(
                    f"searcher {stage.name} gave back {str(running)[:80]} and is no coroutine; "
                    f"define it as async def {stage.name}(search, *, ...)"
                )
            await running
            found = await view.agreed(view.candidates)
            self.drawing = False
            # A stage that a limit leaves with empty hands loses nothing of what was there.
            self.given = self.emitted = found or self.given

    def _take(self, chosen: Chosen, by: Aggregator) -> None:
        if _several(chosen):
            self.given = list(chosen)
            return
        self.choice = _choice(chosen, by)
        self.given = [] if self.choice.candidate is None else [self.choice.candidate]

    async def choose(self, default: Stage) -> Choice:
        if self.choice is None:
            self._take(await _asked(default, self.given, self.search), default.run)
        if self.choice is None:
            raise _misfit(default.run, self.given)
        return self.choice

    def rescued(self) -> list[Candidate]:
        """What there is to choose from when time is up; answers are compared no further."""
        if self.drawing and (found := self.views[-1].agreed_so_far()):
            self.given = self.emitted = found
        return self.given

    @property
    def exhausted(self) -> Kind | None:
        """The kind of spending that curtailed a stage."""
        return next((kind for v in self.views if (kind := v.budget.exhausted)), None)


def about(function: Callable[..., Any]) -> Mapping[str, Any]:
    """What a plug-in's file says of it that depends on its parameters: what its ABOUT gives.

    Raises RecipeError for parameters that do not fit together.
    """
    plain, given = (
        (function.func, function.keywords) if isinstance(function, partial) else (function, {})
    )
    found = getattr(inspect.getmodule(plain), "ABOUT", None)
    return {} if found is None else found(given)


def decide(candidates: Sequence[Candidate], *aggregators: Pure) -> Choice:
    """What aggregators that ask nobody make of candidates: filters, then one that chooses."""
    for aggregator in aggregators:
        chosen = aggregator(candidates)
        if not _several(chosen):
            return _choice(chosen, aggregator)
        candidates = chosen
    raise _misfit(aggregators[-1], candidates)


def asks(aggregator: Aggregator) -> bool:
    """Whether an aggregator asks models, or somebody else, and so takes time."""
    function = aggregator.func if isinstance(aggregator, partial) else aggregator
    return _places(function) > 1 or inspect.iscoroutinefunction(function)


async def _asked(stage: Stage, candidates: Sequence[Candidate], search: Search) -> Chosen:
    chosen: Any = stage.run(candidates, search) if stage.asks else stage.run(candidates)
    found: Chosen = await chosen if inspect.isawaitable(chosen) else chosen
    return found


def _places(function: Callable[..., Any]) -> int:
    """How many positional arguments it needs."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty for p in found)


def _several(chosen: Any) -> TypeGuard[Sequence[Candidate]]:
    return isinstance(chosen, Sequence) and all(isinstance(c, Candidate) for c in chosen)


def _choice(chosen: Any, by: Aggregator) -> Choice:
    if chosen is None or isinstance(chosen, Candidate):
        return Choice(chosen)
    if isinstance(chosen, Choice):
        return chosen
    raise _misfit(by, chosen)


def _misfit(by: Aggregator, chosen: Any) -> ChoiceError:
    shown = repr(chosen)
    return ChoiceError(
        f"aggregator {Stage('aggregator', by).name} gave back {shown[:80]}; it chooses one of the "
        "candidates it is given: return that Candidate, a Choice, or None"
    )
