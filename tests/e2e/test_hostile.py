"""Broken, odd and oversized images by every way in: a clear answer to each, and the process goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .. import data, fuzz, template
from . import pictures
from .serving import Server, code, environment

#: What a photo may be answered with, whatever it is.
READ, REFUSED = {200, 201}, {400, 409, 413, 415, 422}
GIGABYTE = 1_000_000
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")


def hostile() -> list[Path]:
    return sorted(path for path in data.folder("hostile").rglob("*") if path.is_file())


def some_hostile(every: int) -> list[Path]:
    """Every so many-th file, with all of them under ``--long``: for ways in that decode as `/recognize` does."""
    return hostile()[:: max(1, every // fuzz.factor())]


def peak_kb(process: int) -> int:
    """The most memory that a process, or a child that it has now, has taken."""
    if sys.platform != "linux":
        return 0
    peaks = []
    for each in [process, *children(process)]:
        lines = Path(f"/proc/{each}/status").read_text().splitlines()
        peaks += [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return max(peaks)


def children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except FileNotFoundError:
            continue
    return found


def send_all(server: Server, path: str, files: list[Path], **params) -> dict[str, int]:
    """Send every file; the status of each reply. None may take the server down, or all memory."""
    process = server.process

    def ask(file):
        kind = {"Content-Type": "image/jpeg"}
        reply = server.post(path, data=file.read_bytes(), headers=kind, params=params)
        while reply.status_code == 503:
            assert reply.headers["Retry-After"]
            reply = server.post(path, data=file.read_bytes(), headers=kind, params=params)
        return file.name, reply.status_code

    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        statuses = dict(pool.map(ask, files))
    peak = peak_kb(process.pid)
    assert server.process is process and process.poll() is None
    assert peak < GIGABYTE
    return statuses


@pytest.mark.parametrize("part", range(4))
def test_hostile_files(writer, faces, part):
    statuses = send_all(writer, "/recognize", hostile()[part::4])
    assert {name: status for name, status in statuses.items() if status not in READ | REFUSED} == {}
    assert 200 in statuses.values() and REFUSED & set(statuses.values())
    assert writer.names(faces["obama"]) == [None]
    assert writer.get("/health").json()["queue"]["inside"] == 0


@pytest.mark.parametrize("part", range(2))
def test_hostile_files_enrol_nobody_unless_they_show_a_face(writer, faces, part):
    statuses = send_all(writer, "/enroll", some_hostile(2)[part::2], subject="Hostile", force="true", face="largest")
    assert {name: status for name, status in statuses.items() if status not in READ | REFUSED} == {}
    added = sum(status == 201 for status in statuses.values())
    assert len(writer.files()) == added and writer.get("/people").json()["problems"] == []
    assert writer.enroll("Barack Obama", faces["obama"]).status_code == 201


def test_hostile_files_in_the_folder(tmp_path, faces):
    files = some_hostile(4)
    server = Server(tmp_path)
    server.put("Barack Obama/one.jpg", faces["obama"])
    for number, file in enumerate(files):
        server.put(f"Hostile {number % 7}/{number}-{file.name}", file.read_bytes())
    with server:
        listed = server.get("/people").json()
        used = sum(person["photos"] - person["problems"] for person in listed["people"]) - 1
        # one photo under several names of one folder counts once
        distinct = {(number % 7, file.read_bytes()) for number, file in enumerate(files)}
        assert used + len(listed["problems"]) <= len(files) and used + len(listed["problems"]) >= len(distinct)
        assert not {problem["code"] for problem in listed["problems"]} - {
            "broken_image",
            "unsupported_image",
            "image_too_large",
            "no_face",
            "face_too_small",
            "poor_photo",
            "several_faces",
            "invalid_name",
        }
        assert server.names(faces["obama2"]) == ["Barack Obama"]
        assert peak_kb(server.process.pid) < GIGABYTE
        server.put("Joe/dropped.jpg", faces["biden"])  # and while it runs
        shutil.copy(files[0], server.known_faces / "Joe")
        server.wait_for(lambda: server.names(faces["biden"]) == ["Joe"], 20)
        assert server.stop() == 0
        server.start()
        assert server.get("/people").json()["total"] == listed["total"] + 1


def test_hostile_files_by_the_command_line(tmp_path):
    files = some_hostile(4)
    settings = environment(known_faces=tmp_path / "faces", state_dir=tmp_path / "state")
    command = [sys.executable, "-m", "recognizer", "detect", "--json", *map(str, files)]
    done = template.run(command, 570, env=settings)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    answers = json.loads(done.stdout)["photos"]
    assert len(answers) == len(files)
    codes = [answer["error"]["code"] for answer in answers if "error" in answer]
    assert 0 < len(codes) < len(files)
    assert not set(codes) - {"broken_image", "unsupported_image", "image_too_large"}


@LINUX
def test_a_decoder_that_is_killed_over_a_photo_takes_nothing_with_it(tmp_path, faces):
    """What a crash in C code would do: the processes that decode die again and again while photos are sent."""
    photo = pictures.converted(faces["obama"], "TIFF")
    with Server(tmp_path) as server:
        server.put("Barack Obama/one.tif", photo)
        server.wait_for(lambda: server.names(faces["obama2"]) == ["Barack Obama"])
        assert children(server.process.pid), "what reads TIFF is no process of its own"
        process, stop, kills = server.process, threading.Event(), 0

        def kill():
            nonlocal kills
            while not stop.wait(0.01):
                for child in children(process.pid):
                    with contextlib.suppress(ProcessLookupError):  # ended by itself meanwhile
                        os.kill(child, signal.SIGKILL)
                        kills += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            with ThreadPoolExecutor(4) as pool:
                replies = list(pool.map(lambda _: server.post("/recognize", data=photo), range(24)))
        finally:
            stop.set()
            killer.join()
        assert {reply.status_code for reply in replies} <= {200, 422, 503}
        assert {code(reply) for reply in replies if reply.status_code == 422} <= {"decoder_crashed"}
        assert {code(reply) for reply in replies if reply.status_code == 503} <= {"busy", "decoder_unavailable"}
        assert all(reply.headers["Retry-After"] for reply in replies if reply.status_code == 503)
        assert kills and server.process is process and process.poll() is None
        assert server.names(photo) == ["Barack Obama"]
