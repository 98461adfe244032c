"""What statements of programs ask of the search: calls, likelihoods, votes, candidates."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reasoning.aggregators import Candidate, Choice
from reasoning.answers import after_thoughts
from reasoning.chain import Stage
from reasoning.errors import ChoiceError
from reasoning.problem import Message
from reasoning.runs.names import bind_aggregator
from reasoning.search import Search
from reasoning.tree import Node, Turn
from searchers.programs.language import parsers, values
from searchers.programs.language.bounds import named
from searchers.programs.language.naming import counted, set_of
from searchers.programs.language.parts import Parse
from searchers.programs.language.statements import Call, Emit, Likely, Program, Vote
from searchers.programs.language.values import Failure, Value, looked_up, made, text_of, told
from searchers.threads.plans import concluded

AGAIN = "That cannot be used: {why}. Answer again, in the form that was asked for."
"""What is said to a reply that cannot be parsed."""

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


class Asking:
    """The statements that draw, read, choose and put forward, with a program's parameters."""

    def __init__(self, program: Program, params: Mapping[str, Any], retries: int) -> None:
        self.program = program
        self.params = params
        self.retries = retries

    def note(self, search: Search, why: Failure) -> None:
        search.failures.append(f"program {self.program.name or 'of the recipe'}: {why}")

    def count(self, said: int | str) -> int:
        return counted(said, self.params)

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
        ask: dict[str, Any] = {
            "until": "end",
            "model": named(s.model, self.params),
            "sources": read,
            **set_of(s.sampling, self.params),
        }
        if (
            s.parse is not None
            and s.parse.by == "one_of"
            and await f.view.can("choice", ask["model"])
        ):
            ask["choice"] = self.texts(s.parse, f)
        ask["turn"] = self.turn(f, prompt, shots)
        if s.n is None:
            said = await self.reply(s, f, f.view, ask)
        else:
            said = values.listed(await self.several(s, f, ask))
            if self.count(s.n) and not said.data:
                raise Spent
        if s.as_ is not None:
            f.scope[s.as_] = said

    async def several(self, s: Call, f: Frame, ask: Mapping[str, Any]) -> list[Value]:
        """Replies side by side, those that there are and that can be parsed, in their order."""
        n = f.view.affordable(self.count(s.n or 0))
        if s.parse is None and s.default is None:
            nodes = await f.view.draws(f.at, n, land=f.view.emit if s.emit else None, **ask)
            return [await self.parsed(s, f, f.view, node) for node in nodes]

        async def one(view: Search, _: int) -> Value | Spent | Failure:
            try:
                return await self.reply(s, f, view, ask)
            except (Spent, Failure) as why:
                return why

        replies = await f.view.split(n, one) if n else []
        said = [reply for reply in replies if isinstance(reply, Value)]
        failed = [reply for reply in replies if isinstance(reply, Failure)]
        if failed and not said:
            raise failed[0]
        for why in failed:
            self.note(f.view, why)
        return said

    async def reply(self, s: Call, f: Frame, view: Search, ask: Mapping[str, Any]) -> Value:
        """One reply, parsed; one that cannot be is told so and asked for again."""
        node = await view.draw(f.at, **ask)
        for left in reversed(range(1 + self.retries)):
            if node is None:
                break
            try:
                value = await self.parsed(s, f, view, node)
            except Failure as why:
                if not left:
                    if s.default is None:
                        raise Failure(f"{s.as_ or 'a reply'} could not be read: {why}") from None
                    break
                node = await view.draw(node, **{**ask, "turn": AGAIN.format(why=why)})
                continue
            if s.emit:
                view.emit(node)
            return value
        if s.default is None or (node is None and view.budget.exhausted):
            raise Spent
        return made(f.scope, s.default)

    def texts(self, how: Parse, f: Frame) -> tuple[str, ...]:
        """What a reply is held to: the texts of a list, each once. Raises Failure."""
        found = dict.fromkeys(told(v) for v in looked_up(f.scope, how.source or "").items)
        if not (texts := tuple(text for text in found if text)):
            raise Failure(f"{how.source} has no text that a reply may be")
        return texts

    async def parsed(self, s: Call, f: Frame, view: Search, node: Node) -> Value:
        """What a reply holds. Raises Failure."""
        said = after_thoughts(node.text).strip()
        if (how := s.parse) is None:
            return Value(said, (node,), node)
        if how.by == "answer":
            if (answer := view.answer(node)) is None:
                raise Failure("there is no answer in it")
            return Value(answer.text, (node,))
        entries = looked_up(f.scope, how.source).items if how.source else ()
        data = await parsers.parsed(said, how, self.count(how.most), [told(v) for v in entries])
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
