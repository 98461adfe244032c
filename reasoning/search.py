"""The only door to the outside that a searcher sees."""

from __future__ import annotations

import asyncio
import inspect
import math
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.answers import Answer
from reasoning.answers.meanings import Meanings
from reasoning.budget import Budget, Parts
from reasoning.calls import Caller, Retry
from reasoning.clock import Clock, RealClock, VirtualClock
from reasoning.errors import RecipeError, unknown
from reasoning.events import Emitted, Event, Scored, Watch
from reasoning.generate import Generator, Prompt, Sampling, conversation
from reasoning.problem import Problem
from reasoning.seeds import generator as numpy_generator
from reasoning.strand import Strand
from reasoning.thinking import think
from reasoning.tree import LOST, FloatArray, Node, RolloutTree, Sample, Turn
from reasoning.usage import Price, Usage
from reasoning.verify import Verifier, reduce_steps

T = TypeVar("T")
Until: TypeAlias = Literal["step", "end"]
Land: TypeAlias = Callable[[Node], Awaitable[None] | None]
"""Called with a node when it is there; a coroutine is awaited before the next thing is done with
that node."""

__all__ = ["Land", "Retry", "Search", "Searcher", "Step", "Until"]


@dataclass(frozen=True, slots=True)
class Step:
    """What ends one reasoning step: any of the `stop` strings, or `max_tokens`."""

    stop: tuple[str, ...] = ("\n\n",)
    max_tokens: Annotated[int, Field(ge=1)] = 256


class Search:
    """One problem being searched: its tree, its budget, its candidates.

    All randomness is derived from `seed`, the problem's id and the place in the tree. Results
    come back in the order they were asked for, whatever order they arrived in.

    `models` are further generators by name, `verifiers` further verifiers; without a name, the
    first of each kind is meant.
    """

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
        self.sampling = sampling or Sampling(max_tokens=1024)
        self.step = step or Step()
        self.budget = budget or Budget()
        self.seed = seed
        self.clock: Clock = clock or RealClock()
        for model in self.models.values():
            model.join(problem, self.clock)
        self.tree = RolloutTree(problem.id, seed)
        self.given: list[Candidate] = []
        """The candidates of the stage before this one."""
        self._caller = Caller(
            self.tree, seed=seed, retry=retry or Retry(), clock=self.clock, prices=prices or {}
        )
        self._emitted: dict[Node, None] = {}
        self._slots: dict[Node, int] = {}
        self._drawn: dict[tuple[int, Until, int, str], Sampling] = {}
        self._scoring: dict[tuple[Node, str], asyncio.Future[None]] = {}
        self._probes: dict[tuple[object, ...], asyncio.Event | Node] = {}
        self._meanings = Meanings(problem.answers)

    def __getattr__(self, name: str) -> Any:
        if name in _OLD:
            raise RecipeError(f"search.{name} is now {_OLD[name]}: see docs/seams.md")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ------------------------------------------------------------------------ what there is

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
    def candidates(self) -> list[Candidate]:
        """What has been emitted, ordered by path; answers by their spelling."""
        found = [self._candidate(node) for node in self._emitted]
        return sorted(found, key=lambda candidate: candidate.path)

    def _candidate(self, node: Node) -> Candidate:
        assert node.emitted is not None
        weight, rank = node.emitted
        steps: tuple[float, ...] = ()
        score = None
        if self.verifier is not None:
            steps, score = node.step_scores(self.verifier.name), self.reward(node)
        return Candidate(node.path, self.answer(node), weight, rank, steps, score, node)

    def rng(self, *key: str | int) -> np.random.Generator:
        """Random numbers for this problem and `key`, the same in every run with this seed."""
        return numpy_generator(self.seed, self.problem.id, "rng", *key)

    # ------------------------------------------------------------------------------ drawing

    def draw(
        self,
        node: Node,
        *,
        until: Until = "step",
        model: str = "",
        turn: Turn | str | None = None,
        sources: Iterable[Node] = (),
        urgency: float | None = None,
        **sampling: Any,
    ) -> Coroutine[Any, Any, Node | None]:
        """Draw one sample below `node`: one step, or all the way to the end.

        `sampling` changes any field of `Sampling` for this call (None: as it is). `model` names
        who is asked. With `turn` the model answers that: a text is what the user says next in the
        conversation, a `Turn` may also start afresh. `sources` are other nodes whose text the call
        reads.
        `urgency` says how much the search wants this call: see `reasoning.generate.Prompt`.

        None if a limit is used up, or if the call failed for good. Slots, and so seeds, are given
        in the order of the calls of this function, whenever their coroutines are awaited. Raises
        RecipeError for a field that the generator cannot honour, before anything is spent.
        """
        if until not in ("step", "end"):
            raise ValueError(f"until is 'step' or 'end', not {until!r}")
        self._caller.strand()
        thinking = self._model(model).thinking
        bound = thinking is not None and thinking.tokens is not None
        draw = partial(think, thinking, self) if thinking and bound else self._draw
        return draw(
            node,
            self._take(node),
            until=until,
            model=model,
            sampling=sampling,
            turn=_turn(turn),
            sources=sources,
            urgency=urgency,
        )

    async def draws(
        self, node: Node, n: int, *, land: Land | None = None, **draw: Any
    ) -> list[Node]:
        """Draw `n` samples below `node`, side by side; fewer if a limit is used up.

        `land` is called with each as soon as it is there, so that what has landed is not lost when
        time is up: `land=search.emit` makes it a candidate. Other options are those of `draw`.
        """
        for kind in ("tokens", "calls"):  # no call that could not have a token is made ready
            if self.budget.bounds(kind):
                n = min(n, (self.budget.purse(kind).left or 0) + 1)
        return await self.side_by_side((partial(self.draw, node, **draw) for _ in range(n)), land)

    async def side_by_side(
        self, calls: Iterable[Callable[[], Awaitable[Node | None]]], land: Land | None = None
    ) -> list[Node]:
        """The nodes of all calls, made at once, in the order of the calls; see `draws`."""

        async def one(call: Awaitable[Node | None]) -> Node | None:
            begun.append(self._caller.strand(waited=True))
            node = await call
            if node is not None and land is not None and (more := land(node)) is not None:
                await more
            return node

        here = self._caller.strand()  # all start now, whoever of them runs first
        begun: list[Strand] = []
        try:
            async with TaskGroup() as group:
                tasks = []
                for i, call in enumerate(calls, start=1):
                    tasks.append(group.create_task(one(call())))
                    if i % _BREATH == 0:  # others may run, and an interruption is heard
                        await asyncio.sleep(0)
        finally:
            here.reach(max((strand.time for strand in begun), default=0))
        return [node for task in tasks if (node := task.result()) is not None]

    def write(
        self,
        node: Node,
        text: str,
        *,
        turn: Turn | str | None = None,
        sources: Iterable[Node] = (),
        instead: bool = False,
    ) -> Node:
        """Put `text` behind `node` as if the model had said it; the new node.

        It costs nothing here: whoever goes on from it reads it as part of its prompt, in its own
        tokens, which split none of those before. With `instead` it takes the place of the whole
        text that `node` ends, which stays in the tree above it: a thought cut off, or changed.
        """
        sample = Sample(text, finish="written")
        if instead:
            turn = Turn(conversation(self.problem, node), afresh=True)
            sources = (node, *sources)
        read = tuple(source.path for source in sources)
        return self._caller.add(node, self._take(node), sample, _turn(turn), read)

    async def probe(
        self,
        node: Node,
        suffix: str = "",
        *,
        tokens: int = 1,
        top: int = 20,
        model: str = "",
        **sampling: Any,
    ) -> Node | None:
        """What the model would say behind `node` and `suffix`: a node with `top_logprobs`.

        The path stays as it is: the node stands beside it in the tree (finish "probe"), is paid
        for, and is never a candidate. Greedy unless `temperature` says otherwise. Asked again, the
        same probe is not made again, except by a view with a purse of its own: whoever waited for
        what another pays could wait for ever. None if a limit is used up, or if the call failed
        for good.
        """
        key = (self.budget, node, suffix, tokens, top, model, repr(sorted(sampling.items())))
        while isinstance(known := self._probes.get(key), asyncio.Event):
            await known.wait()
        if known is not None:
            return known
        ready = self._probes[key] = asyncio.Event()
        options = {"temperature": 0.0, "top_logprobs": top, "max_tokens": tokens, **sampling}
        try:
            found = await self._draw(
                node, self._take(node), until="end", model=model, sampling=options, suffix=suffix
            )
            if found is not None:
                self._probes[key] = found
            return found
        finally:
            if self._probes[key] is ready:
                del self._probes[key]
            ready.set()

    async def _draw(
        self,
        node: Node,
        slot: int,
        *,
        until: Until,
        model: str,
        sampling: Mapping[str, Any],
        turn: Turn | None = None,
        sources: Iterable[Node] = (),
        urgency: float | None = None,
        suffix: str | None = None,
    ) -> Node | None:
        generator = self._model(model)
        prompt = Prompt(
            self.problem,
            node,
            slot,
            turn=turn,
            suffix=suffix or "",
            model=model,
            urgency=urgency,
        )
        params = self._params(generator, prompt, until, sampling, suffix is not None)
        if params is None:
            await asyncio.sleep(0)  # who asks in a loop hears all the same that time is up
            return None
        found = await self._caller.draw(
            generator,
            prompt,
            params,
            self.budget,
            sources=tuple(source.path for source in sources) if sources else (),
            finish=None if suffix is None else "probe",
            whole=until == "end" and suffix is None,
        )
        if found is None:
            await asyncio.sleep(0)
        return found

    def _params(
        self,
        generator: Generator,
        prompt: Prompt,
        until: Until,
        sampling: Mapping[str, Any],
        probing: bool,
    ) -> Sampling | None:
        """How the call draws, which the generator can; None if the path has used up its tokens."""
        room = self.sampling.max_tokens
        asked = sampling.get("max_tokens")
        if asked is not None and not isinstance(asked, Integral):
            raise RecipeError(f"sampling.max_tokens is {asked!r}; it is a whole number of tokens")
        if not probing:
            room -= prompt.written
        most = room if asked is None else int(asked) if probing else min(room, int(asked))
        if until == "step":
            most = min(most, self.step.max_tokens)
        if most < 1:
            return None
        key = (id(generator), until, most, repr(sampling) if sampling else "")
        if (known := self._drawn.get(key)) is None:
            known = self._changed(until, most, sampling)
            generator.refuse(known)
            self._drawn[key] = known
        return known

    def _changed(self, until: Until, most: int, sampling: Mapping[str, Any]) -> Sampling:
        """The search's own sampling with what one call changes."""
        changes = {name: value for name, value in sampling.items() if value is not None}
        if until == "end" and not changes and most == self.sampling.max_tokens:
            return self.sampling
        changed = self.sampling.with_changes({**changes, "max_tokens": most})
        if until == "step":
            changed = replace(changed, stop=(*changed.stop, *self.step.stop))
        return changed

    def _model(self, name: str) -> Generator:
        if not name:
            return self.generator
        if name not in self.models:
            raise RecipeError(
                unknown("model", name, self.models) + " Name it in the recipe's models"
            )
        return self.models[name]

    def _take(self, node: Node) -> int:
        """The next free slot below `node`."""
        if node.sample.finish == "probe":
            raise ValueError(
                f"the probe at {node.path} stands beside the path and nothing follows it; go on "
                "from its parent"
            )
        slot = self._slots.get(node)
        if slot is None:
            slot = 1 + max((child.slot for child in node.children), default=-1)
        self._slots[node] = slot + 1
        return slot

    # ------------------------------------------------------------------------------ judging

    async def score(self, *nodes: Node, verifier: str | None = None) -> None:
        """Have the verifier score each node once; one whose scoring fails has no score.

        `verifier` names one of `verifiers` instead of the first.
        """
        judge = self._verifier(verifier)
        todo = [node for node in nodes if judge.name not in node.scores]
        if len(todo) == 1:
            await self._score_once(todo[0], judge)
        elif todo:
            async with TaskGroup() as group:
                for node in todo:
                    group.create_task(self._score_once(node, judge))

    def reward(self, node: Node, verifier: str | None = None) -> float | None:
        """The one score of the path that ends in `node`, reduced as its verifier says.

        None if its last node has none, or nobody has scored it.
        """
        judge = self.verifier if verifier is None else self._verifier(verifier)
        if judge is None or not node.scores.get(judge.name):
            return None
        return reduce_steps(node.step_scores(judge.name), judge.reduction)

    def answer(self, node: Node) -> Answer | None:
        """The answer the path ends in; a path cut off has one only if it is marked as such."""
        return self.problem.answer(node)

    async def answers(self, *nodes: Node) -> list[Answer | None]:
        """The answers of `nodes`, those that mean the same under one key: that of the first.

        The only way to ask whether answers agree. The first is the earliest that was ever asked
        for here.
        """
        found = [self.answer(node) for node in nodes]
        return await self._meanings.of(found)

    async def agreed(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates, those whose answers mean the same under one key; see `answers`."""
        found = await self._meanings.of([c.answer for c in candidates])
        return _answering(candidates, found)

    def agreed_so_far(self) -> list[Candidate]:
        """What has been emitted, answers under the keys that are known by now."""
        found = self.candidates
        keys = self._meanings.known([c.answer for c in found])
        return _answering(found, keys)

    async def likelihood(
        self, node: Node, *, question: bool = True, model: str = ""
    ) -> FloatArray | None:
        """The log-probabilities [tokens] of the node's own tokens after what stands before them.

        Without `question`, how likely they are if the model does not know what was asked. The
        generator reads the text anew: a call, and prompt tokens, but no generated ones, so the
        budget is not touched. None if it fails. Raises RecipeError if the generator cannot.
        """
        generator = self._model(model)
        if not generator.reads:
            raise RecipeError(
                "this searcher asks the generator how likely given text is, and "
                f"{type(generator).__name__} cannot tell; use generator nano, vllm or openai"
            )
        return await self._caller.read(generator, self.problem, node, question, model)

    def _verifier(self, name: str | None) -> Verifier:
        if name is not None:
            if name not in self.verifiers:
                raise RecipeError(
                    unknown("verifier", name, self.verifiers) + " Name it in the recipe's verifiers"
                )
            return self.verifiers[name]
        if self.verifier is None:
            raise RecipeError(
                "this searcher scores its nodes and there is no verifier; name one, for example "
                "verifier: logprob (`reasoning list verifiers` shows all)"
            )
        return self.verifier

    async def _score_once(self, node: Node, verifier: Verifier) -> None:
        key = (node, verifier.name)
        while pending := self._scoring.get(key):
            await asyncio.wait([pending])
            if verifier.name in node.scores:
                return
        done = self._scoring[key] = asyncio.get_running_loop().create_future()
        try:
            steps = await self._caller.score(verifier, self.problem, node, self.budget)
            if steps is not None:
                node.scores[verifier.name] = steps
                if self.watch is not None:
                    self.watch(Scored(node.path, verifier.name, steps))
        finally:
            del self._scoring[key]
            done.set_result(None)

    # ---------------------------------------------------------------------- putting forward

    def emit(self, node: Node, weight: float = 1.0, *, rank: float = 0.0) -> None:
        """Put `node` forward as a candidate; emitting it again replaces its weight and rank.

        The root says nothing and is none: whoever got no further puts nothing forward.
        """
        if node is self.root:
            return
        if (finish := node.sample.finish) in (*LOST, "probe"):
            what = "a probe" if finish == "probe" else f"a call that {_ENDED[finish]}"
            raise ValueError(f"{what} is no candidate, and so stands at {node.path}")
        if not (math.isfinite(weight) and math.isfinite(rank)):
            raise ValueError(f"a weight and a rank are finite numbers, not {weight} and {rank}")
        self._emitted[node] = None
        node.emitted = (float(weight), float(rank))
        if self.watch is not None:
            self.watch(Emitted(node.path, _text(self.answer(node)), float(weight)))

    def tell(self, event: Callable[[], Event]) -> None:
        """Tell whoever watches; what nobody watches is not even made."""
        if self.watch is not None:
            self.watch(event())

    def emit_best_partial(self, value: Callable[[Node], float | None]) -> None:
        """If there is no candidate: the best path so far, so that nobody leaves with empty hands.

        Best is one that has an answer, then by `value`, then the deeper one.
        """
        if best := self.best_partial(value):
            self.emit(best)

    def best_partial(self, value: Callable[[Node], float | None]) -> Node | None:
        """Among all paths, unless one is a candidate: has an answer, is worth most, is deepest."""
        if self._emitted:
            return None
        nodes = [n for n in self.tree if n.sample.finish not in (*LOST, "probe")]

        def rank(node: Node) -> tuple[bool, float, int]:
            worth = value(node)
            return self.answer(node) is not None, -math.inf if worth is None else worth, node.depth

        # The tree's order is that of paths, and max() keeps the first of equals.
        return max(nodes, key=rank, default=None)

    # --------------------------------------------------------------------------- sharing out

    def share(self, part: float) -> Search:
        """A view of this search that may spend only so much: a fraction of the tokens that are
        left (a float up to 1), or so many tokens (an int). What it leaves was never taken."""
        left = self.budget.tokens.remaining
        if isinstance(part, float):
            if not 0 < part <= 1:
                raise ValueError(
                    f"a share is a fraction in (0, 1] or a number of tokens, not {part}"
                )
            tokens = None if left is None else int(left * part)
        else:
            tokens = part
        return self._view(Budget(tokens, within=self.budget))

    async def split(self, n: int, work: Callable[[Search, int], Awaitable[T]]) -> list[T]:
        """Run `work(view, i)` for `n` views of this search that share out its budget.

        Equal parts at first; what one leaves when its work ends goes to the others, in a way that
        does not depend on who is how fast.
        """
        parts = Parts(self.budget, n)
        self._caller.strand()  # all start now, whoever of them runs first

        async def one(i: int) -> T:
            self._caller.strand()
            try:
                return await work(self._view(parts.budgets[i]), i)
            finally:
                parts.close(parts.budgets[i])

        async with TaskGroup() as group:
            tasks = [group.create_task(one(i)) for i in range(n)]
        return [task.result() for task in tasks]

    def stage(self, given: Sequence[Candidate]) -> Search:
        """A view for the next stage of a chain, which starts from the candidates `given`."""
        view = self._view(self.budget)
        view.given, view._emitted = list(given), {}
        return view

    def _view(self, budget: Budget) -> Search:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, budget=budget)
        return view

    # --------------------------------------------------------------------------------- tools

    async def call(self, tool: Callable[..., Any], *args: Any, at: Node | None = None) -> Any:
        """What `tool(*args)` returns: text, numbers, lists or mappings; None if it fails.

        A coroutine function is awaited, any other runs in a thread. The call belongs to the place
        `at` (the root): a run that is resumed does not make it again. Time that is virtual stands
        still meanwhile; a deadline in real time goes on.
        """
        name = getattr(tool, "__qualname__", type(tool).__name__)
        place = (self.root if at is None else at).path
        self.usage.tool_calls += 1

        async def make() -> Any:
            with self.clock.hold() if isinstance(self.clock, VirtualClock) else nullcontext():
                if inspect.iscoroutinefunction(tool):
                    return await tool(*args)
                return await asyncio.to_thread(tool, *args)

        try:
            return await self.generator.remembered(self.problem, (place, name, args), make)
        except Exception as raised:
            self._caller.note(f"tool {name} at {place}", self._caller.own_failure(raised))
            return None


class Searcher(Protocol):
    """A strategy: emits candidates, returns when it has done what it can."""

    async def __call__(self, search: Search, /, **params: Any) -> None: ...


_BREATH = 4096
"""Calls that are made ready in a row."""

_ENDED = {"failed": "failed", "cancelled": "was cancelled"}

_OLD = {
    "extend": "search.draw(node)",
    "expand": "search.draws(node, n)",
    "slots": "given by search.draw itself",
}
"""What searchers were once written with, and what took its place."""


def _turn(turn: Turn | str | None) -> Turn | None:
    return Turn.user(turn) if isinstance(turn, str) else turn


def _answering(
    candidates: Sequence[Candidate], answers: Sequence[Answer | None]
) -> list[Candidate]:
    """The candidates with these answers."""
    pairs = zip(candidates, answers, strict=True)
    return [c if a is c.answer else replace(c, answer=a) for c, a in pairs]


def _text(answer: Answer | None) -> str | None:
    return None if answer is None else answer.text
