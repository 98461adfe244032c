"""Values between a judge and a candidate's process: plain data travels, the rest stays behind.

Plain are None, numbers, texts, bytes, lists, tuples, sets, mappings, fractions, decimals, dates and
arrays of NumPy. What is not plain is spoken of by a number (`keep` gives it one), and the other
side holds a stand-in (`stand_in` makes it). Reading what the other side wrote runs no code of it.
"""

from __future__ import annotations

import datetime
import json
import numbers
import sys
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import IO, Any

Keep = Callable[[Any], int]
StandIn = Callable[[int], Any]

_MANY: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
}
_TEXTS: dict[str, Any] = {
    "Fraction": Fraction,
    "Decimal": Decimal,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
}


def encoded(value: Any, keep: Keep) -> Any:
    """`value` as JSON has it."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    for name, kind in _MANY.items():
        if isinstance(value, kind):
            return {name: [encoded(item, keep) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encoded(k, keep), encoded(v, keep)] for k, v in value.items()]}
    return _single(value, keep)


def _single(value: Any, keep: Keep) -> Any:
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__: value.decode("latin-1")}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, datetime.date | datetime.time):
        return {type(value).__name__: value.isoformat()}
    if isinstance(value, Decimal):
        return {"Decimal": str(value)}
    if isinstance(value, numbers.Number) and not isinstance(value, type):
        return _number(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf":
        return {"array": [value.tolist(), value.dtype.str]}
    return {"other": keep(value)}


def _number(value: Any) -> Any:
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Rational):
        return {"Fraction": f"{int(value.numerator)}/{int(value.denominator)}"}
    if isinstance(value, numbers.Real):
        return float(value)
    whole = complex(value)
    return {"complex": [whole.real, whole.imag]}


def decoded(data: Any, stand_in: StandIn) -> Any:
    """What `encoded` was given. Raises ValueError for what it does not give."""
    if not isinstance(data, dict):
        return data
    try:
        ((name, held),) = data.items()
        if name in _MANY:
            return _MANY[name](decoded(item, stand_in) for item in held)
        if name == "dict":
            return {decoded(k, stand_in): decoded(v, stand_in) for k, v in held}
        if name in _TEXTS:
            return _TEXTS[name](held)
        if name in ("bytes", "bytearray"):
            raw = held.encode("latin-1")
            return raw if name == "bytes" else bytearray(raw)
        if name == "range":
            return range(*held)
        if name == "complex":
            return complex(*held)
        if name == "array":
            import numpy

            return numpy.array(held[0], dtype=held[1])
        if name == "other":
            return stand_in(int(held))
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not a value: {error}") from error
    raise ValueError(f"not a value: {name!r:.40}")


def say(out: IO[str], message: Mapping[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def hear(lines: IO[str]) -> dict[str, Any]:
    """The next message. Raises EOFError if there is none, ValueError for what is no message."""
    line = lines.readline()
    if not line:
        raise EOFError("the other process is gone")
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message
