"""A push service on this machine, and browsers that read what it takes: with other people's decryption, and their JWT."""

from __future__ import annotations

import http.server
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from recognizer.rules.push_store import PushSubscription
from recognizer.rules.web_push import to_base64

from .loopback import LoopbackServer

AUTH = bytes(range(16))


class PushService(LoopbackServer):
    """Takes messages over TLS and answers as it is told.

    Attributes
    ----------
    answers : dict
        Path -> statuses of the next answers; 201 when there is none.
    taken : list of (str, dict, bytes)
        Path, headers and body of what was accepted.
    """

    def __init__(self, certificate: Path):
        self.answers: dict[str, list[int]] = {}
        self.taken: list[tuple[str, dict, bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                waiting = outer.answers.get(self.path)
                status = waiting.pop(0) if waiting else 201
                if status < 300:
                    outer.taken.append((self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        super().__init__(Handler, certificate=certificate)
        self.url = self.root

    def of(self, path: str) -> list[tuple[dict, bytes]]:
        """What was accepted at a path."""
        return [(headers, body) for where, headers, body in list(self.taken) if where == path]


class Browser:
    """A browser with the keys of a subscription."""

    def __init__(self, service: str, name: str = "one"):
        self.path = f"/push/{name}"
        self.endpoint, self.private = service + self.path, ec.generate_private_key(ec.SECP256R1())
        self.p256dh = to_base64(self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
        self.auth = to_base64(AUTH)

    def read(self, body: bytes) -> dict:
        """The message in a body."""
        ece = pytest.importorskip("http_ece")
        return json.loads(ece.decrypt(body, private_key=self.private, auth_secret=AUTH, version="aes128gcm"))

    def subscription(self, **more) -> PushSubscription:
        given = {"label": "Firefox, Android", "strangers": None, "contact": "https://home.example", "made": 1.0, **more}
        return PushSubscription("", self.endpoint, self.p256dh, self.auth, **given)
