"""How often grading agrees with labelled answers, and how often math-verify alone does.

    python benchmarks/agreement.py [--show] FILE_OR_FOLDER...

Pairs: JSON lines of `gold`, `prediction` and `label` (or `same`: then both are bare answers).
Recordings: JSON lines, perhaps gzipped, of `answer` and `samples` with `text` and `correct`. Prints
one table for all files: the rows; of them those judged as the label says; and of the others, those
that were called the same against the label and those called different. `--show` lists what we judge
otherwise.

Fields that are sentences or whole solutions are searched for their answer first, by this project's
rules on our side and by math-verify's own on its side. A file's labels are not always right, and
some test an option of a library; docs/grading.md goes through them.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from reasoning.answers import after_answer_is, extract, last_math, last_number

_WORDS = re.compile(r"[A-Za-z]{3,}")


class Row(NamedTuple):
    """A labelled pair; `form` says what the prediction is: an answer, a field or a whole text."""

    name: str
    gold: str
    prediction: str
    label: bool
    form: str


def rows(path: Path) -> Iterator[Row]:
    """The labelled rows of a file."""
    reader = gzip.open if path.suffix == ".gz" else open
    with reader(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            yield from _labelled(number, json.loads(line))


def _labelled(number: int, row: dict[str, object]) -> Iterator[Row]:
    name, gold = str(row.get("id", number)), row.get("gold", row.get("a", row.get("answer")))
    samples = row.get("samples")
    if isinstance(samples, list):
        for sample in samples:
            if sample.get("correct") is not None and sample.get("text"):
                yield Row(name, str(gold), sample["text"], bool(sample["correct"]), "text")
        return
    label, prediction = row.get("label", row.get("same")), row.get("prediction", row.get("b"))
    if label is not None and gold is not None and prediction is not None:
        form = "answer" if "same" in row else "field"
        yield Row(name, str(gold), str(prediction), bool(label), form)


def stated(text: str) -> str:
    """The answer in a field of labelled data, which may be bare or a whole solution."""

    def words(part: str) -> list[str]:
        return _WORDS.findall(re.sub(r"\\(?:text|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+", "", part))

    if found := extract(text):
        return found
    if len([w for w in words(text) if w not in ("and", "or")]) < 2 and "nswer" not in text:
        return text
    found = after_answer_is(text)
    if found is None:
        math, number = last_math(text), last_number(text)
        later = number and math and text.rfind(number) > text.rfind(math) + len(math)
        found = number if later else math or number
    if found and len(words(found)) > 3:
        found = last_math(found) or last_number(found) or found
    return found or text


def ours(row: Row) -> bool:
    """What this project's grading says."""
    from reasoning.answers.grading import equivalent_sync

    if row.form == "answer":
        return equivalent_sync(row.gold, row.prediction)
    if row.form == "field":
        return equivalent_sync(stated(row.gold), stated(row.prediction))
    found = extract(row.prediction, lambda text: after_answer_is(text) or last_number(text))
    return found is not None and equivalent_sync(row.gold, found)


def alone(row: Row) -> bool:
    """What math-verify says of the same texts, at its own settings."""
    logging.disable(logging.CRITICAL)
    from math_verify import parse, verify

    gold, prediction = (parse(text) for text in (row.gold, row.prediction))
    gold = gold or parse(f"${row.gold}$")
    prediction = prediction or parse(f"${row.prediction}$")
    if row.form != "text" and (len(gold) < 2 or len(prediction) < 2):  # a bare answer in LaTeX
        bare = [t if "$" in t or "boxed" in t else f"${t}$" for t in (row.gold, row.prediction)]
        gold, prediction = map(parse, bare)
    with contextlib.suppress(Exception):
        return bool(verify(gold, prediction))
    return False


def judged(path: Path, judge: Callable[[Row], bool]) -> tuple[int, list[tuple[Row, bool]]]:
    """The rows of a file, and those that are not judged as they are labelled."""
    found = list(rows(path))
    verdicts = [judge(row) for row in found]
    wrong = [(r, v) for r, v in zip(found, verdicts, strict=True) if v != r.label]
    return len(found), wrong


def _files(names: list[str]) -> list[Path]:
    paths = []
    for path in map(Path, names):
        inside = (p for p in sorted(path.rglob("*")) if p.suffixes[-1:] in ([".jsonl"], [".gz"]))
        paths.extend(inside if path.is_dir() else [path])
    return [path for path in paths if next(rows(path), None)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--show", action="store_true", help="list what we judge otherwise")
    options = parser.parse_args()
    files = _files(options.files)
    print("| file | rows | ours | math-verify alone |\n|---|---|---|---|")
    with ProcessPoolExecutor() as pool:
        others = [pool.submit(judged, path, alone) for path in files]
        found = [pool.submit(judged, path, ours) for path in files]
        for path, mine, other in zip(files, found, others, strict=True):
            count, wrong = mine.result()
            cells = [_cell(count, mistakes) for mistakes in (wrong, other.result()[1])]
            print(f"| {path.name.split('.')[0]} | {count} | {cells[0]} | {cells[1]} |", flush=True)
    if options.show:
        for path, mine in zip(files, found, strict=True):
            for row, verdict in mine.result()[1]:
                said = "the same" if verdict else "different"
                print(f"{path.name} {row.name}: {row.gold!r} / {row.prediction[-80:]!r}: {said}")


def _cell(count: int, wrong: list[tuple[Row, bool]]) -> str:
    same = sum(verdict for _, verdict in wrong)
    return f"{count - len(wrong)} ({same} called the same, {len(wrong) - same} called different)"


if __name__ == "__main__":
    main()
