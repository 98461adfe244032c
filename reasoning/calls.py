"""How a search calls a model: leased, retried, metered, and filed in the tree whatever happens."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from reasoning.budget import Budget, Lease
from reasoning.errors import EngineError, TransientError, UserError, VerificationError, cause
from reasoning.events import Heard, Watch, drawn
from reasoning.generate import Generator, Prompt, Sampling
from reasoning.leasing import lease_at_once, lease_for, settle
from reasoning.retry import Retry
from reasoning.seeds import fold
from reasoning.seeds import generator as numpy_generator
from reasoning.strand import Strand
from reasoning.tree import LOST, Finish, FloatArray, Node, Path, RolloutTree, Sample, Turn
from reasoning.usage import NANO, Price, Share, Usage

if TYPE_CHECKING:
    from reasoning.clock import Clock
    from reasoning.problem import Problem
    from reasoning.verify import Verifier

log = logging.getLogger(__name__)

_CUT: dict[str, Any] = {"cut": "by a limit, where this generator cannot go on"}


_Read: TypeAlias = "tuple[Node, Turn | None, str, str]"


@dataclass(slots=True)
class _Call:
    """One call while it is under way. `begun` is what earlier parts of it have produced."""

    prompt: Prompt
    params: Sampling
    sources: tuple[Path, ...]
    finish: Finish | None  # what it is filed as instead of how it ended
    whole: bool  # it shares what is left with those beside it, and may be cut and taken up again
    begun: Sample | None = None
    paid: int = 0  # for the latest attempt, in billionths
    key: int | None = None  # the node's, which is the seed of the call, too

    @property
    def read(self) -> _Read:
        """What its model reads before it says anything, the same for calls side by side."""
        return self.prompt.parent, self.prompt.turn, self.prompt.suffix, self.prompt.model


class Caller:
    """What the views of one search have in common: the tree, what was spent, and how to call."""

    def __init__(
        self,
        tree: RolloutTree,
        *,
        seed: int,
        retry: Retry,
        clock: Clock,
        prices: Mapping[str, Price],
    ) -> None:
        self.tree = tree
        self.seed = seed
        self.retry = retry
        self.clock = clock
        self.prices = prices
        self.watch: Watch | None = None
        self.pieces = False
        """Whether who watches is told of the text of calls under way, too."""
        self.undisturbed = 0.0
        """Seconds for which nobody will leave a call."""
        self.logprobs = True
        """Whether the log-probabilities of samples are of use to anybody."""
        self.usage = Usage(money=0.0 if prices else None)
        self.failures: list[str] = []
        self._read: dict[_Read, Sample] = {}
        """Of each prompt a call that has come to its end, and so was told how long it is."""
        self._unknown: defaultdict[_Read, list[_Call]] = defaultdict(list)
        """The calls that were given up before anybody knew how long their prompt is."""

    def strand(self, *, passing: bool = False) -> Strand:
        """How many tokens came one after another before what the running task does now.

        `passing` is that of `Strand.of`.
        """
        return Strand.of(self, self.usage.critical_tokens, passing=passing)

    async def draw(
        self,
        generator: Generator,
        prompt: Prompt,
        params: Sampling,
        budget: Budget,
        *,
        sources: tuple[Path, ...] = (),
        finish: Finish | None = None,
        whole: bool = False,
    ) -> Node | None:
        """The node that comes of one call; None if it was not allowed, or failed for good.

        A `whole` solution that a limit cuts short is taken up again when others have left
        something, as often as it takes; the generator permitting.
        """
        call = _Call(prompt, params, sources, finish, whole)
        strand = self.strand(passing=True)  # before it waits for anything, and others get further
        attempt, pause = 0, None
        while True:
            lease = None
            if pause is None and call.begun is None:
                lease = lease_at_once(budget, prompt, params.max_tokens, whole=whole)
            if lease is None:
                lease = await self._ready(call, budget, pause)
            if lease is None:
                return self._file(call, call.begun) if call.begun is not None else None
            strand.reach(lease.after)
            try:
                sample = await self._ask(generator, call, lease)
            except asyncio.CancelledError:
                self._waste(call, lease.used)
                self.usage.cancelled_calls += 1
                self._give_up(call, "cancelled", lease.used)
                raise
            except Exception as raised:
                pause = self._missed(call, raised, attempt, lease.used)
                if pause is None:
                    return None
                attempt += 1
                continue
            else:
                sample = self._paid(call, sample, lease)
            finally:
                strand.reach(strand.time + lease.used)
                if strand.time > self.usage.critical_tokens:
                    self.usage.critical_tokens = strand.time
                settle(lease, strand.time, call.paid)
            pause = None
            call.begun = sample if call.begun is None else call.begun + sample
            if sample.finish == "loop":
                self.usage.wasted_tokens += call.begun.generated_tokens
                self._file(call, call.begun)
                return None
            cut = lease.short and sample.finish == "length" and lease.used >= lease.amount
            if not cut or not whole:
                budget.purse("money").exhausted |= cut and lease.capped
                return self._file(call, call.begun)
            if not generator.resumes:
                budget.purse("money" if lease.capped else "tokens").exhausted = True
                return self._file(call, replace(call.begun, info=_CUT | dict(sample.info or {})))

    async def _ready(self, call: _Call, budget: Budget, pause: float | None) -> Lease | None:
        """Wait for `pause` seconds, then for the right to call; None if a limit forbids it.

        What the call has produced by then is filed as waste if it is cancelled meanwhile.
        """
        begun = call.begun.generated_tokens if call.begun else 0
        try:
            if pause is not None:
                await self.clock.sleep(pause)
            tokens, price = call.params.max_tokens - begun, self._price(call)
            return await lease_for(budget, call.prompt, tokens, whole=call.whole, price=price)
        except asyncio.CancelledError:
            if call.begun is not None:
                self.usage.cancelled_calls += 1
                self._give_up(call, "cancelled", 0)
            raise

    def _ask(self, generator: Generator, call: _Call, lease: Lease) -> Awaitable[Sample]:
        """One attempt, to be awaited. Whatever it comes to is paid for."""
        prompt, begun = call.prompt, call.begun
        self.usage.calls += 1
        if prompt.model:
            self.usage.models.setdefault(prompt.model, Share()).calls += 1
        seed = call.key = fold(prompt.parent.key, prompt.slot)
        if begun is not None:
            prompt = replace(prompt, begun=begun)
            seed = fold(seed, "more", begun.generated_tokens)
        granted = call.params
        if self.pieces:
            prompt = replace(prompt, hear=self._hearing(prompt))
        if lease.amount != granted.max_tokens:
            granted = replace(granted, max_tokens=lease.amount)
        return generator.generate(prompt, granted, seed=seed, meter=lease.meter)

    def _paid(self, call: _Call, sample: Sample, lease: Lease) -> Sample:
        """What an attempt has brought, counted."""
        lease.used = max(lease.used, sample.generated_tokens)
        self._spend(call, lease.used, sample.prompt_tokens, sample.cached_tokens)
        if call.begun is None and call.read not in self._read:
            self._read[call.read] = sample
            for other in self._unknown.pop(call.read, ()):
                self.usage.unknown_prompts -= 1
                self._read_in_vain(other, sample)
        if call.finish == "probe":
            self.usage.probe_tokens += lease.used
        self.usage.estimated_tokens += _guessed(sample, lease.used)
        model = call.prompt.model
        return replace(sample, model=model) if model else sample

    def _hearing(self, prompt: Prompt) -> Callable[[str], None]:
        """Tells whoever watches what one attempt at a call says."""
        path, at = prompt.path, len(prompt.begun.text) if prompt.begun else 0

        def hear(text: str) -> None:
            nonlocal at
            if self.watch is not None:
                self.watch(Heard(path, at, text))
            at += len(text)

        return hear

    def _price(self, call: _Call) -> Price | None:
        """What the model that is asked costs; None if nobody says."""
        return self.prices.get(call.prompt.model)

    def _spend(self, call: _Call, generated: int, prompt: int = 0, cached: int = 0) -> None:
        usage, model = self.usage, call.prompt.model
        usage.generated_tokens += generated
        usage.prompt_tokens += prompt
        usage.cached_tokens += cached
        if model:
            usage.models[model] += Share(generated, prompt, cached)
        if usage.money is not None:
            price = self._price(call)
            call.paid = 0 if price is None else price.of(prompt, cached, generated)
            usage.money = None if price is None else usage.money + call.paid / NANO

    def _waste(self, call: _Call, tokens: int) -> None:
        """An attempt has produced `tokens` in vain; if it has produced any, it has read its prompt.

        That is as long as for a call which read the same and came to its end, now or later.
        """
        self._spend(call, tokens)
        self.usage.wasted_tokens += tokens
        if not tokens:
            return
        if known := self._read.get(call.read):
            self._read_in_vain(call, known)
        else:
            self._unknown[call.read].append(call)
            self.usage.unknown_prompts += 1

    def _read_in_vain(self, call: _Call, known: Sample) -> None:
        paid, begun = call.paid, call.begun.generated_tokens if call.begun else 0
        self._spend(call, 0, known.prompt_tokens + begun, known.cached_tokens)
        self.usage.estimated_tokens += _guessed(known, 0)
        call.paid += paid

    def _missed(self, call: _Call, raised: Exception, attempt: int, tokens: int) -> float | None:
        """An attempt has failed: seconds until the next; None if there is none, and it is filed."""
        self._waste(call, tokens)
        error = self.own_failure(raised)
        pause = self.pause(attempt, error, *call.prompt.path)
        if pause is None:
            self.note(f"generating {call.prompt.path}", error)
            self._give_up(call, "failed", tokens, {"error": f"{type(error).__name__}: {error}"})
        return pause

    def _give_up(
        self, call: _Call, finish: Finish, tokens: int, info: Mapping[str, str] | None = None
    ) -> None:
        """File a call that came to nothing; what earlier parts of it produced was in vain, too."""
        before = call.begun.generated_tokens if call.begun else 0
        self.usage.wasted_tokens += before
        sample = Sample("", finish=finish, generated_tokens=before + tokens, info=info)
        self._file(call, sample)

    def _file(self, call: _Call, sample: Sample) -> Node:
        prompt = call.prompt
        if call.finish is not None and sample.finish not in LOST:
            info = {**(sample.info or {}), "suffix": prompt.suffix, "ended": sample.finish}
            sample = replace(sample, finish=call.finish, info=info)
        return self.add(prompt.parent, prompt.slot, sample, prompt.turn, call.sources, call.key)

    def add(
        self,
        parent: Node,
        slot: int,
        sample: Sample,
        turn: Turn | None,
        sources: tuple[Path, ...],
        key: int | None = None,
    ) -> Node:
        """File a node in the tree, and tell whoever watches."""
        node = self.tree.add(parent, slot, sample, turn, sources, key=key)
        if self.watch is not None:
            self.watch(drawn(node))
        return node

    async def score(
        self, verifier: Verifier, problem: Problem, nodes: Sequence[Node], budget: Budget
    ) -> list[tuple[float, ...]] | None:
        """The scores of the steps of each node, one or siblings, by one call.

        None of a node if its scoring failed; None at all if it was not allowed.
        """
        where, meter = nodes[0].path, self._count_verifier
        for attempt in range(self.retry.attempts):
            purse = budget.verifier_calls
            lease = purse.at_once(1) or await purse.lease(1)
            if lease is None:
                return None
            lease.used = 1
            self.usage.verifier_calls += 1
            try:
                if len(nodes) == 1:
                    return [_steps(await verifier.score(problem, nodes[0], meter=meter))]
                many = await verifier.score_siblings(problem, nodes, meter=meter)
                return [self._told(*pair) for pair in zip(nodes, many, strict=True)]
            except Exception as raised:
                error = self.own_failure(raised)
                pause = self.pause(attempt, error, "score", *where)
                if pause is None:
                    self.note(f"scoring {where}", error)
                    break
            finally:
                lease.settle()
            await self.clock.sleep(pause)
        return [()] * len(nodes)

    def _told(self, node: Node, found: Sequence[float] | Exception) -> tuple[float, ...]:
        """What a call said of one of several nodes."""
        try:
            if isinstance(found, Exception):
                raise found
            return _steps(found)
        except VerificationError as error:
            self.note(f"scoring {node.path}", error)
            return ()

    async def read(
        self, generator: Generator, problem: Problem, node: Node, question: bool, model: str
    ) -> FloatArray | None:
        """The log-probabilities [tokens] of the node's tokens; None if the call fails."""
        assert node.parent is not None, "the root holds no text"
        prompt = Prompt(problem, node.parent, node.slot, turn=node.turn, model=model)
        sample = node.sample
        healed = "heals" in (sample.info or {})  # its tokens say more than its text
        if sample.model != model or healed:  # another model's tokens mean nothing to this one
            sample = replace(sample, token_ids=None)
        for attempt in range(self.retry.attempts):
            self.usage.calls += 1
            try:
                return await generator.score_text(
                    prompt, sample, question=question, meter=self._count_prompt
                )
            except Exception as raised:
                error = self.own_failure(raised)
                pause = self.pause(attempt, error, "likelihood", *node.path)
                if pause is None:
                    self.note(f"reading {node.path}", error)
                    break
            await self.clock.sleep(pause)
        return None

    def _count_prompt(self, tokens: int) -> None:
        self.usage.prompt_tokens += tokens

    def _count_verifier(self, tokens: int) -> None:
        self.usage.verifier_tokens += tokens

    def pause(self, attempt: int, error: BaseException, *key: str | int) -> float | None:
        """Seconds until a failed call is tried again; None if it is not."""
        if self.retry.raises and isinstance(error, TransientError):
            raise error
        if not isinstance(error, TransientError) or attempt + 1 == self.retry.attempts:
            return None
        self.usage.retried_calls += 1
        rng = numpy_generator(self.seed, self.tree.problem_id, "rng", "retry", *key, attempt)
        return self.retry.delay(attempt, error.retry_after, rng.random())

    def own_failure(self, raised: Exception) -> BaseException:
        """What failed in a call, out of whatever group; raises it if it stops the whole run."""
        error = cause(raised)
        if isinstance(error, (EngineError, UserError)):
            raise error from (None if error is raised else raised)
        return error

    def note(self, what: str, error: BaseException) -> None:
        """Count a failure, and keep what it was."""
        self.usage.failed_calls += 1
        self.failures.append(f"{what}: {type(error).__name__}: {error}")
        log.info("problem %s, %s failed: %s", self.tree.problem_id, what, error)


def _steps(found: Sequence[float]) -> tuple[float, ...]:
    """Scores as they are kept. Raises VerificationError for one that is none."""
    steps = tuple(map(float, found))
    if not all(map(math.isfinite, steps)):
        raise VerificationError(f"a score is not a finite number: {steps}")
    return steps


def _guessed(sample: Sample, generated: int) -> int:
    """The tokens of a call that the server has not counted."""
    info = sample.info or {}
    if info.get("estimated_tokens"):
        return generated + sample.prompt_tokens
    return sample.prompt_tokens if info.get("estimated_prompt_tokens") else 0
