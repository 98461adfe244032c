"""Going on from text that may end inside a token, on servers that can bind what is said.

`reasoning.backends.healing` sums over all ways to cover the text, which takes log-probabilities of
a whole vocabulary; servers tell some twenty. Here the last word of the text is taken back and the
server says it again, with whatever follows, under a regular expression (token healing; 2024,
arXiv:2406.16829). Each token is drawn among those that can still spell the word, so that the model
goes on in its own tokens, but not in exact proportion where the word can be said in several ways:
of these the ones with a likely beginning are drawn too often.
"""

from __future__ import annotations

import re
from dataclasses import replace

from reasoning.backends.openai.fields import literal
from reasoning.backends.openai.request import Abilities
from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.tree import Sample

LONGEST = 64
"""Characters that are said again at most; where no word begins among the last ones, none are."""
_WORD = re.compile(r"(?<=\S) (?=\S)")
"""Where tokens begin, whatever the tokenizer: line breaks may belong to the mark before them."""


def refuse(able: Abilities, server: str) -> None:
    """Raise RecipeError if the server cannot do it."""
    why = ""
    if able.mode == "chat":
        why = "is asked for chats, in which a server decides itself how an answer is continued"
    elif "fields" in able.found and "regex" not in able.knows:
        why = "knows no structured_outputs (or guided_regex, or regex)"
    if why:
        raise RecipeError(
            "generator.heal: true has the server say the last word of a text again, by its token "
            f"ids or its text at /completions and under a regular expression; {server} {why}. "
            "Leave heal out, or use a server of vLLM with api: tokens, or generator vllm or nano"
        )


def taken_back(text: str, params: Sampling) -> str:
    """What of the end of `text` has to be said again, "" for nothing: its last word behind a blank,
    with the blank. Not where that might be taken for a stop string, nor be most of what may be
    said."""
    starts = [found.start() for found in _WORD.finditer(text)]
    rest = text[starts[-1] if starts else 0 :]
    ends = (rest[i:] for i in range(len(rest)))
    stops = any(stop in rest for stop in params.stop)
    stops |= any(stop.startswith(end) for end in ends for stop in params.stop)
    fits = len(rest) <= LONGEST and 2 * len(rest.encode()) <= params.max_tokens
    return rest if fits and not stops else ""


def bound(params: Sampling, rest: str) -> Sampling:
    """That what is said begins with `rest`."""
    return replace(params, regex=f"{literal(rest)}(.|\n)*")


def hearing(prompt: Prompt, rest: str) -> Prompt:
    """The same, without what is said again being heard."""
    if (hear := prompt.hear) is None:
        return prompt
    left = len(rest)

    def heard(text: str) -> None:
        nonlocal left
        over, left = text[left:], max(0, left - len(text))
        if over:
            hear(over)

    return replace(prompt, hear=heard)


def healed(sample: Sample, rest: str) -> Sample:
    """Without what was said again; nothing is left of a sample that ended before."""
    if not sample.text.startswith(rest):
        return replace(sample, text="", token_ids=None)
    info = {**(sample.info or {}), "heals": rest}
    return replace(sample, text=sample.text[len(rest) :], info=info)
