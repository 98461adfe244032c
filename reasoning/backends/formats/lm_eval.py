"""lm-eval's `samples_*.jsonl` (--log_samples): a line for each document and filter.

Their fields: doc_id, doc, target, arguments, resps (a list of the k texts of each request),
filtered_resps, filter, metrics, and each metric by its name. Lines of one document under several
filters hold the same texts, of which the first counts. Tokens are not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reasoning.answers import extract
from reasoning.backends.formats.lines import Tell, json_lines
from reasoning.errors import RecipeError

_QUESTIONS = ("question", "problem", "query", "prompt", "input")
_SETTINGS = {"temperature": "temperature", "top_p": "top_p", "max_gen_toks": "max_tokens"}


def rows(files: list[Path], tell: Tell) -> Iterator[dict[str, Any]]:
    """A row for each document. Raises RecipeError for likelihoods, which are no texts."""
    for file in files:
        seen: set[str] = set()
        several = len(files) > 1
        for line in json_lines(file, tell):
            try:
                number, texts = (
                    str(line["doc_id"]),
                    [t for request in line["resps"] for t in request],
                )
                if not texts:
                    raise TypeError
            except (TypeError, KeyError):
                tell("lines", f"{file}: not a document with doc_id and resps")
                continue
            if not all(isinstance(text, str) for text in texts):
                raise RecipeError(
                    f"{file} holds likelihoods of given answers, not texts that a model wrote; "
                    "record a task of output type generate_until"
                )
            if number in seen:
                continue
            seen.add(number)
            yield {
                "id": f"{_task(file)}-{number}" if several else number,
                "question": _question(line),
                "answer": _gold(line.get("target")),
                "run": file.name.removesuffix(".jsonl"),
                "samples": [_sample(line, text, len(texts)) for text in texts],
            }


def _sample(line: Mapping[str, Any], text: str, of: int) -> dict[str, Any]:
    settings = _arguments(line)[1]
    metric = next(iter(line.get("metrics") or ()), None)
    value = line.get(metric) if of == 1 and metric else None  # one value stands for all k texts
    return {
        "text": text,
        "correct": bool(value) if value in (0, 1) else None,
        **{ours: settings[theirs] for theirs, ours in _SETTINGS.items() if theirs in settings},
    }


def _arguments(line: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Prompt and settings of the first request, in the forms of all releases so far."""
    given = line.get("arguments")
    if isinstance(given, Mapping):
        given = next(iter(given.values()), None)
        given = list(given.values()) if isinstance(given, Mapping) else given
    elif isinstance(given, list) and given and isinstance(given[0], list):
        given = given[0]
    parts = given if isinstance(given, list) else []
    settings = parts[1] if len(parts) > 1 and isinstance(parts[1], Mapping) else {}
    return str(parts[0]) if parts else "", settings


def _question(line: Mapping[str, Any]) -> str:
    doc = line.get("doc")
    for name in _QUESTIONS:
        if isinstance(doc, Mapping) and isinstance(doc.get(name), str):
            return str(doc[name])
    return _arguments(line)[0]


def _gold(target: object) -> str | None:
    """The right answer, out of a whole solution too; several that are allowed are none."""
    if isinstance(target, list) and len(target) == 1:
        target = target[0]
    if target is None or isinstance(target, list | dict):
        return None
    text = str(target).strip()
    return extract(text) or text or None


def _task(file: Path) -> str:
    """`samples_TASK_DATE.jsonl`."""
    return file.name.removeprefix("samples_").rsplit("_", 1)[0]
