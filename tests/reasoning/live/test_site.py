"""The page and its stream over HTTP: who may look, what it is sent with, what it costs."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from reasoning.live import site as sites
from reasoning.live.serving import Looking
from reasoning.live.site import MOST_PAGES, page
from reasoning.serve.desk import Settings

KEY = "a-key-of-mine"


def ask(
    folder: Path, path: str = "/", *, keys: tuple[str, ...] = (), host: str = "", **headers: str
) -> httpx.Response:
    async def work() -> httpx.Response:
        looking = Looking(folder, Settings(keys=keys, host=host or "127.0.0.1"))
        transport = httpx.ASGITransport(looking.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
            return await web.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return asyncio.run(work())


def test_the_page_forbids_all_scripts_but_its_own(folder: Path) -> None:
    found = ask(folder)
    policy = found.headers["content-security-policy"]
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["frame-ancestors"] == "'none'"
    assert parts["connect-src"] == "'self'"
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", found.text, re.DOTALL)
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert parts[f"{tag}-src"] == f"'sha256-{digest}'"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cross-origin-resource-policy"] == "same-origin"
    assert "http://" not in found.text.replace("http://www.w3.org/2000/svg", "")


def test_nothing_of_a_run_is_in_the_page(hostile_run: Path) -> None:
    assert ask(hostile_run).text == page()[0]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8001", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("rebound.example", 403),
        ("127.0.0.1.example:80", 403), ("localhost.example", 403), ("", 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/events"])
def test_only_this_machine_may_look(folder: Path, path: str, host: str, status: int) -> None:
    """A page of a browser that has our address under another name is told nothing."""
    if status == 200 and path == "/events":
        return  # it has no end
    found = ask(folder, path, Host=host)
    assert found.status_code == status
    assert (status == 200) is ("<title>" in found.text)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/", "/events"])
def test_no_other_page_may_look(folder: Path, path: str, site: str) -> None:
    assert ask(folder, path, Sec_Fetch_Site=site).status_code == 403
    assert ask(folder, Sec_Fetch_Site="none").status_code == 200


def basic(password: str) -> str:
    return f"Basic {base64.b64encode(f'anybody:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (basic(KEY), 200), (f"Bearer {KEY}", 200), (basic("wrong"), 401), (basic(""), 401),
        ("Basic ***", 401), ("", 401), ("Basic", 401),
    ],
)  # fmt: skip
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_keys_a_browser_asks_for_one(folder: Path, given: str, status: int, host: str) -> None:
    found = ask(folder, keys=("another-key", KEY), host=host, Authorization=given)
    assert found.status_code == status
    assert ("www-authenticate" in found.headers) is (status == 401)
    assert ask(folder, "/events", keys=(KEY,), Authorization="Basic x").status_code == 401


class Patient:
    """Somebody who listens to a stream and leaves after so many blocks."""

    def __init__(self, app: Any, path: str, query: str = "") -> None:
        self.app, self.left, self.blocks = app, asyncio.Event(), list[Any]()
        self.scope = {
            "type": "http", "method": "GET", "path": path, "query_string": query.encode(),
            "headers": [(b"host", b"localhost")], "root_path": "", "scheme": "http",
            "http_version": "1.1", "server": ("localhost", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self.status = 0

    async def listen(self, most: int) -> None:
        async def receive() -> dict[str, Any]:
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            self.status = message.get("status", self.status)
            for line in message.get("body", b"").decode().splitlines():
                if line.startswith("data: "):
                    self.blocks.append(json.loads(line[6:]))
            if len(self.blocks) >= most:
                self.left.set()

        await self.app(self.scope, receive, send)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between looks."""
    monkeypatch.setattr(sites, "EVERY", 0.0)
    monkeypatch.setattr("reasoning.live.watching.EVERY", 0.0)


@pytest.mark.usefixtures("quick")
def test_a_stream_tells_all_then_what_changes_and_ends_when_nobody_listens(
    folder: Path, telling: Callable[..., None]
) -> None:
    async def work() -> None:
        looking = Looking(folder, Settings())
        client = Patient(looking.app(), "/events", "search=vote%20p1")
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(client.listen(2))
            while not client.blocks:  # noqa: ASYNC110 (whoever sends says nothing else)
                await asyncio.sleep(0)
            assert looking.site.pages == 1
            telling(folder, done=4)
            await listening
        assert looking.site.pages == 0
        first, second = client.blocks
        assert first["about"]["key"] == "vote p1"
        assert first["about"]["question"] == "p1: what is 1 + 1?"
        assert set(first["nodes"]) == {"0", "1", "0.0", "0.1"}
        assert second["numbers"]["problems"]["value"] == "4"
        assert set(second) == {"numbers"}

    asyncio.run(work())


@pytest.mark.usefixtures("quick")
def test_so_many_pages_look_on_and_a_server_that_ends_waits_for_none(folder: Path) -> None:
    async def work() -> None:
        looking = Looking(folder, Settings())
        app, ending = looking.app(), asyncio.Event()
        looking.site.ending = ending.is_set
        clients = [Patient(app, "/events") for _ in range(MOST_PAGES)]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.listen(99))
            while not all(client.blocks for client in clients):  # noqa: ASYNC110
                await asyncio.sleep(0)
            late = Patient(app, "/events")
            await late.listen(99)
            assert late.status == 429
            ending.set()
        assert looking.site.pages == 0

    asyncio.run(work())
