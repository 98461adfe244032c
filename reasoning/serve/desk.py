"""Who is let in, and how many at once; what has happened, in numbers."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.types import Receive

from reasoning.clock import Clock, PatientClock
from reasoning.http.reading import loads
from reasoning.serve.metrics import Metrics
from reasoning.serve.refusal import RequestError

_PORT = re.compile(r":\d*\Z")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server behaves; times in seconds.

    keys: one of them is asked for, none if there are none.
    most_body: bytes of a request. most_searches: at once. most_n: choices of a request.
    seconds: for a search, besides the recipe's own limit. reading: until a request has come.
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
    clock: Clock = field(default_factory=PatientClock)
    searches: int = 0
    """Running now."""

    def admit(self, request: Request) -> None:
        """Raise RequestError for a stranger.

        Without keys whoever is on this machine may ask, and no page of a browser: what a page
        sends comes under another host's name, or is no JSON.
        """
        if not self.settings.keys:
            if self.settings.local and not _is_local(header(request, b"host")):
                raise RequestError(
                    "this server is for this machine alone", status=403, code="forbidden_host"
                )
            return
        scheme, _, given = header(request, b"authorization").partition(" ")
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
        kind = header(request, b"content-type").partition(";")[0].strip()
        if kind.lower() != "application/json":
            raise RequestError(
                f"the body is {kind or 'of no type'}; send it as application/json", status=415
            )
        data = await self._bytes(request.receive)
        try:
            found = loads(data)
            if _SURROGATE.search(data):
                json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise RequestError("the body has half of a surrogate pair, which is no text") from None
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the body is no JSON: {type(error).__name__}") from None
        if not isinstance(found, Mapping):
            raise RequestError("the body is not a JSON object")
        return found

    async def _bytes(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestError("the body has broken off", status=400)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.settings.most_body:
                raise RequestError(
                    f"the body has more than {self.settings.most_body:,} bytes", status=413
                )
            more = message.get("more_body", False)
        return b"".join(parts)

    def deadline(self, request: Request) -> float | None:
        """The seconds that the header X-Deadline-Seconds leaves. Raises RequestError."""
        stated = header(request, b"x-deadline-seconds")
        if not stated:
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

    def seats(self, n: int) -> Seats:
        """Take room for `n` searches. Raises RequestError where there is none now."""
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
        return Seats(self, n)


@dataclass(frozen=True, slots=True)
class Seats:
    """Room that is given back on leaving."""

    desk: Desk
    n: int

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.desk.searches -= self.n


@lru_cache
def _is_local(host: str) -> bool:
    return _PORT.sub("", host) in _LOCAL


def header(request: Request, name: bytes) -> str:
    """The first header of that name, in small letters; empty where there is none."""
    for known, value in request.scope["headers"]:
        if known == name:
            return str(value, "latin-1")
    return ""
