"""The command line: exit codes, one clear line for a mistake, help that teaches."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reasoning.cli.options import Sets


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    questions = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": "x" * i, "answer": str(i)} for i in range(1, 6)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "r.yaml"
    file.write_text(
        f"""
task: {{name: jsonl, path: {questions}}}
generator: {{name: scripted, token_seconds: 0.02}}
strategies: [{{searcher: self_consistency, n: [1, 4]}}]
"""
    )
    return file


def reasoning(*args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "reasoning", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)


def test_the_package_itself_is_the_command() -> None:
    done = reasoning("run", "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: reasoning run " in done.stdout


def test_run_prints_a_table_and_writes_the_files(recipe: Path, tmp_path: Path) -> None:
    done = reasoning("run", recipe, "--out", tmp_path / "run", "--limit", "3")
    assert done.returncode == 0, done.stderr
    assert "self_consistency-n=4" in done.stdout
    names = {path.name for path in (tmp_path / "run").iterdir()}
    files = {"manifest.json", "results.jsonl", "summary.json", "accuracy.png"}
    assert names == files | {"trees", "samples", "calls"}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["problems"] == 3
    wanted = {
        "name", "searcher", "params", "aggregator", "problems", "accuracy", "ci95",
        "generated_tokens", "wasted_tokens", "verifier_calls", "failed_calls", "seconds",
    }  # fmt: skip
    assert wanted <= set(summary["strategies"][0])


def test_check_shows_the_plan_and_runs_nothing(recipe: Path, tmp_path: Path) -> None:
    done = reasoning("check", recipe, "--set", "strategies.0.n=7")
    assert done.returncode == 0
    assert "self_consistency-n=7" in done.stdout or "n=7" in done.stdout
    assert "is shown to a model as\nuser: " in done.stdout
    assert not (tmp_path / "runs").exists()
    assert "generator: {name: scripted, token_seconds: 0.02}\n" in done.stdout
    assert "verifier" not in done.stdout


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["run", "nowhere.yaml"], "No such file"),
        (["run", "quickstrt"], "quickstart"),
        (["check", "quickstart", "--set", "verifer=nano_prm"], "verifier"),
        (["list", "serchers"], "searchers"),
        (["solve", "What?", "--searcher", "best_of_m", "--generator", "scripted"], "best_of_n"),
        (["solve", " ", "--generator", "scripted"], "empty"),
        (["run", "quickstart", "--limit", "0"], "limit"),
        (["fit", "runs/train", "--seed", "-1"], "--seed"),
        (["solve", "Q", "--generator", "scripted", "--set", "k=3"], "parameter"),
        (["solve", "Q", "--n", "4"], "--set n=VALUE"),
        (["solve", "Q", "--temperature=0"], "sampling.temperature=VALUE"),
        (["solve", "Q", "--serd", "4"], "--seed"),
        (["solve", "Q", "--generator", "scripted"], "chooses by score and there is no verifier"),
        (["solve", "Q", "--verifier", "judge"], "for example generator: nano"),
        (["solve", "Q", "--verifier", "oracle"], "no problem has one"),
        (["solve", "Q", "--generator", "{name: nano"], "not valid YAML"),
        (["check", "quickstart", "--set", "verifier=deepconf"], "set sampling.confidence_k: 20"),
        (["check", "quickstart", "--set", "verifier=python"], "no problem has any"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(args: list[str], word: str) -> None:
    done = reasoning(*args)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_solve_prints_the_answer(tmp_path: Path) -> None:
    same = ["--generator", "scripted", "--searcher", "self_consistency", "--set", "n=5"]
    done = reasoning("solve", "What is 1 + 1?", *same)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "14"
    piped = reasoning("solve", "-", *same, stdin="What is 1 + 1?")
    assert piped.stdout.splitlines()[0] == "14"


def test_solve_takes_mappings() -> None:
    source = "{name: scripted, replies: ['\\boxed{3}']}"
    verifier = "{name: ensemble, members: [logprob, {name: logprob, kind: min}]}"
    done = reasoning("solve", "Q", "--generator", source, "--verifier", verifier)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "3"), done.stderr


def test_every_mistake_is_told_at_once(recipe: Path) -> None:
    sets = ("task.path=nowhere.jsonl", "generator.delay=-1", "verifier=judge")
    done = reasoning("check", recipe, *(word for s in sets for word in ("--set", s)))
    assert done.returncode == 2
    assert "3 mistakes" in done.stderr
    for word in ("nowhere.jsonl", "delay", "judge needs generator"):
        assert word in done.stderr


def test_solve_without_an_answer_exits_with_1() -> None:
    done = reasoning(
        "solve", "Q", "--generator", "scripted", "--searcher", "sample",
        "--set", "generator.replies=['']",
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "no answer")


def test_list_shows_parameters() -> None:
    done = reasoning("list")
    assert done.returncode == 0
    for word in (
        "self_consistency(n, hedge=False)",
        "short_m_at_k(k, m=3, hedge=False)",
        "weighted_majority",
        "jsonl(",
    ):
        assert word in done.stdout


def test_list_shows_one_by_its_name_with_all_its_author_wrote() -> None:
    done = reasoning("list", "short_m_at_k")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == ["searchers", "  short_m_at_k(k, m=3, hedge=False)"]
    assert "A tie goes to the shortest trace." in done.stdout
    assert "self_consistency" not in done.stdout
    both = reasoning("list", "nano").stdout.splitlines()
    assert [line for line in both if line[:1].strip()] == ["generators", "tasks"]


def test_functions_of_a_file_at_hand(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from reasoning import Verifier\n\n"
        "class Half(Verifier):\n    name = 'half'\n"
        "    async def score(self, problem, node, *, meter):\n"
        "        raise ValueError('not today')\n\ndef half():\n    return Half()\n"
    )
    monkeypatch.chdir(tmp_path)
    sets = ("--set", "verifier=mine:half", "--set", "strategies=[{searcher: best_of_n, n: 2}]")
    assert "The recipe is fine." in reasoning("check", recipe, *sets).stdout
    done = reasoning("run", recipe, *sets)
    assert done.returncode == 0, done.stderr
    assert "not today" in done.stdout
    assert "10 calls failed" in done.stdout.replace("\n", " ")


def test_help_teaches() -> None:
    assert "quickstart" in reasoning("--help").stdout
    assert "strategies:" in reasoning("run", "--help").stdout


def test_the_example_of_set_fits_the_recipe_to_start_with() -> None:
    (changed,) = re.findall(r"e\.g\. ([\w.]+=\w+)", Sets.__metadata__[0].help)
    done = reasoning("check", "quickstart", "--set", changed)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruptions_keep_what_is_finished(
    recipe: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """After its second result; the same command completes the rest."""
    out = tmp_path / "run"
    script = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
from reasoning.cli import app as cli
from reasoning.runs import run as runner
original, done = runner.Store.append, []
def append(self, *args):
    original(self, *args)
    done.append(1)
    if len(done) == 2:
        os.kill(os.getpid(), {int(number)})
runner.Store.append = append
sys.argv = ["reasoning", "run", {str(recipe)!r}, "--out", {str(out)!r}]
cli.main()
"""
    stopped = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert stopped.returncode == 128 + number, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "the same command continues" in stopped.stderr
    assert 2 <= len((out / "results.jsonl").read_text().splitlines()) < 10
    assert reasoning("run", recipe, "--out", out).returncode == 0
    assert len((out / "results.jsonl").read_text().splitlines()) == 10


def test_a_run_in_which_every_call_fails_ends_with_3(recipe: Path, tmp_path: Path) -> None:
    done = reasoning(
        "run", recipe, "--out", tmp_path / "run", "--limit", "2", "--set", "generator.fail_every=1"
    )
    assert done.returncode == 3
    assert "every call failed, the last with: " in done.stderr
    assert "accuracy" not in done.stdout


def test_folders_of_our_names_stop_no_command(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("evals", "verifiers", "searchers"):
        (tmp_path / package).mkdir()
    (tmp_path / "evals" / "__init__.py").write_text("raise SystemExit('a stranger')")
    (tmp_path / "searchers" / "mine.py").write_text(
        "async def mine(search, *, n):\n"
        "    for node in await search.draws(search.root, n):\n"
        "        search.emit(node)\n"
    )
    monkeypatch.chdir(tmp_path)
    mine = "strategies=[{searcher: searchers.mine:mine, n: 2}]"
    for args in (
        ["list", "searchers"],
        ["solve", "Q", "--generator", "scripted", "--searcher", "sample"],
        ["run", recipe, "--out", "r", "--limit", "1", "--set", mine],
        ["report", "r"],
    ):
        done = reasoning(*args)
        assert done.returncode == 0, done.stderr
        assert "a stranger" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["run", "check", "launch"])
def test_a_stranger_s_recipe_does_nothing_without_consent(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "evil.py").write_text("open('harm', 'w').close()\ndef task(): pass\n")
    recipe.write_text(recipe.read_text().replace("{name: jsonl", "{name: 'evil:task'"))
    monkeypatch.chdir(tmp_path)
    done = reasoning(command, recipe)
    assert done.returncode == 2
    assert "your consent to import and call evil:task. Read it, then say --trust" in done.stderr
    assert not (tmp_path / "harm").exists()
    trusted = reasoning(command, recipe, "--trust")
    assert "consent" not in trusted.stderr
    assert (tmp_path / "harm").exists() is (command != "launch")
