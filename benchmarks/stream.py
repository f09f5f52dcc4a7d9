"""Live streams: pictures delivered, delay, processor time with 1 to 32 viewers; four cameras; against the webcam example.

    python benchmarks/stream.py [--work DIR] [--quick] [--json FILE] [--seconds S] [--soak MINUTES]

The camera is a process that shows a 720p clip of two to three people at 30 frames a second over HTTP (see stream_clip.py);
the server is `hug -f api.py` on the same machine, which looks at every picture, draws names and encodes. Delay is from when
the camera sent a frame, by the number that stands in it, to when its last byte was with the viewer. Processor time is the
server's with all its processes, in per cent of one core. `/recognize` is asked twice a second meanwhile. --soak watches for so
many minutes instead, and then 108,000 small frames (an hour's worth) as quickly as they go: does delay grow, or memory?
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import people
import report
import requests
import stream_clip

HERE = Path(__file__).parent
VIEWERS = (1, 4, 32)
CAMERAS = 4
#: Frames per second of a source that is faster than anybody needs: how many could be delivered?
FAST = 120
HOUR = 108_000


@dataclass(frozen=True)
class Camera:
    """The process that shows the clip."""

    port: int
    start: float

    def url(self, fps: float) -> str:
        return f"http://127.0.0.1:{self.port}/clip?fps={fps:g}"


@contextmanager
def camera(folder: Path) -> Iterator[Camera]:
    port = people.free_port()
    command = [sys.executable, HERE / "stream_clip.py", folder, port]
    with report.child(command, stdout=subprocess.PIPE, text=True) as process:
        yield Camera(port, float(process.stdout.readline()))


# -- what a process costs --------------------------------------------------------------------------------------------


def family(process: int) -> list[int]:
    """A process and all below it."""
    try:
        children = [
            int(child) for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [process, *(below for child in children for below in family(child))]


def processor(process: int) -> float:
    """Seconds of processor time that a process and its children have used."""
    ticks = 0
    for each in family(process):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> float:
    """Resident memory of a process and its children, in MB."""
    pages = 0
    for each in family(process):
        try:
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# -- watching --------------------------------------------------------------------------------------------------------


class Asker:
    """Asks `/recognize` twice a second, and notes how long each answer took, in ms."""

    def __init__(self, url: str, photo: bytes):
        self.took: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(url, photo))

    def _ask(self, url, photo):
        with requests.Session() as session:
            while not self._done.wait(0.5):
                begun = time.perf_counter()
                if session.post(url + "/recognize", data=photo, timeout=60).status_code == 200:
                    self.took.append(1000 * (time.perf_counter() - begun))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def warm(server: people.Running, urls: list[str]) -> None:
    """Watch until pictures come, and a little longer: cameras are open, and everybody in sight has a name."""
    viewers(urls, len(urls), 6)


def viewers(urls: list[str], count: int, seconds: float, keep: int = 1) -> dict:
    command = [sys.executable, HERE / "stream_viewers.py", ",".join(urls), count, seconds, "--keep", keep]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds + 120)
    if done.returncode:
        raise SystemExit(f"The viewers failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def delays(found: dict, shown: Camera, fps: float) -> list[float]:
    """Milliseconds from the camera to the viewer, of all pictures of all viewers whose number is known."""
    return [
        1000 * stream_clip.delay(number, came, shown.start, fps)
        for viewer in found["viewers"]
        for came, number in viewer["came"]
        if number is not None
    ]


def watched(server, shown: Camera, urls: list[str], count: int, seconds: float, photo: bytes, fps: float) -> dict:
    """The row of so many viewers."""
    with Asker(server.url, photo) as asker:
        used = processor(server.process.pid)
        found = viewers(urls, count, seconds)
        used = processor(server.process.pid) - used
    rates = [len(viewer["came"]) / seconds for viewer in found["viewers"]]
    late = delays(found, shown, fps)
    return {
        "viewers": count,
        "fps of the source": fps,
        "fps each": sum(rates) / len(rates),
        "fps least": min(rates),
        "delay p50 ms": report.percentile(late, 0.5),
        "delay p95 ms": report.percentile(late, 0.95),
        "server % of a core": 100 * used / seconds,
        "viewers' process %": 100 * found["processor"] / seconds,
        "/recognize p50 ms": report.percentile(asker.took, 0.5),
        "/recognize p95 ms": report.percentile(asker.took, 0.95),
    }


def idle(server, photo: bytes, seconds: float) -> dict:
    with Asker(server.url, photo) as asker:
        used = processor(server.process.pid)
        time.sleep(seconds)
        used = processor(server.process.pid) - used
    return {
        "viewers": 0,
        "server % of a core": 100 * used / seconds,
        "/recognize p50 ms": report.percentile(asker.took, 0.5),
        "/recognize p95 ms": report.percentile(asker.took, 0.95),
    }


# -- the measurements ------------------------------------------------------------------------------------------------


def baseline(clip: Path, photos: list[Path], seconds: float) -> dict:
    command = [sys.executable, HERE / "webcam_example.py", clip / "clip.mp4", seconds, *photos]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def many_viewers(work: Path, shown: Camera, photo: bytes, counts, seconds: float) -> tuple[list[dict], float | None]:
    """Rows, and per cent of a core that each viewer beyond the first few adds."""
    with people.ours(work, work / "server.log", camera=shown.url(stream_clip.FPS)) as server:
        url = server.url + "/stream"
        rows = [idle(server, photo, seconds / 2)]
        warm(server, [url])
        rows += [watched(server, shown, [url], count, seconds, photo, stream_clip.FPS) for count in counts]
    few, many = rows[-2], rows[-1]
    added = (many["server % of a core"] - few["server % of a core"]) / (many["viewers"] - few["viewers"])
    return [{key: row.get(key) for key in rows[-1]} for row in rows], added


def fast_source(work: Path, shown: Camera, photo: bytes, seconds: float) -> dict:
    with people.ours(work, work / "server.log", camera=shown.url(FAST)) as server:
        warm(server, [server.url + "/stream"])
        return watched(server, shown, [server.url + "/stream"], 1, seconds, photo, FAST)


def many_cameras(work: Path, shown: Camera, seconds: float) -> list[dict]:
    """A row for each of several cameras that run at once, each with a viewer."""
    with people.ours(work, work / "server.log", camera=shown.url(stream_clip.FPS), camera_allow="127.0.0.1") as server:
        ids = ["default"]
        for number in range(2, CAMERAS + 1):
            source = {"source": shown.url(stream_clip.FPS), "name": f"Camera {number}"}
            reply = requests.post(server.url + "/cameras", json=source, timeout=30)
            reply.raise_for_status()
            ids.append(reply.json()["id"])
        urls = [f"{server.url}/cameras/{id}/stream" for id in ids]
        warm(server, urls)
        used = processor(server.process.pid)
        found = viewers(urls, len(urls), seconds, keep=2)
        used = processor(server.process.pid) - used
        for id in ids[1:]:
            requests.delete(f"{server.url}/cameras/{id}", timeout=30).raise_for_status()
    rows = []
    for id, viewer in zip(ids, found["viewers"], strict=True):
        late = delays({"viewers": [viewer]}, shown, stream_clip.FPS)
        came = [when for when, _ in viewer["came"]]
        rows.append(
            {
                "camera": id,
                "fps": len(came) / seconds,
                "longest pause ms": 1000 * max(pauses(came), default=seconds),
                "delay p50 ms": report.percentile(late, 0.5),
                "delay p95 ms": report.percentile(late, 0.95),
                "server % of a core": 100 * used / seconds,
            }
        )
    return rows


def pauses(values: list[float]) -> list[float]:
    return [later - earlier for earlier, later in zip(values, values[1:], strict=False)]


def soak(work: Path, shown: Camera, minutes: float, frames: int) -> list[dict]:
    """Rows of delay and memory: by tenths of the time, then by tenths of the frames."""
    rows = []
    with people.ours(work, work / "server.log", camera=shown.url(stream_clip.FPS)) as server:
        warm(server, [server.url + "/stream"])
        for part in range(10):
            found = viewers([server.url + "/stream"], 4, 6 * minutes, keep=5)
            late = delays(found, shown, stream_clip.FPS)
            rows.append(
                {
                    "run": f"{minutes:g} minutes at 30 fps, 4 viewers",
                    "tenth": part + 1,
                    "frames": sum(len(viewer["came"]) for viewer in found["viewers"]) // 4,
                    "delay p50 ms": report.percentile(late, 0.5),
                    "delay p95 ms": report.percentile(late, 0.95),
                    "resident MB": resident(server.process.pid),
                }
            )
            report.table(rows[-1:])
    with people.ours(work, work / "server.log", camera="test:160x90@240") as server:
        warm(server, [server.url + "/stream?overlay=faces,clock,fps"])
        for part in range(10):
            seen, begun = 0, time.perf_counter()
            while seen < frames / 10:
                found = viewers([server.url + "/stream?overlay=faces,clock,fps"], 1, 10, keep=0)
                seen += len(found["viewers"][0]["came"])
            rows.append(
                {
                    "run": f"{frames:,} frames at {seen / (time.perf_counter() - begun):.0f} fps",
                    "tenth": part + 1,
                    "frames": seen,
                    "resident MB": resident(server.process.pid),
                }
            )
            report.table(rows[-1:])
    return [{key: row.get(key) for key in rows[0]} for row in rows]


def main() -> None:
    parser = report.parser(__doc__, work=True)
    parser.add_argument("--seconds", type=float, help="how long each measurement watches")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="watch for so long instead, then an hour's frames")
    options = parser.parse_args()
    seconds = options.seconds or (5 if options.quick else 20)
    work = options.work / "stream"
    clip = stream_clip.make(work / "clip")
    photos = enrol(work)
    photo = photos[0].read_bytes()
    with camera(clip) as shown:
        if options.soak:
            rows = soak(work, shown, options.soak, HOUR // 60 if options.quick else HOUR)
            report.table(rows, "Delay and memory over time")
            return report.save(options, soak=rows)
        counts = (1, 8) if options.quick else VIEWERS
        rows, added = many_viewers(work, shown, photo, counts, seconds)
        report.table(rows, "One camera, 720p, one view; /recognize of a photo twice a second meanwhile")
        print(f"\nEach further viewer adds {added:.2f} % of a core.")
        theirs = baseline(clip, photos, seconds)
        rate = theirs["frames"] / theirs["seconds"]
        fast = None if options.quick else fast_source(work, shown, photo, seconds)
        against = [{"what": "webcam example, every frame at full size", "fps": rate, "ratio": 1.0}]
        for what, row in (("ours, delivered", rows[1]), ("ours, of a faster source", fast)):
            if row:
                fps = row["fps each"]
                what = f"{what} (source: {row['fps of the source']:g} fps)"
                against.append({"what": what, "fps": fps, "ratio": fps / rate if rate else None})
        report.table(against, "Annotated frames per second; the ratio is against the webcam example's loop on the same clip")
        several = [] if options.quick else many_cameras(work, shown, seconds)
        if several:
            report.table(several, f"{CAMERAS} cameras of 720p at 30 fps at once, a viewer each")
    report.save(options, viewers=rows, added_percent=added, against=against, fast=fast, cameras=several, example=theirs)


def enrol(work: Path) -> list[Path]:
    """The photos of who is enrolled, in `work`'s known_faces."""
    from tests.photos import fetch_photos

    photos = []
    for name, file in stream_clip.ENROLLED.items():
        place = work / "known_faces" / name / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(fetch_photos(file)[file].read_bytes())
        photos.append(place)
    return photos


if __name__ == "__main__":
    main()
