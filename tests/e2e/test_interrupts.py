"""Ctrl-C and SIGTERM while a server or a command is still being imported."""

import signal
import subprocess
import sys

import pytest

from .serving import BIN, ROOT, environment

HUG = [str(BIN / "hug"), "-f", "api.py", "-p", "0"]
SERVE = ["-m", "recognizer", "serve", "--port", "0"]
PEOPLE = ["-m", "recognizer", "people", "list"]
#: Runs a command that stops for ever when it first imports a module.
HOLD = """
import runpy, signal, sys, threading
module, *command = sys.argv[1:]

class Hold:
    def find_spec(name, path=None, target=None):
        if name == module:
            print("importing", flush=True)
            threading.Event().wait()

sys.meta_path.insert(0, Hold)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = command[1:] if command[0] == "-m" else command
if command[0] == "-m":
    runpy.run_module(command[1], run_name="__main__", alter_sys=True)
else:
    runpy.run_path(command[0], run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize(
    "command, module",
    [
        (HUG, "recognizer.core.settings"),
        (HUG, "recognizer.http.site"),
        (HUG, "recognizer.http.routes"),
        (SERVE, "recognizer.commands.cmd_serve"),
        (SERVE, "hug"),
        (SERVE, "recognizer.engines"),
        (SERVE, "recognizer.http.compat"),
        (PEOPLE, "click"),
        (PEOPLE, "recognizer.cli"),
        (PEOPLE, "recognizer.service"),
    ],
)
def test_a_signal_during_the_imports_ends_it_without_a_word(tmp_path, command, module, number, status):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, module, *command],
        cwd=ROOT,
        env=environment(known_faces=tmp_path / "known_faces", state_dir=tmp_path / "state"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (status, "", "")
