"""`reasoning launch`: what it writes, says and submits, and what it does not take."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reasoning.cli.app import app
from reasoning.errors import EngineError, RecipeError

RECIPE = """
task: jsonl
generator: {name: vllm, model: org/Model-7B}
strategies: [{searcher: self_consistency, n: 2}]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe r.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(RECIPE)
    return tmp_path


def launched(*words: str) -> str:
    found: Any = CliRunner().invoke(app, ["launch", *words], catch_exceptions=False)
    return str(found.stdout)


def program(here: Path, name: str, code: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that writes down what it is called with; returns the file."""
    (here / "bin").mkdir()
    file = here / "bin" / name
    file.write_text(f'#!/bin/sh\necho "$@" > {shlex.quote(str(here))}/called\nexit {code}\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    return here / "called"


def test_nothing_is_submitted_unless_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = program(here, "sbatch", 0, monkeypatch)
    script = here / "runs" / "r" / "launch" / "slurm.sh"
    *_, written, then = launched("r.yaml", "--slurm", "nodes=2").splitlines()
    assert written == f"# written: {script}"
    assert then == f"# then: sbatch {script}"
    assert "#SBATCH --nodes=2" in script.read_text()
    assert not called.exists()
    launched("r.yaml", "--slurm", "nodes=3", "--submit", "--out", "elsewhere")
    assert called.read_text().strip() == str(here / "elsewhere" / "launch" / "slurm.sh")


def test_the_run_gets_what_the_launch_was_told(here: Path) -> None:
    launched("r.yaml", "--slurm", "gpus=2", "--set", "seed=7", "--engine", "max_model_len=64")
    text = (here / "runs" / "r" / "launch" / "slurm.sh").read_text()
    (run,) = (line for line in text.splitlines() if "reasoning run" in line)
    words = shlex.split(run)
    assert words[words.index("--set") + 1] == "seed=7"
    assert "--trust" not in words
    assert "--max-model-len 64" in text


def test_consent_is_passed_on(here: Path) -> None:
    Path("r.yaml").write_text(RECIPE.replace("org/Model-7B", "m, trust_remote_code: true"))
    with pytest.raises(RecipeError, match="needs your consent"):
        launched("r.yaml", "--slurm")
    launched("r.yaml", "--slurm", "--trust")
    assert "--trust" in (here / "runs" / "r" / "launch" / "slurm.sh").read_text()


def test_kubernetes_gets_the_volume_first(here: Path) -> None:
    said = launched("r.yaml", "--kubernetes", "driver=me/reasoning").splitlines()[-1]
    folder = here / "runs" / "r" / "launch"
    volume, rest = folder / "kubernetes-volume.yaml", folder / "kubernetes.yaml"
    assert said == f"# then: kubectl apply -f {volume} -f {rest}"
    launched("r.yaml", "--kubernetes", "driver=me/reasoning", "claim=mine", "--out", "other")
    assert not (here / "other" / "launch" / "kubernetes-volume.yaml").exists()


def test_skypilot_is_told_whether_machines_may_be_taken_away(here: Path) -> None:
    said = launched("r.yaml", "--skypilot", "accelerators=H100").splitlines()[-1]
    file = here / "runs" / "r" / "launch" / "skypilot.yaml"
    assert said == f"# then: sky launch --cluster r {file}"
    said = launched("r.yaml", "--skypilot", "accelerators=H100", "spot=yes").splitlines()[-1]
    assert said == f"# then: sky jobs launch {file}"


def test_a_submission_that_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(here, "sbatch", 1, monkeypatch)
    with pytest.raises(EngineError, match="sbatch ended with exit code 1"):
        launched("r.yaml", "--slurm", "--submit")
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(EngineError, match=r"sbatch cannot be started: .* where it is installed"):
        launched("r.yaml", "--slurm", "--submit")


@pytest.mark.parametrize("launcher", ["slurm", "kubernetes", "skypilot"])
def test_what_can_be_said(launcher: str) -> None:
    said = launched("r.yaml", f"--{launcher}", "help")
    assert "start=1800" in said
    assert "a command line in place of vllm's" in said
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--slurm", "--kubernetes"], "are two launchers"),
        (["nodes=2"], "'nodes=2' is for a launcher; say --slurm"),
        (["--submit"], "'--submit' is for a launcher"),
        (["--out", "x"], "'--out x' is for a launcher"),
        (["--slurm", "--run"], "--run starts servers here"),
        (["--slurm", "gpus=0", "verifiers=x"], "verifiers='x' does not fit"),
        (["--kubernetes", "driver="], "driver='' does not fit"),
        (["--slurm", "--set", "generator.tensor_parallel_size=16"], r"has 8 GPUs.*say gpus="),
    ],
)
def test_mistakes(words: list[str], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        launched("r.yaml", *words)
    assert not Path("runs").exists()
