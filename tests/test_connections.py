"""What becomes of connections when their server ends, with the loop stopped between any two steps."""

import contextlib
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recognizer.http.connections import Connections
from recognizer.http.tls import Tls
from recognizer.http.wsgi import Server, ServerOptions

from .streams import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"done"]


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def serve(listener):
    """Begin a server on the listener."""
    with contextlib.ExitStack() as stack:

        def begin(tls=None, accepted=()):
            server = Server(listener, app, ServerOptions(threads=2, max_body=1000, streams=1, tls=tls), accepted)
            server.begin()
            stack.callback(server.end, 0)
            return server

        yield begin


@pytest.fixture
def connect(listener):
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE))


@pytest.fixture
def background():
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def answered(client) -> bool:
    """Whether what was sent gets its reply; not if the connection is closed."""
    reply = b""
    while not reply.endswith(b"done"):
        data = client.recv(65536)
        if not data:
            return False
        reply += data
    return reply.startswith(b"HTTP/1.1 200")


class Held:
    """Stops whoever calls a method, until `go_on` is set."""

    def __init__(self, monkeypatch, owner, name):
        self.reached, self.go_on = threading.Event(), threading.Event()
        method = getattr(owner, name)

        def held(*arguments):
            self.reached.set()
            assert self.go_on.wait(PATIENCE)
            return method(*arguments)

        monkeypatch.setattr(owner, name, held)


@pytest.fixture
def closes_down(monkeypatch):
    """Set once a server that ends has said so to its loop."""
    asked, method = threading.Event(), Connections.close_down

    def close_down(self, *arguments):
        wake = self._wake
        self._wake = lambda: (wake(), asked.set())
        return method(self, *arguments)

    monkeypatch.setattr(Connections, "close_down", close_down)
    return asked


def test_a_connection_that_is_being_accepted_when_the_process_is_replaced_is_not_lost(
    serve, connect, background, monkeypatch, closes_down
):
    server = serve()
    accepting = Held(monkeypatch, server, "connection")
    client = connect()
    assert accepting.reached.wait(PATIENCE)
    ended = background(server.end, PATIENCE, True)
    assert closes_down.wait(PATIENCE)
    late = connect()  # waits in the listening socket
    accepting.go_on.set()
    assert ended.result(PATIENCE)
    serve(accepted=server.handed_over)
    for each in (client, late):
        each.sendall(REQUEST)
        assert answered(each)


def test_a_connection_that_is_being_accepted_when_the_server_ends_is_answered(
    serve, connect, background, monkeypatch, closes_down
):
    server = serve()
    accepting = Held(monkeypatch, server, "connection")
    client = connect()
    client.sendall(REQUEST)
    assert accepting.reached.wait(PATIENCE)
    ended = background(server.end, PATIENCE)
    assert closes_down.wait(PATIENCE)
    accepting.go_on.set()
    assert answered(client)
    assert ended.result(PATIENCE)


def test_all_connections_that_wait_when_the_server_ends_are_answered(serve, connect, background, monkeypatch, closes_down):
    server = serve()
    accepting = Held(monkeypatch, server, "connection")
    clients = [connect() for _ in range(250)]
    for client in clients:
        client.sendall(REQUEST)
    assert accepting.reached.wait(PATIENCE)
    ended = background(server.end, PATIENCE)
    assert closes_down.wait(PATIENCE)
    accepting.go_on.set()
    assert all(map(answered, clients))
    assert ended.result(PATIENCE)


def test_connections_without_a_request_are_handed_over_when_the_process_is_replaced(serve, connect):
    server = serve()
    new, kept, gone = connect(), connect(), connect()
    for client in (kept, gone):
        client.sendall(REQUEST)
        assert answered(client)
    assert server.end(PATIENCE, hand_over=True)
    gone.close()
    assert len(server.handed_over) == 3
    serve(accepted=server.handed_over)
    for client in (new, kept):
        client.sendall(REQUEST)
        assert answered(client)


def test_a_connection_is_handed_over_before_its_handshake_only(serve, connect, authority):
    server = serve(Tls(authority / "server.pem"))
    context = ssl.create_default_context(cafile=authority / "ca.pem")
    new, begun, kept = connect(), connect(), connect()
    begun.sendall(b"\x16\x03\x01")  # the first bytes of a handshake
    with context.wrap_socket(kept, server_hostname="127.0.0.1") as encrypted:
        encrypted.sendall(REQUEST)
        assert answered(encrypted)
        assert server.end(PATIENCE, hand_over=True)
        assert not encrypted.recv(1)
    assert not begun.recv(1)
    serve(Tls(authority / "server.pem"), server.handed_over)
    with context.wrap_socket(new, server_hostname="127.0.0.1") as encrypted:
        encrypted.sendall(REQUEST)
        assert answered(encrypted)


def test_a_request_that_comes_as_an_idle_connection_is_to_be_closed_is_answered(serve, connect, background, monkeypatch):
    server = serve()
    client = connect()
    client.sendall(REQUEST)
    assert answered(client)
    closing = Held(monkeypatch, Connections, "_end_idle")
    ended = background(server.end, PATIENCE)
    assert closing.reached.wait(PATIENCE)
    client.sendall(REQUEST)
    closing.go_on.set()
    assert answered(client)
    assert ended.result(PATIENCE)
