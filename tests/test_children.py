"""What the processes that read other people's data find in their environment."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from recognizer.core import children
from recognizer.photos import sandbox
from recognizer.video.sources import process
from recognizer.video.sources.base import Stopper

from .streams import decoders

SECRETS = {
    "RECOGNIZER_ADMIN_KEY": "a",
    "RECOGNIZER_CAMERA": "rtsp://me:secret@camera/",
    "AWS_SECRET_ACCESS_KEY": "b",
    "MQTT_PASSWORD": "c",
    "some_token": "d",
    "GOOGLE_APPLICATION_CREDENTIALS": "e",
}


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HARMLESS", "1")


def seen_by(pid: int) -> set[str]:
    """The names in the environment that a process was started with."""
    file = Path(f"/proc/{pid}/environ")
    if not file.exists():
        pytest.skip("only Linux shows a process's environment")
    return {os.fsdecode(part.partition(b"=")[0]) for part in file.read_bytes().split(b"\0")}


def test_a_child_gets_what_it_needs_and_nothing_that_is_called_like_a_secret():
    given = children.child_environment(MORE="2")
    assert given["PATH"] == os.environ["PATH"] and given["HARMLESS"] == "1" and given["MORE"] == "2"
    assert not SECRETS.keys() & given.keys()
    printed = subprocess.run(
        [sys.executable, "-c", "import os; print(*os.environ)"], env=given, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "HARMLESS" in printed and not SECRETS.keys() & set(printed)


def test_what_reads_photos_finds_no_secret():
    made = sandbox.Sandbox(1)
    try:
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "gif")
        made.decode_stored("gif", file.getvalue(), 64)
        found = seen_by(made.idle_pids[0])
    finally:
        made.close()
    assert "HARMLESS" in found and not SECRETS.keys() & found


def test_what_reads_cameras_finds_no_secret():
    reading, writing = os.pipe()
    reader = process.ProcessReader(process.pipe_config(reading, 5, 1), Stopper(), inherit=(reading,))
    try:
        found = seen_by(*decoders())
    finally:
        os.close(writing)
        os.close(reading)
        reader.close()
    assert "HARMLESS" in found and not SECRETS.keys() & found
