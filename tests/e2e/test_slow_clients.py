"""Clients that take all the time they are given: others, and probes before all, are answered meanwhile."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from .serving import Server

#: One address may hold 300 connections; there are 160 threads.
MANY = 290
#: Enough for a busy machine; whoever waited for the slow ones would wait longer.
SECONDS = 8

BODY = (
    b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 63000000\r\n\r\n\xff\xd8\xff"
)
CHUNKS = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nabc"
SMALL = b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
HEAD = b"GET /people HTTP/1.1\r\nHost: loc"
REFUSED = b"POST /recognize HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 63000000\r\n\r\nabc"
MALFORMED = b"\x16\x03\x01 nonsense\r\n\r\n"
TOO_LARGE = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 630000000000\r\n\r\nabc"
#: Replies that are larger than what the system takes for somebody who reads nothing.
UNREAD = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40


def files_held(server: Server) -> int:
    """How many files and connections the process has open; 0 where the system does not say so."""
    assert server.process is not None
    held = Path(f"/proc/{server.process.pid}/fd")
    return len(list(held.iterdir())) if held.exists() else 0


@pytest.fixture(scope="module")
def _patient(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("patient")) as server:
        yield server, files_held(server)


@pytest.fixture
def patient(_patient):
    """A server that has done with the clients of the test before: what is left of them would count as connections too."""
    server, at_first = _patient
    server.wait_for(lambda: files_held(server) <= at_first + 5)
    return server


@pytest.mark.parametrize(
    "sent",
    [BODY, CHUNKS, SMALL, HEAD, REFUSED, MALFORMED, TOO_LARGE, UNREAD],
    ids=["body", "chunks", "small", "head", "refused", "malformed", "too large", "unread"],
)
def test_slow_clients_hold_up_nobody(patient, sent):
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", patient.port))
            client.sendall(sent)
        for path in ("/health/live", "/health/ready", "/people", "/health/live"):
            assert patient.get(path, timeout=SECONDS).status_code == 200


@contextlib.contextmanager
def stopped(server: Server):
    """Within the block the server does nothing, as on a machine that is busy; the system answers for it."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def connected(server: Server, clients: contextlib.ExitStack) -> socket.socket:
    return clients.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))


@pytest.mark.skipif(sys.platform != "linux", reason="how many connections wait is the system's choice")
def test_many_clients_connect_at_once_and_take_the_place_of_others_that_left(patient):
    """No packet of theirs is dropped, which would be sent again after a second or more; those that left do not count."""
    with contextlib.ExitStack() as after, contextlib.ExitStack() as before:
        others = [connected(patient, before) for _ in range(MANY)]
        for client in others:
            client.sendall(HEAD)
        assert patient.get("/health/live").status_code == 200  # all were accepted
        with stopped(patient):
            clients = [connected(patient, after) for _ in range(20)]
            before.close()
            clients += [connected(patient, after) for _ in range(MANY - 20)]
        for client in clients:
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert [client.recv(12) for client in clients] == [b"HTTP/1.1 200"] * MANY


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_half_a_head_is_no_request(patient):
    """It takes no thread, and so no other client's place."""
    with contextlib.ExitStack() as clients:
        client = connected(patient, clients)
        client.sendall(HEAD)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def test_a_body_that_drips_is_ended(tmp_path):
    """However much of it came at once before."""
    code = "import recognizer.http.connections as c; c.BODY_SECONDS = 0.5; c.LINGER_SECONDS = 1.0; "
    command = (sys.executable, "-c", code + "import sys; sys.argv = ['recognizer', 'serve', '--port', '0']; "
               "from recognizer.cli import main; main()")  # fmt: skip
    with Server(tmp_path, command=command) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(30)
        client.sendall(BODY + bytes(1_000_000))
        reply = b""
        while not reply:
            client.settimeout(0.2)
            with contextlib.suppress(OSError):
                client.sendall(b".")
            with contextlib.suppress(TimeoutError):
                reply = client.recv(65536)
        assert reply.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in reply


def test_nobody_is_told_to_go_on_with_a_body_that_is_refused(patient):
    expects = b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"
    for path, host, status in (
        (b"/recognize", b"evil.example", b"403"),
        (b"/people/x", b"localhost", b"405"),
        (b"/cameras", b"localhost", b"413"),
    ):
        with socket.create_connection(("127.0.0.1", patient.port)) as client:
            client.settimeout(30)
            client.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + expects)
            assert read_all(client).startswith(b"HTTP/1.1 " + status)
    with socket.create_connection(("127.0.0.1", patient.port)) as client:
        client.settimeout(30)
        client.sendall(b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + expects)
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(bytes(1_000_000))
        assert read_all(client).startswith(b"HTTP/1.1 415")


def test_requests_in_one_piece_are_answered_in_order(patient):
    body = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde"
    chunked = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n\r\n"
    last = b"GET //health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", patient.port)) as client:
        client.settimeout(30)
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" + body + chunked + body + last)
        reply = read_all(client)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", reply) == [b"200", b"415", b"415", b"415", b"200"]


def test_a_reply_is_whole_however_slowly_it_is_read(patient):
    whole = patient.get("/openapi.json").content
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", patient.port))
        client.settimeout(30)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n"
        client.sendall((request + b"\r\n") * 20 + request + b"Connection: close\r\n\r\n")
        reply = b"".join(iter(lambda: client.recv(1000), b""))
    assert reply.count(whole) == 21
