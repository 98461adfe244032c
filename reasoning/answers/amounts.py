"""Numbers in prose, whole: with their sign, fraction, power of ten and thousands."""

from __future__ import annotations

import re
import unicodedata
from collections import deque

from reasoning.answers.compound import told_before
from reasoning.answers.quantities import unit_named

_DIGITS = (
    r"(?:(?:[0-9]{1,3}(?: [0-9]{3}){0,9} 0[0-9]{2}(?![0-9])"  # 12 000; 12 345 may be two
    r"|[0-9]{1,3}(?:(?:,|\{,\}|,\\!|\\,|[\u00a0\u2009\u202f])[0-9]{3}){1,30}(?![0-9])|[0-9]+)"
    r"(?:\.[0-9]+)?|\.[0-9]+)"
)
_NUMERAL = re.compile(rf"{_DIGITS}|[¼-¾⅐-⅞]")
_AROUND = 100
"""Characters before a numeral that may belong to its number."""
_KEPT = 12
"""Numerals from the end that are looked at."""

_SIGN = re.compile(r"(?P<before>\A|[\s\S])(?P<sign>[-−–])(?:\\?[$€£¥][ ]?)?\Z")
_INNER_SIGN = re.compile(r"[$€£¥][-−]\Z")
_MINUS = re.compile(
    r"(?i)(?:\bnegative|(?:\b(?:is|was|be|of|to|equals)|=)\s{1,3}minus)\s{1,3}(?:\\?[$€£¥])?\Z"
)
_TIMES_TEN = rf"(?P<base>{_DIGITS})\s?(?:×|x|\*|·|⋅|\\times|\\cdot)\s?"
_SCIENTIFIC = re.compile(rf"{_TIMES_TEN}10\s?(?:\^|\*\*)\s?[{{(]?\s?(?P<minus>[-−]?)\Z")
_TEN = re.compile(rf"{_TIMES_TEN}\Z")
_E = re.compile(rf"(?<![A-Za-z])(?P<base>{_DIGITS})[eE]\+?(?P<minus>[-−]?)\Z")
_POWER = re.compile(rf"(?P<base>{_DIGITS})(?:\s?\^\s?[{{(]?\s?|\*\*)(?P<minus>[-−]?)\Z")
_FRAC = re.compile(
    r"(?P<whole>[0-9]{0,4})[ ]?\\[dtc]?frac\s?\{\s?"
    r"(?P<top>[-−]?[0-9]{1,20})\s?\}\s?\{\s?\Z"
)
_SHORT_FRAC = re.compile(r"(?P<whole>[0-9]{0,4})\\[dtc]?frac\s?\Z")
_ROOT = re.compile(r"(?P<times>(?:[0-9]{1,20}\s?/?)?)\s?(?:\\sqrt\s?\{?|√\s?[({]?|\bsqrt\()\s?\Z")
_CLOCK = re.compile(r"(?<![\d:])(?:[0-9]{1,4}:){1,3}\Z")
_OVER = re.compile(r"(?<![0-9./])(?P<top>[0-9]{1,40})[ ]?[/⁄][ ]?\Z")
_WHOLE = re.compile(r"(?<![0-9./,^])(?P<whole>[0-9]{1,3})[ ]?(?P<and>and[ ])?\Z")
_PARTS = re.compile(r"[ ]and[ ](?:(?:a|one)[ -])?(half|quarter)\b|[ ]and[ ](three[ -]quarters)\b")
_PART_OF_ONE = {"half": "1/2", "quarter": "1/4"}
_SCALE = re.compile(r"[ ](?:(?:hundred|thousand|million|billion|trillion)\b[ ]?)+")
_WORD = re.compile(r"\s?([A-Za-z]+)")
_PART = re.compile(
    r"(?:_|\^)\s?[{(]?\s?[-−]?\Z|\\[dtc]?frac\s?\{\s?\Z"
    r"|(?<![A-Za-z\\])(?!(?:Rs|USD|US|EUR|GBP|INR)\Z)[A-Za-z]{1,3}\Z"
)
"""What makes a numeral the index, the exponent or the name of something else: x_2, x^2, CO2."""

_SUM = re.compile(r"[\d)}]\s?(?:[-+−±]|\\pm)\s?\Z")
_SUPERSCRIPT = re.compile(r"[⁺⁻]?[⁰¹²³⁴-⁹]+")
_PI = re.compile(r"\s?(?:\\pi(?![A-Za-z])|π)")


def last_number(text: str) -> str | None:
    """The last number of a text, with its sign, decimals, fraction bar and thousands commas.

    Mixed numbers, powers of ten, roots, multiples of pi and times of day are taken whole.
    """
    return next(iter(last_numbers(text, 1)), None)


def last_numbers(text: str, most: int) -> list[str]:
    """The last numbers of a text, from its end."""
    found: list[str] = []
    until = len(text)
    for numeral in reversed(deque(_NUMERAL.finditer(text), maxlen=_KEPT)):
        if numeral.end() > until or len(found) == most:
            continue
        start, number = _whole(text, numeral)
        until = min(until, start)
        if number == "":
            break
        if number:
            found.append(number)
    return found


def amount_at(text: str, at: int) -> str | None:
    """The number that begins at or behind `at`, with the sign before it."""
    numeral = _NUMERAL.search(text, at)
    return None if numeral is None else _whole(text, numeral)[1] or None


def _whole(text: str, numeral: re.Match[str]) -> tuple[int, str | None]:
    """Where the number that ends with `numeral` begins, and the number.

    None if it is none; nothing ("") if it is the end of a sum such as 5 + 2√3, of which no part is
    a number that the text states.
    """
    before = text[max(0, numeral.start() - _AROUND) : numeral.start()]
    after = text[numeral.end() : numeral.end() + 40]
    length, number = _composed(before, numeral[0], after)
    start = numeral.start() - length
    if number is None:
        return start, None
    before = text[max(0, start - 16) : start]
    if ("\\sqrt" in number or "\\pi" in number) and _SUM.search(before):
        return start, ""
    sign, width = _signed(before)
    return start - width, sign + number


def _composed(before: str, number: str, after: str) -> tuple[int, str | None]:
    """How many characters of `before` belong to a number, and the number without its sign."""
    if not number.isascii():
        number = unicodedata.normalize("NFKC", number).replace("⁄", "/")
        return _mixed(before, number, 0, after)
    raised = _SUPERSCRIPT.match(after)
    if raised:
        power = unicodedata.normalize("NFKC", raised[0]).replace("−", "-").lstrip("+")
        if number == "10" and (found := _TEN.search(before)):
            return len(found[0]), rf"{found['base']}\times10^{{{power}}}"
        return 0, f"{number}^{{{power}}}"
    for pattern, form in ((_SCIENTIFIC, r"{}\times10^{{{}}}"), (_E, r"{}\times10^{{{}}}"),
                          (_POWER, "{}^{{{}}}")):  # fmt: skip
        if found := pattern.search(before):
            minus = "-" if found["minus"] else ""
            return len(found[0]), form.format(found["base"], minus + number)
    if after.lstrip()[:1] == "}" and (found := _FRAC.search(before)):
        return len(found[0]), _fraction(found, found["top"].replace("−", "-"), number)
    if len(number) == 2 and number.isdigit() and (found := _SHORT_FRAC.search(before)):
        return len(found[0]), _fraction(found, number[0], number[1])
    if found := _ROOT.search(before):
        return len(found[0]), rf"{found['times']}\sqrt{{{number}}}"
    if found := _CLOCK.search(before):
        return len(found[0]), found[0] + number
    if found := _OVER.search(before):
        fraction = f"{found['top']}/{number}"
        return _mixed(before[: found.start()], fraction, len(found[0]), after)
    if _PART.search(before):
        return 0, None
    if part := _PARTS.match(after):
        return 0, f"{number} {_PART_OF_ONE.get(part[1], '3/4')}"
    if amount := told_before(before, number, after):
        return amount
    if scale := _SCALE.match(after):
        return 0, number + scale[0].rstrip()
    return 0, number + (r"\pi" if _PI.match(after) else "")


def _fraction(found: re.Match[str], top: str, bottom: str) -> str:
    return rf"{found['whole']}\frac{{{top}}}{{{bottom}}}"


def _mixed(before: str, fraction: str, length: int, after: str) -> tuple[int, str]:
    """A fraction with the whole number before it: 2 1/2, and 2 and 1/2 of a known unit."""
    top, _, bottom = fraction.partition("/")
    proper = len(bottom) < 6 and top.isdigit() and bottom.isdigit() and int(top) < int(bottom)
    found = _WHOLE.search(before) if proper else None
    unit = _WORD.match(after)
    if found and (not found["and"] or (unit and unit_named(unit[1]))):
        return length + len(found[0]), f"{found['whole']} {fraction}"
    return length, fraction


def _signed(before: str) -> tuple[str, int]:
    """The sign at the end of `before`, and how many characters it takes up."""
    if found := _MINUS.search(before):
        return "-", len(found[0])
    if found := _INNER_SIGN.search(before):
        return "-", len(found[0])
    found = _SIGN.search(before)
    if found is None or (found["before"].isalnum() or found["before"] in (*")]}%", "$")):
        return "", 0  # "7-3" and "page-3" hold a 3
    if found["sign"] == "–" and found["before"] and found["before"] not in " \n\t(=[:":
        return "", 0
    return "-", len(found[0]) - len(found["before"])
