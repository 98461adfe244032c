"""The process in which a candidate's program lives while somebody else judges it.

It runs the program, says what names that has defined, and then does with them what the judge
asks: calls them and says what came back. It does not see the tests, and nothing that it says is a
verdict.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import sys
import types
from typing import IO, Any

from reasoning.sandbox.wire import decoded, encoded, hear, say

_SHOWN = 1000  # characters of an exception's text


def serve(program: str, lines: IO[str], out: IO[str]) -> None:
    """Live until the judge has gone."""
    _Candidate(lines, out).live(program)


class _Candidate:
    def __init__(self, lines: IO[str], out: IO[str]) -> None:
        self._lines, self._out = lines, out
        self._kept: list[Any] = []

    def live(self, program: str) -> None:
        space: dict[str, Any] = {"__name__": "__main__"}
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(program, "candidate", "exec"), space)
        except BaseException:  # whatever the candidate raises, SystemExit too
            say(self._out, {"failed": True})
            return
        names = {k: self._named(v) for k, v in space.items() if not k.startswith("__")}
        say(self._out, {"names": names, "printed": printed.getvalue()})
        while True:
            try:
                request = hear(self._lines)
            except EOFError:
                return
            say(self._out, self._answer(request))

    def _named(self, value: Any) -> dict[str, Any]:
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if isinstance(value, type) and issubclass(value, BaseException):
            bases = (c.__name__ for c in value.__mro__ if c.__module__ == "builtins")
            return {"exception": next(bases, "Exception"), "number": self._keep(value)}
        return {"value": encoded(value, self._keep)}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What came of one thing that the judge wants done."""
        printed = io.StringIO()
        args = [decoded(arg, self._stand_in) for arg in request["args"]]
        given = {k: decoded(v, self._stand_in) for k, v in request.get("named", {}).items()}
        sys.stdin = typed = io.StringIO(request["typed"])
        try:
            with contextlib.redirect_stdout(printed):
                found = self._done(request["do"], self._kept[request["on"]], args, given)
            said = {"value": encoded(found, self._keep)}
        except BaseException as error:  # whatever the candidate raises
            said = {"raised": _names(error), "text": _text(error)}
        after = [encoded(arg, self._keep) for arg in args]
        changed = {str(i): a for i, a in enumerate(after) if a != request["args"][i]}
        unread = typed.read()
        return {**said, "printed": printed.getvalue(), "changed": changed, "unread": unread}

    def _done(self, what: str, on: Any, args: list[Any], given: dict[str, Any]) -> Any:
        if what == "call":
            return on(*args, **given)
        if what == "get":
            return getattr(on, args[0])
        if what == "set":
            return setattr(on, args[0], args[1])
        if what == "isinstance":
            return isinstance(args[0], on)
        return getattr(type(on), what)(on, *args)

    def _keep(self, value: Any) -> int:
        self._kept.append(value)
        return len(self._kept) - 1

    def _stand_in(self, number: int) -> Any:
        """What the judge speaks of: something kept here, or (below zero) a function of its own."""
        if number >= 0:
            return self._kept[number]

        def asked(*args: Any) -> Any:
            said = [encoded(arg, self._keep) for arg in args]
            say(self._out, {"theirs": -1 - number, "args": said})
            answer = hear(self._lines)
            if "raised" in answer:
                raise getattr(builtins, answer["raised"], RuntimeError)(answer["text"])
            return decoded(answer["value"], self._stand_in)

        return asked


def _names(error: BaseException) -> list[str]:
    """The name of its class, and of those that it is derived from."""
    return [c.__name__ for c in type(error).__mro__]


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_SHOWN]
    except BaseException:  # an exception of the candidate's own
        return ""
