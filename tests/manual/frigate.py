"""Frigate itself: names in its events, with and without its login. Run by hand, about five minutes.

::

    git clone --bare https://github.com/blakeblackshear/frigate /tmp/frigate.git
    python -m tests.manual.frigate --repository /tmp/frigate.git --environment /tmp/frigate --record

Takes a version out of Frigate's repository, and starts its API, its events, its MQTT and its nginx with a real Mosquitto; only
cameras, detectors and tracker are left out (`frigate_parts.py`), and frames with people come from photos instead. This server
follows it through both ports: sub labels appear in Frigate's database and in its messages, the login is renewed, and what
Frigate refuses is said. Ends with 0 if all of it is so.

``--record`` writes what Frigate answered and published into `tests/frigate_replies.json`, which other tests use.

For 0.16, put joserfc 1.0 and peewee_migrate 1.13, which it pins, into an environment of its own.

Needs git, Mosquitto and nginx, Linux (Frigate's two ports are taken at 127.0.0.2), and Python 3.11 for Frigate.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import urllib3

from .. import photos as real_photos
from ..brokers import MISSING, MOSQUITTO, Broker, Listener, free_port
from ..e2e import pictures
from ..e2e.serving import ROOT, Server
from .home_assistant import wait_for

VERSION, PYTHON = "v0.17.2", "python3.11"
INTERNAL, EXTERNAL = "http://127.0.0.2:5000", "https://127.0.0.2:8971"
RECORD = ROOT / "tests" / "frigate_replies.json"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
#: What the parts that are started need, as Frigate pins it (0.17 and 0.18).
_PACKAGES = (
    "aiofiles==24.1.*",
    "fastapi==0.116.*",
    "filelock",
    "httpx",
    "joserfc==1.2.*",
    "markupsafe==3.0.*",
    "numpy==1.26.*",
    "opencv-python-headless==4.11.0.*",
    "paho-mqtt==2.1.*",
    "pathvalidate==3.3.*",
    "peewee==3.17.*",
    "peewee_migrate==1.14.*",
    "prometheus-client==0.21.*",
    "psutil==7.1.*",
    "py-vapid",
    "pydantic==2.10.*",
    "python-multipart==0.0.20",
    "pytz",
    "pywebpush",
    "pyzmq==26.2.*",
    "requests==2.32.*",
    "ruamel.yaml==0.18.*",
    "setproctitle",
    "slowapi==0.1.*",
    "starlette==0.47.*",
    "starlette-context==0.4.*",
    "titlecase",
    "tzlocal",
    "unidecode",
    "uvicorn==0.35.*",
)
_PERSON = "Barack Obama"
_WIDTH, _HEIGHT = 1280, 720

_CONFIGURATION = """\
mqtt: {{host: 127.0.0.1, port: {mqtt}, user: {user}, password: "{password}"}}
database: {{path: {folder}/config/frigate.db}}
auth: {{hash_iterations: 1000, session_length: 60, refresh_time: 30, failed_login_rate_limit: 30/minute}}
detectors: {{cpu1: {{type: cpu}}}}
cameras:
  door:
    ffmpeg: {{inputs: [{{path: "rtsp://127.0.0.1/door", roles: [detect]}}]}}
    detect: {{enabled: true, width: {width}, height: {height}, fps: 5}}
    snapshots: {{enabled: true}}
  yard:
    ffmpeg: {{inputs: [{{path: "rtsp://127.0.0.1/yard", roles: [detect]}}]}}
    detect: {{enabled: true, width: {width}, height: {height}, fps: 5}}
"""
_LISTEN = """\
listen 127.0.0.2:5000;
listen 127.0.0.2:8971 ssl;
ssl_certificate {folder}/certificate.pem;
ssl_certificate_key {folder}/key.pem;
ssl_protocols TLSv1.3;
"""


class RealFrigate:
    """One version of Frigate, taken out of its repository into `folder`.

    Parameters
    ----------
    repository : Path
        A Git folder, bare or not.
    version : str
        A tag.
    python : Path
        Of an environment with `_PACKAGES`.
    folder : Path
    """

    def __init__(self, repository: Path, version: str, python: Path, folder: Path):
        self.version, self.python, self.folder = version, python, folder
        self.code, self.nginx = folder / "code", folder / "nginx"
        self.port = free_port()
        self.errors = folder / "errors.log"
        self._processes: list[subprocess.Popen] = []
        self._parts: subprocess.Popen | None = None
        wanted = ["frigate", "migrations", "labelmap.txt", "audio-labelmap.txt", "docker/main/rootfs/usr/local/nginx/conf"]
        packed = subprocess.run(["git", "-C", repository, "archive", version, *wanted], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(self.code, filter="data")
        self._move_paths()

    def _move_paths(self) -> None:
        """Let the code use folders below this one, instead of those of its container."""
        (self.code / "frigate" / "version.py").write_text(f'VERSION = "{self.version[1:]}"\n')
        const = self.code / "frigate" / "const.py"
        const.write_text(const.read_text().replace('"/config"', f'"{self.folder}/config"'))
        for file in (self.code / "frigate").rglob("*.py"):
            text = before = file.read_text()
            text = text.replace("/tmp/cache", f"{self.folder}/cache").replace("/media/frigate", f"{self.folder}/media")
            text = re.sub(r'"/((audio-)?labelmap\.txt)"', f'"{self.code}/\\1"', text)
            if text != before:
                file.write_text(text)

    def start(self, broker: Broker, certificate: Path | None = None) -> None:
        for name in ("config", "cache", "media"):
            (self.folder / name).mkdir(exist_ok=True)
        where = {"mqtt": broker.port, "user": broker.user, "password": broker.password, "width": _WIDTH, "height": _HEIGHT}
        (self.folder / "config" / "config.yml").write_text(_CONFIGURATION.format(folder=self.folder, **where))
        self._start_nginx()
        self.start_parts()

    def start_parts(self) -> None:
        with self.errors.open("ab") as log:
            command = [
                self.python,
                "-P",  # this folder has a frigate.py too
                Path(__file__).with_name("frigate_parts.py"),
                str(self.port),
                self.folder / "config" / "config.yml",
            ]
            environment = {**os.environ, "PYTHONPATH": str(self.code), "PYTHONDONTWRITEBYTECODE": "1"}
            self._parts = subprocess.Popen(
                command, cwd=self.code, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        print("  without:", ", ".join(self._line()["replaced"]), flush=True)
        wait_for("Frigate answers", lambda: self._answers())

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{INTERNAL}/api/version", timeout=5).status_code == 200
        return False

    def _start_nginx(self) -> None:
        """Frigate's own nginx, without its video, and at other ports inside."""
        shutil.copytree(self.code / "docker" / "main" / "rootfs" / "usr" / "local" / "nginx" / "conf", self.nginx)
        name = [
            "-subj",
            "/O=FRIGATE DEFAULT CERT/CN=*",
            "-keyout",
            self.nginx / "key.pem",
            "-out",
            self.nginx / "certificate.pem",
        ]
        new = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-days", "365", "-nodes", "-x509"]
        subprocess.run([*new, *name], check=True, capture_output=True)
        (self.nginx / "mime.types").write_text("types { text/html html; image/jpeg jpg; application/json json; }\n")
        (self.nginx / "base_path.conf").touch()
        (self.nginx / "listen.conf").write_text(_LISTEN.format(folder=self.nginx))
        for file in self.nginx.glob("*.conf"):
            text = re.sub(r"(?m)^\s*(vod[_ ]|secure_token|aio |http2 ).*$", "", file.read_text())
            text = re.sub(r"(?m)^pid .*$", f"pid {self.nginx}/pid;", text).replace(
                "/dev/shm/nginx_cache", f"{self.nginx}/cache"
            )
            text = text.replace("/dev/stdout", f"{self.nginx}/log").replace("worker_processes auto", "worker_processes 1")
            file.write_text(text.replace("127.0.0.1:5001", f"127.0.0.1:{self.port}"))
        self._processes.append(subprocess.Popen([NGINX, "-p", self.nginx, "-c", self.nginx / "nginx.conf"]))

    def stop_parts(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.kill()
            parts.wait()

    def stop(self) -> None:
        self.stop_parts()
        for process in self._processes:
            process.terminate()
            process.wait(20)

    def tell(self, **what: Any) -> None:
        """Send a line to the parts, and wait until it is done."""
        assert self._parts is not None and self._parts.stdin is not None
        self._parts.stdin.write(json.dumps(what) + "\n")
        self._parts.stdin.flush()
        self._line()

    def _line(self) -> dict:
        assert self._parts is not None and self._parts.stdout is not None
        line = self._parts.stdout.readline()
        assert line, self.errors.read_text()[-3000:]
        return json.loads(line)

    def show(self, camera: str, photo: Path, people: dict[str, list[int]]) -> None:
        self.tell(camera=camera, photo=str(photo), people=people)

    def new_secret(self) -> None:
        """Start again with another secret, with which every login is void."""
        self.stop_parts()
        (self.folder / "config" / ".jwt_secret").unlink()
        self.start_parts()


class Recorder:
    """Notes what Frigate answers, as short facts."""

    def __init__(self) -> None:
        self.replies: dict[str, dict] = {}

    def note(self, name: str, reply: requests.Response) -> requests.Response:
        fact: dict[str, Any] = {"status": reply.status_code, "type": reply.headers.get("Content-Type", "").partition(";")[0]}
        if fact["type"] == "application/json" and len(reply.content) < 200:
            fact["json"] = json.loads(re.sub(r"\d{10}\.\d+-", "", reply.text))
        if cookie := reply.headers.get("Set-Cookie"):
            pair, *attributes = cookie.split("; ")
            fact["cookie"] = [pair.partition("=")[0], *(each.partition("=")[0] for each in attributes)]
        self.replies[name] = fact
        return reply


def new_id(name: str) -> str:
    return f"{time.time():.6f}-{name}"


def labels(listener: Listener, event: str) -> list[object]:
    """The sub labels of an event in Frigate's messages."""
    return [each["after"]["sub_label"] for each in reports(listener) if each["after"]["id"] == event]


def reports(listener: Listener) -> list[dict]:
    return [json.loads(each) for each in listener.of("frigate/events")]


def frame_with(folder: Path, **faces: bytes) -> tuple[Path, dict[str, list[int]]]:
    """A frame with photos side by side, and the box of each."""
    from PIL import Image

    frame, boxes, left = Image.new("RGB", (_WIDTH, _HEIGHT), (90, 110, 90)), {}, 40
    for name, photo in faces.items():
        picture = pictures.load(photo)
        picture.thumbnail((600, 640))
        frame.paste(picture, (left, 60))
        boxes[name] = [left, 60, left + picture.width, 60 + picture.height]
        left += picture.width + 20
    file = folder / f"{'-'.join(faces)}.jpg"
    frame.save(file, quality=92)
    return file, boxes


def appear(real: RealFrigate, camera: str, photo: Path, people: dict[str, list[int]]) -> None:
    """People come, and move a little."""
    for step in range(3):
        moved = {id: [box[0], box[1] + step, box[2], box[3] + step] for id, box in people.items()}
        real.show(camera, photo, moved)
        time.sleep(0.3)


def problem_of(server: Server) -> str | None:
    (sink,) = (each for each in server.get("/health").json()["events"]["sinks"] if "frigate" in each["name"])
    return sink["problem"]


def record_replies(real: RealFrigate, recorder: Recorder, event: str, users: dict[str, str]) -> None:
    """Ask as this server asks, and in ways that Frigate refuses."""
    note, how = recorder.note, {"timeout": 20, "verify": False}
    label = {"subLabel": "Ada", "subLabelScore": 0.9, "camera": "door"}
    note("internal profile", requests.get(f"{INTERNAL}/api/profile", **how))
    note("internal label", requests.post(f"{INTERNAL}/api/events/{event}/sub_label", json=label, **how))
    note("internal label of an unknown event", requests.post(f"{INTERNAL}/api/events/1.5-no/sub_label", json=label, **how))
    too_long = {**label, "subLabel": "a" * 101}
    note("internal label that is too long", requests.post(f"{INTERNAL}/api/events/{event}/sub_label", json=too_long, **how))
    origin = {"Origin": "http://elsewhere.example"}
    note(
        "internal label with an origin",
        requests.post(f"{INTERNAL}/api/events/{event}/sub_label", json=label, headers=origin, **how),
    )
    note("internal snapshot of an unknown event", requests.get(f"{INTERNAL}/api/events/1.5-no/snapshot.jpg", **how))
    snapshot = note("internal snapshot", requests.get(f"{INTERNAL}/api/events/{event}/snapshot.jpg?bbox=0&crop=0", **how))
    assert snapshot.content.startswith(b"\xff\xd8\xff"), snapshot.text
    note("external without a login", requests.get(f"{EXTERNAL}/api/version", **how))
    note("external by http", requests.get(f"{EXTERNAL.replace('https', 'http')}/api/version", **how))
    note("external with a wrong cookie", requests.get(f"{EXTERNAL}/api/version", cookies={"frigate_token": "x.y.z"}, **how))
    wrong = {"user": "admin", "password": "wrong"}
    note("login with a wrong password", requests.post(f"{EXTERNAL}/api/login", json=wrong, **how))
    note("login of an unknown user", requests.post(f"{EXTERNAL}/api/login", json={**wrong, "user": "nobody"}, **how))
    for user, password in users.items():
        with requests.Session() as session:
            ask = lambda name, method, path, session=session, **more: note(  # noqa: E731
                name, session.request(method, f"{EXTERNAL}/api/{path}", **how, **more)
            )
            ask(f"login of {user}", "POST", "login", json={"user": user, "password": password})
            ask(f"{user} profile without X-Cache-Bypass", "GET", "profile")
            for path in ("profile", "version", "config"):
                ask(f"{user} {path}", "GET", path, headers={"X-Cache-Bypass": "1"})
            ask(f"{user} snapshot", "GET", f"events/{event}/snapshot.jpg")
            ask(f"{user} label", "POST", f"events/{event}/sub_label", json=label)
    note("internal label taken away", requests.post(f"{INTERNAL}/api/events/{event}/sub_label", json={"subLabel": ""}, **how))
    for name, fact in recorder.replies.items():
        print(f"    {name}: {fact}", flush=True)


def report_facts(listener: Listener) -> list[dict]:
    """Frigate's messages with what this server reads of them: one of each kind."""
    read = ("camera", "label", "sub_label", "false_positive", "has_snapshot", "current_zones")
    facts: dict[tuple, dict] = {}
    for each in reports(listener):
        after = each["after"]
        picked = {"id": after["id"].partition("-")[2], **{name: after[name] for name in read}}
        snapshot = after["snapshot"] and {"box": after["snapshot"]["box"]}
        kind = (each["type"], str(after["sub_label"]), after["has_snapshot"], after["false_positive"])
        facts.setdefault(kind, {"type": each["type"], "after": {**picked, "snapshot": snapshot}})
    return list(facts.values())


@contextlib.contextmanager
def following(folder: Path, broker: Broker, face: bytes, **settings: Any) -> Iterator[Server]:
    url = f"mqtt://{broker.user}:{quote(broker.password, safe='')}@127.0.0.1:{broker.port}"
    server = Server(folder, camera="none", mqtt_url=url, mqtt_double_take="on", **settings)
    server.put(f"{_PERSON}/one.jpg", face)
    with server:
        server.wait_for(lambda: _PERSON in server.people())
        yield server


def try_everything(real: RealFrigate, broker: Broker, folder: Path) -> Recorder:
    faces = real_photos.fetch_photos("obama.jpg", "obama2.jpg", "astronaut.png")
    known, shown, stranger = (faces[name].read_bytes() for name in ("obama.jpg", "obama2.jpg", "astronaut.png"))
    listener, recorder = Listener(broker, "frigate/#", "double-take/#"), Recorder()
    users = {"recognizer": "a long password", "viewer": "another password"}

    print(f"Frigate {real.version}: its answers")
    real.start(broker)
    real.tell(user="recognizer", password=users["recognizer"], role="admin")
    real.tell(user="viewer", password=users["viewer"], role="viewer")
    alone, boxes = frame_with(folder, obama=shown)
    both, two = frame_with(folder, obama=shown, other=stranger)
    first = new_id("first")
    appear(real, "door", alone, {first: boxes["obama"]})
    wait_for("it publishes its events", lambda: labels(listener, first))
    record_replies(real, recorder, first, users)
    appear(real, "door", alone, {first: boxes["obama"]})
    wait_for("a label that was taken away is published", lambda: labels(listener, first)[-1] in (None, [None, None]))
    print("    which is", labels(listener, first)[-1], flush=True)
    appear(real, "door", alone, {})

    print("through port 5000")
    with following(folder / "internal", broker, known, frigate_url=INTERNAL) as server:
        server.wait_for(lambda: problem_of(server) is None)
        for camera in ("door", "yard"):  # with and without snapshots that are kept
            follow(real, listener, camera, alone, {new_id("obama"): boxes["obama"]}, _PERSON)
        follow(real, listener, "door", both, {new_id("other"): two["other"], new_id("obama"): two["obama"]}, None, _PERSON)
        follow(real, listener, "yard", both, {new_id("other"): two["other"]}, None)
        unknown = lambda: [json.loads(each)["camera"] for each in listener.of("double-take/matches/unknown")]  # noqa: E731
        wait_for("strangers are published", lambda: sorted(unknown()) == ["door", "yard"])
        shown_names = {topic for topic, _, _ in listener.messages if topic.startswith("double-take/matches")}
        assert shown_names == {"double-take/matches/barack-obama", "double-take/matches/unknown"}, shown_names
        event = {"type": "new", "after": next(each["after"] for each in reports(listener) if each["after"]["has_snapshot"])}
        print("    by Double Take's API:", server.post("/api/recognize", json=event).status_code, flush=True)

    print("through port 8971")
    secret = folder / "password"
    secret.write_text(users["recognizer"])
    login = {"frigate_url": EXTERNAL, "frigate_user": "recognizer", "frigate_password_file": secret}
    with following(folder / "external", broker, known, **login, frigate_verify="off") as server:
        server.wait_for(lambda: problem_of(server) is None)
        follow(real, listener, "door", alone, {new_id("login"): boxes["obama"]}, _PERSON)
        print("  a minute passes: the login is too old then", flush=True)
        time.sleep(62)
        follow(real, listener, "door", alone, {new_id("again"): boxes["obama"]}, _PERSON)
        real.new_secret()
        follow(real, listener, "yard", alone, {new_id("secret"): boxes["obama"]}, _PERSON)
        assert problem_of(server) is None

        print("what Frigate refuses is said")
        for changes, words in (
            ({"frigate_verify": "on"}, "certificate"),
            ({"frigate_password_file": write(folder / "wrong", "wrong")}, "wrong"),
            ({"frigate_user": "viewer", "frigate_password_file": write(folder / "viewer", users["viewer"])}, "role viewer"),
            ({"frigate_url": EXTERNAL.replace("https", "http")}, "https"),
        ):
            server.restart(**{**login, "frigate_verify": "off", **changes})
            wait_for(words, lambda words=words: words in (problem_of(server) or ""))
            print("   ", problem_of(server), flush=True)
    recorder.replies["reports"] = report_facts(listener)  # type: ignore[assignment]
    listener.close()
    return recorder


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def follow(
    real: RealFrigate, listener: Listener, camera: str, photo: Path, people: dict[str, list[int]], *names: str | None
) -> None:
    """People come; those that are enrolled get their name as sub label, in Frigate's messages and its database."""
    appear(real, camera, photo, people)
    for event, name in zip(people, names, strict=True):
        if name is not None:
            until = time.monotonic() + 60
            while not any(label and label[0] == name for label in labels(listener, event)):
                assert time.monotonic() < until, (event, labels(listener, event), real.errors.read_text()[-2000:])
                real.show(camera, photo, {id: [each[0], each[1] + 1, each[2], each[3]] for id, each in people.items()})
                time.sleep(1)
            print(f"  {event} at {camera}: {labels(listener, event)[-1]}", flush=True)
    real.show(camera, photo, {})
    wait_for("the end is published", lambda: all(ended(listener, event) for event in people))
    for event, name in zip(people, names, strict=True):
        if name is None:
            assert not any(labels(listener, event)), labels(listener, event)
        elif camera == "door":
            kept = lambda event=event: requests.get(f"{INTERNAL}/api/events/{event}", timeout=20).json()  # noqa: E731
            wait_for("the sub label is in Frigate's database", lambda kept=kept, name=name: kept().get("sub_label") == name)


def ended(listener: Listener, event: str) -> bool:
    return any(each["type"] == "end" and each["after"]["id"] == event for each in reports(listener))


def environment(folder: Path, python: str) -> Path:
    """The Python of an environment with what the parts need, which is made if it is not there."""
    made = folder / "bin" / "python"
    if not made.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip = [made, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--prefer-binary", *_PACKAGES]
        subprocess.run(pip, check=True, env={**os.environ, "NO_SQLITE": "1"})  # peewee's C code is not needed
    return made


def one_fact_a_line(kept: dict[str, dict]) -> str:
    """The JSON of `RECORD`."""
    versions = []
    for version, replies in sorted(kept.items()):
        facts = {name: fact for name, fact in replies.items() if name != "reports"}
        lines = [f"  {json.dumps(name)}: {json.dumps(fact)}" for name, fact in facts.items()]
        messages = ",\n".join(f"   {json.dumps(each)}" for each in replies["reports"])
        lines.append(f'  "reports": [\n{messages}\n  ]')
        versions.append(f" {json.dumps(version)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(versions) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Try this server with Frigate itself.")
    parser.add_argument("--repository", type=Path, required=True, help="Frigate's Git repository, bare or not")
    parser.add_argument("--environment", type=Path, help="where Frigate's packages are, or are put; else a temporary folder")
    parser.add_argument("--python", default=PYTHON, help=f"the Python that it runs on (default: {PYTHON})")
    parser.add_argument("--version", default=VERSION, help=f"the tag (default: {VERSION})")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    given = parser.parse_args()
    if MOSQUITTO is None or NGINX is None:
        sys.exit(f"{MISSING} nginx")
    urllib3.disable_warnings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = environment((given.environment or folder / "environment").absolute(), given.python)
        with Broker(folder / "broker", user="home", password="s3cret") as broker:
            (folder / "frigate").mkdir()
            real = RealFrigate(given.repository, given.version, python, folder / "frigate")
            try:
                recorder = try_everything(real, broker, folder)
            finally:
                real.stop()
    if given.record:
        kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        kept[given.version[1:]] = recorder.replies
        RECORD.write_text(one_fact_a_line(kept))
    print(f"Frigate {given.version} and this server work together as described")


if __name__ == "__main__":
    main()
