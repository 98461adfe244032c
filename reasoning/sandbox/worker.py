"""The process in which one function that is not ours is run, within limits.

Reads one JSON request from standard input and writes JSON lines: {"ready": true} once the function
is imported, then {"value": what it returned}, or {"error": str} if it is itself at fault. It limits
its own processor time, memory and file sizes, and where the system lets it, it has no network and
takes every process it started along when it ends. None of this holds against code that attacks it:
it contains accidents.
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
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

_NEW_USER, _NEW_PROCESSES, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_DIE_WITH_PARENT = 1
_LONGEST = 300  # characters of an explanation


def main() -> None:
    """Serve one request."""
    request = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)  # what a candidate prints must not reach the protocol
    alone = request["network"] or _isolate()
    function = _found(request["function"], request["takes"], out)
    if request["fields"] is None:
        _say(out, alone=alone)
        return
    _say(out, ready=True)
    try:
        _limit(request["seconds"], request["memory_mb"], request["file_mb"])
        value = function(**{n: request["fields"][n] for n in _wanted(function, request["takes"])})
        said = _told(value)
    except MemoryError:
        os._exit(1)
    except BaseException as error:  # SystemExit too: a function that ends has not judged
        _say(out, error=f"{type(error).__name__}: {_shown(error, str)}")
        return
    _limit_off()
    out.write(said + "\n")
    out.flush()


def _told(value: object) -> str:
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


def _isolate() -> bool:
    """Leave the network, and go on in a world of processes that ends with this one.

    False where the system does not allow that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        return False
    for user in (_NEW_USER, 0):
        if libc.unshare(user | _NEW_PROCESSES | _NEW_NETWORK) == 0:
            break
    else:
        return False
    for _ in range(2):  # the first process of a world cannot be killed by its own limits
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            os._exit(0 if status == 0 else 1)
        libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    return True


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
