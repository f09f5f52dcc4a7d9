"""The measuring scripts, as far as that goes without measuring: all take --json and --quick."""

from __future__ import annotations

import http.client
import importlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
#: Programs that other scripts start, and the one that makes the README's pictures: they measure nothing by themselves.
PARTS = {"flask_example.py", "load_client.py", "screenshots.py", "stream_clip.py", "stream_viewers.py", "webcam_example.py"}
#: Scripts say how they are called; modules do not.
SCRIPTS = sorted(
    path.name
    for path in FOLDER.glob("*.py")
    if path.name not in PARTS and re.search(rf"python benchmarks/{path.name}\b", path.read_text())
)


def test_the_scripts_are_known():
    assert {"pipeline.py", "http.py", "start.py", "search.py", "observing.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_takes_json_and_quick(name):
    source = (FOLDER / ("http_load.py" if name == "http.py" else name)).read_text()
    assert "report.parser(" in source and "report.save(" in source


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("soak")


def test_clients_of_a_long_load_keep_to_the_rate_and_make_up_for_nothing(soak):
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace, times = soak.Pace(2.0, 8, 0.5, lambda: now, sleep), []
    while pace.wait(60.0):
        times.append(now)
        sleep(9.5 if len(times) == 3 else 0.1)  # one reply takes longer than two turns
    assert times == pytest.approx([2.0, 6.0, 10.0, *(19.5 + 4 * turn for turn in range(11))])
    assert now == pytest.approx(60.0)
    free = soak.Pace(None, 8, 0.5, lambda: now, sleep)
    assert free.wait(61.0) and free.wait(61.0) and not free.wait(60.0)


@pytest.mark.parametrize("whole", [True, False])
def test_a_slow_client_sees_whether_it_gets_all_of_a_reply(soak, monkeypatch, whole):
    monkeypatch.setattr(soak, "SLOW_SECONDS", 0.0)
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)

    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.sendall((reply * soak.SLOW_REPLIES)[: None if whole else -1])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            client = soak.SlowClient(f"http://127.0.0.1:{listener.getsockname()[1]}", time.monotonic() + 60, None)
            if whole:
                assert client.ask() == "200"
            else:
                with pytest.raises(http.client.IncompleteRead):
                    client.ask()
        finally:
            thread.join()


@pytest.mark.slow
def test_the_figures_are_written_as_data(tmp_path):
    out = tmp_path / "out.json"
    command = [sys.executable, FOLDER / "observing.py", "--quick", "--json", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["observing"]
    assert {row["what"]: row["ratio"] for row in rows}["a request, not observed"] == 1
    assert done.stdout.count("|") >= 4 * len(rows)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import report

    with pytest.raises(SystemExit, match="no_such_package: .*requirements-benchmarks.txt"):
        report.need_packages("json", "no_such_package")


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("sklearn", "requirements-benchmarks.txt"),
        ("playwright", "requirements-dev.txt"),
        ("openvino", "requirements-openvino.txt"),
    ],
)
def test_a_missing_package_is_named_wherever_a_script_imports_it(package, file):
    program = f"import sys; sys.modules[{package!r}] = None; import report; import {package}"
    done = subprocess.run([sys.executable, "-c", program], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"This script also needs {package}: .venv/bin/python -m pip install -r {file}\n"


def test_any_other_error_of_a_script_keeps_its_traceback():
    program = "import report; import recognizer.no_such_module"
    done = subprocess.run([sys.executable, "-c", program], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" in done.stderr and "no_such_module" in done.stderr
