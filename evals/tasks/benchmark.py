"""A benchmark as a record: where its rows are, what is asked, what an answer is, whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from evals.tasks.loading import Adapt, Asked, Kind, Task, load
from evals.tasks.prompts import Template
from evals.tasks.rows import Hub, Row, Where
from reasoning.answers import FallbackName

STEPS = "{question}\n\nSolve the problem step by step, with a blank line between steps. "
BOXED = STEPS + "End with the final answer within \\boxed{}."
INTEGER = STEPS + "The answer is an integer from 0 to 999; end with it within \\boxed{}."
LETTER = (
    "{question}\n\n{options}\n\nThink step by step, with a blank line between steps. "
    "End with the letter of the right option within \\boxed{}."
)
PROGRAM = "{question}\n\nWrite a program in Python. End with all of it in one fenced block."


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """A benchmark, by which a recipe calls the name that the record has in its module.

    problems: how many rows the data set has, None where that was not found. fields: what the data
    set calls `id`, `question` and `answer`, where it calls them something else. adapt: what must
    still be done to a row. fallback: how mathematics is searched for an answer that is neither
    boxed nor behind ####. where, shuffle: as in a recipe, unless it says otherwise. avg_at_n: so
    few problems that single samples are averaged. licence: "unknown" where nothing was found that
    says. private: its authors ask not to show its questions. note: what a reader of its numbers
    should know.
    """

    name: str
    about: str
    hub: Hub
    problems: int | None
    licence: str
    prompt: Template = BOXED
    answers: Kind = "math"
    fallback: FallbackName = "formula"
    fields: Mapping[str, str] = field(default_factory=dict)
    adapt: Adapt | None = None
    where: Where | None = None
    shuffle: int | None = None
    avg_at_n: bool = False
    private: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        # What `reasoning list` shows of any plug-in: a name, and a sentence.
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__doc__", self.about)

    def __call__(
        self,
        *,
        path: str | Path | None = None,
        prompt: Template | None = None,
        system: str | None = None,
        limit: int | None = None,
        revision: str | None = None,
        answers: Kind | None = None,
        fallback: FallbackName | None = None,
        where: dict[str, object] | None = None,
        shuffle: int | None = None,
        private: bool | None = None,
    ) -> Task:
        """Its problems.

        path: a local file instead of the hub's, with rows as they are published, or with fields
        id, question, answer. private: store no questions with a run. The others: as in task jsonl.
        """
        asked = Asked(
            path=path,
            prompt=self.prompt if prompt is None else prompt,
            system=system,
            limit=limit,
            answers=self.answers if answers is None else answers,
            fallback=fallback,
            default=self.fallback,
            where=self.where if where is None else where,
            shuffle=self.shuffle if shuffle is None else shuffle,
            private=self.private if private is None else private,
        )
        hub = replace(self.hub, revision=revision or self.hub.revision)
        task = load(self.name, asked, hub=hub, adapt=self._adapted)
        return replace(task, avg_at_n=self.avg_at_n, licence=self.licence)

    def _adapted(self, number: int, row: Row) -> Row:
        """A row with our names; ids that are bare numbers say whose they are."""
        row = dict(row)
        for ours, theirs in self.fields.items():
            if ours not in row and theirs in row:
                row[ours] = row.pop(theirs)
        row = self.adapt(number, row) if self.adapt else row
        given = row.get("id")
        name = str(number + 1 if given in (None, "") else given)
        return {**row, "id": f"{self.name}-{name}" if name.isdecimal() else name}
