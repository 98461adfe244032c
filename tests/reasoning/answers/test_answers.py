"""Extraction and canonical form: pure string work."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.answers import (
    MAX_LENGTH,
    Answer,
    after_answer_is,
    canonical,
    extract,
    last_math,
    last_number,
)

WORDS = (
    r"\boxed{ \boxed \fbox{ { } \{ \} #### </think> answer is Answer: $ $$ \( \) \[ \] \frac"
    r" \sqrt \text{ \left( \right) \pm \pi ^ _ , . - + 1 23 000 1,000 = x and or \, \! \\ % ° ½"
    r" ٣ ² ： \in \cdot \begin{pmatrix} \end{pmatrix} & ( ) cm \circ"
)
FRAGMENTS = st.sampled_from([*WORDS.split(), " ", "\n", "\x00", "\ud800"])
TEXTS = st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=30).map("".join))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} no, \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed 5 is it", "5"),
        (r"$\boxed 5$.", "5"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{3} then \boxed{\frac{1", "3"),
        (r"\boxed{}", None),
        (r"\boxed{ } and \boxed{6}", "6"),
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"$\boxed{1}$, $\boxed{2}$ or $\boxed{3}$", "1, 2, 3"),
        ("\\boxed{1}\n\n\\boxed{2}", "2"),
        ("\\boxed{2}, \\boxed{2}", "2"),
        ("6 * 7 = 42\n#### 42\nQ: next", "42"),
        ("#### 1\n#### 2", "2"),
        ("#### Step 3: add\nso 5", None),
        (r"#### 3 \boxed{4}", "4"),
        (r"<think>\boxed{3}</think>", "3"),
        (r"<think>\boxed{3}</think> Thus \boxed{4}", "4"),
        ("", None),
        ("no answer", None),
    ],
)
def test_extract(text: str, answer: str | None) -> None:
    assert extract(text) == answer


def test_the_fallback_is_asked_last_and_after_the_thought_first() -> None:
    assert extract("it is 7", last_number) == "7"
    assert extract(r"it is 7 \boxed{8}", last_number) == "8"
    assert extract(r"\boxed{8}</think> it is 7", last_number) == "7"
    assert extract("5</think> done", last_number) == "5"
    assert extract("none", lambda _: "  ") is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7-3", "3"),
        ("it is -3.", "-3"),
        ("1,234.50!", "1,234.50"),
        ("1/2", "1/2"),
        ("costs $.50", ".50"),
        ("x2 of 3 cats", "3"),
        ("nothing", None),
    ],
)
def test_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == number


def test_after_answer_is() -> None:
    minerva = r"Final Answer: The final answer is $\frac{1}{2}$. I hope it is correct."
    assert after_answer_is(minerva) == r"$\frac{1}{2}$"
    assert after_answer_is("The answer is 5.5. I hope") == "5.5"
    assert after_answer_is("**Final answer:** 12 cm\nmore") == "12 cm"
    assert after_answer_is("The answer is 1. No: the answer is 2") == "2"
    assert after_answer_is("Answer: the largest is 34.") == "34"
    assert after_answer_is("nothing") is None


def test_last_math() -> None:
    assert last_math(r"$1$ and \(x+1\)") == "x+1"
    assert last_math(r"\[ 2 \]") == " 2 "
    assert last_math("none") is None


@pytest.mark.parametrize(
    "same",
    [
        [
            "5",
            "5.",
            "5.0",
            " 5 ",
            "$5$",
            r"\(5\)",
            "+5",
            "05",
            r"\boxed{5}",
            r"\text{5}",
            "٥",
            "５",
        ],
        ["0", "-0", "0.0", "-.0"],
        ["0.5", ".50", "0.500"],
        ["1000", "1,000", "1{,}000", r"1,\!000", "1 000", r"1\,000"],
        ["1, 234", "1,  234"],
        [r"\frac{1}{2}", r"\frac12", r"\dfrac{1}{2}", r"\tfrac 1 2", r"\frac1{2}", r"\\frac{1}{2}"],
        [r"\sqrt{3}", r"\sqrt3", r"\sqrt 3", "√3", "sqrt(3)"],
        [r"\text{(C)}", "(C)", "C", r"\boxed{\text{C}}", r"\textbf{(C)}"],
        [r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"],
        [r"4210_{7}", "4210_7"],
        ["90°", r"90^\circ", r"90^{\circ}", r"90\degree"],
        [r"10\%", "10%", "10 percent"],
        [r"\text{Evelyn}", "evelyn", "Evelyn."],
        [r"x \leq 2", r"x\le 2", "x ≤ 2", "x <= 2"],
        [r"1 \pm \sqrt{19}", "1 ± √{19}", r"1+-\sqrt{19}"],
        ["2½", "2 1/2"],
        [r"\$5", "$5"],
        ["x²", "x^2", "x^{2}"],
        [r"6 \text{ and } 8", "6, 8", "6 and 8"],
        ["（1，2）", "(1, 2)"],
    ],
)
def test_one_canonical_form(same: list[str]) -> None:
    assert len({canonical(text) for text in same}) == 1, [canonical(text) for text in same]


@pytest.mark.parametrize(
    "different",
    [
        [r"3\sqrt{13}", "313", r"\sqrt{313}"],
        [r"\frac{1}{3}", "13", "1/3x", r"\frac{1}{3}x", r"\frac{1}{3x}"],
        ["2^{10}", "210", "2^1 0"],
        ["2 1/2", "21/2"],
        ["1,000", "1, 000", "1,00"],
        ["(1,2)", "[1,2]", "(1,2]", r"\{1,2\}", "1,2"],
        ["12 cm", "12 m", "12"],
        ["2516_8", "2516_9", "2516", "25168"],
        ["5", "-5", "5²", "52"],
        [r"\cot x", r"\cot y"],
        ["x", "X"],
        [r"\begin{pmatrix} 1 \\ -2 \end{pmatrix}", r"\begin{pmatrix} 1 & -2 \end{pmatrix}"],
        ["东", "西"],
    ],
)
def test_different_answers_stay_different(different: list[str]) -> None:
    assert len({canonical(text) for text in different}) == len(different)


@settings(deadline=None)
@given(TEXTS)
def test_nothing_raises(text: str) -> None:
    for fallback in (None, last_number, after_answer_is, last_math):
        answer = extract(text, fallback)
        assert answer is None or answer.strip()
    assert isinstance(canonical(text), str)


@settings(deadline=None)
@given(TEXTS)
def test_canonical_is_idempotent(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_canonical_keeps_the_value_of_numbers(value: object) -> None:
    assert float(canonical(f"{value:f}")) == float(str(value))


@pytest.mark.parametrize(
    "unit", ["\\boxed{", "{", "\\boxed{5} and ", "$", "-1", "answer: ", "#", "1,"]
)
def test_a_million_characters(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    extract(text, lambda t: after_answer_is(t) or last_math(t) or last_number(t))
    canonical(text)
    assert time.process_time() - start < 5  # quadratic work would take minutes


def test_long_answers_are_only_stripped() -> None:
    assert canonical(" 1 +" * MAX_LENGTH) == ("1 +" + " 1 +" * (MAX_LENGTH - 1))


def test_answer() -> None:
    assert Answer.of("1,000.") == Answer("1,000.", "1000")


def test_importing_is_cheap() -> None:
    code = (
        "import sys, reasoning.answers as _; print(*(m in sys.modules for m in ('sympy', 'torch')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    "line", ["Case 2: $k<0$", "**Case 2:** $k<0$", "1. Find $x$", "Summary", "Part b. sum"]
)
def test_a_heading_of_markdown_is_no_answer(line: str) -> None:
    assert extract(f"First.\n\n#### {line}\n\nThen") is None


@pytest.mark.parametrize("line", ["42", "12 apples", "x = 3", "(a) 3, (b) 4", "3.5", "Ann", "$5"])
def test_what_stands_behind_hashes_is_one(line: str) -> None:
    assert extract(f"#### {line}") == line


def test_case_is_folded_in_words_only() -> None:
    assert canonical("Not Even") == canonical("not even")
    assert canonical("R - r") != canonical("r - R")
    assert canonical("AB") != canonical("ab")
