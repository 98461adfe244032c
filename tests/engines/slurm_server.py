"""A server of the toy model for machines without GPUs: python slurm_server.py PORT SECONDS."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from reasoning.testing.http_server import HttpServer, _Client


class Slow(HttpServer):
    """Answers /health at once, and calls after some seconds."""

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__()
        self.port, self.seconds = port, seconds
        self.answers = lambda path, body: {} if path == "/health" else None

    async def start(self) -> None:
        loop, host = asyncio.get_running_loop(), os.environ.get("HOST", "127.0.0.1")
        self._server = await loop.create_server(lambda: _Client(self), host, self.port)

    async def respond(self, method: str, path: str, headers: Mapping[str, str], data: bytes) -> Any:
        if path.endswith("completions"):
            await asyncio.sleep(self.seconds)
        return await super().respond(method, path, headers, data)


async def main(port: int, seconds: float) -> None:
    server, ended = Slow(port, seconds), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await server.start()
    print(f"serving on {port}, GPUs {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
    await ended.wait()
    print(f"asked to end after {server.counts['calls']} calls", flush=True)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
