"""An update of the archive that is killed at random moments, again and again, loses nothing and ends as if it never was."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile
from recognizer.core.vault import Vault, new_key

from . import fuzz, template

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = 300
#: Updates an index with photos whose faces are made up from their contents, and kills itself at a moment that is given.
PROGRAM = """
import hashlib, os, signal, sys, threading
from pathlib import Path
import numpy as np
from recognizer.archive import updating
from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFace, ArchiveFile, ArchivePhoto
from recognizer.archive.photo_index import FaceKey
from recognizer.core.types import Box
from recognizer.core.vault import Vault, new_key

state, album, key, after = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])

def examine(settings, item):
    photo, path = item
    made = np.random.default_rng(int(photo[:8], 16) % 20)  # of one of twenty people
    vector = made.normal(size=16) * 10 + np.random.default_rng(int(photo[:8], 16)).normal(size=16) / 100
    face = ArchiveFace(FaceKey(photo, 0), Box(0, 0, 9, 9), 0.9, 0.5, None, vector.astype(np.float32))
    return ArchivePhoto(photo, settings.key, 10, 10, 0.0, "file", 1), [face]

class Settings:
    key, workers, max_bytes = "e", 1, 1_000_000

updating._examine, updating.BATCH = examine, 8
file = ArchiveFile(state / ARCHIVE_FILE, Vault([bytes.fromhex(key)]))
if not file.folders():
    file.add_folder(str(album))
if after:
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
with updating.updating_alone(state):
    report = updating.ArchiveUpdate(file, Settings(), lambda faces: 1.0).run()
file.close()
os.kill(os.getpid(), signal.SIGKILL) if after else print(report.complete)
"""


def contents(state: Path, vault: Vault) -> tuple[dict, set, dict]:
    """The photos with their faces' groups, the groups as sets of faces, and the files."""
    file = ArchiveFile(state / ARCHIVE_FILE, vault)
    faces = file.all_faces("e")
    groups: dict[int | None, set[str]] = {}
    for each in faces:
        groups.setdefault(each.person, set()).add(str(each.key))
    files = file.files(1) if file.folders() else {}
    file.close()
    return {str(each.key): each.vector.tobytes() for each in faces}, {frozenset(each) for each in groups.values()}, files


def run(state: Path, album: Path, key: str, after: float) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(state), str(album), key, str(after)]
    return template.run(command)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_no_moment_of_being_killed_loses_the_index(tmp_path):
    key = new_key().hex()
    vault = Vault([bytes.fromhex(key)])
    album, state = tmp_path / "album", tmp_path / "state"
    album.mkdir()
    state.mkdir()
    for number in range(PHOTOS):
        (album / f"{number}.jpg").write_bytes(b"\xff\xd8\xff photo %d" % number)
    moments = random.Random(18 if fuzz.factor() == 1 else None)
    before: dict[str, bytes] = {}
    for _ in range(3 * fuzz.factor()):
        killed = run(state, album, key, moments.uniform(0.01, 0.5))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        with sqlite3.connect(state / ARCHIVE_FILE) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        faces, groups, files = contents(state, vault)
        assert before.items() <= faces.items()  # what was stored once stays
        assert {each.photo for each in files.values()} >= {each.split("/")[0] for each in faces}
        before = faces
    done = run(state, album, key, 0.0)
    assert done.stdout == "True\n", done.stderr
    faces, groups, files = contents(state, vault)
    assert before.items() <= faces.items() and len(faces) == len(files) == PHOTOS
    once = tmp_path / "once"
    once.mkdir()
    assert run(once, album, key, 0.0).stdout == "True\n"
    assert (faces, groups) == contents(once, vault)[:2]  # as if it had never been killed
