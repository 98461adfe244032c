"""What a search has spent: everything that was paid for, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter

NANO = 1_000_000_000
"""A purse counts money in billionths of the unit that prices are in, so that sums are exact."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, per million tokens; `cached` are prompt tokens found in a cache."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None

    def of(self, prompt: int, cached: int, generated: int) -> int:
        """The price of a call, in billionths."""
        kept = self.input if self.cached is None else self.cached
        units = (prompt - cached) * self.input + cached * kept + generated * self.output
        return round(units * NANO / 1_000_000)


@dataclass(slots=True)
class Share:
    """What one of several models has cost."""

    generated_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(slots=True)
class Usage:
    """Everything paid for. Tokens and calls are counted, whether or not their result was used.

    `generated_tokens` includes `wasted_tokens`, those of cancelled and failed calls, and
    `probe_tokens`, those of looks at what would come next. `critical_tokens` is the longest chain
    of tokens that had to be generated one after another, rounds of a limit included; `seconds` the
    time from start to end on the clock of the search. `money` is None where the price of a
    call is not known.
    `estimated_tokens` are those of them, of prompts too, that nobody has counted.
    `unknown_prompts` are cancelled and failed calls whose prompts are in no count, as no call which
    read the same has told how long it is.
    `models` has the part of every model but the one asked by default.
    """

    generated_tokens: int = 0
    wasted_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 0
    cancelled_calls: int = 0
    failed_calls: int = 0
    retried_calls: int = 0
    verifier_calls: int = 0
    verifier_tokens: int = 0
    critical_tokens: int = 0
    seconds: float = 0.0
    probe_tokens: int = 0
    tool_calls: int = 0
    estimated_tokens: int = 0
    unknown_prompts: int = 0
    money: float | None = None
    models: dict[str, Share] = field(default_factory=dict)

    def __add__(self, other: Usage) -> Usage:
        """Totals; the critical path of things done side by side is the longer one."""
        names = [f.name for f in fields(self) if f.name not in ("money", "models")]
        total = Usage(**{name: getattr(self, name) + getattr(other, name) for name in names})
        total.critical_tokens = max(self.critical_tokens, other.critical_tokens)
        unknown = any(part.money is None and part.calls for part in (self, other))
        if not unknown and (self.money is not None or other.money is not None):
            total.money = (self.money or 0.0) + (other.money or 0.0)
        for name in {**self.models, **other.models}:
            parts = self.models.get(name, Share()), other.models.get(name, Share())
            total.models[name] = parts[0] + parts[1]
        return total

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; what only some searches have is left out where there is none."""
        out: dict[str, object] = dict(zip(_ALWAYS, _always(self), strict=True))
        if any(rare := _sometimes(self)):
            out |= {name: value for name, value in zip(_SOMETIMES, rare, strict=True) if value}
        if self.models:
            out["models"] = {
                name: {f.name: getattr(part, f.name) for f in fields(part)}
                for name, part in sorted(self.models.items())
            }
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Usage:
        """The inverse of `to_json`; unknown keys are ignored."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        models: object = known.pop("models", None)
        usage = cls(**known)  # type: ignore[arg-type]
        if isinstance(models, Mapping):
            usage.models = {name: Share(**part) for name, part in models.items()}
        return usage


_SOMETIMES = ("probe_tokens", "tool_calls", "estimated_tokens", "unknown_prompts", "money")
_ALWAYS = [f.name for f in fields(Usage) if f.name not in (*_SOMETIMES, "models")]
_sometimes, _always = attrgetter(*_SOMETIMES), attrgetter(*_ALWAYS)
