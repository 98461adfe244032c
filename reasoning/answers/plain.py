"""Plain questions, as people ask them in a line of Python: whatever a chat model says is found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from reasoning.answers import (
    Answer,
    after_answer_is,
    extract,
    last_math,
    last_number,
    parts,
    readable,
)
from reasoning.answers.calls import is_call, of_calls
from reasoning.answers.math import Math

_SHORT = 300
"""Characters; a longer text is an answer by itself, unless it ends in one."""

_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_ENDS_IN_MATH = re.compile(r"(?:\$|\\\)|\\\])[\s.!*]*\Z")
_DIGIT = re.compile(r"\d")
_BOLD = re.compile(r"\*\*(?=\S)((?:(?!\*\*)[^\n]){1,80})(?<=\S)\*\*")
_LISTED = re.compile(r"\s*(?:[-*+•#>]\s|\d+[.)]\s)")
_NUMBER = r"[-+]?[$€£]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?"
_ENDS_IN_NUMBER = re.compile(rf"(?<![\w.,/-]){_NUMBER}(?:\s*(?:°\w?|[A-Za-z]+)){{0,2}}[\s.!*$)]*\Z")
_SAYS = re.compile(r"(?i)(?:=|\b(?:is|are|was|equals|get|gives|makes|leaves)\b)\W*\Z")
_COURTESY = re.compile(
    r"(?i)\W*(?:let me know|feel free|(?:i )?hope (?:this|that|it) helps|would you like|do you want"
    r"|is there anything|if you (?:have|need|want|would|'d)\b)[^\d$\\]*\Z"
)
"""A last line of politeness, behind the answer."""
_NAMED = re.compile(r"""[\w\s,'’()-]*\b(?:is|are|was|were)\s+([\W_]*[A-Z\d][^.!?\n]*)[.!]?\s*\Z""")


def plain(gold: str | None, row: Mapping[str, Any]) -> Plain:
    """Whatever a chat model says: what is marked or said last, else the whole text."""
    del row
    return Plain(gold, said)


@dataclass(frozen=True)
class Plain(Math):
    """As mathematics, where a finished text always answers; short answers can be counted.

    What is in no box stands as it was written, whether mathematics can read it or not. Calls of
    tools are answers, the same if the tools and the arguments are.
    """

    def find(self, text: str, finished: bool) -> Answer | None:
        marked = extract(text, finished=finished)
        found = marked or (said(text) if finished else None)
        if not found or (marked and not readable(marked)):
            return None
        return Answer(found, " ".join(found.split())) if _prose(found) else Answer.of(found)

    def called(self, calls: Sequence[Mapping[str, Any]]) -> Answer:
        return of_calls(calls)

    async def same(self, a: Answer, b: Answer) -> bool:
        """Sentences are no formulas: a number in both does not make them one."""
        if is_call(a) or is_call(b):
            return a.key == b.key
        if _prose(a.text) or _prose(b.text):
            return " ".join(a.text.split()) == " ".join(b.text.split())
        return await super().same(a, b)


def _prose(text: str) -> bool:
    """Four words or more, commands of LaTeX apart."""
    return len(list(islice(_WORDS.finditer(text), 4))) > 3


def said(text: str) -> str | None:
    """The answer in a finished text that has neither a box nor a `####` line.

    What follows "answer is"; what is bold in the last line; the number, formula or name that a
    short text, or the last line of a long one, ends in; else the text itself.
    """
    text = parts(text)[0].strip() or text.strip()
    lines = [line for line in text.split("\n") if line.strip()]
    while len(lines) > 1 and _COURTESY.match(lines[-1]):
        lines.pop()
    if not lines:
        return None
    last = lines[-1].strip()
    return (
        after_answer_is(text) or _bold(last) or _end(last, short=len(lines) == 1) or _name(text)
    ) or text


def _bold(line: str) -> str | None:
    """The last bold words of a line that is no entry of a list and no heading."""
    if "**" not in line or _LISTED.match(line) or len(line) > _SHORT:
        return None
    found = [words.rstrip(".") for words in _BOLD.findall(line) if not words.endswith(":")]
    return found[-1] if found else None


def _end(line: str, *, short: bool) -> str | None:
    """The number or formula that a line ends in, if it says that this is it."""
    if _LISTED.match(line) or len(line) > _SHORT:
        return None
    maths = "$" in line or "\\" in line
    if maths and _ENDS_IN_MATH.search(line) and (math := last_math(line)):
        return math
    found = _DIGIT.search(line) and _ENDS_IN_NUMBER.search(line)
    if found and (short or _SAYS.search(line[: found.start()])):
        return last_number(line[: found.end()])
    return None


def _name(text: str) -> str | None:
    """Paris, of "The capital of France is Paris.": one short sentence that ends in a name."""
    says = len(text) <= 120 and any(word in text for word in ("is", "are", "was", "were"))
    found = _NAMED.match(text) if says else None
    name = found[1].strip() if found else ""
    return name if name and len(name.split()) <= 3 else None
