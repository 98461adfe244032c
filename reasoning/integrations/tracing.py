"""OpenTelemetry: sessions and runs whose searches, calls and scores are spans.

Names are those of the conventions for generative models where there is one, else `reasoning.*`.
Nothing of a user's text is in a span. Written against opentelemetry-api 1.45.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reasoning.chain import Chain, Outcome
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.http.tracing import TRACE
from reasoning.integrations import needed
from reasoning.problem import Problem
from reasoning.sample import Sample
from reasoning.search import Search
from reasoning.session import Question, Session
from reasoning.tree import Node
from reasoning.verify import Scores
from reasoning.wrapping import Wrapping, WrappingVerifier

if TYPE_CHECKING:
    from reasoning.runs.plan import Plan


class TracedSession(Session):
    """A `Session` that tells OpenTelemetry what it does: takes what that takes.

    A span for each search, below whatever span is current, and below it one for each call and
    score; a server that is called gets `traceparent`. Without an SDK the spans are no-ops.
    Raises RecipeError where opentelemetry-api is not installed.
    """

    def __init__(self, **settings: Any) -> None:
        needed("opentelemetry.trace", "tracing", "reasoning[otel]")
        super().__init__(**settings)
        self.generator = _Calls(self.generator, "")
        self.models = {name: _Calls(model, name) for name, model in self.models.items()}
        self.verifier = self.verifier and _Scoring(self.verifier)
        self.verifiers = {name: _Scoring(judge) for name, judge in self.verifiers.items()}

    def _search(
        self, question: Question, changes: Mapping[str, Any], name: str = "question"
    ) -> tuple[Search, Chain, float | None]:
        search, chain, seconds = super()._search(question, changes, name)
        return search, _Searching(chain.stages, chain.default, inner=chain), seconds


def traced(plan: Plan) -> Plan:
    """A run's plan with everything it calls made a span; what was drawn before is called no more.

    What it shares it goes on to share.
    """
    known: dict[int, Any] = {}

    def once(part: Any, wrapped: Callable[[Any], Any]) -> Any:
        return known.setdefault(id(part), wrapped(part)) if part is not None else None

    arms = []
    for arm in plan.arms:
        run = arm.strategy.run
        strategy = replace(arm.strategy, run=_Searching(run.stages, run.default, inner=run))
        models = {k: once(m, partial(_Calls, model=k)) for k, m in arm.models.items()}
        verifiers = {k: once(v, _Scoring) for k, v in arm.verifiers.items()}
        verifier = once(arm.verifier, _Scoring)
        arms.append(
            replace(arm, strategy=strategy, models=models, verifier=verifier, verifiers=verifiers)
        )
    return replace(plan, arms=arms)


def join(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Let what the running task does belong to the trace that a request's headers tell of."""
    from opentelemetry import context, propagate

    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    context.attach(propagate.extract(told))


@dataclass(frozen=True, kw_only=True)
class _Searching(Chain):
    """A strategy that is a span, and otherwise as it is."""

    inner: Chain

    async def run(self, search: Search, seconds: float | None = None) -> Outcome:
        stages = [stage.name for stage in self.stages]
        told = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": " > ".join(stages),
            "reasoning.problem": search.problem.id,
        }
        with _span(f"invoke_workflow {' > '.join(stages)}", told) as span:
            try:
                found = await self.inner.run(search, seconds)
                span.set_attribute("reasoning.stop_reason", found.stop_reason)
                span.set_attribute("reasoning.candidates", len(found.candidates))
                return found
            finally:
                span.set_attributes(_spent(search))


def _spent(search: Search) -> dict[str, Any]:
    usage = search.usage
    return {
        "gen_ai.usage.input_tokens": int(usage.prompt_tokens),
        "gen_ai.usage.output_tokens": int(usage.generated_tokens),
        "gen_ai.usage.cache_read.input_tokens": int(usage.cached_tokens),
        "reasoning.wasted_tokens": int(usage.wasted_tokens),
        "reasoning.calls": int(usage.calls),
        "reasoning.failed_calls": int(usage.failed_calls),
        "reasoning.verifier_calls": int(usage.verifier_calls),
    }


class _Calls(Wrapping):
    """A generator each call of which is a span."""

    def __init__(self, generator: Generator, model: str) -> None:
        super().__init__(generator)
        self.model = model or type(generator).__name__.lower()

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        told = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": self.model,
            "gen_ai.request.max_tokens": int(params.max_tokens),
            "gen_ai.request.temperature": float(params.temperature),
            "reasoning.path": ".".join(map(str, prompt.path)),
        }
        with _span(f"chat {self.model}", told, calls=True) as span:
            sample = await self.generator.generate(prompt, params, seed=seed, meter=meter)
            span.set_attributes(
                {
                    "gen_ai.response.finish_reasons": [sample.finish],
                    "gen_ai.usage.input_tokens": int(sample.prompt_tokens),
                    "gen_ai.usage.output_tokens": int(sample.generated_tokens),
                    "gen_ai.usage.cache_read.input_tokens": int(sample.cached_tokens),
                }
            )
            return sample


class _Scoring(WrappingVerifier):
    """A verifier each score of which is a span."""

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        told = {"reasoning.path": ".".join(map(str, node.path)), "reasoning.verifier": self.name}
        with _span(f"score {self.name}", told, calls=True) as span:
            scores = await self.verifier.score(problem, node, meter=meter)
            span.set_attribute("reasoning.scores", [float(score) for score in scores])
            return scores

    async def score_siblings(
        self, problem: Problem, nodes: Sequence[Node], *, meter: Meter
    ) -> Sequence[Scores | Exception]:
        path = ".".join(map(str, nodes[0].path[:-1]))
        told = {"reasoning.path": path, "reasoning.verifier": self.name}
        with _span(f"score {self.name}", told, calls=True) as span:
            found = await self.verifier.score_siblings(problem, nodes, meter=meter)
            span.set_attribute("reasoning.scored", sum(isinstance(f, tuple) for f in found))
            return found


@contextmanager
def _span(name: str, told: Mapping[str, Any], *, calls: bool = False) -> Iterator[Any]:
    """A span below the current one, which is current meanwhile; with `calls` servers hear of it.

    What fails is an error. What is cancelled says so: by itself it would look as if it had ended
    well.
    """
    from opentelemetry import propagate, trace

    tracer = trace.get_tracer("reasoning")
    kind = trace.SpanKind.CLIENT if calls else trace.SpanKind.INTERNAL
    with tracer.start_as_current_span(name, kind=kind, attributes=told) as span:
        token = None
        if calls and span.get_span_context().is_valid:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            lines = "".join(f"{key}: {value}\r\n" for key, value in carrier.items())
            token = TRACE.set(lines.encode("latin-1", "replace"))
        try:
            yield span
        except asyncio.CancelledError:
            span.set_attribute("reasoning.cancelled", True)
            span.set_status(trace.StatusCode.ERROR, "cancelled")
            raise
        finally:
            if token is not None:
                TRACE.reset(token)
