"""Solve problems: the Python API."""

from __future__ import annotations

import asyncio
import functools
import threading
from asyncio import TaskGroup
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self, TypeAlias, TypeVar

from reasoning.aggregators import Aggregator
from reasoning.answers.plain import Plain
from reasoning.chain import Chain
from reasoning.clock import Clock, RealClock
from reasoning.errors import (
    CallError,
    EngineError,
    RecipeError,
    TransientError,
    UserError,
    cause,
)
from reasoning.events import Done, Event
from reasoning.generate import Generator, Sampling
from reasoning.plugin import Plugin
from reasoning.problem import Message, Problem
from reasoning.result import Result, failed, run_search
from reasoning.runs import names
from reasoning.runs.stages import chained
from reasoning.search import Retry, Search, Searcher, Step
from reasoning.settings import (
    Limits,
    made,
    named,
    priced,
    refuse_names,
    refuse_unpriced,
    sampling_for,
)
from reasoning.usage import Price
from reasoning.verify import Verifier

T = TypeVar("T")
Named: TypeAlias = str | Mapping[str, Any]
"""A name, or a mapping with `name` and options, as in a recipe."""


Question: TypeAlias = str | Problem | Sequence[Message | Mapping[str, str]]
"""A text, a conversation that ends with a question, or a problem with everything about it."""


class Session:
    """A strategy with the engines it runs on, kept for many questions.

    >>> async with Session(generator="nano", searcher="self_consistency", n=8) as session:
    ...     result = await session.solve("What is 12 * 7 + 5?")

    `params` go to the searcher; names and objects may be mixed freely. What a session builds from
    names it starts when it is entered and closes when it is left; objects are started, too, and
    left open, as they are their owner's. Raises RecipeError for a name or parameter that does not
    exist, EngineError if an engine does not start.
    """

    def __init__(
        self,
        *,
        generator: Named | Generator,
        models: Mapping[str, Named | Generator] | None = None,
        verifier: Named | Verifier | None = None,
        verifiers: Mapping[str, Named | Verifier] | None = None,
        prices: Mapping[str, Price | Mapping[str, Any]] | None = None,
        searcher: str | Searcher | None = None,
        stages: Chain | Sequence[Any] = (),
        aggregator: Named | Aggregator | None = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        step: Step | Mapping[str, Any] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        seed: int = 0,
        **params: Any,
    ) -> None:
        self._strategy = (searcher, stages, aggregator, params)
        try:
            chained(searcher, stages, aggregator, params)  # complains before anything is built
        except RecipeError as error:
            raise RecipeError(f"{error}{_belongs(params)}") from None
        self._built: list[Plugin] = []
        self.generator: Generator = self._made("generator", generator)
        self.models = {k: self._made("generator", v) for k, v in named("models", models).items()}
        refuse_names(self.models)
        self.verifier: Verifier | None = None
        if verifier is not None:
            self.verifier = self._made("verifier", verifier)
        judges = named("verifiers", verifiers)
        self.verifiers = {k: self._made("verifier", v) for k, v in judges.items()}
        self.prices = priced(prices or {}, self.models)
        self.sampling = sampling_for(self.generator, sampling)
        self.step = made(Step, step, Step())
        self.limits = made(Limits, limits, Limits())
        self.seed = _whole("seed", seed)
        self._left = False
        self._stack: AsyncExitStack | None = None

    def _made(self, kind: names.Kind, given: Any) -> Any:
        part = names.build(kind, given)
        if part is not given:
            self._built.append(part)
        return part

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise RecipeError(
                "this session has been entered already; leave it first, or solve with it as it "
                "is: one session serves any number of questions at once"
            )
        if self._left and self._built:
            raise RecipeError(
                "this session has been left, which has closed the engines that it built; make "
                "another one"
            )
        async with AsyncExitStack() as stack:
            for part in self._built:
                stack.push_async_callback(part.aclose)
            judges = (self.verifier, *self.verifiers.values())
            expect(
                (self.generator, *self.models.values()),
                chained(*self._strategy[:3], self._strategy[3]),
                self.sampling,
                self.limits,
            )
            for part in filter(None, (self.generator, *self.models.values(), *judges)):
                await start(part)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        stack, self._stack, self._left = self._stack, None, True
        if stack is not None:
            await stack.aclose()

    async def solve(self, question: Question, **changes: Any) -> Result:
        """Solve one question.

        `changes` are for this one alone: `searcher` or `stages` with their parameters, parameters
        of the session's own searcher, `aggregator`, `sampling`, `limits`, `seed`. Raises what the
        strategy raises, UserError and EngineError among it.
        """
        search, strategy, seconds = self._search(question, changes)
        return await run_search(search, strategy, seconds)

    def check(self, question: Question, **changes: Any) -> None:
        """Raise what `solve` would raise before anything is spent."""
        self._search(question, changes)

    async def solve_many(
        self, questions: Sequence[Question], *, concurrency: int = 32, **changes: Any
    ) -> list[Result]:
        """Solve questions side by side, `concurrency` at a time; the results in their order.

        A search that fails is a result whose stop reason is "failed", whose `failures` say why.
        """
        if _whole("concurrency", concurrency) < 1:
            raise RecipeError(f"concurrency is {concurrency}; 1 search or more runs at a time")
        if isinstance(questions, str | bytes) or not isinstance(questions, Sequence):
            raise RecipeError(f"questions are a list, not {questions!r:.80}; solve takes one")
        results: dict[int, Result] = {}
        waiting = iter(enumerate(questions))

        async def work() -> None:
            for i, question in waiting:
                search, strategy, seconds = self._search(question, changes, f"question-{i}")
                try:
                    results[i] = await run_search(search, strategy, seconds)
                except (UserError, EngineError):
                    raise
                except Exception as error:
                    results[i] = failed(search, error)

        try:
            async with TaskGroup() as group:
                for _ in range(min(concurrency, len(questions))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        return [results[i] for i in range(len(questions))]

    async def stream(
        self, question: Question, *, pieces: bool = False, **changes: Any
    ) -> AsyncGenerator[Event, None]:
        """Tell what happens while a question is solved, see `reasoning.events`; `Done` is last.

        With `pieces` the text of calls under way is told as it comes, where it does.
        Whoever stops listening (`break`, then `aclose`) ends the search and all its calls.
        """
        search, strategy, seconds = self._search(question, changes)
        events: asyncio.Queue[Event] = asyncio.Queue()
        search.watch, search.pieces = events.put_nowait, pieces

        async def work() -> None:
            events.put_nowait(Done(await run_search(search, strategy, seconds)))

        try:
            async with TaskGroup() as group:
                task = group.create_task(work())
                while not isinstance(event := await events.get(), Done):
                    yield event
                yield event
                await task
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors

    def _search(
        self, question: Question, changes: Mapping[str, Any], name: str = "question"
    ) -> tuple[Search, Chain, float | None]:
        """A search that is ready to run, its strategy, and its deadline."""
        if self._stack is None:
            raise RecipeError(
                "this session has not been entered, or has been left: use it within "
                "`async with reasoning.Session(...) as session:`"
            )
        problem = asked(question, name)
        options = dict(changes)
        sampling = made(Sampling, options.pop("sampling", None), self.sampling)
        limits = made(Limits, options.pop("limits", None), self.limits)
        seed = _whole("seed", options.pop("seed", self.seed))
        if limits.money is not None:
            refuse_unpriced("limits.money", self.prices, self.models)
        strategy = self._chain(options)
        search = Search(
            problem,
            self.generator,
            models=self.models,
            verifier=self.verifier,
            verifiers=self.verifiers,
            sampling=sampling,
            step=self.step,
            budget=limits.budget(),
            prices=self.prices,
            seed=seed,
            clock=self.generator.clock(problem),
        )
        strategy.refuse(search)
        self.generator.refuse(sampling)
        for judge in filter(None, (self.verifier, *self.verifiers.values())):
            judge.preflight(sampling, [problem])
        return search, strategy, limits.seconds

    def _chain(self, options: dict[str, Any]) -> Chain:
        """The session's strategy, or one of other stages or with other parameters."""
        searcher, stages, aggregator, params = self._strategy
        aggregator = options.pop("aggregator", aggregator)
        if "searcher" in options or "stages" in options:
            searcher, stages, params = options.pop("searcher", None), options.pop("stages", ()), {}
        return chained(searcher, stages, aggregator, {**params, **options})


def _belongs(params: Mapping[str, Any]) -> str:
    """Where something belongs that was given as a searcher's parameter and is of the session."""
    for key in params:
        if key in names.parameters(Sampling):
            return f" {key} is how texts are drawn: sampling={{{key!r}: ...}}"
        if f"{key}s" in names.parameters(Session):
            return f" Was {key}s= meant?"
    return ""


def _whole(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecipeError(f"{name} is {value!r}; it is a whole number")
    return value


async def solve_async(question: Question, **settings: Any) -> Result:
    """Solve one question: a session of one call, which takes what `Session` takes.

    >>> await solve_async("What is 12 * 7 + 5?", searcher="self_consistency", n=8, generator="nano")

    `stages` in place of a searcher chain several: names, or pairs of a name and its parameters.

    >>> await solve_async("...", stages=[("self_consistency", {"n": 16}), "majority"],
    ...                   generator="nano")

    Raises RecipeError for a name or parameter that does not exist, EngineError if the engine dies.
    """
    if settings.get("generator") is None:
        raise RecipeError(
            "solve needs a generator, the model that is asked: solve(question, "
            'generator="nano", searcher="self_consistency", n=8)'
        )
    async with Session(**settings) as session:
        return await session.solve(question)


def asked(question: Question, name: str = "question") -> Problem:
    """The problem that a question states. Raises RecipeError for a conversation that is none.

    What a chat model says to a plain question is found however it says it.
    """
    if isinstance(question, Problem):
        return question
    if isinstance(question, str):
        if not question.strip():
            raise RecipeError(f"the question is empty: {question!r}; ask something")
        return Problem(name, question, answers=Plain())
    try:
        messages = tuple(m if isinstance(m, Message) else Message.from_json(m) for m in question)
        return Problem(name, messages[-1].content, messages=messages, answers=Plain())
    except (TypeError, ValueError, LookupError) as error:
        raise RecipeError(
            "a conversation is a list of messages, {role: system, user or assistant, content: "
            f"text}}, of which the last is the user's: {error}"
        ) from error


@functools.wraps(solve_async, assigned=("__doc__",))
def solve(*args: Any, **kwargs: Any) -> Result:
    return run_sync(solve_async(*args, **kwargs))


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop already runs (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[T | BaseException] = []

    def elsewhere() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=elsewhere, name="reasoning-solve")
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def expect(
    models: Iterable[Generator], strategy: Chain, sampling: Sampling, limits: Limits
) -> None:
    """Tell models what a strategy will ask of them, so that they find out at their start what they
    have to know for it."""
    # An answer that a limit cuts is taken up again.
    steps = bool(strategy.says("STEPS")) or (limits.tokens, limits.money) != (None, None)
    for model in models:
        model.expect(sampling, steps=steps)


async def start(plugin: Plugin, clock: Clock | None = None) -> None:
    """Let a generator or verifier get ready, if it has to, before the time of any search runs.

    What may pass is tried again. Raises EngineError if it does not get ready.
    """
    retry = Retry()
    for attempt in range(retry.attempts):
        try:
            await plugin.astart()
            return
        except CallError as error:
            if not isinstance(error, TransientError) or attempt + 1 == retry.attempts:
                raise EngineError(f"no start: {error}") from error
            wait = retry.delay(attempt, error.retry_after, 0.0)
        await (clock or RealClock()).sleep(wait)
