"""A server that answers as vLLM's pooling runner does, with numbers made up from the tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest


class PoolingServer:
    """Scores every token, or those with id `tag`, by what stands up to it.

    `requests` are the bodies it got. `fault(body)` may give (status, answer) instead.
    """

    def __init__(self) -> None:
        self.model = "nano"
        self.tag: int | None = 472
        self.columns = 2
        self.context = 1024
        self.scale = 1.0
        self.requests: list[dict[str, Any]] = []
        self.fault: Any = lambda body: None
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                models = [{"id": server.model, "max_model_len": server.context}]
                self._answer(200, {"data": models})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.requests.append(body)
                self._answer(*(server.fault(body) or server.answer(body)))

            def _answer(self, status: int, answer: Any) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        if "messages" in body:
            texts = [[ord(c) for m in body["messages"] for c in m["content"]]]
        else:
            texts = body["input"]
        if any(len(ids) > self.context for ids in texts):
            return 400, {"error": {"message": "the prompt is longer than the context"}}
        data = []
        for index, ids in enumerate(texts):
            rows = self.rows(ids)
            if body["task"] == "classify":
                rows = rows[-1:]
            elif self.tag is not None:
                rows = rows[np.array(ids) == self.tag]
            packed = base64.b64encode(np.ascontiguousarray(rows, "<f4").tobytes()).decode()
            data.append({"index": index, "data": packed})
        return 200, {"data": data[::-1], "usage": {"total_tokens": sum(map(len, texts))}}

    def rows(self, ids: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """[tokens, columns]; two columns add up to 1."""
        digest, rows = hashlib.blake2b(digest_size=4), []
        for token in ids:
            digest.update(token.to_bytes(4, "little"))
            p = int.from_bytes(digest.digest(), "little") / 2**32
            rows.append([1 - p, p][-self.columns :])
        return np.array(rows, np.float32) * np.float32(self.scale)


@pytest.fixture(scope="module")
def one_pooling_server() -> Iterator[PoolingServer]:
    server = PoolingServer()
    yield server
    server.close()


@pytest.fixture
def pooling_server(one_pooling_server: PoolingServer) -> PoolingServer:
    """A server as it was when new."""
    fresh = {"model": "nano", "tag": 472, "columns": 2, "context": 1024, "scale": 1.0}
    for name, value in fresh.items():
        setattr(one_pooling_server, name, value)
    one_pooling_server.requests.clear()
    one_pooling_server.fault = lambda body: None
    return one_pooling_server
