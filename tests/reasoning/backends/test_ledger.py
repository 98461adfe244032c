"""What a journal keeps: exact, compact, and read for one problem at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reasoning.backends import ledger
from reasoning.backends.ledger import Entry, Folder, Ledger, Lines
from reasoning.sample import Sample, TopLogprobs


def sample(tokens: int, seed: int = 0) -> Sample:
    """As a server gives it: words, their ids and their log-probabilities, most of them near 0."""
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.zipf(1.3, tokens), 150_000)
    return Sample(
        "".join(f" {'abcdefgh'[i % 8]}{i % 500}" for i in ids),
        token_ids=tuple(ids.tolist()),
        logprobs=-(rng.exponential(1.0, tokens) ** 4).astype(np.float32),
        generated_tokens=tokens,
    )


ENTRIES = {
    "numbers": Entry(sample(50), 1.25),
    "text alone": Entry(Sample("half a pair: \ud800\n", info={"a": [1]}, model="m"), 0.5),
    "no tokens": Entry(Sample("", token_ids=(), logprobs=np.zeros(0, np.float32))),
    "wide ids": Entry(Sample("x", token_ids=(2**40,), confidence=np.ones(1, np.float32))),
    "tops": Entry(
        Sample("x", top_logprobs=TopLogprobs((("a", "b"),), -np.ones((1, 2), np.float32)))
    ),
    "value": Entry(Sample(""), value={"a": [1, None]}),
    "no value": Entry(Sample(""), value=None),
}


@pytest.mark.parametrize("kept", [Folder, lambda p: Lines(p / "j.jsonl")], ids=["folder", "file"])
def test_entries_come_back_as_they_were(tmp_path: Path, kept: Callable[[Path], Ledger]) -> None:
    first = kept(tmp_path)
    for name, entry in ENTRIES.items():
        first.add("p/1", name, entry)
        first.add("other", name, entry)
    first.close()
    found = kept(tmp_path).of("p/1")
    assert list(found) == list(ENTRIES)
    for name, entry in ENTRIES.items():
        assert found[name][1:] == entry[1:]
        ours, theirs = found[name].sample, entry.sample
        assert ours.to_json(digits=None) == theirs.to_json(digits=None)
    assert found["numbers"].sample == ENTRIES["numbers"].sample


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 13, 40])
def test_a_torn_record_is_gone_and_the_next_stands_whole(tmp_path: Path, cut: int) -> None:
    first = Folder(tmp_path / "journal")
    first.add("p", "a", Entry(sample(5)))
    file = tmp_path / "journal" / "p.calls"
    whole = file.stat().st_size
    first.add("p", "b", Entry(sample(6)))
    size = file.stat().st_size
    for end in (size - cut, whole + cut, cut):
        file.write_bytes(file.read_bytes()[:end])
        second = Folder(tmp_path / "journal")
        assert list(second.of("p")) == ["a"] * (end > whole)
        second.add("p", "b", Entry(sample(6)))
        assert list(Folder(tmp_path / "journal").of("p")) == ["a"] * (end > whole) + ["b"]


def test_a_damaged_record_costs_nothing_but_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Folder(tmp_path)
    for key in "abc":
        first.add("p", key, Entry(sample(5)))
    data = bytearray((tmp_path / "p.calls").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "p.calls").write_bytes(data)
    assert list(Folder(tmp_path).of("p")) == ["a", "c"]
    assert "damaged at byte" in caplog.text


def test_a_problem_that_is_done_leaves_nothing(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    first.add("p", "a", Entry(sample(5)))
    first.add("q", "a", Entry(sample(5)))
    first.drop("p")
    assert [path.name for path in tmp_path.iterdir()] == ["q.calls"]
    assert not first.of("p")


@pytest.mark.parametrize("old", [False, True])
def test_one_problem_is_read_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """Samples brought to life where one problem of n is asked for: as many for 1x, 2x and 4x."""
    made: list[str] = []
    original = Entry.from_json

    def count(data: dict[str, object]) -> Entry:
        made.append(str(data["key"]))
        return original(data)

    monkeypatch.setattr(ledger.Entry, "from_json", count)
    counts = []
    for n in (4, 8, 16):
        folder = tmp_path / str(n)
        folder.mkdir()
        kept = Lines(folder / "journal.jsonl") if old else Folder(folder / "journal")
        for problem in range(n):
            for key in "abc":
                kept.add(f"p{problem}", key, Entry(sample(5)))
        kept.close()
        made.clear()
        again = Lines(folder / "journal.jsonl") if old else Folder(folder / "journal")
        assert len(again.of("p2")) == 3
        counts.append(len(made))
    assert counts == [3, 3, 3]


def test_a_token_takes_a_quarter_of_what_it_takes_in_lines(tmp_path: Path) -> None:
    """Bytes grow as tokens do: 1x, 2x, 4x."""
    sizes = []
    for tokens in (2000, 4000, 8000):
        kept = Folder(tmp_path / str(tokens))
        kept.add("p", "k", Entry(sample(tokens), 1.0))
        size = (tmp_path / str(tokens) / "p.calls").stat().st_size
        assert size < 0.25 * len(json.dumps(Entry(sample(tokens), 1.0).to_json()))
        sizes.append(size / tokens)
    assert sizes == pytest.approx([sizes[0]] * 3, rel=0.1)
