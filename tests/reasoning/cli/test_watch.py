"""`reasoning watch`: an address, a page, one clear line for a mistake, and an end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from reasoning.cli.endpoint import KEYS

COMMAND = [sys.executable, "-W", "error", "-m", "reasoning.cli.app", "watch"]


def watch(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command, known = [*COMMAND, *args], {**os.environ, **env}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=known)


def test_help_teaches() -> None:
    done = watch("--help")
    assert "reasoning watch runs/quickstart" in done.stdout
    assert "ssh -L" in done.stdout


@pytest.mark.parametrize(
    ("args", "keys", "word"),
    [
        (["nowhere"], "", "holds no run; name a folder"),
        ([".", "--host", "0.0.0.0"], "", "put one in REASONING_SERVE_KEYS"),
        ([".", "--host", "0.0.0.0"], "short", "fewer than 8"),
        ([".", "--port", "70000"], "", "port"),
    ],
)
def test_a_mistake_is_one_line(args: list[str], keys: str, word: str) -> None:
    done = watch(*args, **{KEYS: keys})
    assert done.returncode == 2
    assert word in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_a_run_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    run = {"run": {"name": "mine"}, "independent": {"vote": True}}
    (tmp_path / "manifest.json").write_text(json.dumps(run))
    (tmp_path / "results.jsonl").write_text("")
    before = sorted(path.name for path in tmp_path.iterdir())
    with subprocess.Popen(
        [*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().split()[0]
            with urllib.request.urlopen(address, timeout=60) as page:
                assert b"<title>reasoning</title>" in page.read()
            with urllib.request.urlopen(f"{address}events", timeout=60) as events:
                told = json.loads(events.readline().removeprefix(b"data: "))
                assert told["run"]["title"] == "mine"
                process.send_signal(number)  # while it is listened to
                assert process.wait(60) == 0
            assert process.stderr
            assert process.stderr.read() == ""
        finally:
            process.kill()  # a shell's background jobs ignore SIGINT, and so do their children
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    import socket

    (tmp_path / "manifest.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = watch(str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 3
    assert "--port 0 takes a free one" in done.stderr
