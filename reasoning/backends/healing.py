"""Going on from text as from its bytes, whatever tokens it may be the beginning of (token healing).

Text that a search writes may end inside a token: behind "12 + 3" a model that has "34" as one token
hardly ever says "4", and no training cures it (2024, arXiv:2406.16829). What it says of texts that
begin with these bytes is a sum over the token sequences that cover them, of which only the last
token may stand over (2024, arXiv:2410.09303): P(next) is the sum over covers of P(cover, next) by
that of P(cover). So one cover is drawn in proportion to its probability. That is exact for a model
that writes what its tokenizer would, but for tokens that end inside a character.
"""

from __future__ import annotations

from asyncio import TaskGroup
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from reasoning.generate import Meter, Prompt, Sampling
from reasoning.seeds import generator
from reasoning.tree import FloatArray, Sample


@dataclass(frozen=True, slots=True)
class Cover:
    """`kept` tokens, then one of `tokens`, each of which begins with `rest`, what the text has left
    behind `kept`, and goes on. With no rest they are the text's own, and anything may follow."""

    kept: tuple[int, ...]
    rest: str = ""
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What a model would say next: `logprobs` [V] in nats, and what it had to read for that."""

    logprobs: FloatArray
    prompt_tokens: int = 0
    cached_tokens: int = 0


LookUp: TypeAlias = Callable[[list[int]], Coroutine[Any, Any, Look]]
Write: TypeAlias = Callable[..., Awaitable[Sample]]
"""What `Generator.generate` takes and gives."""


class Healing:
    """The covers of texts, of one tokenizer; `pieces` are the bytes of its tokens."""

    def __init__(self, encode: Callable[[str], Sequence[int]], pieces: Sequence[bytes]) -> None:
        self._encode = encode
        self._pieces = pieces
        self._sorted = sorted((p, i) for i, p in enumerate(pieces) if _is_text(p))
        self._longest = max(map(len, pieces), default=0)
        self.covers = lru_cache(maxsize=1024)(self._covers)

    def _covers(self, text: str) -> tuple[Cover, ...]:
        """All covers of `text` by sequences that the tokenizer makes, its own tokens first."""
        own = tuple(self._encode(text))
        if before := self._far(text, own):  # what no token that stands over reaches
            near = self.covers(text[before[1] :])
            return tuple(replace(c, kept=(*own[: before[0]], *c.kept)) for c in near)
        found = [Cover(own)]
        for at in reversed(range(max(0, len(text) - self._longest), len(text))):
            if longer := [*self._longer(text[at:])]:
                kept = tuple(self._encode(text[:at]))
                whole = ((i, text[:at] + self._pieces[i].decode()) for i in longer)
                real = tuple(i for i, t in whole if (*self._encode(t),) == (*kept, i))
                if real:
                    found.append(Cover(kept, text[at:], real))
        return tuple(found)

    def _far(self, text: str, own: tuple[int, ...]) -> tuple[int, int] | None:
        """So many tokens, and characters, of a long text that may be left alone: to a blank before
        the last ones from which the tokens are the same without them."""
        at = text.rfind(" ", 0, max(0, len(text) - self._longest))
        near = tuple(self._encode(text[at:])) if at > 0 else ()
        return (len(own) - len(near), at) if near and own[-len(near) :] == near else None

    def _longer(self, rest: str) -> Iterator[int]:
        """The tokens that begin with `rest` and go on."""
        start = rest.encode()
        for at in range(bisect_left(self._sorted, (start, -1)), len(self._sorted)):
            piece, token = self._sorted[at]
            if not piece.startswith(start):
                return
            if len(piece) > len(start):
                yield token

    async def go_on(
        self,
        text: str,
        head: Sequence[int],
        look: LookUp,
        write: Write,
        prompt: Prompt,
        params: Sampling,
        seed: int,
        meter: Meter,
    ) -> Sample:
        """An answer: the first token as `first` draws it, and what `write` writes behind it."""
        first = await self.first(text, head, look, params, seed)
        meter(first.generated_tokens)
        if prompt.hear is not None and first.text:
            prompt.hear(first.text)
        left = params.max_tokens - first.generated_tokens
        if first.finish == "stop" or not left:
            return first
        more, rest = replace(prompt, begun=first), replace(params, max_tokens=left)
        return first + await write(more, rest, seed=seed, meter=meter)

    async def first(
        self,
        text: str,
        head: Sequence[int],
        look: LookUp,
        params: Sampling,
        seed: int,
    ) -> Sample:
        """The first token of an answer that goes on from `text` behind the tokens `head`, where one
        that stands over is drawn; else nothing.

        Drawn is from what the call samples from (temperature, top_k, top_p, min_p); at temperature
        0 it is the likeliest. `prompt_tokens` are those that had to be looked at.
        """
        found = self.covers(text)
        if len(found) == 1:
            return _sample(params)
        shared = shared_by(found)
        places = sorted({c.kept[:i] for c in found for i in range(shared, len(c.kept) + 1)})
        async with TaskGroup() as group:
            tasks = [group.create_task(look([*head, *place])) for place in places]
        looks = dict(zip(places, (task.result() for task in tasks), strict=True))
        rows = {place: chances(one.logprobs, params) for place, one in looks.items()}
        ends, weights = weighed(found, rows, shared)
        cover, token = ends[_drawn(weights, params.temperature == 0, seed)]
        sample = _sample(params, cover.rest, token, self._pieces, looks[cover.kept].logprobs)
        return replace(
            sample,
            prompt_tokens=sum(one.prompt_tokens for one in looks.values()),
            cached_tokens=sum(one.cached_tokens for one in looks.values()),
        )


def healable(prompt: Prompt, params: Sampling) -> str:
    """The text that a call goes on from and may be healed, "" for none.

    It is left as it is where tokens themselves are looked at, or bound.
    """
    plain = {"temperature", "top_p", "top_k", "min_p", "stop", "confidence_k"}
    last = prompt.pieces[-1:]
    fits = last and isinstance(last[0], str) and plain.issuperset(params.changed())
    return str(last[0]) if fits else ""


def chances(logprobs: FloatArray, params: Sampling) -> FloatArray:
    """The log-probabilities [V] that a call draws from; the model's own at temperature 0."""
    if not params.temperature:
        return logprobs
    weights = np.exp((logprobs - logprobs.max()) / params.temperature)
    weights[weights < params.min_p] = 0
    order = np.argsort(-weights, kind="stable")
    ranked = weights[order]
    if params.top_k:
        ranked[params.top_k :] = 0
    if params.top_p < 1:
        ranked[1:][ranked.cumsum()[:-1] >= params.top_p * ranked.sum()] = 0
    weights[order] = ranked
    with np.errstate(divide="ignore"):
        found: FloatArray = np.log(weights / weights.sum())
    return found


def shared_by(covers: Sequence[Cover]) -> int:
    """How many tokens all of them begin with."""
    first, last = min(c.kept for c in covers), max(c.kept for c in covers)
    pairs = zip(first, last, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(first))


def weighed(
    covers: Sequence[Cover], rows: Mapping[tuple[int, ...], FloatArray], shared: int
) -> tuple[list[tuple[Cover, int | None]], FloatArray]:
    """Every cover with the token that stands over, None where the text's own are kept, and the
    log-probabilities of these.

    `rows` are those of what comes next, behind each beginning of a cover from `shared` tokens on.
    """
    ends: list[tuple[Cover, int | None]] = []
    weights: list[float] = []
    for cover in covers:
        kept = cover.kept
        before = sum(float(rows[kept[:i]][kept[i]]) for i in range(shared, len(kept)))
        ends += [(cover, token) for token in cover.tokens or (None,)]
        weights += [before + float(rows[kept][i]) for i in cover.tokens] or [before]
    return ends, np.array(weights)


def _drawn(weights: FloatArray, greedy: bool, seed: int) -> int:
    """One of them; the first, the text's own tokens, where nothing may be drawn at all."""
    most = weights.max()
    if greedy or most == -np.inf:
        return int(weights.argmax())
    shares = np.exp(weights - most).cumsum()
    target = generator(seed, "heal").random() * shares[-1]
    return int(np.count_nonzero(shares <= target))


def _sample(
    params: Sampling,
    rest: str = "",
    token: int | None = None,
    pieces: Sequence[bytes] = (),
    logprobs: FloatArray | None = None,
) -> Sample:
    """The token, or the lack of one, as the beginning of an answer."""
    over = "" if token is None else pieces[token].decode()[len(rest) :]
    own, confidence = np.zeros(0, np.float32), np.zeros(0, np.float32)
    if token is not None and logprobs is not None:
        own = logprobs[[token]].astype(np.float32)
        if k := params.confidence_k:
            confidence = -np.sort(logprobs)[-k:].mean(keepdims=True).astype(np.float32)
    return Sample(
        over,
        token_ids=() if token is None else (token,),
        logprobs=own,
        confidence=confidence if params.confidence_k else None,
        finish="stop" if any(stop in over for stop in params.stop) else "length",
        generated_tokens=int(token is not None),
        info={"heals": rest} if rest else None,
    )


def _is_text(piece: bytes) -> bool:
    try:
        return bool(piece.decode())
    except UnicodeDecodeError:
        return False
