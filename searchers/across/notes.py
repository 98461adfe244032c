"""Notes that a run has left, for others to read: what they say, of what, and what they have cost.

`reasoning gather` writes them. Whoever reads them is shown none about its own question: a question
that has been read is refused, before anything is spent, and what is near to it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator

from reasoning.errors import RecipeError
from reasoning.problem import Problem
from searchers.kernels import artefacts
from searchers.kernels.artefacts import Artefact
from searchers.kernels.nearest import Alike, Nearest
from searchers.kernels.sameness import canonical

NEAR = 0.6
"""Share of common triples of words from which two questions are near-identical."""


class Note(Artefact):
    """What was written about one question, or one context: `text`, after a model had read `prompt`.

    `correct` says whether the answer in it was right, None where nobody knows."""

    id: str
    question: str
    prompt: str
    text: str
    correct: bool | None = None


class Notes(Artefact):
    """The notes of one strategy of a run, in the order of its problems. `cost` has what the whole
    strategy has used, by its names in `Usage`; `source` says which data were read."""

    version: Literal[1] = 1
    about: Literal["questions", "contexts"] = "questions"
    strategy: str = ""
    task: str = ""
    source: str = ""
    cost: Mapping[str, float] = {}
    notes: tuple[Note, ...] = ()

    @cached_property
    def digest(self) -> str:
        """What tells these notes from any others."""
        return sha256(self.model_dump_json().encode()).hexdigest()

    def refuse(self, problems: Sequence[Problem]) -> list[str]:
        """Raise RecipeError if one of `problems` has been read; a warning if one is near to it."""
        near = []
        for problem in problems:
            for i, share in self._near(problem):
                near.append((share, problem.id, self.notes[i].id))
        if not near:
            return []
        share, problem_id, source = max(near)
        pairs = f"{len(near)} pairs of questions are" if len(near) > 1 else "a pair of questions is"
        return [
            f"{pairs} near-identical: problem {problem_id!r} and {source!r}, of which there are "
            f"notes, have {share:.0%} of their word triples in common; nobody is shown notes about "
            "what is near to its own question"
        ]

    def shown_to(self, problem: Problem) -> list[Note]:
        """Those that `problem` may see. Raises RecipeError if it is one of those read."""
        if self.about != "questions":
            raise RecipeError(
                "these are notes about contexts, which sleep_time reads; gather them from a run "
                "on problems"
            )
        near = {i for i, _ in self._near(problem)}
        return [note for i, note in enumerate(self.notes) if i not in near]

    def nearest(self, problem: Problem) -> list[Note]:
        """Those that `problem` may see, by how near their questions are; the nearest first."""
        shown = {note.id for note in self.shown_to(problem)}
        found = (self.notes[i] for i in self._index.order(problem.question))
        return [note for note in found if note.id in shown]

    def of(self, context: str, problem: Problem) -> Note | None:
        """The note about a problem's context, if there is one. Raises RecipeError for other notes,
        or if the problem's question was known when it was written."""
        if self.about != "contexts":
            raise RecipeError(
                "these are notes about questions, and sleep_time reads those about contexts; "
                "gather them from a run of task contexts"
            )
        self._near(problem)
        return self._contexts.get(canonical(context))

    def _near(self, problem: Problem) -> list[tuple[int, float]]:
        """Notes about what is nearly the problem's question, and how near. Raises RecipeError."""
        asked = canonical(problem.question)
        if self.about == "contexts":  # which share their words with questions about them
            read = next((i for i, text in enumerate(self._read) if asked in text), None)
            near = []
        else:
            read = self._places.get(asked)
            shares = self._alike.shares(problem.question)
            near = [(i, share) for i, share in shares.items() if share >= NEAR]
        if read is not None:
            raise RecipeError(
                f"the notes have been gathered from {self.notes[read].id!r}, in which problem "
                f"{problem.id!r} is asked: {problem.question!r:.80}. Leave one of the two out (of "
                "the task, by where or limit), or gather notes from other problems"
            )
        return near

    @cached_property
    def _read(self) -> list[str]:
        return [canonical(note.question) for note in self.notes]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text: i for i, text in reversed([*enumerate(self._read)])}

    @cached_property
    def _contexts(self) -> dict[str, Note]:
        return dict(zip(self._read, self.notes, strict=True))

    @cached_property
    def _alike(self) -> Alike:
        return Alike(note.question for note in self.notes)

    @cached_property
    def _index(self) -> Nearest:
        return Nearest([note.question for note in self.notes])


def read(source: object) -> object:
    """The notes in a file; raises ValueError that says what is wrong with it."""
    return artefacts.read(Notes, source, "reasoning gather")


NotesFile: TypeAlias = Annotated[Notes, BeforeValidator(read, json_schema_input_type=str | Notes)]
"""Notes, or the name of their file."""
