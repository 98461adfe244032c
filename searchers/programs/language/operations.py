"""What a program of prompts computes of values, by name."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from searchers.programs.language.conditions import key
from searchers.programs.language.values import Failure, Value, listed, of, told, union, within

K1, B = 1.2, 0.75
"""Of BM25: how fast a repeated word stops to count, how much long passages are discounted."""

LONGEST, MOST_SPANS = 5, 1_000
"""Words of a span where a program does not say, and spans of a text at most."""
_MARKS = " .,;:!?\"'`*_()[]"


def computed(
    what: str, value: Value, by: str | None, to: Value, n: int | None, down: bool
) -> Value:
    """What the operation makes of the value. Raises Failure for one that it does not fit."""
    if what == "minus":
        return _number(value.number - to.number, value, to)
    if what == "split":
        texts = [text.strip() for text in told(value).split(told(to))]
        return of([text for text in texts if text], value.sources)
    if what == "spans":
        items = value.items if isinstance(value.data, tuple) else (value,)
        found = spans("\n".join(map(told, items)), LONGEST if n is None else n)
        return of(found, value.sources)
    items = value.items
    match what:
        case "sort":
            return listed(sorted(items, key=lambda item: _worth(item, by), reverse=down))
        case "reverse":
            return listed(reversed(items))
        case "first":
            if n is not None:
                return listed(items[:n])
            if not items:
                raise Failure("an empty list has no first entry")
            return items[0]
        case "distinct":
            once = {key(item if by is None else item.field(by)): item for item in reversed(items)}
            return listed(reversed(once.values()))
        case "nearest":
            best = nearest([told(item) for item in items], told(to), len(items) if n is None else n)
            return listed([items[i] for i in best])
        case "join":
            texts, between = [told(item) for item in items], told(to)
            within(sum(map(len, texts)) + len(between) * len(texts))
            return Value(between.join(texts), value.sources)
        case "count":
            return Value(float(len(items)), value.sources)
        case "softmax":
            assert by is not None
            return _shares(items, by)
    numbers = [item.number for item in items]
    if what == "sum":
        return _number(sum(numbers), value)
    return _number(float(np.logaddexp.reduce(numbers)), value)


def _worth(item: Value, by: str | None) -> float:
    """What lists are sorted by: a field, or the length of the text."""
    return float(len(told(item))) if by in (None, "length") else item.field(str(by)).number


def _number(found: float, *read: Value) -> Value:
    if not math.isfinite(found):
        raise Failure("there is no such number, of nothing or of numbers that are too large")
    return Value(found, union(value.sources for value in read))


def _shares(items: Sequence[Value], by: str) -> Value:
    """The records, each with its `share`: e to the field `by`, so that all shares sum to one."""
    logs = np.asarray([item.field(by).number for item in items], dtype=float)
    shares = np.exp(logs - np.logaddexp.reduce(logs)) if len(logs) else logs
    found = []
    for item, share in zip(items, shares.tolist(), strict=True):
        assert isinstance(item.data, dict)
        found.append(replace(item, data={**item.data, "share": of(share, item.sources)}))
    return listed(found)


def nearest(passages: Sequence[str], text: str, n: int) -> list[int]:
    """The places of the n passages that are nearest to a text, the nearest last.

    Near by BM25 (Robertson and Zaragoza, 2009): the sum over the text's words of
    idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length)), with
    idf = ln(1 + (N - df + 1/2) / (df + 1/2)). The earlier passage wins a tie.
    """
    bags = [Counter(_words(passage)) for passage in passages]
    lengths = [bag.total() for bag in bags]
    mean = sum(lengths) / max(1, len(bags)) or 1.0
    scores = [0.0] * len(bags)
    for word in dict.fromkeys(_words(text)):
        df = sum(word in bag for bag in bags)
        idf = math.log1p((len(bags) - df + 0.5) / (df + 0.5))
        for i, bag in enumerate(bags):
            if f := bag[word]:
                scores[i] += idf * f * (K1 + 1) / (f + K1 * (1 - B + B * lengths[i] / mean))
    order = sorted(range(len(bags)), key=lambda i: (-scores[i], i))
    return order[:n][::-1]


def spans(text: str, n: int) -> list[str]:
    """Every run of up to n words within a sentence or line of a text, each once, marks at its ends
    left out: shorter ones first, then as they come, `MOST_SPANS` at most."""
    parts = [part.split() for part in re.split(r"[.!?;:,]+\s+|\n", text)]
    found: dict[str, None] = {}
    for length in range(1, n + 1):
        for words in parts:
            for start in range(len(words) - length + 1):
                said = " ".join(words[start : start + length]).strip(_MARKS)
                if re.search(r"\w", said):
                    found[said] = None
                if len(found) == MOST_SPANS:
                    return list(found)
    return list(found)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
