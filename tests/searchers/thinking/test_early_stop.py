"""Stopping a thought: what each test asks, when it stops, and what it costs."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Node, Sample, TopLogprobs
from reasoning.verify import Scores, Verifier
from searchers.thinking.early_stop import early_stop
from searchers.thinking.stops import entropy, sure_of

THOUGHT = ["first.\n\n", "it is \\boxed{4}.\n\n", "no, \\boxed{5}.\n\n", "yes.\n\n", "sure.\n\n"]


def model(answers: list[str], sure: float = 0.0) -> Any:
    """Thinks THOUGHT step by step; cut behind step i it answers answers[i - 1]."""

    def script(prompt: Prompt, seed: int) -> Sample | str:
        text = prompt.text
        if prompt.suffix:
            return words({" confident": sure, " hm": 1 - sure})
        if "</think>" in text:
            steps = text.partition("</think>")[0].count(".\n")
            return f"So \\boxed{{{answers[steps - 1]}}}"
        return "".join(THOUGHT)[len(text) :] + "</think>"

    return script


def words(p: dict[str, float]) -> Sample:
    table = np.log(np.array([list(p.values())], dtype=np.float64) + 1e-30).astype(np.float32)
    tops = TopLogprobs((tuple(p),), table)
    return Sample(" hm", finish="length", generated_tokens=1, top_logprobs=tops)


def run(script: Any, verifier: Verifier | None = None, **params: Any) -> tuple[Search, Node]:
    search = Search(
        Problem("p", "q"), Scripted(script), verifier=verifier, sampling=Sampling(max_tokens=500)
    )
    asyncio.run(early_stop(search, **params))
    [candidate] = search.candidates
    assert candidate.node is not None
    return search, candidate.node


def steps(node: Node) -> int:
    return node.text.partition("</think>")[0].count(".\n")


@pytest.mark.parametrize(
    ("m", "stopped", "answer"), [(1, 1, "4"), (2, 2, "4"), (3, 5, "5"), (4, 5, "5")]
)
def test_answers_that_agree_stop_it(m: int, stopped: int, answer: str) -> None:
    search, node = run(model(["4", "4", "5", "5", "5"]), test="agreement", m=m)
    found = search.answer(node)
    assert found is not None
    assert (steps(node), found.text) == (stopped, answer)


def test_a_test_that_nothing_passes_is_a_plain_thought() -> None:
    search, node = run(model(["4"] * 5), test="confidence", threshold=3.0)
    assert node.text == "".join(THOUGHT) + "</think>So \\boxed{4}"
    assert (
        search.usage.calls == 7 + 4
    )  # five steps, the mark, the answer; a probe behind each step with an answer in sight


def test_entropy_of_drawn_answers() -> None:
    def script(prompt: Prompt, seed: int) -> str:
        if "</think>" in prompt.text and prompt.text.count(".\n\n") < 3:
            return f"\\boxed{{{prompt.slot}}}"
        return str(model(["4", "4", "4", "4", "4"])(prompt, seed))

    _, node = run(script, test="entropy", m=4)
    assert steps(node) == 3
    _, early = run(script, test="entropy", m=4, threshold=math.log(4))
    assert steps(early) == 1


def test_confidence_is_asked_once_there_is_an_answer() -> None:
    search, node = run(model(["4"] * 5, sure=0.9), test="confidence")
    assert steps(node) == 2
    probes = [n for n in search.tree if n.sample.finish == "probe"]
    assert len(probes) == 1
    assert run(model(["4"] * 5, sure=0.4), test="confidence")[1].text.endswith(
        "</think>So \\boxed{4}"
    )


def test_confidence_adds_up_words() -> None:
    first = {"confident": 0.3, "sure": 0.1, "pretty": 0.2}
    assert sure_of(first, {"confident": 0.5, "sure": 0.2}) == pytest.approx(0.54)
    assert entropy(["a", "a", "b", "b"]) == pytest.approx(math.log(2))
    assert entropy(["a"]) == 0


class Likes5(Verifier):
    name = "likes5"
    text_only = True

    async def score(self, problem: Problem, node: Node, **_: Any) -> Scores:
        return Scores((1.0 if "boxed{5}" in node.sample.text else 0.0,))


def test_a_verifier_says_when() -> None:
    _, node = run(model(["4", "4", "5", "5", "5"]), Likes5(), test="verifier")
    assert steps(node) == 3


def test_it_looks_only_so_often() -> None:
    _, node = run(model(["4"] * 5), test="agreement", m=2, every=2)
    assert steps(node) == 4


def test_watching_asks_everywhere_and_stops_nowhere() -> None:
    search = Search(Problem("p", "q"), Scripted(model(["4", "4", "5", "5", "5"])))
    asyncio.run(early_stop(search, test="agreement", m=1, watch=True))
    found = sorted(search.candidates, key=lambda c: len(c.path))
    assert [c.rank for c in found if not c.weight] == [1, 2, 1, 2, 3]
    [end] = [c for c in found if c.weight]
    assert end.node is not None
    assert steps(end.node) == 5


def stops(folder: Path, auroc: float | None, curve: Any = ()) -> str:
    tests = {name: {"auroc": auroc, "curve": curve} for name in ("agreement", "saturation")}
    (folder / "stops.json").write_text(json.dumps({"tests": tests}))
    return str(folder / "stops.json")


def test_a_test_that_cannot_tell_is_refused(tmp_path: Path) -> None:
    answers = ["4", "4", "5", "5", "5"]
    _, node = run(model(answers), m=3, calibration=stops(tmp_path, 0.55))
    assert steps(node) == 5
    for auroc, why in ((0.549, r"0\.549 .* must be 0\.55"), (None, "all right or all wrong")):
        with pytest.raises(RecipeError, match=why):
            run(model(answers), calibration=stops(tmp_path, auroc))
    with pytest.raises(RecipeError, match="says nothing of test 'entropy'"):
        run(model(answers), test="entropy", calibration=stops(tmp_path, 0.9))


@pytest.mark.parametrize("text", ["", "[]", '{"tests": 3}', '{"tests": {"agreement": {}}}', None])
def test_a_calibration_that_is_none(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "stops.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RecipeError, match=r"cannot be read .* `reasoning calibrate RUN"):
        run(model(["4"] * 5), calibration=str(file))


@pytest.mark.parametrize(("gain", "stopped"), [(0.5, 1), (0.19, 2), (0.09, 3), (0.02, 5)])
def test_saturation_stops_where_its_curve_does(tmp_path: Path, gain: float, stopped: int) -> None:
    """F = 0.8 and p = 0.5: one more step after N gains 0.8 * 0.5 ^ (N + 1)."""
    curve = [(n, 0.8 * (1 - 0.5**n)) for n in (1, 2, 4, 8)]
    file = stops(tmp_path, 0.7, curve)
    _, node = run(model(["4"] * 5), test="saturation", threshold=gain, calibration=file)
    assert steps(node) == stopped


def test_saturation_needs_a_curve(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs calibration: FILE"):
        run(model([]), test="saturation")
    with pytest.raises(RecipeError, match=r"threshold=0 .* must be above 0"):
        run(model([]), test="saturation", threshold=0, calibration=stops(tmp_path, 0.7))
    with pytest.raises(RecipeError, match="a curve of 1 points"):
        run(model([]), test="saturation", calibration=stops(tmp_path, 0.7, [(1, 0.5)]))
