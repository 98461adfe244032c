"""Equivalence of answers: the rules, the workers, and agreement with labelled data."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.answers import after_answer_is, canonical, extract, last_number
from reasoning.answers.grading import (
    classify,
    equivalent,
    equivalent_sync,
    group,
    shutdown,
)
from reasoning.answers.pool import ComparisonError, Workers, default_pool
from reasoning.answers.quantities import number
from reasoning.answers.rules import decide

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("REASONING_DATA", ROOT.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "grading").is_dir(), reason=f"no labelled data in {DATA} (set REASONING_DATA)"
)


@pytest.fixture(scope="module", autouse=True)
def _workers() -> Iterator[None]:
    yield
    shutdown()


EQUAL = [
    ("1/2", "0.5"),
    ("1/2", r"\dfrac{2}{4}"),
    (r"2\frac{1}{2}", "2.5"),
    ("137 1/2", r"137 \frac{1}{2}"),
    ("1e3", "1000"),
    (r"1.5\times 10^{3}", "1,500"),
    ("5", "x = 5"),
    ("x=5", "5"),
    ("5", "2 + 3 = 5"),
    ("5", "a + b = 2 + 3 = 5"),
    (r"3\sqrt{13}", r"\sqrt{9*13} = 3\sqrt{13}"),
    ("12", r"12\text{ cm}"),
    ("12 cm", "12 centimeters"),
    (r"864 \mbox{ inches}^2", "864 square inches"),
    ("12", r"12^{\mathrm{th}} \text{ grade}"),
    ("10", r"10\%"),
    (r"\$18.90", "18.9"),
    ("90", r"90^\circ"),
    ("2516_8", "2516"),
    ("1,-2", "-2, 1"),
    (r"\{1,2\}", r"\{2,1\}"),
    (r"\{1,2\}", "2, 1"),
    ("(1,2)", "(1.0, 4/2)"),
    ("(p,q)=(3,2)", "(3,2)"),
    (r"x \in [1,2)", "[1,2)"),
    (r"\pm 2021", "-2021, 2021"),
    (r"\text{(C)}", "C"),
    (r"\text{even}", "Even"),
    (r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", r"\begin{bmatrix} 0.2 \\ -3.6 \end{bmatrix}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1,2)"),
    ("0.0833333333333333", r"\frac{1}{12}"),
    ("答案", "答案"),
]
DIFFERENT = [
    ("0.333", "1/3"),
    ("0.1", r"10\%"),
    (r"12\text{ cm}", r"12\text{ m}"),
    ("12 cm", "12 km"),
    (r"5.4\text{ cents}", r"5.4\text{ dollars}"),
    ("2516_8", "2516_9"),
    ("52_8", "42"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "[1,2]"),
    ("[1,2)", "(1,2)"),
    ("(1,2)", r"\{1,2\}"),
    ("1,2", "1,2,3"),
    ("1,2", "12"),
    ("1,000", "1, 000"),
    ("3.5", "3,5"),
    (r"\text{even}", r"\text{odd}"),
    ("no solution", "5"),
    ("5", ""),
    ("", ""),
    ("3", "(1,2)"),
    (r"1.6\times 10^{-19}", r"1.7\times 10^{-19}"),
    ("2x+z=1", "1"),
    ("东", "西"),
]
BY_ALGEBRA = [
    (r"\sqrt{117}", r"3\sqrt{13}", True),
    ("x+1", "1+x", True),
    ("y = 2x + 3", "2x+3", True),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}", True),
    ("(3,4]", r"3 < \lambda \le 4", True),
    (r"x \ge 5", r"[5,\infty)", True),
    (r"(2,12) \cup (12,102)", r"(12,102)\cup(2,12)", True),
    ("2x+4y-3=0", r"y=-\frac{1}{2}x+\frac{3}{4}", True),
    (r"\frac{1}{3x}", r"\frac{1}{3}x", False),
    ("x=5", "y=5", False),
    ("3t", "3", False),
    (r"\pi(R^2 - r^2)", r"\pi R^2 - \pi r^2", True),
    (r"\pi(R^2 - r^2)", "0", False),
    (r"\emptyset", r"\{\}", True),
    (r"(-\infty,4]", "x < 4", False),
    ("1+\\sqrt{19}", r"1 \pm \sqrt{19}", False),
]


@pytest.mark.parametrize("pair", EQUAL, ids=" / ".join)
def test_equal_without_a_worker(pair: tuple[str, str]) -> None:
    a, b = map(canonical, pair)
    assert decide(a, b) is True
    assert decide(b, a) is True


@pytest.mark.parametrize("pair", DIFFERENT, ids=" / ".join)
def test_different_without_a_worker(pair: tuple[str, str]) -> None:
    a, b = map(canonical, pair)
    assert decide(a, b) is False
    assert decide(b, a) is False


@pytest.mark.parametrize(("gold", "prediction", "same"), BY_ALGEBRA)
def test_algebra(gold: str, prediction: str, same: bool) -> None:
    assert equivalent_sync(gold, prediction) is same
    assert equivalent_sync(prediction, gold) is same


RATIONAL = st.fractions(max_denominator=10**6)


@settings(deadline=None)
@given(RATIONAL)
def test_numbers_equal_themselves_in_other_spellings(x: object) -> None:
    top, _, bottom = str(x).partition("/")
    latex = rf"\frac{{{top}}}{{{bottom or 1}}}"
    assert number(canonical(latex)) == number(canonical(str(x))) == x
    assert decide(canonical(latex), canonical(str(x))) is True


@settings(deadline=None)
@given(RATIONAL, RATIONAL)
def test_numbers_are_compared_exactly(x: object, y: object) -> None:
    assert decide(canonical(str(x)), canonical(str(y))) is (x == y)


@settings(deadline=None)
@given(st.text(alphabet="123()[]{},;=\\_^$%. abx+-/&", max_size=40), st.sampled_from(EQUAL))
def test_the_rules_never_raise(text: str, pair: tuple[str, str]) -> None:
    for other in (*pair, text[::-1]):
        assert decide(canonical(text), canonical(other)) in (True, False, None)


def test_plain_answers_start_no_worker() -> None:
    shutdown()
    assert equivalent_sync("1,000", "1000.0")
    assert not equivalent_sync("7", "8")
    assert asyncio.run(group(["1/2", "0.5", "3", "(1,2)", "(1, 2)", "3.0"])) == [0, 0, 2, 3, 3, 2]
    assert default_pool().processes == []


def test_group_and_classify() -> None:
    answers = ["x+1", "5", "1+x", "", "5.0", "2", "x + 1", ""]
    assert asyncio.run(group(answers)) == [0, 1, 0, 3, 1, 5, 0, 3]
    keys = [answer.key for answer in asyncio.run(classify(answers))]
    assert keys == ["x+1", "5", "x+1", "", "5", "2", "x+1", ""]


def test_several_loops_and_threads() -> None:
    results = {}

    def run(i: int) -> None:
        async def both() -> list[bool]:
            pairs = ((rf"\sqrt{{{i**2 + 1}}}^2", f"{i**2 + 1}"), (f"\\sqrt{{{i**2 + 1}}}", "x"))
            return await asyncio.gather(*(equivalent(*pair) for pair in pairs))

        results[i] = asyncio.run(both())

    threads = [threading.Thread(target=run, args=(i,)) for i in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: [True, False] for i in range(1, 5)}


def test_a_hanging_comparison_is_killed_and_the_culprit_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hostile = "9^{9^{9}}"
    assert not equivalent_sync(r"\sqrt{w}^4", hostile, seconds=0.5)
    assert r"gave up comparing '\\sqrt{w}^4'" in caplog.text
    caplog.clear()
    assert not equivalent_sync(r"\sqrt{w}^6", hostile, seconds=0.5)  # at once
    assert not caplog.text
    assert equivalent_sync(r"\sqrt{w}^4", "w^2")  # the other side is not blamed


def test_workers_are_isolated_and_reaped() -> None:
    pool = Workers(1)
    assert pool.submit("x+1", "1+x", 5.0).result() is True
    (process,) = pool.processes
    assert os.getsid(process) == process != os.getsid(0)  # no Ctrl-C from our terminal
    os.kill(process, signal.SIGKILL)
    assert pool.submit("x+1", "1+x", 5.0).result() is True  # in a new one
    assert pool.processes != [process]
    pending = pool.submit("9^{9^9}", "x", 60.0)
    pool.close()
    assert pool.processes == []
    with pytest.raises((ComparisonError, RuntimeError)):
        pending.result(timeout=10)
    with pytest.raises(RuntimeError):
        pool.submit("x", "y", 1.0)
    with pytest.raises(ValueError, match="at least one worker"):
        Workers(0)


def test_a_worker_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    shutdown()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="did not start"):
        equivalent_sync(r"\sin^2 u + \cos^2 u", "1")
    shutdown()


def test_a_cancelled_comparison_is_dropped() -> None:
    async def cancel() -> None:
        task = asyncio.ensure_future(equivalent(r"\sqrt{v}^4", "v^2"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from reasoning.answers.grading import equivalent_sync\n"
        "print(equivalent_sync(r'\\sqrt{8}', r'2\\sqrt{2}'))\n",
        encoding="utf-8",
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (out.stdout, out.stderr) == ("True\n", "")


@needs_data
@pytest.mark.parametrize(
    ("name", "least"), [("bwu_math500", 72), ("hendrycks_math", 14), ("math_verify", 237)]
)
def test_agreement_with_labels(name: str, least: int) -> None:
    path = ROOT / "benchmarks" / "agreement.py"
    spec = importlib.util.spec_from_file_location("agreement", path)
    assert spec is not None
    assert spec.loader is not None
    agreement = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(agreement)
    count, wrong = agreement.judged(DATA / "grading" / f"equiv_{name}_tests.jsonl", agreement.ours)
    assert count - len(wrong) >= least, f"of {count}: {wrong}"


@needs_data
def test_recorded_labels_of_real_outputs() -> None:
    path = DATA / "rollouts" / "gsm8k_150q_gpt41mini_n5.jsonl.gz"
    agreed = total = 0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            for sample in row["samples"]:
                answer = extract(sample["text"], lambda t: after_answer_is(t) or last_number(t))
                total += 1
                agreed += (decide(canonical(row["answer"]), canonical(answer or "")) is True) is (
                    sample["correct"]
                )
    assert agreed / total > 0.98


def test_a_difference_and_its_negative_are_two_answers() -> None:
    for a, b in (("R - r", "r - R"), ("R - r", "0")):
        assert not equivalent_sync(a, b)
        assert not equivalent_sync(b, a)
    assert equivalent_sync("5 cup", "5")
    assert equivalent_sync("5 cups", "5 cup")
    assert not equivalent_sync("5 cups", "5 pints")
