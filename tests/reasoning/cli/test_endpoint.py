"""`reasoning serve`: it says where it listens, and ends well."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from reasoning.testing.http_server import CHAT, serving

RECIPE = """
task: nano
generator: {name: scripted, replies: ["It is \\\\boxed{7}"]}
searcher: sample
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    return file


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "reasoning.cli.app", "serve", *map(str, args)]


def test_it_listens_until_it_is_told_to_end(recipe: Path) -> None:
    process = subprocess.Popen(command(recipe, "--port", "0"), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/v1) serves sample\n", line)
        assert found
        with urllib.request.urlopen(f"{found[1]}/models", timeout=30) as reply:
            assert b'"sample"' in reply.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_what_runs_is_finished_when_it_is_told_to_end(tmp_path: Path) -> None:
    gate, file = threading.Event(), tmp_path / "r.yaml"
    with serving(CHAT) as server, ThreadPoolExecutor(1) as elsewhere:
        generator = f"{{name: openai, base_url: '{server.url}', model: toy}}"
        file.write_text(f"{{task: nano, generator: {generator}, searcher: sample}}")
        process = subprocess.Popen(command(file, "--port", "0"), stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            asked = {"model": "sample", "messages": [{"role": "user", "content": "1 + 1?"}]}
            server.fault = lambda call: None if gate.wait(30) else "500"
            found = elsewhere.submit(
                httpx.post, f"{url}/chat/completions", json={**asked, "max_tokens": 9}, timeout=60
            )
            server.wait_until(lambda counts: counts["calls"] == 1)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            gate.set()
            assert found.result().status_code == 200
            assert process.wait(30) == 0
        finally:
            gate.set()
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_it_serves_nobody_else_without_keys(recipe: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "REASONING_SERVE_KEYS"}
    done = subprocess.run(
        command(recipe, "--host", "0.0.0.0"), capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 2
    assert "REASONING_SERVE_KEYS" in done.stderr
