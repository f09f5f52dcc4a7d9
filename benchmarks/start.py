"""How long the server takes to be ready with 5,000 photos: the first time, and again.

    python benchmarks/start.py [--against DIR] [--data DIR] [--work DIR] [--photos N] [--keep] [--profile] [--quick]
        [--json FILE]

The photos are LFW's, in folders of hard links. `cold` starts with no cache and encodes every photo; `warm` finds all in
the cache; both last until GET /health says ready, from the start of the process. `service` is building and starting the
service alone, without interpreter, imports of the routes and HTTP. face_recognition encodes a sample of the same photos in
one process, as its examples do, and its time for all is extrapolated from that. --keep keeps the cache of an earlier run,
so that only warm starts are measured. --against names another checkout, whose warm starts take turns with ours; the least
processor time until ready is what other work on the machine adds least to.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import lfw
import people
import report

SAMPLE = 60


def inside(profile: bool) -> None:
    """Build and start the service that the environment describes; print the seconds of each step as JSON."""
    from recognizer.core.settings import Settings
    from recognizer.service import make_service

    settings, profiler = Settings.from_environment(), cProfile.Profile()
    if profile:
        profiler.enable()
    begun = time.perf_counter()
    service = make_service(settings)
    made = time.perf_counter()
    service.start()
    done = time.perf_counter()
    if profile:
        profiler.disable()
        stats = pstats.Stats(profiler, stream=sys.stderr)
        stats.sort_stats("cumtime").print_stats(35)
        stats.sort_stats("tottime").print_stats(20)
    print(json.dumps({"make": made - begun, "start": done - made, "templates": len(service.gallery)}))
    service.close()


def service_alone(work: Path, profile: bool = False) -> dict:
    command = [sys.executable, __file__, "--inside", *(["--profile"] if profile else [])]
    done = subprocess.run(
        [str(part) for part in command], env=people.environment(work), stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def face_recognition_seconds(files: list[Path], sample: int) -> float:
    """Seconds per photo for face_recognition, from every so many-th photo."""
    import face_recognition

    chosen = files[:: max(1, len(files) // sample)][:sample]
    begun = time.perf_counter()
    for file in chosen:
        face_recognition.face_encodings(face_recognition.load_image_file(file))
    return (time.perf_counter() - begun) / len(chosen)


def warm_starts(work: Path, log: Path, checkouts: dict[str, Path], rounds: int) -> list[dict]:
    """Rows of warm starts that take turns, by checkout. The files of each have been looked at once when it begins."""
    found: dict[str, list[tuple[float, float, float | None]]] = {name: [] for name in checkouts}
    for _ in range(rounds + 1):
        for name, checkout in checkouts.items():
            with people.ours(work, log, checkout=checkout) as server:
                found[name].append((server.seconds, server.cpu_seconds or 0.0, server.peak_mb))
    rows = []
    for name, starts in found.items():
        seconds, cpu, peaks = zip(*starts[1:], strict=True)
        rows.append(
            {
                "warm starts of": name,
                "least cpu s": min(cpu),
                "median cpu s": statistics.median(cpu),
                "least s": min(seconds),
                "median s": statistics.median(seconds),
                "peak MB": peaks[0],
            }
        )
    return rows


def measure(options) -> list[dict]:
    files = lfw.photos(options.data)[: options.photos or (150 if options.quick else 5000)]
    work = options.work / f"start-{len(files)}"
    people.fill(work / "known_faces", files)
    if not options.keep:
        shutil.rmtree(work / "state", ignore_errors=True)
    rows, count, log = [], len(files), work / "server.log"
    if options.against is not None:
        checkouts = {"this checkout": report.ROOT, "the other checkout": options.against.resolve()}
        with people.ours(work, log):  # fills the cache
            pass
        return warm_starts(work, log, checkouts, 5 if options.quick else 15)
    theirs = face_recognition_seconds(files, 10 if options.quick else SAMPLE) * count

    def row(what: str, seconds: float, **more) -> None:
        rows.append(
            {
                "start": what,
                "photos": count,
                "seconds": seconds,
                "photos per second": count / seconds,
                "ratio": theirs / seconds,
                "peak MB": more.get("peak"),
            }
        )

    row("face_recognition, extrapolated", theirs)
    if not options.keep:
        with people.ours(work, log) as server:
            row("cold, until ready", server.seconds, peak=server.peak_mb)
    warm, peaks, made, started = [], [], [], []
    for _ in range(2 if options.quick else 5):
        with people.ours(work, log) as server:
            warm.append(server.seconds)
            peaks.append(server.peak_mb)
        alone = service_alone(work)
        made.append(alone["make"])
        started.append(alone["start"])
    row("warm, until ready", statistics.median(warm), peak=peaks[0])
    row("warm, make_service", statistics.median(made))
    row("warm, Service.start", statistics.median(started))
    if options.profile:
        service_alone(work, profile=True)
    return rows


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--photos", metavar="N", type=int, help="fewer photos than 5,000")
    parser.add_argument("--keep", action="store_true", help="measure warm starts only, with the cache that is there")
    parser.add_argument("--profile", action="store_true", help="print where a warm start spends its time")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--against", metavar="DIR", type=Path, help="another checkout: only warm starts of both are measured")
    options = parser.parse_args()
    if options.inside:
        inside(options.profile)
        return
    rows = measure(options)
    title = "Starting with enrolled photos; ratio is face_recognition's time for encoding them over this"
    report.table(rows, title if options.against is None else "Warm starts until ready, in turns")
    report.save(options, start=rows)


if __name__ == "__main__":
    main()
