"""The numbers of a run, from its stored results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evals.statistics.curves import Kind, Samples, at_k_curve
from evals.statistics.independent import Drawn, alike, drawn
from evals.statistics.metrics import bootstrap_mean, wilson

TOTALS = (
    "generated_tokens",
    "wasted_tokens",
    "prompt_tokens",
    "cached_tokens",
    "calls",
    "cancelled_calls",
    "failed_calls",
    "retried_calls",
    "verifier_calls",
    "verifier_tokens",
    "seconds",
)
SOME = ("probe_tokens", "tool_calls", "estimated_tokens", "unknown_prompts", "money")
"""Totals of what only some searches have, left out of a table where there is none."""


def summarise(
    results: Iterable[Mapping[str, Any]],
    *,
    strategies: Sequence[Mapping[str, Any]],
    problem_ids: Sequence[str],
    avg_at_n: bool = False,
) -> dict[str, Any]:
    """Tables per strategy over `problem_ids`, whatever order the results come in.

    `accuracy` is the share of graded problems answered rightly, `ci95` its Wilson interval.
    `measures` are means of what the answers' kind says beside that; see `Answers.measures`.
    `failed_searches` counts those that an error ended: wrong answers, never left out. Strategies
    that are `independent` and have as many whole solutions for every problem also get `pass_at_k`
    and `majority_at_k`: unbiased estimates over all subsets of the samples at hand. With
    `avg_at_n`, `avg_at_n` is the mean accuracy of single samples with a bootstrap interval over
    problems.
    """
    order = {problem: i for i, problem in enumerate(problem_ids)}
    tallies = {s["name"]: _Tally(len(order), s.get("independent") is True) for s in strategies}
    for result in results:
        tally, position = tallies.get(result["strategy"]), order.get(result["problem"])
        if tally is not None and position is not None:
            tally.add(position, result)
    table = [{**s, **tallies[s["name"]].close(avg_at_n)} for s in strategies]
    return {"problems": len(order), "strategies": table}


def _told(failures: Sequence[str]) -> str:
    """The first failure; of a traceback, if there is one, the last line."""
    worst = next((text for text in failures if "\n" in text.strip()), failures[0])
    return worst.strip().rpartition("\n")[2]


def _mean(values: Sequence[float | None]) -> float:
    """Over the problems that have one, in their order, so that a resumed run gives equal digits."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found)


class _Tally:
    """What is kept of one strategy's results: a few numbers a problem."""

    def __init__(self, problems: int, independent: bool) -> None:
        self.independent = independent
        self.correct: list[bool | None] = [None] * problems
        self.present = [False] * problems
        self.totals: Counter[str] = Counter()
        self.seconds = [0.0] * problems
        self.critical = [0] * problems
        self.models: dict[str, Counter[str]] = {}
        self.stops: Counter[str] = Counter()
        self.unanswered = 0
        self.failures: dict[int, str] = {}
        self.drawn: list[Drawn | None] = [None] * problems
        self.measures: dict[str, list[float | None]] = {}

    def add(self, position: int, result: Mapping[str, Any]) -> None:
        usage = result["usage"]
        self.present[position] = True
        self.correct[position] = result["correct"]
        self.stops[result["stop_reason"]] += 1
        self.unanswered += result["answer"] is None
        if result["failures"] and len(self.failures) < 1000:
            self.failures[position] = f"{result['problem']}: {_told(result['failures'])}"
        self.seconds[position] = usage["seconds"]
        self.critical[position] = usage["critical_tokens"]
        for name in TOTALS:
            self.totals[name] += usage[name]
        for name in SOME:
            self.totals[name] += usage.get(name) or 0
        for model, share in (usage.get("models") or {}).items():
            self.models.setdefault(model, Counter()).update(share)
        for name, value in (result.get("measures") or {}).items():
            self.measures.setdefault(name, [None] * len(self.present))[position] = value
        if self.independent:
            self.drawn[position] = drawn(result)

    def close(self, avg_at_n: bool) -> dict[str, Any]:
        graded = [c for c in self.correct if c is not None]
        done = sum(self.present)
        table: dict[str, Any] = {
            "problems": done,
            "graded": len(graded),
            "accuracy": sum(graded) / len(graded) if graded else None,
            "ci95": list(wilson(sum(graded), len(graded))) if graded else None,
            "unanswered": self.unanswered,
            "failed_searches": self.stops["failed"],
            **{name: self.totals[name] for name in TOTALS},
            # To the billionth, which is what money is counted in, whatever the order.
            **{name: round(self.totals[name], 9) for name in SOME if self.totals[name]},
            # Summed in the order of the problems, so that a resumed run gives the same digits.
            "seconds": round(sum(self.seconds), 6),
            "critical_tokens": round(sum(self.critical) / done, 3) if done else 0,
            "stop_reasons": dict(sorted(self.stops.items())),
            "failures": [message for _, message in sorted(self.failures.items())[:3]],
        }
        if self.models:
            table["models"] = {model: dict(self.models[model]) for model in sorted(self.models)}
        if self.measures:
            table["measures"] = {n: _mean(self.measures[n]) for n in sorted(self.measures)}
        graded_ones = [d for d, c in zip(self.drawn, self.correct, strict=True) if c is not None]
        if samples := alike(graded_ones):
            n = len(samples[0].keys)
            if n > 1:
                table |= self._curves(samples)
            if avg_at_n:
                means = [sum(s.correct) / n for s in samples]
                table["avg_at_n"] = {
                    "n": n,
                    "mean": sum(means) / len(means),
                    "ci95": list(bootstrap_mean(means)),
                }
        return table

    @staticmethod
    def _curves(samples: Sequence[Samples]) -> dict[str, Any]:
        """pass@k and majority@k over powers of two and n."""
        kinds: tuple[Kind, ...] = ("pass", "majority")
        curves = {kind: at_k_curve(samples, kind) for kind in kinds}
        return {
            f"{kind}_at_k": dict(zip(map(str, c.ks), c.values.mean(axis=0).tolist(), strict=True))
            for kind, c in curves.items()
        }
