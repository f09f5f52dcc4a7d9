"""The WSGI server beneath `recognizer.server`: cheroot with bounds on what a client may cost, and JSON errors.

A thread is taken by a connection only while it has a request to read or answer: connections that say nothing wait in
the selector. Replies that have no end (`ENDLESS`: live video, event streams) hold a thread for as long as somebody
watches, so threads are added for them and no more than that many may be open: the others stay free. Little of an endless
reply may lie in the kernel, else a slow viewer would see the past; and when the server stops, they are cut off at once.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from cheroot import errors
from cheroot.connections import ConnectionManager
from cheroot.makefile import MakeFile
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.wsgi import Gateway_10
from cheroot.wsgi import Server as CherootServer

from . import framing, logs
from .headers import SECURITY_HEADERS

ENDLESS = ("multipart/x-mixed-replace", "text/event-stream")
#: Bytes of an endless reply that the kernel may hold: what was sent and not acknowledged, and of it, what was not even sent.
STREAM_BUFFER, STREAM_UNSENT = 128 * 1024, 16 * 1024
#: Seconds that a client of an endless reply may take for one chunk of it.
STREAM_SECONDS = 10.0
MAX_CONNECTIONS = 400
#: Share of those that one address may hold: whoever takes all it can leaves some to others.
MOST_OF_ONE = 0.75
MAX_HEADER_BYTES = 64 * 1024
HEADER_SECONDS = 10.0
#: Seconds that a head, or a body of few bytes, has while half of the threads wait for one: whoever means well sends it at once.
HURRIED_SECONDS = 2.0
SMALL_BODY = 16 * 1024
BODY_SECONDS = 30.0
BODY_BYTES_PER_SECOND = 20_000
LINGER_SECONDS = 5.0
FIRST_BYTE_SECONDS = 0.3
SERVER_NAME = "recognizer"
_SECURITY = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())
_PLAIN_HTTP = "http request"

_CODES = {
    400: "bad_request", 405: "method_not_allowed", 408: "request_timeout", 413: "body_too_large", 414: "uri_too_long",
    431: "headers_too_large", 500: "internal", 501: "not_implemented", 503: "busy", 505: "http_version_not_supported",
}  # fmt: skip

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

    def __init__(
        self, app, stopping: Callable[[], bool] = lambda: False, streams: int = 32, observer: Observer | None = None
    ):
        self.app = app
        self.observer = observer or Observer()
        self.serve_until(stopping, streams)

    def serve_until(self, stopping: Callable[[], bool], streams: int) -> None:
        """Take these limits from now on; for the server, which knows them later than the application is made."""
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
    """What a `Guard` tells of requests; does nothing by itself. Its methods must neither raise nor wait."""

    def begun(self, environ) -> None:
        """A request came."""

    def ended(self, environ, status: int, seconds: float, sent: int, endless: bool) -> None:
        """Its reply is over: status, time since it came, bytes of the body; `endless` of a stream."""

    def refused(self, status: int) -> None:
        """A request was refused before its body was read, or its head was whole."""


class _Reply:
    """One reply on its way out. Its head is held back until the first chunk, so that a failure can still be a 500."""

    def __init__(self, guard: Guard, environ, start_response):
        self.guard, self.environ, self.start_response = guard, environ, start_response
        self.request_id = environ["recognizer.request_id"] = logs.request_id(environ)
        logs.current_request.set(self.request_id)
        self.came = time.perf_counter()
        self.sent = 0
        self.chunks = ()
        self.head = None
        self.started = self.endless = self.released = self.closed = False

    @property
    def request(self) -> str:
        """What the log calls it: without the path, which may hold a name."""
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
        if kind.lower().startswith(ENDLESS):
            self.endless = self.guard.streams.acquire(blocking=False)
            if not self.endless:
                self.environ["recognizer.error"] = "busy"
                self._replace("503 Service Unavailable", "busy", "too many streams are open; close one or try later")

    def fail(self):
        log.exception("request %s failed: %s", self.request_id, self.request)
        self.environ["recognizer.error"] = "internal"
        self._replace(
            "500 Internal Server Error", "internal", "something went wrong here; the server's log says what",
            request_id=self.request_id,
        )  # fmt: skip

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
        """Give back what the application's reply holds."""
        if self.released:
            return
        self.released = True
        if self.endless:
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
    """A request whose own errors are JSON, and whose head has to arrive in time."""

    header_reader = framing.HeadReader()

    def parse_request(self):
        with self.server.deadline(self.conn, HEADER_SECONDS, small=True):
            super().parse_request()

    def read_request_headers(self):
        try:
            if not super().read_request_headers():
                return False
        except errors.MaxSizeExceeded:
            self.simple_response("431 Request Header Fields Too Large", f"expected at most {MAX_HEADER_BYTES} bytes")
            return False
        length, encoding = self.inheaders.get(b"Content-Length"), self.inheaders.get(b"Transfer-Encoding")
        if length is not None and (encoding is not None or not length.isdigit()):
            self.simple_response("400 Bad Request", "expected one valid Content-Length, or chunked encoding without it")
            return False
        if encoding is not None and (encoding.lower() != b"chunked" or not self.chunked_read):
            self.simple_response("400 Bad Request", "expected Transfer-Encoding to be chunked, once, and in HTTP/1.1")
            return False
        return True

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
            return super().write(chunk)
        self.conn.socket.sendall(chunk)  # straight from the bytes that all viewers share
        self.conn.wait_until_sent()

    def simple_response(self, status, msg=""):
        if self.sent_headers:
            return
        self.sent_headers = self.close_connection = self.conn.drain = True
        if self.conn.overdue:
            status, msg = "408 Request Timeout", "the request came too slowly"
        number, reason = int(status[:3]), status[4:]
        if number == 413:
            msg = f"the body is too large: expected at most {self.server.max_request_body_size} bytes"
        self.server.guard.observer.refused(number)
        body = error_body(_CODES.get(number, "error"), msg or reason)
        head = (
            f"HTTP/1.1 {number} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\nServer: {SERVER_NAME}\r\n{_SECURITY}"
            + ("Retry-After: 1\r\n" if number == 503 else "") + "\r\n"
        )
        with contextlib.suppress(OSError):
            self.conn.wfile.write(head.encode("latin-1") + body)


class _Connection(HTTPConnection):
    """A connection that can be told it is overdue, and that lets an early error reply arrive before it closes."""

    RequestHandlerClass = _Request
    overdue = False
    drain = False
    fresh = True
    endless = torn = False
    counted_as: str | None = None

    def __init__(self, server, sock, makefile=MakeFile):
        super().__init__(server, sock, makefile)
        self.shaken = server.ssl_adapter is None

    def become_endless(self):
        """From here on a stream is sent: keep what lies in the kernel small, and give the client time for each chunk."""
        self.endless = True
        self.socket.settimeout(STREAM_SECONDS)
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

    def communicate(self):
        if self.shaken:
            return super().communicate()
        # Then back to those that wait: whoever shakes hands and asks nothing keeps no thread.
        with self.server.deadline(self, HEADER_SECONDS, small=True):
            problem = self.server.ssl_adapter.finish(self.socket)
        self.shaken = problem is None
        if problem == _PLAIN_HTTP:
            self._say_https()
        return self.shaken

    def _say_https(self):
        self.server.guard.observer.refused(400)
        body = error_body("bad_request", "this port speaks HTTPS only")
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            socket.socket.send(self.socket, f"{head}Connection: close\r\n{_SECURITY}\r\n".encode("latin-1") + body)

    def cut(self):
        self.overdue = True
        self.shut(socket.SHUT_RD)

    def shut(self, how: int):
        # Not by a TLS socket's own shutdown, which takes the encryption off.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, how)

    def close(self):
        if self.drain:
            self.drain = False
            self._discard_what_still_comes()
        if self.torn:
            # A reset, since nothing else tells this client that the reply did not just end; nor is what it never read kept.
            self.linger = True
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.socket.close()
        super().close()
        self.server.open.discard(self)

    def _discard_what_still_comes(self):
        # Closing while the client still sends makes its kernel throw away our reply.
        until = time.monotonic() + LINGER_SECONDS
        self.shut(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while (left := until - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.socket.recv(65536):
                    break


class _Connections(ConnectionManager):
    """The connections that wait for a request. At the end, new ones whose request is on its way still get it served."""

    def put(self, conn):
        if getattr(conn.socket, "pending", int)():
            conn.last_used = time.time()
            self.server.process_conn(conn)  # decrypted already, so that the selector would not see it
        else:
            super().put(conn)

    def close(self):
        until = time.monotonic() + FIRST_BYTE_SECONDS
        while self._hand_over() and time.monotonic() < until:
            time.sleep(0.02)
        super().close()

    def _hand_over(self) -> bool:
        """Give the connections that sent something to the threads; True if there are others that are new."""
        for number, conn in list(self._selector.select(timeout=0)):
            if conn is not self.server:
                self._selector.unregister(number)
                self.server.process_conn(conn)
        return any(conn is not self.server and conn.fresh for _, conn in self._selector.connections)


class _Gateway(Gateway_10):
    """Reads the whole body, within the limits, before the application runs: it then never waits for the client."""

    def respond(self):
        try:
            body = self._body() if self._is_worth_reading() else b""
        except errors.MaxSizeExceeded:
            return self.req.simple_response("413 Content Too Large")
        except ValueError as error:
            return self.req.simple_response("400 Bad Request", str(error))
        self.env["wsgi.input"] = io.BytesIO(body)
        self.env["wsgi.input_terminated"] = True
        if body or "CONTENT_LENGTH" in self.env:
            self.env["CONTENT_LENGTH"] = str(len(body))
        self.env.pop("HTTP_TRANSFER_ENCODING", None)
        conn, server = self.req.conn, self.req.server
        self.env["recognizer.over"] = lambda: not server.ready or conn.gone()
        try:
            super().respond()
        except OSError:
            conn.torn = conn.endless
            raise

    def _is_worth_reading(self) -> bool:
        """False where the application is going to refuse the request: whoever may not ask cannot make us read."""
        req = self.req
        if not (req.chunked_read or int(req.inheaders.get(b"Content-Length", 0))):
            return True
        try:
            if req.server.reads_body(self.env):
                return True
        except Exception:
            log.exception("looking at a request's head failed")  # the application meets the same, and answers
        req.close_connection = req.conn.drain = True
        return False

    def _body(self) -> bytes:
        req, limit = self.req, self.req.server.max_request_body_size
        length = limit if req.chunked_read else int(req.inheaders.get(b"Content-Length", 0))
        if length == 0:
            return b""
        with req.server.deadline(req.conn, BODY_SECONDS + length / BODY_BYTES_PER_SECOND, small=length <= SMALL_BODY):
            if req.chunked_read:
                return framing.read_chunked(req.conn.rfile, limit)
            body = req.rfile.read(length)
        if len(body) < length:
            raise ValueError(f"the body ended early: expected {length} bytes, got {len(body)}")
        return body


class _Wait(NamedTuple):
    """What a thread waits for: since when and until when, and whether it is a head or as short as one."""

    since: float
    until: float
    small: bool


class Server(CherootServer):
    """Serves `app` from a listening socket, in the background, until `end`.

    Parameters
    ----------
    listener : socket.socket
        A bound socket; the server works on a copy, so the caller still owns it.
    app : callable
        WSGI application; one that is no `Guard` gets one around it.
    threads : int
        Ordinary requests answered at once.
    max_body : int
        Largest request body taken, in bytes.
    streams : int
        Endless replies open at once, each on a thread of its own beside those.
    reads_body : callable, optional
        Told the environ of a request with a body, before that is read; where it answers False, nothing of the body is
        read, and `app`, which is called all the same with an empty one, has to refuse.
    tls : recognizer.tls.Tls, optional
        Serve HTTPS with it.
    counted_as : callable, optional
        Under what the connections of an address are counted, of which none may hold more than `MOST_OF_ONE`; None for one
        that may hold all, such as a proxy's. By default each address counts by itself.

    Notes
    -----
    The environ holds ``recognizer.over``, a callable: whether the client of this request hung up, or the server is ending.
    An endless reply asks it while it has nothing to send.
    """

    ConnectionClass = _Connection
    max_request_header_size = MAX_HEADER_BYTES
    keep_alive_conn_limit = MAX_CONNECTIONS
    expiration_interval = 0.2

    def __init__(
        self, listener: socket.socket, app, threads: int, max_body: int, streams: int = 32,
        reads_body: Callable[[dict], bool] = lambda environ: True, tls=None,
        counted_as: Callable[[str], str | None] = str,
    ):  # fmt: skip
        self.guard = app if isinstance(app, Guard) else Guard(app)
        self.guard.serve_until(lambda: not self.ready, streams)
        super().__init__(
            listener.getsockname()[:2], self.guard, numthreads=threads + streams, server_name=SERVER_NAME,
            request_queue_size=128, timeout=10,
        )  # fmt: skip
        self.software = SERVER_NAME
        self.gateway = _Gateway
        self.max_request_body_size = max_body
        self.reads_body = reads_body
        self.counted_as = counted_as
        self.ssl_adapter = tls
        self.open: set[_Connection] = set()
        self._listener = listener
        self._deadlines: dict[_Connection, _Wait] = {}
        self._most_small = max(1, threads // 2)
        self._lock = threading.Lock()

    def bind(self, family, type, proto=0):
        self.socket = self._listener.dup()
        return self.socket

    def begin(self):
        """Start serving; return once connections are taken."""
        started, failure = threading.Event(), []

        def run():
            try:
                self.prepare()
                self._connections.close()
                self._connections = _Connections(self)
            except BaseException as error:
                failure.append(error)
                return
            finally:
                started.set()
            self.serve()

        # Threads inherit being daemons: one that hangs cannot keep the process from ending.
        self.thread = threading.Thread(target=run, name="http", daemon=True)
        self.thread.start()
        started.wait()
        if failure:
            raise failure[0]

    def end(self, seconds: float) -> bool:
        """Take no more connections, finish running requests for at most `seconds`; True if all were finished.

        Endless replies are ended at once.
        """
        self.shutdown_timeout = seconds
        stopper = threading.Thread(target=self.stop, name="http-stop", daemon=True)
        stopper.start()
        until = time.monotonic() + seconds
        while stopper.is_alive() and time.monotonic() < until:
            self.cut_overdue()
            for conn in [conn for conn in list(self.open) if conn.endless]:
                conn.hang_up()
            stopper.join(0.1)
        return not stopper.is_alive()

    @contextlib.contextmanager
    def deadline(self, conn: _Connection, seconds: float, *, small: bool = False):
        """While the block runs, `conn` has that long to send what it has to; `cut_overdue` holds it to that.

        What is `small` has less where many threads wait for such: else a few clients that dawdle would take all of them.
        """
        now = time.monotonic()
        with self._lock:
            self._deadlines[conn] = _Wait(now, now + seconds, small)
        try:
            yield
        finally:
            with self._lock:
                self._deadlines.pop(conn, None)

    def cut_overdue(self):
        """Stop reading from connections past their deadline. To be called a few times a second."""
        now = time.monotonic()
        with self._lock:
            for conn in [conn for conn, wait in self._deadlines.items() if wait.until < now]:
                conn.cut()
            small = [(wait.since, conn) for conn, wait in self._deadlines.items() if wait.small and not conn.overdue]
            small.sort(key=itemgetter(0))
            for since, conn in small[: max(0, len(small) - self._most_small)]:
                if since < now - HURRIED_SECONDS:
                    conn.cut()

    def process_conn(self, conn):
        if conn.last_used is not None:
            conn.fresh = False
            return super().process_conn(conn)
        # Just accepted: it waits for its first byte without a thread.
        self.open.add(conn)
        conn.counted_as = self.counted_as(conn.remote_addr or "")
        if len(self.open) > MAX_CONNECTIONS:
            problem = "too many connections are open; try again"
        elif conn.counted_as is not None and self._held_by(conn.counted_as) > MOST_OF_ONE * MAX_CONNECTIONS:
            problem = "too many connections are open from your address; close some"
        else:
            return self._connections.put(conn)
        _Request(self, conn).simple_response("503 Service Unavailable", problem)
        conn.drain = False
        conn.close()

    def _held_by(self, who: str) -> int:
        return sum(conn.counted_as == who for conn in list(self.open))

    def put_conn(self, conn):
        try:
            super().put_conn(conn)
        except (OSError, ValueError, KeyError, RuntimeError):
            conn.close()  # The selector was closed between the check and the call.

    def error_log(self, msg="", level=logging.INFO, traceback=False):
        log.log(level, msg, exc_info=sys.exc_info() if traceback else None)
