"""Answers that come as server-sent events, as long as somebody listens."""

from __future__ import annotations

import asyncio
from asyncio import Queue, TaskGroup
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reasoning.events import Event
from reasoning.http.reading import dumps
from reasoning.serve.asking import Asked
from reasoning.serve.choice import Choice
from reasoning.serve.client import HOLD
from reasoning.serve.desk import Seats
from reasoning.serve.refusal import ending, refusal
from reasoning.serve.searching import LeftError, seed, while_there
from reasoning.serve.wording import Said

Blocks: TypeAlias = Sequence[bytes]

_HEAD_WAITS = 0.05
"""Seconds for which the head of a stream may wait for its first event: both leave together."""
WAITING = b": waiting\n\n"
"""A comment, which no client reads: a sign of life."""


class Scribe(Protocol):
    """Writes a stream in the words of one endpoint."""

    def opening(self) -> Blocks: ...

    def more(self, i: int, thought: str, text: str) -> Blocks:
        """A piece of choice `i`."""

    def closing(self, i: int, said: Said) -> Blocks:
        """The end of choice `i`."""

    def ending(self, found: Sequence[Said]) -> Blocks:
        """The end of all, which went well."""


def block(data: Any, event: str = "") -> bytes:
    """One event of a stream."""
    head = b"event: %b\n" % event.encode() if event else b""
    return b"%bdata: %b\n\n" % (head, dumps(data))


class Stream(Response):
    """Runs the searches of a request while it is sent; a client that leaves ends them.

    seats: the room that they take, given back at the end.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        asked: Asked,
        scribe: Scribe,
        seats: Seats,
        keep_alive: float,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._asked = asked
        self._scribe = scribe
        self._seats = seats
        self._keep_alive = keep_alive
        self._status: int | None = None
        """What it came to, once all is told."""
        self.answered: Callable[[int], object] = int
        """Is told how it has ended, as the status of a whole answer would tell."""
        self._events: Queue[tuple[int, Event | Exception] | None] = Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(k, v) for k, v in self.raw_headers if k != b"content-length"]
        if hold := scope.get("extensions", {}).get(HOLD):
            hold(_HEAD_WAITS)
        broken_off = ending().status
        try:
            with self._seats:
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await while_there(scope, receive, self._searched(send))
        except* (LeftError, OSError):
            broken_off = 499
        except* asyncio.CancelledError:
            pass  # nothing else runs in this task, and all has been said
        self.answered(self._status or broken_off)

    async def _searched(self, send: Send) -> None:
        async with TaskGroup() as group:
            tasks = [group.create_task(self._search(i)) for i in range(self._asked.n)]
            try:
                await self._write(send)
            finally:
                for task in tasks:
                    task.cancel()

    async def _write(self, send: Send) -> None:
        async def say(blocks: Blocks, *, more: bool = True) -> None:
            body = b"".join(blocks)
            if body or not more:
                await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            await self._tell(say)
        except asyncio.CancelledError:  # the server ends; a client that has left hears nothing
            await say([block(ending().body, "error")], more=False)
            raise
        except Exception as error:
            told = refusal(error)
            self._status = told.status
            await say([block(told.body, "error")], more=False)

    async def _search(self, i: int) -> None:
        """Put the events of choice `i` where they are told from, an error last of all."""
        asked, put = self._asked, self._events.put_nowait
        try:
            if asked.direct is not None:
                await asked.direct.tell(asked.problem, seed(asked, i), lambda e: put((i, e)))
                return
            stream = asked.offer.session.stream(
                asked.problem, pieces=asked.offer.single, seed=seed(asked, i), **asked.changes
            )
            async with aclosing(stream) as events:
                async for event in events:
                    put((i, event))
        except Exception as error:
            put((i, error))

    async def _next(self) -> tuple[int, Event | Exception] | None:
        """What has happened next; None if nothing does for a while."""
        if not self._events.empty():
            return self._events.get_nowait()
        loop = asyncio.get_running_loop()
        quiet = loop.call_later(self._keep_alive, self._events.put_nowait, None)
        try:
            return await self._events.get()
        finally:
            quiet.cancel()

    async def _tell(self, say: Any) -> None:
        """Tell what can be told until every choice has ended. Raises what one of them raised.

        What has happened by now is told at once.
        """
        choices = [Choice(self._asked) for _ in range(self._asked.n)]
        blocks, left = [*self._scribe.opening()], len(choices)
        heard = await self._next()
        await asyncio.sleep(0)  # an answer that comes at once leaves at once, in one piece
        while left:
            if heard is None:
                blocks.append(WAITING)
            try:
                while heard is not None:
                    blocks += self._told(choices, *heard)
                    left -= choices[heard[0]].said is not None
                    heard = None if self._events.empty() else self._events.get_nowait()
            except BaseException:
                await say(blocks)
                raise
            if left:
                await say(blocks)
                blocks, heard = [], await self._next()
        found = [choice.said for choice in choices if choice.said is not None]
        await say([*blocks, *self._scribe.ending(found)], more=False)
        self._status = 200

    def _told(self, choices: Sequence[Choice], i: int, event: Event | Exception) -> Blocks:
        """What is told of an event of choice `i`. Raises it where it is an error."""
        if isinstance(event, Exception):
            raise event
        thought, text = choices[i].hear(event)
        more = self._scribe.more(i, thought, text) if thought or text else ()
        said = choices[i].said
        return [*more, *(self._scribe.closing(i, said) if said is not None else ())]
