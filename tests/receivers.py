"""A receiver of webhooks on the loopback."""

from __future__ import annotations

import http.server
import json

from .loopback import LoopbackServer


class Receiver(LoopbackServer):
    """An HTTP server that takes what is posted and answers as it is told."""

    def __init__(self, port: int = 0):
        self.answers: list[int | tuple[int, dict]] = []  # 200 when there is none
        self.taken: list[tuple[dict, bytes]] = []
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked += 1
                answer = outer.answers.pop(0) if outer.answers else 200
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                if status < 300:
                    outer.taken.append((dict(self.headers), body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        super().__init__(Handler, port)

    @property
    def url(self) -> str:
        return f"{self.root}/hook?token=hidden"

    @property
    def ids(self) -> list[int]:
        return [json.loads(body)["id"] for _, body in self.taken]
