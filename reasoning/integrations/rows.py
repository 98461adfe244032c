"""A run's folder as rows: one a sample, or one a problem and strategy (see `columns`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from reasoning.backends.formats.run_folder import DAMAGE, load
from reasoning.errors import RecipeError, unknown
from reasoning.runs import names
from reasoning.runs.store import Store
from reasoning.tree import Node, RolloutTree
from reasoning.usage import Usage

Row: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Stored:
    """A result of the run with its rollout tree, None where that is lost."""

    strategy: str
    problem: str
    line: Mapping[str, Any]
    tree: RolloutTree | None


@dataclass(slots=True)
class StoredRun:
    """A run's folder, read in the order of its strategies, then by the names of the problems.

    `notes` say what a reader has to know; those of trees that are lost come while it is read.
    """

    folder: Path
    name: str
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any] | None
    private: bool
    strategies: list[Any]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: str | Path, strategies: Sequence[str] = ()) -> StoredRun:
        """Raises StoreError for a folder that is no run's, RecipeError for a strategy it lacks."""
        found = names.ours("evals.report.load").load([folder])
        (run,) = found.runs
        known = [s.name for s in found.strategies]
        for name in strategies:
            if name not in known:
                raise RecipeError(unknown("strategy", name, known))
        chosen = [s for s in found.strategies if not strategies or s.name in strategies]
        for strategy in chosen:
            strategy.rows = {p: strategy.rows[p] for p in found.problems if p in strategy.rows}
        notes = [*run.troubles]
        if run.private:
            notes.append("the task asks not to show its questions: texts are left out")
        return cls(run.folder, run.label, run.manifest, run.summary, run.private, chosen, notes)

    @property
    def task(self) -> str:
        """What the task is called."""
        told = (self.manifest.get("run") or {}).get("task") or (self.summary or {}).get("task")
        return str(told.get("name") if isinstance(told, Mapping) else told or "")

    @property
    def licence(self) -> str | None:
        """Under whose terms the problems are, if the run says."""
        told = self.manifest.get("task")
        return told.get("licence") if isinstance(told, Mapping) else None

    def results(self, *, trees: bool = True) -> Iterator[Stored]:
        """Every result, with its tree if that is wanted."""
        store, lost = Store(self.folder), 0
        for strategy in self.strategies:
            for problem, row in strategy.rows.items():
                line, tree = strategy.run.result(row), None
                if trees:
                    with suppress(*DAMAGE):
                        tree = load(store.tree_path(strategy.name, problem))
                    lost += tree is None
                yield Stored(strategy.name, problem, line, tree)
        if lost:
            self.notes.append(f"trees that are missing or damaged: {lost}; their texts are empty")


def samples(run: StoredRun, *, logprobs: bool = False) -> Iterator[Row]:
    """One row a sample: see `columns.SAMPLES`."""
    for stored in run.results():
        place = {**_place(run, stored), **_asked(run, stored.line)}
        for slot, row in enumerate(_samples(run, stored, logprobs)):
            yield {**place, "slot": slot, **row}


def results(run: StoredRun) -> Iterator[Row]:
    """One row a problem and strategy: see `columns.RESULTS`."""
    for stored in run.results(trees=False):
        line = stored.line
        spent = usage(line)
        yield {
            **_place(run, stored),
            **_asked(run, line),
            "answer": text(line.get("answer")),
            "correct": truth(line.get("correct")),
            "confidence": number(line.get("confidence")),
            "stop_reason": text(line.get("stop_reason")),
            "candidates": len(line.get("candidates") or ()),
            **{name: getattr(spent, name) for name in Usage.__slots__ if name != "models"},
            "failures": [text(failure) for failure in line.get("failures") or ()],
            "meta": text(json.dumps(line.get("meta") or {}, ensure_ascii=False)),
        }


def usage(line: Mapping[str, Any]) -> Usage:
    """What a result has spent."""
    return Usage.from_json(line.get("usage") or {})


def _place(run: StoredRun, stored: Stored) -> Row:
    return {"run": run.name, "problem": text(stored.problem), "strategy": text(stored.strategy)}


def _asked(run: StoredRun, line: Mapping[str, Any]) -> Row:
    asked = None if run.private else text(line.get("question"))
    return {"question": asked, "gold": text(line.get("gold"))}


def _samples(run: StoredRun, stored: Stored, logprobs: bool) -> Iterator[Row]:
    found = ends(stored)
    told = {tuple(c["path"]): c for c in stored.line.get("candidates") or ()}
    chosen, counted = stored.line.get("node"), set[Node]()
    for path, node in found.items():
        candidate = told.get(path)
        yield {
            "path": ".".join(map(str, path)),
            "candidate": candidate is not None,
            "chosen": list(path) == chosen,
            **_judged(candidate or {}),
            **(_drawn(run, node, counted, logprobs) if node is not None else {}),
        }


def ends(stored: Stored) -> dict[tuple[int, ...], Node | None]:
    """The nodes at which paths end, and those of candidates, in the order of the paths.

    A look at what would come next is no sample. Without a tree there are candidates alone.
    """
    paths = [tuple(c["path"]) for c in stored.line.get("candidates") or ()]
    found: dict[tuple[int, ...], Node | None] = dict.fromkeys(paths)
    if stored.tree is not None:
        for node in stored.tree:
            probe = node.sample.finish == "probe"
            last = all(child.sample.finish == "probe" for child in node.children)
            if (last and not probe) or node.path in found:
                found[node.path] = node
    return dict(sorted(found.items()))


def _judged(candidate: Mapping[str, Any]) -> Row:
    return {
        "answer": text(candidate.get("answer")),
        "key": text(candidate.get("key")),
        "correct": truth(candidate.get("correct")),
        "weight": number(candidate.get("weight")),
        "rank": number(candidate.get("rank")),
        "steps": [float(s) for s in candidate.get("steps") or ()],
    }


def _drawn(run: StoredRun, node: Node, counted: set[Node], logprobs: bool) -> Row:
    new = [n for n in node.lineage() if n not in counted]
    counted.update(new)
    sample, each = node.sample, token_logprobs(node)
    verifiers = dict.fromkeys(name for n in node.attempt() for name in n.scores)
    return {
        "text": None if run.private else text(node.text),
        "finish": sample.finish,
        "model": sample.model or None,
        "tokens": node.generated_tokens,
        "new_tokens": sum(n.sample.generated_tokens for n in new),
        "prompt_tokens": sample.prompt_tokens,
        "cached_tokens": sample.cached_tokens,
        "logprob": None if each is None else math.fsum(each),
        "scores": [{"verifier": text(v), "steps": list(node.step_scores(v))} for v in verifiers],
        **({"logprobs": each} if logprobs else {}),
    }


def token_logprobs(node: Node) -> list[float] | None:
    """The log-probability of every token of the path's text, None if one is not known."""
    found: list[float] = []
    for part in node.attempt():
        if part.sample.logprobs is None:
            return None
        found += part.sample.logprobs.tolist()
    return found or None


def text(value: Any) -> str | None:
    """A text that every format can hold: halves of surrogate pairs joined, or replaced."""
    if value is None:
        return None
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
