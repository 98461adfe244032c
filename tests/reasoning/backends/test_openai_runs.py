"""Whole runs against a server that misbehaves: they finish, and say what failed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reasoning.backends.openai import Limits, OpenAI
from reasoning.cli.app import app
from reasoning.cli.show import summary_table
from reasoning.errors import EngineError, RecipeError, StoreError
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.testing.hand_clock import HastyClock
from reasoning.testing.http_model import decode
from reasoning.testing.http_server import CHAT, PLAIN_CHAT, TEXT, Call, Flavour, Served, serving
from reasoning.tree import RolloutTree

MAX_TOKENS, PROBLEMS, N = 24, 6, 4


@pytest.fixture
def server() -> Iterator[Served]:
    with serving() as server:
        yield server


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": f"{i} + {i}?", "answer": "7"} for i in range(PROBLEMS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def recipe(questions: Path, *urls: str, **change: Any) -> Any:
    data = {
        "name": "t",
        "task": {"name": "jsonl", "path": str(questions)},
        "generator": {"name": "openai", "base_url": list(urls), "model": "toy"},
        "strategies": [{"searcher": "self_consistency", "n": N}],
        "sampling": {"max_tokens": MAX_TOKENS},
        "share_samples": False,
        "concurrency": 3 * N,
    }
    return parse({**data, **change})


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> list[OpenAI]:
    """Generators live in a time that does not pass; those that were made."""
    made: list[OpenAI] = []

    def openai(*, base_url: Any, model: Any = None, api_key_env: str = "OPENAI_API_KEY") -> OpenAI:
        clock = HastyClock()
        urls = [base_url] if isinstance(base_url, str) else base_url
        generator = OpenAI(
            urls, model, key_env=api_key_env, clock=clock, limits=Limits(timeout=1e9, patience=1e9)
        )
        generator.clock = lambda problem: clock  # type: ignore[attr-defined]
        made.append(generator)
        return generator

    monkeypatch.setattr("reasoning.backends.openai.openai", openai)
    return made


def go(recipe: Any, out: Path, **options: Any) -> dict[str, Any]:
    summary = asyncio.run(asyncio.wait_for(runner.run(recipe, out, **options), 120))
    return summary["strategies"][0]  # type: ignore[no-any-return]


def failures(out: Path) -> str:
    return " ".join(f for r in runner.Store(out).results() for f in r["failures"])


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "fault",
    ["reset", "429", "429 wait", "500", "half", "stop short", "not json", "not an answer",
     "short logprobs", "wrong count", "drip"],
)  # fmt: skip
def test_a_fault_now_and_then_costs_nothing_but_tries(
    server: Served, questions: Path, tmp_path: Path, fault: Any
) -> None:
    met: Counter[int] = Counter()

    def now_and_then(call: Call) -> Any:
        seed = call.body["seed"]
        met[seed] += call.number % 4 == 1
        return fault if call.number % 4 == 1 and met[seed] < 3 else None  # of four attempts

    server.fault = now_and_then
    row = go(recipe(questions, server.url), tmp_path / "run")
    assert row["problems"] == PROBLEMS
    assert row["failed_calls"] == 0
    for result in runner.Store(tmp_path / "run").results():
        assert len(result["candidates"]) == N
        assert result["usage"]["generated_tokens"] <= N * MAX_TOKENS


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("reset", "broke unanswered"),
        ("500", "500: something went wrong"),
        ("not json", "cannot be read"),
        ("not an answer", "ended in the middle"),
    ],
)
def test_calls_that_fail_for_good_fail_their_nodes(
    server: Served, questions: Path, tmp_path: Path, fault: Any, said: str
) -> None:
    """One question meets nothing but faults; the others go on, and the summary tells."""
    marked = "[user]2 + 2?"

    def wanted(call: Call) -> Any:
        return fault if marked in decode(call.body["prompt"]) else None

    server.fault = wanted
    row = go(recipe(questions, server.url), tmp_path / "run")
    assert row["problems"] == PROBLEMS
    assert row["failed_calls"] == N
    assert said in failures(tmp_path / "run")
    assert any(said in message for message in row["failures"])


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", ["half", "wrong count", "500", "short logprobs"])
@pytest.mark.parametrize("limit", [5, 37, 60])
def test_spending_stays_within_its_limit(
    server: Served, questions: Path, tmp_path: Path, fault: Any, limit: int
) -> None:
    server.fault = lambda call: fault if call.number % 3 else None
    go(recipe(questions, server.url, limits={"tokens": limit}), tmp_path / "run")
    for result in runner.Store(tmp_path / "run").results():
        assert result["usage"]["generated_tokens"] <= limit


@pytest.mark.usefixtures("hasty")
def test_the_server_is_killed_in_the_middle_and_restarted(
    server: Served, questions: Path, tmp_path: Path
) -> None:
    whole = go(recipe(questions, server.url), tmp_path / "whole")
    server.counts.clear()
    server.fault = lambda call: "hold" if call.number == 10 else None

    def restart() -> None:
        server.wait_until(lambda counts: counts["holding"] == 1)
        server.down()
        server.fault = lambda call: None
        server.up()

    thread = threading.Thread(target=restart)
    thread.start()
    row = go(recipe(questions, server.url), tmp_path / "run")
    thread.join()
    assert row["failed_calls"] == 0
    assert row["problems"] == PROBLEMS
    assert {r["problem"] for r in runner.Store(tmp_path / "run").results()} == {
        f"q{i}" for i in range(PROBLEMS)
    }
    assert whole["problems"] == row["problems"]


@pytest.mark.usefixtures("hasty")
def test_one_of_two_servers_dies_for_good(server: Served, questions: Path, tmp_path: Path) -> None:
    with serving() as other:
        other.fault = lambda call: "hold" if call.number == 3 else None

        def kill() -> None:
            other.wait_until(lambda counts: counts["holding"] == 1)
            other.down()

        thread = threading.Thread(target=kill)
        thread.start()
        row = go(recipe(questions, server.url, other.url), tmp_path / "run")
        thread.join()
        assert row["failed_calls"] == 0
        assert other.counts["calls"] >= 4
        assert server.counts["calls"] > PROBLEMS


def test_the_engine_gone_for_good_keeps_what_is_finished(
    server: Served, questions: Path, tmp_path: Path, hasty: list[OpenAI]
) -> None:
    plan = recipe(questions, server.url, concurrency=1)

    def finished(progress: Any) -> None:
        for generator in hasty:
            generator.limits = replace(generator.limits, patience=0.0)
        if progress.done == 3:
            server.down()

    with pytest.raises(EngineError, match="no server can be reached"):
        go(plan, tmp_path / "run", watch=finished)
    assert len(list(runner.Store(tmp_path / "run").results())) == 3
    server.up()
    assert go(plan, tmp_path / "run")["problems"] == PROBLEMS


@pytest.mark.usefixtures("hasty")
def test_no_key_in_any_file(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-123")
    caplog.set_level(0)
    with serving(key="sk-secret-123") as server:
        server.fault = lambda call: "500" if call.number % 2 else None
        source = {"name": "openai", "base_url": server.url, "api_key_env": "MY_KEY"}
        go(recipe(questions, generator=source), tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > PROBLEMS
    for path in files:
        assert b"sk-secret" not in path.read_bytes(), path
    kept = runner.Store(tmp_path / "run").ledger()  # compressed
    problems = [path.stem for path in (tmp_path / "run" / "calls" / "model-0").iterdir()]
    assert all("sk-secret" not in repr(kept.of(problem)) for problem in problems)
    assert "sk-secret" not in caplog.text


@pytest.mark.usefixtures("hasty")
def test_the_trees_hold_what_was_paid_for(server: Served, questions: Path, tmp_path: Path) -> None:
    strategies = [{"searcher": "first_finish", "n": 4}]
    go(recipe(questions, server.url, strategies=strategies), tmp_path / "run")
    store = runner.Store(tmp_path / "run")
    for result in store.results():
        tree = RolloutTree.load(store.tree_path(result["strategy"], result["problem"]))
        paid = sum(node.sample.generated_tokens for node in tree)
        assert paid == result["usage"]["generated_tokens"]


def test_check_says_what_the_server_can_do(server: Served, questions: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(json.dumps(recipe(questions, server.url).model_dump(exclude_none=True)))
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 0, result.output
    assert "token ids to /completions" in result.output
    with serving(TEXT) as other:
        result = CliRunner().invoke(
            app, ["check", str(file), "--set", f"generator.base_url={other.url}"]
        )
    assert "stop strings: cut here" in result.output
    result = CliRunner().invoke(
        app, ["check", str(file), "--set", f"generator.base_url={other.url}"]
    )
    assert isinstance(result.exception, EngineError)
    assert "not ready: no server can be reached" in result.output
    assert "The recipe is fine." not in result.output


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (["sampling.top_k=5"], "sampling.top_k is 5, which the server"),
        (["sampling.confidence_k=3"], "sampling.confidence_k asks for log-probabilities"),
        (["verifier=logprob"], "verifier logprob_mean reads the log-probabilities"),
        (["verifier={name: ensemble, members: [logprob, oracle]}"], "verifier ensemble reads the"),
    ],
)
def test_check_refuses_what_the_server_cannot_do(
    changes: list[str], why: str, questions: Path, tmp_path: Path
) -> None:
    file = tmp_path / "r.yaml"
    with serving(replace(PLAIN_CHAT, logprobs=False)) as server:
        file.write_text(json.dumps(recipe(questions, server.url).model_dump(exclude_none=True)))
        sets = [word for change in changes for word in ("--set", change)]
        result = CliRunner().invoke(app, ["check", str(file), *sets])
    assert why in str(result.exception)
    assert "The recipe is fine." not in result.output


@pytest.mark.parametrize(
    "searcher", [{"searcher": "self_consistency", "n": 2}, {"searcher": "joint_thinking"}]
)
def test_a_run_of_refused_calls_is_no_run(
    questions: Path, tmp_path: Path, searcher: dict[str, Any], hasty: list[OpenAI]
) -> None:
    """Text that the search wrote itself is no success."""
    with serving(CHAT) as server:
        plan = recipe(questions, server.url, strategies=[searcher])
        server.answers = lambda path, body: (
            (400, "this prompt is not allowed")
            if "+" in str(body.get("messages", [{}])[0].get("content"))
            else None
        )
        with pytest.raises(EngineError, match=r"every call failed, the last with.*not allowed"):
            go(plan, tmp_path / "run")
        assert not list(runner.Store(tmp_path / "run").results())


def test_the_manifest_says_what_the_server_is_and_was(
    questions: Path, tmp_path: Path, hasty: list[OpenAI]
) -> None:
    """An upgrade between two halves of a run is noticed; a server that says nothing is believed."""
    told: dict[str, str] = {}
    with serving() as server:
        server.answers = lambda path, body: dict(told) if path == "/version" and told else None
        plan = recipe(questions, server.url)
        go(plan, tmp_path / "run", limit=1)
        told["version"] = "0.32.0"
        go(plan, tmp_path / "run", limit=2)
        manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
        assert manifest["engines"] == [f"toy at {server.url}, version 0.32.0"]
        (facts,) = manifest["servers"]
        assert facts["paths"].startswith("token ids")
        assert facts["engine"] == "version 0.32.0"
        assert facts["seeds"] == "the same one gives the same answer"
        assert "likelihood of given text" not in facts  # nothing needed it
        told["version"] = "0.33.0"
        with pytest.raises(StoreError, match=r"begun with .* 0\.32\.0 and now .* 0\.33\.0"):
            go(plan, tmp_path / "run", limit=3)


def test_what_was_estimated_is_called_so(
    questions: Path, tmp_path: Path, hasty: list[OpenAI]
) -> None:
    uncounted = Flavour(completions=False, tokens=False, logprobs=False, usage=False)
    with serving(uncounted) as server:
        row = go(recipe(questions, server.url), tmp_path / "run")
    assert row["estimated_tokens"] == row["generated_tokens"] + row["prompt_tokens"]
    assert row["prompt_tokens"] >= PROBLEMS * N
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    guessed = f"{row['estimated_tokens']:,} tokens, of prompts or answers, are estimated"
    assert any(note.startswith(guessed) for note in summary["notes"])
    assert any("does not count tokens: they are estimated" in note for note in summary["notes"])
    assert "~" in str(summary_table(summary).columns[2]._cells)
    row["estimated_tokens"] = row["prompt_tokens"]  # those alone: answers were counted
    assert "~" not in str(summary_table({**summary, "strategies": [row]}).columns[2]._cells)


def test_step_search_is_refused_before_anything_is_drawn(questions: Path, tmp_path: Path) -> None:
    steps = [{"searcher": "self_consistency", "n": 2}, {"searcher": "beam_search", "width": 2}]
    with serving(PLAIN_CHAT) as chat:
        wanted = recipe(questions, chat.url, strategies=steps, verifier="logprob")
        with pytest.raises(RecipeError, match="starts every chat answer afresh"):
            go(wanted, tmp_path / "run")
        assert chat.counts["calls"] == 0
        file = tmp_path / "r.yaml"
        file.write_text(json.dumps(wanted.model_dump(exclude_none=True)))
        result = CliRunner().invoke(app, ["check", str(file)])
        assert isinstance(result.exception, RecipeError)
        assert "step search: no" in result.output
        assert "fine" not in result.output
