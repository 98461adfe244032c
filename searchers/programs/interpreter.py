"""How programs of prompts run: each statement by the verbs of the search."""

from __future__ import annotations

import inspect
from asyncio import sleep
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias

from reasoning.aggregators import Candidate, Choice
from reasoning.answers import after_thoughts
from reasoning.answers.choice import MultipleChoice
from reasoning.chain import Stage
from reasoning.errors import ChoiceError
from reasoning.problem import Message, Problem
from reasoning.runs.names import bind_aggregator
from reasoning.search import Search
from reasoning.tree import Node, Turn
from searchers.programs.language import parsers, values
from searchers.programs.language.bounds import named
from searchers.programs.language.conditions import holds, key
from searchers.programs.language.naming import counted, set_of
from searchers.programs.language.operations import computed
from searchers.programs.language.statements import (
    Add,
    Branch,
    Break,
    Call,
    Emit,
    ForEach,
    Give,
    If,
    Let,
    Likely,
    Make,
    Program,
    Repeat,
    Run,
    Stop,
    Vote,
    While,
)
from searchers.programs.language.values import Failure, Value, looked_up, made, text_of, told
from searchers.threads.plans import anew, concluded

AGAIN = "That cannot be used: {why}. Answer again, in the form that was asked for."
"""What is said to a reply that cannot be parsed."""
MOST = 100_000
"""Statements that a program runs at most."""
_BREATH = 500


class End(Enum):
    """What a statement may end besides itself; a value that is given ends a routine."""

    LOOP = "loop"
    PROGRAM = "program"


Ended: TypeAlias = End | Value | None
Scope: TypeAlias = dict[str, Value]


class Spent(Exception):  # noqa: N818  running out is no error
    """A limit is used up, or a call failed for good that the program cannot do without."""


@dataclass
class Frame:
    """Where a strand of a program stands: its purse, where its calls hang, what is set.

    `depths` tells how deep each routine may still be nested, `running` which are run in this
    strand with which arguments, `known` what those came to that were.
    """

    view: Search
    at: Node
    scope: Scope
    depths: Mapping[str, int] = field(default_factory=dict)
    running: frozenset[Any] = frozenset()
    known: dict[Any, Value] = field(default_factory=dict)


class Interpreter:
    """Runs a program that was checked with these parameters."""

    def __init__(self, program: Program, params: Mapping[str, Any], retries: int) -> None:
        self.program = program
        self.params = params
        self.retries = retries
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

    def note(self, search: Search, why: Failure) -> None:
        search.failures.append(f"program {self.program.name or 'of the recipe'}: {why}")

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
            case Call():
                await self.call(s, f)
            case Likely():
                f.scope[s.as_] = await self.likely(s, f)
            case Let():
                for name, said in s.let.items():
                    f.scope[name] = made(f.scope, said)
            case Add():
                added = (*f.scope[s.to].items, made(f.scope, s.add))
                f.scope[s.to] = values.listed(added)
            case Make():
                of, n = looked_up(f.scope, s.of), None if s.n is None else self.count(s.n)
                to = text_of(f.scope, s.to or "")
                f.scope[s.as_] = computed(s.make, of, s.by, to, n, s.down)
            case ForEach():
                return await (self.in_turn if s.in_turn else self.abreast)(s, f)
            case Repeat() | While():
                return await self.again(s, f)
            case If():
                return await self.block(s.then if holds(f.scope, s.if_) else s.else_, f)
            case Branch():
                said = key(looked_up(f.scope, s.branch))
                cases = {key(Value(name)): steps for name, steps in s.cases.items()}
                return await self.block(cases.get(said, s.else_), f)
            case Vote():
                f.scope[s.as_] = await self.vote(s, f)
            case Emit():
                self.emit(s, f)
            case Run():
                f.scope[s.as_] = await self.routine(s, f)
            case Give():
                return made(f.scope, s.give)
            case Break() | Stop():
                return End.LOOP if isinstance(s, Break) else End.PROGRAM
        return None

    def count(self, said: int | str) -> int:
        return counted(said, self.params)

    # ------------------------------------------------------------------------------- calls

    def turn(
        self, f: Frame, prompt: Value, shots: Sequence[tuple[Value, Value]] = ()
    ) -> Turn | None:
        """A conversation of its own; the problem as it was put, if it asks just that."""
        said = told(prompt)
        if not shots and said == f.view.problem.prompt:
            return Turn(f.view.problem.messages, afresh=True) if f.at.parent else None
        pairs = [(Message("user", told(a)), Message("assistant", told(b))) for a, b in shots]
        return Turn((*(m for pair in pairs for m in pair), Message("user", said)), afresh=True)

    async def call(self, s: Call, f: Frame) -> None:
        prompt = text_of(f.scope, s.call)
        shots = [(text_of(f.scope, x.ask), text_of(f.scope, x.say)) for x in s.shots]
        read = values.union(v.sources for v in (prompt, *(v for pair in shots for v in pair)))
        ask = {
            "until": "end",
            "model": named(s.model, self.params),
            "sources": read,
            **set_of(s.sampling, self.params),
        }
        turn = self.turn(f, prompt, shots)
        if s.n is None:
            said = await self.reply(s, f, f.view, turn, ask)
        else:

            async def one(view: Search, _: int) -> Value | Spent | Failure:
                try:
                    return await self.reply(s, f, view, turn, ask)
                except (Spent, Failure) as why:
                    return why

            n = f.view.affordable(self.count(s.n))
            replies = await f.view.split(n, one) if n else []
            said = values.listed([reply for reply in replies if isinstance(reply, Value)])
            failed = [reply for reply in replies if isinstance(reply, Failure)]
            if n and not said.data:
                raise failed[0] if failed else Spent
            for why in failed:
                self.note(f.view, why)
        if s.as_ is not None:
            f.scope[s.as_] = said

    async def reply(
        self, s: Call, f: Frame, view: Search, turn: Turn | None, ask: Mapping[str, Any]
    ) -> Value:
        """One reply, parsed; one that cannot be is told so and asked for again."""
        node = await view.draw(f.at, turn=turn, **ask)
        for left in reversed(range(1 + self.retries)):
            if node is None:
                break
            try:
                value = self.parsed(s, f, view, node)
            except Failure as why:
                if not left:
                    if s.default is None:
                        raise Failure(f"{s.as_ or 'a reply'} could not be read: {why}") from None
                    break
                node = await view.draw(node, turn=AGAIN.format(why=why), **ask)
                continue
            if s.emit:
                view.emit(node)
            return value
        if s.default is None or (node is None and view.budget.exhausted):
            raise Spent
        return made(f.scope, s.default)

    def parsed(self, s: Call, f: Frame, view: Search, node: Node) -> Value:
        """What a reply holds. Raises Failure."""
        said = after_thoughts(node.text).strip()
        if (how := s.parse) is None:
            return Value(said, (node,), node)
        if how.by == "answer":
            if (answer := view.answer(node)) is None:
                raise Failure("there is no answer in it")
            return Value(answer.text, (node,))
        entries = looked_up(f.scope, how.source).items if how.source else ()
        data = parsers.parsed(said, how, self.count(how.most), entries)
        if how.by != "pick":
            return values.of(data, (node,))
        picked = tuple(entries[i] for i in data)
        return Value(picked, values.union([(node,), *(v.sources for v in picked)]))

    async def likely(self, s: Likely, f: Frame) -> Value:
        text, after = text_of(f.scope, s.likely), text_of(f.scope, s.after)
        read = values.union([after.sources, text.sources])
        if not text.data:
            return Value(0.0, read)
        turn = self.turn(f, after) or Turn(f.view.problem.messages, afresh=True)
        node = f.view.write(f.at, told(text), turn=turn, sources=read)
        logs = await f.view.likelihood(node, model=named(s.model, self.params))
        if logs is None:
            raise Spent
        return Value(Value(float(logs.sum())).number, (node,))

    # ------------------------------------------------------------------------------- loops

    async def abreast(self, s: ForEach, f: Frame) -> Ended:
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
        before = {k: len(v.data) for k, v in f.scope.items() if isinstance(v.data, tuple)}
        for body in bodies:
            f.known |= body.known
            for name, length in before.items():
                if more := body.scope[name].items[length:]:
                    f.scope[name] = values.listed([*f.scope[name].items, *more])
        return None

    async def in_turn(self, s: ForEach, f: Frame) -> Ended:
        for item in looked_up(f.scope, s.for_each).items[: self.count(s.most)]:
            f.scope[s.item] = item
            if (ended := await self.block(s.do, f)) is not None:
                return None if ended is End.LOOP else ended
        return None

    async def again(self, s: Repeat | While, f: Frame) -> Ended:
        for _ in range(self.count(s.repeat if isinstance(s, Repeat) else s.most)):
            if isinstance(s, While) and not holds(f.scope, s.while_):
                break
            if (ended := await self.block(s.do, f)) is not None:
                return None if ended is End.LOOP else ended
        return None

    async def routine(self, s: Run, f: Frame) -> Value:
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

    # ---------------------------------------------------------------------------- choosing

    async def vote(self, s: Vote, f: Frame) -> Value:
        items = looked_up(f.scope, s.vote).items
        nodes = [v.reply or concluded(f.view, f.at, told(v), v.sources) for v in items]
        by = Stage("aggregator", bind_aggregator(s.by))
        if by.says("SCORES"):
            await f.view.score(*nodes)
        standing = await f.view.agreed([self.candidate(f.view, node, by) for node in nodes])
        try:
            chosen = by.run(standing, f.view) if by.asks else by.run(standing)
            chosen = await chosen if inspect.isawaitable(chosen) else chosen
        except ChoiceError as error:
            raise Failure(f"the vote for {s.as_} came to nothing: {error}") from None
        winner = chosen.candidate if isinstance(chosen, Choice) else chosen
        if not isinstance(winner, Candidate):
            raise Failure(f"the vote for {s.as_} came to nothing: there is no answer to choose")
        return items[[node.path for node in nodes].index(winner.path)]

    def candidate(self, view: Search, node: Node, by: Stage) -> Candidate:
        steps: tuple[float, ...] = ()
        if by.says("SCORES") and view.verifier is not None:
            steps = node.step_scores(view.verifier.name)
        score = view.reward(node) if steps else None
        return Candidate(node.path, view.answer(node), steps=steps, score=score, node=node)

    def emit(self, s: Emit, f: Frame) -> None:
        text = text_of(f.scope, s.emit)
        if not told(text).strip():
            return
        weight = looked_up(f.scope, s.weight).number if isinstance(s.weight, str) else s.weight
        f.view.emit(concluded(f.view, f.at, told(text), text.sources), weight)


def found(problem: Problem, program: Program) -> Scope:
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
