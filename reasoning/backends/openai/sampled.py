"""From a whole answer to a sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from reasoning.backends.openai.answer import Answer
from reasoning.backends.openai.request import Abilities
from reasoning.backends.openai.tokens import Tokenizer
from reasoning.errors import GenerationError, TransientError
from reasoning.generate import Sampling
from reasoning.http.reading import count
from reasoning.tree import Finish, FloatArray, Sample, TopLogprobs

_ID = "token_id:"


async def sample(
    answer: Answer, sent: Any, params: Sampling, able: Abilities, tokens: Tokenizer
) -> Sample:
    """What `answer` says. `sent` are the prompt's tokens, in mode tokens.

    Raises GenerationError for an answer that cannot be right, TransientError for one that may be,
    next time.
    """
    said = answer.said()
    ends = [at + len(stop) for stop in params.stop if (at := said.find(stop)) >= 0]
    if ends and able.mode == "tokens":
        # The text of whole tokens, also of what follows a stop string in its last one.
        whole = answer.cut(min(ends))
        if whole is None and answer.resumed and min(ends) < len(said):
            raise TransientError("a stop string came where the stream had broken")
        said = whole or said + (await tokens.tail(answer) if able.stops else "")
    elif ends and not able.stops:
        said = said[: min(ends)]
    why: Finish = "stop" if ends else finish(answer)
    size = max(1, answer.tokens)
    if size > params.max_tokens and answer.ids:
        raise GenerationError(
            f"the server gave {size} tokens where at most {params.max_tokens} were asked for"
        )
    size = min(size, params.max_tokens)
    said_so = count(answer.usage.get("completion_tokens"))
    announced = size if answer.resumed or not said_so else said_so
    info: dict[str, Any] = {} if announced == size else {"announced_tokens": announced}
    if not answer.told:
        info["estimated_tokens"] = True
    asked = len(sent) if able.mode == "tokens" and sent else 0
    asked = asked or count(answer.usage.get("prompt_tokens")) or 0
    details = answer.usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Sample(
        said,
        token_ids=tuple(answer.ids) if answer.ids and able.mode == "tokens" else None,
        logprobs=chosen(answer, size),
        confidence=confidence(answer, size, params.confidence_k),
        finish=why,
        prompt_tokens=asked,
        cached_tokens=min(asked, count(cached) or 0),
        generated_tokens=size,
        info=info or None,
        top_logprobs=await likeliest(answer, size, params.top_logprobs, tokens),
    )


def finish(answer: Answer) -> Finish:
    """Why an answer without a stop string ended. Raises GenerationError for an unknown reason,
    TransientError if it was broken off."""
    if answer.reason == "length":
        return "length"
    if answer.reason in ("stop", "eos", "end_turn", "stop_sequence"):
        return "end"
    if answer.reason in ("abort", "error"):  # vLLM, when a part of it has died
        raise TransientError(f"the server broke the answer off ({answer.reason!r})")
    raise GenerationError(f"the server ended the answer with {answer.reason!r}")


def chosen(answer: Answer, tokens: int) -> FloatArray | None:
    """The logprobs of the sampled tokens [tokens], nats; None if the server gave other ones."""
    if len(answer.logprobs) != tokens or any(p is None for p in answer.logprobs):
        return None
    return np.minimum(np.array(answer.logprobs, dtype=np.float32), 0)


def confidence(answer: Answer, tokens: int, k: int) -> FloatArray | None:
    """Minus the mean of the k highest logprobs at each token [tokens], nats."""
    if not k or len(answer.tops) != tokens or not all(answer.tops):
        return None
    means = [np.mean(sorted((p for _, p in row), reverse=True)[:k]) for row in answer.tops]
    return -np.array(means, dtype=np.float32)


async def likeliest(
    answer: Answer, tokens: int, k: int, tokenizer: Tokenizer
) -> TopLogprobs | None:
    """The k likeliest tokens at each token; None if the server gave other ones."""
    if not k or len(answer.tops) != tokens or not all(answer.tops):
        return None
    rows = [sorted(row, key=lambda top: -top[1])[:k] for row in answer.tops]
    ids = {text for row in rows for text, _ in row if text.startswith(_ID)}
    names = await tokenizer.texts([int(text[len(_ID) :]) for text in sorted(ids)]) if ids else {}
    texts = tuple(
        tuple(names[int(t[len(_ID) :])] if t in ids else t for t, _ in row) for row in rows
    )
    table = np.full((tokens, max(map(len, rows))), -np.inf, np.float32)
    for i, row in enumerate(rows):
        table[i, : len(row)] = [p for _, p in row]
    return TopLogprobs(texts, table)
