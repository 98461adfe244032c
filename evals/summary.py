"""The numbers of a run, from its stored results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evals.metrics import bootstrap_mean, majority_at_k, pass_at_k, wilson

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


def summarise(
    results: Iterable[Mapping[str, Any]],
    *,
    strategies: Sequence[Mapping[str, Any]],
    problem_ids: Sequence[str],
    avg_at_n: bool = False,
) -> dict[str, Any]:
    """Tables per strategy over `problem_ids`, whatever order the results come in.

    `accuracy` is the share of graded problems answered rightly, `ci95` its Wilson interval.
    Strategies that draw whole solutions independently also get `pass_at_k` and `majority_at_k`:
    unbiased estimates over all subsets of the samples at hand. With `avg_at_n`, `avg_at_n` is the
    mean accuracy of single samples with a bootstrap interval over problems.
    """
    order = {problem: i for i, problem in enumerate(problem_ids)}
    tallies = {s["name"]: _Tally(len(order)) for s in strategies}
    for result in results:
        tally, position = tallies.get(result["strategy"]), order.get(result["problem"])
        if tally is not None and position is not None:
            tally.add(position, result)
    table = [{**s, **tallies[s["name"]].close(avg_at_n)} for s in strategies]
    return {"problems": len(order), "strategies": table}


class _Tally:
    """What is kept of one strategy's results: a few numbers a problem."""

    def __init__(self, problems: int) -> None:
        self.correct: list[bool | None] = [None] * problems
        self.present = [False] * problems
        self.totals: Counter[str] = Counter()
        self.seconds = [0.0] * problems
        self.critical = [0] * problems
        self.stops: Counter[str] = Counter()
        self.unanswered = 0
        self.failures: dict[int, str] = {}
        self.samples: list[tuple[list[str | None], list[bool]] | None] = [None] * problems

    def add(self, position: int, result: Mapping[str, Any]) -> None:
        usage = result["usage"]
        self.present[position] = True
        self.correct[position] = result["correct"]
        self.stops[result["stop_reason"]] += 1
        self.unanswered += result["answer"] is None
        if result["failures"] and len(self.failures) < 1000:
            self.failures[position] = f"{result['problem']}: {result['failures'][0]}"
        self.seconds[position] = usage["seconds"]
        self.critical[position] = usage["critical_tokens"]
        for name in TOTALS:
            self.totals[name] += usage[name]
        candidates = result["candidates"]
        if result["correct"] is not None and _independent(usage, candidates):
            keys = [c["key"] for c in candidates]
            self.samples[position] = (keys, [bool(c["correct"]) for c in candidates])

    def close(self, avg_at_n: bool) -> dict[str, Any]:
        graded = [c for c in self.correct if c is not None]
        done = sum(self.present)
        table: dict[str, Any] = {
            "problems": done,
            "graded": len(graded),
            "accuracy": sum(graded) / len(graded) if graded else None,
            "ci95": list(wilson(sum(graded), len(graded))) if graded else None,
            "unanswered": self.unanswered,
            **{name: self.totals[name] for name in TOTALS},
            # Summed in the order of the problems, so that a resumed run gives the same digits.
            "seconds": round(sum(self.seconds), 6),
            "critical_tokens": round(sum(self.critical) / done, 3) if done else 0,
            "stop_reasons": dict(sorted(self.stops.items())),
            "failures": [message for _, message in sorted(self.failures.items())[:3]],
        }
        samples = [s for s in self.samples if s is not None]
        if graded and len(samples) == len(graded):
            n = min(len(correct) for _, correct in samples)
            if n > 1:
                table |= self._curves(samples, n)
            if avg_at_n:
                means = [sum(correct) / len(correct) for _, correct in samples]
                table["avg_at_n"] = {
                    "n": n,
                    "mean": sum(means) / len(means),
                    "ci95": list(bootstrap_mean(means)),
                }
        return table

    @staticmethod
    def _curves(samples: Sequence[tuple[list[str | None], list[bool]]], n: int) -> dict[str, Any]:
        ks = sorted({*(2**i for i in range(n.bit_length()) if 2**i <= n), n})
        count = len(samples)
        return {
            "pass_at_k": {
                str(k): sum(pass_at_k(len(c), sum(c), k) for _, c in samples) / count for k in ks
            },
            "majority_at_k": {
                str(k): sum(majority_at_k(keys, c, k) for keys, c in samples) / count for k in ks
            },
        }


def _independent(usage: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> bool:
    """Whole solutions, drawn one beside the other, none of them cancelled."""
    whole = all(len(c["path"]) == 1 for c in candidates)
    return bool(candidates) and whole and not usage["cancelled_calls"]
