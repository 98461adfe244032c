"""Where spans go: OpenTelemetry's SDK as its own environment variables set it up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from reasoning.errors import RecipeError
from reasoning.integrations import needed

_INSTALL = "reasoning[otel]"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


@contextmanager
def exported() -> Iterator[None]:
    """Spans are sent meanwhile, all of them by the end.

    Where the process has been set up already (by `opentelemetry-instrument`, say) that stands.
    Raises RecipeError for what is not installed or is no exporter.
    """
    trace = needed("opentelemetry.trace", "--trace", _INSTALL)
    sdk = needed("opentelemetry.sdk.trace", "--trace", _INSTALL)
    if isinstance(trace.get_tracer_provider(), sdk.TracerProvider):
        yield
        return
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()  # as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "reasoning"}))
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def exporters() -> list[Any]:
    """The exporters that OTEL_TRACES_EXPORTER names, as other packages have registered them."""
    stated = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return [_exporter(name.strip()) for name in stated.split(",") if name.strip() != "none"]


def _exporter(name: str) -> Any:
    known = {found.name: found for found in entry_points(group="opentelemetry_traces_exporter")}
    wanted = name
    if name == "otlp":
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
        )
        wanted = _PROTOCOLS.get(protocol, protocol)
    if wanted not in known:
        raise RecipeError(
            f"--trace: no exporter {wanted!r} is installed; OTEL_TRACES_EXPORTER may be none, "
            f"{', '.join(sorted({*known, 'otlp'}))}, and pip install '{_INSTALL}' brings otlp "
            "over http/protobuf"
        )
    return known[wanted].load()
