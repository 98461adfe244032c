"""Tasks: the problems of a benchmark, from the hub or from a file of one's own.

A benchmark is a record of `evals.tasks.benchmark`; `jsonl` is anybody's file, and what makes its
problems itself is a function in a file of its name. `load` does the work all of them share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeAlias

from evals.tasks.prompts import Template, Wording, conversation, shown
from evals.tasks.rows import Hub, Located, Row, Where, from_file, from_hub, wanted
from reasoning.answers import FallbackName
from reasoning.answers.choice import MultipleChoice
from reasoning.answers.kind import Answers
from reasoning.errors import RecipeError, TaskError
from reasoning.problem import Message, Problem
from reasoning.runs import names

Adapt: TypeAlias = Callable[[int, Row], Row]
"""Brings a row, given its number from 0, into the shape {id, question, answer, ...}."""


@dataclass(frozen=True, slots=True)
class Task:
    """Problems under a name.

    `source` says for the manifest exactly which data they are: dataset@revision, or a file and its
    SHA-256; `licence` whose terms they are under. `avg_at_n` marks tasks so small that they are
    reported as the mean over n samples, `private` those whose questions a run does not store.
    """

    name: str
    problems: list[Problem]
    source: str
    avg_at_n: bool = False
    licence: str = ""
    private: bool = False


class Fields(NamedTuple):
    """What the fields of a row are called."""

    id: str = "id"
    question: str = "question"
    answer: str = "answer"


Kind: TypeAlias = str | dict[str, Any]
"""What answers are: a file of `reasoning.answers` by its name, or {kind: name} with its options."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a recipe may say of any task with rows; see docs/tasks.md.

    `fallback` is the answers', `default` what mathematics has without one; `where` chooses rows,
    `shuffle` is the seed by which options stand in another order, `limit` keeps the first problems.
    """

    path: str | Path | None
    prompt: Template
    system: str | None = None
    limit: int | None = None
    answers: Kind = "math"
    fallback: FallbackName | None = None
    default: FallbackName = "none"
    where: Where | None = None
    shuffle: int | None = None
    private: bool = False


def load(
    name: str,
    asked: Asked,
    *,
    hub: Hub | None = None,
    adapt: Adapt | None = None,
    fields: Fields = Fields(),  # noqa: B008 (immutable)
) -> Task:
    """The task `name` from the file at `asked.path`, or from the hub where there is none.

    Raises TaskError naming the file, the line, the field and the cure.
    """
    return _task(name, asked, *_rows(name, asked, hub), adapt, fields)


def made_here(name: str, asked: Asked, rows: list[Row], source: str, *, adapt: Adapt) -> Task:
    """The task of rows that were made just now, as `load` makes it of a file's."""
    located = [Located(f"{name}, problem {i}", row) for i, row in enumerate(rows)]
    return _task(name, asked, *_chosen(name, asked, located, source), adapt, Fields())


def _task(
    name: str,
    asked: Asked,
    rows: list[Located],
    source: str,
    adapt: Adapt | None,
    fields: Fields,
) -> Task:
    if asked.limit is not None and asked.limit < 1:
        raise TaskError(f"{name}: limit is {asked.limit}; it must be at least 1, or left out")
    kind = answers_of(name, asked.answers, asked.fallback, asked.default)
    adapted = [Located(at, _adapted(adapt, at, i, row)) for i, (at, row) in enumerate(rows)]
    made = [_made(*located, fields, kind) for located in adapted]
    if asked.shuffle is not None:
        made = [
            _shuffled(at, f"{asked.shuffle} {row.get(fields.id, i)}", answers)
            for i, ((at, row), answers) in enumerate(zip(adapted, made, strict=True))
        ]
    asks = _Asks(name, asked.prompt, asked.system, fields, adapted, made)
    problems = [
        asks.problem(*located, answers, i)
        for i, (located, answers) in enumerate(zip(adapted, made, strict=True))
    ]
    _refuse_duplicates(problems, rows, fields)
    return Task(name, problems[: asked.limit], source, private=asked.private)


def _rows(name: str, asked: Asked, hub: Hub | None) -> tuple[list[Located], str]:
    """The rows that are wanted, and what they are a part of."""
    if asked.path is None:
        assert hub is not None, "a task without a dataset needs a path"
        rows, source = from_hub(hub, asked.where)
    else:
        rows, source = from_file(str(asked.path).removeprefix("file:"))
    return _chosen(name, asked, rows, source)


def _chosen(name: str, asked: Asked, rows: list[Located], source: str) -> tuple[list[Located], str]:
    """The rows where the recipe says."""
    if not asked.where:
        return rows, source
    rows = [located for located in rows if wanted(located.row, asked.where)]
    if not rows:
        raise TaskError(f"{name}: no row of {source} is where {dict(asked.where)}")
    return rows, f"{source} where {dict(asked.where)}"


def answers_of(
    task: str, answers: Kind, fallback: FallbackName | None, default: FallbackName
) -> Callable[[str | None, Row], Answers]:
    """The kind of answers that a task's options name. Raises RecipeError."""
    spec = dict(answers) if isinstance(answers, dict) else {"kind": answers}
    name = spec.get("kind", spec.get("name"))
    if fallback is not None:
        if isinstance(name, str) and "fallback" not in names.parameters(
            names.find("answers", name)
        ):
            raise RecipeError(f"{task}: answers of kind {name} have no fallback; leave it out")
        spec["fallback"] = fallback
    elif name == "math":
        spec.setdefault("fallback", default)
    return names.bind_answers(spec)


# ---------------------------------------------------------------------------------- problems


def _adapted(adapt: Adapt | None, where: str, number: int, row: Row) -> Row:
    try:
        return adapt(number, row) if adapt else row
    except TaskError as error:
        raise TaskError(f"{where}: {error}") from None


def _made(where: str, row: Row, fields: Fields, kind: Callable[..., Answers]) -> Answers:
    """What counts as the row's answer; its kind says whether there must be a gold one."""
    given = row.get(fields.answer)
    usable = isinstance(given, str | int | float) and not isinstance(given, bool)
    gold = _text(where, row, fields.answer).strip() if usable else None
    try:
        made = kind(gold, row)
    except RecipeError as error:
        raise TaskError(f"{where}: {error}") from None
    if gold is None and made.needs_gold:
        _text(where, row, fields.answer)  # says what is wrong with it
    return made


def _shuffled(where: str, seed: str, answers: Answers) -> Answers:
    """Multiple choice with its options in another order, the same for the same seed."""
    if not isinstance(answers, MultipleChoice) or not answers.options:
        raise TaskError(
            f"{where}: shuffle puts options in another order, and there are none; leave it out, "
            "or say answers: choice"
        )
    labels, texts = zip(*answers.options, strict=True)
    order = Random(seed).sample(range(len(labels)), len(labels))
    gold = None if answers.gold is None else labels[order.index(labels.index(answers.gold))]
    options = tuple((label, texts[i]) for label, i in zip(labels, order, strict=True))
    return replace(answers, gold=gold, options=options)


class _Asks:
    """Makes problems of rows, once the prompt is seen to fit them."""

    def __init__(
        self,
        name: str,
        prompt: Template,
        system: str | None,
        fields: Fields,
        rows: list[Located],
        made: list[Answers],
    ) -> None:
        has = {key for _, row in rows for key in row}
        known = {*has, "id", "question", *(key for answers in made for key in answers.shows)}
        self.fields = fields
        try:
            self.prompt = Wording.of(prompt, system)
            self.needed = self.prompt.check(known, {"answer", fields.answer})
        except TaskError as error:
            raise TaskError(f"{name}: {error}") from None
        self.questions = fields.question in has or "question" in self.needed

    def problem(self, where: str, row: Row, answers: Answers, number: int) -> Problem:
        """A row as a problem; without an id it is named by its place, from 1."""
        fields = self.fields
        given = row.get(fields.id)
        name = str(number + 1) if given in (None, "") else _text(where, row, fields.id)
        question = row.get(fields.question)
        before: tuple[Message, ...] = ()
        try:
            if isinstance(question, list) and any(isinstance(m, dict) for m in question):
                before, question = conversation(question)
            elif self.questions:
                question = _text(where, row, fields.question)
            values = {k: text for k in self.needed if (text := shown(row.get(k))) is not None}
            values |= {"id": name, **answers.shows}
            values |= {"question": question, fields.question: question} if question else {}
            if lacking := sorted(self.needed - set(values)):
                raise TaskError(f"the prompt needs {{{lacking[0]}}}, and this row has none")
            messages = self.prompt.filled(values, before)
        except TaskError as error:
            raise (
                error if str(error).startswith(where) else TaskError(f"{where}: {error}")
            ) from None
        gold = row.get(fields.answer)
        if isinstance(answers, MultipleChoice):
            gold = answers.gold  # the letter, wherever the options stand
        return Problem(
            id=name,
            question=question or messages[-1].content,
            gold=str(gold).strip() if isinstance(gold, str | int | float) else None,
            meta={key: value for key, value in row.items() if key not in fields},
            messages=messages,
            answers=answers,
        )


def _text(where: str, row: Row, name: str) -> str:
    """The text (or number) in field `name`."""
    value = row.get(name)
    if value is None:
        raise TaskError(
            f"{where}: no field {name!r} among {', '.join(map(repr, row)) or 'none'}; add it, or "
            "use task jsonl and say what it is called with question_field, answer_field, id_field"
        )
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TaskError(f"{where}: field {name!r} must be a text or a number, not {value!r:.60}")
    text = str(value)
    if not text.strip():
        raise TaskError(f"{where}: field {name!r} is empty; fill it in or remove the row")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TaskError(f"{where}: field {name!r} holds half a surrogate pair") from None
    return text


def _refuse_duplicates(problems: list[Problem], rows: list[Located], fields: Fields) -> None:
    seen: dict[str, str] = {}
    for problem, (where, _) in zip(problems, rows, strict=True):
        if problem.id in seen:
            raise TaskError(
                f"{where}: {fields.id} {problem.id!r} is taken by {seen[problem.id]}; every "
                "problem needs one of its own"
            )
        seen[problem.id] = where
