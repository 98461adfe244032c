"""From a whole answer to a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.fields import stops_there
from reasoning.backends.openai.request import Abilities
from reasoning.backends.openai.tokens import Tokenizer
from reasoning.backends.recorded import CHARS_A_TOKEN
from reasoning.errors import GenerationError, TransientError
from reasoning.generate import Sampling
from reasoning.http.reading import count, shown
from reasoning.tree import Finish, FloatArray, Sample, TopLogprobs

_ID = "token_id:"


_LENGTH = ("length", "max_tokens", "model_length", "max_output_tokens")
_ENDS = ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call")
_BROKEN = ("abort", "error", "cancelled", "overloaded", "insufficient_system_resource")
"""How servers say it: a limit was met, the model has ended, a part of the server has died."""


async def sample(
    answer: Answer, sent: Mapping[str, Any], params: Sampling, able: Abilities, tokens: Tokenizer
) -> Sample:
    """What `answer` says. `sent` are the fields that held the prompt.

    Raises GenerationError for an answer that cannot be right, TransientError for one that may be,
    next time.
    """
    said = answer.said()
    there = stops_there(able, params)
    ends = [at + len(stop) for stop in params.stop if (at := said.find(stop)) >= 0]
    if not ends and there and answer.stopped_by in params.stop:
        said += answer.stopped_by  # a mark that the server has taken out, as of a thought's end
        ends = [len(said)]
    elif ends and able.mode == "tokens":
        # The text of whole tokens, also of what follows a stop string in its last one.
        whole = answer.cut(min(ends))
        if whole is None and answer.resumed and min(ends) < len(said):
            raise TransientError("a stop string came where the stream had broken")
        said = whole or said + (await tokens.tail(answer) if there else "")
    elif ends and not there:
        said = said[: min(ends)]
    why: Finish = "stop" if ends else finish(answer)
    told, k = answer.told, params.top_logprobs
    size = max(1, told or answer.tokens)
    if size > params.max_tokens and answer.ids:
        raise GenerationError(
            f"the server gave {size} tokens where at most {params.max_tokens} were asked for"
        )
    size = min(size, params.max_tokens)
    asked, cached, counted = read(answer, sent, able)
    said_so = count(answer.usage.get("completion_tokens"))
    announced = size if answer.resumed or not said_so else said_so
    info: dict[str, Any] = {} if announced == size else {"announced_tokens": announced}
    if not told:
        info["estimated_tokens"] = True  # those of the prompt as well
    elif not counted:
        info["estimated_prompt_tokens"] = True
    if thought := _thought(answer):
        info["thought_tokens"] = thought
    if calls := answer.tools.whole():
        info["tool_calls"] = calls
    return Sample(
        said,
        token_ids=tuple(answer.ids) if answer.ids and able.mode == "tokens" else None,
        logprobs=chosen(answer, size),
        confidence=confidence(answer, size, params.confidence_k),
        finish=why,
        prompt_tokens=asked,
        cached_tokens=cached,
        generated_tokens=size,
        info=info or None,
        top_logprobs=await likeliest(answer, size, k, tokens) if k else None,
    )


def read(answer: Answer, sent: Mapping[str, Any], able: Abilities) -> tuple[int, int, bool]:
    """The tokens of the prompt, those of them that were cached, and whether anybody counted.

    A server that counts does so at the end of an answer, so not in one that was left early.
    """
    prompt = sent.get("prompt")
    asked = len(prompt) if able.mode == "tokens" and prompt else None
    asked = asked or count(answer.usage.get("prompt_tokens")) or None
    details = answer.usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if asked is not None:
        return asked, min(asked, count(cached) or 0), True
    texts = [str(m["content"]) for m in sent.get("messages") or ()] or [str(prompt or "")]
    return sum(math.ceil(len(text) / CHARS_A_TOKEN) for text in texts), 0, False


def _thought(answer: Answer) -> int:
    """How many of the tokens were thought, hidden thoughts among them; 0 where nobody tells."""
    details = answer.usage.get("completion_tokens_details")
    return (count(details.get("reasoning_tokens")) or 0) if isinstance(details, dict) else 0


def finish(answer: Answer) -> Finish:
    """Why an answer without a stop string ended. Raises GenerationError for an unknown reason,
    TransientError if it was broken off."""
    if answer.reason in _LENGTH:
        return "length"
    if answer.reason in _ENDS:
        return "end"
    if answer.reason in _BROKEN:
        raise TransientError(f"the server broke the answer off ({answer.reason!r})")
    raise GenerationError(f"the server ended the answer with {shown(answer.reason)}")


def _known(size: int, tokens: int, answer: Answer) -> bool:
    """Whether numbers for `size` tokens are all that there can be of an answer of `tokens`.

    llama.cpp leaves out the token that ends an answer where it streams a chat.
    """
    ended = answer.reason in _ENDS and not answer.ids
    return size == tokens or (ended and size > 0 and size == tokens - 1)


def chosen(answer: Answer, tokens: int) -> FloatArray | None:
    """The logprobs of the sampled tokens [tokens], nats; None if the server gave other ones.

    The one of the token that ends an answer may be missing.
    """
    if not answer.logprobs or None in answer.logprobs:
        return None
    if not _known(len(answer.logprobs), tokens, answer):
        return None
    return np.minimum(np.array(answer.logprobs, dtype=np.float32), 0)


def confidence(answer: Answer, tokens: int, k: int) -> FloatArray | None:
    """Minus the mean of the k highest logprobs at each token [tokens], nats."""
    if not k or not _known(len(answer.tops), tokens, answer) or not all(answer.tops):
        return None
    means = [np.mean(sorted((p for _, p in row), reverse=True)[:k]) for row in answer.tops]
    return -np.array(means, dtype=np.float32)


async def likeliest(
    answer: Answer, tokens: int, k: int, tokenizer: Tokenizer
) -> TopLogprobs | None:
    """The k likeliest tokens at each token; None if the server gave other ones."""
    if not _known(len(answer.tops), tokens, answer) or not all(answer.tops):
        return None
    rows = [sorted(row, key=lambda top: -top[1])[:k] for row in answer.tops]
    said = answer.strings
    ids = {t for row in (*[[t for t, _ in row] for row in rows], said) for t in row if _is_id(t)}
    names = await tokenizer.texts([int(text[len(_ID) :]) for text in sorted(ids)]) if ids else {}

    def text(token: str) -> str:
        return names[int(token[len(_ID) :])] if token in ids else token

    texts = tuple(tuple(text(token) for token, _ in row) for row in rows)
    table = np.full((len(rows), max(map(len, rows))), -np.inf, np.float32)
    for i, row in enumerate(rows):
        table[i, : len(row)] = [p for _, p in row]
    whole = len(said) == len(rows)
    return TopLogprobs(texts, table, tuple(map(text, said)) if whole else None)


def _is_id(token: str) -> bool:
    return token.startswith(_ID) and token[len(_ID) :].isdecimal()
