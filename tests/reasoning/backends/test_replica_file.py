"""Runs whose servers stand in a file that changes, or behind a name: real connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reasoning.backends.openai import Limits, OpenAI, openai
from reasoning.cli.app import app
from reasoning.errors import EngineError, RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.runs import run as runner
from reasoning.runs.recipe import parse
from reasoning.testing.hand_clock import HandClock
from reasoning.testing.http_server import Served, serving
from reasoning.tree import RolloutTree, Sample

PROBLEMS, N = 6, 4


@pytest.fixture
def servers() -> Iterator[list[Served]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(3)]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return tmp_path / "replicas.txt"


def write(file: Path, *servers: Served) -> None:
    draft = file.with_suffix(".new")
    draft.write_text("# now\n" + "".join(f"{server.url}\n" for server in servers))
    draft.rename(file)


def recipe(tmp_path: Path, base_url: Any) -> dict[str, Any]:
    questions = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "question": f"{i} + {i}?", "answer": "7"} for i in range(PROBLEMS)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "t",
        "task": {"name": "jsonl", "path": str(questions)},
        "generator": {"name": "openai", "base_url": base_url, "model": "toy"},
        "strategies": [{"searcher": "self_consistency", "n": N}],
        "sampling": {"max_tokens": 24},
    }


async def draw(source: OpenAI, seed: int) -> Sample:
    prompt = Prompt(Problem(f"p{seed}", f"What is {seed} + 4?"), RolloutTree(f"p{seed}").root, 0)
    return await source.generate(prompt, Sampling(max_tokens=4), seed=seed, meter=lambda _: None)


def test_servers_come_and_go_while_calls_go_on(servers: list[Served], listed: Path) -> None:
    first, second, _ = servers
    clock = HandClock()
    source = OpenAI([f"file:{listed}"], "toy", clock=clock, limits=Limits(4, timeout=1e9))
    write(listed, first)

    async def until(states: list[str]) -> None:
        """Look until the servers stand so; looks take place while a call is under way."""
        while [r.state for r in source.pool.replicas] != states:
            clock.move(3.0)
            await asyncio.to_thread(lambda: None)

    async def work() -> None:
        await source.abilities()
        first.fault = lambda call: "hold"
        held = [asyncio.ensure_future(draw(source, seed)) for seed in range(2)]
        await asyncio.to_thread(first.wait_until, lambda counts: counts["holding"] == 2)
        write(listed, second)
        await until(["draining", "healthy"])
        before = first.counts["calls"]
        await asyncio.gather(*(draw(source, seed) for seed in range(10, 30)))
        assert first.counts["calls"] == before
        first.down()
        await asyncio.wait(held)
        assert [r.url for r in source.pool.replicas] == [second.url]

    asyncio.run(asyncio.wait_for(work(), 120))
    assert sum(source.served.values()) > 20
    assert source.version == f"toy at file:{listed}"


def test_a_run_records_who_served(servers: list[Served], listed: Path, tmp_path: Path) -> None:
    write(listed, *servers)
    out = tmp_path / "run"
    spec = recipe(tmp_path, f"file:{listed}")
    summary = asyncio.run(asyncio.wait_for(runner.run(parse(spec), out), 120))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["servers"][0]["server"] == f"file:{listed}"
    assert summary["served"] == manifest["served"]
    assert manifest["served"].keys() <= {server.url for server in servers}
    assert len(manifest["served"]) > 1
    assert sum(manifest["served"].values()) >= PROBLEMS * N
    again = asyncio.run(runner.run(parse(spec), out))  # which calls nobody
    assert again["served"] == summary["served"]


def test_one_server_is_not_counted(servers: list[Served], tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = asyncio.run(runner.run(parse(recipe(tmp_path, servers[0].url)), out))
    assert "served" not in summary
    assert "served" not in json.loads((out / "manifest.json").read_text())


def test_a_run_says_who_joins(servers: list[Served], listed: Path, tmp_path: Path) -> None:
    write(listed, *servers)
    file = tmp_path / "r.yaml"
    file.write_text(json.dumps(recipe(tmp_path, f"file:{listed}")))
    result = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    for server in servers:
        assert f"{server.url} has joined" in said


def test_check_with_a_file_of_servers(servers: list[Served], listed: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(json.dumps(recipe(tmp_path, f"file:{listed}")))
    result = CliRunner().invoke(app, ["check", str(file)])
    assert isinstance(result.exception, EngineError)
    assert f"not ready: {listed} cannot be read (No such file" in " ".join(result.output.split())
    write(listed)
    result = CliRunner().invoke(app, ["check", str(file)])
    assert f"not ready: file:{listed} lists no server" in " ".join(result.output.split())
    servers[0].down()
    write(listed, *servers)
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert f"replicas: 2 healthy, 1 joining, {servers[0].url} is joining" in said
    assert f"server: file:{listed}" in said
    listed.write_text(f"{servers[1].url}\nservers[2]\n")
    result = CliRunner().invoke(app, ["check", str(file)])
    assert isinstance(result.exception, RecipeError)
    assert "replicas.txt, line 2: the line is 'servers[2]'" in str(result.exception)


def test_plan_runs_a_pilot_on_them(servers: list[Served], listed: Path, tmp_path: Path) -> None:
    write(listed, *servers)
    file = tmp_path / "r.yaml"
    file.write_text(json.dumps(recipe(tmp_path, f"file:{listed}")))
    result = CliRunner().invoke(app, ["plan", str(file), "--pilot", "2"])
    assert result.exit_code == 0, result.output


def test_every_address_of_a_name_is_a_server(servers: list[Served]) -> None:
    port = servers[0].port
    source = openai(base_url=f"dns:http://localhost:{port}/v1", model="toy")

    async def work() -> None:
        await draw(source, 1)

    asyncio.run(asyncio.wait_for(work(), 120))
    (name,) = source.served
    assert name == f"http://localhost:{port}/v1 at 127.0.0.1"
    assert servers[0].seen[-1].headers["host"] == f"localhost:{port}"
