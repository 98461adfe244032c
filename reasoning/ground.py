"""What one search stands on, and its views share: the problem, who is asked, what may be spent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.answers import Answer
from reasoning.answers.meanings import Meanings
from reasoning.budget import Budget
from reasoning.calls import Caller
from reasoning.clock import Clock, RealClock
from reasoning.errors import RecipeError, unknown
from reasoning.events import Watch
from reasoning.generate import Generator, Sampling
from reasoning.problem import Problem
from reasoning.retry import Retry
from reasoning.seeds import generator as numpy_generator
from reasoning.tree import Node, RolloutTree
from reasoning.usage import Price, Usage
from reasoning.verify import Verifier


@dataclass(frozen=True, slots=True)
class Step:
    """What ends one reasoning step: any of the `stop` strings, or `max_tokens`."""

    stop: tuple[str, ...] = ("\n\n",)
    max_tokens: Annotated[int, Field(ge=1)] = 256


_SAMPLING, _STEP, _RETRY = Sampling(max_tokens=1024), Step(), Retry()


class Ground:
    """The state of a search. A view of it (a part of the budget, a stage) is a shallow copy."""

    def __init__(
        self,
        problem: Problem,
        generator: Generator,
        *,
        models: Mapping[str, Generator] | None = None,
        verifier: Verifier | None = None,
        verifiers: Mapping[str, Verifier] | None = None,
        sampling: Sampling | None = None,
        step: Step | None = None,
        budget: Budget | None = None,
        prices: Mapping[str, Price] | None = None,
        seed: int = 0,
        retry: Retry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.models = dict(models or {})
        self.problem = problem.thought_by({"": generator, **self.models})
        self.generator = generator
        self.verifier = verifier
        self.verifiers = dict(verifiers or {})
        self.sampling = sampling or _SAMPLING
        self.step = step or _STEP
        self.budget = budget or Budget()
        self.seed = seed
        self.clock: Clock = clock or RealClock()
        for model in self.models.values():
            model.join(problem, self.clock)
        self.tree = RolloutTree(problem.id, seed)
        self.given: list[Candidate] = []
        """The candidates of the stage before this one."""
        self.measures: dict[str, float] = {}
        """What a strategy says of its own work, by name: see `Search.measure`."""
        self.allowance: float | None = None
        """Tokens that the purse of the run leaves this problem, None where there is none: see
        `reasoning.runs.common`."""
        self._caller = Caller(
            self.tree, seed=seed, retry=retry or _RETRY, clock=self.clock, prices=prices or {}
        )
        self._emitted: dict[Node, None] = {}
        self._slots: dict[Node, int] = {}
        self._answers: dict[Node, Answer | None] = {}
        self._drawn: dict[object, Sampling] = {}
        self._scoring: dict[tuple[Node, str], asyncio.Future[None]] = {}
        self._probes: dict[tuple[object, ...], asyncio.Event | Node] = {}
        self._tools: dict[object, list[object]] = {}
        self._meanings = Meanings(problem.answers)

    @property
    def root(self) -> Node:
        return self.tree.root

    @property
    def usage(self) -> Usage:
        return self._caller.usage

    @property
    def failures(self) -> list[str]:
        return self._caller.failures

    @property
    def watch(self) -> Watch | None:
        """Who is told of every event, see `reasoning.events`."""
        return self._caller.watch

    @watch.setter
    def watch(self, watch: Watch | None) -> None:
        self._caller.watch = watch

    @property
    def pieces(self) -> bool:
        """Whether they are told of the text of calls under way, too (`events.Heard`)."""
        return self._caller.pieces

    @pieces.setter
    def pieces(self, pieces: bool) -> None:
        self._caller.pieces = pieces

    @property
    def undisturbed(self) -> float:
        """Seconds for which nobody will leave a call: see `reasoning.generate.Prompt`."""
        return self._caller.undisturbed

    @undisturbed.setter
    def undisturbed(self, seconds: float) -> None:
        self._caller.undisturbed = seconds

    @property
    def logprobs(self) -> bool:
        """Whether the log-probabilities of samples are of use to anybody."""
        return self._caller.logprobs

    @logprobs.setter
    def logprobs(self, useful: bool) -> None:
        self._caller.logprobs = useful

    def rng(self, *key: str | int) -> np.random.Generator:
        """Random numbers for this problem and `key`, the same in every run with this seed."""
        return numpy_generator(self.seed, self.problem.id, "rng", *key)

    def _model(self, name: str) -> Generator:
        if not name:
            return self.generator
        if name not in self.models:
            raise RecipeError(
                unknown("model", name, self.models) + " Name it in the recipe's models"
            )
        return self.models[name]

    def _view(self, budget: Budget) -> Self:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, budget=budget)
        return view


def node_of(tree_verb: str, given: object) -> Node:
    """`given` if it is a node; else TypeError, which says where nothing in its place comes from."""
    if isinstance(given, Node):
        return given
    hint = (
        "draw, probe and best_partial give None where a limit is used up or a call failed: look "
        "for it before you go on"
        if given is None
        else "give one that draw, draws or write gave back, or search.root"
    )
    raise TypeError(f"search.{tree_verb} is about a node of the tree, not {given!r}; {hint}")
