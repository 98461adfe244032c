"""MathArena's sets `MathArena/*_outputs`: a row for each answer of a model to a problem.

Their fields: problem_idx, problem, model_name, model_config, idx_answer, all_messages,
user_message, answer (all that the model said), input_tokens, output_tokens, cost, source and, where
answers are final ones, gold_answer, parsed_answer, correct; proofs have a `correct` that is the
share of the points instead, of which only all count as right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning.backends.formats.lines import Tell, json_lines
from reasoning.errors import RecipeError

_COLUMNS = ("problem_idx", "problem", "model_name", "idx_answer", "answer", "input_tokens")
_COLUMNS_TOO = ("output_tokens", "gold_answer", "parsed_answer", "correct", "model_config")
_NEEDED = {"problem_idx", "answer", "model_name"}


def rows(files: list[Path], tell: Tell) -> Iterator[dict[str, Any]]:
    """A row for each answer; those of a problem share its id."""
    for file in files:
        lines = _table(file) if file.suffix == ".parquet" else json_lines(file, tell)
        for line in lines:
            if not isinstance(line, dict) or not set(line) >= _NEEDED:
                tell("lines", f"{file}: not an answer of MathArena")
                continue
            sample = {
                "text": line["answer"] or "",
                "answer": line.get("parsed_answer"),
                "correct": _right(line.get("correct")),
                "n_tokens": line.get("output_tokens"),
                "n_prompt_tokens": line.get("input_tokens"),
                "model": line["model_name"],
                "model_config": line.get("model_config"),
                "idx_answer": line.get("idx_answer"),
            }
            yield {
                "id": str(line["problem_idx"]),
                "question": line.get("problem"),
                "answer": line.get("gold_answer"),
                "samples": [sample],
            }


def _right(given: object) -> bool | None:
    return None if given is None else given in (True, 1)


def _table(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, without its conversations, which repeat the answers."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        has = set(table.schema_arrow.names)
        if lacking := sorted(_NEEDED - has):
            raise RecipeError(
                f"{file} is no set of outputs of MathArena: it has no column {', '.join(lacking)} "
                f"among {', '.join(sorted(has))}"
            )
        columns = [name for name in (*_COLUMNS, *_COLUMNS_TOO) if name in has]
        for batch in table.iter_batches(batch_size=256, columns=columns):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise RecipeError(f"{file} cannot be read as Parquet: {error}") from error
