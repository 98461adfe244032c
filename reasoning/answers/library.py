"""Computer algebra: what math-verify makes of two formulas, each read whole.

For what `reasoning.answers.syntax` cannot read: sums and integrals with letters, sets, systems,
relations in several variables. math-verify's own search for something readable in a text is not
used, for it compares a part of a formula where it cannot read all of it; nor is its rounding.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from importlib import import_module
from typing import Any

_LETTER = re.compile(r"\\[A-Za-z]+|[A-Za-z]")
_MISREAD = re.compile(
    r"\\(?:circ|text|ldots|mid|lor|land|mathrm|not|angle|triangle)(?![A-Za-z])|['?:]|!!"
    r"|(?<![A-Za-z\\])[fgFG]\^(?:\{[^{}]*\}|\w)\s*\(|[hH]\^\{-1\}\s*\("  # inverse functions
    r"|\^(?:\{[^{}]*\}|-?[A-Za-z0-9])\s*\^"  # 2^3^2
)
"""What the library drops or takes for a letter; formulas with it are equal in spelling only."""

_INDEX = re.compile(r"\\(?:sum|prod|int|bigcup|bigcap)\s*_\{([A-Za-z])=")
_SUBSCRIPT = re.compile(r"_\{([^{}]*)\}|_([A-Za-z0-9])")
_MIXED = re.compile(r"(?<![0-9.^_}A-Za-z])([0-9]+)(\\frac\{[0-9]+\}\{[0-9]+\})")
_DIGITS = 300


def load() -> None:
    """Import the library: seconds, before any clock runs."""
    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: F401


def same_by_library(a: str, b: str) -> bool:
    """Whether math-verify holds two formulas equal in either direction."""
    from math_verify import verify

    a, b = keep_case(a, b)
    x, y = _parse(a), _parse(b)
    if x is None or y is None or _undefined(x) or _undefined(y) or _differ(x, y):
        return False

    def one_way(gold: Any, prediction: Any) -> bool:
        return bool(
            verify(
                [gold],
                [prediction],
                float_rounding=30,
                numeric_precision=_DIGITS,
                allow_set_relation_comp=True,
                timeout_seconds=None,
            )
        )

    return one_way(x, y) or one_way(y, x)


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
def _parse(text: str) -> Any:
    """The sympy object that a text is as a whole; None where the library cannot read all of it."""
    from latex2sympy2_extended.latex2sympy2 import (
        ConversionConfig,
        NormalizationConfig,
        latex2sympy,
        normalize_latex,
    )
    from math_verify.grader import should_treat_as_complex

    if _MISREAD.search(text) or _indexed(text):
        return None
    text = _MIXED.sub(r"(\1+\2)", text)
    # Units are ours to judge: the library would read "3t" as 3 tonnes.
    normal = NormalizationConfig(malformed_operators=True, nits=True, units=False)
    try:
        text = normalize_latex(text, config=normal)
        return latex2sympy(
            text,
            is_real=not should_treat_as_complex(text),
            convert_degrees=False,
            normalization_config=None,
            # 3(4) is twelve; mixed numbers have been spelled out above
            conversion_config=ConversionConfig(interpret_as_mixed_fractions=False),
        )
    except MemoryError:
        raise
    except Exception:  # the library's are many
        return None


def _indexed(text: str) -> bool:
    """Whether a subscript holds the index of a sum: a_k is one letter to the library."""
    indices = set(_INDEX.findall(text))
    if not indices:
        return False
    inside = " ".join(a or b for a, b in _SUBSCRIPT.findall(_INDEX.sub("", text)))
    return any(index in inside for index in indices)


def _undefined(x: Any) -> bool:
    """Whether there is a 0/0 or 1/0 in it: no value, so equal to nothing."""
    sympy = import_module("sympy")
    done = x.doit() if getattr(x, "is_number", False) else x
    return bool(getattr(done, "has", lambda *_: False)(sympy.nan, sympy.zoo))


def _differ(a: Any, b: Any) -> bool:
    """Whether two expressions certainly differ: cheap, and most pairs do.

    Their values at one point of positive coordinates are apart, or two equations have different
    variables. Saves the seconds that simplifying and solving can take.
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
