"""The process in which verifier `python` runs one check, within limits.

Reads one JSON request from standard input and writes JSON lines: {"ready": true} once the check is
imported, then {"score": float}, or {"error": str} if the check itself is at fault. It limits its
own processor time, memory and file sizes, and where the system lets it, it has no network and takes
every process it started along when it ends. None of this holds against code that attacks it: it
contains accidents.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import inspect
import json
import math
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

FIELDS = ("question", "text", "step", "answer", "meta")
"""What a check may ask for, by the names of its parameters."""

_NEW_USER, _NEW_PROCESSES, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_DIE_WITH_PARENT = 1
_LONGEST = 300  # characters of an explanation


def passes(text: str, meta: Mapping[str, Any]) -> float:
    """1 if the last fenced block of Python in `text` runs with the tests in `meta` behind it.

    The tests are Python code under `tests` or `test`, one text or a list of them.
    """
    tests = meta.get("tests", meta.get("test"))
    if not tests:
        raise ValueError("the problem has no tests: its meta has neither `tests` nor `test`")
    parts = [tests] if isinstance(tests, str) else list(tests)
    blocks = re.findall(r"```(?:python|py)?[ \t]*\n(.*?)```", text, flags=re.DOTALL)
    if not blocks:
        return 0.0
    done: list[bool] = []
    code = "\n".join([blocks[-1], *parts, "__reached_the_end__()"])
    space = {"__name__": "__main__", "__reached_the_end__": lambda: done.append(True)}
    try:
        exec(compile(code, "candidate", "exec"), space)
    except BaseException:  # whatever the candidate raises, SystemExit too
        return 0.0
    return float(bool(done))


def main() -> None:
    """Serve one request."""
    request = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)  # what a candidate prints must not reach the protocol
    alone = request["network"] or _isolate()
    check = _found(request["check"], out)
    if request.get("fields") is None:
        _say(out, alone=alone)
        return
    _say(out, ready=True)
    try:
        _limit(request["seconds"], request["memory_bytes"], request["file_bytes"])
        score = check(**{name: request["fields"][name] for name in _wanted(check)})
    except MemoryError:
        os._exit(1)
    except BaseException as error:  # SystemExit too: a check that ends has not judged
        _say(out, error=f"{type(error).__name__}: {_shown(error, str)}")
        return
    _limit_off()
    if isinstance(score, bool | int | float) and 0 <= score <= 1:
        _say(out, score=float(score))
    else:
        _say(out, error=f"it returned {_shown(score, repr)}, not a number in [0, 1]")


def _shown(value: object, show: Callable[[object], str]) -> str:
    """A few words for `value`, whose own ones may be endless or fail."""
    try:
        text = show(value)
    except Exception:
        return f"something of type {type(value).__name__} that cannot be shown"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _found(name: str, out: Any) -> Callable[..., Any]:
    """The check; ends the process with an explanation if it cannot be used."""
    module, _, attribute = name.partition(":")
    try:
        check: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        if strange := ", ".join(sorted(set(_wanted(check)) - set(FIELDS))):
            raise TypeError(f"it takes {strange}; a check takes some of {', '.join(FIELDS)}")
    except BaseException as error:
        _say(out, error=f"{type(error).__name__}: {error}")
        os._exit(0)
    return check


def _wanted(check: Callable[..., Any]) -> Sequence[str]:
    parameters = inspect.signature(check).parameters.values()
    return [p.name for p in parameters if p.default is p.empty or p.name in FIELDS]


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


def _limit(seconds: float, memory_bytes: int, file_bytes: int) -> None:
    """Die after `seconds` of processor time; at most so much more memory, and files so large."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    used = math.ceil(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    limits = {
        resource.RLIMIT_CPU: used + math.ceil(seconds) + 1,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as status:
        held = int(status.read().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = held + memory_bytes
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (lowest, lowest))


def _limit_off() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
