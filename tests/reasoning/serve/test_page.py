"""The server's own page: what runs, without a word of what anybody has written."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from reasoning.backends.scripted import Scripted
from reasoning.clock import RealClock
from reasoning.errors import GenerationError
from reasoning.live.following import Follower
from reasoning.serve.app import Service
from reasoning.serve.desk import Settings
from reasoning.serve.floor import KEPT
from reasoning.serve.looking import LISTED

SECRET = "Xq7-of-a-user"
ANSWER = "Yz8-of-a-model"
KEYS = ("first-key-of-mine",)


class Held(Scripted):
    """The second and later calls of each problem wait until they are let go."""

    def __init__(self) -> None:
        super().__init__([f"{ANSWER} \\boxed{{7}}"])
        self.go = asyncio.Event()
        self.waiting = 0

    def clock(self, problem: Any) -> Any:
        return RealClock()

    async def generate(self, prompt: Any, *args: Any, **call: Any) -> Any:
        if prompt.slot:
            self.waiting += 1
            await self.go.wait()
        return await super().generate(prompt, *args, **call)


async def held(
    offers: Any, searches: int, *, texts: bool = False, chosen: str | None = None
) -> list[Any]:
    """What a page is sent while so many searches run, then when they are over."""
    model = Held()
    found = offers(model)
    service = Service(found, Settings(texts=texts))
    transport = httpx.ASGITransport(service.app())
    page = Follower(service.site.source, chosen, lambda: 0.0)
    body = {"model": "self_consistency", "messages": [{"role": "user", "content": SECRET}]}
    async with (
        found.open(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as web,
        asyncio.TaskGroup() as group,
    ):
        asked = [
            group.create_task(web.post("/v1/chat/completions", json=body, timeout=None))
            for _ in range(searches)
        ]
        while model.waiting < 2 * searches:  # noqa: ASYNC110 (what is counted says nothing)
            await asyncio.sleep(0)
        during = await page.news()
        model.go.set()
        await asyncio.gather(*asked)
        service.site.source._looked = float("-inf")  # type: ignore[attr-defined]
        after = await page.news()
    assert {task.result().status_code for task in asked} == {200}
    return [during, after]


@pytest.mark.parametrize("texts", [False, True])
def test_a_page_shows_what_runs_and_no_texts_unless_it_may(offers: Any, texts: bool) -> None:
    during, after = asyncio.run(held(offers, 3, texts=texts))
    assert during["numbers"]["running"]["value"] == "3"
    assert during["about"]["state"] == "running"
    assert during["nodes"]["0"]["s"] == "candidate"
    assert (after["numbers"]["running"]["value"], after["numbers"]["over"]["value"]) == ("0", "3")
    assert {row["state"] for row in after["searches"].values()} == {"ended"}
    assert after["strategies"]["self_consistency-n=3"]["done"] == "3"
    told = json.dumps([during, after])
    assert (SECRET in told) is texts
    assert (ANSWER in told) is texts
    assert ("--show-texts" in told) is not texts
    assert ('"a": "7"' in told) is texts


def test_hundreds_of_searches_make_no_large_page(offers: Any) -> None:
    during, after = asyncio.run(held(offers, 500))
    assert during["numbers"]["running"]["value"] == "500"
    assert len(during["searches"]) == LISTED
    assert len(json.dumps(during)) < 40_000
    assert sum(row is not None for row in after["searches"].values()) == KEPT
    assert after["numbers"]["over"]["value"] == "500"


def test_errors_are_told_by_kind_alone(offers: Any) -> None:
    class Broken(Scripted):
        async def generate(self, *args: Any, **call: Any) -> Any:
            raise GenerationError(f"it said {SECRET}")

    async def work() -> Any:
        found = offers(Broken([""]))
        service = Service(found, Settings())
        transport = httpx.ASGITransport(service.app())
        async with (
            found.open(),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as web,
        ):
            body = {"model": "sample", "messages": [{"role": "user", "content": "?"}]}
            await web.post("/v1/chat/completions", json=body)
            return await Follower(service.site.source, None, lambda: 0.0).news()

    told = asyncio.run(work())
    assert told["errors"] == {"GenerationError": {"count": "1"}}
    assert SECRET not in json.dumps(told)


def test_the_page_needs_a_key_where_clients_do(served: Any) -> None:
    async def work() -> list[int]:
        async with served(settings=Settings(keys=KEYS)) as web:
            tried = (None, ("anybody", KEYS[0]), ("anybody", "wrong"))
            return [(await web.get("/", auth=auth)).status_code for auth in tried]

    assert asyncio.run(work()) == [401, 200, 401]


def test_a_password_of_the_page_opens_nothing_else(served: Any) -> None:
    """A browser sends it by itself; only the page's own routes take it."""

    async def work() -> list[int]:
        async with served(settings=Settings(keys=KEYS)) as web:
            paths = ("/v1/models", "/metrics")
            return [(await web.get(p, auth=("anybody", KEYS[0]))).status_code for p in paths]

    assert asyncio.run(work()) == [401, 401]


def test_a_page_that_looks_on_does_not_keep_the_server(listening: Any) -> None:
    """Whoever looks is sent away when the server ends; nobody waits for a page to close."""

    async def work() -> None:
        async with httpx.AsyncClient(timeout=60) as web:
            async with listening() as url:
                root = url.removesuffix("/v1")
                response = await web.send(web.build_request("GET", f"{root}/events"), stream=True)
                lines = response.aiter_lines()
                assert (await anext(lines)).startswith("data: ")
            await response.aclose()

    asyncio.run(asyncio.wait_for(work(), 30))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium's own sockets
def test_a_browser_sends_the_key_as_its_password(driver: Any, listening: Any) -> None:
    """The page, and its stream, which no script could send a key with."""

    def look(address: str) -> str:
        from selenium.webdriver.support.ui import WebDriverWait

        driver.get(address)
        WebDriverWait(driver, 60, 0.05).until(lambda d: d.find_elements("css selector", ".serving"))
        told: str = driver.find_element("css selector", "#told").text
        driver.get("about:blank")
        return told

    async def work() -> str:
        async with listening(settings=Settings(port=0, keys=KEYS)) as url:
            root = url.removesuffix("v1").replace("://", f"://anybody:{KEYS[0]}@")
            return await asyncio.to_thread(look, root)

    assert "2 strategies; texts are not shown" in asyncio.run(work())
