"""What a text says "the answer is": up to where it goes on with a reason or a remark."""

from __future__ import annotations

import re
from collections import deque

from reasoning.answers.formulas import MATH, content, is_prose

_PHRASES = 16
"""Phrases from the end that are looked at."""
_REST = 4000
"""Characters behind a phrase that are looked at."""

_LINE = r"(?m:^)[ \t>#*_✅]{0,12}"
_PHRASE = re.compile(
    r"(?i)(?<![a-z])answers?(?![a-z])[*_}]{0,4}(?:\s(?:to|for|of|in|here)\b[^.:=\n]{0,60}?)?"
    r"\s+(?:is|are|was|equals)\b\s*[:：]?"
    r"|(?<![a-z])answers?[*_}\"']{0,4}\s*(?:[:：=—–→]|-{1,2}>)|\bans\b\.?\s*[:=]"
    r"|\banswer\s+(?P<must>(?:must|should|would|will|has to|can only)\s+be)\b\s*:?"
    rf"|{_LINE}(?:(?:the|my)\s)?(?:(?:final|correct)\s)?answer[*_]{{0,4}}[ \t]*\n"
    r"|答案\s?(?:是|为|：|:)|故选[：:]?"
)
_SUPPOSED = re.compile(
    r"(?i)\b(?:if|unless|suppose|supposing|whether)\s+(?:that\s+)?(?:(?:the|our|my|your)\s+)?"
    r"(?:(?:final|correct|right)\s+)?\Z"
)
_MARKS = " \t\n*_}>#:："
_FORMULA_JOIN = re.compile(r"\s*(?:[,;]|,?\s*\b(?:and|or)\b)\s*(?:(?:and|or)\b\s*)?(?=[$\\])")
_STOP = re.compile(
    r"\n|(?!(?:(?<=\bft)|(?<=\bin)|(?<=\blb)|(?<=\boz)|(?<=\bhr)|(?<=\bmin))\.\s\d)"
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bapprox)(?<!\bSt)(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bNo)"
    r"(?<!^[A-Z])(?<![ .(][A-Z])(?<!\.\.)\.(?=\s|[*\"'”)]|\Z)"
    r"|[!?](?=[\s*]*(?:\Z|\n|[A-Z\"“✅]))|[。．]"
    r"|I hope it is correct|</?[a-z]{2,12}>"
)
_HTML = re.compile(r"</?(?:b|strong|i|em|u|code|p|span|mark)>")
_PICTURES = re.compile("[\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]")
_QUOTED = re.compile(r"[\"“]([^\"”\n]{1,200})[\"”](?=\s*(?:[,;.!}\])]|\Z|\n))")
_BROKEN_OFF = re.compile(r"[,;?!)]|\.(?!\d)")
_GOES_ON = re.compile(r"(?:[:：]|\b(?:is|are|equals))[*_\s]*\Z")
_INITIAL = re.compile(r"(?<=[^ .(][ .(][A-Z])\.(?=\s|\Z)")
_LEADS = re.compile(
    r"(?i)(?:that|approximately|approx\.|about|around|roughly|simply|just|exactly|indeed|therefore|thus"
    r"|then|also|now|clearly|hence|only|equal to|given by|found to be|going to be|actually|still"
    r"|definitely|most likely|probably|option(?=\W+[A-J]\b)|choice(?=\W+[A-J]\b)"
    r"|letter(?=\W+[A-J]\b))"
    r"(?:,?\s+|(?=\W+[A-J]\b)|\s*:\s*)"
)
_NOTHING = re.compile(
    r"(?i)(?:correct|incorrect|right|wrong|reasonable|valid|invalid|verified|consistent|clear|"
    r"obvious|unique|as follows|below|above|obtained|derived|computed|calculated|determined|"
    r"found by|shown|stated|given (?:in|as|below)|expressed|written|supposed to|expected to|"
    r"supported|in the (?:form|format)|asked|requested|known to|likely to)\b"
    r"|not\s+\W*(?:[-\d$\\]|[A-J]\b)"
)
_FULL = re.compile(
    r"[^\s,;]*[\d\\$=^]|\W{0,2}[A-J]\b(?!['’]|\s+[a-z]{2,}(?<!as)(?<!is)(?<!since)(?<!because))"
    r"|\(?[b-hj-zK-Z]\)?(?:\s|\Z)|\S{1,12}\s*="
)
"""How a number, a formula or the letter of an option begins; the rest are words."""

_FUNCTIONS = r"(?:sin|cos|tan|log|ln|exp|sqrt|pi|mod|max|min|alpha|beta|theta)\b"
_REASON = (
    r"since|because|as|so|which|who|where|when|with|making|giving|meaning|but|therefore|thus|hence|"
    r"after|if|given|assuming|due|rather|instead|based|not|while|whereas|namely|being|considering"
)
_REMARK = re.compile(
    rf"\s*,\s*(?!(?:and|or)\b|{_FUNCTIONS}|[^,]{{0,60}}=)[A-Za-z]{{2,}}\b|\s*,?\s+(?:(?:and|but)\s+)?(?:{_REASON}|is|are|was|were)\b"
    r"|\s+(?:in total|altogether|rounded|for (?:all|any|every|each))\b|\s*[–—]+\s*(?=[A-Za-z]{2})"
    r"|\s+-\s+(?=[A-Za-z]{2})|\s*;\s*(?=[A-Za-z]{2})"
    r"|\s*,?\s+i\.e\.|\s*\((?:or|about|≈|=|i\.e\.)[^()]*\)[\s.]*\Z|\s*,?\s+or\s+(?=about|approximately|roughly)|\s*,\s+or\s+[a-z-]+\s*\Z"
    r"|\s*\((?!mod\b)(?=[^()]*[A-Za-z]{3})[^()]*\)[\s.]*\Z|,?\s+(?:≈|\\approx)\s"
)
_WORDY_REMARK = re.compile(
    r"\s*[,;]\s*(?:and\s+)?(?:since|because|which|who|as|so|where|when|making|meaning|but|therefore|"
    r"thus|hence|if|given|not|while|whereas|namely|being|this|that|it|they|we)\b"
    r"|\s+(?:because|since|which|due to|as (?:it|they|he|she|the|we|shown|stated))\b"
    r"|\s*[–—]+\s+|\s+-\s+|\s*;\s|\s+\((?=[^()]*[A-Za-z]{3})[^()]*\)[\s.]*\Z"
)
_IS = re.compile(r"\b(?:is|are|was|were|equals)\b:?\s*")
_WHICH = re.compile(
    r"(?:which|namely|that|or)\s+(?:is|are|equals)?\s*(?P<value>[-−$\d][^\s,;]*(?:\s[A-Za-z%]+)?)\s*\Z"
)
_TRAILING = re.compile(
    r"(?:the|that|this)\b[^\d$\\]{0,60}?\s(?P<value>[-−]?\$?\d[\d,.]*(?:/\d+)?)\s*\Z"
)


def after_answer_is(text: str) -> str | None:
    """What follows the last "answer is" or "answer:" that says something.

    Up to the end of its sentence or line, or where a reason or a remark begins; formulas in a row
    are one list. A heading Answer speaks of the line that follows.
    """
    if not ("ans" in text.casefold() or "答案" in text or "故选" in text):
        return None
    for phrase in reversed(deque(_PHRASE.finditer(text), maxlen=_PHRASES)):
        if _SUPPOSED.search(text[max(0, phrase.start() - 40) : phrase.start()]):
            continue
        rest = _behind(text[phrase.end() : phrase.end() + _REST])
        if not _BROKEN_OFF.match(rest) and (said := _told(rest)) and not _NOTHING.match(said):
            if phrase["must"] and not _FULL.match(said):
                continue
            return said
    return None


def _behind(text: str) -> str:
    """What stands behind a phrase, without emphasis, the bullet of a list and tags of HTML."""
    bare = text.lstrip(_MARKS)
    if "\n" in text[: len(text) - len(bare)]:
        bare = bare.removeprefix("- ").removeprefix("• ")
    return _HTML.sub("", bare) if "<" in bare else bare


def _told(rest: str, depth: int = 3) -> str | None:
    if not rest:
        return None
    if quoted := _QUOTED.match(rest):
        return quoted[1]
    if formulas := _formulas(rest):
        return formulas
    end = _STOP.search(rest)
    sentence = rest[: end.start()] if end else rest
    if end and end[0] == "\n" and depth and _GOES_ON.search(sentence):
        return _told(_behind(rest[end.start() :]), depth - 1)
    if len(sentence) > 20 and (end := _INITIAL.search(sentence)) and not _initials(sentence, end):
        sentence = sentence[: end.start()]
    if (end and end[0] == "?") or _NOTHING.match(sentence.lstrip()):
        return None
    bold = re.findall(r"\*\*([^*\n]{1,80})\*\*", sentence)
    said = _value(_unmarked(sentence))
    if said and not _FULL.match(said) and len(said.split()) > 3:
        maths = [m for m in MATH.finditer(sentence) if not is_prose(content(m))]
        if maths or bold:
            return maths[-1][0] if maths else bold[-1]
    return said or None


def _formulas(rest: str) -> str | None:
    """The formulas in a row that a text begins with, unless it goes on with them in words."""
    found: list[str] = []
    at = 0
    while math := MATH.match(rest, at):
        if (math["b"] or math["e"]) and is_prose(content(math)):
            break
        found.append(math[0])
        at = math.end()
        join = _FORMULA_JOIN.match(rest, at)
        if join is None:
            break
        at = join.end()
    after = rest[at:].lstrip("*_ \t")[:1]
    if not found or after.isalnum() or after in tuple("%°=/^+"):
        return None
    return ", ".join(found)


def _initials(sentence: str, end: re.Match[str]) -> bool:
    """Whether the period ends an initial, as in J. K. Rowling."""
    return bool(re.match(r"\.\s[A-Z]\.", sentence[end.start() :]))


def _unmarked(text: str) -> str:
    """Without emphasis, quotation marks around it, and a brace of a command around the phrase."""
    text = re.sub(r"(?<![\w)])(?:\*\*|__)(?=\S)|(?<=\S)(?:\*\*|__)(?![\w(])", "", text)
    if text.endswith(("\\]", "\\)")) and "\\[" not in text and "\\(" not in text:
        text = text[:-2].rstrip(" .")  # the phrase itself stands in the formula
    text = _PICTURES.sub("", text).strip(" *_\t`").rstrip(",;:")
    if len(text) > 2 and text[0] in "\"“'‘" and text[-1] in "\"”'’":
        text = text[1:-1]
    return text[:-1] if text.count("}") > text.count("{") and text.endswith("}") else text


def _value(sentence: str, depth: int = 3) -> str:
    """What a sentence says without what it leads in with and remarks on."""
    while (lead := _LEADS.match(sentence)) and lead.end() < len(sentence):
        sentence = sentence[lead.end() :].lstrip("*_ ")
    if found := re.match(r"([a-z])\s+(?:is|equals)\s+(?=[-\d$\\])", sentence):
        sentence = sentence[found.end() :]
    full = _FULL.match(sentence)
    remark = (_REMARK if full else _WORDY_REMARK).search(sentence, 1)
    head = sentence[: remark.start()] if remark else sentence
    if not full:
        pieces = _IS.split(head)
        if len(pieces) > 1 and pieces[-1].strip() and depth:
            return _value(pieces[-1].strip(" *_\t"), depth - 1)
        if remark and not re.search(r"\d", head):
            told = _WHICH.match(sentence[remark.start() :].lstrip(" ,;–—-"))
            head = told["value"] if told else head
        elif trailing := _TRAILING.match(head):
            head = trailing["value"]
    return head.strip(" *_\t,;:")
