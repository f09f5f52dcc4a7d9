"""Requests per second through the dialects of other services, against this server's own /recognize.

    python benchmarks/dialects.py [--data DIR] [--work DIR] [--quick] [--json FILE]

One server knows 1,000 people. One client sends the same photo, by multipart upload or as base64 in JSON; the routes take
turns, a few requests each over one connection, so that a busy moment meets them all. ratio is a route's requests per second
over those of /recognize.
"""

from __future__ import annotations

import base64
import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import http_load
import people
import report
from load_client import Asker, form

PEOPLE = 1000
OURS = "/recognize"


@dataclass(frozen=True)
class Way:
    """What recognises a photo in a dialect: a name for the table, the path, and a request.

    Attributes
    ----------
    name : str
        Of the photo's field in a multipart body; empty for JSON.
    headers : mapping
    extra : mapping
        What JSON has beside the photo.
    """

    dialect: str
    path: str
    name: str = "file"
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)

    def request(self, photo: bytes) -> tuple[bytes, dict[str, str]]:
        """Body and headers."""
        if self.name:
            body, kind = form(photo, self.name)
            return body, {"Content-Type": kind, **self.headers}
        content = {**self.extra, "Image": {"Bytes": base64.b64encode(photo).decode()}}
        return json.dumps(content).encode(), dict(self.headers)


WAYS = (
    Way("this server's own", OURS),
    Way("DeepStack", "/v1/vision/face/recognize"),
    Way("CodeProject.AI", "/codeproject/v1/vision/face/recognize"),
    Way("CompreFace", "/api/v1/recognition/recognize"),
    Way("Azure Face: detection, before identification", "/face/v1.0/detect"),
    Way("Nextcloud: dlib's network on the whole photo", "/nextcloud/detect"),
    Way("DeepFace", "/deepface/search", "img"),
    Way("Double Take", "/api/recognize/upload", "files[]"),
    Way(
        "Amazon Rekognition, not signed",
        "/rekognition/",
        "",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "RekognitionService.SearchFacesByImage"},
        {"CollectionId": "default"},
    ),
)


def measure(options, folder) -> list[dict]:
    photo = report.need(options.data, "people", "obama-480p.jpg").read_bytes()
    asked = [(way, *way.request(photo)) for way in WAYS]
    rounds, calls = (5, 10) if options.quick else (20, 20)
    taken: dict[str, list[float]] = {way.path: [] for way in WAYS}
    with people.ours(folder, folder / "servers.log") as server:
        for number in range(rounds + 1):
            for way, body, headers in asked:
                asker = Asker(server.url + way.path)
                start = time.perf_counter()
                statuses = {asker.ask("POST", body, headers) for _ in range(calls)}
                if statuses != {"200"}:
                    raise SystemExit(f"{way.path} answered {', '.join(sorted(statuses))}")
                if number:  # the first round warms up
                    taken[way.path].append((time.perf_counter() - start) / calls)
            print(f"round {number} of {rounds}", file=sys.stderr)
    base = statistics.median(taken[OURS])
    return [
        {
            "dialect": way.dialect,
            "route": way.path,
            "per second": 1 / statistics.median(taken[way.path]),
            "ratio": base / statistics.median(taken[way.path]),
        }
        for way in WAYS
    ]


def main() -> None:
    options = report.parser(__doc__, data=True, work=True).parse_args()
    folder = http_load.prepare(options.data, options.work, 100 if options.quick else PEOPLE)
    rows = measure(options, folder)
    report.table(rows, "Upload to names through each dialect; ratio is requests per second over /recognize")
    report.save(options, dialects=rows)


if __name__ == "__main__":
    main()
