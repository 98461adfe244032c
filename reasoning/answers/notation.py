"""Other notations of one formula, in the one that is read: of programs, of books, of habit.

Works on canonical spellings and returns one. What a respelling cannot be sure of stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

_ROOT_OR_EXP = re.compile(r"\\?(?<![A-Za-z])(sqrt|exp|abs)\s*(?=[({])")
_POWER = re.compile(r"\^\s*(?=\()")
_CALL = re.compile(
    r"\\?(?<![A-Za-z])(?:(?:arc)?(?:sin|cos|tan)h?|cot|sec|csc|ln|log|exp|abs)\s*(?=\()"
)
_OPERAND = r"(?:[A-Za-z0-9.]+|\([^()]*\))"
_TOWER = re.compile(
    rf"\*\*\s*({_OPERAND}\s*\*\*\s*-?(?:{_OPERAND}|\([^()]*\([^()]*\)\)))(?![\w.]|\s*\*\*)"
)
_INSIDE = r"((?:[^{}]|\{[^{}]*\})*)"
_CHOOSE = re.compile(rf"\{{{_INSIDE}\\choose(?![A-Za-z]){_INSIDE}\}}")
_CHOOSE_ALL = re.compile(rf"{_INSIDE}\\choose(?![A-Za-z]){_INSIDE}\Z")  # the braces are off
_REPEATING = re.compile(
    r"(?P<whole>[0-9]*)\.(?P<fixed>[0-9]*)(?:\\(?:overline|bar|dot)\s*(?:\{(?P<a>[0-9]+)\}"
    r"|(?P<b>[0-9]))|\((?P<c>[0-9]+)\)(?![0-9]))"
)
_DOTTED = re.compile(
    r"(?P<whole>[0-9]*)\.(?P<fixed>[0-9]*)\\dot\s*\{?(?P<first>[0-9])\}?(?P<middle>[0-9]*)"
    r"\\dot\s*\{?(?P<last>[0-9])\}?"
)
_GOING_ON = re.compile(r"(?P<whole>[0-9]+)\.(?P<digits>[0-9]{3,60})\\ldots\Z")
_PERIOD = re.compile(r"(?P<fixed>[0-9]*?)(?P<period>[0-9]{1,6}?)(?P=period){2,}\Z")
_DOTS = re.compile(r"\\(?:cdots|dots[bcmio]?|hdots|ldots)(?![A-Za-z])|\.{3,}|…")
_NAMES = re.compile(
    r"\\text\{\\?(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp)\}"
)
_DEGREES = re.compile(r"(?P<of>[0-9]+(?:\.[0-9]+)?|[A-Za-z]|\\[a-z]+)\s*\^(?:\\circ|\{\\circ\})")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_ARRAY = re.compile(r"\\begin\{(array|smallmatrix|matrix)\}(?:\{[clr|]*\})?(.*?)\\end\{\1\}")
_IN_BRACKETS = re.compile(r"[(\[](\\begin\{pmatrix\}(?:(?!\\begin).)*\\end\{pmatrix\})[)\]]")
_PLAIN = (
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\\colon(?![A-Za-z])\s*|\{:\}"), ":"),
    (re.compile(r"\\(?:ast|times|cdot|cdotp|bullet)(?![A-Za-z])\s*|\*"), r"\\cdot "),
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\(?:lvert|rvert|vert)(?![A-Za-z])\s*"), "|"),
    (re.compile(r"\\langle(?![A-Za-z])\s*(.*?),(.*?)\s*\\rangle(?![A-Za-z])"), r"(\1,\2)"),
    (re.compile(r"\\setminus(?![A-Za-z])|\\backslash(?![A-Za-z])"), r"\\setminus "),
    (re.compile(r"\\(?:vee|lor)(?![A-Za-z])\s*"), r"\\lor "),
    (re.compile(r"\\(?:wedge|land)(?![A-Za-z])\s*"), r"\\land "),
    (re.compile(r"\\(?:limits|nolimits|ensuremath|hspace\{[^{}]*\})(?![A-Za-z])"), ""),
    (re.compile(r"(?<=[0-9)}A-Za-z])\+\s*-\s*(?=[0-9A-Za-z(\\])"), "-"),
    (re.compile(r"(?<=[0-9)}A-Za-z])-\s*-\s*(?=[0-9A-Za-z(\\])"), "+"),
)
_NESTED = re.compile(r"\[\[[^\[\]]*\](?:,\s*\[[^\[\]]*\])*\]\Z")
_CHOSEN = re.compile(
    r"(?<![A-Za-z0-9])C\(([0-9]+), ?([0-9]+)\)|\{?\}?_\{?([0-9]+)\}?C_\{?([0-9]+)\}?(?![0-9])"
)
_VECTOR = re.compile(r"\\(?:vec|(?:wide)?hat|overrightarrow|boldsymbol|nabla)(?![A-Za-z])")
_PROGRAM = re.compile(r"(?<=[0-9*])\s*\bI\b|(?<=[0-9])j\Z")


@lru_cache(maxsize=8192)
def respelled(text: str) -> str:
    """The formula in the notation that is read; a text in that notation is returned as it is."""
    if text.isalnum() and not text.isalpha():
        return text
    if "*" in text or text.endswith("j"):
        text = _PROGRAM.sub("i", text)
    if "\\times" in text and _VECTOR.search(text):
        return text.replace("*", "\\times ")  # a cross product is no other one
    if "**" in text:
        text = _program(text)
    for pattern, spelling in _PLAIN:
        text = pattern.sub(spelling, text)
    if _NESTED.match(text):
        rows = re.sub(r"\],\s*\[", r"\\\\", text[2:-2]).replace(",", "&")
        return rf"\begin{{pmatrix}}{rows}\end{{pmatrix}}"
    if "C" in text:
        text = _CHOSEN.sub(lambda m: rf"\binom{{{m[1] or m[3]}}}{{{m[2] or m[4]}}}", text)
    text = _DOTS.sub(r"\\ldots", text)
    if "." in text:
        text = _repeating(text)
    if "\\" in text:
        text = _NAMES.sub(r"\\\1", text)
        text = _IN_BRACKETS.sub(r"\1", _ARRAY.sub(r"\\begin{pmatrix}\2\\end{pmatrix}", text))
        if "\\choose" in text:
            text = _CHOOSE.sub(_binomial, text)
            text = _CHOOSE_ALL.sub(_binomial, text, count=1) if "\\choose" in text else text
        if "\\circ" in text and _TRIGONOMETRIC.search(text):
            text = _DEGREES.sub(r"(\\frac{\g<of>\\pi}{180})", text)
    text = _bracketed(_ROOT_OR_EXP, text, _called)
    return _bracketed(_POWER, text, lambda _, inside: f"^{{{inside}}}")


def _program(text: str) -> str:
    """Powers of a program, which say one thing where those of a formula say two.

    sin(x)**2 is (sin(x))**2, and 2**3**2 is 2**(3**2).
    """
    at = 0
    while found := _CALL.search(text, at):
        at, end = found.end(), _closing(text, found.end())
        if end >= 0 and text.startswith("**", end + 1):
            start = found.start()
            text = f"{text[:start]}({text[start : end + 1]}){text[end + 1 :]}"
            at += 1
    while (towers := _TOWER.sub(r"**(\1)", text)) != text:
        text = towers
    return text


def _called(found: re.Match[str], inside: str) -> str:
    if found[1] == "abs":
        return f"|{inside}|"
    return f"\\sqrt{{{inside}}}" if found[1] == "sqrt" else f"e^{{{inside}}}"


def _bracketed(
    pattern: re.Pattern[str], text: str, spell: Callable[[re.Match[str], str], str]
) -> str:
    """`text` with each bracket after `pattern` and what stands before it spelled anew."""
    at = 0
    while found := pattern.search(text, at):
        end = _closing(text, found.end())
        if end < 0:
            return text
        inside = text[found.end() + 1 : end]
        spelled = spell(found, inside)
        at = found.start() + len(spelled) - len(inside) - 1
        text = text[: found.start()] + spelled + text[end + 1 :]
    return text


def _closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`; -1 where none does."""
    depth = 0
    for found in re.finditer(r"[({\[]|[)}\]]", text[start:]):
        depth += 1 if found[0] in "({[" else -1
        if depth == 0:
            return start + found.start()
    return -1


def _binomial(found: re.Match[str]) -> str:
    return "\\binom{{{}}}{{{}}}".format(*(part.strip() for part in found.groups()))


def _repeating(text: str) -> str:
    """Repeating decimals as fractions: 0.\\overline{3}, 0.(3), dots above, 0.333\\ldots"""

    def two_dots(found: re.Match[str]) -> str:
        period = found["first"] + found["middle"] + found["last"]
        return _fraction(found["whole"], found["fixed"], period)

    def marked(found: re.Match[str]) -> str:
        return _fraction(
            found["whole"], found["fixed"], found["a"] or found["b"] or found["c"] or ""
        )

    def going_on(found: re.Match[str]) -> str:
        period = _PERIOD.match(found["digits"])
        return _fraction(found["whole"], period["fixed"], period["period"]) if period else found[0]

    text = _REPEATING.sub(marked, _DOTTED.sub(two_dots, text))
    return _GOING_ON.sub(going_on, text)


def _fraction(whole: str, fixed: str, period: str) -> str:
    tail = Fraction(int(period), 10 ** len(fixed) * (10 ** len(period) - 1))
    value = Fraction(int((whole or "0") + fixed), 10 ** len(fixed)) + tail
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
