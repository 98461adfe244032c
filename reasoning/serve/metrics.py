"""What a server has done, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from reasoning.result import Result

_HELP = {
    "requests_total": ("counter", "Requests by endpoint and status; 499 is a client that left."),
    "searches_total": ("counter", "Searches that ended, by strategy and why."),
    "search_seconds_total": ("counter", "Seconds that searches took, by strategy."),
    "generated_tokens_total": ("counter", "Tokens generated, by strategy."),
    "wasted_tokens_total": ("counter", "Tokens of cancelled and failed calls, by strategy."),
    "prompt_tokens_total": ("counter", "Tokens of prompts read, by strategy."),
    "cached_tokens_total": ("counter", "Tokens of prompts found in a cache, by strategy."),
    "verifier_tokens_total": ("counter", "Tokens that verifiers read and wrote, by strategy."),
    "calls_total": ("counter", "Calls of models, by strategy."),
    "failed_calls_total": ("counter", "Calls that failed for good, by strategy."),
    "money_total": ("counter", "Spent, in the unit of the recipe's prices, by strategy."),
    "searches_running": ("gauge", "Searches running now."),
}
_COUNTED = {
    "search_seconds_total": "seconds",
    **{
        f"{name}_total": name
        for name in (
            "generated_tokens",
            "wasted_tokens",
            "prompt_tokens",
            "cached_tokens",
            "verifier_tokens",
            "calls",
            "failed_calls",
        )
    },
}
"""Fields of `Usage` by the metrics that add them up."""
_counts = attrgetter(*_COUNTED.values())


@dataclass(slots=True)
class Metrics:
    """Sums by name and labels."""

    sums: Counter[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=Counter)

    def answered(self, endpoint: str, status: int) -> None:
        """A request is over."""
        self.sums["requests_total", _labels(endpoint=endpoint, status=str(status))] += 1

    def searched(self, strategy: str, result: Result) -> None:
        """A search is over. `strategy` is one of the recipe's, so that labels stay few."""
        usage, sums = result.usage, self.sums
        sums["searches_total", _labels(strategy=strategy, stop_reason=result.stop_reason)] += 1
        by_strategy = _labels(strategy=strategy)
        for total, amount in zip(_COUNTED, _counts(usage), strict=True):
            sums[total, by_strategy] += amount
        if usage.money is not None:
            sums["money_total", by_strategy] += usage.money  # type: ignore[assignment]

    def text(self, running: int) -> str:
        """All of it in Prometheus's format."""
        lines = []
        for name, (kind, words) in _HELP.items():
            lines += [f"# HELP reasoning_{name} {words}", f"# TYPE reasoning_{name} {kind}"]
            if name == "searches_running":
                lines.append(f"reasoning_{name} {running}")
            found = sorted(
                (_stated(labels), v) for (n, labels), v in self.sums.items() if n == name
            )
            lines += [f"reasoning_{name}{{{labels}}} {value}" for labels, value in found]
        return "\n".join(lines) + "\n"


def _labels(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(labels.items())


def _stated(labels: Iterable[tuple[str, str]]) -> str:
    return ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
