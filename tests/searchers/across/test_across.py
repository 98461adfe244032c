"""Notes of one run in the next: who is shown which, what is refused, and what each call costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning import solve
from reasoning.answers.choice import choice
from reasoning.answers.text import Text
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.errors import RecipeError
from reasoning.generate import Prompt
from reasoning.problem import Message, Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.across.behaviours import behaviours, listed
from searchers.across.handbook import handbook
from searchers.across.notes import Note, Notes, read
from searchers.across.sleep_time import sleep_time
from searchers.across.study import study
from searchers.variants.choice_shuffle import choice_shuffle
from searchers.variants.medprompt import medprompt

MODEL = random_tree(3, depth=5)


class Listener(Scripted):
    """Keeps what it is asked; says `replies` in turn, over and over."""

    def __init__(self, *replies: str) -> None:
        self.heard: list[list[str]] = []
        super().__init__(lambda prompt, seed: self.say(prompt, replies))

    def say(self, prompt: Prompt, replies: tuple[str, ...]) -> str:
        self.heard.append([m.content for m in prompt.messages])
        return replies[(len(self.heard) - 1) % len(replies)]


def run(searcher: Any, model: Scripted, problem: Problem, **params: Any) -> Search:
    budget = Budget(params.pop("limit", None), calls=params.pop("calls", None))
    s = Search(problem, model, budget=budget, models=params.pop("models", {}))
    asyncio.run(searcher(s, **params))
    return s


def answers(s: Search) -> list[str]:
    return [c.answer.text for c in s.candidates if c.answer]


def note(i: int, question: str, text: str, correct: bool | None = True) -> Note:
    return Note(
        id=f"t{i}", question=question, prompt=f"{question} Box it.", text=text, correct=correct
    )


# ------------------------------------------------------------------------------ the leak check

LONG = "Ann has three red apples and Bob has twice as many green pears as Ann has apples now"
ABOUT = Notes(
    notes=(
        note(1, LONG, "\\boxed{6}"),
        note(2, "What is the area of a square of side two", "\\boxed{4}"),
        note(3, "How many apples are left", "\\boxed{1}"),
    )
)


@pytest.mark.parametrize("asked", [LONG, f"  {LONG.upper()} ", "how many   apples are LEFT"])
def test_a_question_that_was_read_is_refused_by_name(asked: str) -> None:
    problem = Problem("p7", asked)
    with pytest.raises(RecipeError, match=r"gathered from 't[13]', in which problem 'p7' is asked"):
        ABOUT.refuse([Problem("p1", "Another?"), problem])
    for searcher in (handbook, medprompt):
        model = Listener("\\boxed{1}")
        with pytest.raises(RecipeError, match="'p7'"):
            run(searcher, model, problem, notes=ABOUT)
        assert model.calls == 0


def test_what_is_near_is_told_and_is_not_shown() -> None:
    near = Problem("p8", LONG.replace("three", "nine"))
    (told,) = ABOUT.refuse([near, Problem("p9", "What is pi?")])
    assert "'p8' and 't1'" in told
    assert "a pair of questions is near-identical" in told
    assert [n.id for n in ABOUT.shown_to(near)] == ["t2", "t3"]
    assert [n.id for n in ABOUT.nearest(near)] == ["t3", "t2"]
    assert ABOUT.refuse([Problem("p9", "How many pears are left")]) == []


def test_two_notes_about_one_question_are_both_left_out() -> None:
    twice = Notes(notes=(ABOUT.notes[0], ABOUT.notes[0].model_copy(update={"id": "t9"})))
    near = Problem("p", LONG.replace("three", "nine"))
    assert twice.nearest(near) == []
    assert "2 pairs of questions are" in twice.refuse([near])[0]
    with pytest.raises(RecipeError, match="'t1'"):
        twice.refuse([Problem("p", LONG)])


def test_notes_of_the_wrong_kind(tmp_path: Path) -> None:
    contexts = ABOUT.model_copy(update={"about": "contexts"})
    problem = Problem("p", "Q?", prompt="C. Q?", meta={"context": "C."})
    for searcher, notes, words in (
        (handbook, contexts, "notes about contexts"),
        (medprompt, contexts, "notes about contexts"),
        (sleep_time, ABOUT, "notes about questions"),
    ):
        with pytest.raises(RecipeError, match=words):
            run(searcher, Listener("x"), problem, notes=notes)
    file = tmp_path / "notes.json"
    with pytest.raises(ValueError, match=r"cannot be read: .*reasoning gather"):
        read(file)
    file.write_text("{}")
    assert read(file) == Notes()
    file.write_text('{"notes": [{"id": 3}]}')
    with pytest.raises(
        ValueError, match=r"holds no notes: notes\.0\.id: Input should be a valid str"
    ):
        read(str(file))
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="holds no notes"):
        read(str(file))


# ---------------------------------------------------------------------------------- behaviours

TOLD = (
    "Here they are:\n- behavior_halve: Halve first.\n* **Behaviour_check**: Check the sign.\nBye."
)


def test_a_solution_is_reflected_on_and_distilled() -> None:
    model, teacher = Listener("So \\boxed{7}"), Listener("It is long.", TOLD)
    s = run(behaviours, model, Problem("p", "q"), teacher="big", models={"big": teacher})
    assert (model.calls, teacher.calls, s.usage.calls) == (1, 2, 3)
    assert teacher.heard[0][:2] == ["q", "So \\boxed{7}"]
    assert teacher.heard[1][:4] == [*teacher.heard[0], "It is long."]
    best = min(s.candidates, key=lambda c: c.rank)
    assert best.node is not None
    assert best.node.text == (
        "behavior_halve: Halve first.\nbehaviour_check: Check the sign.\n\n\\boxed{7}"
    )
    assert answers(s) == ["7", "7"]


@pytest.mark.parametrize(("calls", "put"), [(0, 0), (1, 1), (2, 1), (3, 2)])
def test_one_call_short_the_solution_stands(calls: int, put: int) -> None:
    model = Listener("So \\boxed{7}", "Hm.", TOLD)
    s = run(behaviours, model, Problem("p", "q"), calls=calls)
    assert (s.usage.calls, len(answers(s))) == (calls, put)


def test_the_later_of_one_name_wins_and_thoughts_do_not_count() -> None:
    texts = [
        "<think>behavior_x: No.</think>behavior_a: One.",
        "behavior_b: Two.\nBEHAVIOR_A: Three.",
    ]
    assert listed(texts) == {"behavior_a": "Three.", "behavior_b": "Two."}
    assert listed(["no behaviours here: none"]) == {}


BOOK = Notes(
    notes=(
        note(1, "one", "behavior_area: For the area of a square, multiply.\n\\boxed{1}", False),
        note(2, "two", "behavior_sum: Add from the left.\nbehavior_apples: Count apples twice."),
        note(3, "three", "nothing of the kind"),
    )
)


def test_the_behaviours_that_suit_stand_before_the_question() -> None:
    model = Listener("\\boxed{4}")
    problem = Problem("p", "area of a square of apples", prompt="Solve: the area.")
    s = run(handbook, model, problem, notes=BOOK, k=2, n=3, ask="{behaviours}\n\n{question}")
    assert s.usage.calls == 3
    assert (
        model.heard
        == [
            [
                "behavior_area: For the area of a square, multiply.\n"
                "behavior_apples: Count apples twice.\n\nSolve: the area."
            ]
        ]
        * 3
    )
    assert answers(s) == ["4"] * 3


@pytest.mark.parametrize("params", [{"notes": BOOK, "k": 0}, {"notes": Notes(), "k": 4}])
def test_no_behaviours_are_self_consistency(params: dict[str, Any]) -> None:
    one = solve(MODEL.problem, searcher="handbook", n=3, generator=ToyGenerator(MODEL), **params)
    plain = solve(MODEL.problem, searcher="self_consistency", n=3, generator=ToyGenerator(MODEL))
    assert one.tree.to_jsonl() == plain.tree.to_jsonl()
    assert (one.answer, one.usage) == (plain.answer, plain.usage)


# ---------------------------------------------------------------------------------- sleep time


def test_a_context_is_studied_in_rounds_and_versions() -> None:
    model = Listener("abcdefgh", "<think>no</think> second ")
    problem = Problem("c", "A context.", answers=Text())
    s = run(study, model, problem, versions=1, rounds=2, characters=6)
    assert "A context." in model.heard[0][0]
    assert "(none)" in model.heard[0][0]
    assert "abcdef\n" in model.heard[1][0]
    assert "abcdefg" not in model.heard[1][0]
    assert answers(s) == ["second"]
    same = run(study, Listener("x"), problem, versions=3, rounds=2)
    assert (same.usage.calls, answers(same)) == (6, ["x"])


@pytest.mark.parametrize(("calls", "told"), [(0, []), (1, ["a"]), (3, ["b\n\nc"]), (4, ["b\n\nd"])])
def test_what_a_limit_leaves_of_a_study(calls: int, told: list[str]) -> None:
    """A version that is cut short keeps what it has."""
    script: Callable[[Prompt, int], str] = lambda p, _: (  # noqa: E731
        ("a" if p.parent.depth == 0 else "b")
        if p.path[0] == 0
        else ("c" if p.parent.depth == 0 else "d")
    )
    problem = Problem("c", "A context.", answers=Text())
    s = run(study, Scripted(script), problem, versions=2, rounds=2, calls=calls)
    assert s.usage.calls == calls
    assert answers(s) == told


MEMORY = Notes(
    about="contexts",
    notes=(Note(id="c1", question="Ann has 2.", prompt="Ann has 2.", text="Twice is 4."),),
)
ASKED = Problem(
    "p", "How many twice?", prompt="Ann has 2.\n\nHow many twice?", meta={"context": "Ann has 2."}
)


@pytest.mark.parametrize(
    ("beside", "shown"),
    [(False, "M: Twice is 4.\n\nHow"), (True, "Ann has 2.\n\nM: Twice is 4.\n\nHow")],
)
def test_notes_take_the_place_of_the_context_or_stand_behind(beside: bool, shown: str) -> None:
    model = Listener("\\boxed{4}")
    s = run(sleep_time, model, ASKED, notes=MEMORY, n=2, ask="M: {memory}", beside=beside)
    assert model.heard == [[f"{shown} many twice?"]] * 2
    assert (answers(s), s.measures) == (["4", "4"], {"noted": 1.0})


def test_a_context_without_notes_is_read_as_it_is() -> None:
    model = Listener("\\boxed{4}")
    other = replace(ASKED, prompt="Bob has 3. How?", meta={"context": "Bob has 3."})
    s = run(sleep_time, model, other, notes=MEMORY)
    assert (model.heard, s.measures) == ([["Bob has 3. How?"]], {"noted": 0.0})


@pytest.mark.parametrize(
    ("problem", "match"),
    [
        (replace(ASKED, meta={}), "no context of problem 'p'"),
        (replace(ASKED, prompt="How many twice?"), "no context of problem 'p'"),
        (replace(ASKED, question="Ann has"), "'c1', in which problem 'p' is asked"),
    ],
)
def test_what_sleep_time_refuses(problem: Problem, match: str) -> None:
    model = Listener("x")
    with pytest.raises(RecipeError, match=match):
        run(sleep_time, model, problem, notes=MEMORY)
    assert model.calls == 0


# ----------------------------------------------------------------------------------- medprompt

SOLVED = Notes(
    notes=(
        note(1, "grey elephants in the zoo", "<think>hm</think>Zoo. \\boxed{1}"),
        note(2, "elephants", "wrong \\boxed{2}", False),
        note(3, "grey paint", "Paint. \\boxed{3}"),
        note(4, "elephants unknown", "\\boxed{4}", None),
        note(5, "nothing in common", "\\boxed{5}"),
    )
)


def test_right_solutions_of_the_nearest_questions_are_the_examples() -> None:
    model = Listener("\\boxed{9}")
    own = (Message("system", "s"), Message("user", "1?"), Message("assistant", "1."))
    asked = Problem("p", "how many grey elephants", messages=(*own, Message("user", "Q")))
    s = run(medprompt, model, asked, notes=SOLVED, k=2, n=2)
    shots = ["grey paint Box it.", "Paint. \\boxed{3}", "grey elephants in the zoo Box it."]
    assert model.heard == [["s", *shots, "Zoo. \\boxed{1}", "Q"]] * 2
    assert (answers(s), s.usage.calls) == (["9", "9"], 2)


OPTIONS = ["red", "green", "blue", "grey"]
QUIZ = Problem(
    "p",
    "Which?",
    prompt="Which?\n\n(A) red\n(B) green\n(C) blue\n(D) grey\n\nSay it in a box.",
    answers=choice("B", {"options": OPTIONS}),
)


def test_without_examples_it_is_the_shuffle() -> None:
    for notes, k in ((SOLVED, 0), (Notes(), 5)):
        one = run(medprompt, Listener("\\boxed{A}"), QUIZ, notes=notes, k=k, n=4)
        two = run(choice_shuffle, Listener("\\boxed{A}"), QUIZ, n=4)
        assert one.tree.to_jsonl() == two.tree.to_jsonl()


def test_a_preference_for_a_letter_cancels_behind_examples_too() -> None:
    model = Listener("\\boxed{A}")
    s = run(medprompt, model, QUIZ, notes=SOLVED, k=1, n=4, orders="cyclic")
    assert Counter(answers(s)) == dict.fromkeys("ABCD", 1)
    assert all(len(heard) == 3 for heard in model.heard)
    assert len({heard[-1] for heard in model.heard}) == 4


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_limit_is_kept(limit: int) -> None:
    for searcher, problem, notes in (
        (handbook, Problem("p", "q"), BOOK),
        (medprompt, QUIZ, SOLVED),
        (sleep_time, ASKED, MEMORY),
    ):
        s = run(searcher, Listener("\\boxed{A}"), problem, notes=notes, n=3, limit=limit)
        assert s.usage.generated_tokens <= limit
