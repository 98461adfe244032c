"""A check of the user's own: Python that looks at a candidate, or runs it against tests.

Every check runs in a process of its own, which is killed when its time is up. That contains
accidents (endless loops, too much memory, large files, stray processes), not attacks: run code of
models you do not trust in a container.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from pydantic import Field

from reasoning.answers import Answer
from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Meter, Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.tree import Node
from reasoning.verify import Scores, Verifier

TESTS = "verifiers.engines.python_worker:passes"
"""The check that runs the tests in a problem's meta."""

PATIENCE = 3.0
"""Elapsed over processor seconds: a busy machine judges as an idle one does."""

_START_SECONDS = 60.0
"""For a process to start and import the check, which is not counted as checking."""

_ARGUMENTS = [sys.executable, "-m", "verifiers.engines.python_worker"]

# More than the system can be told to hold a check to would be no limit.
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Memory = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
File = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


@names.validated
def python(
    *,
    check: str = TESTS,
    seconds: Seconds = 10.0,
    memory_mb: Memory = 1024.0,
    file_mb: File = 16.0,
    network: bool = False,
    workers: Annotated[int, Field(ge=1)] = 2,
    failed: Annotated[float, Field(ge=0, le=1)] | None = 0.0,
) -> Python:
    """What a function of yours says of a candidate: one score in [0, 1].

    check: `module:function`. It is given, by the names of its parameters, any of question, text
    (of the whole path), step (of this node), answer (extracted, or None) and meta (the problem's),
    and returns a bool or a number in [0, 1]. The default runs the last fenced block of Python in
    the text with the problem's tests (`meta["tests"]`) behind it.
    seconds: of processor time, and three times as much elapsed. memory_mb, file_mb: what it may
    add to its memory, and how large a file may be. network: whether it may use it.
    workers: checks at once. failed: the score of a candidate whose check ran out of time or memory
    or killed its process; null: none, and a failure in the summary.
    """
    verifier = Python(
        {
            "check": check,
            "seconds": seconds,
            "memory_bytes": int(memory_mb * 2**20),
            "file_bytes": int(file_mb * 2**20),
            "network": network,
        },
        workers,
        failed,
    )
    verifier.try_out()
    return verifier


class Python(Verifier):
    """Runs the check on each node, in a process and a folder of its own."""

    name = "python"

    def __init__(self, limits: dict[str, Any], workers: int, failed: float | None) -> None:
        self.notes: list[str] = []
        self._limits = limits
        self._workers = workers
        self._failed = failed
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._turns = WeakKeyDictionary()

    def try_out(self) -> None:
        """See that the check can be imported and called. Raises RecipeError."""
        name = str(self._limits["check"])
        try:
            module, _, function = name.partition(":")
            if not (module and function):
                raise ValueError("a check is named package.module:function")
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(
                    _ARGUMENTS,
                    input=json.dumps(self._limits) + "\n",
                    capture_output=True,
                    text=True,
                    cwd=folder,
                    env=_environment(folder),
                    timeout=_START_SECONDS,
                    check=False,
                )
            reply = json.loads(done.stdout)
            if "error" in reply:
                raise ValueError(reply["error"])
        except (ValueError, OSError, subprocess.TimeoutExpired) as error:
            raise RecipeError(
                f"python: the check {name!r} cannot be used: {error}; it is a function that takes "
                "some of question, text, step, answer, meta and returns a number in [0, 1]"
            ) from error
        if not reply["alone"]:
            self.notes.append(
                "verifier python: this system does not let checks be cut off from the network"
            )

    def preflight(self, _: Sampling, problems: Sequence[Problem]) -> None:
        """Some problems may have no tests, but not all of them."""
        if self._limits["check"] == TESTS and problems and not any(map(tested, problems)):
            raise RecipeError(
                "verifier python runs candidates with the tests of their problem (tests or test in "
                "its meta) and no problem has any; name a check of your own, verifier.check: "
                "package.module:function"
            )

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError if the check raises, or returns what is no score."""
        request = json.dumps({**self._limits, "fields": _fields(problem, node)}) + "\n"
        async with self._turn():
            said = await self._run(request.encode())
        if said is None:
            raise VerificationError(
                f"problem {problem.id!r}: the check's process did not start; is the machine out of "
                "memory or processes?"
            )
        try:
            reply = json.loads(said)
            if "error" in reply:
                raise VerificationError(
                    f"problem {problem.id!r}: the check failed: {reply['error']}"
                )
            return (float(reply["score"]),)
        except (ValueError, LookupError, TypeError):
            pass  # it did not live to say
        if self._failed is None:
            raise VerificationError(
                f"problem {problem.id!r}: the check ran out of time or memory, or killed its "
                f"process; it may take {self._limits['seconds']:g} s of processor time"
            )
        return (self._failed,)

    def _turn(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if loop not in self._turns:
            self._turns[loop] = asyncio.Semaphore(self._workers)
        return self._turns[loop]

    async def _run(self, request: bytes) -> bytes | None:
        """What the process says within its time, None if it does not get as far as the check.

        It is gone when this returns or raises.
        """
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            process = await asyncio.create_subprocess_exec(
                *_ARGUMENTS,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(request)
                first = await _line(process.stdout, _START_SECONDS)
                if b'"ready"' not in first:
                    return first or None
                return await _line(process.stdout, self._limits["seconds"] * PATIENCE)
            finally:
                process.stdin.close()
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def tested(problem: Problem) -> bool:
    """Whether the check `passes` finds tests for the problem."""
    return bool(problem.meta.get("tests", problem.meta.get("test")))


async def _line(stream: asyncio.StreamReader, seconds: float) -> bytes:
    """What is said within so many seconds, if anything is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await stream.readline()
    return b""


def _fields(problem: Problem, node: Node) -> dict[str, Any]:
    """What a check may ask for, as JSON has it."""
    return {
        "question": problem.question,
        "text": node.text,
        "step": node.sample.text,
        "answer": _text(problem.answers.find(node.text, node.finished)),
        "meta": json.loads(json.dumps(dict(problem.meta), default=str)),
    }


def _text(answer: Answer | None) -> str | None:
    return None if answer is None else answer.text


def _environment(folder: str) -> dict[str, str]:
    """The caller's import paths, and no secrets."""
    paths = [os.path.abspath(path) for path in sys.path]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    here = {"HOME": folder, "TMPDIR": folder, "PYTHONPATH": os.pathsep.join(paths)}
    return {**kept, **single, **here, "PYTHONDONTWRITEBYTECODE": "1"}
