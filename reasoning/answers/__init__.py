"""What a model answered: finding the answer in a text and writing it in one canonical form.

Everything here is plain string work: no computer algebra, no processes, nothing that can hang.
`reasoning.answers.grading` decides whether two answers mean the same; docs/grading.md states the
policy.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reasoning.answers.spelling import MAX_LENGTH, canonical, plain_number, readable

__all__ = [
    "FALLBACKS",
    "MAX_LENGTH",
    "Answer",
    "Fallback",
    "FallbackName",
    "after_answer_is",
    "canonical",
    "extract",
    "formula",
    "last_math",
    "last_number",
    "parts",
    "plain_number",
    "readable",
    "stated",
]

Fallback: TypeAlias = Callable[[str], "str | None"]
FallbackName: TypeAlias = Literal[
    "after_answer_is", "formula", "last_math", "last_number", "none", "stated"
]


@dataclass(frozen=True, slots=True)
class Answer:
    """An extracted answer: `text` as the model wrote it, `key` what votes are counted by."""

    text: str
    key: str

    @classmethod
    def of(cls, text: str) -> Answer:
        """The answer whose key is its own canonical form."""
        return cls(text, canonical(text))


_BOX = r"\\(?:boxed|fbox)(?![A-Za-z])"
_BOX_TOKEN = re.compile(_BOX + r"\s*(?:(\{)|([^\s{}$]+))?|\\[\s\S]|[{}]")
_JOIN = re.compile(r"(?:[\s$,;&.]|\\[()\[\],;: ]|\\q?quad|\\text\s*\{\s*(?:and|or)\s*\}|and|or)*\Z")
_JOINER = re.compile(r"[,;&]|\b(?:and|or)\b")
_HEADING = re.compile(
    r"(?i)\W*(?:step|final|answer|solution|conclusion|explanation|verification|summary|proof)\b"
    r"|[*_\s]*(?:[a-z]+ (?:[0-9]+|[ivx]+|[a-z])|\(?[0-9]+)[*_]*[:.)][*_]*\s+\S|.*:\W*\Z"
)  # "Case 2: $k<0$" and "1. Find x" are Markdown


def extract(text: str, fallback: Fallback | None = None) -> str | None:
    """The answer a text states, or None.

    The last `\\boxed{}` (several joined by nothing but commas, "and" or "or" make one list), else
    the rest of the line after the last `####`, else `fallback(text)`.  Text after the last
    `</think>` is tried first, then the whole text.  Linear in the length of the text; raises only
    what `fallback` raises.
    """
    for part in parts(text):
        found = _last_boxed(part) or _after_hashes(part)
        if found is None and fallback is not None:
            found = fallback(part)
        if found and (found := found.strip()):
            return found
    return None


def parts(text: str) -> tuple[str, ...]:
    """Where an answer is looked for, in this order: what follows the thoughts, then all of it."""
    _, mark, tail = text.rpartition("</think>")
    return (tail, text) if mark else (text,)


def _last_boxed(text: str) -> str | None:
    first = min((i for i in (text.find("\\boxed"), text.find("\\fbox")) if i >= 0), default=-1)
    if first < 0:
        return None
    boxes: list[tuple[int, int, str]] = []  # start, end, content; innermost complete boxes
    open_braces: list[tuple[int, int] | None] = []  # start and content start of a box, or a group
    for token in _BOX_TOKEN.finditer(text, first):
        word = token[0]
        if token[1]:
            open_braces.append((token.start(), token.end()))
        elif token[2]:
            boxes.append((token.start(), token.end(), token[2].rstrip(".,;:!?")))
        elif word == "{":
            open_braces.append(None)
        elif word == "}" and open_braces and (box := open_braces.pop()) is not None:
            start, inner = box
            if not (boxes and boxes[-1][0] >= inner and boxes[-1][2].strip()):
                boxes.append((start, token.end(), text[inner : token.start()]))
    boxes = [box for box in boxes if box[2].strip()]
    if not boxes:
        return None
    start, _, content = boxes.pop()
    contents = [content.strip()]
    while boxes:
        earlier, end, content = boxes.pop()
        between = text[end:start]
        if len(between) > 40 or not (_JOIN.match(between) and _JOINER.search(between)):
            break
        if content.strip() not in contents[-16:]:
            contents.append(content.strip())
        start = earlier
    return ", ".join(reversed(contents))


def _after_hashes(text: str) -> str | None:
    _, mark, rest = text.rpartition("####")
    line = rest.split("\n", 1)[0].strip() if mark else ""
    return None if not line or _HEADING.match(line) else line


_NUMERAL = re.compile(r"-?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)")
_PHRASE = re.compile(r"(?i)\banswer\b(?:\s+is\b\s*:?|\s*:)[*_\s]*")
_STOP = re.compile(r"\n|\.(?=\s|\*|\Z)|I hope it is correct")
_MATH = re.compile(
    r"(?<!\\)\$\$(?P<a>[^$]+)\$\$|(?<!\\)\$(?P<b>(?:[^$\\\n]|\\[^\n])+)\$"
    r"|\\\[(?P<c>(?:[^\\]|\\(?![\[\]]))*)\\\]|\\\((?P<d>(?:[^\\]|\\(?![()]))*)\\\)"
)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def last_number(text: str) -> str | None:
    """The last number of a text, with its sign, decimals, fraction bar and thousands commas."""
    found = _last(_NUMERAL, text)
    if found is None:
        return None
    start, number = found.start(), found[0]
    if number[0] == "-" and start and (text[start - 1].isalnum() or text[start - 1] in ")]}"):
        number, start = number[1:], start + 1  # "7-3" and "page-3" hold a 3
    before = re.search(r"(?<![0-9./])(-?[0-9]{1,40})/\Z", text[max(0, start - 42) : start])
    return f"{before[1]}/{number}" if before else number


def after_answer_is(text: str) -> str | None:
    """What follows the last "answer is" or "answer:" up to the end of its sentence or line."""
    found = _last(_PHRASE, text)
    if found is None:
        return None
    start = found.end()
    rest = text[start : start + 4 * MAX_LENGTH]
    if (math := _MATH.match(rest)) and not rest[math.end() :].lstrip()[:1].isalnum():
        return math[0]
    end = _STOP.search(rest)
    rest = rest[: end.start()] if end else rest
    return re.split(r"\b(?:is|are)\b:?", rest)[-1].strip(" *_\t") or None


def last_math(text: str) -> str | None:
    """The content of the last `$...$`, `$$...$$`, `\\(...\\)` or `\\[...\\]`."""
    found = _last(_MATH, text)
    return next(filter(None, found.groups()), None) if found else None


def formula(text: str) -> str | None:
    """What follows "the answer is", else the last formula."""
    return after_answer_is(text) or last_math(text)


def stated(text: str) -> str | None:
    """What follows "the answer is", else the last formula, else the last number."""
    return formula(text) or last_number(text)


FALLBACKS: dict[FallbackName, Fallback | None] = {
    "after_answer_is": after_answer_is,
    "formula": formula,
    "last_math": last_math,
    "last_number": last_number,
    "none": None,
    "stated": stated,
}
"""How a finished text without a box or a `####` line is searched, by the names recipes use."""
