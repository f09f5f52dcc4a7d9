"""The access log, the metrics and the traces of requests."""

from __future__ import annotations

from recognizer.core import logs, tracing
from recognizer.core.metrics import METHODS, UNKNOWN, UNREAD, Metrics
from recognizer.http.wsgi import Observer

#: In the WSGI environ: the request's span.
_SPAN = "recognizer.span"
#: Headers with the trace of the client.
_TRACE_HEADERS = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}


class Observing(Observer):
    """Writes each request's access line, counts it and traces it.

    The route that it is counted under is what the routes left in the environ as ``recognizer.route``; the code of a
    refusal, as ``recognizer.error``.
    """

    def __init__(self, metrics: Metrics):
        self.metrics = metrics

    def begun(self, environ) -> None:
        self.metrics.begin()
        if tracing.enabled():
            headers = {name: environ[key] for name, key in _TRACE_HEADERS.items() if key in environ}
            environ[_SPAN] = tracing.begin_request(_method(environ), headers)

    def ended(self, environ, status: int, seconds: float, sent: int, endless: bool) -> None:
        method, route = environ.get("REQUEST_METHOD", ""), environ.get("recognizer.route") or UNKNOWN
        error = environ.get("recognizer.error")
        self.metrics.request(method, route, status, None if endless else seconds, sent, error)
        logs.log_request(method[:20], route, status, seconds, sent, error, environ.get("PATH_INFO", ""))
        tracing.end_request(environ.pop(_SPAN, None), _method(environ), route, status, error)

    def refused(self, status: int) -> None:
        self.metrics.begin()
        self.metrics.request("", UNREAD, status, None)
        logs.log_request("-", UNREAD, status, 0.0, 0)


def _method(environ) -> str:
    """The method of a request, if it is one of the usual ones."""
    method = environ.get("REQUEST_METHOD", "")
    return method if method in METHODS else "OTHER"
