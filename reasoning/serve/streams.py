"""Answers that come as server-sent events, as long as somebody listens."""

from __future__ import annotations

import asyncio
from asyncio import Future, TaskGroup, TimerHandle
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
        self._status: int | None = None
        """What it came to, once all is told."""
        self.answered: Callable[[int], object] = int
        """Is told how it has ended, as the status of a whole answer would tell."""
        self._inbox = _Inbox(keep_alive)

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
                self._inbox.close()
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
        asked, put = self._asked, self._inbox.put
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

    async def _tell(self, say: Any) -> None:
        """Tell what can be told until every choice has ended. Raises what one of them raised.

        What has happened by now is told at once.
        """
        choices = [Choice(self._asked) for _ in range(self._asked.n)]
        blocks, left = [*self._scribe.opening()], len(choices)
        await self._inbox.wait()
        await asyncio.sleep(0)  # an answer that comes at once leaves at once, in one piece
        while left:
            happened = self._inbox.take()
            if not happened:
                blocks.append(WAITING)
            try:
                for i, event in happened:
                    blocks += self._told(choices, i, event)
                    left -= choices[i].said is not None
            except BaseException:
                await say(blocks)
                raise
            if left:
                await say(blocks)
                blocks = []
                await self._inbox.wait()
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


class _Inbox:
    """What has happened in the searches of a stream and has not been told."""

    def __init__(self, quiet: float) -> None:
        self._happened: list[tuple[int, Event | Exception]] = []
        self._waiter: Future[None] | None = None
        self._quiet = quiet
        self._since = 0.0
        self._alarm: TimerHandle | None = None

    def put(self, event: tuple[int, Event | Exception]) -> None:
        self._happened.append(event)
        self._wake()

    def take(self) -> list[tuple[int, Event | Exception]]:
        happened, self._happened = self._happened, []
        return happened

    async def wait(self) -> None:
        """Until something has happened, or nothing has for `quiet` seconds."""
        if self._happened:
            return
        loop = asyncio.get_running_loop()
        self._waiter, self._since = loop.create_future(), loop.time()
        if self._alarm is None:  # one for all waits: most are short
            self._alarm = loop.call_later(self._quiet, self._look)
        await self._waiter

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._since + self._quiet - loop.time()
        if left <= 0:
            self._wake()
        self._alarm = loop.call_later(left if left > 0 else self._quiet, self._look)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
