"""Requests per second and waiting times of our server, against face_recognition's Flask example.

    python benchmarks/http_load.py [--data DIR] [--work DIR] [--quick] [--json FILE] [--seconds S]

Both know the same 1,000 people, from one photo each, and get the same photo by multipart upload from 1, 4, 16 and 64
clients at once (see load_client.py). Ours is `hug -f api.py`; the example (see flask_example.py) is served as it serves
itself: a thread for each request, all sharing face_recognition's one HOG detector, though dlib lets go of the interpreter's
lock in it. A run that ends the process is counted under `crashes` and repeated. A 503 is our server's way to say that its
queue is full: counted apart, not as an answer. `health` is how long GET /health took meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import people
import report

from recognizer.enrolment.cache import EncodingsCache

PEOPLE = 1000
CLIENTS = (1, 4, 16, 64)
#: Runs that the example is given to survive one.
ATTEMPTS = 4


def prepare(data: Path, work: Path, count: int) -> Path:
    """A folder with known_faces, the state that our server made of it, and the Flask example's gallery."""
    folder = work / f"people-{count}"
    people.fill(folder / "known_faces", people.one_photo_each(data, count))
    return folder


def gallery_for_flask(folder: Path) -> Path:
    """face_recognition's own encodings of the same people: the first half of what our server's joined engine kept."""
    cache = EncodingsCache(folder / "state" / "encodings.sqlite")
    kept = [each for each in cache.encodings("yunet+dlib+sface/" + _revision()).values() if each.vector is not None]
    cache.close()
    if not kept:
        raise SystemExit("Expected our server to have encoded the people with its default engine.")
    file = folder / "gallery.npy"
    np.save(file, np.array([each.vector[:128] for each in kept]))
    return file


def _revision() -> str:
    from recognizer.engines import REVISIONS

    return str(REVISIONS["dlib+sface"])


def ask(url: str, photo: Path, clients: int, seconds: float, probe: str | None) -> dict:
    command = [sys.executable, Path(__file__).parent / "load_client.py", url, photo, clients, seconds]
    if probe:
        command += ["--probe", probe]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds + 600)
    if done.returncode:
        raise SystemExit(f"The client failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def row(server: str, size: str, clients: int, found: dict) -> dict:
    statuses, latencies, probes = dict(found["statuses"]), found["latencies_ms"], found["probes_ms"]
    answered, refused = statuses.pop("200", 0), statuses.pop("503", 0)
    return {
        "photo": size,
        "clients": clients,
        "server": server,
        "per second": answered / found["seconds"],
        **{f"p{share} ms": report.percentile(latencies, share / 100) for share in (50, 95, 99)},
        "answers": answered,
        "503": refused,
        "errors": ", ".join(f"{count} x {status}" for status, count in statuses.items()) or "none",
        "health p50 ms": report.percentile(probes, 0.5),
        "health p99 ms": report.percentile(probes, 0.99),
        "health errors": sum(found["probe_failures"].values()) if probes else None,
    }


def measure(options, folder: Path) -> tuple[list[dict], float | None]:
    """The rows, and our server's peak memory in MB."""
    sizes = ("480p",) if options.quick else ("480p", "1080p")
    clients = (1, 16) if options.quick else CLIENTS
    photos = {size: report.need(options.data, "people", f"obama-{size}.jpg") for size in sizes}
    seconds = options.seconds or (5 if options.quick else 15)
    log, rows = folder / "servers.log", []
    with people.ours(folder, log) as server:
        print(f"our server was ready after {server.seconds:.1f} s", file=sys.stderr)
        gallery = gallery_for_flask(folder)
        for size, photo in photos.items():
            ask(f"{server.url}/recognize", photo, 2, 1, None)
            for count in clients:
                ours = ask(f"{server.url}/recognize", photo, count, seconds, f"{server.url}/health")
                ours = {**row("ours", size, count, ours), "crashes": int(server.ended)}
                theirs = ask_example(gallery, photo, count, seconds, log, size)
                ratio = ours["per second"] / theirs["per second"] if theirs["per second"] else None
                rows += [{**ours, "ratio": ratio}, {**theirs, "ratio": 1.0}]
        return rows, server.peak_mb


def ask_example(gallery: Path, photo: Path, clients: int, seconds: float, log: Path, size: str) -> dict:
    """The Flask example's row: of the first run that it survives, with the number of runs that it did not."""
    crashes = 0
    while True:
        with people.flask_example(gallery, log) as example:
            ask(example.url, photo, 1, 1, None)
            found = ask(example.url, photo, clients, seconds, None)
            crashes += example.ended
            if crashes == ATTEMPTS or not example.ended:
                break
    return {**row("Flask example", size, clients, found), "crashes": crashes}


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--seconds", type=float, help="how long each measurement sends photos")
    options = parser.parse_args()
    report.need_packages("flask", "face_recognition")
    folder = prepare(options.data, options.work, 100 if options.quick else PEOPLE)
    rows, memory = measure(options, folder)
    report.table(rows, "Upload to names over HTTP; ratio is our requests per second over the example's")
    if memory:
        print(f"\nPeak resident memory of our server: {memory:.0f} MB")
    report.save(options, http=rows, peak_mb=memory)


if __name__ == "__main__":
    main()
