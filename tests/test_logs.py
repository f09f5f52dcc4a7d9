"""Logs: one object per line, readable on a terminal, the request's id, and nothing secret."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recognizer.core import logs
from recognizer.core.pool import Pool

ROOT = Path(__file__).resolve().parents[1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def written():
    """Configure logs and give the stream; everything is as it was afterwards."""
    root, own = logging.getLogger(), logging.getLogger("recognizer")
    before = (list(root.handlers), root.level, own.level, sys.excepthook, threading.excepthook)

    def configure(kind="json", level="info", stream=None):
        stream = stream or io.StringIO()
        logs.configure(kind, level, stream)
        return stream

    yield configure
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])
    sys.excepthook, threading.excepthook = before[3:]


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_is_one_object(written):
    stream = written()
    logging.getLogger("recognizer.test").info("two\nlines and %s", "ünïcode \x1b[31m")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("recognizer.test").exception("failed")
    first, second = lines(stream)
    assert first["message"] == "two\nlines and ünïcode \x1b[31m"
    assert (first["level"], first["logger"]) == ("info", "recognizer.test")
    assert first["time"].endswith("Z") and "T" in first["time"]
    assert second["level"] == "error" and "ZeroDivisionError" in second["exception"]


def test_auto_is_text_on_a_terminal_and_json_elsewhere(written):
    stream = written("auto", stream=Terminal())
    logging.getLogger("recognizer").warning("beware of \x1b[31m and\nlines")
    line = stream.getvalue()
    assert "warning beware of \\x1b[31m and\\nlines" in line and line.count("\n") == 1
    stream = written("auto")
    logging.getLogger("recognizer").warning("beware")
    assert lines(stream)[0]["message"] == "beware"


def test_configuring_again_replaces(written):
    old, new = written(), written()
    logging.getLogger("recognizer").info("once")
    assert not old.getvalue() and len(lines(new)) == 1


def test_levels(written):
    stream = written(level="warning")
    logging.getLogger("recognizer").info("quiet")
    assert not stream.getvalue()
    stream = written(level="debug")
    logging.getLogger("recognizer").debug("loud")
    logging.getLogger("another.package").info("quiet")
    assert [line["message"] for line in lines(stream)] == ["loud"]


def test_the_requests_id_stands_in_its_lines_also_on_the_threads_that_work_for_it(written):
    stream, pool = written(), Pool(2, 8)

    def ask(number):
        logs.current_request.set(f"id-{number}")
        pool.run_inference(logging.getLogger("recognizer.work").info, "work %d", number)
        logs.current_request.set(None)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(20)))
    pool.close()
    logging.getLogger("recognizer").info("none")
    found = {line["message"]: line.get("request_id") for line in lines(stream)}
    assert found == {f"work {n}": f"id-{n}" for n in range(20)} | {"none": None}


@pytest.mark.parametrize("given", ["abc-1", "0f3a9c1e-77d2-4b6f-9d1e-2a8b7c6d5e4f", "A.b_c", "x" * 64])
def test_a_sane_request_id_is_taken(given):
    assert logs.request_id({"HTTP_X_REQUEST_ID": given}) == given


@pytest.mark.parametrize("given", ["", " ", "x" * 65, "a b", "a\nb", 'a"b', "<script>", "é", "-rf", "../x", "a;b"])
def test_others_are_replaced(given):
    made = logs.request_id({"HTTP_X_REQUEST_ID": given})
    assert made != given and len(made) == 12 and made != logs.request_id({})


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("rtsp://admin:hunter2@10.0.0.5/stream is lost", ["admin", "hunter2"]),
        ("http://us%40r:p%2Fss@h/x and https://other:word@h2/", ["us%40r", "p%2Fss", "other", "word"]),
        ("http://u:p@ss@host/x", ["p@ss", "u:"]),
        ("GET /a?api_key=hunter2&x=1", ["hunter2"]),
        ("https://h/a?token=hunter2", ["hunter2"]),
        ("X-Amz-Signature=hunter2", ["hunter2"]),
        ("Authorization: Bearer hunter2hunter2", ["hunter2"]),
        ("{'Authorization': 'Basic aHVudGVyMjpodW50ZXIy'}", ["aHVudGVy"]),
        ("X-Api-Key: hunter2", ["hunter2"]),
        ("Cookie: hunter2", ["hunter2"]),
        ("data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD", ["AAQSkZJRg"]),
    ],
)
def test_what_is_secret_is_left_out(written, text, secrets):
    stream = written()
    logging.getLogger("recognizer").warning("camera: %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("recognizer").exception("failed")
    for secret in secrets:
        assert secret not in stream.getvalue()
    assert "***" in stream.getvalue()


@pytest.mark.parametrize("text", ["12:30 at https://example.org/a/b@c.jpg", "author=Joe", "basic tests", "keyboard"])
def test_what_is_not_secret_stays(text):
    assert logs.redact(text) == text


def test_lines_are_bounded(written):
    stream = written()
    logging.getLogger("recognizer").info("%s", "x" * 10_000_000)
    assert len(stream.getvalue()) < 10_000


def test_an_access_line_has_the_route_and_no_path(written):
    stream = written()
    logs.log_request("GET", "/people/{person}", 404, 0.01234, 90, "subject_not_found", "/people/Joe Biden")
    logs.log_request("GET", "/health/live", 200, 0.001, 14, None, "/health/live")
    logs.log_request("GET", "/health/ready", 503, 0.001, 14, "not_ready", "/health/ready")
    first, second = lines(stream)
    assert (
        first.items()
        >= {
            "method": "GET",
            "route": "/people/{person}",
            "status": 404,
            "ms": 12.34,
            "bytes": 90,
            "error": "subject_not_found",
        }.items()
    )
    assert "Joe Biden" not in stream.getvalue()
    assert second["status"] == 503  # probes are told of only when they fail


def test_names_are_written_at_debug(written):
    stream = written(level="debug")
    logs.log_request("GET", "/people/{person}", 200, 0.01, 90, None, "/people/Joe Biden")
    assert lines(stream)[0]["path"] == "/people/Joe Biden"


def test_a_broken_stream_is_survived(written):
    stream = written()
    stream.close()
    logging.getLogger("recognizer").info("into nothing")


def test_what_nobody_caught_is_a_line_as_well():
    program = (
        "import threading; from recognizer.core import logs; logs.configure('json')\n"
        "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()\n"
        "raise KeyError('rtsp://a:hunter2@b/')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in found] == ["uncaught ZeroDivisionError", "uncaught KeyError"]
    assert done.returncode == 1 and "hunter2" not in done.stderr
