"""How replies become values: parsers by name, which find what they look for or say why not.

All of them take time linear in the reply, but `regex`: its patterns are bounded beforehand, and
others run between the lines that it is tried on.
"""

from __future__ import annotations

import json
import math
import re
from asyncio import sleep
from collections.abc import Sequence
from typing import Any

from searchers.programs.language.parts import Parse
from searchers.programs.language.patterns import compiled_pattern
from searchers.programs.language.values import Failure, alike
from searchers.threads.plans import listed

LONGEST, LINES = 300, 200
"""Characters of a line, and lines, that a pattern is tried on."""
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_NONE = re.compile(r"\W*(?:none|nothing|n/a|no)\W*", re.IGNORECASE)


async def parsed(text: str, how: Parse, most: int, entries: Sequence[str] = ()) -> Any:
    """What a reply holds, as plain data; of `pick` the places in `entries`, from 0, of `one_of`
    the entry.

    `text` is what stands behind the thoughts. At most `most` entries of a list. Raises Failure
    that says what was looked for.
    """
    match how.by:
        case "lines":
            lines = [line.strip() for line in _lines(text)]
            if not lines:
                raise Failure("there is no line in it")
            return lines[:most]
        case "numbered":
            return _entries(text)[:most]
        case "pick":
            return picked(text, len(entries))[:most]
        case "one_of":
            return same(text, entries)
        case "yes_no":
            return chosen(text, ("yes", "no")) == "yes"
        case "choice":
            return chosen(text, how.options)
        case "number":
            return number(text, how.between)
        case "json":
            return record(text, how.fields)
        case "regex":
            return await matched(text, how.pattern, how.every, most)
    return text.strip()


def _entries(text: str) -> list[str]:
    """The entries of a list; none where its last line is NONE."""
    if (said := _lines(text)) and _NONE.fullmatch(said[-1]):
        return []
    if not said:
        raise Failure("there is no list in it, one entry a line: '1. ...', and it is not NONE")
    return listed(text)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def picked(text: str, n: int) -> list[int]:
    """The places, from 0, of the numbers from 1 to n that a text names, each once; none if it says
    so. Raises Failure if it names none and does not say so."""
    written = re.findall(r"(?<![\w.])\d+(?!\w|\.\d)", text)
    numbers = [int(digits) for digits in written if len(digits) < 10]
    found = [i - 1 for i in dict.fromkeys(numbers) if 1 <= i <= n]
    said = _lines(text)
    if not found and not (said and _NONE.fullmatch(said[-1])):
        raise Failure(f"it names none of the numbers 1 to {n}, and is not NONE")
    return found


def same(text: str, entries: Sequence[str]) -> str:
    """The entry that the last line of a text is, boxed or not; else the one that it names."""
    known = {alike(entry): entry for entry in reversed(entries)}
    last = next(iter(reversed(_lines(text))), "")
    for said in (last, *reversed(_BOXED.findall(last))):
        if (found := known.get(alike(said))) is not None:
            return found
    try:
        return chosen(last, [entry for entry in known.values() if alike(entry)])
    except Failure:
        some = ", ".join(map(repr, entries[:3])) or "nothing"
        raise Failure(
            f"it is none of the {len(entries):,} texts that it may be: {some}, ..."
        ) from None


def chosen(text: str, options: Sequence[str]) -> str:
    """The one option that the last line names which names any, as whole words."""
    # Longer ones first, so that one that begins with another is not taken for it.
    either = "|".join(re.escape(o) for o in sorted(options, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
    for line in reversed(text.splitlines()):
        said = {alike(found) for found in pattern.findall(line)}
        if len(said) == 1:
            return next(o for o in options if alike(o) in said)
        if said:
            break
    raise Failure(f"its last words are not one of {', '.join(options)}")


def number(text: str, between: tuple[float, float] | None) -> float:
    """The last number of a text; a percentage is a share where shares are asked for."""
    for match in reversed([*_NUMBER.finditer(text)]):
        found = float(match[0].replace(",", ""))
        if between is None and math.isfinite(found):
            return found
        if between is None:
            break
        if between[1] <= 1 < found and text[match.end() :].lstrip().startswith("%"):
            found /= 100
        if between[0] <= found <= between[1]:
            return found
        break
    within = "" if between is None else f" from {between[0]:g} to {between[1]:g}"
    raise Failure(f"it does not end in a number{within}")


# ------------------------------------------------------------------------------------- JSON

_DECODER = json.JSONDecoder(strict=False)
_ESCAPE = re.compile(r'\\(?:["\\/]|u[0-9a-fA-F]{4}|n(?!abla|eq|u\b|ot\b)|[tr](?![a-z]))')
"""What is an escape in a text of JSON, where models write LaTeX in it, too."""
_OBJECT = re.compile(r'\{\s*"')
_OBJECTS = 40
"""Braces in which an object may begin, from the last one on."""


def record(text: str, fields: Sequence[str]) -> dict[str, Any]:
    """The last object in a text with all of these fields.

    LaTeX in its texts may have single backslashes, commas may stand before closing brackets, and
    of one that is cut off the fields are taken that are whole.
    """
    best: list[str] = []
    for start in [match.start() for match in _OBJECT.finditer(text)][: -_OBJECTS - 1 : -1]:
        found = _object(text[start:])
        if found is not None and not (lacking := [f for f in fields if f not in found]):
            return {f: found[f] for f in fields}
        if found is not None and (not best or len(lacking) < len(best)):
            best = lacking
    why = f"its JSON has no {best[0]!r}" if best else "there is no object of JSON in it"
    wanted = ", ".join(f'"{field}": ...' for field in fields)
    raise Failure(f"{why}: {{{wanted}}}")


def _object(text: str) -> dict[str, Any] | None:
    """The object that a text begins with, mended where models go wrong; None if it is none."""
    mended = _mended(text)
    try:
        found, _ = _DECODER.raw_decode(mended)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _mended(text: str) -> str:
    """An object with backslashes doubled that begin no escape, and commas without a next entry left
    out; one that is cut off ends behind its last field that is whole."""
    out: list[str] = []
    open_: list[str] = []
    whole, valued = 0, False
    inside, at = False, 0
    while at < len(text):
        sign = text[at]
        if inside and sign == "\\":
            escape = _ESCAPE.match(text, at)
            out.append(escape[0] if escape else "\\\\")
            at += len(escape[0]) if escape else 1
            continue
        if sign == '"':
            inside = not inside
        elif not inside and sign in "{[":
            open_.append("}" if sign == "{" else "]")
        elif not inside and sign in "}]":
            _drop_comma(out)
            if open_.pop() != sign:
                return ""
        field = len(open_) == 1 and not inside
        if field and sign == ",":
            whole, valued = len(out), False
        valued |= field and sign == ":"
        out.append(sign)
        at += 1
        if not open_:
            return "".join(out)
        if field and valued and sign in '"}]':
            whole = len(out)
    return "".join(out[:whole]) + "}" if whole else ""


def _drop_comma(out: list[str]) -> None:
    while out and (out[-1].isspace() or out[-1] == ","):
        if out.pop() == ",":
            return


# ------------------------------------------------------------------------------------ regex


async def matched(text: str, pattern: str, every: bool, most: int) -> Any:
    """The groups of the last line that is the pattern; with `every`, of each that is, in order.

    A line is taken without blanks at its ends. Named groups make a record, others are a text: the
    first group, or all of the line where there is none.
    """
    compiled = compiled_pattern(pattern)
    lines = [line.strip()[:LONGEST] for line in text.splitlines()[-LINES:]]
    found = []
    for line in lines:
        if match := compiled.fullmatch(line):
            found.append(match)
        await sleep(0)
    if not found:
        raise Failure(f"no line of it is like {pattern}")
    said = [_groups(match) for match in found]
    return said[:most] if every else said[-1]


def _groups(match: re.Match[str]) -> Any:
    if named := match.groupdict(default=""):
        return {name: text.strip() for name, text in named.items()}
    return (match[1] if match.re.groups else match[0] or "").strip()
