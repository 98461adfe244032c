"""From names to objects: what is found, and what is said where nothing is."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from reasoning.aggregators.best_of_majority import best_of_majority
from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError
from reasoning.plugin import Plugin
from reasoning.runs import names

ROOT = Path(__file__).resolve().parents[3]


async def searcher(
    search: object, *, n: Annotated[int, Field(ge=1)], ratio: float = 0.5, mode: str = "fast"
) -> None:
    """Does nothing. At length."""
    del search, n, ratio, mode


@functools.wraps(searcher)
def decorated(*args: Any, **params: Any) -> Any:
    return searcher(*args, **params)


def made(threshold: float = 0.5, *, n: int = 2) -> Scripted:
    del threshold, n
    return Scripted(["a"])


def no_verifier() -> datetime:
    return datetime(2020, 1, 1)


@dataclass
class Tasks:
    problems: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("kind", "some"),
    [
        ("searcher", {"sample", "self_consistency", "best_of_n", "first_finish", "short_m_at_k"}),
        ("generator", {"scripted", "recorded", "journal"}),
        ("aggregator", {"first", "best", "majority", "weighted_majority"}),
        ("verifier", {"logprob"}),
    ],
)
def test_known_names_can_be_found(kind: names.Kind, some: set[str]) -> None:
    known = names.known(kind)
    assert some <= set(known)
    assert known == sorted(known)
    for name in some:
        function = names.find(kind, name)
        assert function.__name__ == name
        assert names.summary(function)


def test_modules_that_do_not_define_their_name_are_no_plug_ins() -> None:
    assert "__init__" not in names.known("searcher")
    for name in names.known("searcher"):
        assert len(list((ROOT / "searchers").glob(f"*/{name}.py"))) == 1
    helpers = {p.stem for p in (ROOT / "searchers").rglob("*.py")} - set(names.known("searcher"))
    for name in helpers - {"__init__"}:
        with pytest.raises(RecipeError, match="unknown searcher"):
            names.find("searcher", name)
    assert "openai" in names.known("generator")
    assert "probe" not in names.known("generator"), "a part of openai, with a function of its name"


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("searcher", "best_of_m", "did you mean 'best_of_n'?"),
        ("searcher", "selfconsistency", "did you mean 'self_consistency'?"),
        ("aggregator", "majorty", "did you mean 'majority'?"),
        ("generator", "record", "did you mean 'recorded'?"),
        ("searcher", "zzz", "unknown searcher 'zzz'. Known: "),
    ],
)
def test_unknown_names_get_the_nearest(kind: names.Kind, name: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        names.find(kind, name)
    assert hint in str(caught.value)
    assert "Known: " in str(caught.value)


def test_foreign_functions() -> None:
    mine = f"{best_of_majority.__module__}:best_of_majority"
    assert names.find("aggregator", mine) is best_of_majority
    for name, message in {
        "no_such_package:f": "cannot be imported",
        "os.path:no_such_function": "cannot be imported",
        "os:sep": "is not a function",
    }.items():
        with pytest.raises(RecipeError, match=message):
            names.find("searcher", name)


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("searcher", "os.path:join", "a searcher is a coroutine function"),
        ("searcher", "subprocess:Popen", "a searcher is a coroutine function"),
        ("aggregator", "subprocess:Popen", "a function of the candidates"),
        ("aggregator", "shutil:move", "a function of the candidates"),
        ("generator", "subprocess:Popen", "does not derive from reasoning.Generator"),
        ("verifier", "subprocess:Popen", "does not derive from reasoning.Verifier"),
        ("task", "subprocess:Popen", "the class has no problems"),
        ("generator", "subprocess:run", "takes keywords alone"),
        ("verifier", "os:system", "takes keywords alone"),
        ("task", "webbrowser:open", "takes keywords alone"),
    ],
)
def test_what_is_no_plug_in_is_not_called(kind: names.Kind, name: str, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        names.find(kind, name)


def test_plug_ins_of_every_shape_are_taken() -> None:
    here = f"{__name__}:"
    assert names.find("searcher", here + "searcher") is searcher
    assert names.find("searcher", here + "decorated") is decorated
    assert isinstance(names.build("generator", here + "made"), Scripted)
    assert isinstance(names.build("task", here + "Tasks"), Tasks)


def test_what_a_foreign_factory_gives_is_looked_at() -> None:
    with pytest.raises(RecipeError, match=r"is <function.*no reasoning\.Verifier"):
        names.build("verifier", no_verifier)
    with pytest.raises(RecipeError, match=r"is datetime.*no reasoning.Verifier: derive its class"):
        names.build("verifier", f"{__name__}:no_verifier")


def test_only_what_is_trusted_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with names.trusting(["os.path:sep"]):
        with pytest.raises(RecipeError, match=r"'os\.path:sep' is not a function"):
            names.find("task", "os.path:sep")
        with pytest.raises(RecipeError, match="'this:s' is code that nobody has agreed to"):
            names.find("task", "this:s")
    assert "this" not in sys.modules


@pytest.mark.parametrize("name", [":join", ".path:join"])
def test_foreign_functions_of_no_module(name: str) -> None:
    with pytest.raises(RecipeError, match="cannot be imported"):
        names.find("searcher", name)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"n": 3}, {"n": 3}),
        ({"n": "3"}, {"n": 3}),
        ({"n": 3.0, "ratio": 1}, {"n": 3, "ratio": 1.0}),
        ({"n": 3, "mode": "slow"}, {"n": 3, "mode": "slow"}),
    ],
)
def test_parameters_that_fit(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert names.checked(searcher, values) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "searcher needs n; set it, for example n: 8"),
        ({"n": 0}, "searcher: n=0 does not fit: .*greater than or equal to 1"),
        ({"n": 2.5}, "searcher: n=2.5 does not fit"),
        ({"n": "many"}, "searcher: n='many' does not fit: .*integer"),
        ({"n": None}, "searcher: n=None does not fit"),
        ({"n": True}, "searcher: n=True does not fit: it is no number"),
        ({"n": 1, "ratio": float("nan")}, "searcher: ratio=nan does not fit: it is no number"),
        ({"n": 1, "ratio": "x"}, "ratio='x' does not fit"),
        ({"n": 1, "mode": 3}, "mode=3 does not fit: .*string"),
        ({"n": 1, "rato": 0.5}, "unknown parameter of searcher 'rato'; did you mean 'ratio'"),
        ({"n": 1, "search": 0.5}, "unknown parameter of searcher 'search'"),
    ],
)
def test_parameters_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        names.checked(searcher, values)


def test_the_limits_of_our_own_parameters_hold() -> None:
    for name in ("self_consistency", "best_of_n", "first_finish"):
        with pytest.raises(RecipeError, match="n=0 does not fit"):
            names.bind_searcher(name, {"n": 0})


def test_searchers_are_bound_once_or_twice() -> None:
    bound = names.bind_searcher(searcher, {"n": "4"})
    assert bound.keywords == {"n": 4}
    again = names.bind_searcher(functools.partial(searcher, n=2), {"ratio": 0.25})
    assert again.keywords == {"n": 2, "ratio": 0.25}
    asyncio.run(again(None))


def test_default_aggregators() -> None:
    bound = {n: names.bind_searcher(n, {"n": 1}) for n in ("best_of_n", "first_finish")}
    assert {n: names.default_aggregator(f) for n, f in bound.items()} == {
        "best_of_n": "best",
        "first_finish": "first",
    }
    assert names.default_aggregator(searcher) == "majority"


def test_who_declares_independent_samples() -> None:
    named = {n for n in names.known("searcher") if names.independent(names.find("searcher", n))}
    assert named == {"sample", "self_consistency", "best_of_n"}
    assert names.independent(names.bind_searcher("sample", {}))
    assert not names.independent(searcher)


@pytest.mark.parametrize("value", ["min", "last"])
def test_step_scores_are_reduced_by_the_verifier_alone(value: str) -> None:
    built = names.build("verifier", {"name": "logprob", "reduction": value})
    assert built.reduction == value
    assert names.build("verifier", "logprob").reduction == "last"
    with pytest.raises(RecipeError, match=f"verifier: {{name: ..., reduction: {value}}}"):
        names.bind_searcher("beam_search", {"width": 2, "reduction": value})
    with pytest.raises(RecipeError, match="reduction='max' does not fit"):
        names.build("verifier", {"name": "logprob", "reduction": "max"})
    with pytest.raises(
        RecipeError, match=r"notes='no\.json' does not fit: no\.json cannot be read"
    ):
        names.bind_searcher("handbook", {"notes": "no.json"})


def test_objects_are_built_from_names_mappings_and_themselves() -> None:
    made = names.build("generator", {"name": "scripted", "replies": ["a"], "delay": 2})
    assert isinstance(made, Scripted)
    assert names.build("generator", made) is made
    assert isinstance(names.build("generator", "scripted"), Scripted)
    vote = names.bind_aggregator({"name": "best_of_majority", "alpha": 0.5})
    assert (vote.func, vote.keywords) == (best_of_majority, {"alpha": 0.5})
    with pytest.raises(RecipeError, match="alpha=2 does not fit"):
        names.bind_aggregator({"name": "best_of_majority", "alpha": 2})
    with pytest.raises(RecipeError, match=r"verifier: \{name: ..., reduction: min\}"):
        names.bind_aggregator({"name": "best", "reduction": "min"})


def test_no_name_is_both_a_searcher_and_an_aggregator() -> None:
    """Stages of a strategy are looked up among both."""
    assert not set(names.known("searcher")) & set(names.known("aggregator"))
    for kind in ("searcher", "aggregator"):
        for name in names.known(kind):  # type: ignore[arg-type]
            reserved = {"share", "name", "aggregator", "searcher", "stages", "params"}
            assert not reserved & set(names.parameters(names.find(kind, name)))  # type: ignore[arg-type]


def test_objects_pass_through() -> None:
    with pytest.raises(RecipeError, match="a name or a mapping with a name"):
        names.build("generator", {"replies": ["a"]})


def python(code: str, folder: Path) -> str:
    """What a program prints that runs in `folder`, whose modules come before ours."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_strangers_of_our_names_stop_nothing(tmp_path: Path) -> None:
    """Folders with and without __init__.py; their own modules are found behind ours."""
    for package in ("evals", "verifiers", "searchers"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "mine.py").write_text("async def mine(search): 'Mine.'\n")
    (tmp_path / "verifiers" / "__init__.py").write_text("raise SystemExit('a stranger')")
    said = python(
        "from reasoning.runs import names\n"
        "print(*map(len, map(names.known, ('searcher', 'verifier', 'task'))))\n"
        "print(names.find('searcher', 'searchers.mine:mine').__doc__)\n"
        "import evals.mine, evals.tasks, searchers.kernels\n"
        "print(evals.mine.__file__)\n",
        tmp_path,
    )
    counts = [len(names.known(kind)) for kind in ("searcher", "verifier", "task")]
    assert said.split() == [*map(str, counts), "Mine.", str(tmp_path / "evals" / "mine.py")]


def test_a_stranger_that_is_loaded_already_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "__init__.py").write_text("")
    said = python(
        "import evals\n"
        "from reasoning.runs import names\n"
        "from reasoning.errors import RecipeError\n"
        "print(len(names.known('verifier')))\n"
        "try:\n"
        "    names.known('task')\n"
        "except RecipeError as error:\n"
        "    print(error)\n",
        tmp_path,
    )
    assert said.startswith(str(len(names.known("verifier"))))
    assert "the package 'evals' that this program has loaded is not ours" in said
    assert str(tmp_path) in said
    assert "give it another name" in said


def test_a_foreign_name_that_ours_hides_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'evals' is a package of the framework: give yours"):
        names.find("task", "evals.tasks:mine")


def test_help_lines() -> None:
    ((signature, text),) = names.help_lines([searcher])
    assert signature == "searcher(n, ratio=0.5, mode='fast')"
    assert text == "Does nothing. At length."


@pytest.mark.parametrize(
    ("spec", "own", "expected"),
    [
        ("x", None, None),
        ("x", 5, 5.0),
        ({"name": "x"}, 5, 5.0),
        ({"name": "x", "parameters": "1.5e9"}, 5, 1.5e9),
        ({"name": "x", "parameters": 7}, None, 7.0),
    ],
)
def test_the_recipe_may_say_how_large_a_model_is(
    spec: object, own: int | None, expected: float | None
) -> None:
    class Part(Plugin):
        parameters = own

    assert names.size(spec, Part()) == expected
    assert names.size(spec, None) == (None if own == expected else expected)


@pytest.mark.parametrize("size", [0, -1, "big", float("nan"), [1], "1e400"])
def test_a_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(RecipeError, match="it must be how many parameters the model has"):
        names.build("generator", {"name": "nano", "parameters": size})


def test_the_size_is_no_business_of_the_factory() -> None:
    scripted = names.build("generator", {"name": "scripted", "parameters": 3})
    assert isinstance(scripted, Scripted)
