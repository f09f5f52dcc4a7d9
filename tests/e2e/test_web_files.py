"""The page's files over real sockets: who gets which, with what headers, and what is refused."""

from __future__ import annotations

import gzip
import re

import pytest
import requests

from recognizer.core.headers import SECURITY_HEADERS
from recognizer.http.pages import FOLDER, POLICY

from .serving import Server, code, make_key

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def version(reader) -> str:
    return re.search(r"web/(\w+)/app\.js", reader.get("/", headers=BROWSER).text)[1]


def test_browsers_get_the_page_and_programs_what_they_got_before(reader):
    page = reader.get("/", headers=BROWSER)
    assert page.status_code == 200 and page.text.startswith("<!doctype html>")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"] == POLICY
    assert "frame-ancestors 'none'" in POLICY and "unsafe" not in POLICY
    described = reader.get("/docs/hug").json()
    for accept in ("application/json", "*/*", "application/json, text/plain, */*"):
        reply = reader.get("/", headers={"Accept": accept})
        assert reply.json() == described and "Accept" in reply.headers["Vary"]
    assert "/recognize" in described["handlers"]


def test_every_other_header_is_that_of_every_reply(reader, version):
    for path in ("/", "/docs", f"/web/{version}/app.js"):
        found = reader.get(path, headers=BROWSER).headers
        for name, value in SECURITY_HEADERS.items():
            if name not in ("Cache-Control", "Content-Security-Policy"):
                assert found[name] == value, (path, name)
    part = reader.get(f"/web/{version}/app.js")
    assert part.headers["Content-Security-Policy"] == SECURITY_HEADERS["Content-Security-Policy"]


def test_parts_are_compressed_and_kept(reader, version):
    url = f"{reader.url}/web/{version}/app.css"
    plain = requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=60)
    assert plain.content == (FOLDER / "app.css").read_bytes() and "Content-Encoding" not in plain.headers
    with requests.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=60) as packed:
        raw = packed.raw.read(decode_content=False)
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(raw) == plain.content
    assert int(packed.headers["Content-Length"]) == len(raw)
    again = requests.get(url, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}, timeout=60)
    assert again.status_code == 304 and not again.content and again.headers["ETag"] == packed.headers["ETag"]
    assert requests.get(url, headers={"If-None-Match": '"other"'}, timeout=60).status_code == 200


def test_head_is_get_without_the_body(reader, version):
    for path in ("/", "/docs", f"/web/{version}/app.js", "/web/other/app.js"):
        how = {"headers": {**BROWSER, "Accept-Encoding": "identity"}}
        got, head = reader.get(path, **how), reader.request("HEAD", path, **how)
        assert head.status_code == got.status_code and not head.content
        for name in ("Content-Type", "Content-Length", "Cache-Control"):
            assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_page_cannot_be_written(reader, version, method):
    for path in ("/", "/docs", "/docs/hug", f"/web/{version}/app.js"):
        assert code(reader.request(method, path)) == "method_not_allowed"


def test_nothing_else_is_served(reader, version):
    for path in (
        f"/web/{version}/nothing.js",
        "/web/000000000000/app.js",
        f"/web/{version}/index.html",
        f"/web/{version}/",
        "/web/",
        "/web/app.js",
        f"/web/{version}/..%2F..%2Fpages.py",
        f"/web/{version}/%2e%2e%2fpages.py",
        f"/web/{version}/..%5Cpages.py",
        f"/web/{version}/app.js%00",
        f"/web/{version}/app.js/x",
    ):
        reply = reader.get(path, headers=BROWSER)
        assert (reply.status_code, code(reply)) == (404, "unknown_route"), path
    for path in (f"/web/{version}/../../../api.py", f"/web/{version}/../../pages.py", "/web/../api.py"):
        status, _, body = reader.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        assert status == 404 and b"unknown_route" in body, path
    assert code(reader.get(f"/web/{version}/app.js", params={"x": 1})) == "invalid_parameter"


def test_the_viewer_of_the_api_comes_from_here(reader, version, models_dir):
    page = reader.get("/docs", headers=BROWSER)
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'self'" in policy
    script = reader.get(f"/web/{version}/swagger-ui.js")
    assert script.content == (models_dir / "swagger-ui-bundle.js").read_bytes()
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8" and script.headers["ETag"]
    assert reader.get(f"/web/{version}/swagger-ui.css").headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.fixture(scope="module")
def locked(tmp_path_factory, models_dir):
    """A server with a key, whose folder of weights lacks the viewer of the API."""
    folder = tmp_path_factory.mktemp("page-locked")
    (folder / "models").mkdir()
    for file in models_dir.iterdir():
        if "swagger" not in file.name:
            (folder / "models" / file.name).symlink_to(file)
    with Server(folder, models_dir=folder / "models", camera="none") as server:
        make_key(server, "read")
        server.wait_for(lambda: server.get("/people").status_code == 401)
        yield server


def test_the_page_is_open_to_everybody_and_what_is_behind_it_is_not(locked):
    page = locked.get("/", headers=BROWSER)
    assert page.status_code == 200
    for path in set(re.findall(r"/web/[\w/.-]+", page.text)):
        assert locked.get(path).status_code == 200
    assert locked.get("/docs", headers=BROWSER).status_code == locked.get("/docs/hug").status_code == 200
    for path in ("/people", "/health", "/session"):
        reply = locked.get(path)
        assert reply.status_code == 401 or set(reply.json()) == {"live", "ready"}


def test_without_the_viewer_it_says_how_to_get_it(locked):
    version = re.search(r"\bweb/(\w+)/", locked.get("/", headers=BROWSER).text)[1]
    reply = locked.get(f"/web/{version}/swagger-ui.js")
    assert (reply.status_code, code(reply)) == (503, "model_missing")
    assert "python -m recognizer models fetch" in reply.json()["error"]["message"]
