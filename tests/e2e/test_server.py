"""`hug -f toy.py` over real sockets: requests side by side, limits, stopping and reloading."""

import contextlib
import http.client
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]
WAIT = 60
#: Streams that the toy may have open.
STREAMS = 24

TOY = """
import pathlib, time
import cv2, dlib, hug
from recognizer.http import hug_adapter, server
from recognizer.core.settings import Settings

VERSION = 1
CLOSED = []
HERE = pathlib.Path(__file__).absolute().parent
api = hug.API(__name__)

def configure(app):
    app.req_options.auto_parse_qs_csv = False

options = server.Options(Settings.from_environment(), max_body=100_000, on_stop=lambda: print("on_stop", flush=True))
hug_adapter.install(api, options, configure)

@hug.get()
def version():
    return VERSION

@hug.get()
def given(text):
    return text

def wait_for(name):
    while not (HERE / name).exists():
        time.sleep(0.02)

@hug.get()
def closed():
    return len(CLOSED)

@hug.get()
def slow(gate):
    print("slow began\\n", end="", flush=True)  # in one piece: several print at once
    wait_for(gate)
    return "done"

@hug.post()
def echo(body=None):
    return {"size": len(body or ""), "body": str(body)[:20]}

@hug.get()
def broken():
    raise RuntimeError("secret of the house")

@hug.get()
def quits():
    raise SystemExit(3)

@hug.get()
def injected(response):
    response.set_header("X-Name", "a\\r\\nX-Evil: 1")

class Stream:
    def __init__(self, last=None):
        self.count, self.last = 0, last

    def read(self, size=-1):
        time.sleep(0.02)
        self.count += 1
        if self.count == self.last:
            raise RuntimeError("camera fell over")
        return b"--frame\\r\\nContent-Type: text/plain\\r\\n\\r\\n%d\\r\\n" % self.count

    def close(self):
        CLOSED.append(self)

def motion(data, request, response):
    return data
motion.content_type = "multipart/x-mixed-replace; boundary=frame"

@hug.get(output=motion)
def stream(last: hug.types.number = 0):
    return Stream(last)
"""


# The runner starts watching, then waits a second before it serves: the change falls into that second.
EARLY_CHANGE = """
import os, threading
if not (HERE / "once").exists():
    (HERE / "once").touch()
    threading.Timer(0.5, os.utime, (__file__, (2_100_000_000, 2_100_000_000))).start()
"""


@pytest.fixture(scope="module")
def hug_command():
    command = shutil.which("hug", path=os.path.dirname(sys.executable))
    if command is None:
        pytest.skip("the hug command is not installed beside this Python")
    tried = subprocess.run([sys.executable, "-c", "import hug"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"hug cannot be imported here: {tried.stderr.strip().splitlines()[-1]}")
    return command


class Served:
    """A running `hug -f toy.py`, with what it printed."""

    def __init__(self, command, folder, *options, port=0, source=TOY, **environment):
        self.folder = folder
        self.file = folder / "toy.py"
        self.file.write_text(source)
        paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.process = subprocess.Popen(
            [command, "-f", "toy.py", "-p", str(port), *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
        )
        self.lines = []
        self._new = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as printed:
            for line in printed:
                self.lines.append(line)
                self._new.put(line)
        self._new.put(None)

    def line(self, wanted):
        """The next printed line that matches."""
        while (line := self._new.get(timeout=WAIT)) is not None:
            if re.search(wanted, line):
                return line
        raise AssertionError(f"{wanted!r} was not printed: {''.join(self.lines)}")

    def ready(self):
        line = self.line("Serving on")
        self.port = int(re.search(r":(\d+)/", line)[1])
        return line

    def get(self, path, **options):
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=WAIT, **options)

    def post(self, path, **options):
        return requests.post(f"http://127.0.0.1:{self.port}{path}", timeout=WAIT, **options)

    def connect(self, of: str = "127.0.0.1"):
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT, source_address=(of, 0))

    def said(self, request):
        """Everything that comes back for these bytes, until the server closes."""
        with self.connect() as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def until_closed(self, count):
        """Wait until that many streams were closed in all."""
        for _ in range(WAIT * 10):
            if self.get("/closed").json() >= count:
                return
            time.sleep(0.1)
        raise AssertionError(f"fewer than {count} streams were closed")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(WAIT)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(WAIT)


@pytest.fixture(scope="module")
def toy(hug_command, tmp_path_factory):
    settings = {"RECOGNIZER_HTTP_THREADS": "4", "RECOGNIZER_STREAMS": str(STREAMS)}
    with Served(hug_command, tmp_path_factory.mktemp("toy"), **settings) as served:
        served.ready()
        yield served


@pytest.fixture
def start(hug_command, tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda *options, **more: stack.enter_context(Served(hug_command, tmp_path, *options, **more))


@pytest.fixture
def running(start):
    """Like `start`, for a server that is to answer at once."""

    def run(*options, **more):
        served = start(*options, **more)
        served.ready()
        return served

    return run


def in_background(function, *arguments, **options):
    answers = queue.Queue()
    threading.Thread(target=lambda: answers.put(function(*arguments, **options)), daemon=True).start()
    return lambda: answers.get(timeout=WAIT)


def error_of(reply):
    """Status and error of a reply, which may be raw bytes."""
    if isinstance(reply, bytes):
        head, body = reply.split(b"\r\n\r\n", 1)
        return int(head.split()[1]), json.loads(body)["error"]
    assert reply.headers["Content-Type"].startswith("application/json")
    return reply.status_code, reply.json()["error"]


def test_a_slow_request_does_not_hold_up_a_quick_one(toy):
    slow = in_background(toy.get, "/slow?gate=side")
    toy.line("slow began")
    assert toy.get("/version").json() == 1
    (toy.folder / "side").touch()
    assert slow().json() == "done"


def test_streams_leave_threads_for_other_requests_and_are_closed_when_the_viewer_leaves(toy):
    before = toy.get("/closed").json()
    streams = [toy.get("/stream", stream=True) for _ in range(STREAMS)]
    pieces = [reply.iter_content(16) for reply in streams]
    assert all(next(piece).startswith(b"--frame") for piece in pieces)
    slow = [in_background(toy.get, "/slow?gate=streams") for _ in range(3)]
    for _ in slow:
        toy.line("slow began")
    assert toy.get("/version").json() == 1
    with toy.get("/stream", stream=True) as refused:
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert error_of(refused)[1]["code"] == "busy"
    (toy.folder / "streams").touch()
    assert [reply().json() for reply in slow] == ["done"] * 3
    for reply in streams:
        reply.close()
    toy.until_closed(before + STREAMS + 1)
    with toy.get("/stream", stream=True) as again:
        assert again.status_code == 200


def test_connections_that_say_nothing_take_no_thread(toy):
    idle = [toy.connect() for _ in range(100)]
    assert toy.get("/version").json() == 1
    for client in idle:
        client.close()


def test_a_stream_that_fails_midway_is_torn_not_ended(toy):
    before = toy.get("/closed").json()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        toy.get("/stream?last=3")
    toy.until_closed(before + 1)


def test_a_stream_that_fails_at_once_is_a_500(toy):
    assert error_of(toy.get("/stream?last=1"))[0] == 500


@pytest.mark.parametrize("path", ["/broken", "/quits", "/injected"])
def test_an_exception_is_a_json_500_whose_id_is_in_the_log(toy, path):
    reply = toy.get(path)
    status, error = error_of(reply)
    assert (status, error["code"]) == (500, "internal")
    assert "secret" not in reply.text and "Traceback" not in reply.text and "X-Evil" not in reply.headers
    toy.line(error["request_id"])
    assert toy.get("/version").json() == 1


def test_routes_before_and_after_the_installation_are_served_with_the_options_configured(toy):
    assert toy.get("/version").json() == 1
    assert toy.get("/given?text=http://a/b,c.jpg").json() == "http://a/b,c.jpg"


def test_the_server_header_names_no_version(toy):
    assert toy.get("/version").headers["Server"] == "recognizer"


def test_bodies_arrive_whole_with_a_length_or_in_chunks(toy):
    text = {"Content-Type": "text/plain"}
    body = "a" * 90_000
    assert toy.post("/echo", data=body, headers=text).json()["size"] == len(body)
    parts = (part.encode() for part in [body[:7], body[7:]])
    assert toy.post("/echo", data=parts, headers=text).json()["size"] == len(body)
    with requests.Session() as session:
        for _ in range(3):
            url = f"http://127.0.0.1:{toy.port}/echo"
            assert session.post(url, data=iter([b"bc", b"d"]), headers=text, timeout=WAIT).json()["body"] == "bcd"


@pytest.mark.parametrize("size", [100_001, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_a_413_that_the_client_gets_to_read(toy, size, chunked):
    body = b"a" * size
    data = (body[at : at + 10_000] for at in range(0, size, 10_000)) if chunked else body
    status, error = error_of(toy.post("/echo", data=data, headers={"Content-Type": "text/plain"}))
    assert (status, error["code"]) == (413, "body_too_large")
    assert "100000" in error["message"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("headers", [[], ["Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Expect:"]])
def test_curl_reports_no_error_of_its_own_for_too_large_a_body(toy, tmp_path, headers):
    (tmp_path / "large").write_bytes(b"a" * 3_000_000)
    options = [part for header in headers for part in ("-H", header)]
    ran = subprocess.run(
        ["curl", "-sS", "--data-binary", f"@{tmp_path}/large", *options, f"http://127.0.0.1:{toy.port}/echo"],
        capture_output=True,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout)["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    "request_bytes, status, code",
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/9.9\r\n\r\n", 505, "http_version_not_supported"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "bad_request"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 400, "bad_request"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1" + b"0" * 1_000_000, 413, "body_too_large"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not_implemented"),
        (
            b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"F" * 18 + b"\r\nab",
            413,
            "body_too_large",
        ),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n", 400, "bad_request"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
        (b"POST /echo HTTP/1.0\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", 400, "bad_request"),
        (b"GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400, "bad_request"),
        (b"GET /version HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET /version HTTP/1.1\nHost: x\n\n", 400, "bad_request"),
        (b"GET  /version HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
        (b"GET /version HTTP/01.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
        (b"GET http://x/version HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
    ],
)
def test_errors_below_the_application_are_json_too(toy, request_bytes, status, code):
    found, error = error_of(toy.said(request_bytes))
    assert (found, error["code"]) == (status, code)


def test_a_body_cut_short_does_not_reach_the_application(toy):
    with toy.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nabc")
        client.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    assert error_of(reply)[1]["code"] == "bad_request"


def test_a_client_that_drips_its_header_is_cut(toy):
    with toy.connect() as client:
        client.sendall(b"GET /version HTTP/1.1\r\n")
        client.settimeout(0.5)
        reply = b""
        for _ in range(WAIT):
            client.sendall(b"X")
            with contextlib.suppress(TimeoutError):
                reply = client.recv(65536)
                break
    assert error_of(reply) == (408, {"code": "request_timeout", "message": "the request came too slowly"})


@pytest.mark.parametrize(
    "sent", [b"GET /version HTTP/1.1\r\nX", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na"]
)
def test_clients_that_dawdle_cannot_take_all_threads(running, sent):
    source = "import recognizer.http.connections as c\nc.HEADER_SECONDS = c.BODY_SECONDS = 5.0\n" + TOY
    served = running(source=source)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(250)]  # there are 160 threads
        for client in clients:
            client.sendall(sent)
        assert served.get("/version").json() == 1
        first = clients[0].recv(65536)
        assert error_of(first)[1]["code"] == "request_timeout"


@pytest.mark.parametrize("announced", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_client_that_stops_in_the_middle_of_its_body_is_cut(running, announced):
    source = "import recognizer.http.connections\nrecognizer.http.connections.BODY_SECONDS = 0.5\n" + TOY
    served = running(source=source)
    with served.connect() as client:
        client.sendall(f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n{announced}\r\n\r\nab".encode())
        if "chunked" in announced:
            client.sendall(b"5\r\nab")
        client.settimeout(WAIT)
        status, error = error_of(client.recv(65536))
    assert (status, error["code"]) in ((408, "request_timeout"), (400, "bad_request"))
    assert served.get("/version").json() == 1


def turned_away(client) -> str:
    """What a connection that the server has no room for is told."""
    with client:
        client.settimeout(WAIT)
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    status, error = error_of(reply)
    assert status == 503 and error["code"] == "busy" and b"Retry-After: 1" in reply
    return error["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine")
def test_more_connections_than_are_held_are_turned_away_and_the_others_are_served(running):
    served = running(source="import recognizer.http.wsgi\nrecognizer.http.wsgi.MAX_CONNECTIONS = 20\n" + TOY)
    held = [served.connect() for _ in range(15)]
    for _ in range(3):
        assert "from your address" in turned_away(served.connect())
    held += [served.connect("127.0.0.2") for _ in range(5)]
    for address in ("127.0.0.1", "127.0.0.2"):
        assert "too many connections are open;" in turned_away(served.connect(address))
    for client in (held[0], held[-1]):
        client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    for client in held:
        client.close()
    until = time.monotonic() + WAIT
    while True:  # once they have gone, there is room again
        with contextlib.suppress(requests.exceptions.JSONDecodeError, requests.ConnectionError):
            if served.get("/version").status_code == 200:
                break
        assert time.monotonic() < until
        time.sleep(0.05)


def test_too_large_a_body_is_refused_before_it_is_read(toy):
    with toy.connect() as client:
        client.settimeout(WAIT)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100001\r\n\r\n")
        assert error_of(client.recv(65536))[1]["code"] == "body_too_large"  # though not one byte of it was sent


def test_listens_on_this_machine_only_unless_told_otherwise(start):
    line = start().ready()
    assert "http://127.0.0.1:" in line and "this machine only" in line and "RECOGNIZER_HOST" in line
    served = start("-ho", "0.0.0.0")
    line = served.ready()
    assert f"http://0.0.0.0:{served.port}/" in line and "this machine only" not in line
    assert not any("EMBRACE" in printed for printed in served.lines)
    assert served.get("/version").json() == 1


def test_a_port_in_use_is_one_sentence_and_status_1(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = start(port=taken.getsockname()[1])
        assert served.process.wait(WAIT) == 1
        served.line(f"Port {taken.getsockname()[1]} on 127.0.0.1 is in use")
        served.line("on_stop")
    assert not any("Traceback" in printed for printed in served.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_running_request_finish_and_exits_0(running, number):
    served = running()
    idle, kept = served.connect(), requests.Session()
    assert kept.get(f"http://127.0.0.1:{served.port}/version", timeout=WAIT).json() == 1
    watched = served.get("/stream", stream=True)
    pieces = watched.iter_content(16)
    assert next(pieces)
    slow = in_background(served.get, "/slow?gate=stop")
    served.line("slow began")
    served.process.send_signal(number)
    for _ in pieces:
        pass  # It ends, and ends cleanly.
    assert served.process.poll() is None
    (served.folder / "stop").touch()
    assert slow().json() == "done"
    assert served.process.wait(WAIT) == 0
    served.line("on_stop")
    assert not any("Traceback" in printed for printed in served.lines)
    idle.close()
    kept.close()


def test_a_second_ctrl_c_ends_at_once(running):
    served = running()
    with served.connect() as client:
        client.sendall(b"GET /slow?gate=never HTTP/1.1\r\nHost: x\r\n\r\n")
        served.line("slow began")
        while served.process.poll() is None:  # again and again, as who is impatient does
            served.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                served.process.wait(0.2)
        assert served.process.returncode == 128 + signal.SIGINT
    assert "on_stop\n" not in served.lines


def test_requests_that_never_finish_do_not_hold_up_the_stop_for_ever(running):
    served = running()
    with served.connect() as client:
        client.sendall(b"GET /slow?gate=never HTTP/1.1\r\nHost: x\r\n\r\n")
        served.line("slow began")
        assert served.end() == 0
    served.line("on_stop")


# A thread that finalisation would wait for, as it cuts off others in the middle of native code, which then aborts.
STILL_WORKING = """
import atexit, threading
atexit.register(lambda: print("atexit", flush=True))
threading.Thread(target=wait_for, args=("never",), daemon=False).start()
"""


def test_threads_that_still_work_are_neither_waited_for_nor_cut_off(running):
    served = running(source=TOY + STILL_WORKING)
    assert served.end() == 0
    served.line("on_stop")
    served.line("atexit")
    assert not any("work still running" in printed for printed in served.lines)


def change(served, old, new):
    text = served.file.read_text()
    fresh = served.file.with_suffix(".new")
    fresh.write_text(text.replace(old, new))
    fresh.replace(served.file)


def test_a_changed_file_is_served_from_the_same_port_and_no_request_is_refused(running):
    served = running()
    process, port = served.process.pid, served.port
    change(served, "VERSION = 1", "VERSION = 2")
    answers = []
    while 2 not in answers:
        answers.append(served.get("/version").json())
        assert len(answers) < 10_000
        time.sleep(0.02)
    assert set(answers) == {1, 2}
    served.ready()
    assert (served.process.pid, served.port) == (process, port)
    change(served, "VERSION = 2", "VERSION = 3")
    served.ready()
    assert served.get("/version").json() == 3
    assert served.end() == 0


def test_connections_without_a_request_are_served_by_the_process_after_a_reload(running):
    served = running(source="import recognizer.http.connections\nrecognizer.http.connections.IDLE_SECONDS = 600.0\n" + TOY)
    new, kept = [http.client.HTTPConnection("127.0.0.1", served.port, timeout=WAIT) for _ in range(2)]
    with contextlib.closing(new), contextlib.closing(kept):
        for client in (new, kept):
            client.connect()
            client.auto_open = 0  # it does not connect again
        kept.request("GET", "/version")
        assert json.load(kept.getresponse()) == 1
        change(served, "VERSION = 1", "VERSION = 2")
        served.ready()
        for client in (new, kept):
            client.request("GET", "/version")
            assert json.load(client.getresponse()) == 2
    assert served.end() == 0


def test_streams_do_not_hold_up_a_reload_and_end_with_it(running):
    served = running()
    streams = [served.get("/stream", stream=True) for _ in range(5)]
    pieces = [reply.iter_content(16) for reply in streams]
    assert all(next(piece).startswith(b"--frame") for piece in pieces)
    change(served, "VERSION = 1", "VERSION = 2")
    served.ready()
    assert served.get("/version").json() == 2
    for piece in pieces:
        with contextlib.suppress(requests.exceptions.ChunkedEncodingError):
            for _ in piece:
                pass
    assert served.end() == 0


def test_a_syntax_error_keeps_the_old_version_until_it_is_mended(running):
    served = running()
    change(served, "VERSION = 1", "VERSION = = 2")
    assert "toy.py, line 7" in served.line("cannot be read as Python")
    assert served.get("/version").json() == 1
    change(served, "VERSION = = 2", "VERSION = 2")
    served.ready()
    assert served.get("/version").json() == 2
    served.file.rename(served.folder / "gone.py")
    served.line("cannot be read .*No such file")
    assert served.get("/version").json() == 2
    (served.folder / "gone.py").rename(served.file)
    assert served.end() == 0


def test_a_change_in_the_first_second_does_not_end_the_process(running):
    served = running(source=TOY + EARLY_CHANGE)
    served.ready()
    assert served.get("/version").json() == 1
    assert served.end() == 0
