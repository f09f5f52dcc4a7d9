"""Many clients for a long time: what fails, what gets lost, how long /health takes meanwhile, and whether memory grows.

    python benchmarks/soak.py [--data DIR] [--quick] [--json FILE] [--clients 64] [--slow 0] [--seconds 600] [--rate N]

Each client, without a pause, recognises (of ten times, seven), enrols a photo of its own subject (one), deletes one of its
photos again (one) or lists people (one). With --rate, all of them together make so many requests a second. A 503 with
Retry-After says that the queue is full; the client waits as long as it says. So many of the clients as --slow says ask for
/openapi.json ten times without waiting, and take 64 kB a second of the replies; they must get the whole of each. Before and
during that, /health is asked for twenty times a second, or as often as --rate says, from a process of its own. In the end the
server is killed (`kill -9`) and started again, and everything that was acknowledged is looked for. Ratios: of /health's times
during the load over those before; of memory at the end over that after a fifth of the time. Exit status 1 says that something
was lost or that there was another 5xx.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import people
import report
from memory import resident

PROBES_PER_SECOND = 20
QUICK_SECONDS = 25
#: What a client does, drawn anew each time.
CHOICES = ("recognize",) * 7 + ("enroll", "delete", "people")
#: Bytes that a slow client takes at a time, the seconds between two times, and how many replies it asks for at once.
SLOW_BYTES, SLOW_SECONDS, SLOW_REPLIES = 16_384, 0.25, 10
#: Seconds without a request after which a client connects anew, as the server may close the connection then.
IDLE_SECONDS = 5.0


class Pace:
    """Lets one of `clients` make its share of `rate` requests a second; without a rate, it never waits.

    A client that is behind makes up for nothing: it goes on at the same rate.
    """

    def __init__(
        self,
        rate: float | None,
        clients: int,
        first: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._interval = clients / rate if rate else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = clock() + first * self._interval

    def wait(self, until: float) -> bool:
        """Wait for the client's turn; False if that comes after `until`, to which it then waits."""
        now = self._clock()
        self._sleep(max(0.0, min(self._next, until) - now))
        late = self._next >= until or now >= until
        self._next = max(self._next, now) + self._interval
        return not late


def probe(url: str, seconds: float, rate: float = PROBES_PER_SECOND) -> tuple[list[float], Counter]:
    """Milliseconds that each GET /health took, and how often it was answered with anything but 200."""
    took, failed = [], Counter()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    until = time.monotonic() + seconds
    while (begin := time.monotonic()) < until:
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failed[str(answer.status)] += 1
        except (OSError, http.client.HTTPException) as error:
            failed[type(error).__name__] += 1
            connection.close()
        took.append(1000 * (time.monotonic() - begin))
        time.sleep(max(0.0, 1 / rate - (time.monotonic() - begin)))
    return took, failed


def variant(photo: bytes, number: int) -> bytes:
    """The same picture as another photo: a JPEG comment makes it so."""
    comment = f"photo {number}".encode()
    return photo[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + photo[2:]


class Client(threading.Thread):
    """One client; owns its subject, whose photos are in `there` when the server acknowledged them."""

    def __init__(self, number: int, url: str, photo: bytes, until: float, pace: Pace):
        super().__init__(daemon=True)
        self.subject, self.photo, self.until, self.pace = f"Client {number}", photo, until, pace
        self.number, self.random = number * 1_000_000, random.Random(number)
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=300)
        self.asked = time.monotonic()
        self.there: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.latencies: list[float] = []

    def run(self):
        while self.pace.wait(self.until):
            {"recognize": self.recognize, "enroll": self.enroll, "delete": self.delete, "people": self.people}[
                self.random.choice(CHOICES)
            ]()

    def recognize(self):
        begin = time.monotonic()
        if self.ask("recognize", "POST", "/recognize", self.photo) == 200:
            self.latencies.append(1000 * (time.monotonic() - begin))

    def enroll(self):
        self.number += 1
        photo = variant(self.photo, self.number)
        path = f"/enroll?force=true&subject={self.subject.replace(' ', '%20')}"
        if self.ask("enroll", "POST", path, photo) == 201:
            self.there.add(sha256(photo).hexdigest()[:32])

    def delete(self):
        if self.there:
            photo = self.random.choice(sorted(self.there))
            if self.ask("delete", "DELETE", f"/people/{self.subject.replace(' ', '%20')}/photos/{photo}") == 200:
                self.there.discard(photo)

    def people(self):
        self.ask("people", "GET", "/people?limit=20")

    def ask(self, what: str, method: str, path: str, body: bytes | None = None) -> int | None:
        if time.monotonic() - self.asked > IDLE_SECONDS:
            self.connection.close()
        self.asked = time.monotonic()
        try:
            self.connection.request(method, path, body, {"Content-Type": "image/jpeg"} if body else {})
            answer = self.connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            self.counts[f"{what} {type(error).__name__}"] += 1
            return None
        wait = answer.headers.get("Retry-After")
        told = answer.status in (429, 503) and wait is not None
        self.counts[f"{what} {answer.status}" + ("" if told or answer.status < 500 else " without Retry-After")] += 1
        if told:
            time.sleep(int(wait))
        return answer.status


class SlowClient(threading.Thread):
    """One client that takes its replies slowly, and sees that it gets all of each."""

    def __init__(self, url: str, until: float, pace: Pace):
        super().__init__(daemon=True)
        parts = urlsplit(url)
        self.place, self.until, self.pace = (parts.hostname, parts.port), until, pace
        self.there: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.latencies: list[float] = []

    def run(self):
        while self.pace.wait(self.until):
            try:
                self.counts[f"slow {self.ask()}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.counts[f"slow {type(error).__name__}"] += 1

    def ask(self) -> str:
        """Ask for some replies at once, and take all of each, slowly. The statuses that they have, which should be one.

        Raises
        ------
        OSError, http.client.HTTPException
            `IncompleteRead` if a reply ended early.
        """
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BYTES)
            connection.settimeout(60)
            connection.connect(self.place)
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * SLOW_REPLIES)
            with connection.makefile("rb") as replies:
                statuses = {self.take(replies) for _ in range(SLOW_REPLIES)}
        return " ".join(sorted(statuses))

    def take(self, replies: BinaryIO) -> str:
        status = replies.readline(1000).split()
        left = int(http.client.parse_headers(replies).get("Content-Length", 0))
        if len(status) < 2:
            raise http.client.IncompleteRead(b"")
        while left and (piece := replies.read(min(left, SLOW_BYTES))):
            left -= len(piece)
            if time.monotonic() < self.until:  # else the rest is taken at once
                time.sleep(SLOW_SECONDS)
        if left:
            raise http.client.IncompleteRead(b"", left)
        return status[1].decode()


def soak(server: people.Running, photo: bytes, options, seconds: float, probers: ProcessPoolExecutor) -> dict:
    """Load the server, and say how that went."""
    probes = min(PROBES_PER_SECOND, options.rate or PROBES_PER_SECOND)
    idle, idle_failed = probers.submit(probe, server.url, 10 if seconds > QUICK_SECONDS else 5).result()
    until, clients = time.monotonic() + seconds, options.clients
    paces = [Pace(options.rate, clients, number / clients) for number in range(clients)]
    crowd: list[Client | SlowClient] = [SlowClient(server.url, until, pace) for pace in paces[: options.slow]]
    crowd += [Client(number, server.url, photo, until, pace) for number, pace in enumerate(paces[options.slow :])]
    probed = probers.submit(probe, server.url, seconds, probes)
    for client in crowd:
        client.start()
    memory = []
    while time.monotonic() < until:
        time.sleep(0.5)
        memory.append(resident(server.process.pid))
    for client in crowd:
        client.join()
    loaded, loaded_failed = probed.result()
    fifth = max(1, len(memory) // 5)
    return {
        "counts": sum((client.counts for client in crowd), Counter()),
        "there": {client.subject: client.there for client in crowd if isinstance(client, Client)},
        "latencies": [each for client in crowd for each in client.latencies],
        "idle": idle,
        "loaded": loaded,
        "health failures": sum((idle_failed + loaded_failed).values()),
        "memory": (statistics.median(memory[fifth : 2 * fifth] or memory), statistics.median(memory[-fifth:])),
    }


def lost(server: people.Running, there: dict[str, set[str]]) -> tuple[int, int]:
    """How many acknowledged photos are not there, and how many deleted ones are."""
    missing = too_many = 0
    for subject, photos in there.items():
        parts = urlsplit(server.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        connection.request("GET", f"/people/{subject.replace(' ', '%20')}")
        answer = connection.getresponse()
        content = json.loads(answer.read())
        found = {photo["id"] for photo in content["photos"]} if answer.status == 200 else set()
        connection.close()
        missing += len(photos - found)
        too_many += len(found - photos)
    return missing, too_many


def measure(options) -> tuple[list[dict], bool]:
    photo = report.need(options.data, "people", "obama-240p.jpg").read_bytes()
    seconds = options.seconds or (QUICK_SECONDS if options.quick else 600)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, mp_context=context) as probers:
        folder = Path(name)
        known = folder / "known_faces" / "Somebody"
        known.mkdir(parents=True)
        (known / "photo.jpg").write_bytes(photo)
        with people.ours(folder, folder / "log") as server:
            found = soak(server, photo, options, seconds, probers)
            ended = server.ended
            server.process.kill()
            server.process.wait()
        with people.ours(folder, folder / "log") as server:
            missing, too_many = lost(server, found["there"])
    return rows(found, seconds, options.clients, ended, missing, too_many)


def rows(found: dict, seconds: float, clients: int, ended: bool, missing: int, too_many: int) -> tuple[list[dict], bool]:
    counts: Counter[str] = found["counts"]
    busy = sum(count for what, count in counts.items() if what.endswith((" 503", " 429")))
    bad = {what: count for what, count in counts.items() if what.split()[1][0] == "5" and not what.endswith((" 503", " 507"))}
    bad |= {what: count for what, count in counts.items() if not what.split()[1].isdigit()}
    p99 = {when: report.percentile(found[when], 0.99) for when in ("idle", "loaded")}
    p50 = {when: report.percentile(found[when], 0.5) for when in ("idle", "loaded")}
    before, after = found["memory"]

    def row(what, value, ratio=None):
        return {"what": what, "value": value, "ratio": ratio}

    table = [
        row(f"requests by {clients} clients in {seconds:.0f} s", sum(counts.values())),
        *(row(f"answered {what}", count) for what, count in sorted(counts.items())),
        row("turned away with Retry-After", busy),
        row("other 5xx, and broken connections", sum(bad.values())),
        row("/recognize p50 ms", report.percentile(found["latencies"], 0.5)),
        row("/recognize p99 ms", report.percentile(found["latencies"], 0.99)),
        row("/health p50 ms, idle", p50["idle"], 1.0),
        row("/health p50 ms, loaded", p50["loaded"], p50["loaded"] / p50["idle"]),
        row("/health p99 ms, idle", p99["idle"], 1.0),
        row("/health p99 ms, loaded", p99["loaded"], p99["loaded"] / p99["idle"]),
        row("/health failures", found["health failures"]),
        row("memory MB, after a fifth of the time", before, 1.0),
        row("memory MB, at the end", after, after / before),
        row("enrolments that should be there after kill -9", sum(map(len, found["there"].values()))),
        row("of these lost", missing),
        row("deleted photos that came back", too_many),
        row("ended by itself", int(ended)),
    ]
    return table, not (bad or missing or too_many or ended or found["health failures"])


def main() -> None:
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--slow", type=int, default=0, help="how many of the clients take their replies slowly")
    parser.add_argument("--seconds", type=float, help=f"instead of 600, or {QUICK_SECONDS} with --quick")
    parser.add_argument("--rate", type=float, help="requests a second of all clients together; as many as possible without it")
    options = parser.parse_args()
    table, well = measure(options)
    report.table(table, "Under load for a long time")
    report.save(options, soak=table)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
