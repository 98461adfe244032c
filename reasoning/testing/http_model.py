"""A language model of a few dozen tokens that a test server can afford to be asked anything.

Token ids below 256 are bytes; above are pieces of several characters, some of which run over the
end of a step. The next token's distribution is a function of the last few tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from reasoning.seeds import fold

_PIECES = (
    "Add ", "one", " two", " to get ", "seven", ".\n\n", "\n\nSo ", ".\n\nThen ", " and", " is",
    " é", "The answer is ", "\\boxed{7}", "\\boxed{8}", "!",
)  # fmt: skip
ANYTHING = "(.|\n)*"
"""How a regular expression ends that lets anything follow."""
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


def draw(
    before: Sequence[int],
    temperature: float,
    seed: int,
    number: int,
    fields: Mapping[str, Any] | None = None,
) -> int:
    """The token that a call draws as its `number`-th, after `before`, which ends in its own."""
    options = following(tuple(before[-3:]))
    if fields:
        options = _changed(options, before, number, fields)
    if temperature == 0:
        return max(options, key=lambda token: (options[token], -token))
    weights = {token: math.exp(p / temperature) for token, p in options.items()}
    if fields:
        weights = _kept(weights, fields)
    mark = fold(seed, "draw", number) / 2**63 * math.fsum(weights.values())
    for token, weight in weights.items():
        mark -= weight
        if mark < 0:
            return token
    return END


def _changed(
    options: Mapping[int, float], before: Sequence[int], number: int, fields: Mapping[str, Any]
) -> dict[int, float]:
    """Logits after penalties and biases, of the tokens that may come."""
    said = list(before[len(before) - number :])
    repetition = fields.get("repetition_penalty", fields.get("repeat_penalty", 1))
    bias = {int(token): value for token, value in (fields.get("logit_bias") or {}).items()}
    found = {}
    for token, p in options.items():
        if token == END and number < fields.get("min_tokens", 0):
            continue
        again = said.count(token)
        p *= repetition if again else 1
        p -= fields.get("presence_penalty", 0) * (again > 0)
        p -= fields.get("frequency_penalty", 0) * again
        found[token] = p + bias.get(token, 0)
    return found


def _kept(weights: Mapping[int, float], fields: Mapping[str, Any]) -> dict[int, float]:
    """The tokens that top_k, top_p and min_p leave."""
    ranked = sorted(weights.items(), key=lambda item: -item[1])
    if (k := fields.get("top_k", 0)) > 0:
        ranked = ranked[:k]
    floor = fields.get("min_p", 0) * ranked[0][1]
    most, total, kept = fields.get("top_p", 1) * sum(w for _, w in ranked), 0.0, {}
    for token, weight in ranked:
        if weight < floor or (total and total >= most):
            break
        kept[token] = weight
        total += weight
    return {token: kept[token] for token in weights if token in kept}


def bound(fields: Mapping[str, Any]) -> str | None:
    """The first text that these fields of vLLM's, SGLang's or OpenAI's let a model say."""
    forms = {**fields, **(fields.get("structured_outputs") or {})}
    form = (fields.get("response_format") or {}).get("json_schema") or {}
    schema = forms.get("json", forms.get("guided_json", form.get("schema")))
    if schema is not None:
        return "{" + ", ".join(f'"{name}": 7' for name in schema["properties"]) + "}"
    choice = forms.get("choice", forms.get("guided_choice"))
    if choice:
        return str(choice[0])
    regex = str(forms.get("regex", forms.get("guided_regex")) or "")
    plain = regex.removesuffix(ANYTHING).strip("()").split("|")[0].replace("\\", "")
    return plain or None


def goes_on(fields: Mapping[str, Any]) -> bool:
    """Whether anything may follow that text."""
    forms = {**fields, **(fields.get("structured_outputs") or {})}
    return str(forms.get("regex", forms.get("guided_regex"))).endswith(ANYTHING)


@dataclass(slots=True)
class Writing:
    """One answer as it is being written: iterate to get token after token.

    `finish` and `stopped_by` are set when it is over; `shown` is what a server shows of the text
    then, cut behind the stop string, or before it without `keep_stop`. `fields` say how to draw, by
    vLLM's names.
    """

    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 1.0
    seed: int = 0
    stop: Sequence[str] = ()
    keep_stop: bool = True
    fields: Mapping[str, Any] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    stopped_by: str | None = None
    shown: str = ""

    def __iter__(self) -> Iterator[int]:
        said = bound(self.fields)
        must = [] if said is None else encode(said) + [END] * (not goes_on(self.fields))
        while self.finish is None:
            before = [*self.prompt[-3:], *self.tokens]
            number = len(self.tokens)
            token = (
                draw(before, self.temperature, self.seed, number, self.fields)
                if number >= len(must)
                else must[number]
            )
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
