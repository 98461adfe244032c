"""The contract of all searchers: one row each."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from reasoning.answers.choice import choice
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.testing.contracts import SEARCHER_CHECKS, Case
from reasoning.testing.searcher_contract import check_other_process
from reasoning.testing.searcher_run import Run
from reasoning.testing.toys import ToyVerifier
from searchers.across.notes import Note, Notes
from searchers.kernels.policy import Bound, Look, Policy, Steps
from searchers.programs.language.reading import parse

POLICY = Policy(
    form="cascade",
    start=2,
    chooser="weighted_majority",
    looks=(Look(at=2, rule=Steps(signal="agreement", edges=(0.9,), samples=(4, 3))),),
    bound=Bound(model="toy", task="toy", problems=1, samples=4),
)
NOTES = Notes(
    notes=tuple(
        Note(
            id=f"train-{i}",
            question=f"Which of {i} words?",
            prompt=f"Which of {i} words?",
            text=f"behavior_count_{i}: Count them.\n\\boxed{{{i}}}",
            correct=i > 0,
        )
        for i in range(3)
    )
)
CONTEXTS = Notes(
    about="contexts",
    notes=(Note(id="context-1", question="Toys", prompt="Toys", text="There are three."),),
)
PROGRAM = parse(
    {
        "routines": {
            "dig": {
                "takes": ["it"],
                "depth": 1,
                "remember": True,
                "else": "nothing",
                "steps": [
                    {"call": "Dig {it}", "as": "found", "parse": {"choice": ["0", "1"]}},
                    {"run": "dig", "with": {"it": "{found}"}, "as": "more"},
                    {"give": "{more} {found}"},
                ],
            }
        },
        "steps": [
            {"call": "List. {question}", "as": "parts", "parse": {"lines": 3}},
            {"let": {"said": [], "rounds": []}},
            {
                "for_each": "parts",
                "most": 3,
                "do": [
                    {"call": "Do {item}", "as": "did"},
                    {"call": "Is {did} it?", "as": "mark", "parse": {"choice": ["0", "1"]}},
                    {
                        "branch": "mark",
                        "cases": {"0": [{"run": "dig", "with": {"it": "{did}"}, "as": "mark"}]},
                        "else": [{"likely": "{mark}", "after": "{did}", "as": "logs"}],
                    },
                    {"add": "{mark}", "to": "said"},
                ],
            },
            {
                "while": {"not": {"value": "rounds", "in": ["0"]}},
                "most": 2,
                "do": [
                    {"call": "Again: {said}", "as": "round", "parse": "answer", "default": "0"},
                    {"add": "{round}", "to": "rounds"},
                ],
            },
            {"call": "{question}\n{rounds}", "n": 3, "as": "drafts", "emit": True},
            {"vote": "drafts", "by": "best", "as": "best"},
            {"emit": "{best}", "weight": 2},
        ],
    }
)
ROWS: dict[str, dict[str, Any]] = {
    "sample": {},
    "adaptive": {"policy": POLICY},
    "self_consistency": {"n": 4},
    "self_cheating": {"n": 3},
    "order_likelihood": {"shuffles": 3},
    "best_of_n": {"n": 4},
    "first_finish": {"n": 4},
    "short_m_at_k": {"k": 5, "m": 3},
    "beam_search": {"width": 2, "expansions": 2, "lookahead": 1},
    "dvts": {"subtrees": 2, "expansions": 2},
    "diverse_beam": {"groups": 2, "width": 2, "expansions": 2},
    "lattice": {"expansions": 6, "merge": "suffix", "suffix": 1},
    "rebase": {"width": 6},
    "particle_filter": {"n": 4},
    "particle_gibbs": {"n": 3, "sweeps": 2},
    "twisted_smc": {"n": 4},
    "astar": {"parallel": 2},
    "mcts": {"simulations": 8, "parallel": 3, "rollout": True},
    "ab_mcts": {"n": 8, "posterior": "mixed"},
    "phi_decoding": {"beams": 2, "rollouts": 3, "min_steps": 2},
    "mits": {"beam": 4, "max_steps": 4},
    "fractured": {"n": 2, "depths": 3, "m": 2, "end": ""},
    "budget_forcing": {"n": 2, "waits": 2, "wait": "\n\n", "end": "\\boxed", "thinking_tokens": 10},
    "truncated_answer": {"tokens": 4},
    "early_stop": {"n": 2, "m": 2, "end": "\\boxed", "answer_tokens": 6},
    "joint_thinking": {"prefix": "<think></think>"},
    "end_bias": {"n": 3, "bias": 0},
    "tip": {"n": 3, "alpha": 0},
    "concise_hint": {"n": 2, "base": 3, "hint": "\n\n"},
    "cot_decoding": {"k": 3},
    "cntp": {"n": 2, "trials": 3, "stop": ("\n\n",)},
    "self_evaluation": {"n": 3},
    "seat": {"m": 2, "rounds": 3},
    "token_set_cover": {"n": 4, "every": 4, "cover": 0.6, "least": 1},
    "compressed": {"n": 2, "m": 2, "end": "\\boxed"},
    "deepconf_online": {"n": 6, "warmup": 2, "window": 4, "check": 3},
    "gensynthesis": {"n": 2, "drafts": 3, "model": "other"},
    "debate": {"seats": ("", "other", "other"), "rounds": 2},
    "model_switch": {"order": ("", "other"), "k": 4},
    "spec_reason": {"small": "other", "threshold": 1.0, "expected": False},
    "glimp_router": {"small": "other", "threshold": 0.5, "end": "\\boxed"},
    "arbitrage": {"small": "other", "by": "gain"},
    "foreal": {"small": "other", "n": 2, "p": 0.5, "stop": ("\n\n",)},
    "entropy_switch": {"small": "other", "every": 2, "window": 4, "least": 2, "threshold": 0.5},
    "ensemble": {"members": ("", "other"), "n": 2},
    "critique": {"model": "other", "drafts": 3},
    "rlot": {"max_blocks": 3, "policy": ({"do": "debate", "block": 1},)},
    "cascade": {"order": ("", "other", ""), "by": "verifier", "thresholds": (0.9,)},
    "hawkeye": {"small": "other", "n": 3, "plan_tokens": 4},
    "inftythink": {"n": 2, "segment": 3, "summary": 4, "rounds": 4},
    "markov_cot": {"n": 2, "steps": 4, "step_tokens": 3, "question_tokens": 4},
    "spar": {"branch": 2, "keep": 2, "depth": 2, "votes": 3, "judge": "other"},
    "pdr": {"drafts": (3, 2, 1), "workspace": 6},
    "rsa": {"n": 3, "k": 2, "rounds": 2},
    "pacore": {"widths": (3, 2, 1)},
    "refine": {"rounds": 2, "critic": "other", "threshold": 0.9},
    "feedback": {"rounds": 3, "threshold": 0.9, "teacher": "other"},
    "progressive_hints": {"n": 2, "rounds": 4},
    "hint_marginalization": {"n": 4, "m": 2, "rounds": 2},
    "fork_join": {"n": 2, "parts": 3, "depth": 2, "tokens": 6, "worker": "other"},
    "skeleton": {"n": 2, "points": 3, "tokens": 4, "worker": "other"},
    "hogwild": {"workers": 3, "rounds": 3, "tokens": 4, "last": 3},
    "group_think": {"names": ("Ann", "Bob"), "rounds": 4, "tokens": 2, "last": 3},
    "variants": {"preset": "breadth", "each": 2},
    "choice_shuffle": {"n": 3},
    "order_averaging": {"n": 3},
    "python_tool": {"n": 3},
    "program_of_thoughts": {"n": 2, "retries": 1},
    "behaviours": {"teacher": "other"},
    "handbook": {"notes": NOTES, "k": 2, "n": 3},
    "study": {"versions": 2, "rounds": 2, "characters": 40},
    "sleep_time": {"notes": CONTEXTS, "n": 3},
    "medprompt": {"notes": NOTES, "k": 2, "n": 3},
    "xl3m": {"n": 2, "segment": 6, "keep": 12},
    "interventions": {"n": 2, "keep": 2},
    "program": {"steps": PROGRAM},
}
MODELS = ("other",)
RACES = {"first_finish", "short_m_at_k"}

CHECKS = [check for check in SEARCHER_CHECKS if check is not check_other_process]


def case(name: str) -> Case:
    found = Case(
        searcher=names.find("searcher", name),
        params=ROWS[name],
        races=name in RACES,
        models=MODELS,
    )
    if name == "choice_shuffle":
        answers = choice(None, {"options": ["0", "1", "2"]})
        found.model.problem = Problem(
            "toy", "Which?", prompt=answers.shows["options"], answers=answers
        )
    if name == "sleep_time":
        about = {"prompt": "Toys. Which?", "meta": {"context": "Toys"}}
        found.model.problem = replace(found.model.problem, **about)
    if name == "interventions":
        about = {"meta": {"passages": ["One.", "Two.", "Six."]}}
        found.model.problem = replace(found.model.problem, **about)
    if name == "xl3m":
        text = "One is. Two are. Six too."
        about = {"prompt": f"{text} Which?", "meta": {"context": text}}
        found.model.problem = replace(found.model.problem, **about)
    return found


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Failures on demand are logged thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_contract(name: str, check: Callable[[Case], None]) -> None:
    check(case(name))


@pytest.mark.parametrize("name", ROWS)
def test_siblings_scored_together(name: str) -> None:
    """Whoever scores siblings in one call changes nothing but the number of calls."""

    def run(together: int, delays: int | None = None, calls: int | None = None) -> Run:
        row = case(name)
        verifier = ToyVerifier(row.model, together=together)
        return Run(row, verifier=verifier, delays=delays, verifier_calls=calls)()

    def told(run: Run) -> list[Any]:
        return [(n.path, n.text, dict(n.scores), n.emitted) for n in run.search.tree]

    alone, together = run(1), run(3)
    if name not in RACES:
        assert told(together) == told(alone)
        assert told(run(3, delays=5)) == told(alone)
    assert together.search.usage.verifier_calls <= alone.search.usage.verifier_calls
    calls = together.search.usage.verifier_calls // 2
    assert run(3, delays=6, calls=calls).search.usage.verifier_calls <= calls


def test_every_searcher_has_a_row() -> None:
    """Those that stop early have theirs in test_stopping.py."""
    elsewhere = {"adaptive_consistency", "ahead_by_k", "esc"}
    assert set(ROWS) | elsewhere >= set(names.known("searcher"))


@pytest.mark.parametrize("kind", ["searcher", "aggregator"])
def test_what_a_file_says_of_itself_is_true_or_left_out(kind: names.Kind) -> None:
    """Not a constant of that name that it imports for something else."""
    for name in names.known(kind):
        module = inspect.getmodule(names.find(kind, name))
        for flag in ("SCORES", "VOTES", "STEPS", "FILTERS"):
            assert getattr(module, flag, True) is True, (name, flag)


def test_other_process() -> None:
    check_other_process(*map(case, ROWS))


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_recipes(name: str) -> None:
    """The row is what a recipe may say, and every parameter is explained by its signature."""
    function = names.find("searcher", name)
    assert names.checked(function, ROWS[name]) == ROWS[name]
    assert function.__doc__
