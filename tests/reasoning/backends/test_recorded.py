"""Replay of stored samples: what they cost, when they arrive, and what is wrong with a file."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from reasoning.aggregators.majority import majority
from reasoning.backends.recorded import CHARS_A_TOKEN, Recorded, recorded, replayed
from reasoning.errors import RecipeError, cause
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.search import Search
from reasoning.tree import Sample
from searchers.sampling.first_finish import first_finish
from searchers.sampling.self_consistency import self_consistency
from searchers.sampling.short_m_at_k import short_m_at_k


def stored(*lengths: int, problem: str = "p", **fields: Any) -> dict[str, Any]:
    samples = [
        {"text": f"so \\boxed{{{i}}}", "n_tokens": n, **fields} for i, n in enumerate(lengths)
    ]
    return {"id": problem, "question": "q", "answer": "0", "samples": samples}


def write(path: Path, *rows: object) -> str:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def search(generator: Recorded, problem: str = "p", **settings: Any) -> Search:
    item = Problem(problem, "q")
    settings.setdefault("sampling", generator.sampling)
    return Search(item, generator, clock=generator.clock(item), **settings)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_slot_i_is_sample_i(tmp_path: Path, name: str) -> None:
    generator = recorded(path=write(tmp_path / name, stored(5, 3, 4), "", stored(7, problem="q")))
    found = search(generator)
    nodes = asyncio.run(found.draws(found.root, 3, until="end"))
    assert [n.text for n in nodes] == [f"so \\boxed{{{i}}}" for i in range(3)]
    assert [n.sample.generated_tokens for n in nodes] == [5, 3, 4]
    assert all(n.finished for n in nodes)
    assert generator.problem_ids == {"p", "q"}
    assert found.clock.now() == pytest.approx(5 / 50)


LENGTHS = (90, 20, 70, 40, 55, 20, 300)


@pytest.mark.parametrize(("k", "m"), [(7, 1), (7, 3), (4, 2), (3, 3), (7, 7)])
def test_a_race_costs_what_it_would_live(tmp_path: Path, k: int, m: int) -> None:
    """All k streams run until the m-th shortest has ended: sum of min(len_i, len_(m))."""
    found = search(recorded(path=write(tmp_path / "a.jsonl", stored(*LENGTHS))))
    asyncio.run(short_m_at_k(found, k=k, m=m))
    lengths = LENGTHS[:k]
    last = sorted(lengths)[m - 1]
    usage = found.usage
    assert usage.generated_tokens == sum(min(n, last) for n in lengths)
    assert found.clock.now() == pytest.approx(last / 50)
    assert usage.critical_tokens == last
    shortest = sorted(range(k), key=lambda i: (lengths[i], i))[:m]
    assert [c.path[0] for c in found.candidates] == sorted(shortest)
    lost = [n.sample.generated_tokens for n in found.tree if n.sample.finish == "cancelled"]
    assert usage.wasted_tokens == sum(lost)
    assert len(lost) == usage.cancelled_calls == k - m


def test_first_finish_skips_truncated_and_answerless_traces(tmp_path: Path) -> None:
    row = stored(30, 10, 20, 40)
    row["samples"][1]["finish_reason"] = "length"
    row["samples"][2]["text"] = "no answer"
    found = search(recorded(path=write(tmp_path / "a.jsonl", row)))
    asyncio.run(first_finish(found, n=4))
    assert [c.path for c in found.candidates] == [(0,)]
    assert found.usage.generated_tokens == 30 + 10 + 20 + 30


def test_ties_of_short_m_at_k_go_to_the_shortest(tmp_path: Path) -> None:
    row = stored(30, 10, 20)
    found = search(recorded(path=write(tmp_path / "a.jsonl", row)))
    asyncio.run(short_m_at_k(found, k=3, m=3))
    choice = majority(found.candidates)
    assert choice is not None
    assert choice.candidate is not None
    assert choice.candidate.path == (1,)


def test_missing_counts_are_estimated_and_said(tmp_path: Path) -> None:
    row = stored(10, 20)
    del row["samples"][1]["n_tokens"]
    row["samples"][1]["text"] = "x" * 70
    generator = recorded(path=write(tmp_path / "a.jsonl", row))
    found = search(generator)
    asyncio.run(found.draws(found.root, 2, until="end"))
    assert found.usage.generated_tokens == 10 + round(70 / CHARS_A_TOKEN)
    assert any("1 of 2 recorded samples have no token count" in note for note in generator.notes)


def test_where_keeps_rows_and_samples(tmp_path: Path) -> None:
    rows = [stored(1, 2, run="a"), stored(3, run="b"), {**stored(4, problem="q"), "run": "b"}]
    path = write(tmp_path / "a.jsonl", *rows)
    kept = recorded(path=path, where={"run": "b"})
    assert {k: [s["n_tokens"] for s in v] for k, v in kept.samples.items()} == {"p": [3], "q": [4]}
    joined = recorded(path=path)  # rows that share an id are joined in the order of the file
    assert [s["n_tokens"] for s in joined.samples["p"]] == [1, 2, 3]
    with pytest.raises(RecipeError, match=r"holds no sample with \{'run': 'c'\}"):
        recorded(path=path, where={"run": "c"})


def test_asking_for_more_than_there_is_names_problem_and_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", stored(1, 2, 3))
    found = search(recorded(path=path))
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(self_consistency(found, n=5))
    message = str(cause(caught.value))
    assert "sample number 4 of problem 'p'" in message
    assert f"{path} has 3; lower n to at most 3" in message


def test_a_problem_without_samples_is_named(tmp_path: Path) -> None:
    rows = stored(1), stored(1, problem="q")  # they ask the same, so that it names neither
    found = search(recorded(path=write(tmp_path / "a.jsonl", *rows)), problem="other")
    with pytest.raises(RecipeError, match="no samples of problem 'other'"):
        asyncio.run(found.draw(found.root, until="end"))


def test_recordings_cannot_be_continued(tmp_path: Path) -> None:
    found = search(recorded(path=write(tmp_path / "a.jsonl", stored(1, 2))))
    node = asyncio.run(found.draw(found.root, until="end"))
    assert node
    for work in (found.draw(found.root), found.draw(node, until="end")):
        with pytest.raises(RecipeError, match="cannot be continued step by step"):
            asyncio.run(work)


@pytest.mark.parametrize(
    ("most", "text", "tokens", "finish"),
    [
        (20, "0123456789", 10, "end"),
        (11, "0123456789", 10, "end"),
        (10, "0123456789", 10, "length"),  # a sample as long as the limit was cut by it
        (5, "01234", 5, "length"),
        (1, "0", 1, "length"),
    ],
)
def test_a_shorter_limit_cuts(most: int, text: str, tokens: int, finish: str) -> None:
    sample = replayed({"text": "0123456789", "n_tokens": 10}, most)
    assert (sample.text, sample.generated_tokens, sample.finish) == (text, tokens, finish)


@pytest.mark.parametrize("cuts", [(1, 3, 6), (5, 5), (10,), (10, 5), (3, 20)])
def test_the_parts_of_a_sample_add_up_to_it(cuts: tuple[int, ...]) -> None:
    row = {"text": "0123456789" * 3 + "x", "n_tokens": 10, "n_prompt_tokens": 7, "scores": [0.5]}
    begun: Sample | None = None
    for most in cuts:
        sample = replayed(row, most, begun)
        begun = sample if begun is None else begun + sample
    assert begun is not None
    assert (begun.text, begun.generated_tokens, begun.prompt_tokens) == (row["text"], 10, 7)


def test_what_else_a_sample_may_hold() -> None:
    sample = replayed(
        {"answer": "7", "n_tokens": 3, "n_prompt_tokens": 9, "scores": [0.5], "score_last": None},
        10,
    )
    assert (sample.text, sample.prompt_tokens) == ("\\boxed{7}", 9)
    assert sample.info == {"scores": [0.5]}
    assert replayed({"text": "a", "n_tokens": 1, "finish_reason": "length"}, 9).finish == "length"
    assert replayed({"text": "", "answer": None}, 9).generated_tokens == 1


def test_what_is_stored_of_every_token_is_given(tmp_path: Path) -> None:
    tops = {"texts": [["a", "b"], ["c", "d"]], "logprobs": [[-0.5, -1.0], [-0.25, -2.0]]}
    row = stored(2, logprobs=[-0.5, -2.0], confidence=[1.0, 2.0], top_logprobs=tops)
    generator = recorded(path=write(tmp_path / "a.jsonl", row))
    found = search(generator)
    node = asyncio.run(found.draw(found.root, until="end", top_logprobs=2, max_tokens=1))
    assert node is not None
    sample = node.sample
    assert sample.logprobs is not None
    assert sample.logprobs.tolist() == [-0.5]
    assert sample.confidence is not None
    assert sample.confidence.tolist() == [1.0]
    assert sample.top_logprobs is not None
    assert sample.top_logprobs.texts == (("a", "b"),)
    bare = search(recorded(path=write(tmp_path / "b.jsonl", stored(2))))
    refused: list[dict[str, Any]] = [{"top_logprobs": 2}, {"min_tokens": 1}]
    for field in refused:
        with pytest.raises(RecipeError, match="generator recorded cannot do"):
            asyncio.run(bare.draw(bare.root, until="end", **field))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "p", "samples": [{"te', "not readable JSON lines"),
        ('{"id": "p", "samples": []}\n{"te', "line 2: not readable JSON lines"),
        ('{"id": "p"}', "with the fields 'id'; these are read: "),
        ("[]", "without any line that is a JSON object"),
        ('{"id": "p", "samples": [3]}', "line 1: not a problem"),
        ('{"id": "p", "samples": []}', "holds no sample"),
        ("", "without any line that is a JSON object"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_damaged_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recorded(path=write(tmp_path / name, content))


def test_files_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot be read.*there is no such file"):
        recorded(path=str(tmp_path / "none.jsonl"))
    with pytest.raises(RecipeError, match=r"a folder with nothing in it.*folders of runs"):
        recorded(path=str(tmp_path))
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(b'{"id": "p", "samples": []}\n' * 1000)[:-20])
    with pytest.raises(RecipeError, match="not readable"):
        recorded(path=str(torn))
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_bytes(b'{"id": "p", "samples": []}\n')
    with pytest.raises(RecipeError, match="cannot be read"):
        recorded(path=str(plain))
    for speed in (0, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match="tokens_per_second"):
            names.build("generator", {"name": "recorded", "path": "x", "tokens_per_second": speed})


def test_races_on_real_recordings(data: Path) -> None:
    path = data / "rollouts" / "math500_first100_llama31_8b_awq_bon.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    generator = recorded(path=str(path))
    for problem in sorted(generator.problem_ids)[:5]:
        found = search(generator, problem, sampling=Sampling(max_tokens=2048))
        asyncio.run(short_m_at_k(found, k=9, m=3))
        lengths = [s["n_tokens"] for s in generator.samples[problem][:9]]
        ends = sorted(
            replayed(s, 2048).generated_tokens
            for i, s in enumerate(generator.samples[problem][:9])
            if found.candidates and (i,) in {c.path for c in found.candidates}
        )
        last = ends[2] if len(ends) == 3 else max(lengths)
        assert found.usage.generated_tokens == sum(min(n, last) for n in lengths)


def test_a_recorded_answer_of_0_is_one() -> None:
    for answer in (0, "0"):
        assert replayed({"answer": answer}, 9).text == "\\boxed{0}"
    for nothing in (None, ""):
        assert replayed({"answer": nothing}, 9).text == ""
