"""What evaluations are made from: stored runs, and the samples of one strategy of the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from evals.measures.finding import NotMeasuredError
from evals.replay.samples import Drawn, Recording
from evals.replay.sources import load as load_samples
from evals.report.load import Runs, StoredRun, StoredStrategy
from evals.report.load import load as load_runs
from evals.statistics.curves import Samples
from reasoning.backends.formats import kept, recognised, run_folder
from reasoning.errors import RecipeError, UserError, unknown


@dataclass(slots=True)
class Sampled:
    """One problem: its samples as numbers, and their texts."""

    id: str
    samples: list[Drawn]
    texts: list[str]


@dataclass
class Stored:
    """Folders of runs, or one recording of samples; everything is read when it is asked for.

    `strategy` names the strategy whose independent samples count (that with most of them),
    `greedy` the one that answers greedily, where it cannot be told.
    """

    sources: Sequence[Path]
    strategy: str | None = None
    greedy: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    max_tokens: int | None = None

    @cached_property
    def runs(self) -> Runs:
        """The results of the runs. Raises NotMeasuredError for recordings, which have none."""
        if not _are_runs(self.sources):
            raise NotMeasuredError("this is about strategies, and needs the folder of a run")
        return load_runs(self.sources)

    @property
    def problems(self) -> int:
        """How many problems there are."""
        if _are_runs(self.sources):
            return len(self.runs.problems)
        return len(self.recording.problems)

    @property
    def several(self) -> list[StoredRun]:
        """The runs, of which there must be two or more."""
        if len(self.runs.runs) < 2:
            raise NotMeasuredError("this compares runs of one recipe: name two folders or more")
        return self.runs.runs

    @cached_property
    def recording(self) -> Recording:
        """The independent whole solutions of one strategy of the first source."""
        try:
            return load_samples(
                self.sources[0],
                where=self.where,
                strategy=self.strategy,
                max_tokens=self.max_tokens,
            )
        except RecipeError as error:
            if self.strategy or self.where or self.max_tokens:
                raise
            raise NotMeasuredError(str(error)) from error

    @property
    def samples(self) -> list[Samples]:
        """Keys and grades of the first n samples of every problem, n being what all have."""
        n = self.at_least(1)
        return [
            Samples(
                [s.key if s.key >= 0 else None for s in p.samples[:n]],
                [s.correct for s in p.samples[:n]],
            )
            for p in self.recording.problems
        ]

    def at_least(self, fewest: int) -> int:
        """How many samples every problem has. Raises NotMeasuredError if those are too few."""
        n = self.recording.n
        if n < fewest:
            raise NotMeasuredError(f"this needs {fewest} samples a problem, and there are {n}")
        return n

    def with_texts(self) -> Iterator[Sampled]:
        """The problems of `recording` with the texts of their samples, read one at a time."""
        known = {problem.id: problem for problem in self.recording.problems}
        for name, texts in self._texts():
            problem = known.pop(name, None)
            if problem is not None and len(texts) == len(problem.samples):
                yield Sampled(name, problem.samples, texts)

    def _texts(self) -> Iterator[tuple[str, list[str]]]:
        source = self.sources[0]
        form = recognised(source)
        if form.form == "run_folder":
            name = run_folder.fullest(source, self.strategy)
            for row, tree in run_folder.results(source, name, _silent):
                try:
                    nodes = list(run_folder.solutions(row, run_folder.load(tree)))
                except run_folder.DAMAGE:
                    continue
                yield row["problem"], [node.sample.text for node, _ in nodes]
            return
        texts: dict[str, list[str]] = {}
        for row in form.rows(_silent):
            chosen = texts.setdefault(row["id"], [])
            chosen += [str(s.get("text") or "") for s in kept(row, self.where)]
        yield from texts.items()

    @cached_property
    def greedy_grades(self) -> dict[str, bool]:
        """Whether the greedy answer of each problem is right, by problem.

        It is that of the strategy `greedy`, else of one that is set to temperature 0, else of a
        greedy sample among the others (`hedge`). Raises NotMeasuredError if there is none.
        """
        found = self._greedy_strategy()
        if found is not None:
            return {p: r.correct for p, r in found.rows.items() if r.correct is not None}
        for strategy in self.runs.strategies:
            grades = dict(_hedges(strategy))
            if grades:
                return grades
        raise NotMeasuredError(
            "this needs a greedy answer beside the samples: a strategy `{searcher: sample, "
            "temperature: 0}`, samples drawn with `hedge: true`, or --greedy NAME"
        )

    def _greedy_strategy(self) -> StoredStrategy | None:
        return next((s for s in self.runs.strategies if self._is_greedy(s)), None)

    def _is_greedy(self, strategy: StoredStrategy) -> bool:
        if self.greedy is not None:
            return strategy.name == self.greedy
        entry = described(strategy)
        drawn: Any = (strategy.run.manifest.get("run") or {}).get("sampling")
        at = drawn.get("temperature") if isinstance(drawn, Mapping) else None
        at = (entry.get("params") or {}).get("temperature", at)
        return entry.get("searcher") == "sample" and at == 0


def described(strategy: StoredStrategy) -> Mapping[str, Any]:
    """What the summary of its run says of a strategy; empty if it says nothing."""
    entries = (strategy.run.summary or {}).get("strategies") or ()
    return next((e for e in entries if e.get("name") == strategy.name), {})


def _hedges(strategy: StoredStrategy) -> Iterator[tuple[str, bool]]:
    for problem, row in strategy.rows.items():
        for candidate in strategy.run.result(row).get("candidates") or ():
            if candidate.get("hedge") and isinstance(candidate.get("correct"), bool):
                yield problem, candidate["correct"]


def _are_runs(sources: Sequence[Path]) -> bool:
    return all((source / "results.jsonl").is_file() for source in sources)


def _silent(kind: str, where: str) -> None:
    """The recording has told already what is damaged."""
    del kind, where


def ask(stored: Stored) -> None:
    """Raise what is wrong with the sources themselves, before any evaluation is tried."""
    for source in stored.sources:
        recognised(source)
    if len(stored.sources) > 1 and not _are_runs(stored.sources):
        raise UserError(
            "several sources must all be folders of runs (of one recipe); name a recording alone"
        )
    if stored.greedy is not None:
        found = [s.name for s in stored.runs.strategies] if _are_runs(stored.sources) else []
        if stored.greedy not in found:
            raise RecipeError(unknown("strategy", stored.greedy, found))
