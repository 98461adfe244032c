"""Small questions to a server, to find out what it can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from reasoning.backends.openai import native
from reasoning.backends.openai.answer import THINK, Answer
from reasoning.backends.openai.request import Abilities, names
from reasoning.errors import CallError, EngineError, GenerationError
from reasoning.http.connection import Reply
from reasoning.http.pool import Pool
from reasoning.http.reading import count, readable

T = TypeVar("T")

TEXT = "1, 2, 3, 4,"
MESSAGES = [{"role": "user", "content": "Count from 1 to 9."}]
OPTIONAL = ("temperature", "seed", "stream_options")
"""Fields that a question can do without."""
_COLD = 0.01
"""The temperature of questions where 0 is refused."""
_SHORT = 16
_LONG = 64
"""Tokens of an answer; more where they include thoughts that nobody gets to see."""


class Questions:
    """What is asked of one server.

    marks: what stands around thoughts. refusal: its last no. refused: those of `OPTIONAL` that it
    does not take; they are left out from then on.
    """

    def __init__(
        self,
        pool: Pool,
        model: str,
        extra: Mapping[str, Any],
        marks: tuple[str, str] = THINK,
    ) -> None:
        self.pool = pool
        self.model = model
        self.marks = marks
        self._common = {"model": model, "temperature": 0, **extra}
        self.refusal = "nothing was asked"
        self.refused: set[str] = set()

    async def whole(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer in one piece; None if the server refuses. Raises as the pool does."""
        found = await self._asked(body, lambda full: self.pool.post(path, in_words_of(path, full)))
        found = native.whole(found)
        return found if isinstance(found, dict) else None

    async def choice(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Its first choice."""
        choices = ((await self.whole(path, body)) or {}).get("choices") or [None]
        return choices[0] if isinstance(choices[0], dict) else None

    async def answer(
        self, path: str, body: Mapping[str, Any], *, streams: bool = True, **how: Any
    ) -> Answer | None:
        """The answer as it is read in a run; None if the server refuses. `how` is `Answer`'s."""

        async def ask(full: Mapping[str, Any]) -> Answer:
            answer, reply = Answer(**how), Reply()
            ended = (lambda: answer.ended(reply)) if streams else None
            asked = in_words_of(path, full)
            answer.read(await self.pool.exchange(path, asked, reply, ended=ended))
            return answer

        stream = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
        return await self._asked({**body, **stream}, ask)

    async def said(self, able: Abilities, fields: Mapping[str, Any]) -> str:
        """What a short answer says that is asked for with these fields, thoughts and all.

        Raises as the pool does, also if the server refuses.
        """
        path = path_of(able)
        full = in_words_of(path, self._full({**question(able), **fields}))
        answer = Answer()
        with readable():
            answer._take(await self.pool.post(path, full))
        return answer.said()

    async def tokens(self, body: Mapping[str, Any]) -> list[int] | None:
        """What /tokenize makes of it; None if there is none."""
        asked = {"model": self.model, **body}
        try:
            found = await self.pool.post("/tokenize", asked)
        except GenerationError:
            return None
        tokens = found.get("tokens") if isinstance(found, dict) else None
        return tokens if isinstance(tokens, list) else None

    async def about(self, path: str) -> Mapping[str, Any]:
        """What is told at a path of a server's own; nothing if it is not there."""
        try:
            found = await self.pool.get(path)
        except (CallError, EngineError):
            return {}
        return found if isinstance(found, dict) else {}

    async def _asked(
        self, body: Mapping[str, Any], ask: Callable[[Mapping[str, Any]], Awaitable[T]]
    ) -> T | None:
        while True:
            full = self._full(body)
            try:
                return await ask(full)
            except GenerationError as error:
                self.refusal = str(error)
                named = {name for name in OPTIONAL if name in full and names(self.refusal, name)}
                if "temperature" in body:  # it is asked about
                    named.discard("temperature")
                if not named:
                    return None
                if "temperature" in named and self._common["temperature"] == 0:
                    self._common["temperature"] = _COLD
                    named.discard("temperature")
                self.refused |= named

    def _full(self, body: Mapping[str, Any]) -> dict[str, Any]:
        full = {**self._common, **body}
        return {name: value for name, value in full.items() if name not in self.refused}


def path_of(able: Abilities) -> str:
    if able.native:
        return native.PATH
    return "chat/completions" if able.mode == "chat" else "completions"


def in_words_of(path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request to /completions as what stands at `path` wants it."""
    return native.request(body) if path == native.PATH else body


def question(able: Abilities, most: int | None = None) -> dict[str, Any]:
    """A short question, by the names that the server has for things.

    `most` tokens are asked for, unless thoughts that nobody sees may be among them.
    """
    short = able.limit == "max_tokens"
    asked = {"messages": MESSAGES} if able.mode == "chat" else {"prompt": TEXT}
    return {**asked, able.limit: (most or _SHORT) if short else _LONG}


def prompt_tokens(answer: Answer | None) -> int | None:
    """As the server counts them; None if it does not."""
    return None if answer is None else count(answer.usage.get("prompt_tokens"))
