"""The page and its stream, on Starlette; the same for `reasoning watch` and `reasoning serve`.

Nothing of what is shown is in the page: it comes as JSON in server-sent events, and is put in as
text. A policy with the hashes of the one script and the one style forbids all others.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib import resources

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from reasoning.live.feed import EVERY
from reasoning.live.following import Follower, Source
from reasoning.runs import names
from reasoning.serve.desk import Desk
from reasoning.serve.refusal import RequestError

MOST_PAGES = 16
"""Streams at once; further pages are told to come again."""
KEEP_ALIVE = 15.0
_MOST_KEY = 1000
"""Characters that the name of a search may have."""

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Site:
    """`ending` tells that the server is about to end, so that no stream keeps it."""

    def __init__(
        self, source: Source, desk: Desk, ending: Callable[[], bool] = lambda: False
    ) -> None:
        self.source = source
        self.desk = desk
        self.ending = ending
        self.pages = 0

    def routes(self) -> list[Route]:
        return [Route("/", self.page), Route("/events", self.events)]

    async def page(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        text, policy = page()
        return HTMLResponse(text, headers={**HEADERS, "Content-Security-Policy": policy})

    async def events(self, request: Request) -> Response:
        """What there is to see, then what changes; `search` names the one whose tree is wanted."""
        if (refused := self._refused(request)) is not None:
            return refused
        if self.pages >= MOST_PAGES:
            return Response(
                f"{MOST_PAGES} pages look on already; close one", 429, {"Retry-After": "5"}
            )
        chosen = request.query_params.get("search", "")[:_MOST_KEY] or None
        return _Stream(self, Follower(self.source, chosen, time.monotonic))

    async def news(self, follower: Follower) -> AsyncIterator[bytes]:
        """The blocks of one stream."""
        quiet = 0.0
        while not self.ending():
            if news := await follower.news():
                yield b"data: " + json.dumps(news).encode() + b"\n\n"
                quiet = 0.0
            elif quiet >= KEEP_ALIVE:
                yield b": waiting\n\n"
                quiet = 0.0
            await asyncio.sleep(EVERY)
            quiet += EVERY

    def _refused(self, request: Request) -> Response | None:
        """What a stranger is told. A browser sends the key as the password of anybody."""
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Response("this page is for itself alone", 403, HEADERS)
        if self.desk.settings.keys and self._knows_a_key(request):
            return None
        try:
            self.desk.admit(request)
        except RequestError as error:
            ask = {"WWW-Authenticate": 'Basic realm="key as password"'}
            more = ask if error.status == 401 else {}
            return Response(error.message, error.status, {**HEADERS, **more})
        return None

    def _knows_a_key(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        password = b""
        if scheme.lower() == "basic":
            with suppress(ValueError):
                password = base64.b64decode(given, validate=True).partition(b":")[2]
        known = [hmac.compare_digest(password, k.encode()) for k in self.desk.settings.keys]
        return any(known)


class _Stream(StreamingResponse):
    """Takes a seat as long as somebody listens."""

    def __init__(self, site: Site, follower: Follower) -> None:
        super().__init__(site.news(follower), media_type="text/event-stream", headers=HEADERS)
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._site.pages += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._site.pages -= 1


@cache
def page() -> tuple[str, str]:
    """The page, and the policy that it is sent with. It has the report's look and its drawings."""
    ours, report = resources.files("reasoning.live"), names.HERE / "evals" / "report"
    style, script = (
        "".join(part.read_text(encoding="utf-8") for part in parts)
        for parts in (
            (report / "report.css", ours / "page.css"),
            (report / "draw.js", ours / "page.js"),
        )
    )
    frame = (ours / "page.html").read_text(encoding="utf-8")
    text = frame.replace("@@style@@", style).replace("@@script@@", script)
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text, policy


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"
