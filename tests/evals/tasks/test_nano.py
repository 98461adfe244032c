"""The nano problem generator: splits, determinism, answers and exact step labels."""

from __future__ import annotations

import random
import re
import subprocess
import sys

import pytest

from evals.tasks.nano import (
    ITEMS,
    STEP_BREAK,
    NanoProblem,
    carry,
    gold_equations,
    problem,
    problems,
    slip,
    solution,
    split_of,
    step_labels,
)

PROBLEMS = [problem("train", i) for i in range(400)] + list(problems(100))
SAMPLE = NanoProblem(
    "x",
    "What is 12 * 7 + 5?",
    "89",
    2,
    ("12 * 7 = 84.", "84 + 5 = 89.", r"The answer is \boxed{89}."),
)


def solve(question: str) -> int:
    """The answer of a question, read from its sentences alone."""
    plain = re.fullmatch(r"(?:What is|Compute|Calculate) ([-+* \d]+)[?.]", question)
    if plain:
        return int(eval(plain[1], {"__builtins__": {}}))
    *events, asked = re.split(r"(?<=[.?]) (?=[A-Z])", question)
    until = re.search(r"after day (\d+)", asked)
    totals: dict[str, int] = {}
    for event in events:
        day = re.match(r"Day (\d+): ", event)
        if day and until and int(day[1]) > int(until[1]):
            break
        follow(event[day.end() :] if day else event, totals)
    people = [totals[name] for name in re.findall(r"[A-Z][a-z]+", asked)[1:]]
    if len(people) == 1:
        return people[0]
    return people[0] - people[1] if "more" in asked else sum(people)


def follow(event: str, totals: dict[str, int]) -> None:
    """Update `totals` by one sentence; sentences of no matter change nothing."""
    if re.search(r" sees | too\.|^This ", event):
        return
    numbers = [int(number) for number in re.findall(r"\d+", event)]
    amount = numbers[0] * numbers[1] if len(numbers) == 2 else numbers[0]
    name, verb = event.removeprefix("Then ").split()[:2]
    if verb == "gives":
        totals[name] -= amount
        totals[event.rstrip(".").split()[-1]] += amount
    elif verb == "has":
        totals[name] = totals[name] * amount if "times" in event else amount
    else:
        totals[name] += amount if verb in ("buys", "finds", "gets") else -amount


@pytest.mark.parametrize("seed", [0, 1])
def test_splits_are_disjoint_by_construction(seed: int) -> None:
    train = {problem("train", i, seed).question for i in range(300)}
    test = {item.question for item in problems(100, seed=seed)}
    assert not train & test
    assert {split_of(question) for question in train} == {"train"}
    assert {split_of(question) for question in test} == {"test"}


def test_split_ignores_how_an_expression_is_asked_for() -> None:
    assert len({split_of("What is 3 + 4?"), split_of("Compute 3 + 4."), split_of("3 + 4")}) == 1


def test_same_arguments_give_the_same_problem_in_every_process() -> None:
    code = "from evals.tasks.nano import problems; print(list(problems(20, seed=3)))"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]
    assert outputs == [str(list(problems(20, seed=3)))] * 2


def test_seeds_and_indices_matter() -> None:
    assert problem("train", 0, 0).question != problem("train", 0, 1).question
    assert len({item.question for item in problems(200)}) == 200


def test_answers_agree_with_an_independent_reading() -> None:
    for item in PROBLEMS:
        assert solve(item.question) == int(item.answer), item.question


def test_gold_solutions_are_labelled_right() -> None:
    for item in PROBLEMS:
        assert step_labels(item, STEP_BREAK.join(item.steps)) == [1] * len(item.steps)
        assert item.steps[-1] == rf"The answer is \boxed{{{item.answer}}}."
        assert len(item.steps) == item.difficulty + 1


@pytest.mark.parametrize("difficulty", range(1, 9))
def test_difficulty_is_the_number_of_operations(difficulty: int) -> None:
    for item in problems(5, difficulty=difficulty):
        assert item.difficulty == len(gold_equations(item)) == difficulty


def test_traces_with_slips_are_mended() -> None:
    for item in PROBLEMS:
        text = solution(item, random.Random(item.id), slips=1.0)
        labels = step_labels(item, text)
        assert 0 in labels
        assert labels[-1] == 1
        for step, before, after in zip(
            text.split(STEP_BREAK)[1:], labels, labels[1:], strict=False
        ):
            assert step.startswith("Wait") == (before < after)


def test_traces_without_slips_are_right_and_repeat() -> None:
    for item in PROBLEMS[:100]:
        text = solution(item, random.Random(item.id), slips=0.0)
        assert text == solution(item, random.Random(item.id), slips=0.0)
        assert set(step_labels(item, text)) == {1}


def test_carried_slips_are_labelled_wrong_to_the_end() -> None:
    for item in PROBLEMS[:200]:
        gold = gold_equations(item)
        wrong = slip(gold[0], random.Random(item.id))
        equations = [wrong, *carry(gold[1:], {gold[0].value: wrong.value})]
        steps = [*(f"{equation}." for equation in equations), r"The answer is \boxed{999999}."]
        labels = step_labels(item, STEP_BREAK.join(steps))
        assert labels[0] == labels[-1] == 0


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Start with 7 * 12 = 84.\n\nThen 84 + 5 = 89.\n\nThe answer is \\boxed{89}.", [1, 1, 1]),
        ("12 * 7 = 84.\n\n84 + 5 = 98.\n\nThe answer is \\boxed{98}.", [1, 0, 0]),
        ("12 * 7 = 85.\n\nWait, that is wrong. 12 * 7 = 84.\n\n84 + 5 = 89.", [0, 1, 1]),
        ("12 * 7 = 85.\n\n85 + 5 = 90.\n\nWait, that is wrong. 12 * 7 = 84.", [0, 0, 1]),
        ("12 * 7 = 84.\n\nWait, that is wrong. 12 * 7 = 94.", [1, 0]),
        ("12 + 7 = 19.\n\n19 * 5 = 95.", [0, 0]),
        ("12 * 7 8", [0]),
        ("12 * 7 = 84.\n\nThe answer is \\boxed{84}.", [1, 0]),
    ],
)
def test_labels_of_written_examples(text: str, labels: list[int]) -> None:
    assert step_labels(SAMPLE, text) == labels


def test_a_side_product_does_not_mend_the_track() -> None:
    steps = ("3 * 7 = 21.", "90 - 21 = 69.", "4 * 8 = 32.", "69 - 32 = 37.")
    item = NanoProblem("x", "", "37", 4, (*steps, r"The answer is \boxed{37}."))
    wrong = [steps[0], "90 - 21 = 79.", steps[2], "79 - 32 = 47."]
    assert step_labels(item, STEP_BREAK.join(wrong)) == [1, 0, 0, 0]
    mended = [*wrong[:3], "Wait, that is wrong. 90 - 21 = 69.", steps[3]]
    assert step_labels(item, STEP_BREAK.join(mended)) == [1, 0, 0, 1, 1]


def test_labels_tell_two_owners_apart() -> None:
    item = next(item for item in PROBLEMS if any(": " in step for step in item.steps))
    owner = item.steps[0].split(":")[0]
    other = "Zoe" if owner != "Zoe" else "Ann"
    swapped = item.steps[0].replace(owner, other, 1)
    assert step_labels(item, swapped) == [0]


def test_questions_use_the_small_vocabulary() -> None:
    words = {word for item in PROBLEMS for word in re.findall(r"[a-z]+", item.question)}
    assert set(ITEMS) <= words
    assert len(words) < 70
