"""The pages are true: their names and links exist, what they add keeps what is promised.

That all that they show runs, `test_pages.py` has.
"""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from reasoning import Search
from reasoning.runs import methods, names
from reasoning.testing.contracts import (
    check_aggregator,
    check_generator,
    check_searcher,
    check_verifier,
)
from tests.test_pages import PREAMBLE

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "reasoning" / "backends" / "nano" / "README.md",
]
OURS = "reasoning|searchers|verifiers|evals|benchmarks"


class Block(NamedTuple):
    """A fenced block of a page, with its number among those of its language, from 1."""

    page: Path
    language: str
    number: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.language}{self.number}"


def blocks(language: str) -> list[Block]:
    fence = re.compile(rf"^( *)```{language}\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    return [
        Block(page, language, number, textwrap.dedent(found[2]))
        for page in PAGES
        for number, found in enumerate(fence.finditer(page.read_text(encoding="utf-8")), start=1)
    ]


def prose(page: Path) -> str:
    """The text of a page, without its fenced blocks."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


# ------------------------------------------------------------------------------------- code


ADDING = sorted({b.page for b in blocks("python") if b.page.parent.name == "adding"})


@pytest.mark.parametrize("page", ADDING, ids=lambda p: p.name)
def test_what_is_added_keeps_what_is_promised(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's code as a file of somebody's, with the tests that it shows."""
    text = "\n\n".join(b.text for b in blocks("python") if b.page == page)
    name = f"added_{page.stem}"
    (tmp_path / f"{name}.py").write_text(f"import reasoning\n{text}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module(name)
    for test in [value for key, value in vars(added).items() if key.startswith("test_")]:
        test()
    sys.modules.pop(name)


def test_what_the_seams_show_keeps_what_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(b.text for b in blocks("python") if b.page.name == "seams.md")
    (tmp_path / "shown_seams.py").write_text(PREAMBLE + text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    shown = importlib.import_module("shown_seams")
    monkeypatch.delitem(sys.modules, "shown_seams")
    monkeypatch.setitem(sys.modules, "shown_seams", shown)
    check_searcher(shown.vote, {"n": 4})
    check_aggregator(shown.longest)
    check_generator(shown.Echo, varied=False, stops=False, steps=False, streams=False)
    check_verifier(shown.Short)


# ------------------------------------------------------------------------------------ names

SHOWN = frozenset(
    {
        *("searchers/my_search.py", "recipes/my_search.yaml", "verifiers/brevity.py"),
        *("verifiers/shown.py", "reasoning/aggregators/careful.py"),
        *("reasoning/best_of_n", "reasoning/quickstart/self_consistency-n", "reasoning/reasoning"),
    }
)
"""Files that a page tells its reader to make, and what inspect_ai calls our models and solver."""


def resolves(dotted: str) -> bool:
    """Whether a dotted name of ours is a module, or something in one."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:n])
        if not (place.is_dir() or place.with_suffix(".py").is_file()):
            continue
        if n == len(parts):
            return True
        found: Any = importlib.import_module(".".join(parts[:n]))
        for part in parts[n:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    dotted = set(re.findall(rf"(?<![\w./-])(?:{OURS})(?:\.(?!(?:md|py)\b)[A-Za-z_]\w*)+", text))
    assert not [d for d in sorted(dotted) if not resolves(d)]
    folders = f"{OURS}|recipes|tests|docs"
    paths = set(re.findall(rf"(?<![\w./-])(?:{folders})/[\w./*-]*[\w/*]", text)) - SHOWN
    wild = {p for p in paths if re.search(r"/[A-Z]+\b(?!\.md)", p)}  # FAMILY, NAME
    assert not [p for p in sorted(paths - wild) if not [*ROOT.glob(p.rstrip("/"))]]
    verbs = set(re.findall(r"\bsearch\.(\w+)\(", text)) | set(
        re.findall(r"`(?:await )?search\.(\w+)", text)
    )
    made = {*dir(Search), "problem", "budget", "tree", "given", "models"}
    assert not [v for v in sorted(verbs) if v not in made]


@pytest.mark.parametrize("kind", get_args(names.Kind))
def test_the_readme_names_every_plug_in(kind: names.Kind) -> None:
    text = prose(ROOT / "README.md")
    assert not [name for name in names.known(kind) if f"`{name}`" not in text and name != "math"]


def test_the_readmes_tables_are_what_the_code_generates() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert page == methods.written(page), (
        "README.md is old: python -m reasoning.runs.methods README.md"
    )


# ------------------------------------------------------------------------------------ links


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes it."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(found), f"{page.name} links to {target}"


def test_every_page_is_linked() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s:]+)\)", prose(page))
    }
    assert not [page.name for page in PAGES[1:] if page not in linked]
