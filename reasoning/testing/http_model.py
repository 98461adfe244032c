"""A language model of a few dozen tokens that a test server can afford to be asked anything.

Token ids below 256 are bytes; above are pieces of several characters, some of which run over the
end of a step. The next token's distribution is a function of the last few tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from reasoning.seeds import fold

_PIECES = (
    "Add ", "one", " two", " to get ", "seven", ".\n\n", "\n\nSo ", ".\n\nThen ", " and", " is",
    " é", "The answer is ", "\\boxed{7}", "\\boxed{8}", "!",
)  # fmt: skip
END = 256 + len(_PIECES)
"""The token that ends an answer; it has no text."""
_BYTES = [bytes([i]) for i in range(256)] + [piece.encode() for piece in _PIECES] + [b""]
_LONGEST_FIRST = sorted(range(256, END), key=lambda token: -len(_BYTES[token]))
_UNLIKELY = math.log(1e-6)


def encode(text: str) -> list[int]:
    """Tokens of `text`, the longest pieces first."""
    data, tokens = text.encode(), []
    at = 0
    while at < len(data):
        piece = next((t for t in _LONGEST_FIRST if data.startswith(_BYTES[t], at)), data[at])
        tokens.append(piece)
        at += len(_BYTES[piece])
    return tokens


def decode(tokens: Sequence[int]) -> str:
    """The text of `tokens`."""
    return b"".join(_BYTES[token] for token in tokens).decode("utf-8", "replace")


def chat(messages: Sequence[dict[str, str]], *, open_ended: bool) -> str:
    """The text of a chat; `open_ended` leaves its last message as it is, to be continued."""
    text = "".join(f"[{m['role']}]{m['content']}[/]" for m in messages)
    return text.removesuffix("[/]") if open_ended else text + "[assistant]"


@lru_cache(maxsize=65536)
def following(last: tuple[int, ...]) -> dict[int, float]:
    """Log-probabilities of what may follow `last`, the last three tokens."""
    weights = {
        token: math.exp(3 * fold(0, "next", *last, token) / 2**63) for token in range(256, END)
    }
    weights[END] = 4.0 if last and last[-1] in (268, 269) else 0.5
    total = math.log(math.fsum(weights.values()))
    return {token: math.log(weight) - total for token, weight in weights.items()}


def logprob(before: Sequence[int], token: int) -> float:
    """The log-probability of `token` after `before`, in nats."""
    return following(tuple(before[-3:])).get(token, _UNLIKELY)


def draw(before: Sequence[int], temperature: float, seed: int, number: int) -> int:
    """The token that a call draws as its `number`-th, after `before`."""
    options = following(tuple(before[-3:]))
    if temperature == 0:
        return max(options, key=lambda token: (options[token], -token))
    weights = {token: math.exp(p / temperature) for token, p in options.items()}
    mark = fold(seed, "draw", number) / 2**63 * math.fsum(weights.values())
    for token, weight in weights.items():
        mark -= weight
        if mark < 0:
            return token
    return END


@dataclass(slots=True)
class Writing:
    """One answer as it is being written: iterate to get token after token.

    `finish` and `stopped_by` are set when it is over; `shown` is what a server shows of the text
    then, cut behind the stop string, or before it without `keep_stop`.
    """

    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 1.0
    seed: int = 0
    stop: Sequence[str] = ()
    keep_stop: bool = True
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    stopped_by: str | None = None
    shown: str = ""

    def __iter__(self) -> Iterator[int]:
        while self.finish is None:
            before = [*self.prompt[-3:], *self.tokens]
            token = draw(before, self.temperature, self.seed, len(self.tokens))
            self.tokens.append(token)
            self.shown = decode(self.tokens)
            self._judge(token)
            yield token

    def _judge(self, token: int) -> None:
        if token == END:
            self.finish = "stop"
            return
        found = [(at, s) for s in self.stop if (at := self.shown.find(s)) >= 0]
        if found:
            at, self.stopped_by = min(found, key=lambda entry: entry[0] + len(entry[1]))
            self.finish = "stop"
            self.shown = self.shown[: at + len(self.stopped_by) * self.keep_stop]
        elif len(self.tokens) >= self.max_tokens:
            self.finish = "length"
