"""The canonical spelling of an answer; `reasoning.answers.canonical` is its public name."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

MAX_LENGTH = 1000
"""Characters; longer answers are compared as strings and never normalised or parsed."""

_PLAIN = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*?)0*)?\Z")
_SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/",
    "∕": "/", "⁄": "/", "π": r"\pi ", "√": r"\sqrt ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ",
    "≠": r"\ne ", "≈": r"\approx ", "°": r"^\circ ", "∪": r"\cup ", "∩": r"\cap ", "±": r"\pm ",
    "∈": r"\in ", "∅": r"\emptyset ", "θ": r"\theta ", "λ": r"\lambda ", "α": r"\alpha ",
    "β": r"\beta ", "½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4",
    "、": ",", "。": ".", "′": "'", "″": "''",
    "\u200b": "", "\u200d": "", "\ufeff": "", "\u2061": "", "\u2062": "",
}  # fmt: skip


class _Ascii(dict[int, str]):
    """Characters to their ASCII spelling: symbols, full-width forms, every script's digits."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in _SYMBOLS:
            char = _SYMBOLS[char]
        elif 0xFF01 <= code <= 0xFF5E:
            char = chr(code - 0xFEE0)
        elif code > 127 and (digit := unicodedata.decimal(char, None)) is not None:
            char = str(digit)
        elif code < 32 or code == 127 or char.isspace():
            char = " "
        if len(self) < 4096:
            self[code] = char
        return char


_ASCII = _Ascii()
_SCRIPT = re.compile(r"[⁺⁻⁰¹²³⁴-⁹ⁿ]+|[₀-₋ₐ-ₜ]+")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_COMMANDS = re.compile(
    r"(?P<row>\\\\)|\\(?:(?P<drop>!)|(?P<pct>%)|(?P<space>[,;: ])|(?:(?P<frac>[dtc]frac)"
    r"|(?P<none>m?left|m?right|[bB]igg?[lr]?|displaystyle|textstyle)|(?P<le>leqslant|leq)"
    r"|(?P<text>(?:text(?:normal|bf|it|rm|sf|tt)|mbox|hbox|mathrm|mathbf|mathit|mathsf"
    r"|operatorname)(?=\s*\{))|(?P<gap>q?quad|enspace|thinspace)|(?P<ge>geqslant|geq)|(?P<ne>neq)"
    r"|(?P<lt>lt)|(?P<gt>gt)|(?P<deg>degree)|(?P<lbrace>lbrace)|(?P<rbrace>rbrace)"
    r"|(?P<empty>varnothing))(?![A-Za-z]))"
)
_BOLD = re.compile(r"\\(?:mathbf|textbf|boldsymbol|bm|pmb|mathbfit|underline)\s*\{?([A-Za-z])\b\}?")
_COMMAND = {
    "row": r"\\", "drop": "", "none": "", "gap": " ", "frac": r"\frac",
    "text": r"\text", "space": " ", "le": r"\le", "ge": r"\ge",
    "ne": r"\ne", "lt": "<", "gt": ">", "deg": r"^\circ", "pct": "%", "lbrace": r"\{",
    "rbrace": r"\}", "empty": r"\emptyset",
}  # fmt: skip
_ARG = r"(?:([0-9A-Za-z])|\{([^{}]*)\}|(\\pi)(?![A-Za-z]))"
_FRAC = re.compile(rf"\\frac\s*{_ARG}\s*{_ARG}")
_SQRT = re.compile(r"\\sqrt\s*(\[[^\[\]]*\])?\s*([0-9A-Za-z])")
_LETTER = re.compile(r"([0-9})]\s*)?\\text\s*\{\s*\(?([A-Za-z])\)?\s*\}")
_AND = re.compile(r"\s*,?\s*(?:\\text\s*\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)\b)\s*")
_OR = re.compile(r"\s*,?\s*(?:\\text\s*\{\s*,?\s*or\s*\}|(?<![A-Za-z\\])or\b)\s*")
_AND_A_PART = re.compile(  # 1 and 1/2 hours, 2 and a half
    r"(?<![0-9/.,])([0-9]{1,3}) and (a half|a quarter|three quarters"
    r"|(?:[0-9]{1,2}/[0-9]{1,2}|\\frac\{[0-9]{1,2}\}\{[0-9]{1,2}\})(?= [a-z]{3})(?! (?:are|resp)))"
)
_PARTS = {"a half": "1/2", "a quarter": "1/4", "three quarters": "3/4"}
_ABBREVIATED = re.compile(r"(?<![A-Za-z\\])([A-Za-z]{2,3})\.(?= ?[0-9])")  # 3 ft. 2 in
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne|in|lor)(?![A-Za-z])")
_FUNCTION = re.compile(
    r"(?<![A-Za-z\\])(?:(arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|log|ln|pi|infty)"
    r"|(infinity|oo|inf)|(sqrt)\s*\(([^()]*)\)|(percent(?:age)?|pct))(?![A-Za-z])"
)
_SIGNS = {"<=": r"\le ", ">=": r"\ge ", "!=": r"\ne ", "+-": r"\pm ", "+/-": r"\pm "}
_MINUS = re.compile(r"(?<=\S)\s*\+\s+-\s*(?=[0-9A-Za-z.(\\])")  # 2 + -3, as programs print it
_GOES_ON = re.compile(r"([0-9]\.[0-9]+)\.{3,}")  # 0.333..., which is not 0.333
_SIGN = re.compile(r"[<>!]=|\+/?-")
_MARKED_THOUSANDS = re.compile(
    r"(?<=[0-9])(?:,\s*\\!|\\!\s*,|\s*\{,\}|\\,)\s*(?=[0-9]{3}(?![0-9]))"
)
_THOUSANDS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_SPACED = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9])")
_LIST_COMMA = re.compile(r"(?<=[0-9]) ?, ?(?=[0-9]{3}(?![0-9]))")
_SPACE = re.compile(
    r"(?<![A-Za-z0-9]) (?!(?<=[0-9], )[0-9]{3}(?![0-9]))| (?![A-Za-z0-9])"
    r"|(?<=[0-9]) (?=[A-Za-z](?![A-Za-z]))"
)
_BRACED = re.compile(r"([\^_])\{([A-Za-z0-9]|\\circ)\}(?![0-9])")
_POINT = re.compile(r"(?<=[0-9])\.(?![0-9]|\\(?:overline|bar|dot)(?![a-z])|\([0-9]+\))")
_ZEROS = re.compile(
    r"(?<=[0-9])(\.[0-9]*?)0+(?![0-9]|\\(?:overline|bar|dot|ldots)(?![a-z])|\([0-9]+\))"
)

_WORD = re.compile(r"[^\W\d_]{3}")
_BROKEN = re.compile(
    r"[\^_]\s*(?:[\^_})$]|\{\s*\}|\Z)|\\[dtc]?frac\s*(?:\{[^{}]*\}|[0-9A-Za-z])?\s*\{\s*\}|\\sqrt\s*\{\s*\}"
)


@lru_cache(maxsize=8192)
def _canonical(text: str) -> str:
    for _ in range(6):  # one pass may uncover work for the next; two are typical
        before, text = text, _normalise(text)
        if text == before:
            break
    return text


def canonical(text: str) -> str:
    """A cheap canonical spelling: equal results mean the same answer, different ones may.

    Drops delimiters, spacing and sizing commands, unifies commands, digits, fractions, thousands
    separators and zeros of decimals.  Keeps units, percent signs, "x =" and subscripts, which
    `reasoning.answers.grading` forgives where only one side has them.  Idempotent; never raises;
    texts over `MAX_LENGTH` characters are only stripped.
    """
    text = text.strip()
    return text if len(text) > MAX_LENGTH else plain_number(text) or _canonical(text)


def readable(text: str) -> bool:
    """Whether a mathematical answer can be read at all.

    Not where it says nothing ("?", "..."), where a fraction, a root or a power lacks a part, or
    where braces do not match. Cheap; what passes may still be beyond computer algebra.
    """
    if len(text) > MAX_LENGTH or text.isalnum():
        return True
    if not re.search(r"[^\s.?!,;:_\-*$]", text) or _BROKEN.search(text):
        return False
    depth = 0
    for found in re.finditer(r"\\[\s\S]|[{}]", text):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth < 0:
            return False
    return depth == 0


def plain_number(text: str) -> str | None:
    """The shortest spelling of a plain ASCII decimal ("+007.50" is "7.5"), None for the rest."""
    if text.isdecimal() and text.isascii() and text[0] != "0":
        return text
    if not (found := _PLAIN.match(text)) or text in ("", "+", "-", ".", "+.", "-."):
        return None
    sign, whole, decimals = found.groups()
    number = f"{whole or '0'}.{decimals}" if decimals else whole or "0"
    return f"-{number}" if sign == "-" and number != "0" else number


def _normalise(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        text = _SCRIPT.sub(_script, text).translate(_ASCII)
    text = unwrapped(text)
    if (number := plain_number(text)) is not None:
        return number
    if "\\" in text:
        text = _commands(text)
    if "$" in text:
        text = re.sub(r"(?<!\\)\$(?!\s*[0-9.,]+\Z)", "", text)  # a lone "$5" is money
        text = re.sub(r"(?<!\\)\$(?=\s*[0-9.,]+\Z)", r"\\$", text)
        text = re.sub(r"(?<![0-9])\\\$(?!\s*[0-9.])", "", text)
    if "-" in text:
        text = _MINUS.sub("-", text)
    if ".." in text:
        text = _GOES_ON.sub(r"\1\\ldots", text)
    if any(sign in text for sign in "=-"):
        text = _SIGN.sub(lambda m: _SIGNS[m[0]], text)
    if " and " in text:
        text = _AND_A_PART.sub(lambda m: f"{m[1]} {_PARTS.get(m[2], m[2])}", text)
    mathematical = "\\" in text or "=" in text or any(char.isdigit() for char in text)
    if not text.isdigit() and any(char.isalpha() for char in text):
        text = _FUNCTION.sub(_function, text)
        if _RELATION.search(text):
            text = _OR.sub(r" \\lor ", text)  # x < 1 or x > 3 is not x < 1 and x > 3
        text = _AND.sub(",", text) if mathematical else text
    if "," in text:
        text = _MARKED_THOUSANDS.sub("", text)
        text = _THOUSANDS.sub(lambda m: _joined(m, text), text)
        text = _LIST_COMMA.sub(", ", text)
    text = " ".join(text.split())
    if " " in text:
        text = _SPACED.sub(lambda m: m[0].replace(" ", ""), text)
        text = re.sub(r"(\\[A-Za-z]+) (?=[0-9])", r"\1", _SPACE.sub("", text))
    if "{" in text:
        text = _BRACED.sub(r"\1\2", text)
    if "." in text:
        text = _ABBREVIATED.sub(r"\1 ", text)
        text = re.sub(r"(?<![0-9])\.(?=[0-9])", "0.", text)
        text = _POINT.sub("", _ZEROS.sub(r"\1", text))
    if re.match(r"\+[0-9.]", text):
        text = text[1:]
    if _WORD.search(text) and all(char.isalpha() or char in " -'" for char in text):
        return text.casefold()  # a word: Even, even; R - r is none
    return text


def _script(found: re.Match[str]) -> str:
    """x₁² as x_{1}^{2}."""
    sign = "_" if found[0][0] >= "₀" else "^"
    text = unicodedata.normalize("NFKC", found[0]).replace("−", "-")
    return f"{sign}{{{re.sub('^[+](?=.)', '', text)}}}"


def unwrapped(text: str) -> str:
    """Without outer delimiters, boxes, braces, emphasis, a whole `\\text` and a final period."""
    while True:
        before = text
        text = text.strip().removesuffix("\\").strip()
        if text.endswith((".", ",", ";", ":")) and not text.endswith(("\\,", "\\;", "\\:", "...")):
            text = text[:-1]
        for left, right in (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**")):
            if len(text) >= len(left + right) and text.startswith(left) and text.endswith(right):
                inner = text[len(left) : -len(right)]
                text = text if left in inner.strip("$") or inner.endswith("\\") else inner
        box = re.match(r"(?:\\(?:boxed|fbox|text(?:bf|it|rm|normal)?|mathrm|mbox)\s*)?\{", text)
        if box and text[-1] == "}" and _closes(text, box.end() - 1) == len(text) - 1:
            text = text[box.end() : -1]
        if len(text) == 3 and text[0] == "(" and text[2] == ")" and "A" <= text[1] <= "Z":
            text = text[1]  # a multiple choice letter
        if text == before:
            return text


def _closes(text: str, start: int) -> int:
    """Index of the brace that closes the one at `start`, -1 where none does."""
    depth = 0
    for found in re.finditer(r"\\[\s\S]|[{}]", text[start:]):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0 and found[0] == "}":
            return start + found.start()
    return -1


def _commands(text: str) -> str:
    if "\\times" in text and len(_BOLD.findall(text)) > 1:
        text = _BOLD.sub(r"\\vec{\1}", text)  # letters of a cross product, whose order counts
    if "\\\\" in text and "\\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # an escape too many
    text = _BOXED.sub("", text)
    text = _MARKED_THOUSANDS.sub("", text) if "," in text else text
    text = _COMMANDS.sub(lambda m: _COMMAND[m.lastgroup or ""], text)
    text = _LETTER.sub(_letter, text)
    text = re.sub(r"\\text\s*\{\s*([^{}]*?)\s*\}", r"\\text{\1}", text)
    if "\\frac" in text:
        text = _FRAC.sub(lambda m: "\\frac{{{}}}{{{}}}".format(*_arguments(m)), text)
    return _SQRT.sub(r"\\sqrt\1{\2}", text) if "\\sqrt" in text else text


def _letter(found: re.Match[str]) -> str:
    if found[1] and found[2] in "mgshlL":
        return found[0]  # 5\\text{ m} is metres, 5m is not
    return (found[1] or "") + found[2]


def _arguments(found: re.Match[str]) -> tuple[str, str]:
    a, b, c, d, e, f = (group or "" for group in found.groups())
    return a + b + c, d + e + f


def _function(found: re.Match[str]) -> str:
    if found[1]:
        return f"\\{found[1]}"
    return r"\infty" if found[2] else rf"\sqrt{{{found[4]}}}" if found[3] else "%"


def _joined(found: re.Match[str], text: str) -> str:
    """Digit groups as one number, unless brackets make them a tuple, an interval or a set."""
    before = text[: found.start()]
    depth = sum(before.count(a) - before.count(b) for a, b in ("()", "[]", ("\\{", "\\}")))
    return found[0] if depth > 0 else found[0].replace(",", "")
