"""Who is let in, and how many at once; what has happened, in numbers."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request

from reasoning.serve.metrics import Metrics
from reasoning.serve.refusal import RequestError

_LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server behaves; times in seconds.

    keys: one of them is asked for, none if there are none.
    most_body: bytes of a request. most_searches: at once. most_n: choices of a request.
    seconds: for a search, besides the recipe's own limit. reading: until a body has come.
    keep_alive: between signs of life in a stream. drain: for what runs when the server ends.
    texts: whether the server's own page shows what clients and models have written.
    """

    host: str = "127.0.0.1"
    port: int = 8001
    keys: tuple[str, ...] = ()
    most_body: int = 4 << 20
    most_searches: int = 512
    most_n: int = 16
    seconds: float | None = 600.0
    reading: float = 30.0
    keep_alive: float = 15.0
    drain: float = 60.0
    texts: bool = False

    @property
    def local(self) -> bool:
        """Whether nobody else can reach it."""
        return self.host in _LOCAL


@dataclass(slots=True)
class Desk:
    """The door of a server."""

    settings: Settings
    metrics: Metrics = field(default_factory=Metrics)
    searches: int = 0
    """Running now."""

    def admit(self, request: Request) -> None:
        """Raise RequestError for a stranger.

        Without keys whoever is on this machine may ask, and no page of a browser: what a page
        sends comes under another host's name, or is no JSON.
        """
        if not self.settings.keys:
            host = re.sub(r":\d*\Z", "", request.headers.get("host", ""))
            if self.settings.local and host not in _LOCAL:
                raise RequestError(
                    "this server is for this machine alone", status=403, code="forbidden_host"
                )
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = [
            hmac.compare_digest(given.strip().encode(), k.encode()) for k in self.settings.keys
        ]
        if scheme.lower() != "bearer" or not any(known):
            raise RequestError(
                "the key is missing or wrong; send Authorization: Bearer KEY",
                status=401,
                code="invalid_api_key",
            )

    async def body(self, request: Request) -> Mapping[str, Any]:
        """The JSON object that a request brings. Raises RequestError."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind.lower() != "application/json":
            raise RequestError(
                f"the body is {kind or 'of no type'}; send it as application/json", status=415
            )
        try:
            async with asyncio.timeout(self.settings.reading):
                data = await self._bytes(request)
        except TimeoutError:
            raise RequestError("the body has not come in time", status=408) from None
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the body is no JSON: {type(error).__name__}") from None
        if not isinstance(found, Mapping):
            raise RequestError("the body is not a JSON object")
        return found

    async def _bytes(self, request: Request) -> bytes:
        most, data = self.settings.most_body, bytearray()
        try:
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise RequestError(f"the body has more than {most:,} bytes", status=413)
        except ClientDisconnect:
            raise RequestError("the body has broken off", status=400) from None
        return bytes(data)

    def deadline(self, request: Request) -> float | None:
        """The seconds that the header X-Deadline-Seconds leaves. Raises RequestError."""
        stated = request.headers.get("x-deadline-seconds")
        if stated is None:
            return None
        try:
            seconds = float(stated)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise RequestError(
                f"X-Deadline-Seconds is {stated[:40]!r}; it is a number of seconds above 0",
                param="X-Deadline-Seconds",
            )
        return seconds

    @contextmanager
    def seats(self, n: int) -> Iterator[None]:
        """Room for `n` searches. Raises RequestError where there is none now."""
        most = self.settings.most_searches
        if n > most:
            raise RequestError(f"n is {n}; this server runs {most} searches at once", param="n")
        if self.searches + n > most:
            raise RequestError(
                f"this server runs {most} searches at once, and they are running; try again",
                status=429,
                code="server_busy",
                retry_after=1,
            )
        self.searches += n
        try:
            yield
        finally:
            self.searches -= n
