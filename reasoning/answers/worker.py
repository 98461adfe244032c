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
import logging
import os
import re
import signal
import sys
from functools import lru_cache
from importlib import import_module
from typing import Any

from reasoning.answers.rules import decide

MEMORY_BYTES = 1024**3
"""Address space that a worker may add to what it holds once its libraries are imported."""


def main() -> None:
    """Serve requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not reach the protocol
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(3000)

    def say(**message: object) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    import math_verify  # noqa: F401  (seconds to import: before the clock of a request starts)

    _limit_memory()
    say(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        _alarm(request["seconds"])

        def leaf(gold: str, prediction: str) -> bool:
            gold, prediction = keep_case(gold, prediction)
            say(parsing="gold")
            parse(gold)
            say(parsing="prediction")
            parse(prediction)
            say(comparing=True)
            return verify(gold, prediction)

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


_LETTER = re.compile(r"\\[A-Za-z]+|[A-Za-z]")


def keep_case(gold: str, prediction: str) -> tuple[str, str]:
    """With R as `R_{99}` in both where one has R and r: the library lower-cases variables."""
    both = set()
    for text in (gold, prediction):
        letters = {letter for letter in _LETTER.findall(text) if len(letter) == 1}
        both |= {letter for letter in letters if letter.isupper() and letter.lower() in letters}

    def mark(text: str) -> str:
        return _LETTER.sub(lambda m: f"{m[0]}_{{99}}" if m[0] in both else m[0], text)

    return (mark(gold), mark(prediction)) if both else (gold, prediction)


@lru_cache(maxsize=512)
def parse(text: str) -> list[Any]:
    """The expressions that math-verify reads in a canonical answer; empty where it reads none."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig
    from math_verify import parse as math_verify_parse
    from math_verify.parser import NormalizationConfig

    # Units are ours to judge: the library would read "3t" as 3 tonnes.
    normal = NormalizationConfig(malformed_operators=True, nits=True, units=False)
    configs = [LatexExtractionConfig(normalization_config=normal), ExprExtractionConfig()]
    found: list[Any] = math_verify_parse(
        f"${text}$", configs, fallback_mode="no_fallback", parsing_timeout=None
    )
    return found


def verify(gold: str, prediction: str) -> bool:
    """Whether math-verify holds two canonical answers equal in either direction."""
    from math_verify import verify as math_verify_verify

    a, b = parse(gold), parse(prediction)
    if not a or not b:
        return False

    if len(a) == len(b) == 1 and _differ(a[0], b[0]):
        return False

    def one_way(x: list[Any], y: list[Any]) -> bool:
        return bool(
            math_verify_verify(
                x, y, float_rounding=12, allow_set_relation_comp=True, timeout_seconds=None
            )
        )

    return one_way(a, b) or one_way(b, a)


def _differ(a: Any, b: Any) -> bool:
    """Whether two expressions certainly differ: cheap, and most pairs do.

    Their values at one point of positive coordinates are apart, or two equations have different
    variables.  Saves the seconds that simplifying and solving can take.
    """
    sympy = import_module("sympy")
    if isinstance(a, sympy.Eq) and isinstance(b, sympy.Eq):
        return bool(a.free_symbols != b.free_symbols)
    for x in (a, b):
        slow = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative)
        if not isinstance(x, sympy.Expr) or x.is_Matrix or x.has(*slow):
            return False
        if not x.is_number and all(arg.is_Symbol or arg is sympy.E for arg in x.args):
            return False  # perhaps a word
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    point = {symbol: sympy.Float(0.37 + 0.61 * i, 30) for i, symbol in enumerate(symbols)}
    try:
        x, y = (complex(e.doit().subs(point).evalf(15)) for e in (a, b))
    except Exception:  # sympy's are many; the comparison proper decides
        return False
    return abs(x - y) > 1e-6 * max(abs(x), abs(y), 1e-6)


if __name__ == "__main__":
    main()
