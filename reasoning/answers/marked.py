"""Answers that a text marks as such: in a box, behind ####, between <answer> tags."""

from __future__ import annotations

import re

_BOX = r"\\(?:boxed|fbox)(?![A-Za-z])"
_BOX_TOKEN = re.compile(
    _BOX + r"\s*(?:(\{)|([^\s{}$]+))?|\\(?:[^\\]|\\(?!(?:boxed|fbox)(?![A-Za-z])))|[{}]"
)
_BOX_START = re.compile(_BOX)
_JOIN = re.compile(r"(?:[\s$,;&.]|\\[()\[\],;: ]|\\q?quad|\\text\s*\{\s*(?:and|or)\s*\}|and|or)*\Z")
_JOINER = re.compile(r"[,;&]|\b(?:and|or)\b")
_ECHO = re.compile(
    r"(?i)[\s.?_]*\Z|\\(?:[lc]?dots|ldots)\s*\Z"
    r"|(?:\\text\w*\s*\{)?[\s<\[(]*(?:the |your |my |insert )?(?:the )?(?:final |numeric(?:al)? )?"
    r"(?:answer|ans|result|solution)(?: here| value)?[\s>\])]*\}?\s*\Z"
)
"""What stands in an empty form: the prompt's own \\boxed{answer}, which nobody filled in."""

_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)")
_HEADING = re.compile(
    r"(?i)\W*(?:step|final|answer|solution|conclusion|explanation|verification|summary|proof)\b"
    r"|[*_\s]*(?:[a-z]+ (?:[0-9]+|[ivx]+|[a-z])|\(?[0-9]+)[*_]*[:.)][*_]*\s+\S|.*:\W*\Z"
)  # "Case 2: $k<0$" and "1. Find x" are Markdown
_ANSWER = re.compile(r"(?i)\W*(?:the\s+)?(?:final\s+)?answer[*_]*(?:\s+is\b\s*:?|\s*[:=])[*_\s]*")
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")

_PLAIN_BOX = re.compile(r"\\boxed\{([^{}\\]*)\}")
_TAG = re.compile(r"(?i)<(/?)(?:final_?)?answer>")


def may_mark(text: str) -> bool:
    """Whether there is any sign of a mark: most of what people ask about has none."""
    return "<" in text or "####" in text or _may_box(text)


def _may_box(text: str) -> bool:
    return "box" in text or "\x08oxed" in text


def last_marked(text: str, finished: bool = True) -> str | None:
    """The last answer that `text` marks: what stands between tags before boxes before ####.

    Linear in the length of the text; raises on none. A text that was cut off ends no tag and no
    line of words.
    """
    tagged = _tagged(text, finished)
    if tagged is None:
        found = last_boxed(text) or after_hashes(text, finished)
    else:
        found = last_boxed(tagged) or after_hashes(tagged, finished) or tagged
    label = _ANSWER.match(found) if found else None
    return found[label.end() :] or found if found and label else found


def _tagged(text: str, finished: bool) -> str | None:
    """What stands in the last <answer> that is not empty."""
    if "<" not in text:
        return None
    start, found = -1, None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            start = tag.end()
        elif start >= 0:
            inner = text[start : tag.start()].strip()
            found = found if _ECHO.match(inner) else inner
            start = -1
    if start >= 0 and finished and not _ECHO.match(inner := text[start:].strip()):
        return inner  # a stop string has cut the end
    return found


def last_boxed(text: str) -> str | None:
    """The content of the last complete box; of boxes in a row a list of them."""
    if not _may_box(text):
        return None
    text = text.replace("\x08oxed", r"\boxed").replace("\x0cbox", r"\fbox")  # as JSON reads it
    first = _BOX_START.search(text)
    if first is None:
        return None
    plain = _PLAIN_BOX.match(text, first.start())
    if plain and not _BOX_START.search(text, plain.end()):  # one box, nothing to match in it
        return None if _empty(plain[1]) else plain[1].strip()
    boxes: list[tuple[int, int, str]] = []  # start, end, content; innermost complete boxes
    open_braces: list[tuple[int, int] | None] = []  # start and content start of a box, or a group
    for token in _BOX_TOKEN.finditer(text, first.start()):
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
    return _joined(text, [box for box in boxes if not _empty(box[2])])


def _empty(content: str) -> bool:
    return len(content) < 60 and bool(_ECHO.match(content))


def _joined(text: str, boxes: list[tuple[int, int, str]]) -> str | None:
    """The last box, with those before it that nothing but commas, "and" and "or" part from it."""
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


def after_hashes(text: str, finished: bool = True) -> str | None:
    """The rest of the line behind the last #### that is no heading of Markdown."""
    if "####" not in text:
        return None
    found = None
    for line in _HASHES.finditer(text):
        said = line[1].strip()
        if answer := _ANSWER.match(said):
            said = said[answer.end() :].strip("*_ ")
        elif _HEADING.match(said):
            continue
        begins = not text[max(0, line.start() - 80) : line.start()].rpartition("\n")[2].strip()
        goes_on = bool(text[line.end() : line.end() + 80].strip()) if finished else True
        if said and not (begins and goes_on and _prose(said)):
            found = said
    return found


def _prose(line: str) -> bool:
    """Words: as a line of its own that more text follows it is a heading, as in #### Setting up."""
    words = len(_WORDS.findall(line))
    return words > 3 or (words > 0 and not re.search(r"\d|\\|=", line))
