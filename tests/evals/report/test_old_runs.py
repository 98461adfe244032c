"""A run folder of an earlier version, made by `reasoning run quickstart --limit 3` at e2db654."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reasoning.cli.app import app
from reasoning.tree import RolloutTree

STORED = Path(__file__).parents[2] / "data" / "quickstart-e2db654.tar.xz"


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(STORED) as archive:
        # Python has filters since 3.11.4, and warns where none is named.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder / "quickstart"


def test_report_tree_compare_and_replay_read_it(old_run: Path, tmp_path: Path) -> None:
    run, page, replayed = str(old_run), str(tmp_path / "r.html"), str(tmp_path / "replay")
    for command, words in (
        (["report", run, "--out", page], "3 problems, 8 strategies"),
        (["tree", run, "nano-test-0-0", "--strategy", "first_finish-n=4"], "⊘ 3  cancelled"),
        (["compare", run], "Difference in accuracy to sample"),
        (["replay", run, "--orders", "1", "--out", replayed], "best_of_n"),
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert words in done.output


def test_its_trees_are_trees(old_run: Path) -> None:
    files = sorted(old_run.glob("trees/*/*"))
    assert len(files) == 24
    assert all(len(RolloutTree.load(file)) for file in files)
