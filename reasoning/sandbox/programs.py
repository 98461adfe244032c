"""What is done with a model's program, inside the sandbox: run its tests, on inputs, or just so."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

_FENCE = re.compile(r"```(?:python3?|py)?[ \t]*\n(.*?)```", flags=re.DOTALL)
_LONGEST = 100_000  # characters of one output that are compared with another's
_RATIONAL = re.compile(r"\b(\d+)r(\d+)\b")
_WHOLE = 2**22  # characters of one output that is compared with the right one
_PRELUDE = "from typing import *\n" + "\n".join(
    f"import {name}\nfrom {name} import *"
    for name in ("bisect", "collections", "functools", "heapq", "itertools", "math")
)
"""What contest sites import before a function of `Solution`, whose starter code relies on it."""


def programs(text: str) -> list[tuple[int, str]]:
    """Place and text of every fenced block, as in `last_program`."""
    return [(found.start(), found[1]) for found in _FENCE.finditer(text)]


def last_program(text: str) -> str | None:
    """The last complete fenced block of Python in a text, or of no language that is named."""
    blocks = _FENCE.findall(text)
    return blocks[-1] if blocks else None


def tests_of(meta: Mapping[str, Any]) -> list[str]:
    """The tests among a problem's fields: Python under `tests` or `test`, one text or several.

    Tests that only define `check(candidate)` are called with what `entry_point` names.
    """
    tests = meta.get("tests", meta.get("test"))
    parts = [tests] if isinstance(tests, str) else list(tests or ())
    called = meta.get("entry_point")
    if parts and called and re.search(r"(?m)^def check\(", "\n".join(parts)):
        parts.append(f"check({called})")
    return parts


def passes(text: str, meta: Mapping[str, Any]) -> float:
    """1 if the last fenced block of Python in `text` runs with the tests in `meta` behind it."""
    tests = tests_of(meta)
    if not tests:
        raise ValueError("the problem has no tests: its meta has neither `tests` nor `test`")
    program = last_program(text)
    return 0.0 if program is None else float(holds(program, tests))


def holds(program: str, tests: Sequence[str]) -> bool:
    """Whether the program runs, and then all tests on what it defines, to their end.

    The program has a process of its own, and the tests are none of what it can reach.
    """
    from reasoning.sandbox.judge import passes_all

    return passes_all(program, tests)


def outputs(program: str, inputs: Sequence[Any], entry_point: str | None) -> list[str | None]:
    """What the program gives on each input, None where it fails.

    An input that is a list holds the arguments of `entry_point` (or else of the function that is
    defined last), and what it returns is its output; any other is standard input, and what the
    program prints is its output.
    """
    return [_output(program, given, entry_point) for given in inputs]


def results(program: str, inputs: Sequence[Any], entry_point: str | None) -> list[str | None]:
    """As `outputs`, behind what contest sites import, whole, and with what is returned as JSON."""
    space: dict[str, Any] = {}
    exec(_PRELUDE, space)
    return [_output(program, x, entry_point, json.dumps, space, _WHOLE) for x in inputs]


def _output(
    program: str,
    given: Any,
    entry_point: str | None,
    told: Callable[[Any], str] = repr,
    imported: Mapping[str, Any] = {},
    longest: int = _LONGEST,
) -> str | None:
    space: dict[str, Any] = {**imported, "__name__": "__main__"}
    called = isinstance(given, list)
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")
    before = sys.stdin
    typed = "" if called else str(given)
    sys.stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(program, "candidate", "exec"), space)
            if called:
                return told(_function(space, entry_point)(*given))[:longest]
    except SystemExit as end:
        if called or end.code not in (None, 0):
            return None
    except MemoryError:
        raise
    except BaseException:  # whatever the candidate raises
        return None
    finally:
        sys.stdin = before
    printed.seek(0)
    return "\n".join(line.rstrip() for line in printed.read(longest).strip().split("\n"))


def ran(program: str, before: Sequence[str] = ()) -> dict[str, str]:
    """What the program `printed`, and the `error` that it ended in, "" if none.

    It finds what the programs `before` it left behind; they are run again, and what they print, or
    fail with, is passed over.
    """
    space: dict[str, Any] = {"__name__": "__main__"}
    for earlier in before:
        _run(earlier, space)
    return _run(program, space)


def _run(program: str, space: dict[str, Any]) -> dict[str, str]:
    out, failed = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(program, "program", "exec"), space)
    except MemoryError:
        raise
    except SystemExit:
        pass
    except BaseException as error:  # whatever the program raises
        failed = f"{type(error).__name__}: {error}"
    return {"printed": out.getvalue()[:_LONGEST], "error": failed}


def prolog(program: str) -> dict[str, str]:
    """What a program for SWI-Prolog `printed` when its main/0 was called, and its `error`.

    Rationals, which SWI-Prolog prints as 7r2, are printed as 7/2.
    """
    with open("program.pl", "w", encoding="utf-8") as file:
        file.write(program)
    command = ["swipl", "-q", "--on-error=halt", "-g", "main", "-t", "halt", "program.pl"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    failed = "" if done.returncode == 0 else done.stderr.strip() or "main failed"
    if done.returncode < 0:  # the limit of processor time, as a rule
        failed = f"the program was ended by {signal.Signals(-done.returncode).name}"
    printed = _RATIONAL.sub(r"\1/\2", done.stdout)
    return {"printed": printed[:_LONGEST], "error": failed[:_LONGEST]}


def _function(space: Mapping[str, Any], name: str | None) -> Any:
    """The function of that name, or the method of `Solution`, as contest sites have it."""
    if name is not None:
        return space[name] if name in space else getattr(space["Solution"](), name)
    return [value for value in space.values() if isinstance(value, FunctionType)][-1]
