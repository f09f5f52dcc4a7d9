"""The proxies' files in deploy/proxy, with places and ports of this machine, in front of a real server."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from recognizer.access.dialects import READ

from ..brokers import free_port
from .serving import ROOT, Server, make_key

certificates = pytest.importorskip("tests.authority", reason="cryptography is not installed; it is in requirements-dev.txt")

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="needs the proxy: apt-get install nginx"),
]

#: What stands around the shipped file: one process that runs as who starts it, and writes into its own folder only.
AROUND = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{shipped}
}}
"""

#: Where a server is found: the host, and the path below which it is.
AT_THE_ROOT, BELOW_A_PATH = ("faces.example.org", ""), ("www.example.org", "/face")


class Nginx:
    """nginx with the shipped file, in front of the server on `port`."""

    def __init__(self, folder: Path, port: int):
        self.folder = folder
        folder.mkdir()
        authority = certificates.Authority(folder)
        certificate, key = authority.make("proxy")
        self.verify = str(authority.file)
        self.ports = {80: free_port(), 443: free_port()}
        text = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text("utf-8")
        text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"listen (\d+)", lambda found: f"listen 127.0.0.1:{self.ports[int(found[1])]}", text)
        text = re.sub(r"ssl_certificate \S+;", f"ssl_certificate {certificate};", text)
        text = re.sub(r"ssl_certificate_key \S+;", f"ssl_certificate_key {key};", text)
        text = re.sub(r"access_log \S+", f"access_log {folder}/access.log", text)
        text = text.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}")
        (folder / "nginx.conf").write_text(AROUND.format(shipped=text))
        self.log = folder / "nginx.log"
        with self.log.open("wb") as log:
            command = [str(NGINX), "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.close()
                raise AssertionError(f"nginx did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.ports[443]), timeout=5).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, place: tuple[str, str], path: str, **how) -> requests.Response:
        """A request to the server where it is found at `place`; the path is taken as it stands."""
        host, prefix = place
        return self.ask_exactly(method, host, prefix + path, **how)

    def ask_exactly(self, method: str, host: str, path: str, headers=None, plain=False, **how) -> requests.Response:
        scheme, port = ("http", self.ports[80]) if plain else ("https", self.ports[443])
        headers = {"Host": host, **(headers or {})}
        url = f"{scheme}://127.0.0.1:{port}{path}"
        return requests.request(method, url, headers=headers, verify=self.verify, timeout=60, allow_redirects=False, **how)


@pytest.fixture(scope="module")
def behind(tmp_path_factory, faces):
    server = Server(
        tmp_path_factory.mktemp("behind"),
        trusted_proxies="127.0.0.1",
        allowed_hosts="faces.example.org,www.example.org",
        camera="test:",
        embedder="sface",
    )
    server.put("Barack Obama/one.jpg", faces["obama"])
    with server:
        server.key = make_key(server, READ)
        server.wait_for(lambda: server.get("/people").status_code == 401)  # the server has noticed the key
        yield server


@pytest.fixture(scope="module")
def nginx(behind, tmp_path_factory):
    nginx = Nginx(tmp_path_factory.mktemp("nginx") / "nginx", behind.port)
    yield nginx
    nginx.close()


@pytest.fixture(params=[AT_THE_ROOT, BELOW_A_PATH], ids=["root", "path"])
def place(request):
    return request.param


def test_photos_pass(nginx, behind, place, faces):
    key = {"X-Api-Key": behind.key}
    large = faces["obama2"] + bytes(3_000_000)  # more than nginx takes by itself
    reply = nginx.ask("POST", place, "/recognize", data=large, headers=key)
    assert reply.status_code == 200, reply.text
    assert [face["subject"] for face in reply.json()["faces"]] == ["Barack Obama"]
    reply = nginx.ask("POST", place, "/recognize", data=large)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "key_required")


def test_the_server_itself_refuses_what_is_too_large(nginx, behind, place):
    headers = {"X-Api-Key": behind.key}
    reply = nginx.ask("POST", place, "/recognize", data=bytes(64_000_001), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


def test_streams_begin_at_once(nginx, behind, place):
    key = {"X-Api-Key": behind.key}
    with nginx.ask("GET", place, "/stream", headers=key, stream=True) as reply:
        assert reply.status_code == 200
        assert b"\xff\xd8" in reply.raw.read(20_000)
    with nginx.ask("GET", place, "/events", headers=key, stream=True) as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        assert reply.raw.read(1)  # a comment; what is buffered waits for more


def test_the_page_and_all_it_loads(nginx, behind, place):
    page = nginx.ask("GET", place, "/", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "text/html" in page.headers["Content-Type"]
    found = re.findall(r'(?:src|href)="([^"#][^"]*)"', page.text)
    assert found
    for each in found:
        path = requests.compat.urljoin(place[1] + "/", each)
        assert path.startswith(place[1] + "/")
        assert nginx.ask_exactly("GET", place[0], path).status_code == 200, path
    servers = nginx.ask("GET", place, "/openapi.json").json()["servers"]
    assert servers == [{"url": place[1] or "/"}]


def test_a_session_over_https(nginx, behind, place):
    origin = {"Origin": f"https://{place[0]}"}
    reply = nginx.ask("POST", place, "/session", data={"key": behind.key}, headers=origin)
    assert reply.status_code in (200, 201), reply.text
    assert "; Secure" in reply.headers["Set-Cookie"]
    foreign = nginx.ask("POST", place, "/session", data={"key": behind.key}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


def test_names_are_passed_on_as_they_came(nginx, behind, place):
    reply = nginx.ask("GET", place, "/people/Barack%20Obama", headers={"X-Api-Key": behind.key})
    assert reply.status_code == 200 and "Barack Obama" in reply.text


def test_what_a_client_says_of_prefixes_does_not_count(nginx, place):
    reply = nginx.ask("GET", place, "/openapi.json", headers={"X-Forwarded-Prefix": "/evil"})
    assert reply.json()["servers"] == [{"url": place[1] or "/"}]


def test_plain_http_and_the_path_without_a_slash_lead_to_the_right_address(nginx):
    reply = nginx.ask_exactly("GET", "faces.example.org", "/people?limit=1", plain=True)
    assert (reply.status_code, reply.headers["Location"]) == (308, "https://faces.example.org/people?limit=1")
    reply = nginx.ask_exactly("GET", "www.example.org", "/face")
    assert reply.status_code == 301 and reply.headers["Location"].endswith("/face/")


def test_the_log_has_no_paths(nginx, behind):
    nginx.ask("GET", AT_THE_ROOT, "/people/Barack%20Obama", headers={"X-Request-Id": "seen-by-both"})
    behind.wait_for(lambda: "seen-by-both" in (nginx.folder / "access.log").read_text())
    assert "Obama" not in (nginx.folder / "access.log").read_text()
