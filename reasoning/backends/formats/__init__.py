"""Stored samples of models, in whatever form somebody keeps them: one reader for each form.

Every reader gives the same: rows, one a problem or several that share an `id`, as plain JSON values

    id, question, answer (the right one, None if unknown), answers (their kind, math without one),
    options (of a multiple choice), dataset, run, samples

whose samples have `text` and, where known, `answer` (as extracted by others), `correct` (as graded
by others), `n_tokens`, `n_prompt_tokens`, `finish_reason` (`length`: cut off), `scores` (one a
step) or `score_last`, for every token `logprobs`, `confidence` and `top_logprobs` (of the form that
trees have), `model`, `run` and what it was drawn with: `temperature`, `top_p`, `max_tokens`. That
is what a file of our own holds, too (`lines.py`). Other fields may stand beside them; `where`
chooses by any.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from reasoning.backends.formats.lines import Tell, json_lines
from reasoning.errors import RecipeError

Row: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[list[Path], Tell], Iterator[Row]]

NOTES = {
    "lines": "damaged lines are left out",
    "trees": "problems have a tree that is missing or damaged, and are left out",
    "ungraded": "problems have no gold answer and are left out",
    "logs": "logs hold no samples",
    "unanswered": "samples of logs have neither an answer nor an error, and are left out",
}
"""What is left out of a recording, by the word that a reader tells it by."""

READ = (
    "files of problems with their samples (.jsonl, each with id and samples), MathArena's "
    "*_outputs (.parquet, .jsonl), inspect_ai's logs (.eval, .json), lm-eval's samples_*.jsonl, "
    "folders with files of one of these forms, and folders of runs"
)


class Recording(NamedTuple):
    """Files of one form: `form` is the module here that reads them."""

    form: str
    files: list[Path]

    def rows(self, tell: Tell) -> Iterator[Row]:
        """The problems; of what is left out `tell` hears the kind, as in NOTES, and the place.

        Raises RecipeError for files that cannot be used at all, and for two questions of one name.
        """
        module = importlib.import_module(f"reasoning.backends.formats.{self.form}")
        read: Reader = module.rows
        questions: dict[str, Any] = {}
        for row in read(self.files, tell):
            asked = questions.setdefault(row["id"], row.get("question"))
            if self.form != "lines" and asked != row.get("question"):
                raise RecipeError(
                    f"{self.files[0]} and what is with it have two questions under the name "
                    f"{row['id']!r}; read one set of problems at a time"
                )
            yield row


def kept(row: Row, where: Mapping[str, str]) -> list[Row]:
    """The samples of a row whose fields, or else the row's, have the values of `where`."""
    return [
        sample
        for sample in row["samples"]
        if all(str({**row, **sample}.get(name)) == value for name, value in where.items())
    ]


def recognised(source: str | Path) -> Recording:
    """What kind of recording is there. Raises RecipeError, which names what is there instead."""
    path = Path(source)
    if not path.exists():
        raise RecipeError(
            f"recorded samples cannot be read from {path}: there is no such file or folder; these "
            f"are read: {READ}"
        )
    if not path.is_dir():
        return Recording(_form(path), [path])
    if (path / "results.jsonl").exists():
        return Recording("run_folder", [path])
    found: dict[str, list[Path]] = {}
    for pattern in ("*.eval", "samples_*.jsonl", "*.parquet"):
        for file in sorted(path.rglob(pattern)):
            found.setdefault(_form(file), []).append(file)
    if len(found) == 1:
        return Recording(*next(iter(found.items())))
    held = ", ".join(sorted(found)) or ", ".join(sorted(p.name for p in path.iterdir())[:8])
    raise RecipeError(
        f"{path} is no recording that is known: it is a folder with {held or 'nothing in it'}, and "
        f"these are read: {READ}"
    )


def _form(path: Path) -> str:
    """The reader of a file. Raises RecipeError."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".eval"):
        return "inspect_log"
    if name.endswith(".parquet"):
        return "matharena"
    if name.endswith(".json"):
        with path.open("rb") as file:
            if b'"eval"' in file.read(4096):
                return "inspect_log"
        raise _unknown(path, "a .json file that is no log of inspect_ai")
    if not name.endswith(".jsonl"):
        raise _unknown(path, f"a file that ends in {path.suffix or 'no suffix'}")
    damaged: list[str] = []
    lines = json_lines(path, lambda _, where: damaged.append(where))
    first = next((row for row in lines if isinstance(row, dict)), None)
    if first is None:
        where = f": {damaged[0]}" if damaged else ""
        raise _unknown(path, f"a file without any line that is a JSON object{where}")
    for form, fields in _FIELDS.items():
        if fields <= set(first):
            return form
    raise _unknown(path, f"lines with the fields {', '.join(map(repr, list(first)[:12]))}")


_FIELDS: dict[str, set[str]] = {
    "lines": {"id", "samples"},
    "lm_eval": {"doc_id", "resps"},
    "matharena": {"problem_idx", "answer", "model_name"},
}
"""By what fields the first line of a .jsonl file tells its form."""


def _unknown(path: Path, found: str) -> RecipeError:
    return RecipeError(
        f"{path} is no recording that is known: it is {found}; these are read: {READ}"
    )
