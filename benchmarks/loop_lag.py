"""How long an asyncio loop is held up while `people.watch` runs on it: others' timers, and each of the loop's own calls.

    python benchmarks/loop_lag.py [--seconds N] [--quick] [--json FILE]

A 720p camera at 30 pictures a second with two to three people, two of them enrolled, is watched once and four times; each row
is a process of its own. `late` is by how much a timer of one millisecond came late. `calls` are what the loop calls, one after
the other: `busy` is the processor time that one took, `wall` its time by the clock, in which others may have
had the processor or the interpreter. Two rows are there to compare with: a loop that has nothing to do, and one with the
same engine at work beside it, without `watch`. The server moves what is there after its start out of the collector's way
(`gc.freeze`), and the last row does that too. Milliseconds, unless said otherwise.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
import stream_clip

LIMIT = 5.0
ROWS = {
    "nothing": {},
    "the engine on threads": {"threads": True},
    "one camera": {"cameras": 1},
    "four cameras": {"cameras": 4},
    "four cameras, frozen": {"cameras": 4, "frozen": True},
}


class Calls:
    """Measures everything that loops of this process call, while the block runs."""

    def __init__(self):
        self.wall: list[float] = []
        self.busy: list[float] = []
        self.worst = (0.0, "")

    def __enter__(self) -> Calls:
        self._run = run = asyncio.events.Handle._run

        def measured(handle):
            began, used = time.perf_counter(), time.thread_time()
            run(handle)
            busy = 1000 * (time.thread_time() - used)
            self.wall.append(1000 * (time.perf_counter() - began))
            self.busy.append(busy)
            if busy > self.worst[0]:
                self.worst = busy, _name(handle)

        asyncio.events.Handle._run = measured
        return self

    def __exit__(self, *_) -> None:
        asyncio.events.Handle._run = self._run


def _name(handle) -> str:
    task = getattr(handle._callback, "__self__", None)
    work = task.get_coro() if isinstance(task, asyncio.Task) else handle._callback
    return getattr(work, "__qualname__", None) or repr(type(work))


async def late(seconds: float) -> list[float]:
    """By how many milliseconds a timer of one millisecond came late, again and again."""
    found, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        await asyncio.sleep(0.001)
        found.append(1000 * (time.perf_counter() - began) - 1)
    return found


async def watched(people, address: str, counts: list[int]) -> None:
    async for result in people.watch(address):
        counts[0] += 1
        counts[1] += sum(face.subject is not None for face in result.faces)


async def engine_alone(people, clip: Path, counts: list[int]) -> None:
    """What `watch` has the engine do, one picture after the other, without anything else."""
    from recognizer.photos import images

    vision = people.service.video.vision
    data = (clip / "clip.mjpeg").read_bytes()
    ends = json.loads((clip / "clip.json").read_text())
    jpegs = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]

    def work(number: int) -> None:
        image = images.decode(jpegs[number % len(jpegs)])
        faces = vision.detect(image)
        vision.match(vision.describe(image, faces, vision.qualities(image, faces))[0])

    while True:
        await asyncio.get_running_loop().run_in_executor(people.service.video.workers, work, counts[0])
        counts[0] += 1


async def measured(people, clip: Path, address: str, seconds: float, cameras: int = 0, threads=False, frozen=False) -> dict:
    counts = [0, 0]
    tasks = [asyncio.create_task(watched(people, address, counts)) for _ in range(cameras)]
    tasks += [asyncio.create_task(engine_alone(people, clip, counts))] if threads else []
    await asyncio.sleep(4)  # opened, loaded, and everybody has a name
    if frozen:
        gc.collect()
        gc.freeze()
    pauses, began = [0.0], [0.0]

    def collected(phase, about) -> None:
        if phase == "start":
            began[0] = time.perf_counter()
        else:
            pauses.append(1000 * (time.perf_counter() - began[0]))

    gc.callbacks.append(collected)
    counts[:] = 0, 0
    with Calls() as calls:
        delays = await late(seconds)
    pictures, named = counts
    gc.callbacks.remove(collected)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "pictures/s": pictures / seconds,
        "named faces/s": named / seconds,
        "late p50": report.percentile(delays, 0.5),
        "late p99": report.percentile(delays, 0.99),
        "late most": max(delays),
        "calls": len(calls.busy),
        "busy p99": report.percentile(calls.busy, 0.99),
        "busy most": calls.worst[0],
        f"busy > {LIMIT:g}": sum(each > LIMIT for each in calls.busy),
        "wall p99": report.percentile(calls.wall, 0.99),
        "wall most": max(calls.wall),
        f"wall > {LIMIT:g}": sum(each > LIMIT for each in calls.wall),
        "longest collection": max(pauses),
        "busiest call": calls.worst[1],
    }


def child(arguments: list[str]) -> None:
    """A row, in a process of its own: prints it as JSON."""
    import recognizer

    clip, known, address, seconds, options = arguments
    with recognizer.open(known, state_dir=Path(known).parent / "state") as people:
        print(json.dumps(asyncio.run(measured(people, Path(clip), address, float(seconds), **json.loads(options)))))


def main() -> None:
    parser = report.parser(__doc__, work=True)
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of each row (30)")
    options = parser.parse_args()
    seconds = 4.0 if options.quick else options.seconds
    from tests.photos import fetch_photos

    clip = stream_clip.make(options.work / "stream" / "clip")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known_faces"
        for name, photo in stream_clip.ENROLLED.items():
            (known / name).mkdir(parents=True)
            (known / name / photo).write_bytes(Path(fetch_photos(photo)[photo]).read_bytes())
        camera = [sys.executable, Path(__file__).with_name("stream_clip.py"), clip, port]
        with report.child(camera, stdout=subprocess.PIPE) as server:
            server.stdout.readline()
            for name, what in ROWS.items():
                command = [sys.executable, __file__, "--row", clip, known, f"http://127.0.0.1:{port}/clip", seconds]
                done = subprocess.run(
                    [*map(str, command), json.dumps(what)],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    env={**os.environ, "PYTHONPATH": str(report.ROOT)},
                )
                rows.append({"on the loop": name, **json.loads(done.stdout.splitlines()[-1])})
    report.table(rows, f"A loop that watches, {seconds:g} seconds each")
    report.save(options, rows=rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--row"]:
        child(sys.argv[2:])
    else:
        main()
