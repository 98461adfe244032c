"""What generators that hand over token ids have in common."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

from reasoning.errors import RecipeError
from reasoning.generate import Piece, Prompt

DOCUMENT = "<|endoftext|>"
"""What stands before a text that has no prompt, if the model has no mark for it."""

CONTEXT = 8
"""Tokens that tell a decoder how the ones after them begin."""

BROKEN = "\ufffd"
"""What decoders make of a character that is not whole."""

_URGENCY_STEPS = 1000  # vLLM's priorities are integers, urgencies are not


def text_of(
    decode: Callable[[list[int]], str],
    before: Sequence[int],
    produced: Sequence[int],
    *,
    ended: bool,
) -> str:
    """The text of `produced`, which follows `before`; those of a path's calls add up to its own.

    A character of several tokens belongs to the call that completes it: what is not whole at the
    end is left out, unless the answer `ended` and nothing will complete it.
    """
    size = CONTEXT
    while not (shown := decode(list(before[-size:])).rstrip(BROKEN)) and size < len(before):
        size *= 2
    text = decode([*before[-size:], *produced])[len(shown) :]
    return text if ended else text.rstrip(BROKEN)


def tokens_of(
    pieces: Iterable[Piece], encode: Callable[[str], Sequence[int]], ends: Container[int]
) -> list[int]:
    """The tokens of a path: those that were produced as they are, and written text by `encode`.

    A token of `ends`, which ended an answer, is left out where something follows it.
    """
    ids: list[int] = []
    for piece in pieces:
        if not piece:
            continue
        while ids and ids[-1] in ends:
            ids.pop()
        ids.extend(encode(piece) if isinstance(piece, str) else piece)
    return ids


def one_token(name: int | str, ids: Sequence[int]) -> int:
    """The token that `name` of a bias means. Raises RecipeError if it is not one."""
    if len(ids) != 1:
        raise RecipeError(
            f"sampling.logit_bias names {name!r}, which is {len(ids)} tokens of this model; give "
            "the id of a token, or a text that is one"
        )
    return ids[0]


def priority(prompt: Prompt) -> int:
    """vLLM's, lower runs first: what the search finds urgent, else deeper before wider."""
    urgency = prompt.parent.depth if prompt.urgency is None else prompt.urgency
    return -round(_URGENCY_STEPS * urgency)
