"""From a fresh install to a recognised face: ``PYTHON -m tests.smoke``, PYTHON being that of the environment to try.

Enrols one photo each of two people in a temporary folder, starts ``hug -f api.py``, has it recognise another photo of
one of them and a stranger's over HTTP, and stops it. Exits with 1 and the server's output when anything is not as it
should be.

``PYTHON -P tests/smoke.py --package`` does the same with the installed package, from whatever folder it is started in: the
server is ``recognizer serve``, and face_recognition's interface is used from Python.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Whether the installed package is tried, instead of the checkout.
PACKAGE = "--package" in sys.argv
if PACKAGE:
    sys.path[:] = [path for path in sys.path if path and Path(path).resolve() not in (ROOT, ROOT / "tests")]
    sys.path.append(str(ROOT))  # for the tests' photos; the package itself is found before it

import recognizer  # noqa: E402
from tests.photos import fetch_photos  # noqa: E402

SECONDS_TO_START = 180
SECONDS_TO_STOP = 30

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main() -> int:
    photos = fetch_photos("obama.jpg", "obama2.jpg", "biden.jpg", "astronaut.png")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for person, photo in (("Barack Obama", "obama.jpg"), ("Joe Biden", "biden.jpg")):
            (folder / "known_faces" / person).mkdir(parents=True)
            shutil.copy(photos[photo], folder / "known_faces" / person)
        shared = folder / "shared"
        shared.mkdir()
        for photo in ("obama2.jpg", "astronaut.png"):
            shutil.copy(photos[photo], shared)
        log = folder / "log"
        try:
            _check(folder, shared, log)
        except (AssertionError, OSError) as error:
            print(f"smoke: {error}\n--- the server said:\n{log.read_text(errors='replace')}", file=sys.stderr)
            return 1
    if PACKAGE:
        _check_package(photos)
    print(f"smoke: Python {sys.version.split()[0]} installs, starts, recognises and stops")
    return 0


def _check_package(photos: dict[str, Path]) -> None:
    """The installed package as a library, and its other files."""
    from recognizer import face_recognition

    folder = Path(recognizer.__file__).parent
    assert ROOT not in folder.parents, f"the package of the checkout was imported, from {folder}"
    assert (folder / "py.typed").is_file() and (folder / "web" / "index.html").is_file()
    known, other, stranger = (
        face_recognition.face_encodings(face_recognition.load_image_file(photos[name]))[0]
        for name in ("obama.jpg", "obama2.jpg", "astronaut.png")
    )
    assert face_recognition.compare_faces([known], other) == [True]
    assert face_recognition.compare_faces([known], stranger) == [False]


def _check(folder: Path, shared: Path, log: Path) -> None:
    handler = functools.partial(_QuietHandler, directory=str(shared))
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=files.serve_forever, daemon=True).start()
    port = _free_port()
    base = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        server = _start(folder, port, output)
        try:
            _wait_until_ready(server, base)
            known = _subjects(base, f"http://127.0.0.1:{files.server_port}/obama2.jpg")
            assert known == ["Barack Obama"], f"expected Barack Obama in obama2.jpg, got {known}"
            stranger = _subjects(base, f"http://127.0.0.1:{files.server_port}/astronaut.png")
            assert stranger == [None], f"expected one stranger in astronaut.png, got {stranger}"
            server.send_signal(signal.SIGTERM)
            try:
                status = server.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"still running {SECONDS_TO_STOP} s after SIGTERM") from None
            assert status in (0, -signal.SIGTERM, 128 + signal.SIGTERM), f"SIGTERM ended it with status {status}"
        finally:
            files.shutdown()
            files.server_close()
            if server.poll() is None:
                server.kill()
                server.wait()
    assert "Traceback" not in log.read_text(errors="replace"), "a traceback was printed"


def _start(folder: Path, port: int, output) -> subprocess.Popen:
    settings = {
        "RECOGNIZER_KNOWN_FACES": str(folder / "known_faces"),
        "RECOGNIZER_STATE_DIR": str(folder / "state"),
        "RECOGNIZER_FETCH_ALLOW": "127.0.0.1",
    }
    scripts = Path(sys.executable).parent
    if PACKAGE:
        command, place = [str(scripts / "recognizer"), "serve", "--port", str(port)], folder
    else:
        command, place = [str(scripts / "hug"), "-f", "api.py", "-p", str(port)], ROOT
    return subprocess.Popen(command, cwd=place, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT)


def _wait_until_ready(server: subprocess.Popen, base: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with status {server.returncode} before it was ready"
        try:
            if _get(f"{base}/health").get("ready"):
                return
        except OSError:
            pass  # not listening yet, or 503 while it prepares
        time.sleep(0.2)
    raise AssertionError(f"not ready within {SECONDS_TO_START} s")


def _subjects(base: str, image_url: str) -> list[str | None]:
    answer = _get(f"{base}/recognize?{urllib.parse.urlencode({'image_url': image_url})}")
    return [face["subject"] for face in answer["faces"]]


def _get(url: str) -> dict:
    with _opener.open(url, timeout=60) as answer:
        return json.load(answer)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
