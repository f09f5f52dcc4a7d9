"""Sends one photo again and again from several clients at once, and says how that went, as JSON.

    python benchmarks/load_client.py URL PHOTO CLIENTS SECONDS [--probe URL] [--most N]

Every client keeps its connection where the server does, and sends the next photo when the last answer is read. No request
is begun after SECONDS or beyond N; those under way are waited for. Meanwhile --probe is asked for ten times a second.
A process of its own, so that it shares no interpreter with what it measures.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import secrets
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT = 180.0


def form(photo: bytes, name: str = "file") -> tuple[bytes, str]:
    """A multipart body with the photo as the field `name`, and its content type."""
    mark = secrets.token_hex(16)
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return head.encode() + photo + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


class Asker:
    """One client's connection; `ask` gives the status, or the kind of failure in words."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self._path = parts.path or "/"
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)

    def ask(self, method: str, body: bytes | None = None, headers: dict | None = None) -> str:
        try:
            self._connection.request(method, self._path, body, headers or {})
            answer = self._connection.getresponse()
            answer.read()
            return str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return type(error).__name__


def load(url: str, photo: bytes, clients: int, seconds: float, most: int, probe: str | None) -> dict:
    body, kind = form(photo)
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    probes: list[float] = []
    probe_failures: Counter[str] = Counter()
    turns, lock = itertools.count(), threading.Lock()
    begun = time.perf_counter()

    def work():
        asker = Asker(url)
        while time.perf_counter() - begun < seconds and next(turns) < most:
            start = time.perf_counter()
            status = asker.ask("POST", body, {"Content-Type": kind})
            with lock:
                statuses[status] += 1
                if status == "200":
                    latencies.append(1000 * (time.perf_counter() - start))
            if status != "200":
                time.sleep(0.1)  # turned away: come again a little later

    done = threading.Event()

    def ask_probe():
        asker = Asker(probe)
        while not done.is_set():
            start = time.perf_counter()
            status = asker.ask("GET")
            probes.append(1000 * (time.perf_counter() - start))
            if status != "200":
                probe_failures[status] += 1
            done.wait(0.1)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    prober = threading.Thread(target=ask_probe) if probe else None
    for thread in [*threads, *([prober] if prober else [])]:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    done.set()
    if prober:
        prober.join()
    return {
        "seconds": took,
        "statuses": statuses,
        "latencies_ms": latencies,
        "probes_ms": probes,
        "probe_failures": probe_failures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("photo", type=Path)
    parser.add_argument("clients", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--probe", metavar="URL")
    parser.add_argument("--most", metavar="N", type=int, default=20_000)
    options = parser.parse_args()
    found = load(options.url, options.photo.read_bytes(), options.clients, options.seconds, options.most, options.probe)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
