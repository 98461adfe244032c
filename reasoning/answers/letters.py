"""The letter of an option, told from the text that models put beside it."""

from __future__ import annotations

import re

from reasoning.answers.spelling import unwrapped

_CAPITAL = re.compile(r"[A-J]")
_COMMAND = re.compile(r"\\(?:text\w*|mathrm|mathbf|mathsf|mbox|boldsymbol)\s*\{([^{}]*)\}")
_NAME = r"(?i:the\s+)?(?i:(?:correct\s+|right\s+)?(?:option|choice|answer)\s*(?:is|:)?\s*)"
_LETTER = re.compile(
    rf"(?:(?P<name>{_NAME})\W{{0,3}}(?P<named>[A-J])\b[)\]}}*]{{0,3}}[.:]?"
    r"|[(\[]\s*(?P<bracketed>[A-J])\s*[)\]][.:]?"
    r"|(?P<listed>[A-J])(?:\)[.:]?|\.(?=\s|\\|\$)|\s+[-–—](?=\s+(?:[AI]\s)?[A-Za-z]{2})"
    r"|\s+(?=\([^()]*[A-Za-z]{3}))"
    r"|(?P<told>[A-J]):(?=\s*\W{0,3}(?:[AI]\s)?(?<!\\)[A-Za-z]{2}))"
)
_ANOTHER = re.compile(r"(?:^|[\s,;])\(?[A-J][).:]\s")
_GOES_ON = re.compile(
    r"\s*(?:and|or|,|=|\+|\*|/|\^|\\cup|\\cap|\\times|\\cdot|[-\[]|II|\((?![^()]*[A-Za-z]{3}))"
)


def lettered(text: str) -> str:
    """C, of "(C) the mitral valve", "C. 12", "C: it is" or "option C"; any other text as it is.

    An answer that lists several options, or does something with the letter, is not taken apart.
    """
    if len(text) > 400 or not _CAPITAL.search(text):
        return text
    bare = _COMMAND.sub(r"\1", unwrapped(text)).replace("**", "").strip("*_ $")
    found = _LETTER.match(bare)
    if found is None:
        return text
    rest = bare[found.end() :].strip()
    parted = not found["named"] or bare[found.end() - 1] in ".:)]}*"
    if rest and (not parted or _GOES_ON.match(rest) or _ANOTHER.search(rest)):
        return text
    return found["named"] or found["bracketed"] or found["listed"] or found["told"]
