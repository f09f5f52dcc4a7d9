"""Hostile URLs and name servers, and real servers on the loopback that behave well or badly."""

import gzip
import http.server
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from recognizer.core.errors import AddressRefused, FetchFailed, FetchTimeout, FetchTooLarge, InvalidUrl
from recognizer.core.trust import accepting_context
from recognizer.fetching.fetcher import Fetcher, FetchHooks

pytestmark = pytest.mark.filterwarnings("error")
LOOPBACK = ("127.0.0.1/32",)


def answers(*addresses: str):
    """A resolver that gives these addresses for every name, and counts how often it was asked."""

    def resolve(host, port, **_):
        resolve.asked.append(host)
        found = []
        for address in addresses:
            six = ":" in address
            place = (address, port, 0, 0) if six else (address, port)
            found.append((socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, 6, "", place))
        return found

    resolve.asked = []
    return resolve


@pytest.fixture
def no_connection(monkeypatch):
    """Fail the test if anything is connected to."""
    made = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, place: made.append(place))
    yield
    assert made == []


# --- URLs and names that must lead nowhere ---------------------------------------------------------------------------

REFUSED_URLS = [
    "http://127.0.0.1/", "http://127.0.0.1:8080/x.jpg", "https://127.0.0.1/", "http://127.1/", "http://127.0.1/",
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://017700000001/",
    "http://0X7F.1/", "http://127.0.0.1./", "http://0/", "http://0.0.0.0/", "http://0.1.2.3/", "http://10.0.0.1/",
    "http://172.16.5.4/", "http://172.31.255.255/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/", "http://100.127.255.254/", "http://192.0.0.1/", "http://192.0.2.1/", "http://198.18.0.1/",
    "http://198.51.100.7/", "http://203.0.113.9/", "http://224.0.0.1/", "http://239.255.255.250/",
    "http://240.0.0.1/", "http://255.255.255.255/", "http://192.88.99.1/", "http://[::1]/", "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/",
    "http://[::ffff:10.0.0.1]:80/", "http://[64:ff9b::127.0.0.1]/", "http://[64:ff9b::a00:1]/",
    "http://[64:ff9b:1::8.8.8.8]/", "http://[2002:7f00:1::]/", "http://[2002:808:808::]/",
    "http://[2001:0:808:808::f7f7:f7f7]/", "http://[fd00:ec2::254]/", "http://[fc00::1]/", "http://[fe80::1]/",
    "http://[fec0::1]/", "http://[ff02::1]/", "http://[ff0e::1]/", "http://[100::1]/", "http://[2001:db8::1]/",
    "http://[3fff::1]/", "http://[5f00::1]/", "http://[4000::1]/", "http://１２７.0.0.1/", "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/", "http://169。254。169。254/", " http://127.0.0.1/ ",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_private_addresses_are_refused_however_they_are_written(url, no_connection):
    resolver = answers("93.184.216.34")
    with pytest.raises(AddressRefused):
        Fetcher(resolver=resolver).get(url)
    assert resolver.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["192.168.0.10"],
        ["169.254.169.254"],
        ["100.100.100.200"],
        ["0.0.0.0"],
        ["::1"],
        ["::"],
        ["fe80::1%eth0"],
        ["fd00:ec2::254"],
        ["::ffff:192.168.0.1"],
        ["64:ff9b::c0a8:1"],
        ["2002:c0a8:1::1"],
        ["93.184.216.34", "127.0.0.1"],
        ["127.0.0.1", "93.184.216.34"],
        ["2606:4700::1111", "::1"],
        ["93.184.216.34", "::ffff:10.0.0.1"],
        ["224.0.0.251"],
        ["2001:0:1:2::3"],
    ],
)
def test_a_name_with_any_forbidden_address_is_refused(addresses, no_connection):
    resolver = answers(*addresses)
    for url in ("http://photos.example/a.jpg", "https://PHOTOS.example.:8443/", "http://фото.example/"):
        with pytest.raises(AddressRefused) as caught:
            Fetcher(resolver=resolver).get(url)
        assert not any(address in str(caught.value) for address in addresses)  # no map of the inside for outsiders
    assert len(resolver.asked) == 3


def test_localhost_by_the_real_resolver_is_refused(no_connection):
    for name in ("localhost", "LOCALHOST", "ⓛocalhost", "localhost."):
        with pytest.raises(AddressRefused):
            Fetcher().get(f"http://{name}/")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "172.32.0.1"])
def test_public_addresses_are_connected_to_as_they_were_checked(address, monkeypatch):
    made = []

    def connect(self, place):
        made.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(FetchFailed):
        Fetcher(resolver=answers(address)).get("http://photos.example:81/")
    assert made == [(str(ipaddress.ip_address(address)), 81)]


def test_allowing_one_network_allows_no_other(no_connection):
    with pytest.raises(AddressRefused):
        Fetcher(allow=["192.168.1.0/24", "fd00::/8"]).get("http://192.168.2.1/")
    with pytest.raises(AddressRefused):
        Fetcher(allow=LOOPBACK).get("http://127.0.0.2/")


# --- a real server ---------------------------------------------------------------------------------------------------

BODY = b"\xff\xd8\xff" + bytes(range(256)) * 40


class Server:
    """A TCP server on the loopback that gives each connection's request to `reply(request, connection)`."""

    def __init__(self, reply, tls: ssl.SSLContext | None = None):
        self.reply, self.requests, self.tls = reply, [], tls
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self):
        while not self.stopped.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self.threads[-1].start()

    def _serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                request = b""
                while not request.endswith(b"\r\n\r\n") and (piece := connection.recv(4096)):
                    request += piece
                if request:
                    self.requests.append(request.decode("latin-1"))
                    self.reply(self.requests[-1], connection)
        except OSError:
            connection.close()

    def close(self):
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)


@pytest.fixture
def serve():
    servers = []

    def start(reply, tls=None) -> Server:
        if isinstance(reply, bytes):
            data = reply
            reply = lambda request, connection: connection.sendall(data)  # noqa: E731
        servers.append(Server(reply, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def answer(status="200 OK", body=BODY, **headers) -> bytes:
    headers = {"Content-Length": len(body)} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fetch(server: Server, path="/photo.jpg", **options):
    return Fetcher(allow=LOOPBACK, **options).fetch(f"http://127.0.0.1:{server.port}{path}")


def test_a_photo_is_fetched(serve):
    server = serve(answer(Content_Type="image/jpeg"))
    fetched = fetch(server)
    assert (fetched.content, fetched.content_type) == (BODY, "image/jpeg")
    assert fetched.url == f"http://127.0.0.1:{server.port}/photo.jpg"
    assert Fetcher(allow=LOOPBACK).get(f"http://127.0.0.1:{server.port}/") == BODY
    head = server.requests[0].split("\r\n")
    assert head[0] == "GET /photo.jpg HTTP/1.1" and f"Host: 127.0.0.1:{server.port}" in head
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in head)


def test_the_standard_librarys_server_is_understood(tmp_path):
    (tmp_path / "a b.jpg").write_bytes(BODY)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        assert Fetcher(allow=LOOPBACK).get(base + "/a b.jpg") == BODY
        with pytest.raises(FetchFailed, match="404"):
            Fetcher(allow=LOOPBACK).get(base + "/none.jpg")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "written, sent",
    [
        ("/a,b c%20d%zz/ü?x=1,2&y=%", "/a,b%20c%20d%zz/%C3%BC?x=1,2&y=%"),
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/#part", "/"),
        ("/x?#part", "/x"),
        ("/a;b=c:d@e!$&'()*+", "/a;b=c:d@e!$&'()*+"),
        ("/%2F%41%", "/%2F%41%"),
        ('/"<>`{}^|[]', "/%22%3C%3E%60%7B%7D%5E|[]"),
        ("/?q=\"<>'ü http://a/b?c", "/?q=%22%3C%3E%27%C3%BC%20http://a/b?c"),
        ("/a/./b/../c//d/", "/a/c//d/"),
        ("/../../x/.", "/x/"),
        ("/a/%2e%2E/b", "/b"),
        ("/日本/😀", "/%E6%97%A5%E6%9C%AC/%F0%9F%98%80"),
    ],
)
def test_odd_urls_are_sent_as_a_browser_sends_them(serve, written, sent):
    server = serve(answer())
    assert fetch(server, written).content == BODY
    assert server.requests[0].split(" ")[1] == sent


def test_names_are_sent_in_ascii_and_asked_once_so_that_rebinding_changes_nothing(serve):
    server = serve(answer())
    given = iter(["127.0.0.1", "10.0.0.1", "10.0.0.1"])
    asked = []

    def rebinding(host, port, **options):
        asked.append(host)
        return answers(next(given))(host, port)

    fetcher = Fetcher(allow=LOOPBACK, resolver=rebinding)
    assert fetcher.get(f"http://Bücher.example:{server.port}/") == BODY
    assert asked == ["xn--bcher-kva.example"]
    assert f"Host: xn--bcher-kva.example:{server.port}\r\n" in server.requests[0]
    with pytest.raises(AddressRefused):
        fetcher.get(f"http://bücher.example:{server.port}/")
    assert len(server.requests) == 1


class NameServer:
    """A DNS server on the loopback, which answers every question for an IPv4 address with the next of `addresses`."""

    def __init__(self, addresses: list[str]):
        self.left, self.asked = list(addresses), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            question, client = self.socket.recvfrom(512)
            if not question:
                return
            name_end = question.index(b"\0", 12) + 5
            self.asked.append(question[12 : name_end - 5])
            address = socket.inet_aton(self.left.pop(0) if len(self.left) > 1 else self.left[0])
            head = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:name_end]
            self.socket.sendto(head + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + address, client)

    def resolve(self, host, port, **_):
        """What `socket.getaddrinfo` does, by asking this server: no answer is kept, as its time to live is 0."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(10)
            asking.sendto(b"ab\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1", self.socket.getsockname())
            address = socket.inet_ntoa(asking.recv(512)[-4:])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def close(self):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


@pytest.fixture
def name_server():
    made = []

    def make(*addresses: str) -> NameServer:
        made.append(NameServer(list(addresses)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("inside", ["10.0.0.1", "169.254.169.254", "127.0.0.2", "192.168.1.1", "0.0.0.0", "100.64.0.1"])
def test_a_name_that_is_bound_anew_between_the_check_and_the_connection_reaches_nothing(inside, name_server, monkeypatch):
    """The name server says a public address first and one inside ever after: the first is what is connected to."""
    names, made = name_server("93.184.216.34", inside), []

    def connect(self, place):
        made.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    fetcher = Fetcher(resolver=names.resolve)
    with pytest.raises(FetchFailed):
        fetcher.get("http://rebound.example/photo.jpg")
    assert made == [("93.184.216.34", 80)] and len(names.asked) == 1
    with pytest.raises(AddressRefused):
        fetcher.get("http://rebound.example/photo.jpg")
    assert len(made) == 1


def test_a_redirect_to_the_same_name_is_asked_for_and_checked_again(serve, name_server):
    server = serve(answer("302 Found", b"", Location="/again"))
    names = name_server("127.0.0.1", "127.0.0.2")
    with pytest.raises(AddressRefused):
        Fetcher(allow=LOOPBACK, resolver=names.resolve).get(f"http://rebound.example:{server.port}/")
    assert len(names.asked) == 2 and len(server.requests) == 1


def test_the_next_address_is_tried_when_one_does_not_answer(serve):
    server = serve(answer())
    fetcher = Fetcher(allow=["127.0.0.0/8"], resolver=answers("127.0.0.99", "127.0.0.1"))
    assert fetcher.get(f"http://photos.example:{server.port}/") == BODY


# --- redirects -------------------------------------------------------------------------------------------------------


def chain(request: str, connection):
    """/3 redirects to /2 and so on; /0 is the photo."""
    left = int(request.split(" ")[1].strip("/"))
    connection.sendall(answer("302 Found", b"", Location=f"/{left - 1}") if left else answer())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_up_to_three_redirects_are_followed(serve, count):
    server = serve(chain)
    fetched = fetch(server, f"/{count}")
    assert fetched.content == BODY and fetched.url.endswith("/0") and len(server.requests) == count + 1


def test_a_fourth_redirect_is_not_followed(serve):
    server = serve(chain)
    with pytest.raises(FetchFailed, match="3 redirects"):
        fetch(server, "/4")
    assert len(server.requests) == 4


def test_additional_headers_stay_with_their_host(serve):
    other = serve(answer())
    first = serve(chain)
    cookie = {"Cookie": "token=secret"}
    fetcher = Fetcher(allow=LOOPBACK)
    assert fetcher.get(f"http://127.0.0.1:{first.port}/1", cookie) == BODY
    assert all("\r\nCookie: token=secret\r\n" in request for request in first.requests) and len(first.requests) == 2
    away = serve(answer("302 Found", b"", Location=f"http://127.0.0.1:{other.port}/"))
    assert fetcher.get(f"http://127.0.0.1:{away.port}/", cookie) == BODY
    assert "Cookie" in away.requests[0] and "Cookie" not in other.requests[0]


@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "307 Temporary", "308 Permanent"])
def test_every_kind_of_redirect_with_an_unencoded_place(serve, status):
    def reply(request, connection):
        connection.sendall(answer(status, b"", Location="../ü b?x=%") if "/a/" in request else answer())

    server = serve(reply)
    assert fetch(server, "/a/b").content == BODY
    assert server.requests[1].startswith("GET /%C3%BC%20b?x=% HTTP")


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.2/",
        "http://169.254.169.254/",
        "//10.0.0.1/x",
        "http://[::1]/",
        "http://2130706434/",
        "https://0/",
    ],
)
def test_a_redirect_to_a_forbidden_address_is_refused(serve, place):
    with pytest.raises(AddressRefused):
        fetch(serve(answer("302 Found", b"", Location=place)))


@pytest.mark.parametrize(
    "place, error",
    [
        ("file:///etc/passwd", InvalidUrl),
        ("http://u:p@127.0.0.1/", InvalidUrl),
        ("http://[x/", InvalidUrl),
        ("", FetchFailed),
        (None, FetchFailed),
        ("http:\\\\127.0.0.1", InvalidUrl),
    ],
)
def test_a_redirect_to_no_usable_url(serve, place, error):
    with pytest.raises(error):
        fetch(serve(answer("302 Found", b"", Location=place)))


# --- servers that behave badly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 500, 503])
def test_a_status_other_than_2xx_is_told_without_the_body(serve, status):
    with pytest.raises(FetchFailed, match=str(status)) as caught:
        fetch(serve(answer(f"{status} whatever", b"secret inside")))
    assert caught.value.details == {"status": status} and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        answer(body=b""),
        answer("204 No Content", b""),
        b"\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 abc\r\n\r\n",
        b"SSH-2.0-x\r\n",
        answer(Content_Length=len(BODY) + 1),
        answer(Content_Length=None, Transfer_Encoding="chunked", body=b"5\r\nab"),
        answer(Content_Length=None, Transfer_Encoding="chunked", body=b"zz\r\nab\r\n0\r\n\r\n"),
        answer(Content_Encoding="br"),
        answer(Content_Encoding="gzip"),
        answer(Content_Encoding="gzip", body=gzip.compress(BODY)[:-9]),
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
    ],
)
def test_a_broken_reply_is_a_failure(serve, reply):
    with pytest.raises(FetchFailed):
        fetch(serve(reply))


@pytest.mark.parametrize(
    "reply",
    [
        answer(Content_Length=None),
        answer(Content_Length="many"),
        answer(Content_Encoding="identity"),
        answer(Content_Encoding="gzip", body=gzip.compress(BODY)),
        answer("206 Partial Content"),
        answer(Content_Length=None, Transfer_Encoding="chunked", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
        answer() + b"more than was promised",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
    ],
)
def test_an_unusual_reply_is_read(serve, reply):
    assert fetch(serve(reply)).content == BODY


def endless(request, connection):
    connection.sendall(answer(body=b"", Content_Length=None))
    while True:
        connection.sendall(bytes(65_536))


def endless_continue(request, connection):
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


@pytest.mark.parametrize(
    "reply",
    [
        endless,
        answer(body=bytes(100_001)),
        answer(body=b"", Content_Length=10**15),
        answer(Content_Encoding="gzip", body=gzip.compress(bytes(50_000_000))),
        endless_continue,
        answer(Content_Encoding="gzip", body=gzip.compress(bytes(100_001))),
        answer(Content_Length=None, Transfer_Encoding="chunked", body=b"20000\r\n" + bytes(0x20000)),
    ],
)
def test_more_than_the_cap_is_not_read(serve, reply):
    with pytest.raises(FetchTooLarge):
        fetch(serve(reply), max_bytes=100_000)


def test_exactly_the_cap_is_read(serve):
    for options in ({"body": bytes(5000)}, {"body": gzip.compress(bytes(5000)), "Content_Encoding": "gzip"}):
        assert fetch(serve(answer(**options)), max_bytes=5000).content == bytes(5000)


def drip(data: bytes):
    def reply(request, connection):
        for i in range(len(data)):
            connection.sendall(data[i : i + 1])
            time.sleep(0.02)

    return reply


def silence(request, connection):
    connection.recv(1)  # until the other side closes


@pytest.mark.parametrize("reply", [silence, drip(answer()), drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90)])
def test_a_server_that_is_too_slow_is_cut_off(serve, reply):
    with pytest.raises(FetchTimeout):
        fetch(serve(reply), timeout=0.3)


def test_redirects_share_one_deadline(serve):
    def reply(request, connection):
        time.sleep(0.2)
        chain(request, connection)

    with pytest.raises(FetchTimeout):
        fetch(serve(reply), "/3", timeout=0.5)


def test_a_name_server_that_is_too_slow_is_not_waited_for():
    done = threading.Event()
    with pytest.raises(FetchTimeout):
        Fetcher(resolver=lambda *_, **__: done.wait(10), timeout=0.1).get("http://photos.example/")
    done.set()


def no_such_host(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


def rubbish(*_, **__):
    raise RuntimeError("out of order")


@pytest.mark.parametrize("resolver", [no_such_host, rubbish, lambda *_, **__: [], answers("not an address")])
def test_a_name_without_an_address_is_a_failure(resolver):
    with pytest.raises(FetchFailed, match="photos.example"):
        Fetcher(resolver=resolver).get("http://photos.example/")


def test_a_closed_port_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchFailed):
        Fetcher(allow=LOOPBACK).get(f"http://127.0.0.1:{port}/")


def test_proxies_and_netrc_of_the_environment_change_nothing(serve, monkeypatch, tmp_path):
    server, proxy = serve(answer()), serve(answer(body=b"from the proxy"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert fetch(server).content == BODY
    assert proxy.requests == [] and "Authorization" not in server.requests[0]
    with pytest.raises(AddressRefused):
        Fetcher().get(f"http://127.0.0.1:{server.port}/")


def test_one_fetcher_serves_many_threads(serve):
    server = serve(lambda request, connection: connection.sendall(answer(body=request.split(" ")[1].encode())))
    fetcher = Fetcher(allow=LOOPBACK)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: fetcher.get(f"http://127.0.0.1:{server.port}/{i}"), range(60)))
    assert found == [f"/{i}".encode() for i in range(60)]


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secure(serve, authority):
    def start(reply) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / "server.pem")
        server_names = []
        context.sni_callback = lambda connection, name, context: server_names.append(name)
        server = serve(reply, context)
        server.server_names = server_names
        return server

    return start


def test_a_certificate_of_an_unknown_authority_is_refused(secure):
    server = secure(answer())
    with pytest.raises(FetchFailed, match="not trusted"):
        Fetcher(allow=LOOPBACK, resolver=answers("127.0.0.1")).get(f"https://photos.example:{server.port}/")
    assert server.requests == []


def test_a_certificate_of_a_trusted_authority_is_accepted_for_its_names_only(secure, authority):
    server = secure(answer())
    fetcher = Fetcher(allow=LOOPBACK, resolver=answers("127.0.0.1"), cafile=str(authority / "ca.pem"))
    assert fetcher.get(f"https://photos.example:{server.port}/") == BODY
    assert fetcher.get(f"https://photos.example.:{server.port}/") == BODY
    assert fetcher.get(f"https://127.0.0.1:{server.port}/") == BODY
    assert server.server_names == ["photos.example", "photos.example", None]
    with pytest.raises(FetchFailed, match="not trusted"):
        fetcher.get(f"https://other.example:{server.port}/")


def test_any_certificate_can_be_accepted(secure):
    server = secure(answer())
    fetcher = Fetcher(allow=LOOPBACK, hooks=FetchHooks(tls=accepting_context()))
    assert fetcher.get(f"https://127.0.0.1:{server.port}/") == BODY


def test_caps_and_deadline_hold_over_tls(secure, authority):
    options = {"allow": LOOPBACK, "cafile": str(authority / "ca.pem")}
    with pytest.raises(FetchTooLarge):
        Fetcher(max_bytes=100_000, **options).get(f"https://127.0.0.1:{secure(endless).port}/")
    with pytest.raises(FetchTimeout):
        Fetcher(timeout=0.4, **options).get(f"https://127.0.0.1:{secure(drip(answer())).port}/")


def test_a_server_that_does_not_speak_tls_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Fetcher(allow=LOOPBACK).get, f"https://127.0.0.1:{listener.getsockname()[1]}/")
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer("400 Bad Request"))
            with pytest.raises(FetchFailed):
                asked.result()


def test_a_handshake_that_never_ends_is_cut_off():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        with pytest.raises(FetchTimeout):
            Fetcher(allow=LOOPBACK, timeout=0.3).get(f"https://127.0.0.1:{mute.getsockname()[1]}/")


def test_importing_fetch_loads_nothing_heavy():
    code = "import sys, recognizer.fetching.fetcher; print(sorted({'requests', 'urllib3', 'numpy', 'idna'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert ran.stdout.strip() == "[]"
