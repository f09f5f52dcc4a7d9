"""The WSGI server beneath `recognizer.http.server`: cheroot with limits for clients, and JSON errors.

A thread has a connection only while it parses or answers a request: `recognizer.http.connections` waits for clients. Replies
that have no end (`ENDLESS`: live video, event streams), or come in pieces, hold a thread, so threads are added for them and no
more than that many may be open: the others stay free. Little of an endless reply may lie in the kernel, else a slow viewer
would see the past; when the server stops, they are cut off at once.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import queue
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cheroot import errors
from cheroot.server import HTTPRequest
from cheroot.wsgi import Gateway_10
from cheroot.wsgi import Server as CherootServer

from recognizer.core import logs
from recognizer.core.headers import SECURITY_HEADERS
from recognizer.http import connections, framing
from recognizer.http.bodies import TOO_LARGE
from recognizer.http.connections import BACKLOG, MAX_HEADER_BYTES, After, Connection, Connections, Phase

ENDLESS = ("multipart/x-mixed-replace", "multipart/mixed", "text/event-stream")
#: Bytes of an endless reply that the kernel may hold: what was sent and not acknowledged, and of it, what was not even sent.
STREAM_BUFFER, STREAM_UNSENT = 128 * 1024, 16 * 1024
#: Seconds that a client of an endless reply may take for one chunk of it.
STREAM_SECONDS = 10.0
MAX_CONNECTIONS = 400
#: Share of those that one address may hold: a client that takes all it can leaves some to others.
MOST_OF_ONE = 0.75
#: Requests that have threads of their own. A slow disk must not delay the probe whose failure restarts the process.
_LIVE_PROBE = re.compile(rb"(?:GET|HEAD) (?:/[!-~]{0,200})?/health/live/?[? ]")
_OTHER_PROBE = re.compile(rb"(?:GET|HEAD) (?:/[!-~]{0,200})?/health(?:/ready)?/?[? ]")
SERVER_NAME = "recognizer"
_SECURITY = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())

_CODES = {
    400: "bad_request",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    414: "uri_too_long",
    431: "headers_too_large",
    500: "internal",
    501: "not_implemented",
    503: "busy",
    505: "http_version_not_supported",
}

log = logging.getLogger("recognizer.server")


def error_body(code: str, message: str, **details) -> bytes:
    """The JSON bytes of an error reply."""
    return json.dumps({"error": {"code": code, "message": message, **details}}).encode()


class Guard:
    """A WSGI application around another that lets no exception, and no more than `streams` endless replies, through.

    An exception becomes a JSON 500 whose ``request_id`` also stands in the log beside the traceback. The id is in the
    environ as ``recognizer.request_id``, and in every reply's header X-Request-Id. The application may leave what the log
    calls the request in the environ, as ``recognizer.route``.

    Parameters
    ----------
    app : callable
        The WSGI application to guard. It must not use the ``write`` callable of WSGI.
    stopping : callable returning bool
        Once it is true, endless replies end at their next chunk.
    streams : int
        Most endless replies open at once; beyond it the answer is 503.
    observer : Observer, optional
        Told of every request.
    """

    def __init__(self, app, stopping: Callable[[], bool] = lambda: False, streams: int = 32, observer: Observer | None = None):
        self.app = app
        self.observer = observer or Observer()
        self.serve_until(stopping, streams)

    def serve_until(self, stopping: Callable[[], bool], streams: int) -> None:
        """Apply these limits from now on; for the server, which knows them after the application was made."""
        self.stopping = stopping
        self.streams = threading.BoundedSemaphore(streams)

    def __call__(self, environ, start_response):
        reply = _Reply(self, environ, start_response)
        self.observer.begun(environ)
        try:
            reply.chunks = self.app(environ, reply.remember)
            reply.begin()
        except (Exception, SystemExit):
            reply.fail()
        return reply


class Observer:
    """Receives reports about requests from a `Guard`; does nothing by itself. Its methods must neither raise nor wait."""

    def begun(self, environ) -> None:
        """A request has arrived."""

    def ended(self, environ, status: int, seconds: float, sent: int, endless: bool) -> None:
        """Its reply has ended: status, time since it came, bytes of the body; `endless` of a stream."""

    def refused(self, status: int) -> None:
        """A request was refused before its body was read, or its head was whole."""


class _Reply:
    """One reply that is being sent. Its head is held back until the first chunk, so that a failure can still be a 500."""

    def __init__(self, guard: Guard, environ, start_response):
        self.guard, self.environ, self.start_response = guard, environ, start_response
        self.request_id = environ["recognizer.request_id"] = logs.request_id(environ)
        logs.current_request.set(self.request_id)
        self.came = time.perf_counter()
        self.sent = 0
        self.chunks = ()
        self.head = None
        self.started = self.endless = self.counted = self.released = self.closed = False

    @property
    def request(self) -> str:
        """The request as the log shows it: without the path, which may contain a name."""
        return f"{self.environ.get('REQUEST_METHOD')} {self.environ.get('recognizer.route', '')}".rstrip()

    def remember(self, status, headers, exc_info=None):
        self.head = (status, list(headers))

    def begin(self):
        self.iterator = iter(self.chunks)
        for name, value in self.head[1]:
            if any(mark in value for mark in "\r\n\0"):
                raise ValueError(f"header {name!r} cannot have the value {value!r}")
            value.encode("latin-1")
        kind = next((value for name, value in self.head[1] if name.lower() == "content-type"), "")
        self.endless = kind.lower().startswith(ENDLESS)
        if self.endless or not isinstance(self.chunks, list | tuple):  # it occupies its thread for as long as the client wants
            self.counted = self.guard.streams.acquire(blocking=False)
            if self.endless:
                self.head[1].append(("X-Accel-Buffering", "no"))  # nginx would keep events until it has 4 kB of them
            if not self.counted:
                self.endless = False
                self.environ["recognizer.error"] = "busy"
                self._replace("503 Service Unavailable", "busy", "too many streams are open; close one or try later")

    def fail(self):
        log.exception("request %s failed: %s", self.request_id, self.request)
        self.environ["recognizer.error"] = "internal"
        self._replace(
            "500 Internal Server Error",
            "internal",
            "something went wrong here; the server's log says what",
            request_id=self.request_id,
        )

    def _replace(self, status, code, message, **details):
        self._release()
        body = error_body(code, message, **details)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *SECURITY_HEADERS.items()]
        if code == "busy":
            headers.append(("Retry-After", "1"))
        head_only = self.environ.get("REQUEST_METHOD") == "HEAD"
        self.head, self.iterator = (status, headers), iter([] if head_only else [body])

    def __iter__(self):
        return self

    def __next__(self):
        chunk = self._next_chunk()
        if not self.started:
            self.started = True
            status, headers = self.head
            self.start_response(status, [*headers, ("X-Request-Id", self.request_id)])
        if chunk is None:
            self.close()
            raise StopIteration
        self.sent += len(chunk)
        return chunk

    def _next_chunk(self):
        if self.endless and self.guard.stopping():
            return None
        try:
            return next(filter(None, self.iterator), None)
        except (Exception, SystemExit):
            if not self.started:
                self.fail()
                return next(self.iterator, None)
            log.exception("request %s broke off: %s", self.request_id, self.request)
            self.close()
            # cheroot passes over this error in silence and closes without the end mark: the client sees a torn reply.
            raise OSError(errno.ECONNABORTED, "reply broken off") from None

    def _release(self):
        """Release the resources of the application's reply."""
        if self.released:
            return
        self.released = True
        if self.counted:
            self.guard.streams.release()
        try:
            getattr(self.chunks, "close", lambda: None)()
        except Exception:
            log.exception("request %s: closing its reply failed: %s", self.request_id, self.request)

    def close(self):
        self._release()
        if self.closed:
            return
        self.closed = True
        status = int(self.head[0][:3]) if self.head else 500
        seconds = time.perf_counter() - self.came
        self.guard.observer.ended(self.environ, status, seconds, self.sent, self.endless)
        logs.current_request.set(None)


class _Request(HTTPRequest):
    """A request that is parsed from bytes which are there already, and whose own errors are JSON."""

    header_reader = framing.HeadReader()
    expects_continue = False

    def read_request_line(self):
        self.started_request = True
        try:
            line = framing.read_request_line(self.rfile.readline())
        except ValueError as error:
            self.simple_response("400 Bad Request", str(error))
            return False
        if line.version not in ((1, 0), (1, 1)):
            self.simple_response("505 HTTP Version Not Supported", "expected HTTP/1.0 or HTTP/1.1")
            return False
        if line.method == b"CONNECT":
            self.simple_response("405 Method Not Allowed", "this server is no proxy")
            return False
        self.method, self.uri, self.path, self.qs = line.method, line.target, line.path, line.query
        self.authority = b""
        self.request_protocol = b"HTTP/%d.%d" % line.version
        self.response_protocol = self.request_protocol.decode()
        return True

    def read_request_headers(self):
        if not self._read_headers():
            return False
        if self.response_protocol == "HTTP/1.1" and b"Host" not in self.inheaders:
            self.simple_response("400 Bad Request", "expected a header Host, which HTTP/1.1 requires")
            return False
        length, encoding = self.inheaders.get(b"Content-Length"), self.inheaders.get(b"Transfer-Encoding")
        if length is not None and (encoding is not None or not length.isdigit()):
            self.simple_response("400 Bad Request", "expected one valid Content-Length, or chunked encoding without it")
            return False
        if encoding is not None and (encoding.lower() != b"chunked" or not self.chunked_read):
            self.simple_response("400 Bad Request", "expected Transfer-Encoding to be chunked, once, and in HTTP/1.1")
            return False
        options = {option.strip().lower() for option in self.inheaders.get(b"Connection", b"").split(b",")}
        if b"close" in options:
            self.close_connection = True
        return True

    def _read_headers(self):
        # cheroot would tell a client to go on before anybody has looked at what it asks.
        reader, self.header_reader = self.header_reader, self._read_and_take_expect
        try:
            return super().read_request_headers()
        except errors.MaxSizeExceeded:
            self.simple_response("431 Request Header Fields Too Large", f"expected at most {MAX_HEADER_BYTES} bytes")
            return False
        finally:
            self.header_reader = reader

    def _read_and_take_expect(self, rfile, found):
        _Request.header_reader(rfile, found)
        expected = found.pop(b"Expect", b"").strip().lower()
        self.expects_continue = expected == b"100-continue" and self.response_protocol == "HTTP/1.1"
        return found

    def send_headers(self):
        kind = next((value for name, value in self.outheaders if name.lower() == b"content-type"), b"")
        if not kind.decode("latin-1").lower().startswith(ENDLESS):
            return super().send_headers()
        # Without chunks, which simple clients of live video do not read: it ends where the connection does.
        self.response_protocol = "HTTP/1.0"
        self.close_connection = True
        self.outheaders.append((b"Connection", b"close"))
        super().send_headers()
        self.conn.become_endless()

    def write(self, chunk):
        if not self.conn.endless:
            if self.conn.unsent:
                self.conn.send_all(STREAM_SECONDS)  # a reply in pieces: the next is read once this one is sent
                self.conn.socket.setblocking(False)
            return super().write(chunk)
        self.conn.socket.sendall(chunk)  # straight from the bytes that all viewers share
        self.conn.wait_until_sent()

    def simple_response(self, status, msg=""):
        if self.sent_headers:
            return
        self.sent_headers = self.close_connection = self.conn.drain = True
        number, reason = int(status[:3]), status[4:]
        if number == 413:
            msg = f"the body is too large: expected at most {self.server.max_request_body_size} bytes"
        self.server.guard.observer.refused(number)
        body = error_body(_CODES.get(number, "error"), msg or reason)
        head = (
            f"HTTP/1.1 {number} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\nServer: {SERVER_NAME}\r\n{_SECURITY}"
            + ("Retry-After: 1\r\n" if number == 503 else "")
            + "\r\n"
        )
        with contextlib.suppress(OSError):
            self.conn.wfile.write(head.encode("latin-1") + body)


class _Outlet:
    """What cheroot writes a reply to."""

    def __init__(self, conn: _Connection):
        self._conn = conn

    def write(self, data: bytes) -> int:
        self._conn.send(bytes(data))
        return len(data)


class _Connection(Connection):
    """A connection as its thread treats it: parses requests, has them answered, and reports what to wait for next."""

    server: Server

    def __init__(self, server: Server, connected: socket.socket, address: tuple, ssl_env: dict):
        super().__init__(server, connected, address, ssl_env)
        self.wfile = _Outlet(self)
        self.rfile: io.BytesIO = io.BytesIO()
        self.drain = False
        self._waits: _Gateway | None = None

    def become_endless(self):
        """From here on a stream is sent: keep what lies in the kernel small, and give the client time for each chunk."""
        self.endless = True
        self.send_all(STREAM_SECONDS)
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, STREAM_UNSENT)

    def wait_until_sent(self):
        """Wait until next to nothing is left to send: what comes next is chosen then, and not before.

        Raises
        ------
        TimeoutError
            The client takes too long.
        """
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self.socket, select.POLLOUT)
            if not poll.poll(1000 * STREAM_SECONDS):
                raise TimeoutError("timed out")

    def gone(self) -> bool:
        """Whether the client hung up, as far as the system tells: else it shows when something is sent."""
        if not hasattr(select, "POLLRDHUP"):
            return False
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLRDHUP)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def hang_up(self):
        """End an endless reply, also while it waits for the client."""
        self.shut(socket.SHUT_RDWR)

    def communicate(self) -> bool:
        """Go on with the request that came; False if the connection is to be closed."""
        request = None
        try:
            gateway, self._waits = self._waits, None
            if gateway is not None:
                request = gateway.req
            else:
                gateway, request = self._begin()
            if gateway is not None and not self._has_body(gateway):
                return True
            if gateway is not None:
                self._answer(gateway)
        except OSError:
            return False
        except Exception:
            log.exception("a request failed below the application")
            if request is None or request.sent_headers:
                return False
            request.simple_response("500 Internal Server Error")
        finally:
            if self._waits is None:
                self.body = None
        return self._finish(request)

    def _begin(self) -> tuple[_Gateway | None, _Request]:
        """Parse a head. Without a gateway, it was refused."""
        at = self.received.find(b"\r\n\r\n")
        size = len(self.received) if at < 0 else at + 4
        self.rfile = io.BytesIO(bytes(self.received[:size]))
        del self.received[:size]
        self.scanned = 0
        request = _Request(self.server, self)
        request.parse_request()
        return (_Gateway(request) if request.ready else None), request

    def _has_body(self, gateway: _Gateway) -> bool:
        """Whether a request's body is there or not wanted; else it is waited for."""
        if self.body is None:
            self.body = gateway.wanted_body()
            if self.body is None:
                return True
            if self.has_body():
                return True
            if gateway.req.expects_continue:
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._waits = gateway
            self.wait_for(Phase.BODY)
            return False
        return True

    def _answer(self, gateway: _Gateway) -> None:
        request = gateway.req
        if isinstance(self.problem, ValueError):
            request.simple_response("400 Bad Request", str(self.problem))
            return
        if self.problem is not None:
            if gateway.limit == self.server.max_request_body_size:
                request.simple_response("413 Content Too Large")
                return
            gateway.refuse_body()
        gateway.respond()
        request.ensure_headers_sent()
        if request.chunked_write:
            self.send(b"0\r\n\r\n")

    def _finish(self, request: _Request) -> bool:
        """Decide what is waited for next."""
        if self.endless:
            return False
        self.problem = None
        self.after = After.LINGER if self.drain else After.CLOSE if request.close_connection else After.KEEP
        self.wait_for(Phase.REPLY)  # which is over at once if everything is sent
        return True


class _Gateway(Gateway_10):
    """Has the whole body, within the limits, before the application runs: it then never waits for the client."""

    limit = 0

    def wanted_body(self) -> framing.BodyReader | None:
        """What the body is put together with; None where there is none, or where it is not worth reading."""
        req = self.req
        length = int(req.inheaders.get(b"Content-Length", 0))
        if not (req.chunked_read or length):
            return None
        try:
            limit = req.server.body_limit(self.env)
        except Exception:
            log.exception("looking at a request's head failed")  # the application meets the same, and answers
            limit = 0
        if limit is None:
            limit = req.server.max_request_body_size
        self.limit = min(limit, req.server.max_request_body_size)
        if not self.limit:
            req.close_connection = req.conn.drain = True
            return None
        if length > self.limit:
            self.refuse_body()
            return None
        return framing.BodyInChunks(self.limit) if req.chunked_read else framing.BodyOfLength(length)

    def refuse_body(self) -> None:
        """Let the application answer that the body is too large."""
        self.env[TOO_LARGE] = self.limit
        self.req.close_connection = self.req.conn.drain = True
        self.req.conn.body = None

    def respond(self):
        conn, server = self.req.conn, self.req.server
        body = conn.body.take() if conn.body is not None else b""
        self.env["wsgi.input"] = io.BytesIO(body)
        self.env["wsgi.input_terminated"] = True
        if body or "CONTENT_LENGTH" in self.env:
            self.env["CONTENT_LENGTH"] = str(len(body))
        self.env.pop("HTTP_TRANSFER_ENCODING", None)
        self.env["recognizer.over"] = lambda: not server.ready or conn.gone()
        del body
        try:
            super().respond()
        except OSError:
            conn.torn = conn.endless
            raise


@dataclass(frozen=True)
class ServerOptions:
    """How requests are answered.

    Attributes
    ----------
    threads : int
        Ordinary requests that are answered at once.
    max_body : int
        Largest request body that is read, in bytes.
    streams : int
        Endless replies that are open at once, each on a thread of its own in addition to those.
    body_limit : callable
        Receives the environ of a request with a body, before that is read, and returns how many bytes of it are read; 0 if
        nothing is read, because the application, which is called with an empty body, is going to refuse. If the body is
        larger, the application is called with an empty body and the limit in the environ, as `TOO_LARGE`. None stands for
        `max_body`.
    tls : recognizer.http.tls.Tls, optional
        Serve HTTPS with it.
    counted_as : callable
        The name under which the connections of an address are counted, of which none may have more than `MOST_OF_ONE`; None
        for one that may have all, such as a proxy's. By default each address counts by itself.
    """

    threads: int
    max_body: int
    streams: int = 32
    body_limit: Callable[[dict], int | None] = lambda environ: None
    tls: Any = None
    counted_as: Callable[[str], str | None] = str


class Server(CherootServer):
    """Serves `app` from a listening socket, in the background, until `end`.

    Parameters
    ----------
    listener : socket.socket
        A bound socket; the server works on a copy, so the caller still owns it.
    app : callable
        WSGI application; one that is no `Guard` gets one around it.
    options : ServerOptions
    accepted : sequence of socket.socket
        Connections to serve besides those that come: see `end`.

    Notes
    -----
    The environ holds ``recognizer.over``, a callable: whether the client of this request hung up, or the server is ending.
    An endless reply asks it while it has nothing to send.
    """

    max_request_header_size = MAX_HEADER_BYTES
    can_add_keepalive_connection = property(lambda self: self.ready)

    def __init__(
        self,
        listener: socket.socket,
        app,
        options: ServerOptions,
        accepted: Sequence[socket.socket] = (),
    ):
        self.guard = app if isinstance(app, Guard) else Guard(app)
        self.guard.serve_until(lambda: not self.ready, options.streams)
        super().__init__(listener.getsockname()[:2], self.guard, server_name=SERVER_NAME, timeout=int(connections.IDLE_SECONDS))
        self.software = SERVER_NAME
        self.gateway = _Gateway
        self.max_request_body_size = options.max_body
        self.body_limit = options.body_limit
        self.counted_as = options.counted_as
        self.ssl_adapter = options.tls
        self.open: set[_Connection] = set()
        self._threads = options.threads + options.streams
        self._work: queue.SimpleQueue[_Connection | None] = queue.SimpleQueue()
        self._live_probes: queue.SimpleQueue[_Connection | None] = queue.SimpleQueue()
        self._other_probes: queue.SimpleQueue[_Connection | None] = queue.SimpleQueue()
        self._copy = listener.dup()
        self._connections = Connections(self, self._copy, self._give_to_a_thread, accepted)

    def begin(self):
        """Start serving; return once connections are taken."""
        self._copy.listen(BACKLOG)
        self.ready = True
        for number in range(self._threads):
            self._start_thread(f"http-{number}", self._work)
        self._start_thread("http-live-probe", self._live_probes)
        self._start_thread("http-other-probe", self._other_probes)
        self.thread = threading.Thread(target=self._connections.run, name="http", daemon=True)
        self.thread.start()

    def end(self, seconds: float, hand_over: bool = False) -> bool:
        """Take no more connections, finish running requests for at most `seconds`; True if all were finished.

        Endless replies are ended at once. Connections without a request are closed, or else stay open in `handed_over`.
        """
        until = time.monotonic() + seconds
        self.ready = False
        if self.thread.is_alive():
            self._connections.close_down(hand_over)
        while self.open and time.monotonic() < until:
            for conn in [conn for conn in list(self.open) if conn.endless]:
                conn.hang_up()
            time.sleep(0.02)
        finished = not self.open
        self._connections.stop()
        self.thread.join(max(1.0, until - time.monotonic()))
        for waiting in (self._live_probes, self._other_probes, *[self._work] * self._threads):
            waiting.put(None)
        self._copy.close()
        return finished

    @property
    def handed_over(self) -> list[socket.socket]:
        """The connections, once it ended, that another server is to go on with."""
        return self._connections.handed_over

    # -- threads ----------------------------------------------------------------------------------------------------

    def _give_to_a_thread(self, conn):
        """Give a connection to a thread; probes, which have to be answered whatever others do, have threads of their own."""
        if _LIVE_PROBE.match(conn.received):
            self._live_probes.put(conn)
        elif _OTHER_PROBE.match(conn.received):
            self._other_probes.put(conn)
        else:
            self._work.put(conn)

    def _start_thread(self, name: str, waiting: queue.SimpleQueue[_Connection | None]) -> None:
        # A daemon: one that hangs cannot keep the process from ending.
        threading.Thread(target=self._serve_from, args=(waiting,), name=name, daemon=True).start()

    def _serve_from(self, waiting: queue.SimpleQueue[_Connection | None]) -> None:
        while (conn := waiting.get()) is not None:
            stays = False
            try:
                stays = conn.communicate()
            except BaseException:
                log.exception("a connection failed")
            finally:
                self._connections.put(conn) if stays else conn.close()

    # -- what the loop asks -----------------------------------------------------------------------------------------

    def connection(self, connected: socket.socket, address: tuple, ssl_env: dict) -> _Connection:
        """A connection that was accepted."""
        conn = _Connection(self, connected, address, ssl_env)
        self.open.add(conn)
        return conn

    def admit(self, conn: Connection) -> str | None:
        """Why a connection that was just accepted is refused, or None."""
        conn.counted_as = self.counted_as(conn.remote_addr or "")
        if len(self.open) > MAX_CONNECTIONS:
            return "too many connections are open; try again"
        if conn.counted_as is not None and self._held_by(conn.counted_as) > MOST_OF_ONE * MAX_CONNECTIONS:
            return "too many connections are open from your address; close some"
        return None

    def _held_by(self, who: str) -> int:
        return sum(conn.counted_as == who for conn in list(self.open))

    def refuse(self, conn: Connection, status: str, message: str) -> None:
        """Answer without an application."""
        _Request(self, conn).simple_response(status, message)

    def held_bytes(self) -> int:
        """How many bytes of bodies are in memory."""
        bodies = [conn.body for conn in list(self.open)]
        return sum(body.size for body in bodies if body is not None)

    def say_https(self, conn: Connection) -> None:
        """Answer somebody who speaks HTTP to a port of HTTPS."""
        self.guard.observer.refused(400)
        body = error_body("bad_request", "this port speaks HTTPS only")
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            socket.socket.send(conn.socket, f"{head}Connection: close\r\n{_SECURITY}\r\n".encode("latin-1") + body)

    def error_log(self, msg="", level=logging.INFO, traceback=False):
        log.log(level, msg, exc_info=sys.exc_info() if traceback else None)
