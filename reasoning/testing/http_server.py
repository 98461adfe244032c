"""A real HTTP server that speaks OpenAI's protocol and misbehaves on demand.

    with serving() as server:                      # a thread of its own; closed at the end
        server.fault = lambda call: "half" if call.number % 3 == 0 else None
        generator = openai(base_url=server.url)

Its answers come from `reasoning.testing.http_model`: the same request, the same answer. Counters
tell what it saw, and `wait_until` waits for them without polling.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reasoning.backends.openai import asking
from reasoning.testing.http_answers import (
    CHAT,
    LLAMA,
    PLAIN_CHAT,
    TEXT,
    VLLM,
    Answer,
    BrokenError,
    Fault,
    Flavour,
    drip,
    tokenizer,
)
from reasoning.testing.http_model import decode

__all__ = [
    "CHAT",
    "LLAMA",
    "PLAIN_CHAT",
    "TEXT",
    "VLLM",
    "Call",
    "Fault",
    "Flavour",
    "HttpServer",
    "Served",
    "serving",
]

_PLAIN_FIELDS = {
    "model",
    "prompt",
    "messages",
    "max_tokens",
    "temperature",
    "seed",
    "stop",
}
_PLAIN_FIELDS |= {"stream", "stream_options", "logprobs", "top_logprobs", "echo"}


Said: TypeAlias = Mapping[str, Any] | list[Any] | tuple[int, str] | None
"""What a test has a server say; text among the events of a stream is sent as it is."""


@dataclass(slots=True)
class Call:
    """One request for a sample. `number` counts them from 0; questions of a probe are none."""

    number: int
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)


class HttpServer:
    """The server; `start` it on a running event loop, or use `serving`.

    fault(call) names what goes wrong with a call, or None. `answers(path, body)`, if set, is asked
    before the model: a mapping is answered as it is, a list as the events of a stream, a pair as
    the status and message of an error; None leaves it to the model. `counts` has connections,
    requests, calls, tokens (generated), cancelled (calls whose client left). `seen` are all calls.
    """

    def __init__(self, flavour: Flavour = VLLM, *, key: str | None = None) -> None:
        self.flavour = flavour
        self.key = key
        self.fault: Callable[[Call], Fault | None] = lambda _: None
        self.answers: Callable[[str, Mapping[str, Any]], Said] | None = None
        self.counts: Counter[str] = Counter()
        self.seen: list[Call] = []
        self.port = 0
        self._changed = threading.Condition()
        self._server: asyncio.Server | None = None
        self._kept: socket.socket | None = None
        self._open: set[_Client] = set()
        self._prefixes: set[tuple[int, ...]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        """Listen; on the same port again after `stop`."""
        loop = asyncio.get_running_loop()
        place: dict[str, Any] = {"host": "127.0.0.1", "port": self.port}
        if self._kept is not None:
            place, self._kept = {"sock": self._kept}, None
        self._server = await loop.create_server(lambda: _Client(self), backlog=2048, **place)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die: refuse connections and break the open ones. The port stays taken until `leave`."""
        if self._server is not None:
            (listening,) = self._server.sockets
            # asyncio forgets connections that it is about to make when a server closes.
            asyncio.get_running_loop().remove_reader(listening)
            for _ in range(5):
                await asyncio.sleep(0)
            last = listening.dup()
            self._server.close()
            self._server = None
            self._kept = _placed(last)
        for client in list(self._open):
            client.abort()
        await asyncio.sleep(0)  # the loop's next turn tells them that they are gone
        tasks = [client.task for client in self._open if client.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def leave(self) -> None:
        """Give the port back, after `stop`."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def count(self, name: str, more: int = 1) -> None:
        with self._changed:
            self.counts[name] += more
            self._changed.notify_all()

    def wait_until(self, true: Callable[[Counter[str]], bool], limit: float = 60.0) -> None:
        """Block until the counters are as wished. Raises AssertionError if they never are."""
        with self._changed:
            assert self._changed.wait_for(lambda: true(self.counts), limit), (
                f"not within {limit} s: {dict(self.counts)}"
            )

    # What is answered. An answer is a status, extra headers, and the pieces of a body.

    async def respond(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes
    ) -> tuple[int, str, AsyncIterator[bytes] | bytes]:
        """Status, content type and body. Raises BrokenError."""
        self.count("requests")
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            given = headers.get("authorization", "none")
            return _error(401, f"Incorrect API key provided: {given}")
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            return _error(400, "the request is not JSON")
        if self.answers is not None and (said := self.answers(path, body)) is not None:
            return _as_it_is(said)
        if path == "/v1/models" and method == "GET":
            return _json({"data": [{"id": "toy", "max_model_len": 100_000}]})
        if path in ("/tokenize", "/detokenize") and self.flavour.tokens:
            return _json(tokenizer(path, body))
        known = {"/v1/completions": self.flavour.completions}
        known["/v1/chat/completions"] = self.flavour.chat
        if not known.get(path):
            return _error(404, "Not Found")
        return await self._complete(path, headers, body)

    async def _complete(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> tuple[int, str, AsyncIterator[bytes] | bytes]:
        unknown = set(body) - _PLAIN_FIELDS - self.flavour.fields
        if self.flavour.strict and unknown:
            return _error(400, f"Unrecognized request arguments: {sorted(unknown)}")
        if body["model"] != "toy":
            return _error(404, f"The model {body['model']!r} does not exist.")
        fault: Fault | None = None
        if not _is_question(body):
            call = Call(self.counts["calls"], path, body, headers)
            self.seen.append(call)
            self.count("calls")
            fault = self.fault(call)
        match fault:
            case "reset":
                raise BrokenError
            case "hang":
                self.count("hanging")
                await asyncio.get_running_loop().create_future()
            case "429":
                return _error(429, "too many requests")
            case "429 wait":
                return 429, "application/json\r\nretry-after: 1", b"{}"
            case "500" | "502" | "503" | "529":
                return _error(int(fault), "something went wrong")
            case "not json":
                return 200, "application/json", b"<html>Bad gateway</html>"
            case "not an answer":
                return _json({"object": "surprise"})
        try:
            answer = Answer(self, body, fault)
        except ValueError as error:
            return _error(400, str(error))
        if body.get("stream"):
            stream = answer.stream()
            return 200, "text/event-stream", drip(stream) if fault == "drip" else stream
        if fault in ("half", "stop short", "hold"):
            return 200, "application/json", answer.half()
        return _json(answer.whole())

    def cached(self, prompt: tuple[int, ...]) -> int:
        """Tokens of `prompt` that some earlier call has left in a cache of 8-token blocks."""
        blocks = [prompt[:end] for end in range(8, len(prompt), 8)]
        hits = sum(block in self._prefixes for block in blocks)
        self._prefixes.update(blocks)
        return hits * 8


def _placed(listening: socket.socket) -> socket.socket:
    """A socket that takes the place of this one, whose port would be anybody's once it is closed,
    and refuses connections."""
    kept = socket.socket(listening.family, listening.type, listening.proto)
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    address = listening.getsockname()
    with suppress(OSError):
        # A process that is just being started has it, too, until it is another program.
        listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    kept.bind(address)
    return kept


def _is_question(body: Mapping[str, Any]) -> bool:
    """It is asked to find out what the server can do."""
    if "messages" in body:
        return bool(body["messages"][:1] == asking.MESSAGES)
    prompt = body["prompt"]
    text = prompt if isinstance(prompt, str) else decode(prompt)
    return text.startswith(asking.TEXT)


def _as_it_is(
    said: Mapping[str, Any] | list[Any] | tuple[int, str],
) -> tuple[int, str, AsyncIterator[bytes] | bytes]:
    if isinstance(said, tuple):
        return _error(*said)
    if isinstance(said, Mapping):
        return _json(said)

    async def events() -> AsyncIterator[bytes]:
        for event in said:
            text = event if isinstance(event, str) else json.dumps(event)
            yield f"data: {text}\n\n".encode()
            await asyncio.sleep(0)

    return 200, "text/event-stream", events()


def _json(value: Any) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps(value).encode()


def _error(status: int, message: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"error": {"message": message}}).encode()


class _Client(asyncio.Protocol):
    """One connection: requests one after another, each answered by a task that dies with it."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.data = b""
        self.task: asyncio.Task[None] | None = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.server._open.add(self)
        self.server.count("connections")

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self.task is not None:
            self.server.count("cancelled")
            self.task.cancel()
        else:
            self.server._open.discard(self)

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, separator, rest = self.data.partition(b"\r\n\r\n")
        if not separator or self.task is not None:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        self.data = rest[size:]
        method, path, _ = first.split(" ", 2)
        work = self._answer(method, path, headers, rest[:size])
        self.task = asyncio.get_running_loop().create_task(work)
        self.task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if self.transport.is_closing():
            self.server._open.discard(self)
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, BrokenError):
                asyncio.get_running_loop().call_exception_handler({"exception": error})
            self.abort()

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes
    ) -> None:
        status, kind, body = await self.server.respond(method, path, headers, data)
        begin = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\n".encode()
        if isinstance(body, bytes):
            self.transport.write(begin + b"content-length: %d\r\n\r\n" % len(body) + body)
            return
        self.transport.write(begin + b"transfer-encoding: chunked\r\n\r\n")
        async for piece in body:
            self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.transport.write(b"0\r\n\r\n")


@contextmanager
def serving(flavour: Flavour = VLLM, *, key: str | None = None) -> Iterator[Served]:
    """A server in a thread of its own, stopped at the end."""
    server = Served(flavour, key=key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="http-server", daemon=True)
    thread.start()
    server.loop = loop
    try:
        server.up()
        yield server
    finally:
        with suppress(Exception):
            server.down()
        server.leave()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Served(HttpServer):
    """A server in another thread: `down` kills it, `up` brings it back on the same port."""

    loop: asyncio.AbstractEventLoop

    def up(self) -> None:
        asyncio.run_coroutine_threadsafe(self.start(), self.loop).result(60)

    def down(self) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self.loop).result(60)
