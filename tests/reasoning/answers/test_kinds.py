"""Every kind of answers under one contract, and what each finds, compares and grades."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.answers import Answer
from reasoning.answers.choice import MultipleChoice, choice
from reasoning.answers.code import Code, code
from reasoning.answers.exact import exact
from reasoning.answers.kind import Answers, refuse_votes
from reasoning.answers.math import Math, math
from reasoning.answers.number import number
from reasoning.answers.plain import plain
from reasoning.answers.text import Text, text
from reasoning.backends.scripted import Scripted
from reasoning.errors import RecipeError
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.session import solve

ADD = "```python\ndef add(a, b):\n    return a + b\n```"
ADD_TOO = "Or:\n```py\nadd = lambda a, b: b + a\n```"
WRONG = "```python\ndef add(a, b):\n    return a * b\n```"
SPINS = "```python\nwhile True: pass\n```"
OPTIONS = {"options": ["10", "12", "14", "a cat"]}
CODE_ROW = {"tests": ["assert add(1, 2) == 3"], "inputs": [[1, 2], [3, 4]], "entry_point": "add"}


def grader(said: str, gold: str | None, row: Mapping[str, Any]) -> bool:
    return said.startswith(str(gold)) and row["long"] is True


class Case(NamedTuple):
    """A kind, finished texts with a right answer, the same answer and a wrong one, a text without
    an answer, and an unfinished one in which the right answer is marked."""

    made: Answers
    right: str
    same: str
    wrong: str
    none: str
    marked: str | None


CASES = {
    "math": Case(
        math("1/2", {}, fallback="last_number"), "So 1/2", r"\boxed{0.5}", "3", "no", r"\boxed{.5} "
    ),
    "choice": Case(choice("B", OPTIONS), "It is (B).", "**12**", "A", "no", r"\boxed{B} since"),
    "code": Case(code(None, CODE_ROW), ADD, ADD_TOO, WRONG, "no", f"{ADD}\nIt"),
    "exact": Case(exact("x-1", {}), r"\boxed{x-1}", "The answer is x-1.", "#### 1", "",
                  "#### x-1"),
    "number": Case(number("2.5", {}, tolerance=0.1), "2.5 cm", r"\boxed{2.45}", "3", "no",
                   "#### 2.5"),
    "plain": Case(plain("42", {}), "It is **42**.", "42", "It is 41.", " ", r"\boxed{42} and"),
    "text": Case(Text("Dear", {"long": True}, grader), "Dear Bob", "Dear Bob ", "Hi", " ", None),
}  # fmt: skip


def found(kind: Answers, said: str, finished: bool = True) -> Answer:
    answer = kind.find(said, finished)
    assert answer is not None, said
    return answer


# --------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", CASES)
def test_finding_is_pure_and_unfinished_texts_answer_only_where_marked(name: str) -> None:
    kind, *texts, none, marked = CASES[name]
    for said in texts:
        assert found(kind, said) == found(kind, said) == found(kind, f"<think>x</think>{said}")
    assert kind.find(none, True) is None
    for said in ("", "I think", "It is 4 and", "the answer is 5"):
        assert kind.find(said, False) is None
    if marked is not None:
        assert asyncio.run(kind.grade(kind.find(marked, False))) is True


@pytest.mark.parametrize("name", CASES)
def test_sameness_is_symmetric_and_groups_depend_on_the_order_only(name: str) -> None:
    kind, right, same, wrong, *_ = CASES[name]

    async def check() -> None:
        a, b, c = (found(kind, said) for said in (right, same, wrong))
        assert await kind.same(a, a)
        assert await kind.same(a, b)
        assert await kind.same(b, a)
        assert not await kind.same(a, c)
        assert not await kind.same(c, a)
        assert await kind.group([a, c, b, c]) == [0, 1, 0, 1]
        assert await kind.group([c, b, a]) == [0, 1, 1]
        assert await kind.group([]) == []

    asyncio.run(check())


@pytest.mark.parametrize("name", CASES)
def test_grading(name: str) -> None:
    kind, right, same, wrong, *_ = CASES[name]

    async def check() -> list[bool | None]:
        return [await kind.grade(found(kind, said)) for said in (right, same, wrong)]

    assert kind.graded
    assert asyncio.run(check()) == [True, True, False]
    assert asyncio.run(kind.grade(None)) is False


@pytest.mark.parametrize(
    "kind", [math(None, {}), choice(None, OPTIONS), code(None, {}), exact(None, {}),
             number(None, {}), plain(None, {}), text(None, {})],
    ids=list(CASES),
)  # fmt: skip
def test_where_nothing_says_what_is_right_nothing_is_graded(kind: Answers) -> None:
    assert not kind.graded
    for answer in (None, Answer("1", "1")):
        assert asyncio.run(kind.grade(answer)) is None


def test_votes_on_free_text_are_refused() -> None:
    essay = Problem("essay", "Write.", answers=text(None, {}))
    refuse_votes("aggregator majority", [Problem("p", "?")])
    with pytest.raises(RecipeError, match=r"majority counts equal.*kind text \(problem 'essay'\)"):
        refuse_votes("aggregator majority", [Problem("p", "?"), essay])


FRAGMENTS = st.sampled_from(
    [r"\boxed{", "}", "{", "####", "**", "$", "answer is", "(B)", "A", "```python", "```",
     "</think>", "1", "1/0", "9e9999", "\n", " ", "is", "^", "\x00", "\ud800", "option",
     "12", r"\frac"]
)  # fmt: skip
NASTY = st.one_of(st.text(max_size=100), st.lists(FRAGMENTS, max_size=20).map(" ".join))


@settings(max_examples=100, deadline=None)
@given(NASTY)
def test_finding_raises_on_no_text(said: str) -> None:
    for case in CASES.values():
        case.made.find(said, True)
        case.made.find(said, False)


@pytest.mark.parametrize("name", CASES)
def test_finding_takes_linear_time(name: str) -> None:
    """An answer too long to be read is none, or stands as it is; quadratic work would hang."""
    pieces = (
        "1",
        "1 ",
        "a",
        " ",
        "**",
        "answer is ",
        "option (A) ",
        "#### ",
        "\n",
        "```",
        "}",
        "^",
    )
    for piece in pieces:
        CASES[name].made.find(piece * (100_000 // len(piece)), True)
        CASES[name].made.find(f"\\boxed{{{piece * 50_000}}}", True)


# ------------------------------------------------------------------------------- mathematics


@pytest.mark.parametrize(
    "said",
    [r"\frac{1}{}^^", r"\frac{}{2}", r"\sqrt{}", "x^", "a^^2", "{1", "1}", "?", "...", "x_{}"],
)
def test_what_cannot_be_read_is_no_answer(said: str) -> None:
    assert Math().find(f"#### {said}", True) is None


@pytest.mark.parametrize(
    "said",
    [r"\frac{1}{2}", r"\frac12", r"\{1, 2\}", r"\{\}", r"\emptyset", "x^{2}", r"-\infty", "∅", "No",
     r"\left(3, \frac{\pi}{2}\right)", r"90^\circ", "f'(x)", r"\text{(B)}", "½", "x^{-1}"],
)  # fmt: skip
def test_what_can_be_read_is_one(said: str) -> None:
    assert found(Math(), f"\\boxed{{{said}}}").text == said


# --------------------------------------------------------------------------- multiple choice


@pytest.mark.parametrize(
    "said",
    [
        r"\boxed{(B) 12}", r"\boxed{\text{B}}", r"\boxed{b}", r"\boxed{B) 12}", "#### B", "**B**",
        "B", "(B)", "b.", "B. 12", "the answer is B", "The answer is B because 12 is even.",
        "So the answer is (B) 12.", "Answer: **B**", "I think **(B) 12** is right.", "It is 12.",
        "Thus option B is correct.", "(A) is wrong, so it is (B).", "The correct choice is B.",
        "The best answer is clearly option B, since", "First A.\n\nFinal answer: B", "12",
        r"\boxed{\frac{24}{2}}",
    ],
)  # fmt: skip
def test_an_option_by_any_of_its_names(said: str) -> None:
    assert found(choice("12", OPTIONS), said) == Answer("B", "12")


@pytest.mark.parametrize("said", ["", "none", "A and B", "E", r"\boxed{13}", "The answer is odd."])
def test_no_option(said: str) -> None:
    assert choice("B", OPTIONS).find(said, True) is None


def test_an_article_is_no_letter() -> None:
    for said in ("A cat", "The answer is a cat.", r"\boxed{\text{a cat}}"):
        assert found(choice("D", OPTIONS), said).text == "D"
    bare = choice("C", {})
    assert found(bare, "The answer is (C).").key == "C"
    assert bare.find("A dog barks.", True) is None


def test_options_in_any_shape() -> None:
    shapes: list[object] = [
        ["x", "y"], {"A": "x", "B": "y"}, {"text": ["x", "y"], "label": ["A", "B"]}, '["x", "y"]',
    ]  # fmt: skip
    for options in shapes:
        kind = choice("y", {"options": options})
        assert (kind.gold, kind.shows) == ("B", {"options": "(A) x\n(B) y"})
    numbered = choice("2", {"choices": {"text": ["x", "y"], "label": ["1", "2"]}})
    assert found(numbered, "The answer is 2.").key == "y"
    alike = choice("A", {"options": ["same", "same"]})
    assert found(alike, r"\boxed{A}").key == "A"


def test_answers_that_are_numbers_say_where_they_count_from() -> None:
    assert choice("1", OPTIONS, count_from=0).gold == "B"
    assert choice("1", OPTIONS, count_from=1).gold == "A"
    with pytest.raises(RecipeError, match=r"'1' is none of the options A, B, C, D.*count_from: 0"):
        choice("1", OPTIONS)
    with pytest.raises(RecipeError, match="no field 'possible' among 'options'"):
        choice("A", OPTIONS, options_field="possible")
    for bad in (["one"], "some", 3, [str(i) for i in range(27)]):
        with pytest.raises(RecipeError, match="no list of two or more"):
            choice("A", {"options": bad})


WORDS = st.lists(
    st.sampled_from(["red", "blue", "green", "12", "3.5", "x+1"]), min_size=2, unique=True
)


@settings(max_examples=50, deadline=None)
@given(WORDS, st.randoms(use_true_random=False), st.data())
def test_shuffled_options_agree(words: list[str], rng: Any, data: st.DataObject) -> None:
    right = data.draw(st.sampled_from(words))
    other = list(words)
    rng.shuffle(other)
    one, two = choice(right, {"options": words}), choice(right, {"options": other})
    assert isinstance(one, MultipleChoice)
    a, b = found(one, f"**{one.gold}**"), found(two, f"\\boxed{{({two.gold}) {right}}}")
    assert a.key == b.key
    assert found(one, right) == a
    assert asyncio.run(one.grade(a))


# ----------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("said", "value"),
    [("3", "3"), (r"\boxed{x = 2.50}", "5/2"), ("#### 1,000", "1000"), (r"\boxed{1/3}", "1/3"),
     (r"\boxed{\frac13 \approx 0.33}", "1/3"), (r"\boxed{5\text{ cm}}", "5"),
     (r"\boxed{50\%}", "50")],
)  # fmt: skip
def test_numbers_are_read(said: str, value: str) -> None:
    assert found(number(None, {}), said).key == value


def test_what_is_no_number() -> None:
    assert number(None, {}).find(r"\boxed{x+1}", True) is None
    with pytest.raises(RecipeError, match="'many' is no number"):
        number("many", {})


FLOATS = st.floats(-1e6, 1e6).map(lambda x: f"{x:.6f}")


@settings(max_examples=100, deadline=None)
@given(FLOATS, FLOATS, st.integers(0, 3), st.sampled_from([0.0, 0.5, 10.0]))
def test_numbers_compare_both_ways(a: str, b: str, decimals: int, tolerance: float) -> None:
    kind = number(a, {}, decimals=decimals, tolerance=tolerance)
    x, y = found(kind, a), found(kind, b)
    one, other = asyncio.run(kind.same(x, y)), asyncio.run(kind.same(y, x))
    assert one == other == asyncio.run(kind.grade(y))
    assert asyncio.run(kind.grade(x))
    if not tolerance:
        assert one == (x.key == y.key)


# ------------------------------------------------------------------------- programs and text


def test_programs_do_the_same_on_inputs() -> None:
    row = {"inputs": ["1 2", "3 4"]}
    texts = (
        "```\na, b = input().split()\nprint(int(a) + int(b))\n```",
        "```\nprint(sum(map(int, input().split())), end='  ')\n```",
        "```\nprint(3)\n```",
        "```\nraise ValueError\n```",
        "```\n1/0\n```",
    )

    async def check() -> None:
        kind = code(None, row)
        answers = [found(kind, said) for said in texts]
        assert await kind.group(answers) == [0, 0, 2, 3, 4]
        assert not await Code().same(answers[0], answers[1])

    asyncio.run(check())


def test_programs_that_do_not_end_are_wrong() -> None:
    kind = code(None, CODE_ROW, seconds=0.2)
    assert asyncio.run(kind.grade(found(kind, SPINS))) is False
    assert not asyncio.run(kind.same(found(kind, SPINS), found(kind, f"{SPINS}\n```\nx\n```")))


def test_a_check_of_humaneval_is_called() -> None:
    row = {"test": "def check(f):\n    assert f(1, 2) == 3\n", "entry_point": "add"}
    kind = code(None, row)
    assert asyncio.run(kind.grade(found(kind, ADD))) is True
    assert asyncio.run(kind.grade(found(kind, WRONG))) is False


def test_case_of_exact_answers() -> None:
    strict, lax = exact("Paris", {}), exact("Paris", {}, casefold=True)
    said = r"\boxed{\text{paris}}"
    assert asyncio.run(strict.grade(found(strict, said))) is False
    assert asyncio.run(lax.grade(found(lax, said))) is True
    assert asyncio.run(strict.grade(found(strict, "The answer is **Paris**."))) is True


def test_a_grader_is_named() -> None:
    assert text(None, {}, grader="shutil:copytree").graded
    for bad, message in (
        ("operator:nothing", r"grader 'operator:nothing' cannot be imported"),
        ("operator:eq", r"called as mine\(text, gold, row\)"),
        ("eq", "not named package.module:function"),
    ):
        with pytest.raises(RecipeError, match=message):
            text(None, {}, grader=bad)
    with names.trusting([]), pytest.raises(RecipeError, match="nobody has agreed to"):
        text(None, {}, grader="shutil:copytree")


# --------------------------------------------------------------------------- plain questions

MAIL = """Dear Bob,

thank you for the 3 apples of 12 May. Let us meet at 5 pm; it is **important**.

Best regards,
Ann Smith
Tel. 555-1234"""


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("42", "42"),
        ("It is **42**.", "42"),
        ("12 * 7 + 5 = **89**\n\nLet me know if you need more!", "89"),
        ("The capital of France is **Paris**.\n\nI hope this helps!", "Paris"),
        ("Take 5.\n\nLet me know if 7 suits you better.", None),
        ("The capital of France is Paris.", "Paris"),
        ("The capital of France is **Paris**.", "Paris"),
        (MAIL, MAIL),
        ("Let $x=3$.\n\nSo the total is 42 apples.", "42"),
        ("So $x = 3$.", "x = 3"),
        ("She has 3 and 4, so 7 in total.", "7"),
        ("It is raining.", "It is raining."),
        ("Paris was founded in 250 BC by the Parisii.", None),
        ("1. **Apples** are red\n2. **Pears** are green", None),
        ("The best are:\n\n- **Ann**: 5\n- **Bob**: 6", None),
        ("<think>5 or 6</think>\n\nYes", "Yes"),
        ("<think>5 or 6</think>", "<think>5 or 6</think>"),
        ("The answer is 5.", "5"),
        ("The answer is 89, since 84 + 5 = 89.", "89"),
        ("The result is −3.", "-3"),
        ("It takes 2 1/2 hours.", "2 1/2"),
        ("Paris<|im_end|>", "Paris"),
        ("[THINK]Rome?[/THINK]The capital of France is **Paris**.", "Paris"),
    ],
)
def test_plain_questions_are_answered(said: str, answer: str | None) -> None:
    assert found(plain(None, {}), said).text == (answer or said)


def test_sentences_are_not_compared_by_a_number_in_them() -> None:
    kind = plain(None, {})
    a, b = (
        found(kind, "It takes 7 days, they say, to go."),
        found(kind, "We saw 7 of the big cats."),
    )
    assert not asyncio.run(kind.same(a, b))
    assert asyncio.run(kind.same(found(kind, "It is 0.5"), found(kind, r"\boxed{1/2}")))


# ------------------------------------------------------------------------------- in a search


def test_the_program_that_passes_wins_and_is_graded() -> None:
    problem = Problem("p", "Add.", meta=CODE_ROW, answers=code(None, CODE_ROW))
    result = solve(
        problem,
        searcher="best_of_n",
        n=3,
        generator=Scripted([WRONG, ADD, WRONG]),
        verifier="python",
    )
    assert "a + b" in str(result.answer)
    assert asyncio.run(problem.answers.grade(result.candidates[1].answer)) is True


def test_what_cannot_be_read_does_not_win_a_vote() -> None:
    replies = [r"\boxed{\frac{1}{}^^}", r"\boxed{\frac{1}{}^^}", r"\boxed{5}"]
    result = solve("?", searcher="self_consistency", n=3, generator=Scripted(replies))
    assert result.answer == "5"
    result = solve(
        "?", searcher="self_consistency", n=2, generator=Scripted(["It is **42**.", "42"])
    )
    assert (result.answer, [c.answer and c.answer.key for c in result.candidates]) == (
        "42",
        ["42", "42"],
    )
