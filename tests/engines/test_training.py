"""Training that is cut short goes on to the same weights. (torch comes with the engines.)"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
MODULE = "benchmarks.training.train_nano_verdict"
FEW = ("--tell", "1", "--judge", "2", "--own", "2", "--problems", "4", "--every", "1")


def train(work: Path, stop: str | None = None) -> str:
    """What a run in this folder says; killed as soon as a line begins with `stop`."""
    command = [sys.executable, "-m", MODULE, "--work", str(work), *FEW]
    pipe, out = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=out, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if stop and line.startswith(stop):
                process.kill()
                break
    assert (process.returncode == 0) == (stop is None), said
    return said


def test_a_killed_training_of_verdicts_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    for stop in ("judge 1", "own 1"):
        train(tmp_path / "cut", stop=stop)
    said = train(tmp_path / "cut")
    assert re.findall(r"(\w+ \d) of", said) == ["own 2"]
    whole, cut = (tmp_path / name / "model" for name in ("whole", "cut"))
    for file in ("model.safetensors", "config.json"):
        assert (whole / file).read_bytes() == (cut / file).read_bytes()


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    (tmp_path / "arguments.json").write_text('{"base": "other"}')
    with pytest.raises(AssertionError, match=r"holds a run of .'base': 'other'"):
        train(tmp_path)
