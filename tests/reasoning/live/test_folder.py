"""What is read of a run's folder while it is written, and of folders that are not as they should
be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning.errors import StoreError
from reasoning.live import folder as folders
from reasoning.live.folder import Part
from reasoning.live.following import Follower, Tree
from reasoning.live.nodes import MOST
from reasoning.live.watching import Watching


def seen(watching: Watching, key: str) -> Tree | None:
    async def work() -> Tree | None:
        await watching.sections()
        return await watching.tree(key)

    return asyncio.run(work())


def test_results_are_taken_in_as_they_come(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "results.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    part = Part(folder)
    file.write_bytes(lines[0] + lines[1][:50])  # a line that is being written
    part.look()
    assert part.results.tallies["vote"].done == 1
    with file.open("ab") as more:
        more.write(lines[1][50:] + lines[0])  # and one that was there before
    part.look()
    assert part.results.tallies["vote"].done == 2
    assert part.results.tallies["vote"].sums["generated_tokens"] == 200
    file.write_bytes(lines[2])  # another run in its place
    part.look()
    assert (part.results.tallies["vote"].done, part.results.damaged) == (1, 0)


def test_large_results_are_read_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "AT_ONCE", 10)
    part, counts = Part(folder), []
    for _ in range(4):
        part.look()
        counts.append(part.results.tallies["vote"].done)
    assert counts == [1, 2, 3, 3]


@pytest.mark.parametrize("name", ["manifest.json", "results.jsonl", "live.json", "summary.json"])
@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b"\xff\xfe", b"[]\n", b'{"searches": 3, "tokens": "x", "spent": [1]}\n',
     b'{"run": 3, "task": 3, "notes": [3], "independent": 4, "ended": 3, "done": -1}\n'],
    ids=["deep", "no text", "a list", "odd", "odder"],
)  # fmt: skip
def test_damage_is_left_out(folder: Path, name: str, text: bytes) -> None:
    (folder / name).write_bytes(text)
    found = asyncio.run(Watching(folder).sections())
    assert found["run"]["state"]
    json.dumps(found, allow_nan=False)


def test_a_running_search_and_one_that_is_over(folder: Path) -> None:
    watching = Watching(folder)
    found = asyncio.run(watching.sections())
    assert found["run"]["state"] == "running"
    assert found["searches"]["vote p9"]["state"] == "running"
    assert [found["searches"][f"vote p{i}"]["state"] for i in range(3)] == [
        "right", "wrong", "right",
    ]  # fmt: skip
    running, over = seen(watching, "vote p9"), seen(watching, "vote p1")
    assert running
    assert over
    assert list(running.nodes) == ["0", "0.0"]
    assert {path: node["s"] for path, node in over.nodes.items()} == {
        "0": "grown", "1": "cut", "0.0": "chosen", "0.1": "candidate",
    }  # fmt: skip
    assert over.nodes["0.0"] == {"s": "chosen", "n": 3, "t": "3", "a": "3", "w": True}
    assert over.nodes["0"]["v"] == 0.25
    assert over.size == 4
    assert over.about["gold"] == "2"
    assert seen(watching, "nobody") is None


def test_a_search_that_ends_stays_the_same_search(
    folder: Path, telling: Callable[..., None], looking: Callable[..., dict[str, Any]]
) -> None:
    watching = Watching(folder)
    telling(folder, searches=[looking(key="vote p1", problem="p1"), looking()])
    watching.look()
    found = asyncio.run(watching.sections())
    assert found["searches"]["vote p1"]["state"] == "wrong"  # stored already


def test_a_killed_run_shows_what_was_seen_last(folder: Path) -> None:
    """Nothing of it is said to run."""
    time = [0.0]
    watching = Watching(folder, lambda: time[0])
    watching.look()
    time[0] = 60.0
    found = asyncio.run(watching.sections())
    assert found["run"]["state"] == "silent"
    assert "Nothing was heard for 60 s" in found["run"]["told"]
    assert found["searches"]["vote p9"]["state"] == "silent"
    assert "pace" not in found["numbers"]
    last = seen(watching, "vote p9")
    assert last
    assert list(last.nodes) == ["0", "0.0"]


def test_a_lost_tree_is_told(folder: Path) -> None:
    (folder / "trees" / "vote" / "p1.jsonl").unlink()
    found = seen(Watching(folder), "vote p1")
    assert found
    assert found.nodes == {}
    assert "cannot be read" in found.about["trouble"]


def test_a_private_task_shows_no_texts(tmp_path: Path, writing: Callable[..., Path]) -> None:
    run = writing(tmp_path / "run", task={"name": "sums", "private": True})
    watching = Watching(run)
    found = seen(watching, "vote p1")
    assert found
    assert not any("t" in node or "a" in node for node in found.nodes.values())
    told = json.dumps([asyncio.run(watching.sections()), dict(found.about)])
    assert "what is 1 + 1" not in told
    assert "gold" not in told


def test_shards_are_one_run(
    tmp_path: Path, writing: Callable[..., Path], telling: Callable[..., None]
) -> None:
    for i, problems in ((1, range(2)), (2, range(2, 5))):
        telling(writing(tmp_path / f"shard-{i}-of-3", problems=problems), done=len(problems))
    watching = Watching(tmp_path)
    found = asyncio.run(watching.sections())
    assert found["run"]["told"].startswith("2 shards: 2 running.")
    assert found["numbers"]["problems"]["value"] == "5"
    assert found["numbers"]["problems"]["note"].startswith("of 20, ")
    assert found["numbers"]["calls_now"]["value"] == "14"
    assert found["strategies"]["vote"]["done"] == "5"
    writing(tmp_path / "shard-3-of-3", problems=range(5, 6))
    watching.look()
    assert asyncio.run(Watching(tmp_path).sections())["strategies"]["vote"]["done"] == "6"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run; name a folder"):
        Watching(tmp_path)


def test_a_page_is_sent_differences_and_keeps_a_tree_that_is_gone(
    folder: Path, telling: Callable[..., None], looking: Callable[..., dict[str, Any]]
) -> None:
    time = [0.0]

    async def work() -> list[Any]:
        page = Follower(Watching(folder, lambda: time[0]), "vote p9", lambda: time[0])
        first = await page.news()
        time[0] = 1.0
        assert await page.news() == {}
        nodes = looking()["tree"] | {"0.1": {"s": "tip", "n": 2}}
        telling(folder, at=1001.0, searches=[looking(tree=nodes, nodes=3)])
        time[0] = 2.0
        second = await page.news()
        telling(folder, searches=[], ended="interrupted")
        time[0] = 3.0
        return [first, second, await page.news()]

    first, second, third = asyncio.run(work())
    assert set(first["nodes"]) == {"0", "0.0"}
    assert first["about"]["key"] == "vote p9"
    assert second["nodes"] == {"0.1": {"s": "tip", "n": 2}}
    assert second["about"]["size"] == 3
    assert third["searches"] == {"vote p9": None}
    assert "nodes" not in third
    assert third["run"]["state"] == "interrupted"


def test_no_more_nodes_are_sent_than_are_drawn(
    folder: Path, telling: Callable[..., None], looking: Callable[..., dict[str, Any]]
) -> None:
    nodes = {str(i): {"s": "tip", "n": 1} for i in range(MOST + 50)}
    telling(folder, searches=[looking(tree=nodes, nodes=len(nodes))])
    found = seen(Watching(folder), "vote p9")
    assert found
    assert (len(found.nodes), found.size) == (MOST, MOST + 50)
