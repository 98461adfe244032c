"""The run folder: whole lines or none, one run only, nothing overwritten."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.errors import StoreError
from reasoning.runs import files
from reasoning.runs.files import file_name
from reasoning.runs.store import Store, in_words
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
    with Store(tmp_path).opened(RUN) as store:
        assert store._results is not None
        store._results.close()
        store._results = Path("/dev/full").open("a")  # noqa: SIM115 (the store closes it)
        with pytest.raises(StoreError, match="No space left"):
            store.append(result("a"), RolloutTree("a"))


LINKS = [
    ".lock", "results.jsonl", "interrupted.jsonl", "journal.jsonl", "journal-2", "journal/p.calls",
    "accuracy.png", "trees/s", "samples/p.jsonl", ".summary.json.tmp",
]  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.write_text("precious")
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(StoreError, match="is a link, and a run writes only"):
        Store(folder).opened(RUN).__enter__()
    assert outside.read_text() == "precious"


def test_links_that_come_later_are_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.write_text("precious")
    with Store(folder).opened(RUN) as store:
        for name in (".summary.json.tmp", "summary.json"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(outside)
            store.write_json("summary.json", {"a": 1})
            assert store.read_json("summary.json") == {"a": 1}
        (folder / "interrupted.jsonl").symlink_to(outside)
        with pytest.raises(StoreError, match="cannot be written"):
            store.lose("s", "p", {"tokens": 1})
    assert outside.read_text() == "precious"


def test_a_pipe_in_the_place_of_a_file_stops_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.jsonl")
    (tmp_path / "manifest.json").write_text('{"run": {"seed": 1}}')
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path).opened(RUN).__enter__()


DEEP = "[" * 100_000


@pytest.mark.parametrize("text", [DEEP, "[]", "3", "\xff", '{"run": []}', '{"run": null}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=r"cannot be read|is no run's"):
        Store(tmp_path).opened(RUN).__enter__()


def test_lines_of_any_kind_are_left_out(tmp_path: Path) -> None:
    with Store(tmp_path).opened(RUN) as store:
        store.append(result("a"), RolloutTree("a"))
        store.lose("s", "p", {"tokens": 2})
    for name in ("results.jsonl", "interrupted.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write(f'{DEEP}\n\xff\n{{"strategy": [], "problem": {{}}}}\n3\n'.encode("latin-1"))
    assert [r["problem"] for r in Store(tmp_path).results()] == ["a"]
    assert Store(tmp_path).lost("tokens") == 2


def test_a_run_that_was_killed_is_noted(tmp_path: Path) -> None:
    with Store(tmp_path).opened(RUN) as store:
        assert not store.lost("killed")
        left = (tmp_path / ".lock").read_bytes()
    assert not (tmp_path / ".lock").exists()
    (tmp_path / ".lock").write_bytes(left)  # what a killed run leaves behind
    for _ in range(2):
        with Store(tmp_path).opened(RUN) as store:
            assert store.lost("killed") == 1
            assert not store.lost("tokens")


def test_the_lock_has_one_holder(tmp_path: Path) -> None:
    """One that waits with an opened lock file does not hold the next one's."""
    path = tmp_path / ".lock"
    with files.locked(path):
        late = path.open("r+")
    with late:
        fcntl.flock(late, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody's lock any more
        with files.locked(path) as killed:
            assert not killed
            with pytest.raises(BlockingIOError), files.locked(path):
                pass
            assert path.exists()


def test_trees_of_an_earlier_version_are_found(tmp_path: Path) -> None:
    store, tree = Store(tmp_path), RolloutTree("a/b")
    old = tmp_path / "trees" / "s" / f"{files.old_file_name('a/b')}.jsonl"
    assert old.name == "a_b-82badf67.jsonl"
    old.parent.mkdir(parents=True)
    old.write_text(tree.to_jsonl())
    assert store.tree_path("s", "a/b") == old
    with store.opened(RUN):
        store.append(result("a/b"), tree)
    assert store.tree_path("s", "a/b").name == f"{file_name('a/b')}.jsonl" != old.name


def test_what_is_another_one_is_said_in_words() -> None:
    assert in_words(["seed", "task", "task_source"]) == "seed, task"
    assert in_words(["task_source"]) == "version of the task's data"


def test_no_name_is_that_of_another_one_s_file() -> None:
    assert file_name(file_name("a/b")) != file_name("a/b")


@given(st.text(min_size=1), st.text(min_size=1))
def test_file_names_are_safe_and_differ(a: str, b: str) -> None:
    for name in (a, b):
        safe = file_name(name)
        assert "/" not in safe
        assert not safe.startswith(".")
        assert len(safe) < 100
    if a != b:
        assert file_name(a) != file_name(b)
