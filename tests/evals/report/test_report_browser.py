"""The report in a browser: clicks, keys, themes; hostile text stays text, nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.report import write
from evals.report.text import visible

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium's own sockets


@pytest.fixture(scope="module")
def page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write([small_run], out)
    return out.as_uri()


@pytest.fixture
def browser(driver: Any, page: str) -> Iterator[Any]:
    """The page freshly loaded; afterwards there were no errors and no requests but for itself."""
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get(page)
    yield driver
    assert driver.title == "small: sums"
    assert driver.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if "requestWillBeSent" in e["method"]]
    assert [url for url in sent if not url.startswith(page)] == []


def css(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


def press(browser: Any, *keys: str) -> None:
    """Press keys where the focus is."""
    from selenium.webdriver.common.keys import Keys

    for key in keys:
        browser.switch_to.active_element.send_keys(getattr(Keys, key))


def told(browser: Any) -> str:
    """What the focused node says of itself."""
    label: str = browser.switch_to.active_element.get_attribute("aria-label")
    return label


def open_problem(browser: Any, place: int, strategy: str) -> None:
    css(browser, "#problems .open")[place].click()
    tabs = css(browser, "[role=tab]")
    next(tab for tab in tabs if tab.text.endswith(strategy)).click()


def test_keys_move_in_the_tree(browser: Any) -> None:
    open_problem(browser, 0, "deep")
    browser.execute_script("document.querySelector('[role=treeitem][tabindex=\"0\"]').focus()")
    assert told(browser) == "the question"
    press(browser, "ARROW_RIGHT")
    assert told(browser) == "step 1, continued, score 0.50, 5 tokens"
    press(browser, "ARROW_RIGHT")
    assert "the chosen answer, answer 2, score 0.90" in told(browser)
    press(browser, "ARROW_DOWN")
    assert "cut" in told(browser)
    press(browser, "ARROW_UP", "ARROW_LEFT", "ARROW_DOWN")
    assert "token limit" in told(browser)
    press(browser, "END", "ENTER")
    steps = [step.text for step in css(browser, ".detail .step")]
    assert len(steps) == 2
    assert "One." in steps[0]
    press(browser, "ESCAPE")
    assert len(css(browser, ".detail .step")) == 1
    assert css(browser, "dialog[open]")
    press(browser, "SPACE", "ESCAPE", "HOME", "ESCAPE")
    assert not css(browser, "dialog[open]")


def test_hostile_text_stays_text(browser: Any, hostile: str) -> None:
    open_problem(browser, 1, "deep")
    assert visible(hostile) in css(browser, "dialog .text")[0].get_attribute("textContent")
    node = css(browser, ".canvas .node.chosen")[0]
    node.click()
    whole = css(browser, ".detail")[0].get_attribute("textContent")
    assert visible(hostile) in whole
    assert not css(browser, "img")
    assert len(css(browser, "script")) == 3


def test_a_tap_opens_and_the_cross_closes(browser: Any) -> None:
    open_problem(browser, 0, "vote-n=3")
    assert len(css(browser, ".canvas .node.cancelled")) == 1
    css(browser, ".canvas .node.candidate")[0].click()
    assert "So \\boxed{3}." in css(browser, ".detail")[0].text
    css(browser, ".detail button")[0].click()
    css(browser, "[aria-label='Next problem']")[0].click()
    assert css(browser, "#problem-name")[0].text == "p1"
    css(browser, "[aria-label='Close']")[0].click()
    assert not css(browser, "dialog[open]")


def test_the_theme_is_toggled_and_kept(browser: Any) -> None:
    def back() -> str:
        color: str = css(browser, "body")[0].value_of_css_property("background-color")
        return color

    before = back()
    css(browser, "#theme")[0].click()
    after = back()
    assert before != after
    browser.refresh()
    assert back() == after
    css(browser, "#theme")[0].click()
    assert back() == before


def test_filters_axes_and_baselines(browser: Any) -> None:
    browser.find_element("css selector", "#show option[value=differ]").click()
    names = [row.text.split("\n")[0] for row in css(browser, "#problems .open")]
    assert names == ["p1", "p3", "p5"]
    css(browser, "#find")[0].send_keys("p3")
    assert css(browser, "#count")[0].text == "1 of 6 problems"
    css(browser, "[data-series='1']")[0].click()
    faint = {p.get_attribute("id").split("-series-")[1][0] for p in css(browser, "svg .faint")}
    assert faint == {"0"}
    css(browser, "[data-axis=by-seconds]")[0].click()
    shown = [f.get_attribute("id") for f in css(browser, "figure[id^=by-]") if f.is_displayed()]
    assert shown == ["by-seconds"]
    browser.find_element("css selector", "#baseline option[value='2']").click()
    rows = [row.text for row in css(browser, "#pairs tbody tr")]
    assert rows[0].startswith("vote-n=2 −0.333")


def test_a_phone_scrolls_down_only(browser: Any, page: str) -> None:
    size = {"width": 375, "height": 812, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(f"{page}#problem=p1")
        assert css(browser, "#problem-name")[0].text == "p1"
        width = "return document.{}.scrollWidth"
        assert browser.execute_script(width.format("documentElement")) == 375
        assert browser.execute_script(width.format("querySelector('dialog')")) == 375
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_labels_are_whole_and_charts_wider_than_their_names(browser: Any) -> None:
    chart, key = (css(browser, f".beside > {part}")[0].rect for part in (":first-child", ".key"))
    assert chart["width"] > key["width"]
    assert chart["x"] < key["x"]
    open_problem(browser, 0, "deep")
    ends = """return [...document.querySelectorAll(".canvas .leaf")].map((text) =>
        [text.getBBox().x + text.getBBox().width, text.ownerSVGElement.width.baseVal.value])"""
    found = browser.execute_script(ends)
    assert len(found) > 1
    assert all(end <= width for end, width in found), found
