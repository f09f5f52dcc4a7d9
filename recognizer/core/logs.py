"""Logs: text on a terminal, JSON elsewhere; each line contains the id of its request.

Lines contain no secrets: `redact` removes text that looks like a credential. Names of people, and paths, which contain names,
are logged at the level ``debug`` only.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from recognizer.core.times import iso_time

FORMATS = ("auto", "text", "json")
LEVELS = ("debug", "info", "warning", "error")
#: Maximum length of a message and of a traceback in characters; of a traceback, the end is kept.
MAX_MESSAGE, MAX_TRACEBACK = 4_000, 20_000
#: Routes that are polled every few seconds: their successful replies are logged at the level ``debug``.
QUIET = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})

#: The id of the request that is being processed in this context.
current_request: ContextVar[str | None] = ContextVar("current_request", default=None)

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRETS = (
    # user:password@ in a URL
    (re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"]*@"), r"\1***@"),
    # ?token=... in a URL or a form
    (re.compile(r"((?:key|token|secret|password|passwd|pwd|signature|sig|auth)=)[^&\s'\"]+", re.IGNORECASE), r"\1***"),
    # headers
    (re.compile(r"\b(bearer|basic|digest)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"((?:x-api-key|cookie|authorization)['\"]?\s*[:=]\s*['\"]?)[^\s'\",]+", re.IGNORECASE), r"\1***"),
    # pictures in JSON
    (re.compile(r"(base64,)[A-Za-z0-9+/=_-]{16,}"), r"\1***"),
)

access_log = logging.getLogger("recognizer.access")


def redact(text: str) -> str:
    """Replace what looks like a password, a key or a picture in `text` by ``***``."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def request_id(environ: Mapping[str, Any]) -> str:
    """The id of a WSGI request: its header ``X-Request-Id`` if it is short and plain, else a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex[:12]


def log_request(
    method: str, route: str, status: int, seconds: float, sent: int, error: str | None = None, path: str = ""
) -> None:
    """Log a request that was answered.

    Parameters
    ----------
    method, route : str
        The route is a template such as ``/people/{person}``, because a path may contain a name.
    seconds : float
    sent : int
        Size of the reply's body in bytes.
    error : str, optional
        The error code of a refusal.
    path : str
        Logged at the level ``debug`` only.
    """
    level = logging.DEBUG if route in QUIET and status < 400 else logging.INFO
    if not access_log.isEnabledFor(level):
        return
    fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 2), "bytes": sent}
    if error:
        fields["error"] = error
    if access_log.isEnabledFor(logging.DEBUG):
        fields["path"] = path
    access_log.log(level, "%s %s %d", method, route, status, extra={"fields": fields})


class _Formatter(logging.Formatter):
    """The common part of both formats: a record's parts, redacted and truncated."""

    def parts(self, record: logging.LogRecord) -> tuple[str, dict[str, Any], str]:
        """The message, further fields, and the traceback or an empty text."""
        try:
            message = record.getMessage()
        except Exception:  # a wrong call of the logger: log the line without its arguments
            message = str(record.msg)
        fields = dict(getattr(record, "fields", ()))
        request = current_request.get()
        if request:
            fields["request_id"] = request
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return redact(message[:MAX_MESSAGE]), fields, redact(trace[-MAX_TRACEBACK:])


class JsonFormatter(_Formatter):
    """A JSON object per line: time (UTC), level, logger, message, the record's fields, request_id, exception."""

    def format(self, record: logging.LogRecord) -> str:
        message, fields, trace = self.parts(record)
        line = {
            "time": iso_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **fields,
        }
        if trace:
            line["exception"] = trace
        return json.dumps(line, default=str)


class TextFormatter(_Formatter):
    """Local time, level unless it is info, message and fields; the traceback on the following lines."""

    def format(self, record: logging.LogRecord) -> str:
        message, fields, trace = self.parts(record)
        words = [datetime.fromtimestamp(record.created).strftime("%H:%M:%S")]
        if record.levelno != logging.INFO:
            words.append(record.levelname.lower())
        words.append(message)
        # the message of an access line contains these already
        shown = {name: value for name, value in fields.items() if name not in ("method", "route", "status")}
        words += [f"{name}={value}" for name, value in shown.items()]
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(words))
        return f"{line}\n{trace}" if trace else line


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:  # generic at run time only since Python 3.11
    _StreamHandler = logging.StreamHandler


class _Handler(_StreamHandler):
    """The handler of this module, recognised by its class."""

    def __init__(self, formatter: logging.Formatter, stream: TextIO | None = None):
        super().__init__(stream)
        self.setFormatter(formatter)

    def handleError(self, record: logging.LogRecord) -> None:
        pass  # a full disk or a closed pipe must not abort a request


def wants_json(kind: str, stream: TextIO | None = None) -> bool:
    """Whether the format `kind`, one of `FORMATS`, means JSON for `stream` (default: standard error)."""
    stream = stream or sys.stderr
    return kind == "json" or (kind == "auto" and not stream.isatty())


def configure(kind: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream`. Changes process-wide state, so it is for entry points only.

    Parameters
    ----------
    kind : str
        One of `FORMATS`; ``auto`` is text on a terminal and JSON elsewhere.
    level : str
        One of `LEVELS`, for this package's lines; of other packages, only warnings and errors are logged.
    stream : text stream, optional
        Default: standard error.
    """
    in_json = wants_json(kind, stream)
    root, own = logging.getLogger(), logging.getLogger("recognizer")
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler(JsonFormatter() if in_json else TextFormatter(), stream))
    own.setLevel(level.upper())
    # pika logs each failed connection several times, with tracebacks and addresses; events.amqp reports it once
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    if in_json:
        sys.excepthook = _uncaught
        threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def announce(line: str, level: int = logging.INFO) -> None:
    """Write a line for the person who started the process: plain text, or a log line if logs are JSON."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        logging.getLogger("recognizer.server").log(level, "%s", line)
    else:
        print(line, file=sys.stderr if level > logging.INFO else sys.stdout, flush=True)


def _uncaught(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
    value = kind() if value is None else value
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, trace)
    elif not issubclass(kind, SystemExit):
        logging.getLogger("recognizer").critical("uncaught %s", kind.__name__, exc_info=(kind, value, trace))
