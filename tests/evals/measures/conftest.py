"""Small recordings to evaluate."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest


def record(path: Path, rows: int = 6, samples: int = 8) -> Path:
    """Problem i is right in i modulo `samples` of them; wrong ones are longer."""
    with gzip.open(path, "wt") as file:
        for i in range(rows):
            answers = ["7" if s < i % samples else "8" for s in range(samples)]
            found = [
                {"text": f"so \\boxed{{{a}}}", "n_tokens": 10 if a == "7" else 30} for a in answers
            ]
            file.write(json.dumps({"id": f"q{i}", "answer": "7", "samples": found}) + "\n")
    return path


@pytest.fixture(scope="session")
def recording() -> Callable[..., Path]:
    """Writes a recording."""
    return record
