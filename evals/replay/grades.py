"""Which stored answers agree and which are right, worked out once and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from reasoning.answers import Answer
from reasoning.answers.kind import Answers
from reasoning.backends.formats.lines import json_lines
from reasoning.runs.files import writing


class Grade(NamedTuple):
    """One problem: the class of every key, and which classes mean the same as the gold answer."""

    classes: Mapping[str, str]
    right: Mapping[str, bool]


class Grades:
    """Grades by what they depend on: the answers, in their order, and the gold answer.

    With a `path` they outlive the process, each as soon as it is known, so a second replay of the
    same samples costs no comparison and an interrupted one goes on. Damaged lines are graded anew.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._known: dict[str, Grade] = {}
        if path is not None and path.exists():
            for line in json_lines(path):
                try:
                    classes, right = dict(line["classes"]), dict(line["right"])
                    if set(classes.values()) <= set(right):
                        self._known[line["of"]] = Grade(classes, right)
                except (KeyError, TypeError, ValueError):
                    continue

    async def grade(self, answers: Sequence[Answer | None], kind: Answers, of: Any) -> Grade:
        """The classes of one problem's answers, each distinct one compared once.

        `of` is all that a grade depends on beside them, as JSON has it.
        """
        first = {a.key: a for a in reversed(answers) if a}
        keys = list(dict.fromkeys(a.key for a in answers if a))
        texts = [first[key].text for key in keys]
        stated = json.dumps([of, keys, texts], default=str).encode()
        place = blake2b(stated, digest_size=16).hexdigest()
        if (known := self._known.get(place)) is not None:
            return known
        same = await kind.group([first[key] for key in keys])
        classes = {key: keys[i] for key, i in zip(keys, same, strict=True)}
        kept = dict.fromkeys(classes.values())
        grade = Grade(classes, {key: bool(await kind.grade(first[key])) for key in kept})
        self._keep(place, grade)
        return grade

    def _keep(self, of: str, grade: Grade) -> None:
        self._known[of] = grade
        if self.path is None:
            return
        line = json.dumps({"of": of, "classes": grade.classes, "right": grade.right})
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
