"""A Frigate that is played: its API by HTTP, with or without its login, and what it publishes about its events.

It answers what a version of Frigate answered: `tests/manual/frigate.py` asks Frigate itself, and writes `RECORDED`.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from .loopback import LoopbackServer

#: By version, what Frigate answered, by what was asked, and its ``reports``.
RECORDED: dict[str, dict] = json.loads(Path(__file__).with_name("frigate_replies.json").read_text("utf-8"))
NEWEST = list(RECORDED)[-1]
_COOKIE = {"expires": "Sat, 30 Oct 2083 05:28:16 GMT", "Max-Age": "86400", "Path": "/", "SameSite": "lax"}


class PlayedFrigate(LoopbackServer):
    """Frigate's API, as far as it is asked: its configuration, snapshots, and sub labels of events that it knows.

    Parameters
    ----------
    snapshots : dict, optional
        By event.
    users : dict, optional
        Passwords by user: if there are any, requests need a login. All but ``viewer`` have the role admin.
    certificate : Path, optional
        PEM file for https.
    version : str
        One of `RECORDED`.
    """

    def __init__(
        self,
        snapshots: dict[str, bytes] | None = None,
        users: dict[str, str] | None = None,
        certificate: Path | None = None,
        version: str = NEWEST,
    ):
        self.snapshots = snapshots or {}
        self.users = None if users is None else dict(users)
        self.tokens: dict[str, str] = {}  # whose they are, of those that are valid
        self.forgetful = False  # logins are void at once
        self.logins: list[tuple[str, int]] = []
        self.login_status: int | None = None
        self.labels: list[tuple[str, dict]] = []
        self.asked: list[str] = []
        self.status = 200
        self.config: object = {"cameras": {"door": {"detect": {"width": 1280, "height": 720}}}}
        self.replies = RECORDED[version]
        self.cookie: list[str] | None = self.replies["login of recognizer"]["cookie"]
        self.profile: bytes | None = b"as recorded"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                who = self._who()
                if who is None:
                    return
                if self.path == "/api/config":
                    self._send(200, json.dumps(outer.config).encode())
                elif self.path == "/api/version":
                    self._send(200, b"0.0.0-played")
                elif self.path == "/api/profile":
                    if outer.profile == b"as recorded":
                        cached = f"{who} profile without X-Cache-Bypass"  # of whoever asked before
                        fresh = "X-Cache-Bypass" in self.headers or cached not in outer.replies
                        self._answer(f"{who} profile" if fresh else cached)
                    else:
                        self._send(404 if outer.profile is None else 200, outer.profile or b"")
                else:
                    event = self.path.split("/")[3]
                    self._send(200, outer.snapshots.get(event, b"\xff\xd8\xff" + event.encode()))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/api/login":
                    self._log_in(body)
                    return
                who = self._who()
                if who is None:
                    return
                if "gone" in self.path:
                    self._answer("internal label of an unknown event")
                elif outer.status != 200:
                    self._send(outer.status, b"")
                else:
                    if outer.replies[f"{who} label"]["status"] == 200:
                        outer.labels.append((self.path, body))
                    self._answer(f"{who} label")

            def _log_in(self, body):
                user = body["user"]
                right = (outer.users or {}).get(user) == body["password"]
                known = "login with a wrong password" if user in (outer.users or {}) else "login of an unknown user"
                name = f"login of {_role_of(user)}" if right else known
                status = outer.login_status or outer.replies[name]["status"]
                outer.logins.append((user, status))
                cookie = None
                if status == 200 and outer.cookie is not None:
                    token = f"{outer.cookie[0]}=eyJ.{len(outer.logins)}.x"
                    if not outer.forgetful:
                        outer.tokens[token] = user
                    attributes = (f"{each}={_COOKIE[each]}" if each in _COOKIE else each for each in outer.cookie[1:])
                    cookie = "; ".join([token, *attributes])
                self._answer(name, status, cookie)

            def _who(self):
                """As whom a request is answered: a name of the replies; answers the request if it is nobody's."""
                if outer.users is None:
                    return "internal"
                user = outer.tokens.get(self.headers["Cookie"])
                if user is None:
                    self._answer("external with a wrong cookie" if "Cookie" in self.headers else "external without a login")
                    return None
                return _role_of(user)

            def _answer(self, name, status=None, cookie=None):
                """Answer as recorded."""
                fact = outer.replies[name]
                data = json.dumps(fact["json"]).encode() if "json" in fact else b""
                self._send(status or fact["status"], data, cookie)

            def _send(self, status, data, cookie=None):
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                if cookie:
                    self.send_header("Set-Cookie", cookie)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        super().__init__(Handler, certificate=certificate)
        self.url = f"{self.root}/"


def _role_of(user: str) -> str:
    """The one of the recorded users that has a user's role."""
    return "viewer" if user == "viewer" else "recognizer"


def report(id: str = "1700000000.5-abc", kind: str = "new", **after) -> dict:
    """What Frigate 0.18 publishes about a tracked person, as far as it is read."""
    shown = {"id": id, "camera": "door", "label": "person", "sub_label": None, "false_positive": False, "has_snapshot": True}
    return {"type": kind, "before": {}, "after": {**shown, "current_zones": ["porch"], **after}}
