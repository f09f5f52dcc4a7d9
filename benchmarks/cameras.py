"""What reading a camera in a process of its own costs, against OpenCV in a thread of this one.

    python benchmarks/cameras.py [--quick] [--json FILE]

Needs ffmpeg, which makes the clip: 720p, 30 frames per second, H.264. Both give every frame as RGB, at the clip's own pace;
processor time is that of this process and its children. The delay is from the moment a frame is due to the moment the reader
of the camera has it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

from recognizer.video.sources.camera import Camera
from recognizer.video.sources.source import parse_source

RATE = 30


def make_clip(folder: Path, seconds: int) -> Path:
    file = folder / "clip.mp4"
    source = f"testsrc2=size=1280x720:rate={RATE}:duration={seconds}"
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            source,
            "-vf",
            "noise=alls=8:allf=t",
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            str(file),
        ],
        check=True,
    )
    return file


def used() -> float:
    """Seconds of processor time, of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def own_memory(process: int) -> float:
    """Megabytes that go when a process goes: what it does not share."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) / 1024


def children() -> list[int]:
    return [int(each) for task in Path("/proc/self/task").iterdir() for each in (task / "children").read_text().split()]


def in_thread(file: Path, seconds: float) -> dict:
    import cv2

    begin, cpu, late = time.perf_counter(), used(), []
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    first, count = None, 0
    while True:
        done, frame = capture.read()
        first = first or time.perf_counter()
        if not done or time.perf_counter() - first > seconds:
            break
        due = first + count / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        late.append(time.perf_counter() - due)
        count += 1
    wall = time.perf_counter() - first
    return row("OpenCV in a thread", count / wall, (used() - cpu) / wall, first - begin, late, 0.0)


def in_process(file: Path, seconds: float, take: bool) -> dict:
    camera = Camera(parse_source(str(file), loop=False))
    begin, cpu, late, count = time.perf_counter(), used(), [], 0
    camera.start()
    frame = camera.wait(-1, 30)
    first = time.perf_counter()
    while take and time.perf_counter() - first < seconds and (frame := camera.wait(frame.number, 5)):
        late.append(time.perf_counter() - frame.taken)
        count += 1
    if not take:
        time.sleep(seconds)
    wall = time.perf_counter() - first
    memory = own_memory(children()[0])
    read = camera.counts["read"]
    camera.stop()
    what = "Camera, every frame taken" if take else "Camera, nobody takes a frame"
    return row(what, (count if take else read) / wall, (used() - cpu) / wall, first - begin, late, memory)


async def _all(camera: Camera) -> int:
    count = after = -1
    while (frame := await camera.next(after)) is not None:
        after, count = frame.number, frame.number
    return count + 1


def every_frame(file: Path) -> list[dict]:
    """Frames per second of a whole file, unpaced."""
    import cv2

    begin, count = time.perf_counter(), 0
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
    while True:
        done, frame = capture.read()
        if not done:
            break
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        count += 1
    rows = [{"what": "OpenCV in a thread", "fps": count / (time.perf_counter() - begin)}]
    camera = Camera(parse_source(str(file), loop=False), paced=False)
    begin = time.perf_counter()
    camera.start()
    got = asyncio.run(_all(camera))
    assert got == count, (got, count)
    rows.append({"what": "Camera, asyncio", "fps": count / (time.perf_counter() - begin)})
    camera.stop()
    return rows


def row(what: str, fps: float, cores: float, start: float, late: list[float], memory: float) -> dict:
    found = {"what": what, "fps": fps, "cores": cores, "start_s": start, "own_mb": memory}
    found["delay_ms"] = 1000 * statistics.median(late) if late else 0.0
    found["delay_p95_ms"] = 1000 * statistics.quantiles(late, n=20)[-1] if late else 0.0
    return found


def main() -> None:
    options = report.parser(__doc__).parse_args()
    seconds = 4.0 if options.quick else 15.0
    if not sys.platform.startswith("linux") or not any(
        os.access(Path(folder) / "ffmpeg", os.X_OK) for folder in os.get_exec_path()
    ):
        raise SystemExit("This needs Linux and ffmpeg.")
    with tempfile.TemporaryDirectory() as folder:
        file = make_clip(Path(folder), int(seconds) + 3)
        paced = [in_thread(file, seconds), in_process(file, seconds, False), in_process(file, seconds, True)]
        fast = every_frame(file)
    for each in paced:
        each["ratio"] = each["cores"] / paced[0]["cores"]
    for each in fast:
        each["ratio"] = each["fps"] / fast[0]["fps"]
    report.table(paced, "720p30 H.264 at its own pace")
    report.table(fast, "The whole file, as fast as it goes")
    report.save(options, paced=paced, fast=fast)


if __name__ == "__main__":
    main()
