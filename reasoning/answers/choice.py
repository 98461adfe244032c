"""Multiple choice: the option that a text settles on, however it names it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal

from reasoning.answers import (
    FALLBACKS,
    MAX_LENGTH,
    Answer,
    Fallback,
    FallbackName,
    after_answer_is,
    canonical,
    extract,
)
from reasoning.answers.kind import Answers
from reasoning.answers.rules import decide
from reasoning.answers.spelling import unwrapped
from reasoning.errors import RecipeError

Listed = tuple[tuple[str, str], ...]
"""Label and text of each option."""

_FIELDS = ("options", "choices")


def choice(
    gold: str | None,
    row: Mapping[str, Any],
    *,
    fallback: FallbackName | None = None,
    options: list[str] | None = None,
    options_field: str | None = None,
    count_from: Literal[0, 1] | None = None,
) -> MultipleChoice:
    """Multiple choice: `(B)`, `B. 12`, `**B**`, or the text of the option.

    Options are a list, a mapping of letters to texts, or {text: [...], label: [...]}. Equal options
    in another order are the same answer. fallback: where a finished text has neither a box nor a
    #### line; without one, what it says last. options: those of every row, say [Yes, No].
    options_field: what the row calls them, else options or choices. count_from: what the first
    option has as a number, where answers are numbers.
    """
    field = options_field or next((name for name in _FIELDS if name in row), None)
    if options_field is not None and options_field not in row:
        raise RecipeError(
            f"no field {options_field!r} among {', '.join(map(repr, row))}; set "
            "task.answers.options_field to what the rows call their options"
        )
    given = row.get(field) if options is None and field is not None else options
    found = () if given is None else listed(given)
    find = said if fallback is None else FALLBACKS[fallback]
    return MultipleChoice(_gold(gold, found, count_from), found, find)


def listed(given: object) -> Listed:
    """Label and text of each option. Raises RecipeError for what lists no options."""
    if isinstance(given, str) and given.lstrip()[:1] in ("[", "{"):
        try:
            given = json.loads(given)  # a cell of a table
        except ValueError:
            given = None
    labels: Sequence[object] = ascii_uppercase
    if isinstance(given, Mapping) and set(given) == {"text", "label"}:
        labels, given = given["label"], given["text"]
    elif isinstance(given, Mapping):
        labels, given = list(given), list(given.values())
    fit = isinstance(given, Sequence) and not isinstance(given, str)
    if not fit or not 1 < len(given) <= len(labels):  # type: ignore[arg-type]  # see `fit`
        raise RecipeError(
            f"the options {given!r:.80} are no list of two or more texts (26 at most), nor a "
            "mapping of letters to texts"
        )
    texts = [str(text).strip() for text in given]  # type: ignore[attr-defined]  # see `fit`
    return tuple((str(a).strip(), b) for a, b in zip(labels, texts, strict=False))


def _gold(gold: str | None, options: Listed, count_from: int | None) -> str | None:
    """The label of the right option. Raises RecipeError if there is no such option."""
    if gold is None:
        return None
    if count_from is not None and gold.isdecimal():
        place = int(gold) - count_from
        if 0 <= place < len(options):
            return options[place][0]
    elif (found := MultipleChoice(None, options).option(gold)) is not None:
        return found
    labels = ", ".join(label for label, _ in options)
    raise RecipeError(
        f"the answer {gold!r} is none of the options {labels}, nor the text of one; if answers are "
        "numbers, say what the first option's is with task.answers.count_from: 0 (or 1)"
    )


@dataclass(frozen=True)
class MultipleChoice(Answers):
    """`gold` is the label of the right option; `options` are theirs, if they are known.

    An answer's text is the label, its key the option's text, which stands still where options are
    listed in another order; without options, and where two read alike, its key is the label.
    """

    gold: str | None = None
    options: Listed = ()
    fallback: Fallback | None = None

    @property
    def graded(self) -> bool:
        return self.gold is not None

    @property
    def shows(self) -> Mapping[str, str]:
        listing = "\n".join(f"({label}) {text}" for label, text in self.options)
        return {"options": listing} if listing else {}

    def find(self, text: str, finished: bool) -> Answer | None:
        found = extract(text, self._fallback if finished else None, finished)
        label = None if found is None else self.option(found)
        return None if label is None else Answer(label, self._key(label))

    def _fallback(self, text: str) -> str | None:
        if self.fallback is not said:
            return self.fallback(text) if self.fallback else None
        return next((self.option(s) for s in _sayings(text) if self.option(s)), None)

    def option(self, text: str) -> str | None:
        """The label of the option that `text` names: by its label, or by its own words."""
        if len(text) > MAX_LENGTH:
            return None
        bare = unwrapped(text)
        bare = re.sub(r"(?i)^(?:option|choice|answer)\s+(?=\W*\w{1,2}\b)", "", bare)
        bare = re.sub(r"\\text\w*\s*\{([^{}]*)\}", r"\1", bare).strip("*_ ")
        alike = [label for label, said in self.options if _alike(said, bare)]
        if len(alike) == 1:
            return alike[0]
        for label in [label for label, _ in self.options] or ascii_uppercase:
            name = re.escape(label)
            if re.fullmatch(rf"(?i)\W?{name}\W{{0,2}}", bare):
                return label
            named = re.match(
                rf"\(\s*{name}\s*\)|\[{name}\]|{name}(?=[).:]|\s+(?:-\s|\(\w{{3}}))", bare
            )
            if named or (
                (match := re.match(rf"{name}\s+(.+)", bare))
                and any(said == label and _alike(words, match[1]) for said, words in self.options)
            ):
                return label
        return None

    def _key(self, label: str) -> str:
        texts = {a: canonical(b).casefold() for a, b in self.options}
        text = texts.get(label)
        return label if not text or list(texts.values()).count(text) > 1 else text

    async def same(self, a: Answer, b: Answer) -> bool:
        return self._key(a.text) == self._key(b.text)

    async def grade(self, answer: Answer | None) -> bool | None:
        if self.gold is None:
            return None
        return answer is not None and self._key(answer.text) == self._key(self.gold)


def _alike(option: str, said: str) -> bool:
    """Whether a text is that of an option; what computer algebra would have to settle is not."""
    a, b = canonical(option), canonical(said)
    return bool(a) and (a.casefold() == b.casefold() or decide(a, b) is True)


_PHRASE = re.compile(
    r"(?i:(?<!each )(?<!every )(?<!other )\b(?:answer|choice|option)\b)"
    r"(?:(?i:\s+(?:is|are|should be|would be|must be)\b)[\s:]*|[ \t:]*)"
    r"(?:(?i:option|choice)\s+)?(?=(?P<said>[^\n]{1,200}))"
)
_SEVERAL = re.compile(r"\W*[A-J]\W*(?:\s(?:and|or)\s|[,&/])\W*[A-J]\b")
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,200})\*\*")
_NAMED = re.compile(r"(?<!not )(?<!than )(?<!instead of )\(([A-Za-z0-9])\)")
_DENIED = re.compile(
    r"\W{0,3}\w{1,2}\W.{0,60}?\b(?:is|are|was|can|could|does)(?:\s\w{1,12})?"
    r"(?:\s(?:not|wrong|incorrect|false|invalid|impossible|eliminated|ruled out|out)\b|n['’]t\b)"
)
_CLAIMED = re.compile(
    r"\b(?:(?i:choose|pick|select|say|go with|going with|opt for|only|must be|should be|is|be|it's)"
    r"\s+(?:(?i:option|choice|answer)\s+)?[*(\[]{0,3}([A-HJ])(?![\w'’]|\s+[a-z]+\s[a-z]+)"
    r"|(?i:therefore|thus|hence|so)[:,]?\s+[*(]{0,3}([A-HJ])[*).]{0,4}\Z"
    r"|([A-HJ])[)\]*.]{0,3}\s+is\s+(?:\w+\s)?(?:\w+\s)?(?:correct|right|best|true|answer)\b)"
)
_LABELLED = re.compile(r"(?m)^[\s*(\[]{0,4}([A-J])(?=[).:\]]|\s*$)")


def said(text: str) -> str | None:
    """The marker of the fallback that needs to know the options: see `MultipleChoice.find`."""
    return next(iter(_sayings(text)), None)


def _sayings(text: str) -> list[str]:
    """What may name the option in a text without a box, the likeliest first.

    What "the answer is"; what follows the last "answer:", "option"; the last bold words; what is
    claimed or bracketed on the last line; that line, and what it says last; a first line that no
    line with another label follows.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    last = lines[-1] if lines else ""
    found = [after_answer_is(text) or ""]
    for match in reversed(list(_PHRASE.finditer(text))[-4:]):
        whole = match["said"].strip()
        if _DENIED.match(whole):
            continue
        sentence = re.split(r"(?<=[^.])[.;](?:\s|$)", whole)[0]
        first = re.match(r"[\s*_$(\[]*([A-Za-z0-9])(?=[)\].,:;*_$\s]|\Z)", whole)
        found += [whole, sentence.strip()]
        one = first and first[1] not in "aI" and not _article(whole) and not _SEVERAL.match(whole)
        found += [first[1]] if first and one else []
    found += reversed(_BOLD.findall(text)[-4:])
    claimed = list(_CLAIMED.finditer(last))[-1:]
    found += [next(filter(None, match.groups())) for match in claimed]
    named = _NAMED.findall(last)
    if len(set(named)) > 1:  # more than one is spoken of
        return [said for said in found if said]
    found += named[-1:]
    labels = _LABELLED.findall(text)
    if not (own := _LABELLED.match(last)) or labels.count(own[1]) > 1 or len(set(labels)) == 1:
        end = re.split(r"\b(?:is|are|be)\b|['’]s\s", last)[-1].strip(" .!")
        found += [last, last.rstrip("."), end]
    found += lines[:1] if len(set(labels)) == 1 else []
    return [said for said in found if said]


def _article(text: str) -> bool:
    """ "A big dog" names no option A."""
    return bool(re.match(r"A\s+[a-z]", text))
