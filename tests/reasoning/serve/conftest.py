"""Servers for tests: in process, or listening on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from reasoning.backends.scripted import Scripted
from reasoning.errors import cause
from reasoning.runs.recipe import parse
from reasoning.serve.app import Service
from reasoning.serve.desk import Settings
from reasoning.serve.offers import Offers
from reasoning.serve.running import Server

TEXTS = ["It is \\boxed{7}", "It is \\boxed{8}", "So it is \\boxed{7}"]

Served = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
Listening = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Offers]:
    """Makes the offers of a recipe whose generator is what is given."""

    def make(generator: Any = None, **recipe: Any) -> Offers:
        made = Scripted(TEXTS) if generator is None else generator
        monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: made)
        data: dict[str, Any] = {
            "task": "nano",
            "generator": "scripted",
            "strategies": [{"searcher": "self_consistency", "n": 3}, {"searcher": "sample"}],
        }
        return Offers(parse({**data, **recipe}))

    return make


@pytest.fixture
def served(offers: Callable[..., Offers]) -> Served:
    """A client of a server in this process; `settings` are its own, the rest is the recipe's."""

    @asynccontextmanager
    async def serve(
        generator: Any = None, settings: Settings | None = None, **recipe: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        found = offers(generator, **recipe)
        service = Service(found, settings or Settings())
        transport = httpx.ASGITransport(service.app())
        async with (
            found.open(),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            yield client

    return serve


@pytest.fixture
def listening(offers: Callable[..., Offers]) -> Listening:
    """The URL of a server that listens on loopback, for clients that are real."""

    @asynccontextmanager
    async def listen(
        generator: Any = None, settings: Settings | None = None, **recipe: Any
    ) -> AsyncIterator[str]:
        found = offers(generator, **recipe)
        up = asyncio.Event()
        service = Service(found, settings or Settings(port=0))
        server = Server(service, up.set)
        try:
            async with found.open(), asyncio.TaskGroup() as group:
                running = group.create_task(server.serve())
                await up.wait()
                try:
                    yield f"http://127.0.0.1:{server.port}/v1"
                finally:
                    server.should_exit = True
                    await running
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        assert service.desk.searches == 0

    return listen
