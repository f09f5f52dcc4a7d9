"""Folders of enrolled people made of LFW photos, and the server started on them, for the scripts that need a server."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lfw
import report


def fill(folder: Path, files: list[Path]) -> None:
    """Make `folder` hold these photos, each in a folder of its person; hard links where the file system allows them."""
    if folder.exists():
        shutil.rmtree(folder)
    for file in files:
        place = folder / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:
            shutil.copy2(file, place)


def one_photo_each(data: Path, people: int) -> list[Path]:
    """One photo of each of so many people."""
    first = {file.parent.name: file for file in reversed(lfw.photos(data))}
    return [first[name] for name in sorted(first)][:people]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(work: Path, **settings) -> dict[str, str]:
    """The environment in which our server uses the known_faces and the state below `work`, and these settings."""
    settings = {"known_faces": work / "known_faces", "state_dir": work / "state", **settings}
    return {**os.environ, **{f"RECOGNIZER_{name.upper()}": str(value) for name, value in settings.items()}}


@dataclass(frozen=True)
class Running:
    """A server that is ready, the seconds that it took to be so, and its resident memory's peak in MB."""

    port: int
    seconds: float
    process: subprocess.Popen

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ended(self) -> bool:
        """Whether it ended by itself, which no server should."""
        return self.process.poll() is not None

    @property
    def peak_mb(self) -> float | None:
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


@contextmanager
def ours(work: Path, log: Path, timeout: float = 1800, **settings) -> Iterator[Running]:
    """`hug -f api.py` on the loopback address with these settings, until /health says ready."""
    port = free_port()
    command = [Path(sys.executable).parent / "hug", "-f", "api.py", "-p", port]
    env = environment(work, **settings)
    with _server(command, port, "/health", lambda body: json.loads(body)["ready"], log, timeout, env) as it:
        yield it


@contextmanager
def flask_example(gallery: Path, log: Path) -> Iterator[Running]:
    """The Flask example on the loopback address, until it answers."""
    port = free_port()
    command = [sys.executable, Path(__file__).parent / "flask_example.py", gallery, port]
    with _server(command, port, "/", lambda body: True, log, 120, dict(os.environ)) as it:
        yield it


@contextmanager
def _server(command, port, path, is_ready, log, timeout, env) -> Iterator[Running]:
    started = time.perf_counter()
    with open(log, "ab") as file, report.child(command, cwd=report.ROOT, stdout=file, stderr=file, env=env) as process:
        while not _answers(port, path, is_ready):
            if process.poll() is not None:
                raise SystemExit(f"The server ended with status {process.returncode}; its output is in {log}.")
            if time.perf_counter() - started > timeout:
                raise SystemExit(f"The server was not ready after {timeout:.0f} s; its output is in {log}.")
            time.sleep(0.02)
        yield Running(port, time.perf_counter() - started, process)


def _answers(port: int, path: str, is_ready) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status == 200 and is_ready(body)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
