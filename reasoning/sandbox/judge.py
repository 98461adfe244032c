"""Tests of a candidate's program that it cannot reach: they run here, the program elsewhere.

Every call that a test makes of what the program defines is made in the candidate's process, and
what it returns comes back as plain data, so that `==` compares numbers and texts and not what the
program takes for equal. What is no plain data (an object of a class of its own) stays there; the
test holds a stand-in for it, which is equal to no plain data.
"""

from __future__ import annotations

import builtins
import ctypes
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any

from reasoning.sandbox.candidate import serve
from reasoning.sandbox.wire import decoded, encoded, hear, say

_RESERVED = frozenset(dir(builtins)) | sys.stdlib_module_names
_DIE_WITH_PARENT = 1


def passes_all(program: str, tests: Sequence[str]) -> bool:
    """Whether the tests, in the order given, run to their end on what the program defines."""
    code = compile("\n".join(tests), "tests", "exec")
    pid, lines, out = _born(program)
    try:
        other = _Other(lines, out)
        space = other.names(hear(lines), "\n".join(tests))
        if space is None:
            return False
        exec(code, space)
    except MemoryError:
        raise
    except BaseException:  # a test that fails, or a candidate that has died
        return False
    else:
        return True
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        lines.close()
        with suppress(OSError):
            out.close()


def _born(program: str) -> tuple[int, IO[str], IO[str]]:
    """The candidate's process, what it says, and where it hears."""
    theirs, ours = os.pipe(), os.pipe()  # both as (read, write)
    limit = signal.getitimer(signal.ITIMER_PROF)[0]
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
            signal.setitimer(signal.ITIMER_PROF, limit)
            # Whatever else this process has open, the judge's reports among it, is not theirs.
            os.dup2(ours[0], 3)
            os.dup2(theirs[1], 4)
            os.closerange(5, 4096)
            with open(3, encoding="utf-8") as lines, open(4, "w", encoding="utf-8") as out:
                serve(program, lines, out)
        finally:
            os._exit(0)
    os.close(theirs[1])
    os.close(ours[0])
    return pid, open(theirs[0], encoding="utf-8"), open(ours[1], "w", encoding="utf-8")


class _Other:
    """The candidate, as the tests see it."""

    def __init__(self, lines: IO[str], out: IO[str]) -> None:
        self._lines, self._out = lines, out
        self._functions: list[Callable[..., Any]] = []
        self._exceptions: dict[str, type[BaseException]] = {}

    def names(self, born: dict[str, Any], tests: str) -> dict[str, Any] | None:
        """What the tests find; None if the program failed.

        A name that Python has is the candidate's only where the tests use no other of its names:
        a program that defines `abs` must not be asked how far it is off.
        """
        if "names" not in born:
            return None
        print(born.get("printed", ""), end="")
        words = set(re.findall(r"\w+", tests))
        asked = words & (set(born["names"]) - _RESERVED)
        space: dict[str, Any] = {"__name__": "__main__"}
        for name, what in born["names"].items():
            if "module" in what:
                module = str(what["module"])
                if module.split(".")[0] in sys.stdlib_module_names | {"numpy"}:
                    with suppress(ImportError):
                        space[name] = importlib.import_module(module)
            elif name in _RESERVED and asked:
                continue
            elif "exception" in what:
                space[name] = self._exception(name, what["exception"])
            else:
                space[name] = decoded(what["value"], self._stand_in)
        return space

    def _exception(self, name: str, base: str) -> type[BaseException]:
        kind = getattr(builtins, base, Exception)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            kind = Exception
        return self._exceptions.setdefault(name, type(name, (kind,), {}))

    def ask(self, what: str, on: int, args: Sequence[Any], given: dict[str, Any]) -> Any:
        """What comes of it over there; raises here what is raised there."""
        sent = [encoded(arg, self._keep) for arg in args]
        named = {k: encoded(v, self._keep) for k, v in given.items()}
        # A test that gives what is to be read gives it over there.
        typed = sys.stdin.read() if isinstance(sys.stdin, io.StringIO) else ""
        say(self._out, {"do": what, "on": on, "args": sent, "named": named, "typed": typed})
        while "theirs" in (answer := hear(self._lines)):
            self._called_back(answer)
        print(answer.get("printed", ""), end="")
        if typed:
            sys.stdin = io.StringIO(str(answer.get("unread", "")))
        for place, data in answer.get("changed", {}).items():
            _become(args[int(place)], decoded(data, self._stand_in))
        if "raised" in answer:
            raise self._raised(answer)
        return decoded(answer["value"], self._stand_in)

    def _called_back(self, request: dict[str, Any]) -> None:
        """A function of the tests' that the candidate was given."""
        function = self._functions[int(request["theirs"])]
        try:
            value = function(*(decoded(arg, self._stand_in) for arg in request["args"]))
            say(self._out, {"value": encoded(value, self._keep)})
        except Exception as error:
            say(self._out, {"raised": type(error).__name__, "text": str(error)})

    def _raised(self, answer: dict[str, Any]) -> BaseException:
        text = str(answer.get("text"))
        for name in map(str, answer["raised"]):
            kind = self._exceptions.get(name) or getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                with suppress(TypeError):
                    return kind(text)
        return RuntimeError(text)

    def _keep(self, value: Any) -> int:
        if isinstance(value, _StandIn):
            return int(object.__getattribute__(value, "_number"))
        self._functions.append(value)
        return -len(self._functions)

    def _stand_in(self, number: int) -> Any:
        return _StandIn(self, number)


def _become(mine: Any, theirs: Any) -> None:
    """What was changed in place over there is changed in place here."""
    if type(mine) is not type(theirs):
        return
    if isinstance(mine, list | bytearray):
        mine[:] = theirs
    elif isinstance(mine, dict | set):
        mine.clear()
        mine.update(theirs)


class _StandIn:
    """Something of the candidate's that is no plain data: what is done with it is done there."""

    def __init__(self, other: _Other, number: int) -> None:
        object.__setattr__(self, "_other", other)
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> Any:
        return _asked(self, "get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _asked(self, "set", name, value)

    def __call__(self, *args: Any, **given: Any) -> Any:
        other, number = (object.__getattribute__(self, x) for x in ("_other", "_number"))
        return other.ask("call", number, args, given)

    def __instancecheck__(self, value: Any) -> bool:
        return _asked(self, "isinstance", value) is True

    def __hash__(self) -> int:
        return int(_asked(self, "__hash__"))


def _asked(stand_in: _StandIn, what: str, *args: Any) -> Any:
    other, number = (object.__getattribute__(stand_in, x) for x in ("_other", "_number"))
    return other.ask(what, number, args, {})


def _does(name: str) -> Callable[..., Any]:
    def method(self: _StandIn, *args: Any) -> Any:
        return _asked(self, name, *args)

    return method


def _does_with_its_like(name: str) -> Callable[..., Any]:
    """With plain data it would be the candidate who says what is equal, or near enough."""

    def method(self: _StandIn, other: Any) -> Any:
        return _asked(self, name, other) if isinstance(other, _StandIn) else NotImplemented

    return method


for _name in ("iter", "next", "len", "getitem", "setitem", "delitem", "str", "repr", "enter"):
    setattr(_StandIn, f"__{_name}__", _does(f"__{_name}__"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "matmul"):
    setattr(_StandIn, f"__{_name}__", _does_with_its_like(f"__{_name}__"))
