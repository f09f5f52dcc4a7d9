"""What observing a request costs: counting it, and its line in the log.

    python benchmarks/observing.py [--quick] [--json FILE]

Prints microseconds for each part; ratio is what a request takes over one that is not observed. Requests go through the
guard of the WSGI server, without a network, to an application that does nothing. Needs no weights and no photos.
"""

from __future__ import annotations

import io
import logging
import statistics
import time
from collections.abc import Callable

import report

from recognizer.core import logs
from recognizer.core.metrics import Metrics
from recognizer.http.observing import Observing
from recognizer.http.wsgi import Guard, Observer

ROUNDS, CALLS = 15, 4_000
BARE = "a request, not observed"
TIMING = {"decode": 4.2, "detect": 8.3, "embed": 23.1, "match": 0.3, "quality": 0.4, "total": 36.4, "queue": 0.1}
BODY = b'{"live": true}'


def microseconds(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Of each call the median over rounds, in which all take turns, so that a busy moment meets them all."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            taken[name].append((time.perf_counter() - start) / CALLS * 1e6)
    return {name: statistics.median(each) for name, each in taken.items()}


def app(environ, start_response):
    environ["recognizer.route"] = "/recognize"
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def ask(guard: Guard) -> None:
    reply = guard({"REQUEST_METHOD": "POST", "PATH_INFO": "/recognize"}, lambda status, headers: None)
    for _ in reply:
        pass
    reply.close()


def count(metrics: Metrics) -> None:
    metrics.begin()
    metrics.request("POST", "/recognize", 200, 0.036, 500)


def main() -> None:
    options = report.parser(__doc__).parse_args()
    rounds = 3 if options.quick else ROUNDS
    metrics = Metrics()
    bare, observed = Guard(app, observer=Observer()), Guard(app, observer=Observing(metrics))
    own = logging.getLogger("recognizer")

    def photo():
        metrics.stages(TIMING)
        metrics.faces(3, 2)

    def written(kind: str) -> Callable[[], None]:
        stream, formatter = io.StringIO(), logs.JsonFormatter() if kind == "json" else logs.TextFormatter()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)

        def call():
            own.handlers[:] = [handler]
            ask(observed)
            own.handlers[:] = []
            stream.seek(0)

        return call

    own.propagate = False
    own.addHandler(logging.NullHandler())
    own.setLevel(logging.INFO)
    logs.access_log.disabled = True
    found = microseconds(
        {
            "counting a request": lambda: count(metrics),
            "counting a photo: its stages and faces": photo,
            BARE: lambda: ask(bare),
            "a request, counted": lambda: ask(observed),
        },
        rounds,
    )
    logs.access_log.disabled = False
    found |= microseconds({f"a request, counted, and its line as {kind}": written(kind) for kind in ("json", "text")}, rounds)
    start = time.perf_counter()
    size = len(metrics.text())
    found[f"answering /metrics ({size} bytes)"] = (time.perf_counter() - start) * 1e6
    rows = [
        {"what": name, "microseconds": value, "ratio": value / found[BARE] if name.startswith("a request") else None}
        for name, value in found.items()
    ]
    report.table(rows, "What observing a request costs")
    report.save(options, observing=rows)


if __name__ == "__main__":
    main()
