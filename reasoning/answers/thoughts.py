"""Where in a text an answer is looked for: what follows the thoughts, before anything else begins.

Models that think mark their thoughts in many ways, and a base model goes on after its answer with
a question of its own. All of it takes linear time and raises on no text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice

_TAG = r"(?i:(?:[a-z]{1,10}[:_])?(?:think|thinking|thought|thoughts|reasoning|scratchpad))"
_OPEN = (
    rf"<{_TAG}>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|inner_prefix\|>"
    r"|<\|channel>(?:thought|analysis)|<unused94>(?:thought)?"
    r"|<\|channel\|>(?!\s*final)[^<]{0,80}(?:<\|constrain\|>[^<]{0,80})?<\|message\|>"
)
_CLOSE = (
    rf"</{_TAG}>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<\|inner_suffix\|>"
    r"|<channel\|>|<unused95>|\[BEGIN FINAL RESPONSE\]"
    r"|<\|channel\|>\s*final[^<]{0,80}(?:<\|constrain\|>[^<]{0,80})?<\|message\|>"
)
MARK = re.compile(rf"(?P<open>{_OPEN})|(?:{_CLOSE})")
_FINAL = "assistantfinal"
"""What is left of gpt-oss's channels where a server drops the special tokens."""

_HEADER = re.compile(
    r"(?:\s|<\|[A-Za-z_]{1,30}\|>(?:\s?assistant\b)?|<s>|<start_of_turn>model|<｜Assistant｜>)*"
)
_OVER = re.compile(
    r"<\|(?:return|end|call|im_end|im_start|eot_id|eom_id|endoftext|end_of_text|user|observation"
    r"|END_RESPONSE|END_OF_TURN_TOKEN|end_of_solution|start_header_id)\|>|</s>|<eos>|<turn\|>"
    r"|<end_of_turn>|<｜end▁of▁sentence｜>|\[END FINAL RESPONSE\]"
)
_QUESTION = re.compile(
    r"[ \t#*]{0,8}(?:(?:Question|Problem|Exercise)(?:[ \t]*\d{1,5})?[ \t]*[*]{0,2}[:.]"
    r"|Q(?:[ \t]*\d{1,5})?[:.]|(?:Human|User|Instruction)[*]{0,2}:|\[INST\])"
)
_NEXT = re.compile(r"\n" + _QUESTION.pattern)
_CHANNEL = re.compile(r"\s*analysis(?=[A-Z\"'(\d])")
SIGN = re.compile(r"<|◁|\[/?[A-Z]{3}")
"""How every mark begins but those of a channel without its special tokens."""

_LOOKS = 16
"""Questions that are looked at: each look takes the time of reading all before it."""


def parts(text: str, finished: bool = True) -> tuple[str, ...]:
    """Where an answer is looked for, in this order: what follows the thoughts, then all of it.

    A thought that was cut off (it has no end, and the text is not `finished`) is looked at by
    nobody. One without an end in a finished text is looked at last, as the model ended there.
    """
    marked = "<" in text or "[" in text or "◁" in text  # to look for these alone takes a fifth
    if not ((marked and SIGN.search(text)) or _CHANNEL.match(text)):
        return (text,)
    said, closed, inside = _outside(text)
    answer = _before_the_end("".join(said[-1:]) if closed and not inside else "".join(said))
    if not (closed or inside):
        return (answer,)
    if inside and not finished:
        return (answer,) if answer.strip() else ()
    visible = _before_the_end("".join(said))
    return tuple(dict.fromkeys((answer, visible, text)))


def after_thoughts(text: str) -> str:
    """What a text says behind its thoughts, for whoever reads it in place of the model's user."""
    return parts(text)[0].strip()


def known(text: str, end: str) -> str:
    """The text with a mark that everybody knows in place of `end`, the end of a model's thoughts.

    A mark that speaks of the answer, as in "Final Answer:", is kept behind it.
    """
    if end not in text or re.fullmatch(_CLOSE, end.strip()):
        return text
    return text.replace(end, f"</think>{end}" if "answer" in end.lower() else "</think>")


def opened(text: str) -> str:
    """The text of a model that thinks before it answers: a thought unless one has ended in it."""
    return text if any(not mark["open"] for mark in _marks(MARK, text)) else f"<think>{text}"


def _marks(kind: re.Pattern[str], text: str, start: int = 0) -> Iterator[re.Match[str]]:
    """The marks of a kind in a text, in order; most of it is passed over at once."""
    for sign in SIGN.finditer(text, start):
        if mark := kind.match(text, sign.start()):
            yield mark


def _outside(text: str) -> tuple[list[str], bool, bool]:
    """What is said outside of thoughts; whether a thought has ended, and whether one goes on."""
    if _CHANNEL.match(text):
        _, ended, tail = text.rpartition(_FINAL)
        return ([tail], True, False) if ended else ([], False, True)
    said: list[str] = []
    start, closed, inside = 0, False, False
    for mark in _marks(MARK, text):
        if mark["open"]:
            if not inside:
                said.append(text[start : mark.start()])
            inside = True
        else:
            if not inside:  # it was opened by the chat template
                said.clear()
            start, closed, inside = mark.end(), True, False
    if not inside:
        said.append(text[start:])
    return said, closed, inside


def _before_the_end(text: str) -> str:
    """The text without the template's marks around it, and without what follows them."""
    if "<" not in text and "[" not in text:
        return text
    header = _HEADER.match(text)
    start = header.end() if header and "<" in header[0] else 0
    end = next(_marks(_OVER, text, start), None)
    return text[start : end.start() if end else len(text)]


def before_the_next_question(text: str, states: Callable[[str], bool]) -> str:
    """The text up to where a base model that has answered goes on with a question of its own.

    `states` says whether a text states an answer. A question that is only repeated in front of the
    answer is kept.
    """
    for mark in islice(_NEXT.finditer(text), _LOOKS if "\n" in text else 0):
        before = text[: mark.start() + 1]
        if states(before) or _answers_barely(before):
            return before
    return text


def _answers_barely(text: str) -> bool:
    """One short line that is an answer: "18", "B", "Paris", "3 * 6 = 18"."""
    line = text.strip()
    if not line or "\n" in line or len(line) > 80 or line[-1] in ":!?," or _QUESTION.match(line):
        return False
    return bool(re.search(r"\d[\s.)$}%]*\Z", line)) or (
        len(line.split()) < 4
        and not re.match(r"(?i)(?:sure|okay|ok|yes|certainly|of course|here|let|solution)\b", line)
    )
