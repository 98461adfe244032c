"""Several threads at once: who reads what, what is joined, and how many tokens are serial."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from reasoning import solve
from reasoning.answers.text import text as free_text
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Prompt
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.testing import ToyGenerator, random_tree
from searchers.threads.fork_join import fork_join
from searchers.threads.group_think import group_think
from searchers.threads.hogwild import hogwild
from searchers.threads.plans import listed, result
from searchers.threads.skeleton import skeleton

MODEL = random_tree(3, depth=5)


class Team(Scripted):
    """Plans three parts of 1, 2 and 3 words; joins by adding up their results. `plan` may differ
    from one plan to the next."""

    def __init__(self, *plans: str) -> None:
        self.plans = list(plans or ("1. aa\n2. bb\n3. cc",))
        self.heard: list[str] = []
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str | Exception:
        heard = prompt.messages[-1].content
        self.heard.append(heard)
        if "Do not" in heard:
            return self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        if (part := re.search(r"(?:nothing else: |it, ')(\w)", heard)) is not None:
            i = "abc".index(part[1])
            if "fail" in self.plans[0] and i == 1:
                return RuntimeError("no")
            return "word " * i + f"RESULT: {10**i}"
        found = re.findall(r"^\d+$", heard, re.MULTILINE)
        if "Only this part" in heard:
            return f"RESULT: {sum(map(int, found))}"
        return f"Together \\boxed{{{sum(map(int, found))}}}" if found else "Alone \\boxed{5}"


def run(searcher: Any, model: Scripted, limit: int | None = None, **params: Any) -> Search:
    s = Search(Problem("p", "q"), model, budget=Budget(limit), models={"small": model})
    asyncio.run(searcher(s, **params))
    return s


def answers(s: Search) -> list[str | None]:
    return [c.answer.text if c.answer else None for c in s.candidates]


@pytest.mark.parametrize("n", [1, 3])
def test_without_a_fork_it_is_self_consistency(n: int) -> None:
    one = solve(MODEL.problem, searcher="fork_join", n=n, depth=0, generator=ToyGenerator(MODEL))
    plain = solve(MODEL.problem, searcher="self_consistency", n=n, generator=ToyGenerator(MODEL))
    assert one.tree.to_jsonl() == plain.tree.to_jsonl()
    assert (one.answer, one.usage) == (plain.answer, plain.usage)


def test_parts_are_done_side_by_side_and_joined() -> None:
    team = Team()
    s = run(fork_join, team, worker="small")
    assert answers(s) == ["111"]
    assert (s.usage.calls, s.usage.models["small"].calls) == (5, 3)
    assert [node.path for node in s.tree] == [(0,), (0, 0), (0, 1), (0, 2), (0, 3)]
    assert s.tree[(0, 3)].sources == ((0, 0), (0, 1), (0, 2))
    assert "word" not in team.heard[-1]
    # plan 6 words, parts 2, 3 and 4, join 2
    assert s.usage.generated_tokens == 6 + 2 + 3 + 4 + 2
    assert s.usage.critical_tokens == 6 + 4 + 2


def test_full_texts_are_joined_where_that_is_asked_for() -> None:
    team = Team()
    run(fork_join, team, merge="full")
    assert "word word RESULT: 100" in team.heard[-1]


def test_a_plan_of_none_is_followed_by_a_plain_solution() -> None:
    team = Team("NONE.")
    s = run(fork_join, team)
    assert (answers(s), s.usage.calls, team.heard[-1]) == (["5"], 2, "q")


def test_parts_are_bounded_and_one_that_failed_is_no_result() -> None:
    team = Team("1. aa\n2. bb fail\n3. cc")
    s = run(fork_join, team, parts=2)
    assert (s.usage.calls, answers(s)) == (4, ["1"])
    assert "bb fail\nNo result." in team.heard[-1]
    assert s.tree[(0, 2)].sources == ((0, 0),)


def test_parts_may_have_parts() -> None:
    """The first part has two; the other has none and is done as it is."""
    team = Team("1. aa\n2. bb", "1. cc\n2. aa", "NONE", "NONE")
    s = run(fork_join, team, depth=2)
    assert answers(s) == ["111"]  # (100 + 1) joined, and 10
    assert s.usage.calls == 3 + 2 + 1 + 1 + 1
    # plan 4, then the first part: plan 4, longest 4, join 2; join 2
    assert s.usage.critical_tokens == 4 + (4 + 4 + 2) + 2


@pytest.mark.parametrize(("limit", "found"), [(0, []), (6, []), (17, ["111"])])
def test_a_limit_is_kept(limit: int, found: list[str]) -> None:
    s = run(fork_join, Team(), limit)
    assert answers(s) == found
    assert s.usage.generated_tokens <= limit


def test_lists_are_read_as_models_write_them() -> None:
    said = "Sure:\n1. one\n 2) two\n- three\n* two\n"
    assert listed(said) == ["one", "two", "three"]
    assert listed(said, 2) == ["one", "two"]
    assert listed("one\n\ntwo") == ["one", "two"]
    assert listed("**NONE**") == listed("1. None.") == listed("") == []
    assert result("a RESULT: b\nResult: c ") == "c"
    assert result(" all ") == "all"


# -------------------------------------------------------------------------------- skeleton


def test_points_are_strung_together() -> None:
    s = run(skeleton, Team(), worker="small")
    assert (s.usage.calls, s.usage.models["small"].calls) == (4, 3)
    (chosen,) = s.candidates
    assert chosen.node is not None
    assert chosen.node.text == ("aa\nRESULT: 1\n\nbb\nword RESULT: 10\n\ncc\nword word RESULT: 100")
    assert chosen.node.sources == ((0, 0), (0, 1), (0, 2))
    assert s.usage.generated_tokens == 6 + 2 + 3 + 4
    assert s.usage.critical_tokens == 6 + 4


def test_free_text_is_an_answer_as_it_stands() -> None:
    kind = free_text(None, {})
    s = Search(Problem("p", "q", answers=kind), Team())
    asyncio.run(skeleton(s, points=1))
    assert answers(s) == ["aa\nRESULT: 1"]


def test_a_point_that_failed_is_left_out_and_no_points_are_the_answer() -> None:
    s = run(skeleton, Team("1. aa\n2. bb fail"))
    (chosen,) = s.candidates
    assert chosen.node is not None
    assert chosen.node.text == "aa\nRESULT: 1"
    (alone,) = run(skeleton, Team("none")).candidates
    assert alone.node is not None
    assert alone.node.text == "none"


# ------------------------------------------------------------------------- side by side


class Crew(Scripted):
    """Worker A writes paragraphs of three words, B of two; who sees `at` paragraphs answers."""

    def __init__(self, at: int = 99) -> None:
        self.heard: list[tuple[str, str]] = []
        self.at = at
        super().__init__(self.say)

    def say(self, prompt: Prompt, seed: int) -> str:
        asked, own = prompt.messages[-1].content, prompt.text
        self.heard.append((asked, own))
        if own.endswith("boxed{"):
            return f"{own.count('.')}}}"
        name = "A" if "Worker A" in asked.partition("What the")[0] else "B"
        if (asked + own).count(".\n\n") >= self.at:
            return f"So \\boxed{{{name == 'A':d}}}"
        return f"{name}{own.count('.')}" + " on" * (name == "A") + " and.\n\n"


def test_workers_read_what_the_others_had_written_when_the_round_began() -> None:
    crew = Crew(at=4)
    s = run(hogwild, crew)
    texts = [own for _, own in crew.heard]
    assert texts[:4] == ["", "", "A0 on and.\n\n", "B0 and.\n\n"]
    assert texts[4] == "A0 on and.\n\nA1 on and.\n\n"
    assert "Nothing yet." in crew.heard[0][0]
    assert "Worker B:\nB0 and." in crew.heard[2][0]
    assert "B1" not in crew.heard[2][0]
    assert answers(s) == ["1", "0"]
    assert s.usage.critical_tokens == 4 + 4 + 2  # the blank line is a token
    assert s.usage.generated_tokens == 2 * (4 + 3) + 2 * 2


def test_who_has_no_answer_in_the_end_is_made_to_give_one() -> None:
    s = run(hogwild, Crew(), rounds=2)
    assert answers(s) == ["2", "2"]
    assert s.usage.calls == 2 * 2 + 2
    assert s.usage.critical_tokens == 4 + 4 + 1


def test_thinkers_see_each_other_in_the_middle_of_a_sentence() -> None:
    heard: list[str] = []

    def script(prompt: Prompt, seed: int) -> str:
        heard.append(prompt.messages[-1].content)
        words = ["one", "two", "three", "\\boxed{4}"]
        return "".join(f" {word}" for word in words[len(prompt.text.split()) :])

    s = run(group_think, Scripted(script), names=("Ann", "Bob"), tokens=2)
    assert answers(s) == ["4", "4"]
    assert "You are Ann" in heard[2]
    assert "Bob:\n one two" in heard[2]
    assert (s.usage.calls, s.usage.critical_tokens) == (4, 4)


@pytest.mark.parametrize("limit", [0, 3, 7])
def test_limits_of_those_abreast(limit: int) -> None:
    s = run(hogwild, Crew(), limit, rounds=3)
    assert s.usage.generated_tokens <= limit
