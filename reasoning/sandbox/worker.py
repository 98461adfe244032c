"""The process that has a function which is not ours run within limits, and reports what it said.

Reads a request from standard input and writes JSON lines: {"ready": true} once the function is
imported, then, with the nonce that it is given only now, {"value": what it returned}, or
{"error": str} if the function is itself at fault.

The function runs in a child, which has neither these channels nor the nonce and cannot look into
this process. Here the child and whatever it starts are watched: their number, the memory that they
hold together, their files. Where the system lets it, the child has no network and takes every
process it started along when it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import inspect
import json
import math
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

_NEW_USER, _NEW_PROCESSES, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_DIE_WITH_PARENT, _DUMPABLE = 1, 4
_LONGEST = 300  # characters of an explanation
_REPLY = 2**26  # bytes
_LOOK = 0.05  # seconds between two looks at what the child has started
_FILES = 1000


def main() -> None:
    """Serve one request."""
    request = json.loads(sys.stdin.buffer.readline())
    alone = _isolated(request["network"])
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _keep_apart()
        _child(request, write, alone)
    os.close(write)
    _keep_apart()
    replies = _replies(read, _Watched(pid, request))
    said = next(replies, b"")
    sys.stdout.buffer.write(said + b"\n" if said else b"")
    sys.stdout.buffer.flush()
    if b'"ready"' in said:
        nonce = sys.stdin.buffer.readline().decode().strip()
        print(json.dumps({**_told(next(replies, b"")), "nonce": nonce}), flush=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _keep_apart() -> None:
    """No process that is not privileged looks into this one, or into its open files."""
    ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)


def _told(said: bytes) -> dict[str, Any]:
    """The child's reply, if it is one."""
    with contextlib.suppress(ValueError, RecursionError):
        reply = json.loads(said)
        if isinstance(reply, dict) and set(reply) in ({"value"}, {"error"}):
            return reply
    return {}


# -------------------------------------------------------------------------------- watching


def _replies(read: int, watched: _Watched) -> Iterator[bytes]:
    """The lines the child writes, until it is gone or has used more than it may."""
    held = b""
    while len(held) < _REPLY:
        ready, _, _ = select.select([read], [], [], _LOOK)
        if ready:
            more = os.read(read, 2**16)
            *lines, held = (held + more).split(b"\n")
            yield from lines
            if not more:
                return
            if lines:
                watched.start()
        elif not watched.within():
            return


class _Watched:
    """The child and all that it has started, so far as they can be found."""

    def __init__(self, pid: int, request: dict[str, Any]) -> None:
        self._pid = pid
        self._most = int(request["processes"])
        self._memory, self._file = (int(request[k] * 2**20) for k in ("memory_mb", "file_mb"))
        self._idle = 0

    def start(self) -> None:
        """From here on counts what is added."""
        self._idle = max((_held(pid) for pid in self._family()), default=0)

    def within(self) -> bool:
        """Whether they are within their limits; if not they are killed."""
        family = self._family()
        used = sum(max(0, _held(pid) - self._idle) for pid in family)
        files, size = _stored(os.getcwd())
        few = len(family) <= self._most + 2 and files <= _FILES
        if few and used <= self._memory and size <= self._file:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        for pid in reversed(family):  # the first one takes its world along
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return False

    def _family(self) -> list[int]:
        found = [self._pid]
        for pid in found:  # which grows
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
                        found += map(int, children.read().split())
            if len(found) > 100 * self._most:
                break
        return found


def _held(pid: int) -> int:
    """Bytes of memory of a process that are no file's."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"/proc/{pid}/statm", encoding="ascii") as status:
            _, resident, shared, *_ = map(int, status.read().split())
        return (resident - shared) * resource.getpagesize()
    return 0


def _stored(folder: str) -> tuple[int, int]:
    """How many files there are below a folder, and their bytes."""
    files, size = 0, 0
    for place, _, names in os.walk(folder):
        for name in names:
            files += 1
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_blocks * 512
        if files > _FILES:
            break
    return files, size


# ------------------------------------------------------------------------------- the child


def _child(request: dict[str, Any], write: int, alone: bool) -> NoReturn:
    """Run the function, and say what it returned."""
    try:
        with open(os.devnull, "r+b") as nowhere:
            os.dup2(nowhere.fileno(), 0)
            os.dup2(nowhere.fileno(), 1)  # what a candidate prints must not reach the protocol
        if alone:
            _first_of_a_world(write)
        out = os.fdopen(write, "w", encoding="utf-8")
        function = _found(request["function"], request["takes"], out)
        if request["fields"] is None:
            _say(out, alone=alone)
        else:
            _say(out, ready=True)
            _run(function, request, out)
    finally:
        os._exit(1)


def _run(function: Callable[..., Any], request: dict[str, Any], out: Any) -> None:
    try:
        _limit(request["seconds"], request["memory_mb"], request["file_mb"])
        value = function(**{n: request["fields"][n] for n in _wanted(function, request["takes"])})
        said = _reply(value)
    except MemoryError:
        return
    except BaseException as error:  # SystemExit too: a function that ends has not judged
        _limit_off()
        _say(out, error=f"{type(error).__name__}: {_shown(error, str)}")
        return
    _limit_off()
    out.write(said + "\n")
    out.flush()


def _reply(value: object) -> str:
    """The reply; what JSON cannot say is at fault."""
    try:
        return json.dumps({"value": value}, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({"error": f"it returned {_shown(value, repr)}, which JSON cannot say"})


def _shown(value: object, show: Callable[[object], str]) -> str:
    """A few words for `value`, whose own ones may be endless or fail."""
    try:
        text = show(value)
    except Exception:
        return f"something of type {type(value).__name__} that cannot be shown"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _found(name: str, takes: Sequence[str], out: Any) -> Callable[..., Any]:
    """The function; ends the process with an explanation if it cannot be used."""
    module, _, attribute = name.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        if strange := ", ".join(sorted(set(_wanted(function, takes)) - set(takes))):
            raise TypeError(f"it takes {strange}; a check takes some of {', '.join(takes)}")
    except BaseException as error:
        _say(out, error=f"{type(error).__name__}: {error}")
        os._exit(0)
    return function


def _wanted(function: Callable[..., Any], takes: Sequence[str]) -> Sequence[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty or p.name in takes]


def _say(out: Any, **message: object) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def _isolated(network: bool) -> bool:
    """Whether children will live in a world of processes of their own, without a network unless
    they may have one. False where the system does not allow that."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        return False
    wanted = _NEW_PROCESSES | (0 if network else _NEW_NETWORK)
    return any(libc.unshare(user | wanted) == 0 for user in (_NEW_USER, 0))


def _first_of_a_world(write: int) -> None:
    """Go on in a child: the first process of a world cannot be killed by its own limits."""
    libc = ctypes.CDLL(None)
    libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if child := os.fork():
        os.close(write)
        os.waitpid(child, 0)
        os._exit(0)
    libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _limit(seconds: float, memory_mb: float, file_mb: float) -> None:
    """Die after `seconds` of processor time; at most so much more memory, and files so large."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    used = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    limits = {
        resource.RLIMIT_CPU: used + math.ceil(seconds) + 1,
        resource.RLIMIT_FSIZE: int(file_mb * 2**20),
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as status:
        held = int(status.read().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = held + int(memory_mb * 2**20)
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (lowest, lowest))


def _limit_off() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
