"""Shards of a run and their merging: equal to one process, and nothing merged that is not whole."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from evals.report.load import load
from reasoning.cli.app import app
from reasoning.errors import RecipeError, StoreError
from reasoning.runs import run as runner
from reasoning.runs.merge import merge
from reasoning.runs.recipe import parse
from reasoning.runs.shard import Shard, joined
from reasoning.runs.store import Store

STRATEGIES: list[dict[str, Any]] = [
    {"searcher": "self_consistency", "n": [1, 4]},
    {"searcher": "first_finish", "n": 3},
    {"searcher": "beam_search", "width": 2, "expansions": 2},
]


def recipe(**change: Any) -> Any:
    data: dict[str, Any] = {
        "name": "t",
        "task": {"name": "nano", "n": 10},
        "generator": {"name": "scripted", "token_seconds": 0.02, "delay": 0.1, "fail_every": 9},
        "verifier": "oracle",
        "strategies": STRATEGIES,
        "step": {"max_tokens": 8},
        "concurrency": 3,
    }
    return parse({**data, **change})


def go(recipe: Any, out: Path, shard: str | None = None, **options: Any) -> dict[str, Any]:
    part = Shard.read(shard) if shard else None
    folder = out / part.folder if part else out
    return asyncio.run(runner.run(recipe, folder, shard=part, **options))


def untimed(value: Any) -> Any:
    """Without what a clock has said, and what an engine still knew of other problems' prompts."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in ("seconds", "cached_tokens")}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def lines(folder: Path) -> list[Any]:
    found = [untimed(r) for r in Store(folder).results()]
    return sorted(found, key=lambda r: (r["strategy"], r["problem"]))


def trees(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in (folder / "trees").rglob("*.jsonl")}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four shards of a run; a test that changes them works on a copy."""
    out = tmp_path_factory.mktemp("run")
    for i in range(1, 5):
        go(recipe(), out, f"{i}/4")
    return out


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "run"))


@given(st.integers(1, 60), st.integers(1, 20))
def test_shards_are_disjoint_and_all_of_it(problems: int, of: int) -> None:
    whole = list(range(problems))
    if of > problems:
        with pytest.raises(RecipeError, match=r"use .* shards or fewer"):
            Shard(1, of).cut(whole)
        return
    parts = [Shard(i + 1, of).cut(whole) for i in range(of)]
    assert joined(parts) == whole
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if of > 1 and problems > of:
        assert joined([*parts[1:], parts[0]]) is None or problems % of == 0
    shorter = [Shard(i + 1, of).cut(whole[:-1]) for i in range(of)] if problems > of else parts
    assert all(a == b[: len(a)] for a, b in zip(shorter, parts, strict=True))


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.0/4"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="such as 3/16"):
        Shard.read(text)


def test_merged_shards_are_the_run_of_one_process(copied: Path, tmp_path: Path) -> None:
    summary = go(recipe(), tmp_path / "one")
    merged, folder = merge([copied])
    assert folder == copied
    assert merged == summary
    assert json.loads((copied / "summary.json").read_text()) == json.loads(
        (tmp_path / "one" / "summary.json").read_text()
    )
    assert lines(copied) == lines(tmp_path / "one")
    assert trees(copied) == trees(tmp_path / "one")
    manifest = Store(copied).read_json("manifest.json") or {}
    single = Store(tmp_path / "one").read_json("manifest.json") or {}
    assert manifest["run"] == single["run"]
    assert [s["shard"] for s in manifest["shards"]] == ["1/4", "2/4", "3/4", "4/4"]


def test_real_time_and_the_embedded_model_give_the_same(tmp_path: Path) -> None:
    change = {
        "task": {"name": "nano", "n": 4},
        "generator": "nano",
        "verifier": "nano_prm",
        "strategies": [{"searcher": "best_of_n", "n": 2}],
        "sampling": {"max_tokens": 24},
    }
    summary = go(recipe(**change), tmp_path / "one")
    for shard in ("1/2", "2/2"):
        go(recipe(**change), tmp_path / "parts", shard)
    merged, _ = merge(sorted((tmp_path / "parts").iterdir()), tmp_path / "merged")
    assert untimed(merged) == untimed(summary)
    assert lines(tmp_path / "merged") == lines(tmp_path / "one")


def test_a_merged_folder_is_a_run_like_any_other(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge([copied])
    found = load([copied])
    assert not found.runs[0].troubles
    assert len(found.common) == 10
    command = CliRunner()
    assert command.invoke(app, ["compare", str(copied)]).exit_code == 0
    page = copied.parent / "page.html"
    assert command.invoke(app, ["report", str(copied), "--out", str(page)]).exit_code == 0

    async def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("everything is stored")

    monkeypatch.setattr("reasoning.backends.scripted.Scripted.generate", never)
    before = (copied / "results.jsonl").read_bytes()
    go(recipe(), copied)  # one process goes on with it, and there is nothing left
    assert (copied / "results.jsonl").read_bytes() == before


def test_merging_again_changes_nothing(copied: Path) -> None:
    first, _ = merge([copied])
    before = (copied / "results.jsonl").read_bytes()
    again, _ = merge([copied])
    assert again == first
    assert (copied / "results.jsonl").read_bytes() == before


def test_a_shard_goes_on_only_as_itself(copied: Path) -> None:
    folder = copied / "shard-2-of-4"
    for other in (None, Shard(3, 4), Shard(2, 5)):
        with pytest.raises(StoreError, match="another shard"):
            asyncio.run(runner.run(recipe(), folder, shard=other))
    assert asyncio.run(runner.run(recipe(), folder, shard=Shard(2, 4)))["problems"] == 3


def test_a_shard_says_in_its_summary_that_it_is_one(shards: Path) -> None:
    summary = Store(shards / "shard-2-of-4").read_json("summary.json") or {}
    assert "only shard 2/4 of the problems" in summary["notes"]


def test_what_shards_lost_is_said_of_the_whole(copied: Path) -> None:
    note = {"strategy": "x", "problem": "p", "wasted_tokens": 7, "verifier_tokens": 0}
    for i in (1, 3):
        path = copied / f"shard-{i}-of-4" / "interrupted.jsonl"
        path.write_text(json.dumps(note) + "\n" + ('{"killed": 1}\n' if i == 3 else ""))
    for _ in range(2):
        summary, _ = merge([copied])
        assert any("up to 14 generated tokens more" in note for note in summary["notes"])
        assert any("a run of it was killed" in note for note in summary["notes"])


def test_limits_of_a_whole_run_and_shards_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="run_limits hold for all problems together"):
        go(recipe(run_limits={"tokens": 1000}), tmp_path, "1/2")


def edit(folder: Path, change: Any) -> None:
    manifest = Store(folder).read_json("manifest.json") or {}
    change(manifest)
    Store(folder).write_json("manifest.json", manifest)


def refused(match: str, folders: list[Path], out: Path | None = None) -> None:
    with pytest.raises(StoreError, match=match):
        merge(folders, out)
    place = out or folders[0]
    assert not (place / "results.jsonl").exists() or place.name.startswith("shard")


def test_missing_shards_are_named(copied: Path) -> None:
    shutil.rmtree(copied / "shard-2-of-4")
    shutil.rmtree(copied / "shard-3-of-4")
    refused("shards are missing: 2/4, 3/4", [copied])


def test_a_shard_twice_is_refused(copied: Path, tmp_path: Path) -> None:
    shutil.copytree(copied / "shard-2-of-4", tmp_path / "again")
    refused("both hold shard 2/4", [copied, tmp_path / "again"], tmp_path / "out")


def test_an_unfinished_shard_is_refused(copied: Path) -> None:
    path = copied / "shard-3-of-4" / "results.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    refused("shard 3/4. is not complete: 1 of 8 searches", [copied])


def test_shards_of_another_recipe_or_count_are_refused(copied: Path) -> None:
    shutil.rmtree(copied / "shard-4-of-4")
    go(recipe(seed=1), copied, "4/4")
    refused("another seed than", [copied])
    shutil.rmtree(copied / "shard-4-of-4")
    go(recipe(), copied, "4/5")
    refused("another number of shards than", [copied])


def test_shards_under_other_limits_are_refused(copied: Path) -> None:
    go(recipe(), copied, "1/4", limit=4)
    refused("different --limit", [copied])


def test_a_problem_in_two_shards_is_refused(copied: Path) -> None:
    ids = (Store(copied / "shard-1-of-4").read_json("manifest.json") or {})["shard"]["problem_ids"]
    edit(copied / "shard-2-of-4", lambda m: m["shard"].update(problem_ids=ids))
    refused(f"problems are in two shards: {ids[0]}", [copied])


def test_shards_of_other_programs_are_refused(copied: Path) -> None:
    edit(copied / "shard-2-of-4", lambda m: m.update(engines=["another"]))
    refused("run by engines", [copied])


def test_shards_of_another_version_are_refused_and_of_other_packages_noted(copied: Path) -> None:
    edit(copied / "shard-2-of-4", lambda m: m["packages"].update(numpy="0.1"))
    summary, _ = merge([copied])
    assert any("different numpy" in note and "0.1 in 2/4" in note for note in summary["notes"])
    edit(copied / "shard-3-of-4", lambda m: m["packages"].update(reasoning="0.0.1"))
    with pytest.raises(StoreError, match=r"run by reasoning .* and .* by 0\.0\.1"):
        merge([copied])


def test_what_is_no_shard_is_not_merged(shards: Path, tmp_path: Path) -> None:
    refused("holds no run and no shards", [tmp_path / "none"])
    go(recipe(strategies=STRATEGIES[:1]), tmp_path / "one")
    with pytest.raises(StoreError, match="is no shard"):
        merge([tmp_path / "one"])
    refused("--out DIR", [shards / "shard-1-of-4"])


def test_a_shard_without_a_tree_is_refused(copied: Path) -> None:
    shutil.rmtree(copied / "shard-1-of-4" / "trees")
    with pytest.raises(StoreError, match="copy that folder again"):
        merge([copied])


def test_the_commands(tmp_path: Path) -> None:
    command, out = CliRunner(), str(tmp_path / "q")
    sets = [
        *("--set", "generator=scripted", "--set", "verifier=oracle", "--limit", "4"),
        *("--set", "strategies=[{searcher: best_of_n, n: 2}]", "--out", out),
    ]
    for shard in ("1/2", "2/2"):
        result = command.invoke(app, ["run", "quickstart", "--shard", shard, *sets])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "q" / "shard-2-of-2" / "summary.json").exists()
    result = command.invoke(app, ["merge", out])
    assert result.exit_code == 0, result.output
    assert "4 problems" in result.output
