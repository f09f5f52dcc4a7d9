"""Traces by OpenTelemetry, sent as OTLP over HTTP, if a setting says so. Without it, nothing of OpenTelemetry is imported.

`configure` changes process-wide state, like that of the logs, so it is for entry points only. Spans have routes, stages, kinds
and ids of events, never names, paths or URLs. The SDK reads the standard variables ``OTEL_*``: where traces are sent, with
which headers, which of them, and the service's name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recognizer.core.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

MISSING = "traces: OpenTelemetry needs the packages of requirements-otel.txt: pip install 'recognizer[otel]'"
OFF, ON = "off", "on"
#: Seconds that ending waits for the receiver.
_FLUSH_SECONDS = 2.0

_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def configure(traces: str, version: str) -> None:
    """Send traces from now on, unless they are off.

    Parameters
    ----------
    traces : str
        `OFF`, `ON` (where the variables ``OTEL_EXPORTER_OTLP_ENDPOINT`` and ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` say), or the
        URL of a receiver.
    version : str
        Of this program.

    Raises
    ------
    SettingsError
        The packages are missing.
    """
    global _provider, _tracer
    if traces == OFF or _provider is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SettingsError(MISSING) from None
    resource = Resource.create({SERVICE_VERSION: version})
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "recognizer"}))
    endpoint = None if traces == ON else f"{traces.rstrip('/')}/v1/traces"
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    _tracer = _provider.get_tracer("recognizer", version)


def close() -> None:
    """Send what is not sent yet, if that does not take long, and send no more."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.force_flush(int(_FLUSH_SECONDS * 1000))
        provider.shutdown()


def enabled() -> bool:
    """Whether traces are sent."""
    return _tracer is not None


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """A span for the block, below the current one of this thread; an exception is noted by its kind.

    Parameters
    ----------
    **attributes
        With underscores instead of points: ``event_kind`` is ``event.kind``. None is left out.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    with _tracer.start_as_current_span(
        name, attributes=_attributes(attributes), record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield
        except Exception as error:  # its message may contain a name
            made.set_attribute("error.type", getattr(error, "code", type(error).__name__))
            made.set_status(Status(StatusCode.ERROR))
            raise


def current() -> Context | None:
    """Below which span this thread works, for `stage`; None while no traces are sent."""
    if _tracer is None:
        return None
    from opentelemetry import context

    return context.get_current()


def stage(name: str, seconds: float, below: Context | None) -> None:
    """A span that ends now and began so many seconds ago.

    Parameters
    ----------
    below : Context or None
        From `current`, where the work began: stages of several photos may end on one thread.
    """
    if _tracer is not None:
        now = time.time_ns()
        _tracer.start_span(name, below, start_time=now - int(seconds * 1e9)).end(now)


def begin_request(method: str, headers: Mapping[str, str]) -> Span | None:
    """Begin the span of a request, for this thread until its next request; None while no traces are sent.

    Parameters
    ----------
    headers : mapping
        With ``traceparent`` and ``tracestate``, if the client sent them: then the span belongs to its trace.
    """
    if _tracer is None:
        return None
    from opentelemetry import context
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    outer = TraceContextTextMapPropagator().extract(headers, Context())
    made = _tracer.start_span(method, outer, SpanKind.SERVER, {"http.request.method": method})
    context.attach(set_span_in_context(made, outer))
    return made


def end_request(made: Span | None, method: str, route: str, status: int, error: str | None) -> None:
    """End the span of a request.

    Parameters
    ----------
    route : str
        The route's template, never the path.
    error : str or None
        The code of a refusal.
    """
    if made is None:
        return
    from opentelemetry.trace import Status, StatusCode

    made.update_name(f"{method} {route}")
    made.set_attribute("http.route", route)
    made.set_attribute("http.response.status_code", status)
    if error:
        made.set_attribute("error.type", error)
    if status >= 500:
        made.set_status(Status(StatusCode.ERROR))
    made.end()


def _attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in given.items() if value is not None}
