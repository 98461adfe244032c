"""The server of `reasoning watch`: the page about a run's folder, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette

from reasoning.errors import EngineError
from reasoning.live import view
from reasoning.live.site import Site
from reasoning.live.watching import Watching
from reasoning.serve.desk import Desk, Settings
from reasoning.serve.running import Server, checked


class Looking:
    """What is served of one run's folder. Raises StoreError where there is none."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.site = Site(Watching(folder), Desk(settings))

    def app(self) -> Starlette:
        return Starlette(routes=self.site.routes())


def serve(folder: Path, settings: Settings, ready: Callable[[int], None]) -> None:
    """Show a run until told to end; `ready` is told the port.

    Raises StoreError, RecipeError for settings by which anybody could look, and EngineError where
    nothing can listen.
    """
    looking = Looking(folder, checked(settings))
    view.interval(0, 1)  # which loads what is slow to load, before anybody waits
    server = Server(looking, lambda: ready(server.port))
    try:
        asyncio.run(server.serve())
    except SystemExit:
        raise EngineError(
            f"nothing can listen at {settings.host}:{settings.port}; is something else there? "
            "--port 0 takes a free one"
        ) from None
