"""A recipe with every name resolved: what will run, checked before anything is spent."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reasoning.answers.kind import refuse_votes
from reasoning.errors import RecipeError, UserError
from reasoning.generate import Generator, Sampling
from reasoning.plugin import Plugin
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.runs.common import refuse_parts
from reasoning.runs.recipe import Recipe, Strategy, strategies
from reasoning.runs.shard import Shard
from reasoning.search import Step
from reasoning.settings import Limits, made, sampling_for
from reasoning.verify import Verifier

SHARED_NOTE = (
    "strategies share samples: each is drawn once, and every strategy is charged what it would "
    "have used alone; seconds are virtual, 50 tokens a second in each stream"
)


@dataclass(slots=True)
class Arm:
    """One strategy with everything it runs on."""

    strategy: Strategy
    models: dict[str, Generator]
    verifier: Verifier | None
    verifiers: dict[str, Verifier]
    sampling: Sampling
    step: Step
    limits: Limits

    @property
    def generator(self) -> Generator:
        """The model that is asked unless a strategy names another."""
        return self.models[""]

    @property
    def plugins(self) -> list[Plugin]:
        parts = [*self.models.values(), self.verifier, *self.verifiers.values()]
        return [part for part in parts if part is not None]


@dataclass(slots=True)
class Plan:
    """A recipe with every name resolved: what `run` runs and `check` shows."""

    recipe: Recipe
    arms: list[Arm]
    task: Any
    problems: list[Problem]
    shared: bool
    notes: list[str]
    shard: Shard | None = None

    @property
    def strategies(self) -> list[Strategy]:
        return [arm.strategy for arm in self.arms]

    @property
    def plugins(self) -> list[Plugin]:
        """Every generator and verifier, once."""
        return list({id(part): part for arm in self.arms for part in arm.plugins}.values())


def plan(
    recipe: Recipe, limit: int | None = None, shard: Shard | None = None, task: Any = None
) -> Plan:
    """Resolve and build everything a recipe names. Raises UserError that tells every mistake.

    The problems are the first `limit` of the task's, and of those the shard's. A `task` takes the
    place of the recipe's.
    """
    chosen = strategies(recipe)
    mistakes: dict[str, UserError] = {}
    built: dict[str, Any] = {}

    def build(kind: names.Kind, spec: object) -> Any:
        key = f"{kind} {json.dumps(spec, sort_keys=True, default=str)}"
        if key not in built:
            built[key] = None
            with _noted(mistakes):
                built[key] = names.build(kind, spec)
        return built[key]

    task = build("task", recipe.task) if task is None else task
    arms = []
    for strategy in chosen:
        with _noted(mistakes):
            arm = _arm(strategy, build, task.problems if task else ())
            arms += [arm] if arm else []
    if mistakes:
        raise _together(list(mistakes.values()))
    notes = list(
        dict.fromkeys(
            note for part in built.values() if isinstance(part, Plugin) for note in part.notes
        )
    )
    problems = list(task.problems)
    for part in built.values():
        problems = _covered(part, problems, task, notes)
    shared = _shared(recipe, arms)
    if shared:
        notes.append(SHARED_NOTE)
    problems = problems[:limit]
    notes += _strange(arms, problems)
    if shard is not None:
        shard.refuse(recipe.run_limits)
        refuse_parts((arm.strategy for arm in arms), f"shard {shard}")
        problems = shard.cut(problems)
    return Plan(recipe, arms, task, problems, shared, notes, shard)


def _arm(
    strategy: Strategy, build: Callable[[names.Kind, object], Any], problems: Sequence[Problem]
) -> Arm | None:
    """What a strategy runs with; None where some of it cannot be built, which `build` has told.

    Raises RecipeError for what does not go together, or not with these problems.
    """
    variant = strategy.recipe
    models = {name: build("generator", spec) for name, spec in variant.generators.items()}
    verifier = build("verifier", variant.verifier) if variant.verifier else None
    verifiers = {name: build("verifier", spec) for name, spec in variant.verifiers.items()}
    missing = verifier is None and bool(variant.verifier)
    if missing or None in (*models.values(), *verifiers.values()):
        return None
    arm = Arm(
        strategy,
        models,
        verifier,
        verifiers,
        sampling_for(models[""], variant.sampling),
        made(Step, variant.step, Step()),
        made(Limits, variant.limits, Limits()),
    )
    models[""].refuse(arm.sampling)
    for voter in strategy.run.says("VOTES"):
        refuse_votes(f"strategy {strategy.name!r}: {voter}", problems)
    for judge in filter(None, (verifier, *verifiers.values())):
        judge.preflight(arm.sampling, problems)
    return arm


def _shared(recipe: Recipe, arms: Sequence[Arm]) -> bool:
    """Whether the strategies share samples."""
    shared = recipe.share_samples
    if shared is None:
        # Shared samples arrive in virtual time, which a limit in real seconds cannot mean.
        shared = len(arms) > 1 and all(arm.limits.seconds is None for arm in arms)
    # A recording needs no sharing: it is shared by its nature.
    return shared and not any(g.replays for arm in arms for g in arm.models.values())


def _strange(arms: Sequence[Arm], problems: Sequence[Problem]) -> list[str]:
    """What parameters say that come from another run: fitted to a model and a task, of being used
    on others; notes about problems, of these; and what stages say of themselves. Raises
    RecipeError for what may not be used here."""
    found: dict[str, None] = {}
    for arm in arms:
        recipe = arm.strategy.recipe
        for value in (v for stage in arm.strategy.run.stages for v in stage.given.values()):
            if tell := getattr(value, "elsewhere", None):
                found[tell(recipe.generator, recipe.task)] = None
            if refuse := getattr(value, "refuse", None):
                found |= dict.fromkeys(refuse(problems))
        for stage in arm.strategy.run.stages:
            found |= dict.fromkeys(stage.says("NOTES") or ())
    return [note for note in found if note]


def refuse_unable(plan: Plan) -> None:
    """Let generators that have got ready refuse what they turn out not to be able to do: fields of
    `sampling`, a search step by step. Raises RecipeError."""
    for arm in plan.arms:
        arm.generator.refuse(arm.sampling)
        if arm.strategy.run.says("STEPS"):
            for model in arm.models.values():
                model.refuse_steps()


def refuse_mute(plan: Plan, mute: Collection[Plugin]) -> None:
    """Raise RecipeError for a verifier that reads log-probabilities, where nobody tells any."""
    for arm in plan.arms:
        for judge in filter(None, (arm.verifier, *arm.verifiers.values())):
            if judge.reads_logprobs and arm.generator in mute:
                raise RecipeError(
                    f"verifier {judge.name} reads the log-probabilities of what was sampled, and "
                    "the server tells none; use one that does, or name another verifier"
                )


@contextmanager
def _noted(mistakes: dict[str, UserError]) -> Iterator[None]:
    """Go on after a mistake, so that all of them can be told at once."""
    try:
        yield
    except UserError as error:
        mistakes.setdefault(str(error), error)


def _together(mistakes: Sequence[UserError]) -> UserError:
    if len(mistakes) == 1:
        return mistakes[0]
    return RecipeError("\n".join([f"{len(mistakes)} mistakes", *(f"- {m}" for m in mistakes)]))


def _covered(part: Any, problems: list[Problem], task: Any, notes: list[str]) -> list[Problem]:
    """The problems that a recording has samples for; all of them for other generators."""
    if not isinstance(part, Plugin):
        return problems
    kept = [p for p in problems if part.covers(p)]
    if problems and not kept:
        raise RecipeError(
            f"none of the {len(problems)} problems of task {task.name!r} is recorded; the "
            "generator's file belongs to another task"
        )
    if len(kept) < len(problems):
        notes.append(f"{len(kept)} of {len(problems)} problems are recorded; the rest is left out")
    return kept
