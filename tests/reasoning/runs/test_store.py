"""The run folder: whole lines or none, one run only, nothing overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.errors import StoreError
from reasoning.runs.store import Store, file_name
from reasoning.tree import RolloutTree, Sample

RUN = {"run": {"seed": 1}}


def result(problem: str, strategy: str = "s", **more: Any) -> dict[str, Any]:
    return {"problem": problem, "strategy": strategy, **more}


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    tree = RolloutTree("p", 1)
    tree.add(tree.root, 0, Sample("text", generated_tokens=2))
    with Store(tmp_path / "run").opened(RUN) as store:
        store.append(result("p"), tree)
        assert [r["problem"] for r in store.results()] == ["p"]
        assert RolloutTree.load(store.tree_path("s", "p")).to_jsonl() == tree.to_jsonl()


def test_text_that_utf8_has_no_bytes_for(tmp_path: Path) -> None:
    with Store(tmp_path).opened(RUN) as store:
        store.append(result("a", failures=["half a pair: \ud800"]), RolloutTree("a"))
        store.write_json("summary.json", {"failures": ["\ud800"]})
        assert [r["failures"] for r in store.results()] == [["half a pair: ?"]]
        assert store.read_json("summary.json") == {"failures": ["?"]}


def test_torn_and_damaged_lines_are_left_out(tmp_path: Path) -> None:
    with Store(tmp_path).opened(RUN) as store:
        store.append(result("a"), RolloutTree("a"))
        store.append(result("b"), RolloutTree("b"))
    file = tmp_path / "results.jsonl"
    lines = file.read_text().splitlines()
    file.write_text(lines[0] + "\n[]\n{]\n\xff\n" + lines[1][:9])
    with Store(tmp_path).opened(RUN) as store:
        assert [r["problem"] for r in store.results()] == ["a"]
        store.append(result("b"), RolloutTree("b"))
        assert [r["problem"] for r in store.results()] == ["a", "b"]


def test_the_first_of_two_equal_results_counts(tmp_path: Path) -> None:
    with Store(tmp_path).opened(RUN) as store:
        store.append(result("a", answer=1), RolloutTree("a"))
        store.append(result("a", answer=2), RolloutTree("a"))
        assert [r["answer"] for r in store.results()] == [1]


def test_another_run_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path).opened(RUN):
        pass
    with (
        pytest.raises(StoreError, match="another seed"),
        Store(tmp_path).opened({"run": {"seed": 2}}),
    ):
        pass


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with (
        Store(tmp_path).opened(RUN),
        pytest.raises(StoreError, match="another run is writing"),
        Store(tmp_path).opened(RUN),
    ):
        pass


def test_results_without_a_manifest_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text("{}\n")
    with pytest.raises(StoreError, match="without a manifest"), Store(tmp_path).opened(RUN):
        pass


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"), Store(tmp_path).opened(RUN):
        pass


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"), Store(tmp_path / "file").opened(RUN):
        pass


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").symlink_to("/dev/full")
    (tmp_path / "manifest.json").write_text('{"run": {"seed": 1}}')
    with Store(tmp_path).opened(RUN) as store, pytest.raises(StoreError, match="No space left"):
        store.append(result("a"), RolloutTree("a"))


@given(st.text(min_size=1), st.text(min_size=1))
def test_file_names_are_safe_and_differ(a: str, b: str) -> None:
    for name in (a, b):
        safe = file_name(name)
        assert "/" not in safe
        assert not safe.startswith(".")
        assert len(safe) < 100
    if a != b:
        assert file_name(a) != file_name(b)
