"""Process reward models on vLLM, in this process or behind HTTP: a score for every step.

Math-Shepherd (Wang et al., 2023, arXiv:2312.08935) describes the kind of model; the formats of the
ones people use are in `verifiers.engines.prm_families`.
"""

from __future__ import annotations

import hashlib
import json
from asyncio import TaskGroup
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from reasoning.backends import checkpoint
from reasoning.errors import CallError, RecipeError, VerificationError, cause, unknown
from reasoning.generate import Meter
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.tree import Node
from reasoning.verify import Batches, Reduction, Scores, Verifier, reading
from verifiers.engines.pooling import Pooled, PoolingEngine, PoolingServer, Rows
from verifiers.engines.prm_families import FAMILIES, Family, Layout, Tokens, family_of
from verifiers.engines.steps import STEP_BREAK, new_steps

_REMEMBERED = 1 << 16
"""Scores kept for paths that come back or go on."""


@names.validated
def vllm_prm(
    *,
    model: str,
    base_url: str | list[str] | None = None,
    family: str | None = None,
    tokenizer: str | None = None,
    step_break: Annotated[str, Field(min_length=1)] = STEP_BREAK,
    max_batch: Annotated[int, Field(ge=1)] = 32,
    in_flight: Annotated[int, Field(ge=1)] = 8,
    api_key_env: str = "OPENAI_API_KEY",
    reduction: Reduction | None = None,
    **engine: Any,
) -> VllmPRM:
    """A process reward model on vLLM: one score in [0, 1] for every step of a node.

    model: a checkpoint, by folder or name on the hub; with `base_url` the name it is served by.
    base_url: servers started with `--runner pooling`; without it vLLM runs in this process and
    further options go to its engine by vLLM's own names.
    family: the format to ask in (qwen, skywork, rlhflow, math_shepherd, nano), else guessed from
    the model's name. tokenizer: where the tokenizer is, if not at `model`.
    step_break: what separates steps. max_batch, in_flight: texts in one request, requests at once.
    reduction: last, min, prod or mean of the steps' scores, for all who read one score of a path;
    as the family's authors do unless it is given.
    """
    chosen = family or family_of(tokenizer or model)
    if chosen not in FAMILIES:
        raise RecipeError(unknown("family of reward models", chosen, FAMILIES))
    row, tokens = FAMILIES[chosen], Tokens(tokenizer or model)
    reader: Reader
    if base_url is None:
        reader = InProcess(row, PoolingEngine(model, engine_options(row, engine)))
    elif engine:
        raise RecipeError(
            f"vllm_prm: {', '.join(engine)}: options of the engine belong on the server's command "
            "line where base_url is set"
        )
    else:
        reader = OverHTTP(
            row, tokens, PoolingServer(base_url, model, api_key_env), max_batch, in_flight
        )
    return VllmPRM(row, tokens, reader, step_break).reduced_by(reduction or row.reduction)


def engine_options(family: Family, engine: dict[str, Any]) -> dict[str, Any]:
    """What vLLM has to be told to make reward models of this family say what they think.

    Scores are read at all tokens, of which the cache holds those of known beginnings.
    """
    options: dict[str, Any] = {
        "pooler_config": {"tok_pooling_type": "ALL"},
        "enable_prefix_caching": True,
    }
    if family.overrides:
        options |= {"convert": "classify", "hf_overrides": dict(family.overrides)}
    if family.dtype:
        options["dtype"] = family.dtype
    return {**options, **engine}


class Reader(Protocol):
    """Where the numbers come from."""

    version: str

    async def read(self, layout: Layout, first: int, /) -> dict[int, float]:
        """Scores by position: of the marks from `first` on, and perhaps of more."""
        ...

    async def astart(self) -> None: ...

    async def describe(self) -> Mapping[str, str]: ...

    async def aclose(self) -> None: ...


class VllmPRM(Verifier):
    """Scores the steps in a node's sample, given the question and the path that leads there.

    A step's score depends on what stands before it alone, so those of a path come from one call
    and are remembered. Question, path and steps are metered in full, also where they were known,
    so that the count does not depend on what was scored before.
    """

    name = "vllm_prm"
    text_only = True

    def __init__(self, family: Family, tokens: Tokens, reader: Reader, step_break: str) -> None:
        self._family = family
        self._tokens = tokens
        self._reader = reader
        self._step_break = step_break
        self._known: dict[bytes, float] = {}  # oldest first

    @property
    def version(self) -> str:
        """Which model, and where it runs."""
        return self._reader.version

    @property
    def parameters(self) -> int | None:
        """Of the model, None where its files are not here (yet) or do not tell."""
        return checkpoint.parameters(self._tokens.source)

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError for a node without a step, or a path beyond the context."""
        steps, new = new_steps(node.before, node.sample.text, self._step_break)
        if new == 0:
            raise VerificationError(f"problem {problem.id!r}: a node without text has no step")
        try:
            layout = self._family.lay(self._tokens, problem.question, steps)
        except UnicodeEncodeError as error:
            raise VerificationError(f"problem {problem.id!r}: not valid text: {error}") from None
        keys = _keys(layout)
        wanted = range(len(steps) - new, len(steps))
        scores = {i: self._known[keys[i]] for i in wanted if keys[i] in self._known}
        with reading(len(layout.ids), meter):
            if missing := [i for i in wanted if i not in scores]:
                found = await self._reader.read(layout, layout.marks[missing[0]])
                for i, mark in enumerate(layout.marks):
                    if mark in found:
                        scores[i] = self._known.setdefault(keys[i], found[mark])
                while len(self._known) > _REMEMBERED:
                    del self._known[next(iter(self._known))]
        return tuple(scores[i] for i in wanted)

    async def astart(self) -> None:
        """Start the engine, or find out how the servers answer, before the first score."""
        await self._reader.astart()

    async def describe(self) -> Mapping[str, str]:
        """What is read from where, in words; a server is asked. Raises what a call raises."""
        return await self._reader.describe()

    async def aclose(self) -> None:
        await self._reader.aclose()


class InProcess:
    """Scores from vLLM in this process; it batches by itself, and reads only what is new."""

    def __init__(self, family: Family, engine: PoolingEngine) -> None:
        self.version = engine.version
        self._family = family
        self._engine = engine

    async def read(self, layout: Layout, first: int, /) -> dict[int, float]:
        pooled = await self._engine.pool(layout.ids, "token_classify", fresh=False)
        if first < pooled.first:  # computed once, but nobody remembers
            pooled = await self._engine.pool(layout.ids, "token_classify")
        if len(pooled.rows) + pooled.first != len(layout.ids):
            raise RecipeError(
                f"vLLM gave {len(pooled.rows)} scores for {len(layout.ids)} tokens, "
                f"{pooled.first} of them cached; leave verifier.pooler_config out, scores are "
                "read at all tokens"
            )
        return at_marks(self._family, layout, pooled)

    async def astart(self) -> None:
        await self._engine.astart()

    async def describe(self) -> Mapping[str, str]:
        return {"reward model": self._engine.version}

    async def aclose(self) -> None:
        await self._engine.aclose()


class OverHTTP:
    """Scores from servers: texts that wait together go in one request."""

    def __init__(
        self, family: Family, tokens: Tokens, server: PoolingServer, max_batch: int, in_flight: int
    ) -> None:
        self.version = server.version
        self._family = family
        self._tokens = tokens
        self._server = server
        self._batches: Batches[Layout, dict[int, float]] = Batches(
            "vllm_prm", self._many, max_batch=max_batch, in_flight=in_flight
        )
        self._tag: int | None = None
        """The tag that the server goes by; None while unknown, or if it scores all tokens."""
        self._met = False
        self._context: int | None = None

    async def read(self, layout: Layout, _first: int, /) -> dict[int, float]:
        return await self._batches.ask(layout)

    async def astart(self) -> None:
        if not self._met:
            await self._meet()

    async def describe(self) -> Mapping[str, str]:
        await self.astart()
        scored = "all tokens" if self._tag is None else "steps"
        return {"reward model": f"{self._server.version}, scores at {scored}"}

    async def aclose(self) -> None:
        await self._server.aclose()

    async def _many(self, layouts: Sequence[Layout]) -> list[dict[int, float] | Exception]:
        await self.astart()
        fit = [layout for layout in layouts if self._fits(layout)]
        found = dict(zip(map(id, fit), await self._scored(fit), strict=True))
        return [
            found.get(id(layout))
            or VerificationError(
                f"question and steps have {len(layout.ids)} tokens; the model reads at most "
                f"{self._context}"
            )
            for layout in layouts
        ]

    def _fits(self, layout: Layout) -> bool:
        return self._context is None or len(layout.ids) <= self._context

    async def _scored(self, layouts: list[Layout]) -> list[dict[int, float] | Exception]:
        """One request; if the server refuses it, one for each, to tell who is to blame."""
        if not layouts:
            return []
        try:
            rows = await self._server.pool([layout.ids for layout in layouts], "token_classify")
        except VerificationError as error:
            if len(layouts) == 1:
                return [error]
            try:
                async with TaskGroup() as group:
                    tasks = [group.create_task(self._alone(layout)) for layout in layouts]
            except BaseExceptionGroup as errors:
                raise cause(errors) from errors
            return [task.result() for task in tasks]
        return [self._read(layout, row) for layout, row in zip(layouts, rows, strict=True)]

    async def _alone(self, layout: Layout) -> dict[int, float] | Exception:
        """A request of its own, whose failure is its own."""
        try:
            (result,) = await self._scored([layout])
        except CallError as error:
            return error
        return result

    def _read(self, layout: Layout, values: Rows) -> dict[int, float] | Exception:
        ids = layout.ids
        at = (
            range(len(ids))
            if self._tag is None
            else [i for i, t in enumerate(ids) if t == self._tag]
        )
        if len(values) != len(at) * self._family.columns:
            return VerificationError(
                f"the reward model gave {len(values)} numbers for {len(at)} places that it was to "
                f"score with {self._family.columns} each"
            )
        rows = np.zeros((len(ids), self._family.columns), np.float32)
        rows[at] = values.reshape(len(at), -1)
        try:
            return at_marks(self._family, layout, Pooled(rows))
        except VerificationError as error:
            return error

    async def _meet(self) -> None:
        """Find out, with a made-up text, where the server reads scores.

        The text has more steps than any other token in it, so that a server that goes by another
        tag, and gives scores of something else or none at all, cannot go unnoticed.
        """
        family, tokens = self._family, self._tokens
        self._context = await self._server.context()
        frame = family.lay(tokens, "?", [""]).ids
        count = 1 + max(frame.count(token) for token in frame)
        layout = family.lay(tokens, "?", [""] * count)
        (values,) = await self._server.pool([layout.ids], "token_classify")
        tag = None if family.tag is None else tokens.id(family.tag)
        if tag is not None and len(values) == count * family.columns:
            self._tag = tag
        elif len(values) != len(layout.ids) * family.columns:
            raise RecipeError(
                f"the server at {self._server.urls[0]} gave {len(values)} numbers for {count} "
                f"steps in {len(layout.ids)} tokens, where {family.columns} for each step or token "
                f"were due: it goes by another step tag, or serves another kind of model. Start it "
                f"with {serve_options(family, tag)}, or set verifier.family"
            )
        self._met = True


def at_marks(family: Family, layout: Layout, pooled: Pooled) -> dict[int, float]:
    """The scores at the marks that have rows. Raises VerificationError for what is no score."""
    if pooled.rows.ndim != 2 or pooled.rows.shape[1] != family.columns:
        raise RecipeError(
            f"the reward model gives rows of shape {pooled.rows.shape[1:]}, and its family says "
            f"{family.columns}; set verifier.family to the one it belongs to"
        )
    found = {}
    for mark in layout.marks:
        if mark >= pooled.first:
            score = float(pooled.rows[mark - pooled.first, family.good])
            if not 0 <= score <= 1:
                raise VerificationError(
                    f"the reward model gave {score:g}, which is no probability; its server must "
                    "apply the activation (use_activation is true by default)"
                )
            found[mark] = score
    return found


def serve_options(family: Family, tag: int | None) -> str:
    """The options of `vllm serve` for reward models of this family."""
    parts = ["--runner pooling"]
    if tag is not None:
        parts.append(f"--pooler-config '{{\"step_tag_id\": {tag}}}'")
    if family.overrides:
        parts.append(f"--convert classify --hf-overrides '{json.dumps(dict(family.overrides))}'")
    return " ".join(parts)


def _keys(layout: Layout) -> list[bytes]:
    """What a score depends on, for each mark: a digest of the tokens up to it."""
    digest, start, keys = hashlib.blake2b(digest_size=16), 0, []
    for mark in layout.marks:
        digest.update(np.array(layout.ids[start : mark + 1], np.uint32).tobytes())
        start = mark + 1
        keys.append(digest.digest())
    return keys
