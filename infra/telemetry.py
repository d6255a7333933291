"""Logs, spans and metrics: set up once per process.

Logs are JSON lines on stdout without prompts or secrets. Spans cross Kafka and HTTP as W3C
``traceparent`` and end up in a folder of JSON lines, at an OTLP endpoint, or both.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import start_http_server
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

from infra.settings import Settings

_PROPAGATOR: Final = TraceContextTextMapPropagator()
#: Names under which a prompt or a secret might reach a log call: their values are masked.
_PRIVATE: Final = frozenset(
    {"prompt", "negative_prompt", "spec", "job", "value", "secret", "api_key", "authorization"}
)

Headers = list[tuple[str, bytes]]


def start(service: str, settings: Settings) -> None:
    """Set up logs, spans and the metrics port of this process.

    Args:
        service: Process name, as in ``stack.json``.
        settings: Where telemetry goes.
    """
    _start_logs(service, settings.log_level)
    _start_traces(service, settings)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1")


def log() -> Any:
    """The process's structured logger."""
    return structlog.get_logger()


def _mask(_: Any, __: str, event: Any) -> Any:
    for name in _PRIVATE & event.keys():
        event[name] = "***"
    return event


def _start_logs(service: str, level: str) -> None:
    logging.basicConfig(level=level, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
    for chatty in ("httpx2", "aiokafka", "faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without locals: a prompt is one somewhere on every stack.
            ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            _mask,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    structlog.contextvars.bind_contextvars(service=service)


def _line(span: ReadableSpan) -> str:
    return str(span.to_json(indent=None)) + "\n"


def _start_traces(service: str, settings: Settings) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if settings.trace_dir is not None:
        settings.trace_dir.mkdir(parents=True, exist_ok=True)
        out = (settings.trace_dir / f"{service}-{os.getpid()}.jsonl").open("a", buffering=1)
        provider.add_span_processor(
            SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=_line))
        )
    if settings.otlp_endpoint is not None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 slow to import
            OTLPSpanExporter,
        )

        exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, parent: Context | None = None, **attributes: Any
) -> Iterator[Span]:
    """A span around a block; ``parent`` None means the current span."""
    tracer = trace.get_tracer("ttv")
    with tracer.start_as_current_span(name, parent, kind=kind, attributes=attributes) as current:
        yield current


def begin_span(name: str, parent: str | None, **attributes: Any) -> Span:
    """A span that outlives the block it begins in, under a traceparent; ``end()`` it."""
    return trace.get_tracer("ttv").start_span(name, context_of(parent), attributes=attributes)


def traceparent(of: Span | None = None) -> str | None:
    """A span (default: the current one) as a W3C traceparent, or None when there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, None if of is None else trace.set_span_in_context(of, Context()))
    return carrier.get("traceparent")


def trace_headers(parent: str | None = None) -> Headers:
    """Kafka headers that carry ``parent``, or else the current span."""
    value = parent or traceparent()
    return [("traceparent", value.encode())] if value else []


def context_of(value: str | None) -> Context:
    """The context that a traceparent names; a malformed one names none."""
    return _PROPAGATOR.extract({"traceparent": value} if value else {}, Context())


def traceparent_of(headers: Iterable[tuple[str, Any]] | Mapping[str, Any] | None) -> str | None:
    """The traceparent among Kafka headers, if it is there and well-formed."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    for name, value in pairs:
        if name == "traceparent" and value is not None:
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
            valid = trace.get_current_span(context_of(text)).get_span_context().is_valid
            return text if valid else None
    return None
