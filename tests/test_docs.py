"""The pages are true: their code runs, their recipes are recipes, their names and links exist."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import inspect
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple, get_args

import pytest
import typer

import reasoning
from reasoning import Search
from reasoning.cli.app import app
from reasoning.runs import methods, names
from reasoning.runs.editing import read_yaml
from reasoning.runs.recipe import parse, strategies
from reasoning.testing.contracts import (
    check_aggregator,
    check_generator,
    check_searcher,
    check_verifier,
)
from searchers.programs.language import reading

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "reasoning" / "backends" / "nano" / "README.md",
]
OURS = "reasoning|searchers|verifiers|evals|benchmarks"

PREAMBLE = """
from collections.abc import Sequence

import reasoning
from reasoning import *
from reasoning import Candidate, Choice, Generator, Sample, Search, Turn, Verifier
from reasoning.aggregators.voting import in_order
"""
"""What blocks may take for granted."""


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


async def execute(block: Block, space: dict[str, Any]) -> None:
    """Run a block, in which `await` may stand anywhere; what a comment says of a value is so."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    lines = block.text.split("\n")
    for statement in ast.parse(block.text, block.name).body:
        is_value = isinstance(statement, ast.Expr)
        tree: Any = (
            ast.Expression(statement.value) if is_value else ast.Module([statement], [])  # type: ignore[attr-defined]
        )
        code = compile(tree, block.name, "eval" if is_value else "exec", flags)
        value = eval(code, space)
        if code.co_flags & inspect.CO_COROUTINE:
            value = await value
        _, marked, said = lines[statement.end_lineno - 1].partition("  # ")  # type: ignore[operator]
        if is_value and marked:
            try:
                expected = eval(said, space)
            except (SyntaxError, NameError):
                continue  # words
            assert value == expected, f"{block.name}: {lines[statement.lineno - 1]}"


def fresh() -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "page"}
    exec(PREAMBLE, space)
    return space


class Service(ModuleType):
    """Where fastapi is not installed: as much of it as the example needs."""

    Request = SimpleNamespace

    class FastAPI:
        def __init__(self, lifespan: Any) -> None:
            self.state = SimpleNamespace()

        def post(self, path: str) -> Any:
            del path
            return lambda function: function


CODE = sorted({b.page for b in blocks("python")})
ADDING = [page for page in CODE if page.parent.name == "adding"]
TUTORIALS = [page for page in CODE if page.parent.name == "tutorials"]
"""Their code stands on their commands: see test_tutorials.py."""


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


@pytest.mark.parametrize(
    "page", [p for p in CODE if p not in (*ADDING, *TUTORIALS)], ids=lambda p: p.name
)
def test_code_runs(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("fastapi") is None:
        monkeypatch.setitem(sys.modules, "fastapi", Service("fastapi"))

    async def work() -> dict[str, Any]:
        space = fresh()
        for block in blocks("python"):
            if block.page == page:
                await execute(block, space)
        return space

    space = asyncio.run(work())
    if page.name == "README.md":
        assert capsys.readouterr().out.startswith("89 finished\n")
    if page.name == "python.md":
        asyncio.run(served(space))
    if page.name == "aggregators.md":
        check_aggregator(space["shortest"])
        given = {"searcher": "self_consistency", "n": 3, "aggregator": space["asked"]}
        assert reasoning.solve("What is 12 * 7 + 5?", generator="nano", **given).answer == "89"
    if page.name == "verifiers.md":
        check_verifier(space["brevity"])


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


async def served(space: Mapping[str, Any]) -> None:
    """Ask the example of a web service, without a web."""

    async def body() -> dict[str, str]:
        return {"question": "What is 12 * 7 + 5?"}

    service = space["app"]
    async with space["lifespan"](service):
        found = await space["solve"](SimpleNamespace(app=service, json=body))
    assert found["answer"] == "89"
    assert 0 < found["confidence"] <= 1


# ---------------------------------------------------------------------------------- recipes

REST = {"task": "nano", "generator": "nano", "verifier": "nano_prm", "searcher": "sample"}


def specs(data: Mapping[str, Any]) -> Iterator[tuple[names.Kind, Any]]:
    yield "task", data["task"]
    for spec in (data["generator"], *data.get("models", {}).values()):
        if not (isinstance(spec, str) and spec in data.get("models", {})):
            yield "generator", spec
    for spec in (data.get("verifier"), *data.get("verifiers", {}).values()):
        if spec is not None:
            yield "verifier", spec


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda b: b.name)
def test_recipes_are_recipes(block: Block) -> None:
    """Whole ones or parts of one: names, parameters and options are those that there are."""
    data = read_yaml(block.text)
    if "routines" in data:  # a program of prompts
        names.bind_searcher("program", {"steps": reading.parse(data)})
        return
    short = {k: v for k, v in REST.items() if k not in data}
    if "strategies" in data or "stages" in data:
        short.pop("searcher", None)
    whole = {**short, **data}
    strategies(parse(whole))
    for kind, spec in specs(whole):
        options = {"name": spec} if isinstance(spec, str) else dict(spec)
        function = names.find(kind, options.pop("name"))
        options.pop("parameters", None)
        names.checked(function, options)


# --------------------------------------------------------------------------------- commands


def commands() -> Iterator[tuple[str, str]]:
    """Every line of a block that starts with our command, and its page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for found in re.finditer(r"^(?:\$ )?(reasoning [a-z].*)$", text, re.MULTILINE):
            before = text[: found.start()]
            if before.count("```") % 2:
                yield page.name, found[1]


@pytest.mark.parametrize(("page", "line"), [*commands()])
def test_commands_are_commands(page: str, line: str) -> None:
    del page
    group: Any = typer.main.get_command(app)
    name, *args = shlex.split(line, comments=True)[1:]
    assert name in group.commands
    args = [arg for arg in args if arg.isprintable()]
    group.commands[name].make_context(name, args)


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
