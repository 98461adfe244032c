"""Imports point inwards, and cost what they must."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import reasoning

ROOT = Path(__file__).resolve().parents[2]
OUTER = {"searchers", "verifiers", "evals", "recipes", "tests", "benchmarks"}
HEAVY = {
    "datasets",
    "math_verify",
    "matplotlib",
    "networkx",
    "pandas",
    "scipy",
    "sympy",
    "torch",
    "transformers",
    "vllm",
}


def imported(file: Path) -> set[str]:
    """The top-level packages a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("file", sorted(ROOT.glob("reasoning/**/*.py")), ids=lambda f: f.stem)
def test_the_core_imports_nothing_around_it(file: Path) -> None:
    assert not imported(file) & OUTER


@pytest.mark.parametrize(
    ("package", "others"),
    [("searchers", {"verifiers", "evals"}), ("verifiers", {"searchers", "evals"})],
)
def test_plug_ins_do_not_import_each_other(package: str, others: set[str]) -> None:
    files = list(ROOT.glob(f"{package}/**/*.py"))
    assert files
    for file in files:
        assert not imported(file) & others, file


def test_searchers_see_no_generator() -> None:
    """`Search` is the only door to the outside."""
    for file in ROOT.glob("searchers/**/*.py"):
        text = file.read_text(encoding="utf-8")
        assert "reasoning.backends" not in text, file
        assert ".gather(" not in text, file
        assert "np.random.seed" not in text, file
        assert "import random" not in text, file
        assert "import time" not in text, file


def modules_after(code: str) -> set[str]:
    shown = f"{code}\nimport sys\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", shown],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_import_reasoning_is_cheap() -> None:
    assert not modules_after("import reasoning") & (HEAVY | {"numpy", "pydantic"})


def test_everything_public_is_light() -> None:
    code = "import reasoning\nfor name in reasoning.__all__: getattr(reasoning, name)"
    loaded = modules_after(
        f"{code}\nimport reasoning.testing.contracts\nimport reasoning.runs.names"
    )
    assert not loaded & HEAVY
    assert not loaded & OUTER


# --------------------------------------------------------------------------- public names


def test_public_names_are_sorted_complete_and_there() -> None:
    assert reasoning.__all__ == sorted(reasoning.__all__)
    assert set(reasoning.__all__) == set(reasoning._HOMES)
    for name in reasoning.__all__:
        assert getattr(reasoning, name) is getattr(
            importlib.import_module(f"reasoning.{reasoning._HOMES[name]}"), name
        )
    assert set(reasoning.__all__) <= set(dir(reasoning))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = reasoning.nothing


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "reasoning" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"reasoning.{home}" for name, home in reasoning._HOMES.items()}


@pytest.mark.parametrize("module", ["reasoning.testing", "reasoning.testing.contracts"])
def test_the_kit_lists_what_it_offers(module: str) -> None:
    found = importlib.import_module(module)
    assert sorted(found.__all__) == sorted(set(found.__all__))
    for name in found.__all__:
        assert hasattr(found, name)


def public(module: str) -> list[object]:
    found = importlib.import_module(module)
    return [
        value
        for name, value in vars(found).items()
        if name[0] != "_"
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module
    ]


CORE = ["aggregators", "session", "budget", "clock", "errors", "generate", "runs.names", "problem"]
CORE += ["search", "seeds", "tree", "verify", "testing.toys", "testing.searcher_contract"]
CORE += ["testing.generator_contract", "testing.verifier_contract"]


@pytest.mark.parametrize("module", CORE)
def test_public_names_say_what_they_are(module: str) -> None:
    for value in public(f"reasoning.{module}"):
        name = getattr(value, "__name__", "")
        if name == "Handle":  # a protocol of one plain word
            continue
        doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        assert doc, f"{module}.{name} has no docstring"
        assert not str(doc).startswith(f"{name}("), f"{module}.{name} has a generated docstring"
