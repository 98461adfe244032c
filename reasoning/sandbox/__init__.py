"""Code that is not ours, run in a process of its own which is killed when its time is up.

That contains accidents (endless loops, too much memory, large files, stray processes), not attacks:
run code of models you do not trust in a container.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeAlias
from weakref import WeakKeyDictionary

from pydantic import Field

PATIENCE = 3.0
"""Elapsed over processor seconds: a busy machine judges as an idle one does."""

START_SECONDS = 60.0
"""For a process to start and import the function, which is not counted as running it."""

ARGUMENTS = (sys.executable, "-m", "reasoning.sandbox.worker")

# More than the system can be told to hold a process to would be no limit.
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Memory: TypeAlias = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
File: TypeAlias = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class NotStartedError(Exception):
    """The process did not get as far as the function: says nothing about what it was given."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one process may use: seconds of processor time (`PATIENCE` times that elapsed),
    megabytes it may add to its memory, megabytes of a file, and the network."""

    seconds: Seconds = 10.0
    memory_mb: Memory = 1024.0
    file_mb: File = 16.0
    network: bool = False


class Sandbox:
    """Runs `function` (`module:name`) on what it is given, each time in a new process and folder.

    `takes` are the names it may have among its parameters; at most `workers` run at once.
    """

    def __init__(self, function: str, takes: Sequence[str], bounds: Bounds, workers: int) -> None:
        self.bounds = bounds
        self._function = function
        self._takes = list(takes)
        self._workers = workers
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._turns = WeakKeyDictionary()

    def try_out(self) -> bool:
        """Whether it will be alone: cut off from the network and from stray processes.

        Raises ValueError or OSError if the function cannot be imported and called.
        """
        module, _, name = self._function.partition(":")
        if not (module and name):
            raise ValueError("a check is named package.module:function")
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = subprocess.run(
                    ARGUMENTS,
                    input=self._request(None),
                    capture_output=True,
                    cwd=folder,
                    env=_environment(folder),
                    timeout=START_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise ValueError(str(error)) from error
        reply = json.loads(done.stdout)
        if "error" in reply:
            raise ValueError(reply["error"])
        return bool(reply["alone"])

    async def run(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """{"value": what it returned}, {"error": why it is at fault}, or {} if it did not live.

        The process is gone when this returns or raises. Raises NotStartedError.
        """
        async with self._turn():
            said = await self._exchange(self._request(fields))
        if said is None:
            raise NotStartedError("the process did not start; is the machine out of memory?")
        try:
            reply = json.loads(said)
        except ValueError:
            return {}
        return reply if isinstance(reply, dict) else {}

    def _turn(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if loop not in self._turns:
            self._turns[loop] = asyncio.Semaphore(self._workers)
        return self._turns[loop]

    def _request(self, fields: Mapping[str, Any] | None) -> bytes:
        request = {
            **asdict(self.bounds),
            "function": self._function,
            "takes": self._takes,
            "fields": None if fields is None else dict(fields),
        }
        return json.dumps(request, default=str).encode() + b"\n"

    async def _exchange(self, request: bytes) -> bytes | None:
        """What the process says within its time, None if it does not get as far as to run."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            process = await asyncio.create_subprocess_exec(
                *ARGUMENTS,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
                limit=2**26,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(request)
                first = await _line(process.stdout, START_SECONDS)
                if b'"ready"' not in first:
                    return first or None
                return await _line(process.stdout, self.bounds.seconds * PATIENCE)
            finally:
                process.stdin.close()
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def _line(stream: asyncio.StreamReader, seconds: float) -> bytes:
    """What is said within so many seconds, if anything is."""
    with suppress(TimeoutError, ValueError):  # ValueError: a line longer than any that is meant
        async with asyncio.timeout(seconds):
            return await stream.readline()
    return b""


def _environment(folder: str) -> dict[str, str]:
    """The caller's import paths, and no secrets."""
    paths = [os.path.abspath(path) for path in sys.path]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    here = {"HOME": folder, "TMPDIR": folder, "PYTHONPATH": os.pathsep.join(paths)}
    return {**kept, **single, **here, "PYTHONDONTWRITEBYTECODE": "1"}
