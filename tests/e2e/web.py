"""A small web server on loopback that `image_url` can point at."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Serves `pages`: raw path (with its query) -> bytes, a number (a bare status), or a callable given the handler."""

    def __init__(self):
        self.pages: dict[str, bytes | int | Callable] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str, page: bytes | int | Callable | None = None, at: str | None = None) -> str:
        """The URL of `path`, where `page` is put (at the raw path `at`, if that is written otherwise)."""
        if page is not None:
            self.pages[at or path] = page
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def _handler(web):  # `self` is the handler's below
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                web.asked.append(self.path)
                page = web.pages.get(self.path, 404)
                try:
                    if callable(page):
                        return page(self)
                    self.reply(b"", page) if isinstance(page, int) else self.reply(page)
                except OSError:
                    self.close_connection = True  # the server hung up, as some tests want it to

            def reply(self, body: bytes, status: int = 200, **headers):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        return Handler
