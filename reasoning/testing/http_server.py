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
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from reasoning.testing.http_model import END, Writing, chat, decode, encode, logprob

Fault: TypeAlias = Literal[
    "reset", "hang", "429", "429 wait", "500", "half", "stop short", "not json", "not an answer",
    "short logprobs", "wrong count", "drip", "hold",
]  # fmt: skip
"""reset: the connection is closed unanswered; hang: no answer; 429 wait: with Retry-After: 1;
half: the connection breaks in the middle; stop short: the stream ends properly, without its end;
not json, not an answer: what the names say; short logprobs: half of them; wrong count: usage says
more than there is; drip: a byte at a time; hold: three tokens, then silence."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """What the server can do. `strict` refuses fields it does not know."""

    completions: bool = True
    chat: bool = True
    tokens: bool = True
    extended: bool = True
    continues: bool = True
    logprobs: bool = True
    strict: bool = False


VLLM = Flavour()
TEXT = Flavour(chat=False, tokens=False, extended=False, strict=True)
CHAT = Flavour(completions=False, tokens=False)
PLAIN_CHAT = Flavour(completions=False, tokens=False, extended=False, continues=False, strict=True)

_PLAIN_FIELDS = {
    "model",
    "prompt",
    "messages",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
}
_PLAIN_FIELDS |= {"stream", "stream_options", "logprobs", "top_logprobs", "echo"}


@dataclass(slots=True)
class Call:
    """One request for a sample. `number` counts them from 0; questions of a probe are none."""

    number: int
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)


class _BrokenError(Exception):
    """The connection is to be closed at once."""


class HttpServer:
    """The server; `start` it on a running event loop, or use `serving`.

    fault(call) names what goes wrong with a call, or None. `counts` has connections, requests,
    calls, tokens (generated), cancelled (calls whose client left). `seen` holds all calls.
    """

    def __init__(self, flavour: Flavour = VLLM, *, key: str | None = None) -> None:
        self.flavour = flavour
        self.key = key
        self.fault: Callable[[Call], Fault | None] = lambda _: None
        self.counts: Counter[str] = Counter()
        self.seen: list[Call] = []
        self.port = 0
        self._changed = threading.Condition()
        self._server: asyncio.Server | None = None
        self._open: set[_Client] = set()
        self._prefixes: set[tuple[int, ...]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        """Listen; on the same port again after `stop`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Client(self), "127.0.0.1", self.port, backlog=2048
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die: refuse connections and break the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in list(self._open):
            client.abort()
        await asyncio.sleep(0)  # the loop's next turn tells them that they are gone
        tasks = [client.task for client in self._open if client.task is not None]
        if tasks:
            await asyncio.wait(tasks)

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
        """Status, content type and body. Raises _BrokenError."""
        self.count("requests")
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            given = headers.get("authorization", "none")
            return _error(401, f"Incorrect API key provided: {given}")
        if path == "/v1/models" and method == "GET":
            return _json({"data": [{"id": "toy", "max_model_len": 100_000}]})
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            return _error(400, "the request is not JSON")
        if path in ("/tokenize", "/detokenize") and self.flavour.tokens:
            return _json(_tokenizer(path, body))
        known = {"/v1/completions": self.flavour.completions}
        known["/v1/chat/completions"] = self.flavour.chat
        if not known.get(path):
            return _error(404, "Not Found")
        return await self._complete(path, headers, body)

    async def _complete(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> tuple[int, str, AsyncIterator[bytes] | bytes]:
        unknown = set(body) - _PLAIN_FIELDS
        if self.flavour.strict and unknown:
            return _error(400, f"Unrecognized request arguments: {sorted(unknown)}")
        if body["model"] != "toy":
            return _error(404, f"The model {body['model']!r} does not exist.")
        fault: Fault | None = None
        if body.get("temperature") != 0 or "seed" in body:
            call = Call(self.counts["calls"], path, body, headers)
            self.seen.append(call)
            self.count("calls")
            fault = self.fault(call)
        match fault:
            case "reset":
                raise _BrokenError
            case "hang":
                self.count("hanging")
                await asyncio.get_running_loop().create_future()
            case "429":
                return _error(429, "too many requests")
            case "429 wait":
                return 429, "application/json\r\nretry-after: 1", b"{}"
            case "500":
                return _error(500, "something went wrong")
            case "not json":
                return 200, "application/json", b"<html>Bad gateway</html>"
            case "not an answer":
                return _json({"object": "surprise"})
        try:
            answer = _Answer(self, body, fault)
        except ValueError as error:
            return _error(400, str(error))
        if body.get("stream"):
            stream = answer.stream()
            return 200, "text/event-stream", _drip(stream) if fault == "drip" else stream
        return _json(answer.whole())

    def cached(self, prompt: tuple[int, ...]) -> int:
        """Tokens of `prompt` that some earlier call has left in a cache of 8-token blocks."""
        blocks = [prompt[:end] for end in range(8, len(prompt), 8)]
        hits = sum(block in self._prefixes for block in blocks)
        self._prefixes.update(blocks)
        return hits * 8


class _Answer:
    """One answer, in a stream or whole, with whatever is wrong with it."""

    def __init__(self, server: HttpServer, body: Mapping[str, Any], fault: Fault | None) -> None:
        self.server = server
        self.flavour = server.flavour
        self.body = body
        self.fault = fault
        self.chat = "messages" in body
        prompt = _prompt(body, self.flavour)
        self.prompt = prompt if isinstance(prompt, list) else encode(prompt)
        self.cached = server.cached(tuple(self.prompt))
        limit = body.get("max_tokens", 16)
        if limit < 1:
            raise ValueError(f"max_tokens must be at least 1, got {limit}")
        stop = body.get("stop") or ()
        self.writing = Writing(
            self.prompt,
            limit,
            temperature=body.get("temperature", 1.0),
            seed=body.get("seed", 0),
            stop=[stop] if isinstance(stop, str) else stop,
            keep_stop=self.flavour.extended and bool(body.get("include_stop_str_in_output")),
        )

    def whole(self) -> dict[str, Any]:
        for _ in self.writing:
            self.server.count("tokens")
        text = self.writing.shown
        choice = self._choice(text, 0, len(self.writing.tokens), "message")
        if self.body.get("echo"):
            choice["text"] = decode(self.prompt) + text
            choice["logprobs"] = self._logprobs(0, echo=True)
        if self.flavour.extended and "prompt_logprobs" in self.body:
            choice["prompt_logprobs"] = [
                {str(t): {"logprob": logprob(self.prompt[:i], t)}} if i else None
                for i, t in enumerate(self.prompt)
            ]
        return {"choices": [choice], "usage": self._usage()}

    async def stream(self) -> AsyncIterator[bytes]:
        writing, sent = self.writing, 0
        lag = 0 if writing.keep_stop else max((len(s) - 1 for s in writing.stop), default=0)
        half = max(1, int(self.body.get("max_tokens", 16)) // 8)
        for number, _ in enumerate(writing, start=1):
            self.server.count("tokens")
            end = len(writing.shown) - (0 if writing.finish else lag)
            piece, sent = writing.shown[sent:end], max(sent, end)
            yield _event({"choices": [self._choice(piece, number - 1, number, "delta")]})
            if self.fault in ("half", "stop short") and number == half and not writing.finish:
                if self.fault == "half":
                    raise _BrokenError
                return
            if self.fault == "hold" and number == 3:
                self.server.count("holding")
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(0)
        if (self.body.get("stream_options") or {}).get("include_usage"):
            yield _event({"choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _choice(self, text: str, begin: int, end: int, kind: str) -> dict[str, Any]:
        writing = self.writing
        choice: dict[str, Any] = {"index": 0, "finish_reason": writing.finish}
        if self.chat:
            choice[kind] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        if self.flavour.extended:
            choice["stop_reason"] = writing.stopped_by
        if self.flavour.tokens and self.body.get("return_token_ids"):
            choice["token_ids"] = writing.tokens[begin:end]
        if self.flavour.logprobs and self._wants_logprobs:
            choice["logprobs"] = self._logprobs(begin, end)
        return choice

    def _logprobs(self, begin: int, end: int | None = None, echo: bool = False) -> Any:
        produced = self.writing.tokens
        tokens = [*self.prompt, *produced] if echo else produced
        context = [] if echo else self.prompt
        places = list(range(begin, len(tokens) if end is None else end))
        if self.fault == "short logprobs":
            places = places[: len(places) // 2]
        values = [
            logprob([*context, *tokens[:i]], tokens[i]) if context or i else None for i in places
        ]
        named = self.body.get("return_tokens_as_token_ids") and self.flavour.extended
        strings = [f"token_id:{tokens[i]}" if named else decode([tokens[i]]) for i in places]
        most = int(self.body.get("top_logprobs" if self.chat else "logprobs") or 0)
        tops = [self._tops([*context, *tokens[:i]], most) for i in places]
        if self.chat:
            rows = zip(strings, values, tops, strict=True)
            return {
                "content": [
                    {
                        "token": string,
                        "logprob": value,
                        "top_logprobs": [{"token": decode([t]), "logprob": p} for t, p in top],
                    }
                    for string, value, top in rows
                ]
            }
        offsets = [len(decode(tokens[:i])) for i in places]
        return {
            "tokens": strings,
            "token_logprobs": values,
            "text_offset": offsets,
            "top_logprobs": [
                {f"token_id:{t}" if named else f"{decode([t])} {t}": p for t, p in top}
                for top in tops
            ],
        }

    @property
    def _wants_logprobs(self) -> bool:
        asked = self.body.get("logprobs")  # a number, 0 too, or in chats a truth value
        return asked is not None and asked is not False

    def _tops(self, before: list[int], most: int) -> list[tuple[int, float]]:
        options = [(token, logprob(before, token)) for token in range(256, END + 1)]
        return sorted(options, key=lambda option: -option[1])[:most]

    def _usage(self) -> dict[str, Any]:
        generated = len(self.writing.tokens) + 5 * (self.fault == "wrong count")
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": generated,
            "total_tokens": len(self.prompt) + generated,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


def _prompt(body: Mapping[str, Any], flavour: Flavour) -> str | list[int]:
    """The prompt's tokens, or its text."""
    if "messages" in body:
        wants = flavour.continues and bool(body.get("continue_final_message"))
        return chat(body["messages"], open_ended=wants)
    prompt = body["prompt"]
    if isinstance(prompt, list) and not flavour.tokens:
        raise ValueError("prompt must be a string")
    return prompt  # type: ignore[no-any-return]


def _tokenizer(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    if path == "/detokenize":
        return {"prompt": decode(body["tokens"])}
    text = chat(body["messages"], open_ended=False) if "messages" in body else body["prompt"]
    return {"tokens": encode(text)}


async def _drip(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Byte after byte."""
    async for piece in stream:
        for i in range(len(piece)):
            yield piece[i : i + 1]
            await asyncio.sleep(0)


def _json(value: Any) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps(value).encode()


def _error(status: int, message: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"error": {"message": message}}).encode()


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


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
            if not isinstance(error, _BrokenError):
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
