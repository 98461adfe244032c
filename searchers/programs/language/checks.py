"""Programs of prompts are checked before they run: names, kinds, paths, ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasoning.chain import Stage
from reasoning.errors import RecipeError, unknown
from reasoning.generate import Sampling
from reasoning.runs.names import bind_aggregator
from searchers.programs.language import kinds
from searchers.programs.language import statements as st
from searchers.programs.language.kinds import ANY, NUMBER, RAW, TEXT, Kind, joined
from searchers.programs.language.naming import Env, Names, set_of
from searchers.programs.language.patterns import compiled_pattern
from searchers.programs.language.values import each, references

BUILT_IN: Mapping[str, Kind] = {"question": TEXT, "options": kinds.list_of(TEXT)}
"""What every program finds: the problem as it is put to a model, the options of its answer."""

_BINDS = frozenset({"choice", "regex", "json_schema"})

DEEPEST = 50
"""How often a routine may run within itself."""


def check(program: st.Program, params: Mapping[str, Any]) -> None:
    """Raise RecipeError for the first mistake in a program with these parameters, and where."""
    known = {name: kinds.of_data(value) for name, value in params.items()}
    known |= {name: kinds.of_data(value) for name, value in program.row.items()}
    for name in (*program.params, *program.row):
        if name in BUILT_IN or (name in program.params and name in program.row):
            raise RecipeError(f"params: the name {name!r} is taken; choose another")
    known = {**BUILT_IN, **known}
    for name, routine in program.routines.items():
        where = f"routines.{name}"
        if taken := [n for n in routine.takes if n in known]:
            raise RecipeError(f"{where}.takes: the name {taken[0]!r} is taken; choose another")
        inner = {**known, **dict.fromkeys(routine.takes, ANY), "left": NUMBER}
        checker = _Checker(program, params, frozenset(inner), routine=name)
        if checker.count(routine.depth, f"{where}.depth") > DEEPEST:
            raise RecipeError(f"{where}.depth: {DEEPEST} is the most that routines are nested")
        checker.expression(routine.else_, f"{where}.else", inner)
        checker.block(routine.steps, f"{where}.steps", inner)
    _Checker(program, params, frozenset(known)).block(program.steps, "steps", dict(known))


class _Checker(Names):
    """Goes through the statements."""

    # ------------------------------------------------------------------------------ paths

    def block(self, steps: Sequence[Any], where: str, env: Env) -> Env | None:
        """What is set behind the steps; None if nothing gets there."""
        now: Env | None = env
        for i, step in enumerate(steps):
            here = f"{where}[{i}]"
            if now is None:
                raise self.fail(here, "it is never reached: the step before it ends everything")
            now = self.step(step, f"{here}.{step.VERB}", now)
        return now

    def step(self, s: Any, where: str, env: Env) -> Env | None:
        match s:
            case st.ForEach() | st.Repeat() | st.While():
                self.loops(s, where, env)
            case st.If():
                self.condition(s.if_, where, env)
                return self.merged([(s.then, f"{where}.then"), (s.else_, f"{where}.else")], env)
            case st.Branch():
                self.parsed(s.branch, where, env)
                cases = [(block, f"{where}.cases.{name}") for name, block in s.cases.items()]
                return self.merged([*cases, (s.else_, f"{where}.else")], env)
            case st.Give() | st.Break() | st.Stop():
                self.ends(s, where, env)
                return None
            case _:
                self.simple(s, where, env)
        return env

    def merged(self, blocks: Sequence[tuple[Sequence[Any], str]], env: Env) -> Env | None:
        """What is set on all paths through these blocks."""
        ends = [self.block(steps, where, dict(env)) for steps, where in blocks]
        reached = [end for end in ends if end is not None]
        return both(reached) if reached else None

    def loops(self, s: Any, where: str, env: Env) -> None:
        """A body, of which nothing need be done; it is looked at twice, as values may change."""
        item = self.listed(s.for_each, where, env) if isinstance(s, st.ForEach) else None
        if not isinstance(s, st.Repeat):
            self.count(s.most, f"{where}.most")
        else:
            self.count(s.repeat, where)
        abreast = isinstance(s, st.ForEach) and not s.in_turn
        before = self.loop, self.abreast
        self.loop, self.abreast = not abreast, abreast or self.abreast
        for _ in range(2):
            start = dict(env)
            if isinstance(s, st.While):
                self.condition(s.while_, where, start)
            if isinstance(s, st.ForEach):
                self.new(s.item, item or ANY, f"{where}.item", start)
            end = self.block(s.do, f"{where}.do", start)
            if end is not None:  # of those that stand side by side only lists grow
                kept = {n: joined(k, end[n]) or k for n, k in env.items() if n in end}
                lists = {n: k for n, k in kept.items() if k.name == "list" or not abreast}
                env.update(lists)
        self.loop, self.abreast = before

    def ends(self, s: Any, where: str, env: Env) -> None:
        if isinstance(s, st.Break) and not self.loop:
            raise self.fail(where, "there is no loop to end here: only one that goes in turn")
        if isinstance(s, st.Give):
            if not self.routine:
                raise self.fail(where, "only a routine gives something; say stop, or emit")
            kind = self.expression(s.give, where, env)
            usual = self.given(self.routine)
            if ANY not in (kind, usual) and kind != RAW and joined(kind, usual) == ANY:
                raise self.fail(where, f"it is {kind}, where else is {usual}")
        if isinstance(s, st.Stop) and self.routine:
            raise self.fail(where, "a routine ends with give")
        if self.abreast and not isinstance(s, st.Break):
            raise self.fail(where, "bodies run side by side here; say in_turn: true, or break")

    def given(self, routine: str) -> Kind:
        """What a routine comes to: the kind of its `else`."""
        said = self.program.routines[routine].else_
        return ANY if any(map(references, each(said))) else kinds.of_data(said)

    # -------------------------------------------------------------------------- statements

    def simple(self, s: Any, where: str, env: Env) -> None:
        match s:
            case st.Call():
                self.call(s, where, env)
            case st.Likely():
                self.expression(s.likely, where, env)
                self.expression(s.after, f"{where}.after", env)
                self.model(s.model, f"{where}.model")
                self.new(s.as_, NUMBER, f"{where}.as", env)
            case st.Let():
                for name, said in s.let.items():
                    kind = self.expression(said, f"{where}.{name}", env)
                    self.new(name, kind, f"{where}.{name}", env)
            case st.Add():
                held = env.get(s.to)
                if held is None or held.name not in ("list", "any"):
                    raise self.fail(f"{where}.to", f"{s.to!r} is no list yet; let: {{{s.to}: []}}")
                grown = joined(held.item, self.expression(s.add, where, env))
                self.new(s.to, kinds.list_of(grown), f"{where}.to", env)
            case st.Make():
                self.make(s, where, env)
            case st.Vote():
                item = self.listed(s.vote, where, env)
                if Stage("aggregator", bind_aggregator(s.by)).says("FILTERS"):
                    raise self.fail(f"{where}.by", f"{s.by} keeps several; name one that chooses")
                self.new(s.as_, item or ANY, f"{where}.as", env)
            case st.Emit():
                self.expression(s.emit, where, env)
                if isinstance(s.weight, str):
                    kind = self.reference(s.weight, f"{where}.weight", env)
                    if kind.name not in ("number", "any"):
                        raise self.fail(f"{where}.weight", f"{s.weight!r} is {kind}, and no number")
            case st.Run():
                self.run(s, where, env)

    def call(self, s: st.Call, where: str, env: Env) -> None:
        self.expression(s.call, where, env)
        for i, shot in enumerate(s.shots):
            self.expression(shot.ask, f"{where}.shots[{i}].ask", env)
            self.expression(shot.say, f"{where}.shots[{i}].say", env)
        self.model(s.model, f"{where}.model")
        source = None
        if (parse := s.parse) is not None:
            if parse.source is not None:
                source = kinds.list_of(self.listed(parse.source, f"{where}.parse", env))
            if parse.by == "regex":
                try:
                    compiled_pattern(parse.pattern)
                except ValueError as error:
                    raise self.fail(f"{where}.parse", str(error)) from None
            self.count(parse.most, f"{where}.parse.most")
            if parse.by == "one_of" and (more := _BINDS.intersection(s.sampling)):
                raise self.fail(
                    f"{where}.sampling", f"one_of says what is said, and {min(more)} too"
                )
        kind = kinds.of_parse(parse, source)
        if s.default is not None:
            usual = self.expression(s.default, f"{where}.default", env)
            kind = joined(kind, usual) or ANY
        if s.n is not None:
            self.count(s.n, f"{where}.n")
            kind = kinds.list_of(kind)
        try:
            Sampling(max_tokens=1).with_changes(set_of(s.sampling, self.params))
        except RecipeError as error:
            raise self.fail(f"{where}.sampling", str(error)) from None
        self.new(s.as_, kind, f"{where}.as", env)

    def model(self, said: str, where: str) -> None:
        for name in references(said):
            if name not in self.params:
                raise self.fail(where, f"{unknown('parameter', name, self.params)}")

    def make(self, s: st.Make, where: str, env: Env) -> None:
        of = f"{where}.of"
        kind = self.reference(s.of, of, env)
        item = None if s.make in ("minus", "split", "spans") else self.listed(s.of, of, env)
        if s.by is not None and s.by != "length" and item is not None:
            self.part(item, s.by, f"{s.of}.{s.by}", f"{where}.by")
        if s.to is not None:
            self.expression(s.to, f"{where}.to", env)
        if s.n is not None:
            self.count(s.n, f"{where}.n")
        found = {"count": NUMBER, "sum": NUMBER, "mix": NUMBER, "minus": NUMBER, "join": TEXT}
        found |= dict.fromkeys(("split", "spans"), kinds.list_of(TEXT))
        kind = found.get(s.make, kind)
        if s.make == "first" and s.n is None:
            kind = item or ANY
        if s.make == "softmax" and item is not None and item.fields is not None:
            kind = kinds.list_of(Kind("record", fields={**item.fields, "share": NUMBER}))
        self.new(s.as_, kind, f"{where}.as", env)

    def run(self, s: st.Run, where: str, env: Env) -> None:
        if s.run not in self.program.routines:
            raise self.fail(where, unknown("routine", s.run, self.program.routines))
        takes = self.program.routines[s.run].takes
        if wrong := [name for name in s.with_ if name not in takes]:
            raise self.fail(f"{where}.with", unknown(f"argument of {s.run}", wrong[0], takes))
        if lacking := [name for name in takes if name not in s.with_]:
            raise self.fail(
                f"{where}.with", f"{s.run} takes {', '.join(takes)}, and {lacking[0]} is not there"
            )
        for name, said in s.with_.items():
            self.expression(said, f"{where}.with.{name}", env)
        self.new(s.as_, self.given(s.run), f"{where}.as", env)


def both(envs: Sequence[Env]) -> Env:
    """What is set in all of them."""
    first, *others = envs
    found = {}
    for name, kind in first.items():
        if all(name in other for other in others):
            for other in others:
                kind = joined(kind, other[name]) or ANY
            found[name] = kind
    return found
