"""How a search draws: who is asked, how it samples, in which slot; one call, or many at once."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, islice, repeat
from numbers import Integral
from types import CoroutineType
from typing import Any, Literal, TypeAlias

from reasoning.errors import RecipeError
from reasoning.generate import Generator, Prompt, Sampling, conversation
from reasoning.ground import Ground, node_of
from reasoning.strand import Fork
from reasoning.thinking import think
from reasoning.tree import Node, Sample, Turn

Until: TypeAlias = Literal["step", "end"]
Land: TypeAlias = Callable[[Node], Awaitable[None] | None]
"""Called with a node when it is there; a coroutine is awaited before the next thing is done with
that node."""


class Drawing(Ground):
    """The verbs of `Search` that draw, and write."""

    def draw(
        self,
        node: Node,
        *,
        until: Until = "step",
        model: str = "",
        turn: Turn | str | None = None,
        sources: Iterable[Node] = (),
        urgency: float | None = None,
        land: Land | None = None,
        **sampling: Any,
    ) -> Coroutine[Any, Any, Node | None]:
        """Draw one sample below `node`: one step, or all the way to the end.

        `sampling` changes any field of `Sampling` for this call (None: as it is). `model` names
        who is asked. With `turn` the model answers that: a text is what the user says next in the
        conversation, a `Turn` may also start afresh. `sources` are other nodes whose text the call
        reads.
        `urgency` says how much the search wants this call: see `reasoning.generate.Prompt`.
        `land` is called with the node as soon as it is there, so that what has landed is not lost
        when time is up: `land=search.emit` makes it a candidate.

        None if a limit is used up, or if the call failed for good. Slots, and so seeds, are given
        in the order of the calls of this function, whenever their coroutines are awaited. Raises
        RecipeError for a field that the generator cannot honour, before anything is spent.
        """
        if until != "step" and until != "end":
            raise ValueError(f"until is 'step' or 'end', not {until!r}")
        node_of("draw", node)
        self._caller.strand()
        thinking = self._model(model).thinking
        bound = thinking is not None and thinking.tokens is not None
        draw = partial(think, thinking, self) if thinking and bound else self._draw
        call = draw(
            node,
            self._take(node),
            until=until,
            model=model,
            sampling=sampling or _AS_IT_IS,
            turn=_turn(turn),
            sources=sources,
            urgency=urgency,
            land=None if bound else land,
        )
        return _landing(call, land) if bound else call

    async def draws(
        self, node: Node, n: int, *, land: Land | None = None, hedge: bool = False, **draw: Any
    ) -> list[Node]:
        """Draw `n` samples below `node`, side by side; fewer if a limit is used up.

        With `hedge` the first of them is greedy, the others are as they would be without (hedged
        sampling, 2025, arXiv:2506.20544). Other options are those of `draw`.
        """
        if not isinstance(n, Integral):
            raise TypeError(f"search.draws draws a whole number of samples, not {n!r}; round it")
        call = partial(self.draw, node, land=land, **draw)
        calls = repeat(call, self.affordable(n))
        if not hedge:
            return await self.side_by_side(calls)
        return await self.side_by_side(chain([partial(hedged, call)], islice(calls, 1, None)))

    def affordable(self, n: int) -> int:
        """Of `n` calls those worth making ready: what limits leave a token and a call for, and one.

        That one meets the limit. Raises RecipeError for more calls at once than a search may make
        without a limit.
        """
        for kind in ("tokens", "calls"):
            if self.budget.bounds(kind):
                n = min(n, (self.budget.purse(kind).left or 0) + 1)
        if n > MOST:
            raise RecipeError(too_many(n))
        return n

    async def side_by_side(
        self, calls: Iterable[Callable[[], Awaitable[Node | None]]], land: Land | None = None
    ) -> list[Node]:
        """The nodes of all calls, made at once, in the order of the calls; see `draw`."""
        here = self._caller.strand()
        fork = Fork(here)  # all start now, whoever of them runs first
        try:
            async with TaskGroup() as group:
                tasks = []
                with fork:
                    for i, call in enumerate(calls, start=1):
                        tasks.append(group.create_task(_landing(call(), land)))
                        if i % _BREATH == 0:  # others may run, and an interruption is heard
                            await asyncio.sleep(0)
        finally:
            fork.join(here)
        return [node for task in tasks if (node := task.result()) is not None]

    def write(
        self,
        node: Node,
        text: str,
        *,
        turn: Turn | str | None = None,
        sources: Iterable[Node] = (),
        instead: bool = False,
    ) -> Node:
        """Put `text` behind `node` as if the model had said it; the new node.

        It costs nothing here: whoever goes on from it reads it as part of its prompt, in its own
        tokens, which split none of those before. With `instead` it takes the place of the whole
        text that `node` ends, which stays in the tree above it: a thought cut off, or changed.
        """
        node_of("write", node)
        if not isinstance(text, str):
            raise TypeError(f"search.write puts text into a path, not {text!r}; make it a string")
        sample = Sample(text, finish="written")
        if instead:
            turn = Turn(conversation(self.problem, node), afresh=True)
            sources = (node, *sources)
        read = tuple(source.path for source in sources)
        return self._caller.add(node, self._take(node), sample, _turn(turn), read)

    async def probe(
        self,
        node: Node,
        suffix: str = "",
        *,
        tokens: int = 1,
        top: int = 20,
        model: str = "",
        **sampling: Any,
    ) -> Node | None:
        """What the model would say behind `node` and `suffix`: a node with `top_logprobs`.

        The path stays as it is: the node stands beside it in the tree (finish "probe"), is paid
        for, and is never a candidate. Greedy unless `temperature` says otherwise. Asked again, the
        same probe is not made again, except by a view with a purse of its own: whoever waited for
        what another pays could wait for ever. None if a limit is used up, or if the call failed
        for good.
        """
        node_of("probe", node)
        if not isinstance(suffix, str):
            raise TypeError(f"search.probe looks behind a text, not {suffix!r}; make it a string")
        key = (self.budget, node, suffix, tokens, top, model, repr(sorted(sampling.items())))
        while isinstance(known := self._probes.get(key), asyncio.Event):
            await known.wait()
        if known is not None:
            return known
        ready = self._probes[key] = asyncio.Event()
        options = {"temperature": 0.0, "top_logprobs": top, "max_tokens": tokens, **sampling}
        try:
            found = await self._draw(
                node, self._take(node), until="end", model=model, sampling=options, suffix=suffix
            )
            if found is not None:
                self._probes[key] = found
            return found
        finally:
            if self._probes[key] is ready:
                del self._probes[key]
            ready.set()

    async def _draw(
        self,
        node: Node,
        slot: int,
        *,
        until: Until,
        model: str,
        sampling: Mapping[str, Any],
        turn: Turn | None = None,
        sources: Iterable[Node] = (),
        urgency: float | None = None,
        suffix: str | None = None,
        land: Land | None = None,
    ) -> Node | None:
        generator = self._model(model)
        whole = until == "end" and suffix is None
        caller, undisturbed = self._caller, 0.0
        # What a limit may end is worth knowing before it ends.
        if whole and not self.budget.bounds("tokens", "money"):
            undisturbed = caller.undisturbed
        prompt = Prompt(
            self.problem, node, slot, turn, None, suffix or "", model, urgency, None,
            undisturbed, caller.logprobs,
        )  # fmt: skip
        params = self._params(generator, prompt, until, sampling, suffix is not None)
        found = None
        if params is not None:
            found = await caller.draw(
                generator,
                prompt,
                params,
                self.budget,
                sources=tuple([source.path for source in sources]) if sources else (),
                finish=None if suffix is None else "probe",
                whole=whole,
            )
        if found is None:
            await asyncio.sleep(0)  # who asks in a loop hears all the same that time is up
        elif land is not None and (more := land(found)) is not None:
            caller.strand()  # for tasks that are started there
            await more
        return found

    def _params(
        self,
        generator: Generator,
        prompt: Prompt,
        until: Until,
        sampling: Mapping[str, Any],
        probing: bool,
    ) -> Sampling | None:
        """How the call draws, which the generator can; None if the path has used up its tokens."""
        room = self.sampling.max_tokens
        asked = sampling.get("max_tokens")
        if asked is not None and not isinstance(asked, Integral):
            raise RecipeError(f"sampling.max_tokens is {asked!r}; it is a whole number of tokens")
        if not probing:
            room -= prompt.written
        most = room if asked is None else int(asked) if probing else min(room, int(asked))
        if until == "step":
            most = min(most, self.step.max_tokens)
        if most < 1:
            return None
        key = (id(generator), until, most, repr(sampling) if sampling else "")
        if (known := self._drawn.get(key)) is None:
            known = self._changed(until, most, sampling)
            generator.refuse(known)
            self._drawn[key] = known
        return known

    def _changed(self, until: Until, most: int, sampling: Mapping[str, Any]) -> Sampling:
        """The search's own sampling with what one call changes."""
        changes = {name: value for name, value in sampling.items() if value is not None}
        if until == "end" and not changes and most == self.sampling.max_tokens:
            return self.sampling
        changed = self.sampling.with_changes({**changes, "max_tokens": most})
        if until == "step":
            changed = replace(changed, stop=(*changed.stop, *self.step.stop))
        return changed

    def _take(self, node: Node) -> int:
        """The next free slot below `node`."""
        if node.sample.finish == "probe":
            raise ValueError(
                f"the probe at {node.path} stands beside the path and nothing follows it; go on "
                "from its parent"
            )
        slot = self._slots.get(node)
        if slot is None:
            slot = 1 + max((child.slot for child in node.children), default=-1)
        self._slots[node] = slot + 1
        return slot


_AS_IT_IS: Mapping[str, Any] = {}
"""No change of how a call samples."""

_BREATH = 4096
"""Calls that are made ready in a row."""

MOST = 1_000_000
"""Calls that a search may make at once where no limit bounds them: each takes some 3 kB."""


def too_many(n: int) -> str:
    """What is said where so many calls are asked for without a limit."""
    return (
        f"{n} calls at once without a limit; a search makes at most {MOST:,} at once: ask for "
        "fewer, or set limits.tokens or limits.calls, which bound them"
    )


def _landing(call: Awaitable[Node | None], land: Land | None) -> Coroutine[Any, Any, Node | None]:
    """A coroutine that gives what `call` gives, after `land` has seen it."""
    if land is None and type(call) is CoroutineType:
        return call
    return _landed(call, land)


async def _landed(call: Awaitable[Node | None], land: Land | None) -> Node | None:
    node = await call
    if node is not None and land is not None and (more := land(node)) is not None:
        await more
    return node


def hedged(draw: Callable[..., Awaitable[Node | None]]) -> Coroutine[Any, Any, Node | None]:
    """What `draw` draws greedily, marked as such: it is no sample like the others."""
    return _marked(draw(temperature=0.0))


async def _marked(call: Awaitable[Node | None]) -> Node | None:
    node = await call
    if node is not None:
        node.sample = replace(node.sample, info={**(node.sample.info or {}), "hedge": True})
    return node


def _turn(turn: Turn | str | None) -> Turn | None:
    return Turn.user(turn) if isinstance(turn, str) else turn
