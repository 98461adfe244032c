"""Servers that are started, and that they are gone afterwards, whatever ended it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reasoning.cli import serving
from reasoning.errors import EngineError
from reasoning.launching.servers import Server

FAKE = """
import http.server, os, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/quit":
            os._exit(7)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass

how, *_ = sys.argv[1:]
port = int(sys.argv[sys.argv.index("--port") + 1])
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
if how == "impatient":
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGTERM))
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.fork()  # a worker that listens, too
server.serve_forever()
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Server]:
    """Stands in for vLLM: healthy at once, and gone when asked for /quit.

    When asked to end, one that is "deaf" does not, and neither does its worker; one that is
    "impatient" does not and asks us to.
    """
    file = tmp_path / "fake.py"
    file.write_text(FAKE)

    def server(how: str = "sound") -> Server:
        command = [sys.executable, str(file), how, "serve"]
        monkeypatch.setattr(serving, "program", lambda: command)
        return Server("generator", "m", "127.0.0.1", free_port())

    monkeypatch.setattr(serving, "_POLL", 0.01)
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def assert_gone(server: Server) -> None:
    """A worker that was killed is gone when the system gets to it."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection((server.host, server.port), timeout=10).close()
        except ConnectionRefusedError:
            return
        except OSError:  # it is going this moment
            continue
    pytest.fail(f"{server.url} is still there")


def test_servers_run_until_one_of_them_ends(fake: Callable[..., Server]) -> None:
    said: list[str] = []
    started = [fake(), fake()]

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            with suppress(OSError):
                urllib.request.urlopen(f"{started[0].url}/quit", timeout=10)

    with pytest.raises(EngineError, match="m ended with exit code 7"):
        serving.run(started, say)
    assert said == [f"generator: {s.url} serves m" for s in started]
    assert_gone(started[1])


@pytest.fixture
def heard() -> Iterator[None]:
    """Signals are heard also where the tests run in a shell's background, or under nohup."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_ends_the_servers(
    fake: Callable[..., Server], heard: None, number: signal.Signals
) -> None:
    server, before = fake(), signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        serving.run([server], lambda _: signal.raise_signal(number))
    assert_gone(server)
    assert signal.getsignal(number) is before


def test_under_nohup_a_closed_terminal_ends_nothing(fake: Callable[..., Server]) -> None:
    server, before = fake(), signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def say(_: str) -> None:
        signal.raise_signal(signal.SIGHUP)
        with suppress(OSError):
            urllib.request.urlopen(f"{server.url}/quit", timeout=10)

    try:
        with pytest.raises(EngineError, match="exit code 7"):
            serving.run([server], say)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_does_not_end_is_killed(
    fake: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_PATIENCE", 0.05)
    server = fake("deaf")
    with pytest.raises(KeyboardInterrupt):
        serving.run([server], lambda _: signal.raise_signal(signal.SIGTERM))
    assert_gone(server)


def test_interrupted_again_it_kills_at_once(
    fake: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_PATIENCE", 1e9)
    server = fake("impatient")
    with pytest.raises(KeyboardInterrupt):
        serving.run([server], lambda _: signal.raise_signal(signal.SIGTERM))
    assert_gone(server)


def test_what_is_no_server_of_http_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.com\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert not serving._healthy(Server("generator", "m", "127.0.0.1", port))
        thread.join()


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "program", lambda: [f"{os.devnull}/vllm", "serve"])
    with pytest.raises(EngineError, match="cannot be started"):
        serving.run([Server("generator", "m", "127.0.0.1", 1)], print)
