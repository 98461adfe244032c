"""The endpoints, on Starlette."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from reasoning.http.reading import dumps
from reasoning.live.site import Site
from reasoning.serve import chat, completions, responses
from reasoning.serve.asking import Asked, House
from reasoning.serve.chat import ChatStream
from reasoning.serve.client import HOLD
from reasoning.serve.completions import CompletionStream
from reasoning.serve.desk import Desk, Settings
from reasoning.serve.looking import Looking
from reasoning.serve.offers import Offers
from reasoning.serve.refusal import RequestError, ending, refusal
from reasoning.serve.responses import ResponseStream
from reasoning.serve.searching import LeftError, searched, while_there
from reasoning.serve.streams import Scribe, Stream
from reasoning.serve.wording import Said

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

_LEFT = 499
_JSON = (b"content-type", b"application/json")
_NO_HEADERS: Mapping[str, str] = {}


class App(Starlette):
    """Starlette, but that what is posted to `straight` goes there at once.

    It raises nothing, and so needs none of the layers that catch what is raised.
    """

    def __init__(self, straight: Mapping[str, Endpoint], **app: Any) -> None:
        super().__init__(**app)
        self._straight = straight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._straight.get(scope.get("path", ""))
        if answer is None or scope["type"] != "http" or scope["method"] != "POST":
            await super().__call__(scope, receive, send)
            return
        response = await answer(Request(scope, receive, send))
        await response(scope, receive, send)


class Service:
    """The endpoints of one server."""

    def __init__(self, offers: Offers, settings: Settings) -> None:
        self.offers = offers
        self.settings = settings
        self.desk = Desk(settings)
        self._random = Random()
        self.house = House(
            offers,
            settings.most_n,
            settings.seconds,
            lambda: self._random.getrandbits(53),
            self.desk.clock,
        )
        self.started = int(time.time())
        self.site = Site(Looking(offers.floor, self.desk, list(offers.by_name)), self.desk)

    def app(self) -> Starlette:
        """What a server runs; the offers are open meanwhile."""
        asked = {
            f"{root}/{path}": self.answering(path, endpoint)
            for path, endpoint in (
                ("chat/completions", self.chat),
                ("completions", self.completions),
                ("responses", self.responses),
            )
            for root in ("/v1", "")
        }
        routes = [Route(path, answer, methods=["POST"]) for path, answer in asked.items()]
        for root in ("/v1", ""):
            routes += [
                Route(f"{root}/models", self.answering("models", self.models)),
                Route(f"{root}/models/{{name:path}}", self.answering("models", self.model)),
            ]
        routes += [
            Route("/health", self.health),
            Route("/metrics", self.answering("metrics", self.metrics)),
            *self.site.routes(),
        ]
        handlers = {404: _unknown, 405: _unknown}
        return App(asked, routes=routes, exception_handlers=handlers)

    def answering(self, name: str, endpoint: Endpoint) -> Endpoint:
        """The endpoint for those who are let in; whatever it raises is told as OpenAI does."""

        async def answer(request: Request) -> Response:
            try:
                self.desk.admit(request)
                self.offers.join(request.scope["headers"])  # which is in a context of its own
                response = await endpoint(request)
            except LeftError:
                response = Response(status_code=_LEFT)  # which nobody reads
            except asyncio.CancelledError:  # the server ends, and has waited for long enough
                response = _refused(ending())
            except Exception as error:
                response = _refused(refusal(error))
            if isinstance(response, Stream):
                response.answered = partial(self.desk.metrics.answered, name)
            else:
                self.desk.metrics.answered(name, response.status_code)
            return response

        return answer

    async def health(self, request: Request) -> Response:
        """Whether it listens; for whoever asks."""
        del request
        return Json({"status": "ok", "searches": self.desk.searches})

    async def metrics(self, request: Request) -> Response:
        del request
        return PlainTextResponse(
            self.desk.metrics.text(self.offers.floor, self.desk.searches),
            media_type="text/plain; version=0.0.4",
        )

    async def models(self, request: Request) -> Response:
        del request
        found = [self._model(name) for name in self.offers.by_name]
        return Json({"object": "list", "data": found})

    async def model(self, request: Request) -> Response:
        return Json(self._model(self.offers.find(request.path_params["name"]).name))

    def _model(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self.started, "owned_by": "reasoning"}

    async def chat(self, request: Request) -> Response:
        asked = self.house.read(await self.desk.body(request), self.desk.deadline(request))
        name = self._name("chatcmpl-")
        if asked.stream:
            return self._stream(asked, ChatStream(asked, name))
        return Json(chat.whole(asked, await self._found(request, asked), name))

    async def completions(self, request: Request) -> Response:
        body = completions.as_chat(await self.desk.body(request))
        asked = self.house.read(body, self.desk.deadline(request))
        name = self._name("cmpl-")
        if asked.stream:
            return self._stream(asked, CompletionStream(asked, name))
        return Json(completions.whole(asked, await self._found(request, asked), name))

    async def responses(self, request: Request) -> Response:
        with responses.own_words():
            body = responses.as_chat(await self.desk.body(request))
            asked = self.house.read(body, self.desk.deadline(request))
            name = self._name("resp_")
            if asked.stream:
                return self._stream(asked, ResponseStream(asked, name))
            (said,) = await self._found(request, asked)
            return Json(responses.whole(asked, said, name))

    def _name(self, kind: str) -> str:
        """What an answer is called. It is no secret, and nothing is found by it."""
        return f"{kind}{self._random.getrandbits(96):024x}"

    def _stream(self, asked: Asked, scribe: Scribe) -> Response:
        """The searches of a request, told while they run. Raises RequestError without room."""
        seats = self.desk.seats(asked.n)
        return Stream(asked, scribe, seats, self.settings.keep_alive)

    async def _found(self, request: Request, asked: Asked) -> list[Said]:
        """All choices, told at once."""
        with self.desk.seats(asked.n):
            return await while_there(request.scope, request.receive, searched(asked))


class Json(Response):
    """A JSON body; there is no text that fails to be sent."""

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        self.status_code, self.background = status_code, None
        self.body = dumps(content)
        self.raw_headers = [(b"content-length", b"%d" % len(self.body)), _JSON]
        for name, value in headers.items():
            self.raw_headers.append((name.lower().encode(), value.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if hold := scope.get("extensions", {}).get(HOLD):
            hold(0.0)
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


async def _unknown(request: Request, error: Exception) -> Response:
    what = f"{request.method} {request.url.path[:200]}"
    allowed = (getattr(error, "headers", None) or {}).get("Allow")
    if allowed is None:
        refused = RequestError(
            f"{what} is no endpoint of this server", status=404, code="not_found"
        )
        return _refused(refused)
    refused = RequestError(f"{what}: ask with {allowed}", status=405, code="method_not_allowed")
    return Json(refused.body, refused.status, {**refused.headers, "Allow": allowed})


def _refused(refused: RequestError) -> Response:
    return Json(refused.body, status_code=refused.status, headers=refused.headers)
