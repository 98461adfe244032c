"""How programs of prompts run: each statement by the verbs of the search."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from operator import is_
from typing import Any, TypeAlias

from reasoning.answers.choice import MultipleChoice
from reasoning.problem import Problem
from reasoning.search import Search
from searchers.programs.asking import Asking, Frame, Scope, Spent
from searchers.programs.language import statements as st
from searchers.programs.language import values
from searchers.programs.language.conditions import holds, key
from searchers.programs.language.operations import computed
from searchers.programs.language.values import Failure, Value, looked_up, made, text_of, told
from searchers.threads.plans import anew

MOST = 100_000
"""Statements that a program runs at most."""
_BREATH = 100


class End(Enum):
    """What a statement may end besides itself; a value that is given ends a routine."""

    LOOP = "loop"
    PROGRAM = "program"


Ended: TypeAlias = End | Value | None


class Interpreter(Asking):
    """Runs a program that was checked with these parameters."""

    def __init__(self, program: st.Program, params: Mapping[str, Any], retries: int) -> None:
        super().__init__(program, params, retries)
        self.steps = 0
        self.fixed: Scope = {}

    async def run(self, search: Search) -> bool:
        """Whether it came to its end, and was not given up; False with a note."""
        self.fixed = {k: values.of(v) for k, v in self.params.items()} | found(
            search.problem, self.program
        )
        try:
            await self.block(self.program.steps, Frame(search, search.root, dict(self.fixed)))
        except Spent:
            return True
        except Failure as why:
            self.note(search, why)
            return False
        return True

    async def block(self, steps: Sequence[Any], f: Frame) -> Ended:
        for step in steps:
            self.steps += 1
            if self.steps > MOST:
                raise Failure(f"it has run more than {MOST:,} statements")
            if self.steps % _BREATH == 0:  # others may run, and an interruption is heard
                await sleep(0)
            if (ended := await self.step(step, f)) is not None:
                return ended
        return None

    async def step(self, s: Any, f: Frame) -> Ended:
        match s:
            case st.Call():
                await self.call(s, f)
            case st.Likely():
                f.scope[s.as_] = await self.likely(s, f)
            case st.Let():
                for name, said in s.let.items():
                    f.scope[name] = made(f.scope, said)
            case st.Add():
                so_far, more = f.scope[s.to], made(f.scope, s.add)
                read = values.union([so_far.sources, more.sources])
                f.scope[s.to] = Value((*so_far.items, more), read)
            case st.Make():
                of, n = looked_up(f.scope, s.of), None if s.n is None else self.count(s.n)
                to = text_of(f.scope, s.to or "")
                f.scope[s.as_] = computed(s.make, of, s.by, to, n, s.down)
            case st.ForEach():
                return await (self.in_turn if s.in_turn else self.abreast)(s, f)
            case st.Repeat() | st.While():
                return await self.again(s, f)
            case st.If():
                return await self.block(s.then if holds(f.scope, s.if_) else s.else_, f)
            case st.Branch():
                said = key(looked_up(f.scope, s.branch))
                cases = {key(Value(name)): steps for name, steps in s.cases.items()}
                return await self.block(cases.get(said, s.else_), f)
            case st.Vote():
                f.scope[s.as_] = await self.vote(s, f)
            case st.Emit():
                self.emit(s, f)
            case st.Run():
                f.scope[s.as_] = await self.routine(s, f)
            case st.Give():
                return made(f.scope, s.give)
            case st.Break() | st.Stop():
                return End.LOOP if isinstance(s, st.Break) else End.PROGRAM
        return None

    # ------------------------------------------------------------------------------- loops

    async def abreast(self, s: st.ForEach, f: Frame) -> Ended:
        """Bodies side by side, each below a note of its own; the lists they add to are merged."""
        items = looked_up(f.scope, s.for_each).items[: self.count(s.most)]
        bodies = []
        for item in items:
            at = f.view.write(f.at, told(item), turn=anew(f.view), sources=item.sources)
            bodies.append(replace(f, at=at, scope={**f.scope, s.item: item}, known=dict(f.known)))

        async def one(view: Search, i: int) -> None:
            bodies[i].view = view
            try:
                await self.block(s.do, bodies[i])
            except Spent:
                pass
            except Failure as why:
                self.note(view, why)

        if items:
            await f.view.split(len(items), one)
        for body in bodies:
            f.known |= body.known
        for name, before in f.scope.items():
            if isinstance(before.data, tuple):
                more = [item for body in bodies for item in added(body.scope[name], before.data)]
                read = values.union([before.sources, *(item.sources for item in more)])
                f.scope[name] = Value((*before.data, *more), read)
        return None

    async def in_turn(self, s: st.ForEach, f: Frame) -> Ended:
        for item in looked_up(f.scope, s.for_each).items[: self.count(s.most)]:
            f.scope[s.item] = item
            if (ended := await self.block(s.do, f)) is not None:
                return None if ended is End.LOOP else ended
        return None

    async def again(self, s: st.Repeat | st.While, f: Frame) -> Ended:
        for _ in range(self.count(s.repeat if isinstance(s, st.Repeat) else s.most)):
            if isinstance(s, st.While) and not holds(f.scope, s.while_):
                break
            if (ended := await self.block(s.do, f)) is not None:
                return None if ended is End.LOOP else ended
        return None

    async def routine(self, s: st.Run, f: Frame) -> Value:
        """What a routine gives; what it came to by then, where it is run again."""
        it = self.program.routines[s.run]
        taken = {name: made(f.scope, said) for name, said in s.with_.items()}
        what = (s.run, *(key(taken[name]) for name in it.takes))
        left = f.depths.get(s.run, self.count(it.depth) + 1) - 1
        scope = {**self.fixed, **taken, "left": Value(float(max(0, left)))}
        usual = made(scope, it.else_)
        if left < 0 or (it.remember and what in f.running):
            return usual
        if it.remember and what in f.known:
            return f.known[what]
        inner = replace(
            f, scope=scope, depths={**f.depths, s.run: left}, running=f.running | {what}
        )
        ended = await self.block(it.steps, inner)
        given = ended if isinstance(ended, Value) else usual
        if it.remember and key(given) != key(usual):
            f.known[what] = given
        return given


def added(value: Value, before: tuple[Value, ...]) -> tuple[Value, ...]:
    """What was added to a list since it was `before`; nothing to one that was set anew."""
    data, n = value.data, len(before)
    kept = isinstance(data, tuple) and len(data) >= n and all(map(is_, data, before))
    return data[n:] if kept and isinstance(data, tuple) else ()


def found(problem: Problem, program: st.Program) -> Scope:
    """What every program finds: the question, its options, the fields of its row."""
    answers = problem.answers
    options = [text for _, text in answers.options] if isinstance(answers, MultipleChoice) else []
    scope = {"question": values.of(problem.prompt), "options": values.of(options)}
    for name, usual in program.row.items():
        value = problem.meta.get(name, usual)
        if isinstance(usual, list) and not isinstance(value, list):
            value = [value]
        scope[name] = values.of(value)
    return scope
