"""HTTPS over real sockets: certificates, clients that dawdle, streams, client certificates, renewal."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from recognizer.core.errors import SettingsError
from recognizer.core.headers import SECURITY_HEADERS
from recognizer.http.tls import Tls

from .serving import ROOT, Server, environment

certificates = pytest.importorskip("tests.authority", reason="cryptography is not installed; it is in requirements-dev.txt")
PASSWORD = "the-password-of-the-private-key"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory, authority, faces):
    """A server with a certificate, a key with a password, and a camera."""
    certificate, key = authority.make("server", PASSWORD)
    server = Server(
        tmp_path_factory.mktemp("secure"),
        tls_certificate=certificate,
        tls_key=key,
        tls_key_password=PASSWORD,
        camera="test:",
        max_body_bytes=30_000_000,
    )
    server.always = {"verify": str(authority.file)}
    server.put("Barack Obama/one.jpg", faces["obama"])
    with server:
        assert server.url.startswith("https://")
        yield server


def context(authority, **how) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority.file))
    if "certificate" in how:
        made.load_cert_chain(*how["certificate"])
    return made


def connect(server: Server, authority, **how) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    return context(authority, **how).wrap_socket(plain, server_hostname="localhost")


def test_it_recognises(secure, faces):
    assert secure.names(faces["obama2"]) == ["Barack Obama"]
    reply = secure.get("/health")
    assert {name: reply.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert PASSWORD not in secure.log()


def test_pages_are_checked_and_cookies_are_secure(secure):
    assert secure.get("/people", headers={"Origin": secure.url}).status_code == 200
    assert secure.get("/people", headers={"Origin": secure.url.replace("https", "http")}).status_code == 403
    assert secure.request("DELETE", "/session").headers["Set-Cookie"].endswith("; Secure")


def test_large_bodies_and_many_requests_on_one_connection(secure):
    with requests.Session() as session:
        for size in (1, 100_000, 20_000_000, 5):
            reply = session.post(secure.url + "/detect", data=b"\0" * size, timeout=60, **secure.always)
            assert reply.status_code in (413, 415), (size, reply.text)
        assert session.get(secure.url + "/health", timeout=60, **secure.always).status_code == 200


def test_two_requests_in_one_record(secure, authority):
    """What was decrypted along with the first request waits in the TLS layer, where no selector sees it."""
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(secure, authority) as client:
        client.sendall(request * 2 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        said = b""
        while piece := client.recv(65536):
            said += piece
    assert said.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_protocols_are_refused(secure, authority):
    old = context(authority)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with contextlib.suppress(ValueError):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    plain = socket.create_connection(("127.0.0.1", secure.port), timeout=30)
    with plain, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain, server_hostname="localhost")


def test_plain_http_is_told_so(secure):
    status, _, body = secure.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status == 400 and "HTTPS" in json.loads(body)["error"]["message"]


def test_clients_that_say_nothing_or_rubbish_hold_nobody_up(secure, authority):
    """More than there are threads: half have not begun to shake hands, half did and ask nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", secure.port)))
            stack.enter_context(connect(secure, authority))
        for data in (b"\x16\x03\x01", b"rubbish\r\n\r\n", b"\0" * 1000):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", secure.port)))
            client.sendall(data)
        with ThreadPoolExecutor(8) as pool:
            assert [reply.status_code for reply in pool.map(lambda _: secure.get("/health"), range(16))] == [200] * 16
    assert "Traceback" not in secure.log()


def test_a_head_that_comes_too_slowly(secure, authority):
    from recognizer.http.connections import HEADER_SECONDS

    with connect(secure, authority) as client:
        said = None
        client.settimeout(HEADER_SECONDS / 10)  # a byte in so many seconds keeps nothing alive
        for byte in b"GET /health HTTP/1.1\r\nX-A: " + b"a" * 200:
            try:
                client.sendall(bytes([byte]))
                said = client.recv(1000)
                break
            except TimeoutError:
                continue
            except OSError:
                said = b""
                break
    assert said is not None, "the connection was not ended"
    assert not said or b" 408 " in said  # in any case encrypted, else the client could not read it


def test_streams(secure):
    with requests.get(secure.url + "/stream", stream=True, timeout=60, **secure.always) as reply:
        assert reply.status_code == 200
        assert b"\xff\xd8" in reply.raw.read(50_000)
    assert secure.get("/health").status_code == 200


def test_a_renewed_certificate_is_taken_up(tmp_path, authority):
    certificate, key = authority.make("renewed")
    other = certificates.Authority(tmp_path / "other", "other")
    both = tmp_path / "both.pem"
    both.write_bytes(authority.file.read_bytes() + other.file.read_bytes())
    with_key = tmp_path / "server.pem"
    with_key.write_bytes(certificate.read_bytes() + key.read_bytes())  # one file for both
    server = Server(tmp_path / "server", tls_certificate=with_key, watch="off")
    server.always = {"verify": str(both)}
    with server:
        assert server.get("/health", verify=str(authority.file)).status_code == 200
        with_key.write_text("rubbish")
        server.wait_for(lambda: server.get("/health") and "stays in use" in server.log())  # a connection makes it look
        assert server.get("/health", verify=str(authority.file)).status_code == 200
        certificate, key = other.make("renewed")
        with_key.write_bytes(certificate.read_bytes() + key.read_bytes())
        server.wait_for(lambda: server.get("/health") and "was replaced" in server.log())
        assert server.get("/health", verify=str(other.file)).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(server.url + "/health", verify=str(authority.file), timeout=30)
        assert "Traceback" not in server.log()


def test_client_certificates(tmp_path, authority):
    certificate, key = authority.make("server2")
    stranger = certificates.Authority(tmp_path / "strangers", "strangers").make("stranger")
    server = Server(tmp_path / "server", tls_certificate=certificate, tls_key=key, tls_client_ca=authority.file)
    server.always = {"verify": str(authority.file), "cert": tuple(map(str, authority.make("client")))}
    with server:
        assert server.get("/people").status_code == 200
        for shown in (None, tuple(map(str, stranger))):
            with pytest.raises(requests.exceptions.ConnectionError):
                requests.get(server.url + "/health", verify=str(authority.file), cert=shown, timeout=30)
        assert "Traceback" not in server.log()


def test_a_changed_file_replaces_the_process_and_https_goes_on(tmp_path, authority, monkeypatch):
    """The listening socket is handed over; TLS begins anew on it."""
    toy = tmp_path / "toy.py"
    shutil.copy(ROOT / "api.py", toy)
    certificate, key = authority.make("server3")
    server = Server(tmp_path / "server", tls_certificate=certificate, tls_key=key)
    server.command = (server.command[0], "-f", str(toy), "-p", "0")
    server.always = {"verify": str(authority.file)}
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with server:
        assert server.get("/health").status_code == 200
        toy.write_text(toy.read_text() + "\n# changed\n")
        server.wait_for(lambda: server.log().count("Serving on https://") == 2, 60)
        assert server.get("/health").status_code == 200


# -- what cannot be used ----------------------------------------------------------------------------------------------


def test_files_that_cannot_be_used(tmp_path, authority):
    certificate, key = authority.make("good")
    _, other_key = authority.make("other")
    _, locked_key = authority.make("locked", PASSWORD)
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("rubbish")
    for files in (
        (rubbish, key),
        (certificate, rubbish),
        (certificate, other_key),
        (certificate, None),
        (rubbish, None),
        (tmp_path / "nothing", key),
        (certificate, tmp_path / "nothing"),
        (tmp_path, key),
        (certificate, locked_key),
        (certificate, locked_key, "wrong"),
        (certificate, key, None, rubbish),
        (certificate, key, None, tmp_path / "nothing"),
    ):
        with pytest.raises(SettingsError) as caught:
            Tls(*files)
        assert str(tmp_path) not in caught.value.message and PASSWORD not in caught.value.message
    Tls(certificate, key, None, authority.file)


def test_a_server_without_its_certificate_does_not_start(tmp_path):
    server = Server(tmp_path, tls_certificate=tmp_path / "nothing.pem")
    done = subprocess.run(
        server.command, cwd=ROOT, env=environment(**server.settings), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "TLS certificate" in done.stderr and "Traceback" not in done.stderr
    assert "Serving on" not in done.stdout + done.stderr
