"""`--trace`: spans of runs and of servers, sent as OpenTelemetry's own variables say."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip(
    "opentelemetry.sdk",
    reason="OpenTelemetry's SDK is not installed: pip install opentelemetry-sdk",
)

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reasoning.errors import RecipeError
from reasoning.integrations import telemetry
from reasoning.integrations.tracing import TracedSession, traced
from reasoning.runs.recipe import parse
from reasoning.runs.run import run
from reasoning.serve.app import Service
from reasoning.serve.desk import Settings
from reasoning.serve.offers import Offers
from reasoning.testing.http_server import CHAT, Served, serving
from reasoning.verify import Verifier

TRACE, PARENT = "ab" * 16, "cd" * 8
ASKED = [{"role": "user", "content": "What is 3 + 4?"}]


RECIPE = {
    "task": {"name": "nano", "n": 2},
    "generator": "nano",
    "verifier": "nano_prm",
    "sampling": {"max_tokens": 40},
    "strategies": [{"searcher": "best_of_n", "n": 2}, {"searcher": "sample"}],
}


def test_a_run_that_is_traced_comes_to_the_same(spans: Any, tmp_path: Path) -> None:
    found = []
    for name, more in (("plain", {}), ("traced", {"traced": traced})):
        asyncio.run(run(parse(RECIPE), tmp_path / name, **more))
        lines = (tmp_path / name / "results.jsonl").read_text().splitlines()
        told = [json.loads(line) for line in lines]
        for line in told:
            for which in ("seconds", "cached_tokens"):  # of whose prompt was the first to come
                line["usage"].pop(which)
        found.append(sorted(told, key=lambda line: (line["strategy"], line["problem"])))
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        found[-1].append({k: manifest[k] for k in ("run", "strategies", "shared", "notes")})
        if name == "plain":
            assert not spans()
    assert found[0] == found[1]
    searches = {s.context.span_id: s for s in spans() if s.name.startswith("invoke_workflow")}
    assert sorted(s.name for s in searches.values()) == [
        *["invoke_workflow best_of_n"] * 2,
        *["invoke_workflow sample"] * 2,
    ]
    below = [s for s in spans() if s.context.span_id not in searches]
    assert {s.parent.span_id for s in below} <= searches.keys()
    names = [s.name for s in below]
    # Strategies share samples, and what is drawn once is one span.
    assert (names.count("chat nano"), names.count("score nano_prm")) == (4, 4)


def test_workers_make_no_spans_here(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no --trace"):
        asyncio.run(run(parse({**RECIPE, "workers": 2}), tmp_path, traced=traced))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["sample", "self_consistency"])
def test_a_request_belongs_to_its_clients_trace(spans: Any, model: str, stream: bool) -> None:
    recipe = {
        "task": "nano",
        "sampling": {"max_tokens": 8},
        "strategies": [{"searcher": "sample"}, {"searcher": "self_consistency", "n": 2}],
    }

    async def work(server: Served) -> None:
        engine = {"name": "openai", "base_url": server.url}
        offers = Offers(parse({**recipe, "generator": engine}), traced=True)
        transport = httpx.ASGITransport(Service(offers, Settings()).app())
        async with (
            offers.open(),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as web,
        ):
            server.seen.clear()
            for given in (f"00-{TRACE}-{PARENT}-01", "nonsense", None):
                headers = {"traceparent": given} if given else {}
                body = {"model": model, "messages": ASKED, "stream": stream}
                found = await web.post("/v1/chat/completions", json=body, headers=headers)
                assert found.status_code == 200, found.text
            page = offers.floor
        assert page.tallies[offers.find(model).listed].done == 3, "the page sees them all the same"

    with serving(CHAT) as server:
        asyncio.run(work(server))
        heard = [call.headers["traceparent"].split("-")[1:3] for call in server.seen]
    searches = [s for s in spans() if s.name == f"invoke_workflow {model}"]
    calls = [s for s in spans() if s.name.startswith("chat ")]
    assert len(searches) == 3
    ours = [s for s in searches if f"{s.context.trace_id:032x}" == TRACE]
    assert [f"{s.parent.span_id:016x}" for s in ours] == [PARENT]
    assert [s.parent for s in searches if s not in ours] == [None, None]
    assert {s.parent.span_id for s in calls} == {s.context.span_id for s in searches}
    sent = [[f"{s.context.trace_id:032x}", f"{s.context.span_id:016x}"] for s in calls]
    assert sorted(heard) == sorted(sent)


class Pairs(Verifier):
    """Scores two siblings in one call."""

    name, together = "pairs", 2

    async def score(self, problem: Any, node: Any, *, meter: Any) -> Any:
        raise AssertionError("they are scored together")

    async def score_siblings(self, problem: Any, nodes: Any, *, meter: Any) -> Any:
        return [(0.5,) for _ in nodes]


def test_siblings_are_scored_together_under_one_span(spans: Any) -> None:
    async def work() -> Any:
        settings: dict[str, Any] = {"generator": "nano", "sampling": {"max_tokens": 20}}
        async with TracedSession(
            verifier=Pairs(), searcher=both, aggregator="best", **settings
        ) as session:
            return await session.solve("What is 2 + 3?")

    async def both(search: Any) -> None:
        nodes = await search.draws(search.root, 2, until="end")
        await search.score(*nodes)
        for node in nodes:
            search.emit(node)

    result = asyncio.run(work())
    assert result.usage.verifier_calls == 1
    (scored,) = [s for s in spans() if s.name == "score pairs"]
    assert scored.attributes["reasoning.scored"] == 2


def test_spans_are_all_sent_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up: list[Any] = []
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(trace, "set_tracer_provider", set_up.append)
    monkeypatch.setattr(telemetry, "exporters", lambda: [lambda: exporter])
    with telemetry.exported():
        (provider,) = set_up
        with provider.get_tracer("x").start_as_current_span("one"):
            pass
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.resource.attributes["service.name"]) == ("one", "reasoning")


def test_what_was_set_up_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: TracerProvider())
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: pytest.fail("there is one"))
    with telemetry.exported():
        pass


def test_exporters_are_those_of_opentelemetry_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console, none")
    assert [one.__name__ for one in telemetry.exporters()] == ["ConsoleSpanExporter"]
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeons")
    with pytest.raises(RecipeError, match=r"no exporter .pigeons. is installed; .*console"):
        telemetry.exporters()
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "by post")
    with pytest.raises(RecipeError, match="no exporter 'by post'"):
        telemetry.exporters()
