"""The logic blocks of RLoT, each some calls that add one step to what has been reasoned so far."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node, Turn
from searchers.turns.rounds import asked

MARKS = ("A1", "A2", "A3", "B1", "B2", "C1", "C2")
_SO_FAR = "{question}\n\nReasoning so far:\n\n{steps}\n\n"
_REASON = "Do exactly one more step of reasoning."
_DECOMPOSE = "Break what is left into sub-tasks, one a line: '### Subtask 1: ...'."
_SUBTASK = "Do this sub-task only: {task}\n\nResults of the sub-tasks before it:\n\n{results}"
_JOIN = "Sum up what these sub-tasks have shown, as the next step:\n\n{results}"
_PLANS = "Propose three different plans for the next step, one a line: 'Plan 1: ...' and so on."
_COMPARE = "Compare these plans and end with one line, 'Best: ' and its number:\n\n{plans}"
_FOLLOW = "Do exactly one step of reasoning by plan {plan} of these:\n\n{plans}"
_REFINE = "Check the last step, and write it again without its errors, if it has any."
_ANSWER = "Give the final answer, in the form that was asked for."
_JUDGE = """\
Rate the reasoning, one line each ('A1: 3'), 0 does not apply, 1 false, 2 unsure, 3 true.
A1: The problem is modelled rightly. A2: The steps are clear. A3: The calculations are right.
B1: Much is left to do. B2: There are other approaches worth a try.
C1: The answer is there. C2: Nothing is missing."""


@dataclass
class Progress:
    """What has been reasoned so far, and the node that was there last."""

    search: Search
    at: Node
    steps: list[str] = field(default_factory=list)

    async def say(self, ask: str, **parts: str) -> str | None:
        """What the model answers to `ask` behind the steps so far; None if a limit is used up."""
        told = "\n\n".join(self.steps) or "Nothing yet."
        turn: Turn = asked(self.search, _SO_FAR + ask, steps=told, **parts)
        node = await self.search.draw(self.at, until="end", turn=turn)
        if node is None:
            return None
        self.at = node
        return after_thoughts(node.text)

    async def judged(self) -> dict[str, int]:
        """The model's marks of its own reasoning; 0 where it gives none."""
        text = await self.say(_JUDGE) or ""
        found = {name: int(mark) for name, mark in re.findall(r"\b([ABC]\d)\W{0,4}([0-3])\b", text)}
        return {name: found.get(name, 0) for name in MARKS}


async def _reason(p: Progress) -> str | None:
    return await p.say(_REASON)


async def _refine(p: Progress) -> str | None:
    return await p.say(_REFINE)


async def _answer(p: Progress) -> str | None:
    return await p.say(_ANSWER)


async def _decompose(p: Progress) -> str | None:
    tasks = re.findall(r"#+ *Subtask *\d+ *: *(.+)", await p.say(_DECOMPOSE) or "", re.IGNORECASE)
    results: list[str] = []
    for task in tasks:
        found = await p.say(_SUBTASK, task=task, results="\n\n".join(results) or "None.")
        if found is None:
            return None
        results.append(f"{task}\n{found}")
    return await p.say(_JOIN, results="\n\n".join(results)) if results else await _reason(p)


async def _debate(p: Progress) -> str | None:
    plans = await p.say(_PLANS)
    verdict = None if plans is None else await p.say(_COMPARE, plans=plans)
    if plans is None or verdict is None:
        return None
    best = re.findall(r"best\W*(?:plan\W*)?(\d)", verdict, re.IGNORECASE) or ["1"]
    return await p.say(_FOLLOW, plan=best[-1], plans=plans)


Block: TypeAlias = Callable[[Progress], Awaitable["str | None"]]
"""Adds calls below `at`; gives the step that they make, None if a limit is used up."""

BLOCKS: Mapping[str, Block] = {
    "reason": _reason,
    "decompose": _decompose,
    "debate": _debate,
    "refine": _refine,
    "terminate": _answer,
}
