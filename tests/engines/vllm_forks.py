"""vLLM in processes that have imported it: most of what a start costs is imports.

The fork server of `multiprocessing` imports vLLM once. Forked from it are servers, with the
arguments and the environment of the command, and the processes of engines, which vLLM spawns.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from types import SimpleNamespace

SERVER = "vllm.entrypoints.openai.api_server"
FORKS = multiprocessing.get_context("forkserver")


def ready() -> None:
    """Have the fork server started, whose children have the environment of now."""
    FORKS.set_forkserver_preload([SERVER, "vllm.v1.engine.core"])
    forkserver.ensure_running()


def contexts(method: str) -> SimpleNamespace:
    """What vLLM takes for `multiprocessing`, if its processes are to start by `method`."""
    return SimpleNamespace(get_context=lambda _: multiprocessing.get_context(method))


class Forked:
    """The server with these arguments, by the methods of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str]) -> None:
        reader, writer = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=serve, args=(arguments, writer))
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        reader.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(SERVER, timeout or 0.0)
        return self._process.exitcode


def serve(arguments: Sequence[str], writer: Connection) -> None:
    """Be that server, which says what it says to `writer`."""
    os.setsid()  # its engine ends with it
    for stream in (1, 2):
        os.dup2(writer.fileno(), stream)
    from vllm.utils import system_utils

    system_utils.multiprocessing = contexts("fork")
    sys.argv = [SERVER, *arguments]
    runpy.run_module(SERVER, run_name="__main__")
