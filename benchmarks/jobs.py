"""What requests wait for while a job is worked off, and how fast the job is meanwhile.

    python benchmarks/jobs.py [--against DIR] [--data DIR] [--work DIR] [--quick] [--json FILE]

One server knows 100 people. Clients send a photo (480p) to /recognize again and again, in turns without a job and beside one
that recognises thousands of photos of a folder; `ratio` compares the two in the same run. --against names another checkout,
whose server is measured in turns with this one's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import people
import report

CLIENTS = (1, 2, 4)
#: Photos of a job: more than can be processed while it is measured.
PHOTOS = 5000


def request(method: str, url: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.loads(answer.read() or b"{}")


def ask(url: str, photo: Path, clients: int, seconds: float) -> dict:
    command = [sys.executable, Path(__file__).parent / "load_client.py", f"{url}/recognize", photo, clients, seconds]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds + 600, check=True)
    return json.loads(done.stdout)


class Job:
    """A job that is running while the block does, and how many photos it has done."""

    def __init__(self, url: str, folder: Path):
        self.url, self._folder = url, folder

    def __enter__(self) -> Job:
        made = request("POST", f"{self.url}/jobs", {"operation": "recognize", "prefix": self._folder.as_uri()})
        self._job = f"{self.url}/jobs/{made['id']}"
        while not self.done():
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        request("DELETE", self._job)

    def done(self) -> int:
        told = request("GET", self._job)
        if told["state"] not in ("listing", "running"):
            raise SystemExit(f"Expected the job to last; it is {told['state']}.")
        return told["done"] + told["failed"]


def prepare(data: Path, work: Path) -> Path:
    """known_faces of 100 people, and the folder of the job's photos."""
    folder = work / "jobs"
    people.fill(folder / "known_faces", people.one_photo_each(data, 100))
    batch = folder / "batch"
    shutil.rmtree(batch, ignore_errors=True)
    batch.mkdir(parents=True)
    source = report.need(data, "people", "obama-480p.jpg")
    for number in range(PHOTOS):
        (batch / f"{number}.jpg").hardlink_to(source) if number % 1000 else shutil.copy2(source, batch / f"{number}.jpg")
        if number % 1000 == 0:
            source = batch / f"{number}.jpg"
    return folder


def measure(options, folder: Path) -> list[dict]:
    photo = report.need(options.data, "people", "obama-480p.jpg")
    checkouts = {"this": report.ROOT, **({"the other": options.against.resolve()} if options.against else {})}
    seconds, rounds = (3.0, 1) if options.quick else (8.0, options.rounds)
    times: dict[tuple, list[float]] = defaultdict(list)
    counts: dict[tuple, list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        urls = {}
        for name, checkout in checkouts.items():
            own = folder / f"state-{name.replace(' ', '-')}"
            settings = {"jobs_from": (folder / "batch").as_uri(), "state_dir": own, "workers": report.cores()}
            server = stack.enter_context(people.ours(folder, folder / "servers.log", checkout=checkout, **settings))
            urls[name] = server.url
            ask(server.url, photo, 2, 2)
        for turn in range(rounds):
            for clients in CLIENTS:
                for name in list(urls)[:: 1 if turn % 2 else -1]:
                    key = (name, clients)
                    times[(*key, "alone")] += ask(urls[name], photo, clients, seconds)["latencies_ms"]
                    with Job(urls[name], folder / "batch") as job:
                        before, begun = job.done(), time.perf_counter()
                        times[(*key, "beside")] += ask(urls[name], photo, clients, seconds)["latencies_ms"]
                        counts[key].append((job.done() - before) / (time.perf_counter() - begun))
    return [row(name, clients, times, counts) for clients in CLIENTS for name in checkouts]


def row(name: str, clients: int, times: dict, counts: dict) -> dict:
    found = {"server": name, "clients": clients}
    for share in (50, 95):
        alone, beside = (report.percentile(times[(name, clients, how)], share / 100) for how in ("alone", "beside"))
        found |= {f"p{share} ms alone": alone, f"p{share} ms beside a job": beside, f"p{share} ratio": beside / alone}
    return found | {"job, photos/s": sum(counts[(name, clients)]) / len(counts[(name, clients)])}


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--against", metavar="DIR", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = measure(options, prepare(options.data, options.work))
    report.table(rows, "Waiting times of /recognize without and beside a job; ratio is beside over alone")
    report.save(options, jobs=rows)


if __name__ == "__main__":
    main()
