"""Logs: a line for people on a terminal, a line of JSON elsewhere; and the id of the request that a line belongs to.

Nothing secret gets into a line: `redact` takes out what looks like a credential, wherever it came from. Names of people and
paths, which hold names, are written at the level ``debug`` only.
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
from datetime import datetime, timezone

FORMATS = ("auto", "text", "json")
LEVELS = ("debug", "info", "warning", "error")
#: Most characters of a message, and of a traceback, that are written; of a traceback the last ones.
MAX_MESSAGE, MAX_TRACEBACK = 4_000, 20_000
#: Routes that are asked every few seconds by machines: what they answer well is logged at the level ``debug``.
QUIET = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})

#: The id of the request that this thread works for.
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
)  # fmt: skip

access_log = logging.getLogger("recognizer.access")


def redact(text: str) -> str:
    """`text` without what looks like a password, a key or a picture."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def request_id(environ: Mapping) -> str:
    """The id of a WSGI request: what its header X-Request-Id says if that is short and plain, else a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex[:12]


def access(
    method: str, route: str, status: int, seconds: float, sent: int, error: str | None = None, path: str = ""
) -> None:
    """Write the line of a request that was answered.

    Parameters
    ----------
    method, route : str
        The route is a template such as ``/people/{person}``: the path itself may hold a name.
    seconds : float
    sent : int
        Bytes of the reply's body.
    error : str, optional
        The code of a refusal.
    path : str
        Written at the level ``debug`` only.
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
    """What both formats share: the parts of a record, redacted and bounded."""

    def parts(self, record: logging.LogRecord) -> tuple[datetime, str, dict, str]:
        """Time, message, further fields, traceback or nothing."""
        try:
            message = record.getMessage()
        except Exception:  # a wrong call of the logger: the line is worth more than the arguments
            message = str(record.msg)
        fields = dict(getattr(record, "fields", ()))
        request = current_request.get()
        if request:
            fields["request_id"] = request
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return (
            datetime.fromtimestamp(record.created, timezone.utc), redact(message[:MAX_MESSAGE]), fields,
            redact(trace[-MAX_TRACEBACK:]),
        )  # fmt: skip


class JsonFormatter(_Formatter):
    """One object per line: time (UTC), level, logger, message, the record's fields, request_id, exception."""

    def format(self, record: logging.LogRecord) -> str:
        time, message, fields, trace = self.parts(record)
        line = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "level": record.levelname.lower(),
            "logger": record.name, "message": message, **fields,
        }  # fmt: skip
        if trace:
            line["exception"] = trace
        return json.dumps(line, default=str)


class TextFormatter(_Formatter):
    """Local time, level unless it is info, message, fields; a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        time, message, fields, trace = self.parts(record)
        words = [time.astimezone().strftime("%H:%M:%S")]
        if record.levelno != logging.INFO:
            words.append(record.levelname.lower())
        words.append(message)
        # the message of an access line says these already
        shown = {name: value for name, value in fields.items() if name not in ("method", "route", "status")}
        words += [f"{name}={value}" for name, value in shown.items()]
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(words))
        return f"{line}\n{trace}" if trace else line


class _Handler(logging.StreamHandler):
    """Our handler, told from others by its class."""

    def __init__(self, formatter: logging.Formatter, stream=None):
        super().__init__(stream)
        self.setFormatter(formatter)

    def handleError(self, record: logging.LogRecord) -> None:
        pass  # a full disk or a closed pipe must not end a request


def wants_json(kind: str, stream=None) -> bool:
    """Whether `kind`, one of `FORMATS`, means JSON for `stream` (default: the standard error stream)."""
    stream = stream or sys.stderr
    return kind == "json" or (kind == "auto" and not stream.isatty())


def configure(kind: str, level: str = "info", stream=None) -> None:
    """Send all logs of this process to `stream`. For entry points: what is set up is the process's.

    Parameters
    ----------
    kind : str
        One of `FORMATS`; ``auto`` is text on a terminal and JSON elsewhere.
    level : str
        One of `LEVELS`, for our own lines; of other packages' only warnings and worse are written.
    stream : text stream, optional
        Instead of the standard error.
    """
    in_json = wants_json(kind, stream)
    root, own = logging.getLogger(), logging.getLogger("recognizer")
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler(JsonFormatter() if in_json else TextFormatter(), stream))
    own.setLevel(level.upper())
    if in_json:
        sys.excepthook = _uncaught
        threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def announce(line: str, level: int = logging.INFO) -> None:
    """Tell whoever started the process: a plain line on the terminal, or of the log where that is JSON."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        logging.getLogger("recognizer.server").log(level, "%s", line)
    else:
        print(line, file=sys.stderr if level > logging.INFO else sys.stdout, flush=True)


def _uncaught(kind, value, trace) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, trace)
    elif not issubclass(kind, SystemExit):
        logging.getLogger("recognizer").critical("uncaught %s", kind.__name__, exc_info=(kind, value, trace))
