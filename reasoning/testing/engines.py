"""Simulated engines: what vLLM does to time and cache, beneath the connections of a `Pool`.

    engines = {url: Engine() for url in urls}
    pool = Pool(urls, clock=LoopClock(), dialer=SimulatedDialer(engines))

on a `VirtualLoop`. Connections, requests, parsing, admission are the real ones; only bytes go to an
`Engine` instead of a socket. It decodes up to `batch` calls together, a token each in every step of
`base + each * calls` seconds, and others wait in its line. Prompts are computed at `prefill` tokens
a second, while decoding stands still, but for the blocks of 16 tokens that its cache holds. It is a
fluid model: steps are not counted out one by one.

What it says follows from the call's seed: the same call, the same tokens, whoever answers.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from reasoning.http.connection import Connection
from reasoning.http.dial import Dialer
from reasoning.http.replica import Replica
from reasoning.http.sources import Place, Source
from reasoning.testing.virtual_loop import LoopClock

Lengths = Callable[[int], int]
"""Tokens of an answer, by the call's seed."""


@dataclass(slots=True, eq=False)
class _Call:
    wire: Wire
    prompt: Sequence[int]
    ids: list[int]
    stop: str
    stream: bool
    begun: float = 0.0
    end: float = 0.0
    cached: int = 0
    over: bool = False


@dataclass(eq=False)
class Engine:
    """One engine. `speed` multiplies all of its rates. `cache` is in blocks of `block` tokens.

    With several `ranks` it says that it is so many, and counts in `by_rank` who was called.
    `lists` are the models that it lists, `meters` whether it has metrics.
    Counters: `calls` answered, `tokens` generated for them, `prompts` and `cached` tokens of their
    prompts, `dropped` calls that ended early; `work` is how many seconds it would have taken at a
    full batch, `requests` everything that was asked.
    """

    batch: int = 64
    base: float = 0.010
    each: float = 0.0001
    prefill: float = 20_000.0
    speed: float = 1.0
    ranks: int = 1
    block: int = 16
    cache: int = 100_000
    lists: Sequence[str] = ("m",)
    meters: bool = True
    lengths: Lengths = lambda seed: 24 + seed % 49
    calls: int = 0
    tokens: int = 0
    prompts: int = 0
    cached: int = 0
    dropped: int = 0
    work: float = 0.0
    requests: int = 0
    alive: bool = True
    by_rank: Counter[int | None] = field(default_factory=Counter)
    _wires: dict[Wire, None] = field(default_factory=dict)
    _heap: list[tuple[float, int, _Call]] = field(default_factory=list)
    _running: dict[_Call, None] = field(default_factory=dict)
    _waiting: deque[_Call] = field(default_factory=deque)
    _blocks: OrderedDict[int, None] = field(default_factory=OrderedDict)
    _at: float = 0.0
    _said: float = 0.0  # tokens that each call running since the beginning would have
    _stall: float = 0.0  # seconds of prompts that are still to be computed
    _count: int = 0
    _alarm: asyncio.TimerHandle | None = None

    def die(self) -> None:
        """Break every connection. What streams had said by then has reached the client."""
        self._advance()
        self.alive = False
        for wire in list(self._wires):
            if (call := wire.call) is not None and call in self._running and call.stream:
                some = call.ids[: max(0, int(self._said - call.begun))]
                wire.says(_HEAD % b"text/event-stream" + _chunk(_event(some, None)))
            wire.breaks()

    def answer(self, wire: Wire, path: str, body: Mapping[str, Any]) -> None:
        """What is asked at `path`."""
        self.requests += 1
        if path.endswith("/completions"):
            seed = int(body.get("seed") or 0)
            ids = [256 + (seed + 7919 * i) % 30_000 for i in range(self.lengths(seed))]
            ids = ids[: int(body["max_tokens"])]
            stop = (body.get("stop") or [""])[0]
            wire.call = call = _Call(wire, body["prompt"], ids, stop, bool(body.get("stream")))
            self._advance()
            self._waiting.append(call)
            self._go_on()
        elif path.endswith("/models"):
            wire.whole({"data": [{"id": model, "max_model_len": 100_000} for model in self.lists]})
        elif path.endswith("/tokenize"):
            text = json.dumps(body.get("messages") or body.get("prompt")).encode()
            wire.whole({"tokens": list(text)})
        elif path.endswith("/metrics") and self.meters:
            wire.whole(self._metrics())
        else:
            wire.says(b"HTTP/1.1 404 -\r\ncontent-length: 0\r\n\r\n")

    def _metrics(self) -> str:
        said = {"running": len(self._running), "waiting": len(self._waiting)}
        return "".join(
            f'vllm:num_requests_{what}{{engine="{rank}"}} {number // self.ranks}\n'
            for what, number in said.items()
            for rank in range(self.ranks)
        )

    def left(self, call: _Call) -> None:
        """Its client has closed the connection."""
        if not call.over:
            call.over = True
            self.dropped += 1
            self._advance()
            self._running.pop(call, None)
            self._go_on()

    # How time passes.

    def _step(self) -> float:
        return (self.base + self.each * len(self._running)) / self.speed

    def _advance(self) -> None:
        now = asyncio.get_running_loop().time()
        passed = now - self._at
        stalled = min(passed, self._stall)
        self._stall -= stalled
        if self._running:
            self._said += (passed - stalled) / self._step()
        self._at = now

    def _go_on(self) -> None:
        """End what is over, begin what has room, and wait for the next end."""
        while self._heap and (self._heap[0][2].over or self._heap[0][0] <= self._said + 1e-6):
            _, _, call = heappop(self._heap)
            if not call.over:
                self._end(call)
        while self._waiting and len(self._running) < self.batch:
            call = self._waiting.popleft()
            if not call.over:
                self._begin(call)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._heap:
            delay = self._stall + (self._heap[0][0] - self._said) * self._step()
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, delay), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._advance()
        self._go_on()

    def _begin(self, call: _Call) -> None:
        call.cached = min(
            self._keep(call.prompt), (len(call.prompt) - 1) // self.block * self.block
        )
        self._stall += (len(call.prompt) - call.cached) / self.prefill / self.speed
        call.begun = self._said
        call.end = self._said + len(call.ids)
        self._count += 1
        self._running[call] = None
        heappush(self._heap, (call.end, self._count, call))

    def _end(self, call: _Call) -> None:
        call.over = True
        del self._running[call]
        self._keep([*call.prompt, *call.ids])
        self.calls += 1
        self.tokens += len(call.ids)
        self.prompts += len(call.prompt)
        self.cached += call.cached
        full = (self.base + self.each * self.batch) / self.batch
        self.work += len(call.ids) * full + (len(call.prompt) - call.cached) / self.prefill
        call.wire.call = None
        call.wire.ends(call)

    def _keep(self, ids: Sequence[int]) -> int:
        """Have all whole blocks of `ids` in the cache; how many tokens were there before."""
        key, known, all_known, block = 0, 0, True, self.block
        for at in range(0, len(ids) - block + 1, block):
            key = hash((key, tuple(ids[at : at + block])))
            if key in self._blocks:
                self._blocks.move_to_end(key)
                known += all_known
            else:
                all_known = False
                self._blocks[key] = None
                if len(self._blocks) > self.cache:
                    self._blocks.popitem(last=False)
        return known * self.block


class Wire(asyncio.Transport):
    """What a connection writes to."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        super().__init__({"ssl_object": self})  # as with TLS, nobody reads from the socket itself
        self.call: _Call | None = None
        self._engine = engine
        self._connection = connection
        engine._wires[self] = None

    def write(self, data: Any) -> None:
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        if path.endswith("/completions"):
            rank = head.partition(b"x-data-parallel-rank: ")[2].split(b"\r", 1)[0]
            self._engine.by_rank[int(rank) if rank else None] += 1
        asked = json.loads(body) if body else {}
        # As over a socket, the answer comes in a later turn of the loop.
        asyncio.get_running_loop().call_soon(self._engine.answer, self, path, asked)

    def abort(self) -> None:
        self._engine._wires.pop(self, None)
        if (call := self.call) is not None:
            self.call = None
            self._engine.left(call)

    def breaks(self) -> None:
        self.abort()
        self._connection.connection_lost(None)

    def says(self, data: bytes) -> None:
        if self in self._engine._wires:
            self._connection.data_received(data)

    def whole(self, said: Any) -> None:
        payload = (said if isinstance(said, str) else json.dumps(said)).encode()
        self.says(
            b"HTTP/1.1 200 -\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(payload), payload)
        )

    def ends(self, call: _Call) -> None:
        usage = {
            "prompt_tokens": len(call.prompt),
            "completion_tokens": len(call.ids),
            "prompt_tokens_details": {"cached_tokens": call.cached},
        }
        if call.stream:
            event = _event(call.ids, call.stop, usage)
            done = _chunk(event) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
            self.says(_HEAD % b"text/event-stream" + done)
        else:
            self.whole({"choices": [_choice(call.ids, call.stop)], "usage": usage})


_HEAD = b"HTTP/1.1 200 -\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"


def _choice(ids: Sequence[int], stop: str | None) -> dict[str, Any]:
    """So much of an answer, ended by `stop`; None if it is not over."""
    texts = [chr(97 + i % 26) for i in ids]
    if stop and texts:
        texts[-1] = stop
    return {
        "index": 0,
        "text": "".join(texts),
        "token_ids": ids,
        "logprobs": {"tokens": texts, "token_logprobs": [-0.5] * len(texts)},
        "finish_reason": None if stop is None else "stop",
        "stop_reason": stop or None,
    }


def _event(ids: Sequence[int], stop: str | None, usage: Any = None) -> bytes:
    more = {"usage": usage} if usage else {}
    return f"data: {json.dumps({'choices': [_choice(ids, stop)], **more})}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Listed(Source):
    """The servers in `urls`, which may change."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__("simulated")
        self.urls = list(urls)

    async def places(self) -> Sequence[Place]:
        return [Place(url) for url in self.urls]


class SimulatedDialer(Dialer):
    """Connects to engines by the URL of the server; nobody is where none is, or a dead one."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        super().__init__(10.0, LoopClock())
        self.engines = engines

    async def connect(self, replica: Replica) -> Connection:
        engine = self.engines.get(replica.url)
        if engine is None or not engine.alive:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        connection = Connection(asyncio.get_running_loop().time)
        connection.connection_made(Wire(engine, connection))
        return connection
