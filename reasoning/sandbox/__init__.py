"""Code that is not ours, run in a process of its own which is killed when its time is up.

Another process, which that code cannot reach, reports what came of it (`reasoning.sandbox.worker`).
That contains accidents (endless loops, too much memory, many or large files, stray processes) and
attempts to win by writing the verdict, not attacks on the machine: `contains` says what it comes
to. Run code of models you do not trust in a container.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
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
    """What the code and all that it starts may use: seconds of processor time (each; `PATIENCE`
    times that elapsed), megabytes that they add to their memory together, megabytes of their files
    together, processes at once, and the network."""

    seconds: Seconds = 10.0
    memory_mb: Memory = 1024.0
    file_mb: File = 16.0
    network: bool = False
    processes: int = 32


def contains(bounds: Bounds, alone: bool) -> str:
    """What the sandbox keeps in and what it does not, in a sentence; `alone`: see `try_out`."""
    reads = "it can read whatever the user can, and write outside its folder"
    if not alone:
        return (
            "nothing contains the code but limits of time, memory and files: this system lets no "
            f"process be cut off (unshare fails), so it has the network, {reads}, and what it "
            "starts may outlive it; run it in a container"
        )
    within = "the code and what it starts have limits of time, memory, files and processes, and end"
    if bounds.network:
        return (
            f"{within} together, but the network is open to them (network: true) and {reads}: of "
            "the containment nothing is left against code that means harm; run it in a container"
        )
    return f"{within} together, without a network; {reads}: that contains accidents, no attacks"


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
        """Whether it will be alone: in a world of processes that ends with it, and, unless it may
        use the network, without one.

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
        if not isinstance(reply, dict):
            return {}
        reply.pop("nonce", None)
        return reply

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
                # Only who reports hears this, and after the code has been started.
                nonce = secrets.token_hex(16)
                process.stdin.write(nonce.encode() + b"\n")
                said = await _line(process.stdout, self.bounds.seconds * PATIENCE)
                return said if nonce.encode() in said else b""
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
