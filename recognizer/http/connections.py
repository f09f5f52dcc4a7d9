"""The connections of the HTTP server: one loop reads and sends for all of them, so that slow clients occupy no thread.

A connection goes to a thread when its head is whole, and once more when its body is. While a client sends, reads a reply, or
has to be waited for before its connection can be closed, only this loop knows of it. Every wait has a limit, and bodies have a
minimum rate.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import re
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from cheroot.errors import MaxSizeExceeded

from recognizer.http.framing import BodyReader

if TYPE_CHECKING:
    from recognizer.http.wsgi import Server

MAX_HEADER_BYTES = 64 * 1024
#: Seconds for a handshake, and for a head.
HEADER_SECONDS = 10.0
#: Seconds that a connection may be open without a request.
IDLE_SECONDS = 10.0
#: In each period of so many seconds, a body must arrive at this many bytes per second, or end.
BODY_SECONDS = 10.0
BODY_BYTES_PER_SECOND = 10_000
#: Bytes of bodies that are held while they come; beyond it only the oldest is read on, which then has a higher least rate.
BODY_BYTES = 512_000_000
BODY_BYTES_PER_SECOND_HURRIED = 500_000
#: In each period of so many seconds, a client has to take something of a reply. Of it, the kernel holds at most so much: else
#: it would not show for long that a client takes nothing.
REPLY_SECONDS = 20.0
SEND_BUFFER = 256 * 1024
#: Seconds that a client has to read a refusal and to stop sending.
LINGER_SECONDS = 5.0
#: Connections that wait to be accepted. Above it the system drops a client's first packet, which is sent again after a second.
BACKLOG = 1024
#: Seconds that a connection has for its first byte when the server ends.
FIRST_BYTE_SECONDS = 0.3
#: Seconds in which the loop surely notices that it is to close down.
_NOTICES_SECONDS = 5.0
_READ, _READ_AT_ONCE = 64 * 1024, 1024 * 1024
_TICK = 0.1
_HEAD_END = b"\r\n\r\n"
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_PLAIN_HTTP = "http request"

log = logging.getLogger("recognizer.server")


class Phase(Enum):
    """What a connection waits for in the loop."""

    HANDSHAKE = "handshake"
    HEAD = "head"
    BODY = "body"
    REPLY = "reply"
    LINGER = "linger"


class After(Enum):
    """What becomes of a connection once its reply is sent."""

    KEEP = "keep"
    LINGER = "linger"
    CLOSE = "close"


class Connection:
    """One client. It belongs to the loop or to a thread, never to both.

    Attributes
    ----------
    received : bytearray
        What came and was not used yet.
    body : BodyReader or None
        The body that is being received.
    problem : Exception or None
        Why the body is none.
    ended : bool
        Whether the client sends nothing any more.
    endless : bool
        Whether it is sent a reply without an end, by its thread.
    torn : bool
        Whether its reply broke off, which the client has to notice.
    shaking : bool
        Whether its TLS handshake has begun.
    """

    def __init__(self, server: Server, connected: socket.socket, address: tuple, ssl_env: dict):
        self.server, self.socket, self.ssl_env = server, connected, ssl_env
        self.remote_addr: str = address[0] if address else ""
        self.remote_port: int = address[1] if len(address) > 1 else 0
        self.counted_as: str | None = None
        self.phase = Phase.HANDSHAKE if server.ssl_adapter is not None else Phase.HEAD
        self.after = After.CLOSE
        self.received = bytearray()
        self.scanned = 0
        self.body: BodyReader | None = None
        self.problem: Exception | None = None
        self.unsent: deque[memoryview] = deque()
        self.wants = selectors.EVENT_READ
        self.ended = self.endless = self.torn = self.closed = False
        self.fresh = True
        self.shaking = False
        self.began = self.since = time.monotonic()
        self.progress = 0

    # -- in the loop ------------------------------------------------------------------------------------------------

    def wait_for(self, phase: Phase) -> None:
        """Begin a phase."""
        self.phase, self.progress = phase, 0
        self.began = self.since = time.monotonic()
        self.wants = selectors.EVENT_WRITE if phase is Phase.REPLY else selectors.EVENT_READ

    def receive(self) -> int:
        """Read what has come, up to a limit; how much that was."""
        read = 0
        while read < _READ_AT_ONCE and not self.ended:
            try:
                data = self.socket.recv(_READ)
            except _NOT_NOW:
                break
            read += len(data)
            self.ended = not data
            self.received += data
            if len(data) < _READ and not getattr(self.socket, "pending", int)():
                break
        return read

    def untouched(self) -> bool:
        """Whether nothing was read for a next request, so that another process can go on with the socket."""
        if self.phase is Phase.HANDSHAKE:
            return not self.shaking
        return self.phase is Phase.HEAD and not self.received and not isinstance(self.socket, ssl.SSLSocket)

    def has_sent(self) -> bool:
        """Whether something can be read, be it the end; what it is stays there, also with TLS.

        Raises
        ------
        OSError
            The connection is lost.
        """
        try:
            socket.socket.recv(self.socket, 1, socket.MSG_PEEK)
        except _NOT_NOW:
            return False
        return True

    def hung_up(self) -> bool:
        """Whether the client sends nothing any more, and nothing of it is unread; unknown, and so False, with TLS."""
        if isinstance(self.socket, ssl.SSLSocket):
            return False
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except _NOT_NOW:
            return False
        except OSError:
            return True

    def has_head(self) -> bool:
        """Whether `received` begins with a whole head, or with what cannot become one."""
        if self.received.startswith(b"\r\n"):  # some clients send an empty line after a body
            del self.received[:2]
            self.scanned = 0
        begin, self.scanned = self.scanned, max(0, len(self.received) - 3)
        if self.received.find(_HEAD_END, begin) >= 0 or len(self.received) > MAX_HEADER_BYTES:
            return True
        return _BARE_LINE_FEED.search(self.received, max(0, begin - 1)) is not None

    def has_body(self) -> bool:
        """Whether the body is whole, or cannot become so; `problem` says why."""
        assert self.body is not None
        try:
            self.body.feed(self.received)
        except (ValueError, MaxSizeExceeded) as error:
            self.problem = error
        else:
            if not self.body.done and self.ended:
                self.problem = ValueError(f"the body ended early: {self.body.missing()}")
        return self.body.done or self.problem is not None

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes, and keep what the client does not take at once.

        Raises
        ------
        OSError
            The connection is lost.
        """
        if data:
            self.unsent.append(memoryview(data))
            self.send_on()

    def send_on(self) -> bool:
        """Send what the client takes now; True once nothing is left.

        Raises
        ------
        OSError
        """
        while self.unsent:
            try:
                sent = self.socket.send(self.unsent[0][:_READ_AT_ONCE])
            except _NOT_NOW:
                return False
            self.progress += sent
            if sent < len(self.unsent[0]):
                self.unsent[0] = self.unsent[0][sent:]
            else:
                self.unsent.popleft()
        return True

    def send_all(self, seconds: float) -> None:
        """Send what is left, from a thread that has more to send.

        Raises
        ------
        OSError
            The client is too slow, or lost.
        """
        self.socket.settimeout(seconds)
        while self.unsent:
            self.socket.sendall(self.unsent.popleft())

    # -- its end ----------------------------------------------------------------------------------------------------

    def shut(self, how: int) -> None:
        # Not by a TLS socket's own shutdown, which takes the encryption off.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, how)

    def detach(self) -> socket.socket:
        """Give the socket away, which stays open; this object is closed."""
        self.closed = True
        detached = socket.socket(fileno=self.socket.detach())
        self.server.open.discard(self)
        return detached

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.torn:
            # A reset, since nothing else tells this client that the reply did not just end; nor is what it never read kept.
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.body = None
        with contextlib.suppress(OSError):
            self.socket.close()
        self.server.open.discard(self)


class Connections:
    """The loop over all connections that no thread has. Owns the selector; `put` may be called from any thread.

    Parameters
    ----------
    server : Server
    listener : socket.socket
    work : callable
        Called with a connection whose head or body is complete, to pass it to a thread. It must not wait.
    accepted : sequence of socket.socket
        Connections that another process accepted.
    """

    def __init__(
        self,
        server: Server,
        listener: socket.socket,
        work: Callable[[Connection], None],
        accepted: Sequence[socket.socket] = (),
    ):
        self._server, self._listener, self._work = server, listener, work
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        for each in (self._waker, self._woken, listener):
            each.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(listener, selectors.EVENT_READ)
        self._new: deque[Connection] = deque()
        self._waiting: set[Connection] = set()
        self._paused: set[Connection] = set()
        self._stopping = threading.Event()
        self._accepted = accepted
        self._closing = self._hands_over = False
        self._accepts_no_more = threading.Event()
        self._first_byte_until = math.inf
        #: Sockets of connections without a request, once it closed down, for the process that follows.
        self.handed_over: list[socket.socket] = []
        self._let_go_at = 0.0

    def put(self, conn: Connection) -> None:
        """Pass a connection to the loop."""
        self._new.append(conn)
        self._wake()

    def close_down(self, hand_over: bool = False) -> None:
        """Accept no more connections, and close those without a request; those with one are served.

        With `hand_over`, what is not accepted yet stays with the listening socket, and those without a request go to
        `handed_over`. On return, no connection is accepted any more: the server's set of open ones only becomes smaller.
        """
        self._hands_over = hand_over
        self._closing = True
        self._wake()
        self._accepts_no_more.wait(_NOTICES_SECONDS)

    def stop(self) -> None:
        """End the loop, and every connection that it has."""
        self._stopping.set()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it wakes anyway
            self._waker.send(b".")

    def run(self) -> None:
        """Serve the connections until `stop`."""
        ticked = time.monotonic()
        for connected in self._accepted:
            try:
                self._take(connected, connected.getpeername())
            except OSError:  # its client has gone
                connected.close()
        while not self._stopping.is_set():
            for key, _ in self._selector.select(_TICK):
                if key.fileobj is self._woken:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                elif key.fileobj is self._listener:
                    if not self._closing:
                        self._accept()
                else:
                    self._guarded(self._step, key.data)
            while self._new:
                conn = self._new.popleft()
                self._waiting.add(conn)
                self._guarded(self._begin, conn)
            if self._closing and not self._accepts_no_more.is_set():
                self._stop_accepting()
            now = time.monotonic()
            if now - ticked >= _TICK:
                ticked = now
                self._tick(now)
        for conn in [*self._waiting, *self._new]:
            conn.close()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _guarded(self, step: Callable[[Connection], None], conn: Connection) -> None:
        try:
            step(conn)
        except OSError:
            self._drop(conn)
        except Exception:
            log.exception("a connection failed")
            self._drop(conn)

    # -- new ones ---------------------------------------------------------------------------------------------------

    def _accept(self, most: int = 100) -> None:
        """Accept the connections that wait, but no more than so many: others wait for the loop as well."""
        for _ in range(most):
            try:
                connected, address = self._listener.accept()
            except _NOT_NOW:
                return
            except ConnectionAbortedError:  # its client has gone
                continue
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    log.error("a connection cannot be accepted: too many files are open")
                    time.sleep(_TICK)
                return
            self._take(connected, address)

    def _take(self, connected: socket.socket, address: tuple) -> None:
        """Begin with a connection that was accepted."""
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            ssl_env: dict = {}
            if self._server.ssl_adapter is not None:
                connected, ssl_env = self._server.ssl_adapter.wrap(connected)
                connected.setblocking(False)
        except (OSError, ValueError):
            connected.close()
            return
        conn = self._server.connection(connected, address, ssl_env)
        self._waiting.add(conn)
        self._guarded(self._greet, conn)

    def _stop_accepting(self) -> None:
        if not self._hands_over:
            self._accept(BACKLOG + 1)
        self._selector.unregister(self._listener)
        self._first_byte_until = time.monotonic() + FIRST_BYTE_SECONDS
        self._accepts_no_more.set()

    def _greet(self, conn: Connection) -> None:
        problem = self._server.admit(conn)
        if problem is not None and self._let_go():
            problem = self._server.admit(conn)
        if problem is None:
            self._begin(conn)
        else:
            self._server.refuse(conn, "503 Service Unavailable", problem)
            self._drop(conn)

    def _let_go(self) -> bool:
        """Close the connections whose clients have hung up, which the selector may not have reported yet; whether it looked.

        Many clients may come at once in the place of others that left: both together can be more than are allowed.
        """
        now = time.monotonic()
        if now - self._let_go_at < _TICK:
            return False
        self._let_go_at = now
        for conn in list(self._waiting):
            if conn.phase in (Phase.HEAD, Phase.LINGER) and conn not in self._paused and conn.hung_up():
                self._drop(conn)
        return True

    # -- those that wait --------------------------------------------------------------------------------------------

    def _begin(self, conn: Connection) -> None:
        """Wait with a connection; what it needs may be there already."""
        if conn.closed:
            self._waiting.discard(conn)
            return
        self._selector.register(conn.socket, conn.wants, conn)
        self._step(conn)

    def _leave(self, conn: Connection) -> None:
        self._waiting.discard(conn)
        self._paused.discard(conn)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(conn.socket)

    def _drop(self, conn: Connection) -> None:
        self._leave(conn)
        conn.close()

    def _hand_over(self, conn: Connection) -> None:
        self._leave(conn)
        conn.fresh = False
        self._work(conn)

    def _turn(self, conn: Connection, phase: Phase) -> None:
        """Go on with the next phase."""
        conn.wait_for(phase)
        self._selector.modify(conn.socket, conn.wants, conn)

    def _step(self, conn: Connection) -> None:
        if conn.phase is Phase.HANDSHAKE:
            if not self._shake(conn):
                return
        if conn.phase is Phase.REPLY:
            if not conn.send_on():
                return
            if conn.after is After.CLOSE:
                self._drop(conn)
                return
            if conn.after is After.LINGER:
                conn.shut(socket.SHUT_WR)
            self._turn(conn, Phase.HEAD if conn.after is After.KEEP else Phase.LINGER)
        read = conn.receive()
        if conn.phase is Phase.HEAD:
            if read and len(conn.received) == read:
                conn.since = time.monotonic()  # its first bytes
            if conn.received and conn.has_head():
                self._hand_over(conn)
            elif conn.ended:  # also in the middle of a head: there is no request to answer
                self._drop(conn)
        elif conn.phase is Phase.BODY:
            conn.progress += read
            if conn.has_body():
                self._hand_over(conn)
            else:
                self._pause_if_full(conn)
        elif conn.phase is Phase.LINGER:
            conn.received.clear()
            if conn.ended:
                self._drop(conn)

    def _shake(self, conn: Connection) -> bool:
        """Go on with a handshake; True once it is done."""
        if not conn.shaking and not conn.has_sent():
            return False
        conn.shaking = True
        try:
            problem = self._server.ssl_adapter.finish(conn.socket)
        except ssl.SSLWantReadError:
            self._selector.modify(conn.socket, selectors.EVENT_READ, conn)
            return False
        except ssl.SSLWantWriteError:
            self._selector.modify(conn.socket, selectors.EVENT_WRITE, conn)
            return False
        if problem is None:
            self._turn(conn, Phase.HEAD)
            return True
        if problem == _PLAIN_HTTP:
            self._server.say_https(conn)
        self._drop(conn)
        return False

    # -- bodies that are held ---------------------------------------------------------------------------------------

    def _bodies(self) -> list[Connection]:
        """The connections that send a body, the oldest first."""
        return sorted((conn for conn in self._waiting if conn.phase is Phase.BODY), key=lambda conn: conn.began)

    def _pause_if_full(self, conn: Connection) -> None:
        if self._server.held_bytes() > BODY_BYTES and conn is not self._bodies()[0]:
            self._paused.add(conn)
            self._selector.unregister(conn.socket)

    def _resume(self) -> None:
        bodies = self._bodies()
        room = self._server.held_bytes() <= BODY_BYTES
        for conn in list(self._paused):
            if room or conn is bodies[0]:
                self._paused.discard(conn)
                conn.since, conn.progress = time.monotonic(), 0
                self._selector.register(conn.socket, conn.wants, conn)

    # -- time -------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        if self._paused:
            self._resume()
        for conn in list(self._waiting):
            if conn in self._paused:
                continue
            waited = now - conn.since
            if self._accepts_no_more.is_set() and self._is_idle(conn):
                self._end_idle(conn, now)
            elif conn.phase is Phase.HANDSHAKE and waited > HEADER_SECONDS:
                self._drop(conn)
            elif conn.phase is Phase.HEAD and waited > (HEADER_SECONDS if conn.received else IDLE_SECONDS):
                self._too_slow(conn) if conn.received else self._drop(conn)
            elif conn.phase is Phase.BODY and waited > BODY_SECONDS:
                rate = BODY_BYTES_PER_SECOND_HURRIED if self._paused else BODY_BYTES_PER_SECOND
                if conn.progress < rate * waited:
                    self._too_slow(conn)
                else:
                    conn.since, conn.progress = now, 0
            elif conn.phase is Phase.REPLY and waited > REPLY_SECONDS:
                if not conn.progress:
                    conn.torn = True
                    self._drop(conn)
                else:
                    conn.since, conn.progress = now, 0
            elif conn.phase is Phase.LINGER and waited > LINGER_SECONDS:
                self._drop(conn)

    def _end_idle(self, conn: Connection, now: float) -> None:
        if self._hands_over and conn.untouched():
            self._leave(conn)
            self.handed_over.append(conn.detach())
        elif not conn.fresh or now > self._first_byte_until:
            self._guarded(self._step, conn)  # a request that came this moment is served
            if conn in self._waiting and self._is_idle(conn):
                self._drop(conn)

    @staticmethod
    def _is_idle(conn: Connection) -> bool:
        return conn.phase is Phase.HANDSHAKE or (conn.phase is Phase.HEAD and not conn.received)

    def _too_slow(self, conn: Connection) -> None:
        self._guarded(self._say_too_slow, conn)

    def _say_too_slow(self, conn: Connection) -> None:
        self._leave(conn)
        self._server.refuse(conn, "408 Request Timeout", "the request came too slowly")
        conn.received.clear()
        conn.after = After.LINGER
        conn.wait_for(Phase.REPLY)
        self.put(conn)
