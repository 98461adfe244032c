"""The page in a browser: what it shows while a run goes on, keys, and that hostile text stays
text."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from reasoning.live.serving import Looking
from reasoning.serve.desk import Settings
from reasoning.serve.running import Server
from reasoning.text import visible

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium's own sockets


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server in a thread."""
    up = threading.Event()
    looking = Looking(folder, Settings(port=0, drain=1))
    server = Server(looking, up.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    assert up.wait(60)
    try:
        yield f"http://127.0.0.1:{server.port}/"
    finally:
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def shown(driver: Any) -> Iterator[Callable[[Path], Any]]:
    """Opens the page about a folder; no script complains, and nothing but the page is fetched."""
    with ExitStack() as servers:
        addresses: list[str] = []

        def show(folder: Path) -> Any:
            addresses.append(servers.enter_context(serving(folder)))
            driver.get("about:blank")
            for log in ("performance", "browser"):
                driver.get_log(log)
            driver.get(addresses[-1])
            until(driver, "#state.running")
            return driver

        yield show
        events = [
            json.loads(entry["message"])["message"] for entry in driver.get_log("performance")
        ]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        urls = [params["request"]["url"] for params in sent]
        driver.get("about:blank")
        assert driver.get_log("browser") == []
    ours = {*addresses, *(f"{address}events" for address in addresses)}
    assert {url.partition("?")[0] for url in urls if not url.startswith("data:")} <= ours


def css(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


def until(browser: Any, selector: str, words: str = "") -> Any:
    """The first element there is, once there is one that says so."""
    from selenium.webdriver.support.ui import WebDriverWait

    def look(_: Any) -> Any:
        found = css(browser, selector)
        return next((e for e in found if words in (e.get_attribute("textContent") or "")), None)

    return WebDriverWait(browser, 60, 0.05).until(look)


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.keys import Keys

    for key in keys:
        browser.switch_to.active_element.send_keys(getattr(Keys, key))


def told(browser: Any) -> str:
    """What the focused node says of itself."""
    return str(browser.switch_to.active_element.get_attribute("aria-label"))


def text(browser: Any, selector: str) -> str:
    return str(css(browser, selector)[0].get_attribute("textContent"))


def test_a_run_as_it_goes_on(
    folder: Path,
    shown: Callable[[Path], Any],
    telling: Callable[..., None],
    looking: Callable[..., dict[str, Any]],
) -> None:
    browser = shown(folder)
    assert browser.title == "running small"
    numbers = text(browser, "#numbers")
    assert "Problems done3of 10, about 70 s left" in numbers
    assert "Tokens of the run400of 1,000 at most, 40%" in numbers
    assert "Moneyunknown" in numbers
    assert "0.667 (0.21–0.94)" in text(browser, "#strategies")
    assert "TransientError 3 times" in text(browser, "#errors")
    until(browser, "#about", "vote")  # it follows what runs
    assert len(css(browser, "#canvas .node:not(.root)")) == 2
    before = css(browser, "#canvas .node.candidate")[0]
    nodes = looking()["tree"] | {"0.1": {"s": "tip", "n": 2, "v": 0.5, "t": "New."}}
    telling(folder, done=4, searches=[looking(tree=nodes, nodes=300)])
    until(browser, "#canvas .node.tip")
    assert css(browser, "#canvas .node.candidate")[0] == before  # what was there is there
    assert "297 more nodes" in text(browser, "#more")
    telling(folder, searches=[], ended="failed", why="the engine is gone")
    until(browser, "#state.failed")
    assert "the engine is gone" in text(browser, "#told")
    assert "Ended by an error" in text(browser, "#said")
    assert len(css(browser, "#canvas .node:not(.root)")) == 3  # the last that was seen


def test_keys_go_through_searches_and_trees(folder: Path, shown: Callable[[Path], Any]) -> None:
    browser = shown(folder)
    until(browser, "#about", "vote")
    browser.execute_script("document.querySelector('#searches [tabindex=\"0\"]').focus()")
    press(browser, "ARROW_DOWN")
    until(browser, "#about", "p2")
    assert [e.text.split("\n")[2] for e in css(browser, "[aria-selected=true]")] == ["p2"]
    press(browser, "END")
    until(browser, "#about", "p0")
    until(browser, "#canvas .node.chosen")
    press(browser, "ENTER")
    assert told(browser) == "the question"
    press(browser, "ARROW_RIGHT")
    assert told(browser) == "step 1, continued, score 0.25, 5 tokens"
    press(browser, "ARROW_DOWN")
    assert told(browser) == "step 1, cut: not continued, 4 tokens"
    press(browser, "ARROW_UP", "ARROW_RIGHT")
    assert told(browser) == "step 2, candidate, the chosen answer, answer 2, 3 tokens"
    assert len(css(browser, "#detail .step")) == 1
    press(browser, "ENTER")
    assert [step.text.split("\n")[-1] for step in css(browser, "#detail .step")] == ["One.", "2"]
    press(browser, "ESCAPE")
    assert len(css(browser, "#detail .step")) == 1
    press(browser, "ESCAPE")
    assert browser.switch_to.active_element.get_attribute("role") == "option"
    assert css(browser, "#follow")[0].get_attribute("aria-pressed") == "false"
    press(browser, "ESCAPE")
    until(browser, "#about", "p9")
    assert css(browser, "#follow")[0].get_attribute("aria-pressed") == "true"


def test_hostile_text_stays_text(
    hostile_run: Path, shown: Callable[[Path], Any], hostile: str
) -> None:
    browser = shown(hostile_run)
    safe = visible(hostile)
    until(browser, "#about", safe)
    for selector in ("#title", "#told", "#notes", "#searches", "#about", "#errors", "#strategies"):
        found = text(browser, selector)
        assert safe[:60] in found, selector
        assert "\u202e" not in found
        assert "\x1b" not in found
    css(browser, "#canvas .node:not(.root)")[0].click()
    assert safe in text(browser, "#detail")
    over = css(browser, "#searches li:has(.mark.failed, .mark.wrong, .mark.right)")[0]
    over.click()
    until(browser, "#canvas .node.chosen").click()
    assert safe in text(browser, "#detail")
    assert len(text(browser, "#detail")) < 3000
    assert browser.title != "owned"
    assert not css(browser, "img")
    assert len(css(browser, "script")) == 1
    assert browser.execute_script("return typeof {}.x") == "undefined"


def test_a_phone_scrolls_down_only_and_a_tap_opens(
    folder: Path,
    shown: Callable[[Path], Any],
    telling: Callable[..., None],
    looking: Callable[..., dict[str, Any]],
) -> None:
    telling(folder, searches=[looking(key=f"vote q{i}", problem=f"q{i}") for i in range(99)])
    browser = shown(folder)
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.refresh()
        until(browser, "#canvas .node.candidate")
        browser.execute_script(
            "document.querySelector('#canvas').scrollIntoView({block: 'center'})"
        )
        css(browser, "#canvas .node.candidate")[0].click()
        assert len(css(browser, "#detail .step")) == 2
        css(browser, "#detail button")[0].click()
        assert len(css(browser, "#detail .step")) == 1
        width = "return document.documentElement.scrollWidth"
        assert browser.execute_script(width) == 390
        rest = """return document.documentElement.scrollHeight - scrollY
            - document.querySelector("main").getBoundingClientRect().bottom"""
        assert browser.execute_script(rest) < 40  # nothing below what is shown
        heights = [e.size["height"] for e in css(browser, "#searches li")]
        assert min(heights) >= 44  # a finger's
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_dark_where_the_system_is(
    folder: Path, shown: Callable[[Path], Any], scheme: str
) -> None:
    browser = shown(folder)
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    try:
        back = css(browser, "body")[0].value_of_css_property("background-color")
        light = sum(map(int, back[back.index("(") + 1 :].split(",")[:3])) > 380
        assert light is (scheme == "light")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_thousands_of_nodes_and_hundreds_of_searches_do_not_stop_it(
    folder: Path,
    shown: Callable[[Path], Any],
    telling: Callable[..., None],
    looking: Callable[..., dict[str, Any]],
) -> None:
    """What is sent is bounded, whatever the folder says."""
    nodes = {f"{i}.{j}": {"s": "tip", "n": 1} for i in range(99) for j in range(99)}
    nodes = {str(i): {"s": "grown", "n": 1} for i in range(99)} | nodes
    searches = [looking(key=f"vote q{i}", problem=f"q{i}", tree=nodes) for i in range(3)]
    telling(folder, searches=searches)
    browser = shown(folder)
    until(browser, "#canvas .node.grown")
    assert len(css(browser, "#canvas .node:not(.root)")) == 250


def test_a_server_that_is_gone_is_told(folder: Path, driver: Any) -> None:
    with serving(folder) as address:
        driver.get(address)
        until(driver, "#state.running")
    until(driver, "#state.lost")
    assert "heard last" in text(driver, "#lost")
    driver.get("about:blank")
    driver.get_log("browser")
