"""A sample that is known in full, given in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from reasoning.tree import Sample


def part(
    whole: Sample,
    most: int,
    *,
    begun: Sample | None = None,
    words: Callable[[str], Sequence[str]] | None = None,
) -> Sample:
    """What comes of `whole` in a call that may give `most` tokens and goes on from `begun`.

    All parts together are the whole sample. Text is cut where that share of its characters ends,
    or between its `words` if they are its tokens.
    """
    start = begun.generated_tokens if begun is not None else 0
    tokens = whole.generated_tokens
    stop = min(tokens, start + most)
    if not tokens or (start, stop) == (0, tokens):
        return whole
    said = words(whole.text) if words is not None else ()
    if len(said) == tokens:
        text = "".join(said[start:stop])
    else:
        text = whole.text[len(whole.text) * start // tokens : len(whole.text) * stop // tokens]
    tops = whole.top_logprobs
    return replace(
        whole,
        text=text,
        token_ids=None if whole.token_ids is None else whole.token_ids[start:stop],
        logprobs=None if whole.logprobs is None else whole.logprobs[start:stop],
        confidence=None if whole.confidence is None else whole.confidence[start:stop],
        top_logprobs=tops and tops.part(start, stop),
        finish="length" if stop < tokens else whole.finish,
        prompt_tokens=0 if start else whole.prompt_tokens,
        cached_tokens=0 if start else whole.cached_tokens,
        generated_tokens=stop - start,
    )
