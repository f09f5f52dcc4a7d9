"""A real server for the tests: the command a user types, in a process of its own, on a free port of this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import requests
from click.testing import Result

from .. import template
from ..commands import run_command

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
#: Without reloading: looking at all files each second is half of the work of an idle server, and many are idle.
HUG = (str(BIN / "hug"), "-f", "api.py", "-i", "3600", "-p", "0")
#: The same, which the template does not fork.
STARTED = ("env", *HUG)
GUNICORN = (str(BIN / "gunicorn"), "-b", "127.0.0.1:0", "api:__hug_wsgi__")


def altered(statements: str) -> tuple[str, ...]:
    """The command of a server in which Python statements were executed first: they make longer what tests must not wait for."""
    return (sys.executable, "-c", f"{statements}\nfrom recognizer.cli import main\nmain()", "serve", "--port", "0")


#: A server that learns of changes in known_faces only because they are announced.
ANNOUNCED = altered(
    "from recognizer.enrolment import watcher\n"
    "from recognizer.service import group_follower\n"
    "watcher.REGULAR = group_follower.REGULAR = 3600.0"
)
#: For tests with servers that have the settings `people_in`.
IN_FOLDER_AND_DATABASE = pytest.mark.parametrize(
    "people_in", ["folder", pytest.param("database", marks=pytest.mark.network)], indirect=True
)
_ADDRESS = re.compile(r"(https?://127\.0\.0\.1:\d+)")
#: Starting may include fetching weights.
START_SECONDS = 300
REPLY_SECONDS = 60


def environment(**settings) -> dict[str, str]:
    """This process's environment with exactly these settings, and the models folder it names."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECOGNIZER_")}
    models = os.environ.get("RECOGNIZER_MODELS_DIR")
    if models:
        kept["RECOGNIZER_MODELS_DIR"] = models
    kept["PYTHONFAULTHANDLER"] = "1"
    return kept | {f"RECOGNIZER_{name.upper()}": str(value) for name, value in settings.items()}


class Server:
    """A server with a known_faces and a state folder below `folder`. Settings are given as for `Settings`.

    Every reply is looked through for paths of this machine and tracebacks.
    """

    def __init__(self, folder: Path, command: tuple[str, ...] = HUG, **settings):
        self.folder, self.command = folder, command
        self.known_faces, self.state = folder / "known_faces", folder / "state"
        self.settings = {
            "known_faces": self.known_faces,
            "state_dir": self.state,
            "fetch_allow": "127.0.0.1",
            **settings,
        }
        self.known_faces.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "server.log"
        self.process: subprocess.Popen | None = None
        self.url = ""
        #: What every request is made with, for example ``verify`` or ``headers``.
        self.always: dict = {}

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Server:
        return self if self.process is not None else self.start()

    def __exit__(self, *_) -> None:
        if self.process is not None:
            self.stop()

    def start(self, **settings) -> Server:
        """Start, and return once it says that it is ready."""
        self.settings |= settings
        begin = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = template.start(
                self.command,
                cwd=ROOT,
                env=environment(**self.settings),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        until = time.monotonic() + START_SECONDS
        while not self._is_ready(begin):
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the server did not start:\n{self.log()}")
            time.sleep(0.05)
        return self

    def _is_ready(self, begin: int) -> bool:
        address = _ADDRESS.search(self.log_file.read_bytes()[begin:].decode(errors="replace"))
        if not address:
            return False
        self.url = address[1]
        try:
            reply = self.get("/health")
        except requests.ConnectionError:
            return False
        return reply.status_code == 200 and reply.json()["ready"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask the process to end; its exit status."""
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.send_signal(getattr(signal, "SIGABRT", number))  # prints what each thread does
                process.wait(10)
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not stop:\n{self.log()}") from None

    def restart(self, **settings) -> Server:
        assert self.stop() == 0, self.log()
        return self.start(**settings)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def copy(self, folder: Path, **settings) -> Server:
        """Another installation, not started, with all that this one keeps; not for one that is running."""
        assert self.process is None
        for root in (self.known_faces, self.state):
            shutil.copytree(root, folder / root.name)
        same = {name: value for name, value in self.settings.items() if name not in ("known_faces", "state_dir")}
        return Server(folder, self.command, **same | settings)

    def cli(self, *words: str, **settings) -> Result:
        """A command of the command line on this server's files and with its settings."""
        return run_command(environment(**self.settings | settings), *words)

    # -- requests -----------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, **how) -> requests.Response:
        assert not how.get("stream"), "this reads the whole reply, and a stream has no end: use requests itself"
        how = {"timeout": REPLY_SECONDS, **self.always, **how}
        reply = requests.request(method, self.url + path, **how)
        self.check_leaks(str(reply.headers).encode() + reply.content)
        if reply.status_code >= 400:
            check_error(reply)
        return reply

    def get(self, path: str, **how) -> requests.Response:
        return self.request("GET", path, **how)

    def post(self, path: str, **how) -> requests.Response:
        return self.request("POST", path, **how)

    def raw(self, request: bytes, then_close: bool = False) -> tuple[int, Mapping[str, str], bytes]:
        """Send bytes as they are; status, headers and body of the reply. `then_close`: nothing more will be sent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=REPLY_SECONDS) as connection:
            connection.sendall(request)
            if then_close:
                connection.shutdown(socket.SHUT_WR)
            reply = http.client.HTTPResponse(connection)
            try:
                reply.begin()
                status, body = reply.status, reply.read()
                headers = requests.structures.CaseInsensitiveDict(reply.getheaders())
            finally:
                reply.close()
        self.check_leaks(str(headers).encode() + body)
        return status, headers, body

    def check_leaks(self, said: bytes) -> None:
        """Fail if a reply holds a traceback or a path of this machine."""
        secrets = [ROOT, self.folder, *(value for value in self.settings.values() if isinstance(value, Path))]
        for secret in ["Traceback (most recent", 'File "', 'File \\"', *secrets, Path(sys.prefix)]:
            assert str(secret).encode() not in said, f"{secret} is in a reply: {said[:2000]!r}"

    # -- what tests ask again and again -------------------------------------------------------------------------

    def recognize(self, photo: bytes, **params) -> dict:
        reply = self.post("/recognize", data=photo, params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def names(self, photo: bytes) -> list[str | None]:
        """Who is on a photo, from left to right."""
        faces = self.recognize(photo)["faces"]
        return [face["subject"] for face in sorted(faces, key=lambda face: face["box"]["left"])]

    def wait_for_strangers(self) -> None:
        """Wait until every unknown person who was offered so far is in the inbox, or was refused."""
        self.wait_for(lambda: self.get("/health").json()["strangers"]["waiting"] == 0)

    def enroll(self, subject: str, *photos: bytes, **fields) -> requests.Response:
        files = [("file", (f"{n}.jpg", photo)) for n, photo in enumerate(photos)]
        return self.post("/enroll", data={"subject": subject, **fields}, files=files)

    def people(self) -> dict[str, dict]:
        return {person["name"]: person for person in self.get("/people").json()["people"]}

    def files(self) -> list[str]:
        """Every file below known_faces, by its relative path, without what is noted about photos."""
        found = (path for path in self.known_faces.rglob("*") if path.is_file() and path.name != ".about.json")
        return sorted(str(path.relative_to(self.known_faces)) for path in found)

    def put(self, path: str, data: bytes) -> Path:
        """Put a file into known_faces, without the server's help."""
        place = self.known_faces / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place

    def clear(self) -> None:
        """Nobody enrolled: through the API where it can, by hand for the rest."""
        for name in self.people():
            assert self.request("DELETE", f"/people/{requests.utils.quote(name, safe='')}").status_code == 200
        for left in self.known_faces.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        self.wait_for(lambda: self.get("/people").json() == {"people": [], "total": 0, "problems": []})

    def enrol_only(self, people: dict[str, list[bytes]]) -> None:
        """These people enrolled with these photos, and nobody else."""
        self.clear()
        for name, photos in people.items():
            assert self.enroll(name, *photos).status_code == 201

    def wait_for(self, condition, seconds: float = 60.0):
        """Ask until `condition()` is true; its value. No claim on how fast that is: the machine may be busy."""
        until = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > until:
                said = "\n".join(self.log().splitlines()[-30:])
                pytest.fail(f"still not so after {seconds} s; people: {self.get('/people').text}; the log's end:\n{said}")
            time.sleep(0.05)
        return value


def make_key(server: Server, role: str, *more: str) -> str:
    """A new key of a role."""
    done = server.cli("--json", "keys", "add", f"{role} of a test", "--role", role, *more)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["key"]


def lock(server: Server, *more: str) -> None:
    """Give a server a key of each role, in `keys`; its requests have the administrator's from then on."""
    server.keys = {role: make_key(server, role, *more) for role in ("read", "write", "admin")}
    server.always["headers"] = {"X-Api-Key": server.keys["admin"]}


def check_error(reply) -> None:
    """Every refusal has the one form that the API promises."""
    if reply.request.method == "HEAD":
        return
    assert reply.headers["Content-Type"] == "application/json"
    check_error_body(reply.content)


def check_error_body(body: bytes) -> dict:
    shown = json.loads(body)
    assert list(shown) == ["error"], shown
    assert re.fullmatch(r"[a-z][a-z0-9_]+", shown["error"]["code"]), shown
    assert isinstance(shown["error"]["message"], str) and shown["error"]["message"], shown
    return shown["error"]


def code(reply) -> str:
    """The error's code of a refusal."""
    return reply.json()["error"]["code"]
