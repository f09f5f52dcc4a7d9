"""The access log and the metrics of requests."""

from __future__ import annotations

from recognizer.core import logs
from recognizer.core.metrics import UNKNOWN, UNREAD, Metrics
from recognizer.http.wsgi import Observer


class Observing(Observer):
    """Writes each request's access line and counts it.

    The route that it is counted under is what the routes left in the environ as ``recognizer.route``; the code of a
    refusal, as ``recognizer.error``.
    """

    def __init__(self, metrics: Metrics):
        self.metrics = metrics

    def begun(self, environ) -> None:
        self.metrics.begin()

    def ended(self, environ, status: int, seconds: float, sent: int, endless: bool) -> None:
        method, route = environ.get("REQUEST_METHOD", ""), environ.get("recognizer.route") or UNKNOWN
        error = environ.get("recognizer.error")
        self.metrics.request(method, route, status, None if endless else seconds, sent, error)
        logs.log_request(method[:20], route, status, seconds, sent, error, environ.get("PATH_INFO", ""))

    def refused(self, status: int) -> None:
        self.metrics.begin()
        self.metrics.request("", UNREAD, status, None)
        logs.log_request("-", UNREAD, status, 0.0, 0)
