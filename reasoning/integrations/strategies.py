"""A strategy by the settings that other tools can state, and a session for it in their threads."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar
from weakref import WeakSet

from reasoning.answers import Answer
from reasoning.answers.kind import Answers
from reasoning.errors import RecipeError, unknown
from reasoning.problem import Message, Problem
from reasoning.runs import names
from reasoning.runs.consent import needs
from reasoning.runs.editing import assign, with_sets
from reasoning.runs.recipe import Recipe, Strategy, load, located, parse, shipped, strategies
from reasoning.session import Session

T = TypeVar("T")


def chosen(
    recipe: str | None = None, strategy: str | None = None, trust: bool = False, **settings: Any
) -> Strategy:
    """One strategy: of a recipe, or of settings as `generator=nano, searcher=best_of_n, n=8`.

    `settings` are those of a recipe, with dots that lead inwards (`limits.tokens`), and without a
    recipe the parameters of the searcher. A recipe that would import code, or send keys, needs
    `trust`. Raises RecipeError.
    """
    if recipe is None:
        found = strategies(_made(settings))
    else:
        changes = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        found = strategies(_loaded(recipe, changes, trust))
    if strategy is not None:
        found = [s for s in found if s.name == strategy] or _nobody(strategy, found)
    if len(found) != 1:
        told = ", ".join(s.name for s in found)
        raise RecipeError(f"say which of its strategies, strategy=NAME: {told}")
    return found[0]


def _nobody(name: str, found: Sequence[Strategy]) -> list[Strategy]:
    raise RecipeError(unknown("strategy", name, [s.name for s in found]))


def _made(settings: Mapping[str, Any]) -> Recipe:
    if not {"searcher", "stages"} & settings.keys() or "generator" not in settings:
        raise RecipeError(
            "name a recipe and its strategy (recipe=quickstart, strategy=best_of_n-n=4), or say "
            "generator=nano, searcher=best_of_n, n=8, verifier=nano_prm"
        )
    entry: dict[str, Any] = {}
    data: dict[str, Any] = {"task": "jsonl", "strategies": [entry]}
    for key, value in settings.items():
        ours = key.partition(".")[0] in Recipe.model_fields
        assign(data if ours else entry, key, value, key)
    return parse(with_sets(data, ()))


def _loaded(source: str, changes: Sequence[str], trust: bool) -> Recipe:
    recipe = load(source, changes)
    if not trust and not shipped(located(source)):
        asked = [need.what for need in needs(recipe, os.environ)]
        if asked:
            raise RecipeError(
                f"the recipe {source} needs your consent to {'; '.join(asked)}. Read it, then say "
                "trust=true"
            )
    return recipe


def session(strategy: Strategy, **changes: Any) -> Session:
    """A session for the strategy; `changes` take the place of its settings."""
    recipe = strategy.recipe
    models: dict[str, Any] = dict(recipe.generators)
    settings: dict[str, Any] = {
        "generator": models.pop(""),
        "models": models,
        "verifier": recipe.verifier,
        "verifiers": recipe.verifiers,
        "prices": recipe.priced,
        "stages": strategy.run,
        "sampling": recipe.sampling,
        "step": recipe.step,
        "limits": recipe.limits,
        "seed": recipe.seed,
    }
    return Session(**{**settings, **changes})


class Aside:
    """A session that is open in an event loop of its own thread, for whoever has another or none.

    It opens when it is first used. `close` it: when the program ends it is only tried, because by
    then threads that closing may need are gone.
    """

    open: ClassVar[WeakSet[Aside]] = WeakSet()
    """Those that are open."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._opening = threading.Lock()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="reasoning", daemon=True)
        self._thread.start()
        atexit.register(self._at_the_end)
        Aside.open.add(self)
        return loop

    @cached_property
    def session(self) -> Session:
        """Open. Raises what opening it raises."""
        with self._opening:
            made = self._make()
            self._do(made.__aenter__()).result()
            return made

    def _do(self, work: Coroutine[Any, Any, T]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """What `work(session)` returns; interrupted, it is cancelled, and all that it has begun."""
        doing = self._do(work(self.session))
        try:
            found: T = doing.result()
        except BaseException:
            doing.cancel()
            raise
        return found

    async def wait(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """`run` for those who have an event loop, which goes on meanwhile."""
        opened = await asyncio.to_thread(lambda: self.session)
        found: T = await asyncio.wrap_future(self._do(work(opened)))
        return found

    def close(self) -> None:
        """Close the session, if it was ever open. It may be used again."""
        if (made := self.__dict__.pop("session", None)) is not None:
            self._do(made.__aexit__(None, None, None)).result()
        if (loop := self.__dict__.get("_loop")) is not None:
            self._do(loop.shutdown_default_executor()).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()
            del self._loop
            atexit.unregister(self._at_the_end)
            Aside.open.discard(self)

    def _at_the_end(self) -> None:
        with suppress(Exception):
            self.close()


# ---------------------------------------------------------------------------------- answers


def cut(text: str, until: Sequence[str]) -> str:
    """`text` before the first of the strings."""
    return text[: min((at for s in until if (at := text.find(s)) >= 0), default=len(text))]


@dataclass(frozen=True)
class Until(Answers):
    """Answers of another kind, where a text that has come to one of the strings is finished."""

    kind: Answers
    until: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("votes", "same_grade"):
            object.__setattr__(self, name, getattr(self.kind, name))

    @property
    def graded(self) -> bool:
        return self.kind.graded

    def find(self, text: str, finished: bool) -> Answer | None:
        said = cut(text, self.until)
        return self.kind.find(said, finished or said != text)

    async def same(self, a: Answer, b: Answer) -> bool:
        return await self.kind.same(a, b)

    async def grade(self, answer: Answer | None) -> bool | None:
        return await self.kind.grade(answer)


def problem(
    name: str, messages: Sequence[Message], answers: str = "plain", until: Sequence[str] = ()
) -> Problem:
    """What another tool asks: a conversation, and the kind of its answers."""
    kind: Answers = names.bind_answers(answers)(None, {})
    asked = tuple(messages)
    return Problem(name, asked[-1].content, messages=asked, answers=Until(kind, tuple(until)))
