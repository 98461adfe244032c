"""What is published is what the run says, with what a reader has to know; never a part of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from reasoning.cli.app import app
from reasoning.errors import EngineError, RecipeError, StoreError
from reasoning.integrations.publish import entry, upload
from reasoning.integrations.rows import StoredRun

hub = pytest.importorskip(
    "huggingface_hub", minversion="1.4", reason="publishing needs huggingface_hub 1.4 or newer"
)
FIRST = "best_of_n-n=2"


def test_the_hubs_own_library_reads_it(small: Path) -> None:
    summary = json.loads((small / "summary.json").read_text())
    accuracy = summary["strategies"][0]["accuracy"]
    found = entry(StoredRun.open(small, [FIRST]), dataset="a/b", task="t", source="https://x.org/y")
    (read,) = hub.parse_eval_result_entries(yaml.safe_load(found.text))
    assert (read.dataset_id, read.task_id, read.source_url) == ("a/b", "t", "https://x.org/y")
    assert read.value == round(100 * accuracy, 2)
    assert read.notes.startswith(f"{FIRST} of reasoning, on nano; 95 % interval ")
    assert found.path == ".eval_results/nano-best_of_n-n=2.yaml"
    assert found.partial is None
    part = entry(StoredRun.open(small, [FIRST]), dataset="a/b", scale="fraction")
    (read,) = hub.parse_eval_result_entries(yaml.safe_load(part.text))
    assert read.value == round(accuracy, 4)


def edited(small: Path, tmp_path: Path, **run: Any) -> Path:
    """The run as if it were of another task."""
    for name in ("results.jsonl", "summary.json"):
        (tmp_path / name).write_bytes((small / name).read_bytes())
    manifest = json.loads((small / "manifest.json").read_text())
    manifest["run"] |= run
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_a_part_is_shown_and_not_sent(small: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    source = f"HuggingFaceH4/MATH-500@{commit} test"
    folder = edited(small, tmp_path, task={"name": "math500"}, task_source=source)
    found = entry(StoredRun.open(folder, [FIRST]))
    (read,) = hub.parse_eval_result_entries(yaml.safe_load(found.text))
    assert (read.dataset_id, read.dataset_revision) == ("HuggingFaceH4/MATH-500", commit)
    assert "2 of 500 problems" in read.notes
    with pytest.raises(RecipeError, match="2 of 500 problems"):
        upload(found, "a/model")
    command = ["publish", str(folder), "--strategy", FIRST, "--dry-run"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "would not be sent" in done.output


def test_it_is_proposed_and_never_written(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Api:
        def upload_file(self, **kwargs: Any) -> Any:
            asked.append(kwargs)
            if kwargs["repo_id"] == "no/body":
                raise OSError("401")
            return SimpleNamespace(pr_url="https://hub/pr/1", commit_url="")

    monkeypatch.setattr(hub, "HfApi", Api)
    found = entry(StoredRun.open(small, [FIRST]), dataset="a/b")
    assert upload(found, "a/model") == "https://hub/pr/1"
    assert asked[0]["create_pr"] is True
    assert asked[0]["path_or_fileobj"].decode() == found.text
    with pytest.raises(EngineError, match="HF_TOKEN"):
        upload(found, "no/body")


def test_what_cannot_be_published_says_so(small: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="name one with --strategy: best_of_n"):
        entry(StoredRun.open(small))
    with pytest.raises(RecipeError, match="say --dataset"):
        entry(StoredRun.open(small, [FIRST]))
    run = StoredRun.open(small, [FIRST])
    with pytest.raises(RecipeError, match="--dataset 'a' is on nobody's account; say OWNER/NAME"):
        entry(run, dataset="a")
    with pytest.raises(RecipeError, match="--source 'x' is no address"):
        entry(run, dataset="a/b", source="x")
    command = ["publish", str(small), "--strategy", FIRST, "--dataset", "a/b", "--dry-run"]
    done = CliRunner().invoke(app, [*command, "--repo", "x"])
    assert isinstance(done.exception, RecipeError)
    assert "--repo 'x' is on nobody's account" in str(done.exception)
    folder = edited(small, tmp_path, shard="1/2")
    with pytest.raises(RecipeError, match="this is a result of shard 1/2 of the run"):
        upload(entry(StoredRun.open(folder, [FIRST]), dataset="a/b"), "a/model")
    (folder / "summary.json").unlink()
    with pytest.raises(StoreError, match="unfinished"):
        entry(StoredRun.open(folder, [FIRST]), dataset="a/b")


def test_an_older_library_is_told_of(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(__version__="0.36.2")
    monkeypatch.setattr("reasoning.integrations.publish.needed", lambda *_: old)
    with pytest.raises(RecipeError, match=r"needs huggingface_hub 1\.4 .* 0\.36\.2 is here"):
        entry(StoredRun.open(small, [FIRST]), dataset="a/b", task="t", source="https://x.org/y")
