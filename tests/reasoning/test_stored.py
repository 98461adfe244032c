"""Samples that strategies share are on disk once, and whoever is interrupted, none is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.report.trees import read_calls, read_tree
from reasoning.errors import StoreError
from reasoning.runs.store import Store
from reasoning.tree import RolloutTree, Sample, TopLogprobs, Turn

NAMES = ("a", "b", "c", "d")
RUN = {"run": {"seed": 1}, "independent": dict.fromkeys(NAMES, True)}


def grown(score: float = 0.5) -> RolloutTree:
    """Whole solutions with everything that a sample has, a short one, and one that goes on."""
    tree, rng = RolloutTree("p/1", 3), np.random.default_rng(0)
    for slot in range(8):
        text = f'Ein "Schritt" {slot} \u00e4 \\ ' * 30
        values = -rng.exponential(1.0, 50).astype(np.float32)
        top = TopLogprobs((("x", 'y"]'),), np.array([[-0.1, -2.0]], np.float32), ("x",))
        node = tree.add(
            tree.root,
            slot,
            Sample(
                text,
                token_ids=tuple(range(50)),
                logprobs=values,
                confidence=values + 9,
                generated_tokens=50 + slot,
                model="m",
                info={"shown": [0, 1], "verdict": 0.5},
                top_logprobs=top,
            ),
        )
        node.scores = {"v": (score,)}
        tree.add(node, 0, Sample("no", finish="written"), Turn.user("sure?"), ((0,),))
    return tree


def stored(folder: Path, names: tuple[str, ...] = NAMES) -> Store:
    with Store(folder).opened(RUN) as store:
        for number, name in enumerate(names):
            store.append({"strategy": name, "problem": "p/1"}, grown(number / 4))
    return store


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def samples(folder: Path) -> Path:
    (path,) = (folder / "samples").iterdir()
    return path


def test_bytes_grow_by_the_trees_alone(tmp_path: Path) -> None:
    """One, two and four strategies: the samples are as many bytes, each tree adds its own."""
    kept, trees = [], []
    for n in (1, 2, 4):
        stored(tmp_path / str(n), NAMES[:n])
        kept.append(size(tmp_path / str(n) / "samples"))
        trees.append(size(tmp_path / str(n) / "trees"))
    assert kept[0] == kept[1] == kept[2] > 8 * 700
    whole = len(grown().to_jsonl())
    assert trees[2] == pytest.approx(4 * trees[0], rel=0.01)
    assert trees[0] < whole / 4
    assert kept[0] + trees[0] < 1.1 * whole, "and not much is lost where nothing is shared"


def test_trees_are_read_one_by_one(tmp_path: Path) -> None:
    store = stored(tmp_path)
    for number, name in enumerate(NAMES):
        path, tree = store.tree_path(name, "p/1"), grown(number / 4)
        assert RolloutTree.load(path).to_jsonl() == tree.to_jsonl()
        told: dict[str, Any] = {"candidates": [], "answer": None}
        read = read_tree(path, told)
        assert read is not None
        assert [node.text for node in read.nodes] == [node.sample.text for node in tree]
        calls = read_calls(path)
        whole = tmp_path / "whole.jsonl"
        whole.write_text(tree.to_jsonl())
        assert calls == read_calls(whole)


def test_one_strategy_has_its_samples_in_its_trees(tmp_path: Path) -> None:
    with Store(tmp_path).opened({"run": {}, "independent": {"a": True}}) as store:
        store.append({"strategy": "a", "problem": "p/1"}, grown())
    assert not (tmp_path / "samples").exists()
    assert store.tree_path("a", "p/1").read_text() == grown().to_jsonl()


@pytest.mark.parametrize("left", [0.0, 0.3, 0.999])
def test_what_a_killed_run_left_torn_is_written_again(tmp_path: Path, left: float) -> None:
    whole = samples(stored(tmp_path / "whole").folder).read_bytes()
    stored(tmp_path / "run", NAMES[:1])
    path = samples(tmp_path / "run")
    path.write_bytes(path.read_bytes()[: int(left * len(whole))])
    (tmp_path / "run" / "results.jsonl").unlink()  # its line comes last
    store = stored(tmp_path / "run")
    for number, name in enumerate(NAMES):
        tree = RolloutTree.load(store.tree_path(name, "p/1"))
        assert tree.to_jsonl() == grown(number / 4).to_jsonl()
    again = stored(tmp_path / "again", NAMES[:1])
    before = samples(again.folder).read_bytes()
    stored(again.folder, NAMES[1:])
    assert samples(again.folder).read_bytes() == before, "another process knows them, too"


def test_a_sample_that_is_lost_or_changed_is_not_made_up(tmp_path: Path) -> None:
    store = stored(tmp_path, NAMES[:2])
    path, tree = samples(tmp_path), store.tree_path("a", "p/1")
    path.write_bytes(path.read_bytes().replace(b"Schritt", b"Absturz", 1))
    with pytest.raises(StoreError, match=r"line 2 of a stored tree.*not among those of the run's"):
        RolloutTree.load(tree)
    path.unlink()
    found = read_tree(tree, {"candidates": []})
    assert found is not None
    assert (len(found.nodes), found.damaged) == (0, 16)


def test_a_failed_write_is_made_up_for(tmp_path: Path) -> None:
    line = {"strategy": "a", "problem": "p/1"}
    with Store(tmp_path).opened(RUN) as store:
        (tmp_path / "samples").write_text("in the way")
        with pytest.raises(StoreError, match="cannot be written"):
            store.append(line, grown())
        (tmp_path / "samples").unlink()
        store.append(line, grown())
    assert RolloutTree.load(store.tree_path("a", "p/1")).to_jsonl() == grown().to_jsonl()


def test_results_are_taken_with_their_samples(tmp_path: Path) -> None:
    theirs = stored(tmp_path / "shard")
    with Store(tmp_path / "all").opened(RUN) as ours:
        for result in theirs.results():
            ours.take(result, theirs)
    assert samples(ours.folder).read_bytes() == samples(theirs.folder).read_bytes()
    path = ours.tree_path("d", "p/1")
    assert RolloutTree.load(path).to_jsonl() == grown(0.75).to_jsonl()
