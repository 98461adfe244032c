"""A server that listens until it is told to end, and then lets what is running end."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from reasoning import garbage
from reasoning.clock import PatientClock
from reasoning.errors import EngineError, RecipeError
from reasoning.live.site import Site
from reasoning.serve.app import Service
from reasoning.serve.client import Client
from reasoning.serve.desk import Settings
from reasoning.serve.offers import Offers


def checked(settings: Settings) -> Settings:
    """The same. Raises RecipeError for a server that anybody could use."""
    if not settings.local and not settings.keys:
        raise RecipeError(
            f"host {settings.host} can be reached by others, and nobody would be asked for a key; "
            "put one in REASONING_SERVE_KEYS, or serve on 127.0.0.1"
        )
    if any(len(key) < 8 or not key.isascii() for key in settings.keys):
        raise RecipeError("a key in REASONING_SERVE_KEYS has fewer than 8 ASCII characters")
    return settings


class Served(Protocol):
    """What a server runs."""

    site: Site

    @property
    def settings(self) -> Settings: ...

    def app(self) -> ASGIApp: ...


class Server(uvicorn.Server):
    """uvicorn's server, which ends well when it is told to: nobody is killed by the signal."""

    def __init__(self, service: Served, ready: Callable[[], None] | None = None) -> None:
        settings = service.settings
        config = uvicorn.Config(
            service.app(),
            host=settings.host,
            port=settings.port,
            http=type("Client", (Client,), {"seconds": settings.reading, "clock": PatientClock()}),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # nobody asks where a client says that it is
            timeout_graceful_shutdown=max(1, round(settings.drain)),
        )
        super().__init__(config)
        self._ready = ready
        service.site.ending = lambda: self.should_exit  # no page that looks on keeps it

    @property
    def port(self) -> int:
        """Where it listens, once it does."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A first signal lets what is running end, a second one ends it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        numbers = [
            n
            for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(n) is not signal.SIG_IGN
        ]
        for number in numbers:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def give_up(self) -> None:
        """End what has not ended; uvicorn has cancelled it, unless it was told to end twice."""
        state: Any = self.server_state  # the connections are of our own kind
        for client in list(state.connections):
            client.give_up()
        if self.force_exit:
            for task in state.tasks:
                task.cancel()
        if state.tasks:
            await asyncio.wait(state.tasks)

    def _end(self) -> None:
        self.force_exit, self.should_exit = self.should_exit, True


async def serve(
    offers: Offers, settings: Settings, ready: Callable[[int], None] | None = None
) -> None:
    """Serve until told to end; `ready` is told the port once clients may come.

    Raises RecipeError for settings that are none, EngineError where it cannot start.
    """
    service = Service(offers, checked(settings))
    server = Server(service, lambda: ready(server.port) if ready else None)
    async with offers.open():
        try:
            with _told_here():
                await server.serve()
            await server.give_up()  # before what they ask is closed
        except SystemExit:
            raise EngineError(
                f"nothing can listen at {settings.host}:{settings.port}; is something else there? "
                "--port names another"
            ) from None


@contextmanager
def _told_here() -> Iterator[None]:
    """uvicorn does not log why it cannot listen, meanwhile: that is said in full."""
    log = logging.getLogger("uvicorn.error")

    def other(record: logging.LogRecord) -> bool:
        return not isinstance(record.msg, OSError)

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)


def run(offers: Offers, settings: Settings, ready: Callable[[int], None] | None = None) -> None:
    """`serve`, for those who have no event loop."""
    with garbage.rarely():
        asyncio.run(serve(offers, settings, ready))
