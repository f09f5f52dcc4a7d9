"""What the template forks is, to whoever starts it, the process that `subprocess.Popen` starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from . import template
from .streams import wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux only")
LOOK = """
import faulthandler, json, os, signal, sys, threading
print(json.dumps({
    "arguments": sys.argv[1:],
    "original": sys.orig_argv[1:],
    "main": sys.modules["__main__"].__dict__ is globals(),
    "folder": os.getcwd(),
    "path": sys.path,
    "settings": {name: value for name, value in os.environ.items() if name.startswith("RECOGNIZER_")},
    "others": sorted(name for name in os.environ if not name.startswith(("RECOGNIZER_", "PYTEST_"))),
    "signals": [str(signal.getsignal(number)) for number in range(1, 32)] if not faulthandler.is_enabled() else "some",
    "threads": [thread.name for thread in threading.enumerate()],
    "open": sorted(int(each) for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}")),
    "group": os.getpgrp(),
    "streams": [[each.name, each.mode, each.encoding, each.errors, each.newlines, each.line_buffering]
                for each in (sys.stdin, sys.stdout, sys.stderr)],
}))
"""
WAIT = "import time; print('waits', flush=True); time.sleep(60)"


@pytest.fixture(params=[subprocess.Popen, template.start], ids=["started", "forked"])
def start(request):
    """Starts the statements of a Python program, in one of the two ways."""

    def start(statements: str, *words: str, **how) -> subprocess.Popen:
        how = {"cwd": template.ROOT, "text": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **how}
        made = request.param([sys.executable, "-c", statements, *words], **how)
        assert isinstance(made, template.Forked) is (request.param is template.start)
        return made

    return start


def look(start, *words: str, **how) -> dict:
    with start(LOOK, *words, **how) as process:
        said = process.communicate()[0]
    assert process.returncode == 0
    return json.loads(said)


@pytest.mark.parametrize("more", [{}, {"PYTHONFAULTHANDLER": "1"}])
def test_a_program_sees_no_difference(more):
    environ = {**os.environ, "RECOGNIZER_PORT": "1", **more}
    how = {"cwd": template.ROOT, "text": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "env": environ}
    found = []
    for start in (subprocess.Popen, template.start):
        command = [sys.executable, "-c", LOOK, "some", "words"]
        with start(command, **how) as process:
            found.append(json.loads(process.communicate()[0]))
    assert found[0] == found[1]
    assert found[1]["settings"] == {"RECOGNIZER_PORT": "1"}


@pytest.mark.parametrize(
    "statements, code",
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("import warnings; warnings.warn('why not')", 0),
        ("raise SystemExit('why')", 1),
        ("raise ValueError('why')", 1),
        ("import os; os._exit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
        ("import atexit, os; atexit.register(os._exit, 9)", 9),
        ("import threading, os; threading.Thread(target=lambda: os._exit(5)).start()", 5),
    ],
)
def test_exit_codes(start, statements, code):
    with start(statements, stderr=subprocess.PIPE) as process:
        errors = process.communicate()[1]
    assert process.returncode == code
    assert ("why" in errors) == ("why" in statements)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals(start, number):
    with start(WAIT, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == "waits\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(60) == process.poll() == -number
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    process.send_signal(number)  # which reaches nobody


def test_streams(start, tmp_path):
    statements = "import sys; print('read', sys.stdin.read()); print('wrong', file=sys.stderr)"
    with (tmp_path / "log").open("ab") as log:
        log.write(b"before\n")
        log.flush()
        with start(statements, stdin=subprocess.PIPE, stdout=log, stderr=log) as process:
            process.communicate("what is written\n")
    said = (tmp_path / "log").read_text().splitlines()
    assert said[0] == "before" and sorted(said[1:]) == ["", "read what is written", "wrong"]


def test_children_that_run_at_once_are_told_apart(start):
    running = [start("import sys; raise SystemExit(int(input()))", stdin=subprocess.PIPE) for _ in range(5)]
    for number, process in reversed(list(enumerate(running))):
        process.communicate(f"{number}\n")
    assert [process.returncode for process in running] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "words",
    [
        [sys.executable, "-m", "recognizer", "--help"],
        pytest.param([Path(sys.executable).with_name("hug"), "--help"], marks=pytest.mark.e2e),
    ],
    ids=["module", "script"],
)
def test_commands(words):
    said = []
    for start in (subprocess.Popen, template.start):
        with start(words, cwd=template.ROOT, text=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
            said.append(process.communicate()[0])
    assert isinstance(process, template.Forked)
    assert said[0] == said[1] != ""


@pytest.mark.parametrize(
    "command, how",
    [
        (["true"], {}),
        ([sys.executable, "-W", "ignore", "-c", "pass"], {}),
        ([sys.executable, "-c", "pass"], {"cwd": "/"}),
        ([sys.executable, "-c", "pass"], {"env": {**os.environ, "OMP_NUM_THREADS": "1"}}),
        ([sys.executable, "-c", "pass"], {"env": {}}),
        ([sys.executable, "-c", "pass"], {"start_new_session": True}),
    ],
)
def test_what_the_template_cannot_stand_in_for_is_started(command, how):
    with template.start(command, **{"cwd": template.ROOT, **how}) as process:
        assert process.wait() == 0
    assert type(process) is subprocess.Popen


PARENT = """
import contextlib, json, os, sys, time
parent = f"/proc/{os.getppid()}"

def opened():
    for each in os.listdir(f"{parent}/fd"):
        with contextlib.suppress(FileNotFoundError):
            if int(each) > 2:
                yield os.readlink(f"{parent}/fd/{each}").partition(":")[0]

until = time.monotonic() + 60
while (files := list(opened())) != ["socket"] and time.monotonic() < until:
    time.sleep(0.01)  # the parent is closing what it passed on
with open(f"{parent}/environ") as file:
    settings = "RECOGNIZER" in file.read()
tasks = len(os.listdir(f"{parent}/task"))
print(json.dumps({"tasks": tasks, "files": files, "settings": settings, "api": "api" in sys.modules}))
"""


def test_the_template_has_one_thread_and_no_settings(monkeypatch):
    """A fork would have half of anything else. NumPy ends its threads for it, and starts them when they are needed."""
    monkeypatch.setenv("RECOGNIZER_PORT", "1")
    found = json.loads(template.run([sys.executable, "-c", PARENT]).stdout)
    assert found == {"tasks": 1, "files": ["socket"], "settings": False, "api": False}


@pytest.mark.parametrize("name", ["OPENCV_LOG_LEVEL", "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN", "ORT_DISABLE_TELEMETRY"])
def test_what_the_application_itself_sets_in_a_process_of_tests_makes_no_difference(monkeypatch, name):
    program = [sys.executable, "-c", f"import os; print(os.environ.get({name!r}))"]
    for value in ("1", None):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
        with template.start(program, cwd=template.ROOT, text=True, stdout=subprocess.PIPE) as process:
            assert isinstance(process, template.Forked) and process.communicate()[0].strip() == str(value)


def test_it_ends_with_its_tests():
    made = template.Template()
    made.ask((0, 1, 2), words=[sys.executable, "-c", "pass"], environ=dict(os.environ))
    process = made._process
    made.close()
    assert process is not None and process.returncode == 0
    wait_for(lambda: not Path(f"/proc/{process.pid}").exists())
