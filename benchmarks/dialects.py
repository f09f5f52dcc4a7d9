"""Requests per second through the dialects of other services, against this server's own /recognize.

    python benchmarks/dialects.py [--data DIR] [--work DIR] [--quick] [--json FILE]

One server knows 1,000 people. One client sends the same photo by multipart upload; the routes take turns, a few requests each
over one connection, so that a busy moment meets them all. ratio is a route's requests per second over those of /recognize.
"""

from __future__ import annotations

import statistics
import sys
import time

import http_load
import people
import report
from load_client import Asker, form

PEOPLE = 1000
OURS = "/recognize"
#: Route -> what recognises a photo there, in the dialect.
ROUTES = {
    OURS: "this server's own",
    "/v1/vision/face/recognize": "DeepStack",
    "/codeproject/v1/vision/face/recognize": "CodeProject.AI",
    "/api/v1/recognition/recognize": "CompreFace",
    "/face/v1.0/detect": "Azure Face: detection, before identification",
}


def measure(options, folder) -> list[dict]:
    photo = report.need(options.data, "people", "obama-480p.jpg").read_bytes()
    body, kind = form(photo)
    rounds, calls = (5, 10) if options.quick else (20, 20)
    taken: dict[str, list[float]] = {route: [] for route in ROUTES}
    with people.ours(folder, folder / "servers.log") as server:
        for number in range(rounds + 1):
            for route in ROUTES:
                asker = Asker(server.url + route)
                start = time.perf_counter()
                statuses = {asker.ask("POST", body, {"Content-Type": kind}) for _ in range(calls)}
                if statuses != {"200"}:
                    raise SystemExit(f"{route} answered {', '.join(sorted(statuses))}")
                if number:  # the first round warms up
                    taken[route].append((time.perf_counter() - start) / calls)
            print(f"round {number} of {rounds}", file=sys.stderr)
    base = statistics.median(taken[OURS])
    return [
        {
            "dialect": dialect,
            "route": route,
            "per second": 1 / statistics.median(taken[route]),
            "ratio": base / statistics.median(taken[route]),
        }
        for route, dialect in ROUTES.items()
    ]


def main() -> None:
    options = report.parser(__doc__, data=True, work=True).parse_args()
    folder = http_load.prepare(options.data, options.work, 100 if options.quick else PEOPLE)
    rows = measure(options, folder)
    report.table(rows, "Upload to names through each dialect; ratio is requests per second over /recognize")
    report.save(options, dialects=rows)


if __name__ == "__main__":
    main()
