"""The server below a path of a proxy: the page and the API are complete there."""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from recognizer.access.dialects import READ

from .browsing import Visit
from .serving import Server, make_key

PREFIX = "/face"


class Proxy:
    """A proxy that has a server below `PREFIX`, with or without taking the prefix off the path."""

    def __init__(self, port: int, strips: bool):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def relay(self):
                if not self.path.startswith(PREFIX + "/"):
                    self.send_error(404)
                    return
                path = self.path.removeprefix(PREFIX) if strips else self.path
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                headers |= {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Prefix": PREFIX}
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as behind:
                    behind.request(self.command, path, body, headers)
                    self.pass_on(behind.getresponse())

            def pass_on(self, reply):
                self.send_response(reply.status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # the browser left
                    while data := reply.read1(65536):
                        self.wfile.write(data)

            do_GET = do_POST = do_DELETE = relay

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}{PREFIX}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def behind(tmp_path_factory, faces):
    server = Server(tmp_path_factory.mktemp("behind"), trusted_proxies="127.0.0.1", camera="test:")
    server.put("Barack Obama/one.jpg", faces["obama"])
    with server:
        server.key = make_key(server, READ)
        server.wait_for(lambda: server.get("/people").status_code == 401)  # the server has noticed the key
        yield server


@pytest.fixture(params=[True, False], ids=["stripped", "kept"])
def proxy(request, behind):
    proxy = Proxy(behind.port, request.param)
    yield proxy
    proxy.close()


def get(proxy, behind, path: str, **headers) -> requests.Response:
    return requests.get(proxy.url + path, headers={"X-Api-Key": behind.key, **headers}, timeout=60)


def test_the_api_below_a_path(behind, proxy):
    person = get(proxy, behind, "/people/Barack%20Obama")
    assert person.status_code == 200 and "Barack Obama" in person.text, person.text
    assert get(proxy, behind, "/health/live").json() == {"live": True}
    assert get(proxy, behind, "/openapi.json").json()["servers"] == [{"url": PREFIX}]
    assert get(proxy, behind, "/docs/hug").json()["handlers"]
    assert behind.get("/openapi.json").json()["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_address_on_a_page_leads_out_of_the_path(behind, proxy, path):
    page = get(proxy, behind, path, Accept="text/html").text
    found = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert found and not [each for each in found if each.startswith("/")]
    base = proxy.url + path
    for each in found:
        address = requests.compat.urljoin(base, each)
        assert requests.get(address, headers={"X-Api-Key": behind.key}, timeout=60).status_code == 200, address


def test_an_address_from_which_relative_ones_would_be_wrong_leads_to_the_right_one(behind, proxy):
    assert get(proxy, behind, "/docs/", Accept="text/html").url == proxy.url + "/docs"
    headers = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Prefix": PREFIX, "Accept": "text/html"}
    reply = behind.get(PREFIX, headers=headers, allow_redirects=False)
    assert (reply.status_code, reply.headers["Location"]) == (308, PREFIX + "/")
    assert behind.get(PREFIX, headers=headers | {"Accept": "*/*"}).json()["handlers"]


@pytest.mark.browser
def test_the_page_below_a_path(behind, proxy, chromium):
    visit = Visit(chromium, proxy.url + "/")
    try:
        page = visit.page
        page.goto(proxy.url + "/")
        page.get_by_label("Key").fill(behind.key)
        page.keyboard.press("Enter")
        page.goto(proxy.url + "/#/people")
        page.get_by_text("Barack Obama").first.wait_for()
        page.wait_for_function("() => [...document.querySelectorAll('.person img')].some((image) => image.naturalWidth)")
        page.goto(proxy.url + "/#/live")
        page.wait_for_function("() => [...document.querySelectorAll('.watch img')].some((image) => image.naturalWidth)")
    finally:
        visit.context.close()


KEPT = """async () => {
  const found = [];
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      const reply = await cache.match(request, { ignoreVary: true });
      found.push([name, request.url, reply.headers.get("Content-Type"), await reply.text()]);
    }
  }
  return found;
}"""


@pytest.mark.browser
def test_the_browser_keeps_the_page_and_no_photo_and_no_answer(behind, chromium):
    proxy = Proxy(behind.port, True)
    visit = Visit(chromium, proxy.url + "/", service_workers="allow")
    try:
        page = visit.page
        page.goto(proxy.url + "/")
        page.get_by_label("Key").fill(behind.key)
        page.keyboard.press("Enter")
        page.locator(".tabs a").first.wait_for()
        page.wait_for_function("() => navigator.serviceWorker.controller")
        scope = page.evaluate("navigator.serviceWorker.ready.then((registration) => registration.scope)")
        assert scope == proxy.url + "/"
        page.goto(proxy.url + "/#/people")
        page.reload()
        page.wait_for_function("() => [...document.querySelectorAll('.person img')].some((image) => image.naturalWidth)")
        page.goto(proxy.url + "/#/live")
        page.wait_for_function("() => [...document.querySelectorAll('.watch img')].some((image) => image.naturalWidth)")
        page.reload()
        page.locator(".watch").wait_for()
        kept = page.evaluate(KEPT)
        files = f"{proxy.url}/web/"
        assert len(kept) > 10 and len({name for name, *_ in kept}) == 1
        assert all(url == proxy.url + "/" or url.startswith(files) for _, url, *_ in kept), [each[1] for each in kept]
        assert {kind.split(";")[0] for _, _, kind, _ in kept} <= {
            "text/html",
            "text/javascript",
            "text/css",
            "application/json",
            "image/svg+xml",
            "image/png",
            "application/manifest+json",
        }
        assert not any("Obama" in text or behind.key in text for *_, text in kept)
        proxy.close()  # the server is away
        page.reload()
        page.get_by_role("heading", name="The server cannot be reached").wait_for()
    finally:
        visit.context.close()
        proxy.close()


@pytest.mark.parametrize("prefix", ["face", "/a b", "//evil.example", "/a/../b?", "/" + "a" * 300, "/<script>"])
def test_a_prefix_that_is_none_is_refused(behind, prefix):
    headers = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Prefix": prefix, "X-Api-Key": behind.key}
    reply = behind.get("/people", headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_request")


def test_streams_are_not_to_be_buffered(behind):
    for path in ("/events", "/stream"):
        with requests.get(behind.url + path, headers={"X-Api-Key": behind.key}, stream=True, timeout=60) as reply:
            assert reply.headers["X-Accel-Buffering"] == "no"
    assert "X-Accel-Buffering" not in behind.get("/people", headers={"X-Api-Key": behind.key}).headers
