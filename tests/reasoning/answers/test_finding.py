"""Answers as models state them, and texts that state none: a false read is worse than no read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.answers import extract, parts
from reasoning.answers.choice import choice
from reasoning.answers.exact import exact
from reasoning.answers.grading import equivalent_sync
from reasoning.answers.kind import Answers
from reasoning.answers.letters import lettered
from reasoning.answers.marked import last_marked, may_mark
from reasoning.answers.math import math
from reasoning.answers.number import number

MARKED = math(None, {})
FORMULA = math(None, {}, fallback="formula")
STATED = math(None, {}, fallback="stated")
LAST = math(None, {}, fallback="last_number")
NUMBER = number(None, {})
OPTIONS = ["Rome", "Paris", "the mitral valve", "12 cm", "none of the above"]
CHOICE = choice(None, {"options": OPTIONS})
LETTER = choice(None, {})


def test_thousands_with_blanks_are_one_number() -> None:
    finds((LAST, NUMBER), "There are 12 000 people.", "12000")
    finds((LAST, NUMBER), "That makes 3 450 000 in all.", "3450000")
    finds((LAST, NUMBER), "In 2012 300 came.", "300")


def test_a_question_states_no_answer() -> None:
    finds((STATED, LAST), "Is it so that the answer is 6? No. It is 7.", "7")


def finds(kinds: tuple[Answers, ...], said: str, answer: str) -> None:
    for kind in kinds:
        found = kind.find(said, True)
        assert found is not None, kind
        assert equivalent_sync(answer, found.text), (kind, found)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Therefore, the answer is 72, which is the total number of clips.", "72"),
        ("Therefore, the answer is 12, since there are 3 of them in each box.", "12"),
        ("The answer is 15 because 3 times 5 is 15 and 2 is left out.", "15"),
        ("So the final answer is 20%, as 100 is the whole.", "20"),
        ("The answer is 18 (three groups of 6).", "18"),
        ("The answer is 18 — that is 3 groups of 6.", "18"),
        ("The answer is 18; each of the 3 gets 6.", "18"),
        ("The answer is $18$, where 3 is the number of boxes.", "18"),
        ("Thus the answer is x = 7, making y = 3.", "7"),
        (r"The answer is \frac{1}{2}, since heads and tails are equally likely.", "1/2"),
        ("The answer is approximately 3.14, rounded to 2 decimals.", "3.14"),
        ("The answer is 5 meters, not 6 meters.", "5"),
        ("The answer is 7 and not 8.", "7"),
        ("The answer is 7, and not 8.", "7"),
        ("The answer is 7 rather than 8.", "7"),
        ("If the answer is 5, then 10 fits, which it does not. The answer is 8.", "8"),
        ("The answer is 8. If the answer is 5, then nothing fits.", "8"),
        ("The answer is 42, or forty-two.", "42"),
        ("The answer to this problem, then, is 42.", "42"),
        ("Hence the answer should be 42.", "42"),
        ("Answer: the largest is 34.", "34"),
        ("The answer is the largest, which is 34.", "34"),
        ("The answer is the value of $x$, namely $4$.", "4"),
        ("The answer is that there are 12 apples since 3 groups have 4.", "12 apples"),
        ("The answer is Evelyn, who is the tallest of the 3.", "Evelyn"),
        ("The answer is east because the sun rises there.", "east"),
        ("Let me check the answer: 12. The answer is correct.", "12"),
        ("The answer is D, because A, B and C are all wrong.", "D"),
        ("The answer is 42!", "42"),
        ("The answer is 10^6, i.e. a million.", "10^6"),
        ("**Final Answer:** 1.25 (or 5/4)", "1.25"),
        ("The answer is 12 (mod 17).", "12 (mod 17)"),
        ("The answer is (a, b) = (1, 2), as claimed.", "(1,2)"),
        ("The answer is not 5, it is 6. The answer is 6.", "6"),
        ("The answer is 6.\n\n(The answer is not 5.)", "6"),
        ("The answer is $6$.\n\nNote: in the book, the answer is given in cm.", "6"),
        ("Answer: 42\nConfidence: 95%", "42"),
        ('```json\n{"answer": "42", "reason": "3*14"}\n```', "42"),
        (r"\[\text{The answer is } 42.\]", "42"),
        ("The answer is 42<|im_end|>", "42"),
        ("Therefore, the value of $x$ is 5.", "5"),
        ("So $n=5$, where $n$ is the number.", "5"),
        ("Thus there are $7$ values of $n$.", "7"),
        ("The answer is 3 ft. 2 in.", "3 ft 2 in"),
        ("The answer is 0.333...", "1/3"),
    ],
)
def test_reasons_and_remarks_are_no_part_of_an_answer(said: str, answer: str) -> None:
    finds((FORMULA, STATED), said, answer)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("The answer is $2$, $3$, and $5$.", "2,3,5"),
        (r"The answer is \(2\), \(3\) and \(5\).", "2,3,5"),
        ("The answers are 2, 3, and 5.", "2,3,5"),
        ("The answer is $(1,2)$ or $(2,1)$.", "(1,2),(2,1)"),
        ("The answer is $-1$ or $3$, as both satisfy the equation.", "-1,3"),
        ("The answer is $x = 1$, $y = 2$, $z = 3$.", "x=1,y=2,z=3"),
        ("The answer is 2 or 3.", "2,3"),
    ],
)
def test_formulas_in_a_row_are_one_list(said: str, answer: str) -> None:
    finds((FORMULA, STATED), said, answer)


@pytest.mark.parametrize(
    "said",
    [
        "**Answer**: **7**", "**Answer:** 7", "**Answer: 7**", "*Answer:* 7", "__Answer__: 7",
        "### Answer: 7", "### Answer\n\n7", "## Final Answer\n\n**7**",
        "**Final Answer**\n\nThe number of ways is:\n\\[\n7\n\\]", "Final Answer:\n7",
        "**Answer:**\n\n- 7", "Answer — 7", "> **Answer:** 7", "Answer = 7", "Final answer: 7 ✅",
        r"\textbf{Answer:} $7$", r"\textbf{Answer: 7}", "**The answer is 7.**", "Ans: 7",
        "The answer is **7**, which is odd.", "The answer is <b>7</b>.", "答案：7", "答案是 7。",
        "Final Answer: The final answer is $7$. I hope it is correct.", "**Answer:** 7 apples",
        "Answer: $7$\n\nExplanation: 3+4=7, see 5.", "Answer:\n\n$$\n7\n$$",
        "**Final Answer**: $x=7$, because $2x=14$.",
    ],
)  # fmt: skip
def test_emphasis_and_headings_around_the_word_answer(said: str) -> None:
    finds((FORMULA, STATED), said, "7")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("The shirts cost $15 each, so three cost $45.", "45"),
        ("So he pays $5 x 4 = $20.", "20"),
        ("She had $50. After buying the book for $12 she has $38 left.", "38"),
        ("The change is $20 - $13.75 = $6.25.", "6.25"),
        ("The total is $1,234.50.", "1234.5"),
        ("The answer is $45, because 3 shirts cost $15 each.", "45"),
        ("With $x=3$ shirts at $15 each, he pays $45.", "45"),
        (r"It is \$45.", "45"),
        ("Her account shows -$5.", "-5"),
        ("It shows −$1,200.50 now.", "-1200.5"),
        ("It shows $-5.", "-5"),
    ],
)
def test_amounts_of_money_are_no_formulas(said: str, answer: str) -> None:
    finds((STATED, LAST, NUMBER), said, answer)


def test_an_amount_of_money_stands_for_a_formula_where_there_is_none_behind_it() -> None:
    finds((FORMULA,), "The change is $20 - $13.75 = $6.25.", "6.25")
    finds((FORMULA,), "It costs $5, and therefore $x = 12$.", "12")
    finds((FORMULA,), "The sum is $ 12 $.", "12")


def test_a_last_line_that_concludes_has_the_number() -> None:
    finds((STATED,), "Let $x$ be the price.\n\nTherefore, Janet makes 18 dollars.", "18")
    finds((STATED,), r"We get $x=\frac{1}{2}$." + "\n\nThis completes step 3.", "1/2")


@pytest.mark.parametrize(
    "said",
    ["The answer is", "Answer:", "The answer is as follows.", "The answer is not 5.",
     "The answer must be an integer.", "I am not sure what the answer is, but 5 is near."],
)  # fmt: skip
def test_a_phrase_that_says_nothing(said: str) -> None:
    assert FORMULA.find(said, True) is None


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("The temperature is −3.", "-3"),
        ("The temperature is –3 degrees.", "-3"),
        ("It fell to minus 3 degrees.", "-3"),
        ("The result is negative 12.", "-12"),
        ("It is on pages 3-7.", "7"),
        ("It is on pages 3–7.", "7"),
        ("10-3=7, so 7", "7"),
        ("It takes 2 1/2 hours.", "5/2"),
        ("It takes 1 and 1/2 hours.", "3/2"),
        ("It takes 2 and a half hours.", "5/2"),
        ("The two numbers are 3 and 1/2.", "1/2"),
        ("They sold 1.5 million.", "1500000"),
        ("She ran 11 5/6 miles.", "71/6"),
        ("It takes 2½ hours.", "5/2"),
        ("In 2020, 1/2 of them left.", "1/2"),
        (r"It is $-2\frac{1}{2}$.", "-5/2"),
        (r"So it is $-\frac{37}{5}$.", "-37/5"),
        ("The date is 11/28/2026.", "2026"),
        ("about 6.02 × 10^3 atoms", "6020"),
        ("about 6.02 × 10²", "602"),
        (r"about $1.5 \times 10^{-3}$ m", "3/2000"),
        ("about 6.02e3 atoms", "6020"),
        ("It is 1{,}000.", "1000"),
        ("It weighs 3 kg of CO2.", "3"),
        ("We have x_1 = 4 in x_2.", "4"),
        ("The distance is $3\\sqrt{2}$.", None),
        ("It is 5 + 2√3.", None),
        ("x = 2^10", None),
        ("nothing", None),
    ],
)
def test_numbers_in_prose_are_taken_whole(said: str, value: str | None) -> None:
    found = NUMBER.find(said, True)
    assert (found and found.key) == value


@pytest.mark.parametrize(
    "said",
    [
        r"\boxed{E: A risk score}", r"\boxed{\text{E: the mitral valve}}", r"\boxed{(E)}",
        r"\boxed{\textbf{(E) } 12}", r"\boxed{\textbf{(E)}\ 12}", r"\boxed{E) 12}",
        r"\boxed{E. 12}",
        "The answer is (E) none of the above.", "The answer is option E.",
        "The answer is E. The others are wrong.", "The correct answer is option (E): none of it.",
        "<answer>(E) no</answer>", "Answer: **E) None**", r"\boxed{(E) x = 5}",
        r"\boxed{E (none of them)}", r"\boxed{\text{E - none of them}}",
    ],
)  # fmt: skip
def test_the_letter_of_an_option_stands_for_it(said: str) -> None:
    for kind in (STATED, LETTER):
        found = kind.find(said, True)
        assert found is not None
        assert found.key == "E"


@pytest.mark.parametrize(
    "text",
    ["(A) and (C)", r"A \cup B", "(A, B)", "A: (2,3)", "(A)(B)", "E", "A big dog", "(a) 3, (b) 4",
     "A: 5, B: 6", "E = mc^2", "A - I", "B - 2A"],
)  # fmt: skip
def test_what_does_something_with_letters_stays_whole(text: str) -> None:
    assert lettered(text) == text


@pytest.mark.parametrize(
    "said",
    [
        "The answer is B, as the others are wrong.", "So B is the correct answer.", "I choose B.",
        "It must be (B), not (A).", "The answer is clearly B!", "I would say B.",
        "B. Paris\n\nParis has been the capital since 987.", "B\n\nExplanation: A is in Italy.",
        "Option A is incorrect. Option C is wrong too. So it must be B.",
        "The answer is B. Option A is wrong because Rome is in Italy.",
        "(A) Rome is in Italy. (C) is anatomy. (D) is a length. So only (B) remains.",
        "**Answer: B) Paris**\n\nParis is the capital; Rome is in Italy.", "<answer>Paris</answer>",
        "Correct answer: **(B)**\n\nWhy the others fail:\n- **(A)** no\n- **(C)** no",
        "Let's look at each option:\nA) no\nB) yes\nC) no\n\nTherefore, B is correct.", "故选B",
        '{"reason": "A is in Italy", "answer": "B"}', "So only C fits not. Therefore: B",
        "### Answer\nB", "**Answer**\n\n(B) Paris", "The answer is not A. It is B.",
    ],
)  # fmt: skip
def test_options_are_found(said: str) -> None:
    found = CHOICE.find(said, True)
    assert found is not None
    assert (found.text, found.key) == ("B", "paris")


@pytest.mark.parametrize(
    "said",
    ["Both A and B look plausible.", "I am not sure.", "The options (A) and (C) are cities.",
     "A. Rome is wrong.\nB. Paris is right.\nC. is anatomy.", "The answer cannot be determined.",
     "Answer: B and C", "Let's look at each option: A) no B) yes"],
)  # fmt: skip
def test_where_no_option_is_settled_on_there_is_none(said: str) -> None:
    assert CHOICE.find(said, True) is None


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (r"<answer>\frac{3}{4}</answer>", r"\frac{3}{4}"),
        ("<answer>\n42\n</answer>", "42"),
        (r"<answer>\boxed{9}</answer>", "9"),
        (r"I get \boxed{8} first. <answer>9</answer>", "9"),
        ("Put it between <answer></answer>. <answer>7</answer>", "7"),
        ("<answer>Answer: 7</answer>", "7"),
        ("<answer>7", "7"),
        (r"Write \boxed{answer} at the end. So \boxed{5}.", "5"),
        (r"\boxed{5}, as in \boxed{...}", "5"),
        ("\x08oxed{5}", "5"),
        ("#### Answer: 42", "42"),
        ("#### 42\n\n#### Verification\n\nIt holds.", "42"),
    ],
)
def test_marks(said: str, answer: str) -> None:
    assert extract(said) == answer


def test_tags_around_a_whole_solution_hold_what_it_says() -> None:
    finds((STATED,), "<answer>\nFirst 3*3=9.\n\nSo the answer is 9.\n</answer>", "9")


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "line", ["Case 2: $k<0$", "Applying the formula", "Setting up", "Step 1", "Summary"]
)
def test_a_heading_is_no_answer(line: str, finished: bool) -> None:
    assert extract(f"First.\n\n#### {line}\n\nThen", finished=finished) is None
    assert extract(f"#### {line}", finished=False) is None


MARKS = [
    ("<think>", "</think>"),
    ("<think>\n", "\n</think>\n\n"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<thinking>", "</thinking>"),
    ("<Thought>", "</Thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysis", "assistantfinal"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought\n", "<channel|>"),
]


@pytest.mark.parametrize(("start", "end"), MARKS, ids=[end.strip() for _, end in MARKS])
def test_thoughts_between_any_marks_are_no_answer(start: str, end: str) -> None:
    guess = rf"{start}Maybe \boxed{{17}}? No."
    finds((FORMULA, STATED, LAST, NUMBER), f"{guess}{end}The answer is 89.", "89")
    finds((MARKED, FORMULA), rf"{guess}{end}So \boxed{{89}}.", "89")
    assert MARKED.find(f"{guess}{end}The answer is 89.", True) is None
    for kind in (MARKED, STATED, LETTER):
        assert kind.find(guess, False) is None


def test_what_is_said_between_thoughts() -> None:
    assert (
        extract(r"<think>\boxed{1}</think>So \boxed{2}. <think>or \boxed{3}", finished=False) == "2"
    )
    assert extract(r"<think>so it is \boxed{3}") == "3"  # the model ended there
    channels = (
        r"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>"
        r"\boxed{4}<|end|><|start|>assistant<|channel|>final<|message|>\boxed{5}<|return|>"
    )
    assert parts(channels)[0] == r"\boxed{5}"


@pytest.mark.parametrize(
    "said",
    [
        "6*3 = 18\n#### 18\n\nQuestion: 4 cars with 10 seats?\nAnswer: 4*10=40\n#### 40",
        "6*3 = 18. The answer is 18.\n\nQ: 4 cars with 10 seats?\nA: The answer is 40.",
        "18\n\nQuestion: 4 cars with 10 seats?\nAnswer: 40",
        "So $\\boxed{18}$.\n\nProblem: Find 4*10.\nSolution: $\\boxed{40}$",
        "Question: What is 3*6?\nAnswer: 18\n\nQuestion: What is 4*10?\nAnswer: 40",
        "**Problem:** What is 3*6?\n\nThe answer is 18.",
        "The answer is 18.<|endoftext|>Human: what is 4*10?\n\nAssistant: The answer is 40.",
        "The answer is 18.\n\nHuman: what is 4*10?\n\nAssistant: The answer is 40.",
        "<|start_header_id|>assistant<|end_header_id|>\n\nThe answer is 18.<|eot_id|>",
    ],
)
def test_a_base_model_that_goes_on_with_questions_of_its_own(said: str) -> None:
    finds((STATED, LAST, NUMBER), said, "18")


def test_words_are_read_as_words() -> None:
    kind = exact(None, {})
    for said, answer in (
        ("**Answer**: east", "east"),
        ("**Final Answer**\n\nEvelyn", "Evelyn"),
        ("The answer is J. K. Rowling, who wrote it.", "J. K. Rowling"),
        ("Answer: `Paris`", "Paris"),
        ("Answer: the Eiffel Tower, which is in Paris.", "the Eiffel Tower"),
    ):
        found = kind.find(said, True)
        assert found is not None
        assert found.text == answer


# ---------------------------------------------------------------------- whatever stands there

FRAGMENTS = st.sampled_from(
    [r"\boxed{", "}", "{", "####", "**", "$", "answer is", "Answer:", "(B)", "A", "<think>",
     "</think>", "<|channel|>final<|message|>", "analysis", "<answer>", "</answer>", "\n", "Q:",
     " ", ",", "which is", "1", "/", "-", "½", "10", "^", "²", "×", r"\frac{", r"\sqrt", "1,000",
     ":", "is", "\x00", "\ud800", "<|endoftext|>", "Question:", "["]
)  # fmt: skip
MARKS = st.sampled_from(
    ["\x08oxed{1}", "\x0cbox{2}", r"\boxed 3", r"\fbox{4}", "#### 5", "<answer>6"]
)
NASTY = st.one_of(st.text(max_size=80), st.lists(FRAGMENTS, max_size=20).map("".join))


@settings(max_examples=150, deadline=None)
@given(NASTY, st.booleans())
def test_reading_raises_on_no_text(said: str, finished: bool) -> None:
    for kind in (MARKED, FORMULA, STATED, LAST, NUMBER, CHOICE, LETTER):
        kind.find(said, finished)
    assert all(isinstance(part, str) for part in parts(said, finished))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(FRAGMENTS, MARKS), max_size=8).map("".join), st.booleans())
def test_what_has_no_sign_of_a_mark_marks_nothing(said: str, finished: bool) -> None:
    if last_marked(said, finished) is not None:
        assert may_mark(said)


@settings(max_examples=100, deadline=None)
@given(st.integers(-9999, 9999), st.sampled_from(["", " cm", "%", " apples"]), NASTY)
def test_a_boxed_answer_behind_the_thoughts_is_found_whatever_was_thought(
    value: int, unit: str, thought: str
) -> None:
    thought = thought.replace("<|endoftext|>", "").replace("final", "")
    found = STATED.find(rf"<think>{thought}</think> Thus \boxed{{{value}{unit}}}.", True)
    assert found is not None
    assert found.text == f"{value}{unit}"


@pytest.mark.parametrize(
    "unit",
    ["{", "}", "$", "answer is ", "Question: 1\n", "<think>", "<answer>", "1/", "10^", "####\n",
     "- ", "**", "<|", "answer:\n", "1 ", "A) "],
)  # fmt: skip
def test_a_hundred_thousand_characters(unit: str) -> None:
    """Quadratic work would take minutes here."""
    said = unit * (100_000 // len(unit))
    for kind in (STATED, LAST, LETTER):
        kind.find(said, True)
        kind.find(f"<think>{said}", False)
