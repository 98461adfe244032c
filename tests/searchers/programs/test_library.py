"""The programs that ship: what each asks, in which order, who has read what, and what is answered.

The vectors are those of the papers' rules: counts of calls, proofs, shares.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from reasoning import solve
from reasoning.aggregators.majority import majority
from reasoning.answers.choice import choice
from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import EVERYONES, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.runs.names import bind_searcher
from reasoning.search import Search
from reasoning.testing.contracts import SEARCHER_CHECKS, Case
from reasoning.testing.searcher_contract import Run, check_other_process
from reasoning.tree import Sample
from searchers.programs.language.bounds import most_calls
from searchers.programs.language.reading import known, shipped
from searchers.programs.program import program


class Model(Scripted):
    """Answers what `say` says to the last message; keeps what was asked and how it was drawn."""

    def __init__(self, say: Callable[[str], str]) -> None:
        self.heard: list[str] = []
        self.drawn: list[Sampling] = []
        self.before: list[list[str]] = []
        super().__init__(lambda prompt, seed: self.hear(prompt, say))

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES

    def hear(self, prompt: Prompt, say: Callable[[str], str]) -> str:
        *before, last = [m.content for m in prompt.messages]
        self.before.append(before)
        self.heard.append(last)
        return say(last)

    def reply(self, prompt: Prompt, params: Sampling, seed: int) -> Sample:
        self.drawn.append(params)
        return super().reply(prompt, params, seed)


def run(name: str, model: Scripted, problem: Problem | None = None, **params: Any) -> Search:
    limit, calls = params.pop("limit", None), params.pop("calls", None)
    budget = Budget(limit, calls=calls)
    s = Search(problem or Problem("p", "q?"), model, budget=budget, sampling=ROOM)
    asyncio.run(bind_searcher("program", {"program": name, **params})(s))
    return s


ROOM = Sampling(max_tokens=4096)


def answers(s: Search) -> list[str]:
    return [c.answer.text for c in s.candidates if c.answer]


# ----------------------------------------------------------------------------- one reply each


@pytest.mark.parametrize("name", ["algorithm_of_thoughts", "coin"])
def test_one_reply(name: str) -> None:
    model = Model(lambda _: "\\boxed{7}")
    s = run(name, model)
    assert (s.usage.calls, answers(s)) == (1, ["7"])
    assert model.heard[0].startswith("q?\n\n")
    assert "depth-first" in model.heard[0] or "causes what" in model.heard[0]
    s = run(name, Model(lambda _: "\\boxed{7}"), samples=3)
    assert (s.usage.calls, answers(s)) == (3, ["7"] * 3)


def test_the_example_of_a_search_is_right() -> None:
    """Every state follows from the one before, dead ends are dead, and it makes 24."""
    model = Model(lambda _: "\\boxed{7}")
    run("algorithm_of_thoughts", model)
    (ask, say) = model.before[0]
    assert ask.startswith("Use the numbers 8, 6, 4 and 4")
    for total, rest in re.findall(r"^ *(?:Try )?(\d+ [-+*] \d+ = \d+)(.*)", say, re.MULTILINE):
        left, right = total.split(" = ")
        assert eval(left) == int(right)
        pair = re.search(r"left (\d+), (\d+):", rest)
        if pair:
            a, b = map(int, pair.groups())
            reached = {a + b, abs(a - b), a * b, a / b, b / a}
            said = {int(n) for n in re.findall(r"(?:sum|difference|product|quotient) (\d+)", rest)}
            assert said <= reached
            assert (24 in reached) == ("Found" in rest)
    assert eval(re.findall(r"boxed\{(.*)\}", say)[0]) == 24


# -------------------------------------------------------------------------------------- syzygy


def test_syzygy_is_one_greedy_reply_of_json() -> None:
    said = json.dumps({"problem": "p", "solutions": ["a"], "best": 1, "final_answer": "42"})
    model = Model(lambda _: f"Here it is:\n```json\n{said}\n```")
    s = run("syzygy", model)
    assert (s.usage.calls, answers(s)) == (1, ["42"])
    assert (model.drawn[0].temperature, model.drawn[0].max_tokens) == (0.0, 2048)
    assert "7 conditions" in model.heard[0]
    assert "5 complete solutions" in model.heard[0]
    note = s.tree[s.candidates[0].path]
    assert (note.text, note.sources, note.sample.generated_tokens) == ("\\boxed{42}", ((0,),), 0)


def test_syzygy_reads_latex_and_asks_again_when_the_answer_was_cut_off() -> None:
    replies = [
        '{"problem": "p", "solutions": ["x = \\frac{1}{2}", "so',
        '{"final_answer": "\\frac{1}{2}",}',
    ]
    model = Model(lambda said: replies[said.startswith("That cannot be used")])
    s = run("syzygy", model)
    assert (s.usage.calls, s.failures) == (2, [])
    assert s.tree[s.candidates[0].path].text == "\\boxed{\\frac{1}{2}}"
    assert "no 'final_answer'" in model.heard[1]
    s = run("syzygy", Model(lambda said: "\\boxed{3}" if said == "q?" else "no"), retries=2)
    assert (s.usage.calls, answers(s), s.measures["gave_up"]) == (4, ["3"], 1.0)
    assert "reply could not be read" in s.failures[0]
    s = run("syzygy", Model(lambda _: "no"), retries=0, plain=False)
    assert (s.usage.calls, s.candidates) == (1, [])


# ----------------------------------------------------------------------------------------- iep


def entails(verdicts: dict[str, str]) -> Callable[[str], str]:
    def say(asked: str) -> str:
        if found := re.search(r"A candidate answer: (\w+)", asked):
            return f"It is.\n{verdicts[found[1]]}"
        return "1. red\n2. green\n3. blue" if "List 3" in asked else "\\boxed{2}"

    return say


def test_iep_drops_what_is_contradicted() -> None:
    model = Model(entails({"red": "contradicted", "green": "open", "blue": "Entailed."}))
    s = run("iep", model)
    assert (s.usage.calls, answers(s)) == (1 + 3 + 1, ["2"])
    assert "excluded:\n\n1. green\n2. blue\n\n" in model.heard[-1]
    last = s.tree[s.candidates[0].path]
    assert last.sources == ((0,),)  # the names are the list's; verdicts were read by nobody


def test_iep_keeps_all_where_all_are_contradicted() -> None:
    model = Model(entails(dict.fromkeys(("red", "green", "blue"), "contradicted")))
    assert run("iep", model).usage.calls == 5
    assert "excluded:\n\n1. red\n2. green\n3. blue\n\n" in model.heard[-1]


def test_iep_takes_options_for_candidates() -> None:
    quiz = Problem("p", "q?", answers=choice("A", {"options": ["red", "green", "blue", "grey"]}))
    model = Model(entails(dict.fromkeys(("red", "green", "blue", "grey"), "open")))
    assert run("iep", model, quiz).usage.calls == 4 + 1
    assert not [asked for asked in model.heard if "List 3" in asked]


# ----------------------------------------------------------------------------------------- cop

MINIMAL = [
    "=> A | Anne is kind.",
    "A => C | Kind people are calm.",
    "=> B | Bob is big.",
    "C; B => D | Calm and big makes old.",
]
GOALS = ["GOAL => D | Is Anne old?", "GOAL => not D | Is Anne old?"]


def perceived(lines: list[str]) -> tuple[Model, Search]:
    def say(asked: str) -> str:
        return "\n".join(lines) if "CONDITIONS => CONCLUSION" in asked else "\\boxed{1}"

    model = Model(say)
    return model, run("cop", model)


def told(prompt: str) -> list[str]:
    return re.findall(r"^\d+\. (.*)", prompt, re.MULTILINE)


def sentences(lines: list[str]) -> list[str]:
    return [line.partition("| ")[2] for line in lines]


def test_cop_leaves_what_is_minimal_and_ordered() -> None:
    model, s = perceived([*MINIMAL, *GOALS])
    assert told(model.heard[1]) == sentences(MINIMAL)
    assert model.heard[1].count("Is Anne old?") == 1
    assert (s.usage.calls, s.tree[s.candidates[0].path].sources) == (2, ((0,),))


def test_cop_drops_and_orders() -> None:
    a, rule, b, last = MINIMAL
    more = ["=> E | Erin is red.", "E => F | Red people are nice."]
    model, _ = perceived([last, more[1], b, rule, more[0], a, *GOALS])
    assert told(model.heard[1]) == sentences([b, a, rule, last])
    opposite = "B => not D | Big people are not old."
    model, _ = perceived([opposite, *MINIMAL, *GOALS])
    assert sorted(told(model.heard[1])) == sorted(sentences([opposite, *MINIMAL]))
    model, s = perceived(["=> E | Erin is red.", *GOALS])
    assert model.heard[1:] == ["q?"]
    assert answers(s) == ["1"]


# ------------------------------------------------------------------------------------- lambada

THEORY = ["Fact: A", "Fact: B", "Rule: A & B -> C", "Rule: C -> D", "Goal: D"]


class Prover(Model):
    """Knows what the lines say, and nothing else; a rule may conclude not its goal but `not` it."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__(self.prove)

    def prove(self, asked: str) -> str:
        if asked.startswith("q?"):
            return "\n".join(self.lines)
        goal = re.findall(r"Statement: (.*)", asked)[0]
        if asked.startswith("Facts:"):
            facts = told(asked.partition("Statement")[0])
            opposite = goal.removeprefix("not ") if goal.startswith("not ") else f"not {goal}"
            return "proved" if goal in facts else "disproved" if opposite in facts else "neither"
        if asked.startswith("Rules:"):
            ends = [rule.split(" -> ")[1] for rule in told(asked.partition("Statement")[0])]
            same = [i for i, end in enumerate(ends, 1) if end.removeprefix("not ") == goal]
            return ", ".join(map(str, same)) or "NONE"
        needs, end = re.findall(r"Rule: (.*) -> (.*)", asked)[0]
        if "List each" in asked:
            return "\n".join(f"{i}. {n}" for i, n in enumerate(needs.split(" & "), 1))
        return "same" if end == goal else "opposite"

    @property
    def goals(self) -> list[str]:
        """What was looked up among the facts, in order."""
        return [a.split("Statement: ")[1].split("\n")[0] for a in self.heard if a[:6] == "Facts:"]


@pytest.mark.parametrize(
    ("lines", "depth", "verdict", "goals"),
    [
        (THEORY, 2, "True", "D C A B"),
        (THEORY, 1, "Unknown", "D C"),
        ([line for line in THEORY if line != "Fact: B"], 2, "Unknown", "D C A B"),
        ([*THEORY[:3], "Rule: C -> not D", "Goal: D"], 2, "False", "D C A B"),
        (["Fact: not D", "Goal: D"], 2, "False", "D"),
        (["Rule: C -> D", "Rule: D -> C", "Goal: D"], 9, "Unknown", "D C"),
        (["Fact: A", "Rule: A -> C", "Rule: C & C -> D", "Goal: D"], 3, "True", "D C A"),
        (["Fact: A", "Rule: X & A -> D", "Rule: A -> D", "Goal: D"], 2, "True", "D A"),
    ],
    ids=["proof", "depth", "missing", "sign", "fact", "cycle", "once", "shorter first"],
)
def test_lambada_chains_backwards(lines: list[str], depth: int, verdict: str, goals: str) -> None:
    model = Prover(lines)
    quiz = Problem("p", "q?", answers=choice("A", {"options": ["True", "False", "Unknown"]}))
    s = run("lambada", model, quiz, depth=depth)
    assert model.goals == goals.split()
    assert [c.node.text for c in s.candidates if c.node] == [f"\\boxed{{{verdict}}}"]
    assert answers(s) == [{"True": "A", "False": "B", "Unknown": "C"}[verdict]]
    assert s.measures["gave_up"] == 0


def test_lambada_counts_its_calls_and_says_who_has_read_whom() -> None:
    model = Prover(THEORY)
    s = run("lambada", model, depth=2)
    # The text; 4 facts; rules, conditions and sign of D and C, which A and B do without.
    assert s.usage.calls == 1 + 4 + 2 * 3
    reads = [node.sources for node in s.tree if node.sample.finish != "end" or node.text]
    first, facts = reads[0], reads[1]
    assert (first, facts) == ((), ((0,),))
    about_c = next(n for n in s.tree if n.turn and "Statement: C\n" in n.turn.messages[-1].content)
    assert about_c.sources == ((0,), (3,))  # the facts, and the list of conditions


def test_a_rule_with_too_many_conditions_proves_nothing() -> None:
    model = Prover(["Fact: A", "Fact: B", "Rule: A & B & Z -> D", "Goal: D"])
    s = run("lambada", model, conditions=2)
    assert (model.goals, s.candidates[0].node.text if s.candidates[0].node else "") == (
        ["D"],
        "\\boxed{Unknown}",
    )


# ------------------------------------------------------------------------------------- tot_dfs


def climber(verdicts: dict[str, str], complete: str = "") -> Callable[[str], str]:
    """Proposes a and b behind every state; a state without a verdict is likely."""

    def say(asked: str) -> str:
        state = asked.partition(":\n")[2].partition("\n\n")[0].replace("\n", "")
        if "Propose up to" in asked:
            return "NONE" if state == complete != "" else "1. a\n2. b"
        if "Can these be" in asked:
            return verdicts.get(state, "likely")
        return "\\boxed{1}"

    return say


@pytest.mark.parametrize(
    ("verdicts", "complete", "path", "calls"),
    [
        ({}, "", "aa", 2 * 3 + 1),
        ({"b": "sure", "ba": "impossible"}, "", "bb", 2 * 3 + 1),
        ({"aa": "impossible", "ab": "impossible"}, "", "ba", 3 * 3 + 1),
        ({}, "a", "a", 3 + 1 + 1),
        ({"a": "impossible", "b": "impossible"}, "", None, 3 + 1),
        (dict.fromkeys(("aa", "ab", "ba", "bb"), "impossible"), "", None, 3 * 3 + 1),
    ],
    ids=["straight", "surest first", "back", "complete", "dead at once", "dead all over"],
)
def test_tot_dfs_goes_back(
    verdicts: dict[str, str], complete: str, path: str | None, calls: int
) -> None:
    model = Model(climber(verdicts, complete))
    s = run("tot_dfs", model, depth=2, width=2)
    assert (s.usage.calls, answers(s)) == (calls, ["1"])
    if path is None:
        assert model.heard[-1] == "q?"
    else:
        steps = model.heard[-1].partition("solution:\n")[2].partition("\n\n")[0]
        assert steps.split() == list(path)


# ------------------------------------------------------------------------------------ stoc_tot


def explorer(levels: int) -> Callable[[str], str]:
    """Proposes x, y and a copy of x as often; y is the likelier."""

    def say(asked: str) -> str:
        level = len(told(asked.partition("Known so far:")[2].partition("\n\n")[0]))
        if "Propose up to" in asked:
            return f"1. x{level}\n2. y{level}\n3. x{level} again" if level < levels else "NONE"
        if "Some may ask" in asked:
            return "1 and 2 differ.\n1, 2"
        if "How probable" in asked:
            return "70 %" if "this next: y" in asked else "It is 0.3"
        if "Answer only this part" in asked:
            return f"It is found by {asked.rpartition(': ')[2]}."
        return "\\boxed{1}" if "in the form" in asked else "So I say:\nfound by Y0"

    return say


def test_stoc_tot_follows_the_likeliest() -> None:
    model = Model(explorer(2))
    s = run("stoc_tot", model, depth=3)
    assert s.usage.calls == 2 * (1 + 1 + 2 + 1) + 1 + 1  # the copy is not rated; NONE ends it
    assert told(model.heard[-1]) == ["y0 It is found by y0.", "y1 It is found by y1."]
    assert answers(s) == ["found by y0"]
    assert run("stoc_tot", Model(explorer(9)), depth=2, width=3).usage.calls <= 2 * (3 + 3) + 1
    assert run("stoc_tot", Model(explorer(9)), depth=0).usage.calls == 1


class Held(Model):
    """One that can be held to some texts, and says something else where it is not."""

    @property
    def honours(self) -> frozenset[str]:
        return EVERYONES | {"choice"}


def test_stoc_tot_holds_the_answer_to_words_of_the_evidence() -> None:
    def say(asked: str) -> str:
        return "elsewhere" if "Give the final" in asked else explorer(1)(asked)

    held = Held(say)
    s = run("stoc_tot", held, depth=2)
    bank = ["It", "is", "found", "by", "y0", "It is", "is found", "found by", "by y0"]
    assert list(held.drawn[-1].choice[:9]) == bank
    assert held.drawn[-1].choice[-1] == "It is found by y0"
    assert all(params.choice == () for params in held.drawn[:-1])
    assert set(answers(s)) < {*held.drawn[-1].choice}
    assert run("stoc_tot", Held(say), depth=2, span=0).candidates[0].answer is None  # free again

    free = Model(say)  # asked once more, then given up; the plain solution is no answer either
    s = run("stoc_tot", free, depth=2)
    assert all(params.choice == () for params in free.drawn)
    assert "it is none of the 15 texts that it may be: 'It', 'is', 'found', ..." in free.heard[-2]
    assert [f.partition("final")[1] for f in s.failures] == ["final"]
    assert s.measures["gave_up"] == 1


def test_stoc_tot_reads_the_passages_of_the_row() -> None:
    model = Model(explorer(0))
    run("stoc_tot", model, Problem("p", "q?", meta={"passages": ["one", "two"]}))
    assert all(asked.startswith("1. one\n2. two\n\nq?") for asked in model.heard)


# ------------------------------------------------------------------------------------ thinksum


class Weigher(Model):
    """p(answer | fact) from a table; the key "" is without a fact."""

    def __init__(self, table: dict[str, dict[str, float]]) -> None:
        self.table = table
        facts = [fact for fact in table if fact]
        listed = "\n".join(f"{i}. {fact}" for i, fact in enumerate(facts, 1))
        super().__init__(lambda asked: "1. y1\n2. y2" if "List 4 answers" in asked else listed)

    async def score_text(self, prompt: Prompt, sample: Sample, **rest: Any) -> Any:
        fact, mark, _ = prompt.messages[-1].content.partition("\n\nq?")
        p = self.table[fact if mark else ""][sample.text]
        return np.asarray([np.log(p)], dtype=np.float64)


TABLE = {"f": {"y1": 0.6, "y2": 0.2}, "g": {"y1": 0.3, "y2": 0.5}, "": {"y1": 0.9, "y2": 0.1}}


@pytest.mark.parametrize(
    ("params", "sums"),
    [
        ({}, (0.9, 0.7)),
        ({"combine": "product"}, (0.18, 0.10)),
        ({"calibrate": True}, (0.9 / 0.9, 0.7 / 0.1)),
        ({"combine": "product", "calibrate": True}, (0.18 / 0.81, 0.10 / 0.01)),
    ],
)
def test_thinksum_sums_outside_the_model(params: dict[str, Any], sums: tuple[float, float]) -> None:
    quiz = Problem("p", "q?", answers=choice(None, {"options": ["y1", "y2"]}))
    s = run("thinksum", Weigher(TABLE), quiz, **params)
    weights = [c.weight for c in s.candidates]
    assert weights == pytest.approx([x / sum(sums) for x in sums])
    assert answers(s) == ["A", "B"]
    chosen = majority(s.candidates)
    assert chosen is not None
    assert chosen.confidence == pytest.approx(max(sums) / sum(sums))
    # One list; a reading for each fact and answer, and for each answer to calibrate.
    assert s.usage.calls == 1 + 4 + 2 * bool(params.get("calibrate"))
    assert s.usage.generated_tokens == 4


def test_thinksum_without_options_asks_for_answers() -> None:
    s = run("thinksum", Weigher(TABLE))
    assert s.usage.calls == 2 + 4
    assert [c.weight for c in s.candidates] == pytest.approx([0.5625, 0.4375])


# ------------------------------------------------------------------------------ drag, iterdrag

CORPUS = ["cats purr", "the river Alm flows to the sea", "the Alm is short", "dogs bark"]
ASKED = Problem("p", "Where does the river Alm flow?")


def test_drag_reads_the_nearest_last() -> None:
    model = Model(lambda _: "\\boxed{1}")
    s = run("drag", model, ASKED, corpus=CORPUS, k=2, demonstrations=["Q: a\nA: b"])
    shown = f"Q: a\nA: b\n\n{CORPUS[2]}\n\n{CORPUS[1]}\n\nWhere does the river Alm flow?"
    assert (model.heard, s.usage.calls) == ([shown], 1)
    own = Problem("p", ASKED.question, meta={"passages": ["its own"]})
    run("drag", model, own, corpus=CORPUS)
    assert model.heard[-1] == "\n\nits own\n\nWhere does the river Alm flow?"


def asker(rounds: int) -> Callable[[str], str]:
    def say(asked: str) -> str:
        if "If a sub-question" in asked:
            done = len(told(asked.partition("Known so far:")[2].partition("\n\n")[0]))
            return f"Hm.\nFollow up: why do dogs bark {done}?" if done < rounds else "None."
        return (
            "since"
            if asked.startswith(("cats", "dogs", "the")) and "briefly" in asked
            else ("\\boxed{1}")
        )

    return say


@pytest.mark.parametrize(("says", "rounds", "calls"), [(1, 5, 4), (9, 5, 11), (9, 2, 5), (0, 5, 2)])
def test_iterdrag_asks_itself(says: int, rounds: int, calls: int) -> None:
    model = Model(asker(says))
    s = run("iterdrag", model, ASKED, corpus=CORPUS, k=1, rounds=rounds)
    assert (s.usage.calls, answers(s)) == (calls, ["1"])
    done = min(says, rounds)
    notes = "\n".join(f"why do dogs bark {i}? since" for i in range(done))
    passages = "\n\n".join([CORPUS[1], CORPUS[3]][: 1 + bool(done)])
    assert model.heard[-1] == f"\n\n{passages}\n\n{notes}\n\n{ASKED.question}"


def test_no_rounds_of_iterdrag_are_drag() -> None:
    one, other = Model(asker(9)), Model(asker(9))
    run("drag", one, ASKED, corpus=CORPUS, k=2)
    run("iterdrag", other, ASKED, corpus=CORPUS, k=2, rounds=0)
    assert [text.split() for text in one.heard] == [text.split() for text in other.heard]


# ------------------------------------------------------------------------------------- for all

BUSY: dict[str, Callable[[], Scripted]] = {
    "iep": lambda: Model(entails(dict.fromkeys(("red", "green", "blue"), "open"))),
    "lambada": lambda: Prover(THEORY),
    "stoc_tot": lambda: Model(explorer(9)),
    "thinksum": lambda: Weigher(TABLE),
    "iterdrag": lambda: Model(asker(9)),
    "tot_dfs": lambda: Model(climber({"aa": "impossible"})),
    "syzygy": lambda: Model(lambda _: '{"final_answer": "1"}'),
    "cop": lambda: Model(lambda a: "\n".join([*MINIMAL, *GOALS]) if "=>" in a else "\\boxed{1}"),
}


@pytest.mark.parametrize("name", known())
def test_limits_of_tokens_and_calls(name: str) -> None:
    """None, one, one short: spending stays within, and nothing is raised."""
    make = BUSY.get(name, lambda: Model(lambda _: "so \\boxed{1}"))
    whole = run(name, make())
    assert whole.candidates
    tokens, calls = whole.usage.generated_tokens, whole.usage.calls
    bound = most_calls(shipped(name), dict(shipped(name).params), 1)
    assert bound is not None
    assert calls <= bound
    for limit in (0, 1, tokens - 1, tokens):
        s = run(name, make(), limit=limit)
        assert s.usage.generated_tokens <= limit
        assert limit < tokens or s.candidates
    drawn = sum(n.sample.generated_tokens > 0 for n in whole.tree)
    for limit in (0, 1, drawn - 1, drawn):
        s = run(name, make(), calls=limit)
        assert sum(n.sample.generated_tokens > 0 for n in s.tree) <= limit
        assert limit < drawn or s.candidates


@pytest.fixture
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("name", known())
def test_contract(name: str) -> None:
    case = Case(searcher=program, params={"program": shipped(name)})
    for check in SEARCHER_CHECKS:
        if check is not check_other_process:
            check(case)
    assert Run(case)().search.candidates


@pytest.mark.parametrize("name", known())
def test_each_runs_on_the_embedded_model(name: str) -> None:
    result = solve(
        "Compute 3 * 4.",
        searcher="program",
        program=name,
        generator="nano",
        limits={"tokens": 600},
        sampling={"max_tokens": 60},
    )
    assert result.stop_reason in ("finished", "tokens")
    assert result.usage.calls
