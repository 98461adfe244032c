"""The tutorials work: their files are written, their commands and code run, in their order."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from reasoning.cli.app import app
from tests.test_docs import Block, execute, fresh

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs" / "tutorials").glob("*.md"))
_FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("serve",)
"""Commands that do not end by themselves; tests of their own run them."""


class Step(NamedTuple):
    language: str
    file: str
    text: str


def steps(page: Path) -> Iterator[Step]:
    for found in _FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Step(found[1], found[2] or "", found[3])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_does_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    space: dict[str, Any] = fresh()
    ran = 0
    for number, step in enumerate(steps(page), start=1):
        if step.file:
            Path(step.file).write_text(step.text, encoding="utf-8")
        elif step.language == "python":
            asyncio.run(execute(Block(page, "python", number, step.text), space))
        elif not step.language:
            for line in step.text.splitlines():
                ran += run(line)
    assert ran >= 2


def run(line: str) -> int:
    """Run a command; 1 if it has run."""
    name, *args = shlex.split(line, comments=True)[1:]
    if name in ELSEWHERE:
        return 0
    found = CliRunner().invoke(app, [name, *args, *(["--trust"] if "mine:" in line else [])])
    assert found.exit_code == 0, f"{line}: {found.exception or found.output}"
    return 1
