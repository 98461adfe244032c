"""The README's tables of searchers and aggregators, read off their files.

A row is a plug-in's name, the first sentence of its docstring, and the papers that its file and its
docstring name. `python -m reasoning.runs.methods README.md` writes them between the marks there.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reasoning.errors import RecipeError
from reasoning.runs import names
from reasoning.runs.reference import as_markdown

BEGIN, END = "<!-- methods: written by python -m reasoning.runs.methods -->", "<!-- /methods -->"
FIRST: Final = ("sampling", "tree", "thinking")
"""Families in this order come first, the others behind them by name."""

_PAPER = re.compile(r"\b\d{4}\.\d{4,5}\b")


def tables() -> str:
    """Both tables, in Markdown: searchers by family, then aggregators."""
    searchers = ["| searcher | in one line | arXiv |", "|---|---|---|"]
    for title, members in _families():
        searchers.append(f"| | **{title}** | |")
        searchers += [row("searcher", name) for name in members]
    aggregators = ["| aggregator | chooses | arXiv |", "|---|---|---|"]
    aggregators += [row("aggregator", name) for name in names.known("aggregator")]
    return "\n".join([*searchers, "", *aggregators])


def row(kind: names.Kind, name: str) -> str:
    """One line of a table."""
    function = names.find(kind, name)
    doc = inspect.getdoc(function) or ""
    papers = _PAPER.findall(f"{sys.modules[function.__module__].__doc__}\n{doc}")
    links = (f"[{paper}](https://arxiv.org/abs/{paper})" for paper in dict.fromkeys(papers))
    cells = [f"`{name}`", sentence(doc), ", ".join(links)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def sentence(doc: str) -> str:
    """The first sentence of a docstring, as Markdown, without its full stop."""
    words = " ".join(doc.partition("\n\n")[0].split())
    return as_markdown(re.split(r"[.:](?:\s+(?=[A-Z`\"(])|$)", words, maxsplit=1)[0])


def written(page: str) -> str:
    """`page` with the tables as they are now. Raises RecipeError if it has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise RecipeError(f"the page has no lines {BEGIN} and {END}, between which tables go")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _families() -> Iterator[tuple[str, list[str]]]:
    """What each folder of searchers says of itself, and who is in it."""
    found: dict[str, list[str]] = {}
    for name in names.known("searcher"):
        package = names.find("searcher", name).__module__.rpartition(".")[0]
        found.setdefault(package, []).append(name)

    def place(package: str) -> tuple[int, str]:
        family = package.rpartition(".")[2]
        return FIRST.index(family) if family in FIRST else len(FIRST), family

    for package in sorted(found, key=place):
        yield sentence(sys.modules[package].__doc__ or package), found[package]


def _main() -> None:
    if len(sys.argv) != 2:
        raise RecipeError("say which page: python -m reasoning.runs.methods README.md")
    page = Path(sys.argv[1])
    page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _main()
