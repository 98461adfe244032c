"""The pages on clients are true: what they show is run against a server of the embedded model."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning.runs.recipe import parse
from reasoning.serve.app import Service
from reasoning.serve.desk import Settings
from reasoning.serve.offers import Offers
from reasoning.serve.running import Server

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted((ROOT / "docs" / "clients").glob("*.md"))
NEEDS = {
    "openai-python": ("openai", "pip install openai"),
    "litellm": ("litellm", "pip install litellm"),
    "inspect-ai": ("inspect_ai", "pip install inspect_ai openai"),
    "lm-eval": ("lm_eval", "pip install 'lm_eval[api]'"),
}
SAYS = {
    "curl": ["chat.completion.chunk", '"finish_reason":"stop"', "[DONE]"],
    "inspect-ai": ["accuracy", "self_consistency-n=4"],
    "lm-eval": ["|exact_match|"],
    "litellm": ["\\boxed{"],
    "openai-npm": ["\\boxed{"],
    "openai-python": ["\\boxed{"],
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server in a thread of its own, as `reasoning serve` runs it."""
    recipe = {
        "task": "nano",
        "generator": "nano",
        "strategies": [{"searcher": "sample"}, {"searcher": "self_consistency", "n": 4}],
        "sampling": {"max_tokens": 60},
    }
    offers, up = Offers(parse(recipe)), threading.Event()
    server = Server(Service(offers, Settings(port=0)), up.set)

    async def run() -> None:
        async with offers.open():
            await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert up.wait(60)
    yield server.port
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page: Path, port: int, tmp_path: Path) -> None:
    module, how = NEEDS.get(page.stem, ("json", ""))
    if importlib.util.find_spec(module) is None:
        pytest.skip(how)
    if page.stem == "openai-npm" and not (modules := npm()):
        pytest.skip("npm install openai, and set REASONING_NODE_MODULES to the node_modules")
    found = re.findall(r"^```(py|bash|js)\n(.*?)^```$", page.read_text(), re.M | re.S)
    assert found, "a page shows something"
    for language, code in found:
        code = code.replace("localhost:8001", f"127.0.0.1:{port}")
        assert str(port) in code
        script = tmp_path / {"py": "shown.py", "bash": "shown.sh", "js": "shown.mjs"}[language]
        script.write_text(code)
        if language == "js":
            (tmp_path / "node_modules").symlink_to(modules)
        run = {"py": sys.executable, "bash": "bash", "js": "node"}[language]
        env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        env["HF_DATASETS_CACHE"] = str(tmp_path / "cache")
        command = [run, *(["-e"] if language == "bash" else []), str(script)]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        for word in SAYS[page.stem]:
            assert word in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def npm() -> str:
    """A node_modules that has openai, empty if there is none."""
    stated = os.environ.get("REASONING_NODE_MODULES", "")
    return stated if shutil.which("node") and (Path(stated or "/-") / "openai").is_dir() else ""


def test_every_page_is_named() -> None:
    text = (ROOT / "docs" / "serve.md").read_text()
    assert PAGES
    assert [p.name for p in PAGES if f"(clients/{p.name})" not in text] == []
