"""The worker process of `reasoning.answers.grading`: compares answers by computer algebra.

Reads JSON lines {"gold", "prediction", "seconds"} from standard input and writes JSON lines:
{"parsing": "gold" | "prediction"} and {"comparing": true} as it goes, so that the parent knows
what a worker that died was busy with, then {"equal": bool}.  Ends when its input does.
Inputs are canonical answers.  The process limits its own memory, and the kernel ends it when one
request has used `seconds` of processor time: inside a C function too, and with the parent dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys

from reasoning.answers.algebra import same
from reasoning.answers.library import load
from reasoning.answers.rules import decide

MEMORY_BYTES = 1024**3
"""Address space that a worker may add to what it holds once its libraries are imported."""


def main() -> None:
    """Serve requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not reach the protocol
    sys.setrecursionlimit(3000)

    def say(**message: object) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    load()  # seconds: before the clock of a request starts
    _limit_memory()
    say(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        _alarm(request["seconds"])

        def leaf(gold: str, prediction: str) -> bool:
            say(comparing=True)
            return same(gold, prediction)

        try:
            equal = bool(decide(request["gold"], request["prediction"], leaf))
        except MemoryError:
            os._exit(1)  # the heap cannot be trusted any more
        except Exception:
            equal = False
        _alarm(0.0)
        say(equal=equal)


def _alarm(seconds: float) -> None:
    """Die of SIGPROF after `seconds` of processor time; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as status:
            held = int(status.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, hard))


if __name__ == "__main__":
    main()
