"""What helps to write a recipe agrees with what checks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reasoning.cli.app import app
from reasoning.cli.authoring import drafted, written
from reasoning.cli.completing import recipes, searchers
from reasoning.errors import RecipeError
from reasoning.integrations.schema import schema
from reasoning.runs import names
from reasoning.runs.editing import read_yaml
from reasoning.runs.recipe import load, parse, strategies

ROOT = Path(__file__).resolve().parents[3]
TINY: dict[str, Any] = {"task": "nano", "generator": "nano"}


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.mark.parametrize("file", sorted(ROOT.glob("recipes/*.yaml")), ids=lambda f: f.stem)
def test_our_recipes_fit_the_schema(validator: Any, file: Path) -> None:
    found = read_yaml(file.read_text(encoding="utf-8"))
    assert [e.message for e in validator.iter_errors(found)] == []


@pytest.mark.parametrize(
    "more",
    [
        {"strategies": [{"searcher": "best_of_n", "n": 4}]},
        {"strategies": [{"searcher": "best_of_n", "n": [4, 8], "aggregator": ["best", "first"]}]},
        {"strategies": [{"stages": [{"self_consistency": {"n": 8, "share": 0.5}}, "majority"]}]},
        {"strategies": [{"searcher": "my.module:mine", "anything": 1}]},
        {"searcher": "sample", "sampling": {"temperature": 0.5}, "limits": {"money": 0.1}},
    ],
)
def test_recipes_fit_the_schema(validator: Any, more: Any) -> None:
    assert validator.is_valid({**TINY, **more})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"strategies": []},
        {"strategies": [{"searcher": "best_of_n"}]},
        {"strategies": [{"searcher": "best_of_n", "n": 4, "m": 4}]},
        {"strategies": [{"searcher": "best_of_n", "n": "four"}]},
        {"strategies": [{"searcher": "best_of_m", "n": 4}]},
        {"strategies": [{"searcher": "sample", "stages": ["sample"]}]},
        {"searcher": "sample", "sampling": {"temperatur": 0.5}},
        {"searcher": "sample", "limits": {"tokens": -1}},
        {"searcher": "sample", "verifier": {"name": "nano_prm", "reductoin": "min"}},
        {"searcher": "sample", "temperature": 1},
    ],
)
def test_mistakes_do_not_fit(validator: Any, more: Any) -> None:
    assert not validator.is_valid({**TINY, **more})


def test_a_file_may_stand_where_it_is_read(validator: Any) -> None:
    for searcher, file in (("adaptive", "policy"), ("handbook", "notes")):
        assert validator.is_valid({**TINY, "strategies": [{"searcher": searcher, file: "x.json"}]})


def test_init_writes_what_can_be_run_and_says_what_it_cannot() -> None:
    refused = {}
    for name in names.known("searcher"):
        try:
            text = written(drafted("nano", "nano", [name]))
        except RecipeError as error:
            refused[name] = str(error)
            continue
        (made,) = strategies(parse(read_yaml(text)))
        assert made.searcher == name
    assert {"model_switch", "spec_reason"} <= refused.keys()
    assert not {"sample", "best_of_n", "beam_search", "debate"} & refused.keys()
    files = {"adaptive": "policy", "handbook": "notes", "medprompt": "notes", "sleep_time": "notes"}
    for name, file in files.items():
        assert f"{name} needs {file}, which three questions do not tell" in refused.pop(name)
    assert "give one of program" in refused.pop("program")
    assert all("asks several models" in why for why in refused.values())


def test_init_asks_three_questions_and_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    answers = "quiz.jsonl\nhttp://localhost:8000/v1\nsample, best_of_n\n"
    done = CliRunner().invoke(app, ["init", str(file)], input=answers)
    assert done.exit_code == 0, done.output
    recipe = load(file)
    assert recipe.task == {"name": "jsonl", "path": "quiz.jsonl"}
    assert recipe.generator == {"name": "openai", "base_url": "http://localhost:8000/v1"}
    assert [s.name for s in strategies(recipe)] == ["sample", "best_of_n-n=8"]
    assert recipe.verifier == "logprob"
    again = CliRunner().invoke(app, ["init", str(file), "--task", "nano"])
    assert "say --force" in str(again.exception)


def test_init_without_a_terminal_says_which_options_answer(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    alone = CliRunner().invoke(app, ["init", str(file)])
    options = str(alone.exception).partition("options: ")[2].split()
    assert not file.exists()
    done = CliRunner().invoke(app, ["init", str(file), *options])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("what", ["task", "generator", "searcher"])
def test_init_writes_nothing_that_nobody_knows(what: str, tmp_path: Path) -> None:
    said = {"task": "nano", "generator": "nano", "searcher": "sample", what: "x"}
    options = ["--task", said["task"], "--model", said["generator"]]
    wrong = CliRunner().invoke(
        app, ["init", str(tmp_path / "w"), *options, "--strategies", said["searcher"]]
    )
    assert f"unknown {what} 'x'" in str(wrong.exception)
    assert not (tmp_path / "w").exists()


def test_what_is_in_the_way_names_what_to_choose(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    file = str(tmp_path / "file" / "x")
    answers = ["--task", "nano", "--model", "nano", "--strategies", "sample"]
    assert str(CliRunner().invoke(app, ["init", file, *answers]).exception).endswith(
        "cannot be written: File exists; choose another name"
    )
    assert str(CliRunner().invoke(app, ["schema", "--out", file]).exception).endswith(
        "cannot be written: File exists; choose another --out"
    )


def test_shells_complete(tmp_path: Path) -> None:
    assert recipes("quick") == ["quickstart"]
    assert searchers("") == names.known("searcher")
    asked = {"_REASONING_COMPLETE": "complete_bash", "COMP_WORDS": "reasoning run quick"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['reasoning']; from reasoning.cli.app import main; main()",
        ],
        env={**os.environ, **asked, "COMP_CWORD": "2", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["quickstart"]
