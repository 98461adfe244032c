"""What a server has done, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasoning.serve.floor import Floor

_HELP = {
    "requests_total": ("counter", "Requests by endpoint and status; 499 is a client that left."),
    "searches_total": ("counter", "Searches that ended, by strategy and why."),
    "search_seconds_total": ("counter", "Seconds that searches took, by strategy."),
    "generated_tokens_total": ("counter", "Tokens generated, by strategy."),
    "wasted_tokens_total": ("counter", "Tokens of cancelled and failed calls, by strategy."),
    "prompt_tokens_total": ("counter", "Tokens of prompts read, by strategy."),
    "cached_tokens_total": ("counter", "Tokens of prompts found in a cache, by strategy."),
    "verifier_tokens_total": ("counter", "Tokens that verifiers read and wrote, by strategy."),
    "verifier_calls_total": ("counter", "Calls of verifiers, by strategy."),
    "calls_total": ("counter", "Calls of models, by strategy."),
    "failed_calls_total": ("counter", "Calls that failed for good, by strategy."),
    "money_total": ("counter", "Spent, in the unit of the recipe's prices, by strategy."),
    "searches_running": ("gauge", "Searches running now."),
}


@dataclass(slots=True)
class Metrics:
    """What is counted here: requests by endpoint and status."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)

    def answered(self, endpoint: str, status: int) -> None:
        """A request is over."""
        self.requests[endpoint, status] += 1

    def text(self, floor: Floor, running: int) -> str:
        """All of it in Prometheus's format; what searches have spent is known on their floor."""
        rows: dict[str, list[tuple[str, float]]] = {name: [] for name in _HELP}
        for (endpoint, status), n in self.requests.items():
            rows["requests_total"].append((_stated(endpoint=endpoint, status=str(status)), n))
        for (strategy, why), n in floor.ends.items():
            rows["searches_total"].append((_stated(strategy=strategy, stop_reason=why), n))
        for strategy, tally in floor.tallies.items():
            labels = _stated(strategy=strategy)
            for name, amount in tally.sums.items():
                total = "search_seconds_total" if name == "seconds" else f"{name}_total"
                rows[total].append((labels, amount))
            if tally.money is not None:
                rows["money_total"].append((labels, tally.money))
        lines = []
        for name, (kind, words) in _HELP.items():
            lines += [f"# HELP reasoning_{name} {words}", f"# TYPE reasoning_{name} {kind}"]
            if name == "searches_running":
                lines.append(f"reasoning_{name} {running}")
            lines += [f"reasoning_{name}{{{labels}}} {n}" for labels, n in sorted(rows[name])]
        return "\n".join(lines) + "\n"


def _stated(**labels: str) -> str:
    return ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
