"""The programs of docs/howto/clients.md, as they stand there, against a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from .serving import ROOT

pytestmark = pytest.mark.slow

#: Language of the block: the file's name, and the command that runs it.
LANGUAGES = {
    "js": ("recognize.mjs", ["node"]),
    "php": ("recognize.php", ["php"]),
    "go": ("recognize.go", ["go", "run"]),
}


@pytest.fixture(params=LANGUAGES)
def client(request, tmp_path, reader):
    """Runs the page's program of a language on a photo."""
    name, command = LANGUAGES[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    if command[0] == "php" and "curl" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout:
        pytest.skip("PHP's extension curl is not installed")
    page = (ROOT / "docs" / "howto" / "clients.md").read_text("utf-8")
    (program,) = re.findall(rf"^```{request.param}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / name).write_text(program)
    environ = {**os.environ, "FACES_URL": reader.url, "FACES_KEY": "", "GOCACHE": str(tmp_path / "go")}
    environ |= {"GO111MODULE": "off", "GOPROXY": "off"}

    def run(photo: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "photo.jpg").write_bytes(photo)
        whole = [*command, name, "photo.jpg"]
        return subprocess.run(whole, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)

    return run


def test_a_program_names_faces_and_says_why_it_was_refused(client, faces):
    done = client(faces["trio"])
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "Barack Obama", "Joe Biden", "unknown"]
    done = client(b"no photo at all")
    assert done.returncode == 1 and "unsupported_image: " in done.stderr, done.stderr
