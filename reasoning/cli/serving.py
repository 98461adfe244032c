"""Servers that are kept running until somebody interrupts, or one of them ends."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from reasoning.errors import EngineError
from reasoning.launching.program import program
from reasoning.launching.servers import Server

_POLL = 0.5  # seconds between looks at the servers
_PATIENCE = 15.0  # seconds that servers have to end by themselves; one needs about four


def run(started: Sequence[Server], say: Callable[[str], None]) -> None:
    """Start the servers one after the other and keep them until interrupted, or one ends.

    One after the other, because each measures the memory that is free. A request to terminate and
    a terminal that is closed count as interruptions. Whatever ends this ends the servers: those
    that have not gone after 15 s are killed, and at once if interrupted again. Raises EngineError,
    and KeyboardInterrupt when interrupted.
    """
    running: list[tuple[Server, subprocess.Popen[bytes]]] = []
    with _interruptions() as heard:

        def wait() -> None:
            time.sleep(_POLL)
            if heard:
                raise KeyboardInterrupt
            _complain(running)

        try:
            for server in started:
                running.append((server, _start(server)))
                while not _healthy(server):
                    wait()
                say(f"{server.role}: {server.url} serves {server.model}")
            while True:
                wait()
        finally:
            _end([process for _, process in running], heard)


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """The signals that came meanwhile and ask for an end; those ignored so far still are.

    They are written down and not raised: raised between any two lines, they could leave a server
    behind.
    """
    heard: list[int] = []
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, a shell's background
            before[number] = signal.signal(number, lambda number, _: heard.append(number))
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(server: Server) -> subprocess.Popen[bytes]:
    env = dict(os.environ)
    if server.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, server.gpus))
    command = server.arguments(program())
    try:
        return subprocess.Popen(command, env=env, start_new_session=True)
    except OSError as error:
        raise EngineError(
            f"{command[0]} cannot be started: {error}; is vLLM installed here? "
            "(pip install 'reasoning[vllm]')"
        ) from error


def _end(processes: Sequence[subprocess.Popen[bytes]], heard: Sequence[int]) -> None:
    """Ask the servers to end, then kill what is left of them, their workers included."""
    known, until = len(heard), time.monotonic() + _PATIENCE
    for process in processes:
        _signal(process, signal.SIGTERM)
    while (
        any(process.poll() is None for process in processes)
        and time.monotonic() < until
        and len(heard) == known
    ):
        time.sleep(_POLL / 10)
    for process in processes:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the server and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _complain(running: Sequence[tuple[Server, subprocess.Popen[bytes]]]) -> None:
    for server, process in running:
        if (code := process.poll()) is not None:
            raise EngineError(
                f"the server of {server.model} ended with exit code {code}; its output says why"
            )


def _healthy(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (OSError, http.client.HTTPException):  # the second: it is no server of HTTP
        return False
