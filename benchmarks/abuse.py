"""What one request can cost the server at most, by way in; and whether it answers probes while clients do their worst.

    python benchmarks/abuse.py [--quick] [--json FILE]

Each request goes to a server with default settings and nobody enrolled, alone. `s` is the processor time of the server and the
processes that it started, `MB` how much its memory grew at most; both of the worst of three. Then 290 clients hold
connections open in one way each, and `/health/live` is asked for ten times a second: the longest and the median reply.

Files are put into `known_faces`, and cameras and an MQTT broker send what they like: the figures are of the seconds until a
file is listed, and of ten seconds of a camera or of a broker.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import people
import report

CLIENTS = 290
FORM, JSON, PARTS = "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=b"
#: Bytes of the large bodies: a little below the limit.
LARGE = 60_000_000


def body(head: bytes, piece: bytes, tail: bytes = b"", size: int = LARGE) -> bytes:
    return head + piece * (size // len(piece)) + tail


def part(name: str, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()


def picture(kind: str) -> bytes:
    """A photo of one colour, with as many pixels as are allowed."""
    from PIL import Image

    from recognizer.core.settings import Settings

    side = min(int(Settings().max_image_pixels ** 0.5), 16_000)
    out = io.BytesIO()
    Image.MAX_IMAGE_PIXELS = None
    Image.new("L" if kind == "PNG" else "RGB", (side, side), 127).save(out, kind)
    return out.getvalue()


#: Way in, what is sent, path, content type and a maker of the body.
REQUESTS: list[tuple[str, str, str, str, Callable[[], bytes]]] = [
    ("form", "a URL of '%'", "/recognize", FORM, lambda: body(b"image_url=", b"%")),
    ("form", "base64 of '%'", "/recognize", FORM, lambda: body(b"image_base64=", b"%")),
    ("form", "base64, all percent-encoded", "/recognize", FORM, lambda: body(b"image_base64=", b"%41")),
    ("form", "base64 of '+'", "/recognize", FORM, lambda: body(b"image_base64=", b"+")),
    ("form", "fields without end", "/recognize", FORM, lambda: body(b"", b"a=&")),
    ("form", "one name", "/recognize", FORM, lambda: body(b"", b"a")),
    ("multipart", "parts without end", "/recognize", PARTS, lambda: body(b"", part("a") + b"\r\n")),
    ("multipart", "headers without end", "/recognize", PARTS, lambda: body(b"--b\r\n", b"X: y\r\n")),
    ("multipart", "a text", "/recognize", PARTS, lambda: body(part("top_k"), b"a", b"\r\n--b--\r\n")),
    ("multipart", "nearly boundaries", "/recognize", PARTS, lambda: body(part("file", '; filename="a"'), b"\r\n--")),
    ("multipart", "base64", "/recognize", PARTS, lambda: body(part("image_base64"), b"A", b"\r\n--b--\r\n")),
    ("JSON", "30 million numbers", "/recognize", JSON, lambda: body(b'{"a":[', b"1,", b"1]}")),
    ("JSON", "20 million lists", "/recognize", JSON, lambda: body(b'{"a":[', b"[],", b"1]}")),
    ("JSON", "nested lists", "/recognize", JSON, lambda: body(b"", b"[")),
    ("JSON", "one number", "/recognize", JSON, lambda: body(b'{"top_k":', b"1", b"}")),
    ("JSON", "one name", "/recognize", JSON, lambda: body(b'{"', b"a", b'":1}')),
    ("JSON", "base64", "/recognize", JSON, lambda: body(b'{"image_base64":"', b"A", b'"}')),
    ("JSON", "base64 beside an emoji", "/recognize", JSON, lambda: body('{"a":"😀","image_base64":"'.encode(), b"A", b'"}')),
    ("JSON", "base64 with escapes", "/recognize", JSON, lambda: body(b'{"image_base64":"', b"A\\n", b'"}')),
    ("JSON", "emojis for base64", "/recognize", JSON, lambda: body(b'{"image_base64":"', "😀".encode(), b'"}')),
    ("raw body", "text", "/recognize", "text/plain", lambda: body(b"", b"hello world ")),
    ("raw body", "a JPEG of the most pixels", "/recognize", "image/jpeg", lambda: picture("JPEG")),
    ("raw body", "a PNG of the most pixels", "/recognize", "image/png", lambda: picture("PNG")),
    ("raw body", "where no photo is taken", "/session", "text/plain", lambda: body(b"", b"hello world ")),
    ("query", "60 kB of '%'", "/people?search=" + "%" * 60_000, "", bytes),
    ("query", "20,000 names", "/people?" + "a&" * 20_000, "", bytes),
    ("headers", "60 kB in one", "/people", "a" * 60_000, bytes),
    (
        "names",
        "30,000 combining marks",
        "/enroll",
        JSON,
        lambda: json.dumps({"subject": "a" + "\u0301\u0323" * 5_000}).encode(),
    ),
    ("names", "a path of 60 kB", "/people/" + "%CC%81" * 10_000, "", bytes),
    ("URLs", "60 kB", "/recognize", JSON, lambda: json.dumps({"image_url": "http://" + "a." * 30_000}).encode()),
    ("URLs", "60 kB of brackets", "/recognize", JSON, lambda: json.dumps({"image_url": "http://[" * 7_000}).encode()),
    ("URLs", "60 kB of a camera", "/cameras", JSON, lambda: json.dumps({"source": "rtsp://" + "%25" * 10_000}).encode()),
]

_TO_RECOGNIZE = b"POST /recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
WORST: dict[str, bytes] = {
    "a body that stops": _TO_RECOGNIZE + b"Content-Length: 63000000\r\n\r\n\xff\xd8\xff",
    "chunks that stop": _TO_RECOGNIZE + b"Transfer-Encoding: chunked\r\n\r\n1000\r\nabc",
    "a head that stops": b"GET /people HTTP/1.1\r\nHost: loc",
    "refused, side kept open": b"POST /recognize HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 63000000\r\n\r\nabc",
    "malformed heads": b"\x16\x03\x01 nonsense\r\n\r\n",
    "replies that are not read": b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40,
    "photos in base64, 300 kB": _TO_RECOGNIZE.replace(b"image/jpeg", JSON.encode())
    + b"Content-Length: 300020\r\n\r\n"
    + b'{"image_base64":"'
    + base64.b64encode(bytes(225_000))
    + b'"}\n',
}


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def seconds(pid: int) -> float:
    """Processor time of a process and all that it started, living or not."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(ticks) for ticks in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def memory(pid: int, name: str) -> float:
    """MB of a process and all that it started: `VmRSS` now, `VmHWM` at most since `forget_peak`."""
    total = 0.0
    for each in family(pid):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
            total += int(next(line for line in lines if line.startswith(name)).split()[1]) / 1000
    return total


def forget_peak(pid: int) -> None:
    for each in family(pid):
        with contextlib.suppress(OSError):
            Path(f"/proc/{each}/clear_refs").write_text("5")


def cost(served, path: str, kind: str, data: bytes) -> tuple[float, float, int]:
    """Processor seconds, MB and status of one request."""
    pid, port = served.process.pid, int(served.url.rpartition(":")[2])
    method = "POST" if data or path in ("/recognize", "/enroll", "/session", "/cameras") else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
    forget_peak(pid)
    begun, before = seconds(pid), memory(pid, "VmRSS")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(300)
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + b"Connection: close\r\n\r\n" + data)
        reply = client.recv(65536)
        with contextlib.suppress(OSError):
            while client.recv(65536):
                pass
    return seconds(pid) - begun, memory(pid, "VmHWM") - before, int(reply[9:12] or 0)


def one_by_one(served, rounds: int) -> list[dict]:
    rows = []
    for way, what, path, kind, make in REQUESTS:
        data = make()
        found = [cost(served, path, kind, data) for _ in range(rounds)]
        rows.append(
            {
                "way in": way,
                "what": what,
                "sent, kB": round((len(data) + len(path) + len(kind)) / 1000),
                "status": found[0][2],
                "s": max(each[0] for each in found),
                "MB": round(max(each[1] for each in found)),
            }
        )
    return rows


# -- files, cameras and brokers ---------------------------------------------------------------------------------------


def template(rest: bytes) -> bytes:
    return b'{"recognizer_template": 1,"photo":"' + b"0" * 32 + b'",' + rest


#: What is put into the folder of a person, under which name.
FILES: list[tuple[str, str, Callable[[], bytes]]] = [
    ("a JPEG of the most pixels", "a.jpg", lambda: picture("JPEG")),
    ("a PNG of the most pixels", "a.png", lambda: picture("PNG")),
    ("zeros, 200 MB", "a.jpg", lambda: bytes(200_000_000)),
    ("text that begins as a JPEG", "a.jpg", lambda: body(b"\xff\xd8\xff", b"hello world ", size=19_000_000)),
    ("a template of 6 million lists", "a.face", lambda: template(body(b'"a":[', b"[],", b"1]}", size=19_000_000))),
    ("a template, nested", "a.face", lambda: template(b'"a":' + b"[" * 19_000_000)),
    ("a note of consent of 6 million lists", ".consent.json", lambda: body(b'{"consent":[', b"[],", b"1]}", size=19_000_000)),
]

_MJPEG = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"
_PART = b"--b\r\nContent-Type: image/jpeg\r\n"
#: What a camera sends once, and again and again.
CAMERAS: list[tuple[str, bytes, Callable[[], bytes]]] = [
    ("JPEGs of the most pixels", _MJPEG, lambda: _PART + b"\r\n" + picture("JPEG") + b"\r\n"),
    ("a JPEG without an end", _MJPEG + _PART + b"\r\n\xff\xd8\xff", lambda: b"a" * 65536),
    ("a part's head without an end", _MJPEG + _PART, lambda: b"X: y\r\n" * 8192),
    ("a head without an end", b"HTTP/1.1 200 OK\r\n", lambda: b"X: y\r\n" * 8192),
    ("no boundary", _MJPEG, lambda: b"a" * 65536),
]
#: What a broker answers to the connection, and sends again and again: acknowledged, then a message of 256 MB.
BROKERS: list[tuple[str, bytes, Callable[[], bytes]]] = [
    ("a message of 256 MB", b"\x20\x02\x00\x00\x30\xff\xff\xff\x7f\x00\x01a", lambda: b"a" * 65536),
    ("small messages", b"\x20\x02\x00\x00", lambda: b"\x30\x05\x00\x01a\x00b" * 8192),
]


@contextlib.contextmanager
def sending(once: bytes, again: bytes) -> Iterator[int]:
    """A port where everybody who connects is sent this; the port."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(1)
            connection.recv(65536)
            connection.sendall(once)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.send(again)

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def measured(pid: int, rows: list[dict], way: str, what: str, sent: int | None) -> Iterator[dict]:
    forget_peak(pid)
    begun, before = seconds(pid), memory(pid, "VmRSS")
    row: dict = {"way in": way, "what": what, "sent, kB": sent, "status": None}
    yield row
    rows.append(row | {"s": seconds(pid) - begun, "MB": round(memory(pid, "VmHWM") - before)})


def files(served, known_faces: Path) -> list[dict]:
    """Each file in a folder of its own, until the server has looked at it."""
    import requests

    rows: list[dict] = []
    for number, (what, name, make) in enumerate(FILES):
        data, folder = make(), known_faces / f"Person {number}"
        (known_faces.parent / "new").write_bytes(data)
        folder.mkdir()
        marker = name if name != ".consent.json" else "b.jpg"
        (folder / marker).write_bytes(b"no photo") if marker != name else None
        with measured(served.process.pid, rows, "files", what, len(data) // 1000) as row:
            (known_faces.parent / "new").rename(folder / name)
            until, path = time.monotonic() + 120, f"{folder.name}/{marker}"
            while time.monotonic() < until and row["status"] is None:
                time.sleep(0.2)
                problems = requests.get(f"{served.url}/people", timeout=120).json()["problems"]
                row["status"] = next((each["code"] for each in problems if each["file"] == path), None)
    return rows


def cameras(served, lasts: float) -> list[dict]:
    import requests

    rows: list[dict] = []
    for what, once, again in CAMERAS:
        data = again()
        with sending(once, data) as port:
            source = {"source": f"http://127.0.0.1:{port}/", "name": what, "always": True}
            with measured(served.process.pid, rows, "camera", what, None) as row:
                made = requests.post(f"{served.url}/cameras", json=source, timeout=60).json()["id"]
                time.sleep(lasts)
                row["status"] = requests.get(f"{served.url}/cameras/{made}", timeout=60).json()["state"]["name"]
            requests.delete(f"{served.url}/cameras/{made}", timeout=60).raise_for_status()
    return rows


def brokers(folder: Path, lasts: float) -> list[dict]:
    rows: list[dict] = []
    for what, once, again in BROKERS:
        with sending(once, again()) as port, people.ours(folder, folder / "log", mqtt_url=f"mqtt://127.0.0.1:{port}") as served:
            with measured(served.process.pid, rows, "MQTT", what, None):
                time.sleep(lasts)
    return rows


def probe(url: str, until: float) -> list[float]:
    """How long each of the replies of /health/live took, in seconds."""
    import requests

    took = []
    while time.monotonic() < until:
        begun = time.monotonic()
        requests.get(f"{url}/health/live", timeout=120).raise_for_status()
        took.append(time.monotonic() - begun)
        time.sleep(0.1)
    return took


def besieged(served, sent: bytes, lasts: float) -> list[float]:
    """The probe's times while clients hold their connections; each that is closed is opened anew."""
    port, over = int(served.url.rpartition(":")[2]), threading.Event()

    def client() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", port))
                connection.sendall(sent)
                while not over.wait(2.0):
                    connection.send(b"a")
            over.wait(0.5)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    try:
        return probe(served.url, time.monotonic() + lasts)
    finally:
        over.set()
        for each in clients:
            each.join()


def main() -> None:
    options = report.parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "known_faces").mkdir()
        lasts = 4.0 if options.quick else 10.0
        with people.ours(Path(folder), Path(folder) / "log", camera_allow="127.0.0.1") as served:
            costs = one_by_one(served, 1 if options.quick else 3)
            costs += files(served, Path(folder) / "known_faces")
            costs += cameras(served, lasts)
            report.table(costs, "What one request costs at most")
            waits = []
            for what, sent in WORST.items():
                took = besieged(served, sent, 4.0 if options.quick else 20.0)
                waits.append({"290 clients": what, "longest, s": max(took), "median, s": statistics.median(took)})
            report.table(waits, "/health/live while clients do their worst")
        costs += (more := brokers(Path(folder), lasts))
        report.table(more, "What a broker costs")
    report.save(options, costs=costs, waits=waits)


if __name__ == "__main__":
    main()
