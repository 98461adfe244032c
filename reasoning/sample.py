"""What one generator call returned, in as few bytes as a tree of a million of them can afford."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]

Finish: TypeAlias = Literal[
    "end", "stop", "length", "loop", "cancelled", "failed", "written", "probe"
]
"""Why a call ended: the model ended its solution, a step ended, the token limit was met, the text
went round in a loop, the call was cancelled, the call failed. Or what it is instead: text that the
search wrote, a look at what would come next."""

LOST = ("failed", "cancelled", "loop")
"""How calls end that were paid for in vain."""

DIGITS = 5
"""Behind the point, of log-probabilities in a stored tree."""


@dataclass(frozen=True, slots=True, eq=False)
class TopLogprobs:
    """The k likeliest tokens of each position, the likeliest first.

    `texts` [tokens][k], `logprobs` [tokens, k] in nats; a position with fewer ends in -inf.
    `said` [tokens] are the tokens that were said, which need not be among these; None if hidden.
    """

    texts: tuple[tuple[str, ...], ...]
    logprobs: FloatArray
    said: tuple[str, ...] | None = None

    def at(self, position: int) -> dict[str, float]:
        """The log-probabilities of one position's tokens by their text (the likelier of two)."""
        found: dict[str, float] = {}
        for text, logprob in zip(self.texts[position], self.logprobs[position], strict=False):
            found.setdefault(text, float(logprob))
        return found

    def to_json(self, digits: int | None) -> dict[str, Any]:
        values = self.logprobs.astype(float)
        rows = values if digits is None else values.round(digits)
        kept = [row[: len(t)] for row, t in zip(rows.tolist(), self.texts, strict=True)]
        said = {} if self.said is None else {"said": list(self.said)}
        return {**said, "texts": [list(row) for row in self.texts], "logprobs": kept}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TopLogprobs:
        rows = data["logprobs"]
        table = np.full((len(rows), max(map(len, rows), default=0)), -np.inf, np.float32)
        for i, row in enumerate(rows):
            table[i, : len(row)] = row
        said = data.get("said")
        texts = tuple(tuple(row) for row in data["texts"])
        return cls(texts, table, None if said is None else tuple(said))

    def __add__(self, other: TopLogprobs) -> TopLogprobs:
        k = max(self.logprobs.shape[1], other.logprobs.shape[1])
        parts = [
            np.pad(t, ((0, 0), (0, k - t.shape[1])), constant_values=-np.inf)
            for t in (self.logprobs, other.logprobs)
        ]
        hidden = self.said is None or other.said is None
        said = None if hidden else (*(self.said or ()), *(other.said or ()))
        return TopLogprobs(self.texts + other.texts, np.concatenate(parts), said)

    def part(self, start: int, stop: int) -> TopLogprobs:
        """Of the tokens from `start` to `stop` alone."""
        said = self.said and self.said[start:stop]
        return TopLogprobs(self.texts[start:stop], self.logprobs[start:stop], said)


class _Packed:
    """A field of `Sample` that its slot keeps as bytes: numbers by the token, some 4 bytes each.

    A tuple of Python's numbers takes 40 bytes for each that nobody else holds, an array of NumPy's
    112 before its first. What does not fit is kept as it is.
    """

    def __init__(
        self, slot: Any, pack: Callable[[Any], Any], unpack: Callable[[bytes], Any]
    ) -> None:
        self._slot, self._pack, self._unpack = slot, pack, unpack

    def __get__(self, sample: object, owner: type | None = None) -> Any:
        kept = self._slot.__get__(sample, owner)
        return self._unpack(kept) if type(kept) is bytes else kept

    def __set__(self, sample: object, value: Any) -> None:
        self._slot.__set__(sample, value if value is None else self._pack(value))

    def kept(self, sample: object) -> Any:
        """What the slot holds: equal for equal numbers."""
        return self._slot.__get__(sample)

    def unpacked(self, kept: bytes) -> Any:
        return self._unpack(kept)


def _packed_ids(ids: Iterable[int]) -> bytes | tuple[int, ...]:
    ids = tuple(ids)
    try:
        return array("i", ids).tobytes()
    except OverflowError:
        return ids


def _packed_floats(values: Any) -> Any:
    flat = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype == np.float32
    return values.tobytes() if flat else values


def _ids(kept: bytes) -> tuple[int, ...]:
    return tuple(array("i", kept))


def _floats(kept: bytes) -> FloatArray:
    return np.frombuffer(kept, np.float32)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one generator call returned.

    `token_ids` are exactly what the model produced, None where the server hides them; `logprobs`
    (shape [tokens], nats; one less where a server does not tell that of the token that ended the
    answer) belong to the sampled tokens under the model's own distribution;
    `confidence` (shape [tokens], nats) is minus the mean of the top-k logprobs, if asked for.
    `top_logprobs` are the likeliest tokens of every position, if asked for. `model` is the name of
    the model that was asked, empty for the one that a search asks unless told otherwise. `info`
    carries what only the backend knows (stored scores, an error message). The arrays are read-only.

    Text that a search wrote (finish "written") was generated by nobody and costs no tokens here:
    those who go on from it read it as part of their prompt.
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: FloatArray | None = None
    confidence: FloatArray | None = None
    finish: Finish = "end"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    info: Mapping[str, Any] | None = None
    top_logprobs: TopLogprobs | None = None
    model: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sample):
            return NotImplemented
        return all(kept(self) == kept(other) for kept in _COMPARED)

    def to_json(self, *, digits: int | None = DIGITS) -> dict[str, Any]:
        """Plain JSON values; unset fields are left out, logprobs rounded (exact if None)."""
        out: dict[str, Any] = {"text": self.text, "finish": self.finish}
        for name in ("prompt_tokens", "cached_tokens", "generated_tokens"):
            if value := getattr(self, name):
                out[name] = int(value)
        if self.model:
            out["model"] = self.model
        if self.token_ids is not None:
            out["token_ids"] = [int(i) for i in self.token_ids]
        for name in ("logprobs", "confidence"):
            if (array := getattr(self, name)) is not None:
                values = array.astype(float)
                out[name] = (values if digits is None else values.round(digits)).tolist()
        if self.top_logprobs is not None:
            out["top_logprobs"] = self.top_logprobs.to_json(digits)
        if self.info:
            out["info"] = dict(self.info)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sample:
        """The inverse of `to_json`; unknown keys are ignored."""
        fields = {name: data[name] for name in cls.__slots__ if name in data}
        for name in ("logprobs", "confidence"):
            if name in fields:
                fields[name] = np.asarray(fields[name], dtype=np.float32)
        if "top_logprobs" in fields:
            fields["top_logprobs"] = TopLogprobs.from_json(fields["top_logprobs"])
        return cls(**fields)

    def __add__(self, more: Sample) -> Sample:
        """This sample and the one that goes on from it as one, which ends as the second does.

        What only one of them knows of its tokens is dropped.
        """

        def both(a: FloatArray | None, b: FloatArray | None) -> FloatArray | None:
            return None if a is None or b is None else np.concatenate([a, b])

        info = {**(self.info or {}), **(more.info or {})}
        if thought := sum((part.info or {}).get("thought_tokens", 0) for part in (self, more)):
            info["thought_tokens"] = thought
        hidden = self.token_ids is None or more.token_ids is None
        tops = self.top_logprobs is None or more.top_logprobs is None
        return Sample(
            self.text + more.text,
            token_ids=None if hidden else (*(self.token_ids or ()), *(more.token_ids or ())),
            logprobs=both(self.logprobs, more.logprobs),
            confidence=both(self.confidence, more.confidence),
            finish=more.finish,
            prompt_tokens=self.prompt_tokens + more.prompt_tokens,
            cached_tokens=self.cached_tokens + more.cached_tokens,
            generated_tokens=self.generated_tokens + more.generated_tokens,
            info=info or None,
            top_logprobs=None if tops else self.top_logprobs + more.top_logprobs,  # type: ignore[operator]
            model=more.model,
        )


for _name, _pack, _unpack in (
    ("token_ids", _packed_ids, _ids),
    ("logprobs", _packed_floats, _floats),
    ("confidence", _packed_floats, _floats),
):
    setattr(Sample, _name, _Packed(vars(Sample)[_name], _pack, _unpack))
_NUMBERS = {n: f for n, f in vars(Sample).items() if isinstance(f, _Packed)}
_COMPARED: list[Callable[[Sample], Any]] = [
    field.kept if isinstance(field := vars(Sample)[name], _Packed) else attrgetter(name)
    for name in Sample.__slots__
]


def packed(sample: Sample) -> tuple[dict[str, bytes], Sample]:
    """The fields that a sample keeps as bytes, 4 for a token, and the sample without them."""
    kept = {name: field.kept(sample) for name, field in _NUMBERS.items()}
    found = {name: value for name, value in kept.items() if type(value) is bytes}
    without: dict[str, Any] = dict.fromkeys(found)
    return found, replace(sample, **without) if found else sample


def unpacked(numbers: Mapping[str, bytes], rest: Sample) -> Sample:
    """The inverse of `packed`. Raises KeyError for a field that is none of these."""
    fields = {name: _NUMBERS[name].unpacked(value) for name, value in numbers.items()}
    return replace(rest, **fields) if fields else rest


def rounded(sample: Sample) -> Sample:
    """The sample as a stored tree has it: what is decided by it is decided again by that."""
    changes: dict[str, Any] = {
        name: _rounded(values)
        for name in ("logprobs", "confidence")
        if (values := getattr(sample, name)) is not None
    }
    if (tops := sample.top_logprobs) is not None:
        changes["top_logprobs"] = replace(tops, logprobs=_rounded(tops.logprobs))
    return replace(sample, **changes) if changes else sample


def _rounded(values: FloatArray) -> FloatArray:
    return values.astype(float).round(DIGITS).astype(np.float32)


def fingerprint(sample: Sample) -> str:
    """What tells a `rounded` sample apart. Whose it is the tree alone knows."""

    def told_of(values: FloatArray | None) -> bytes:
        return b"none" if values is None else values.tobytes()

    tops = sample.top_logprobs
    parts = (
        repr((sample.finish, sample.generated_tokens)).encode(),
        sample.text.encode("utf-8", "surrogatepass"),
        np.asarray(sample.token_ids or (), np.int64).tobytes(),
        told_of(sample.logprobs),
        b"none" if tops is None else repr(tops.to_json(None)).encode("utf-8", "surrogatepass"),
    )
    told = blake2b(digest_size=16)
    for part in parts:
        told.update(f"{len(part)}:".encode())
        told.update(part)
    return told.hexdigest()
