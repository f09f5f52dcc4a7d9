"""A camera whose picture stands still: processor time per picture, against one whose picture moves.

    python benchmarks/still.py [--work DIR] [--quick] [--json FILE]

JPEGs of 1280 x 720 pixels, 30 a second by their times, are decoded, examined by the default engine, drawn and encoded for one
view. All of it runs in one thread, so that processor time per picture depends on nothing else that the machine does; what a
server adds is the connection and the change of threads. "moving" is the clip of stream_clip.py, with two to three people;
"always 15 passes" is the same, examined as often as if nobody in it were known; "still" is one picture of it with the noise of
a sensor; "frozen" is one JPEG again and again; "nobody" has nobody in it. Then
somebody appears in the last one: in how many of so many entrances is the face found in the first picture that shows it?
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import report
import stream
import stream_clip

from recognizer.core.settings import Settings
from recognizer.service import make_service
from recognizer.video.frames import Frame, FrameResult
from recognizer.video.output import mjpeg, overlay
from recognizer.video.output.live import STILL_EVERY
from recognizer.video.sources.base import Shot
from recognizer.video.sources.camera import ShotPixels
from recognizer.video.sources.http_camera import decode_picture, glance_at
from recognizer.video.sources.source import SourceView
from recognizer.video.spare_pixels import SparePixels
from recognizer.video.tracking import scene
from recognizer.video.tracking.pipeline import Pipeline, Wants

WARM = 30
ALWAYS, CALM_PASSES = "always 15 passes", scene.CALM_PASSES
NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


class Here(Executor):
    """Does all work at once, in the calling thread."""

    def submit(self, work: Callable, /, *args, **named) -> Future:
        done: Future = Future()
        try:
            done.set_result(work(*args, **named))
        except Exception as error:
            done.set_exception(error)
        return done


class Shown:
    """A camera that shows these JPEGs, 30 a second by their times, as quickly as they are taken."""

    name, turn_wanted = "", 0

    def __init__(self, jpegs: Sequence[bytes]):
        self._jpegs, self._pixels, self._spare = jpegs, ShotPixels(SourceView()), SparePixels()

    async def next(self, after: int) -> Frame | None:
        """The next picture, once all work on the one before is done: what is measured does not depend on how busy the machine
        is."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        number = after + 1
        if number >= len(self._jpegs):
            return None
        data, taken = self._jpegs[number], 1000 + number / stream_clip.FPS
        load = lambda: decode_picture(data, self._spare)  # noqa: E731
        shot = Shot(load, time.time(), taken, glance=lambda: glance_at(data), size=len(data))
        return Frame(self._pixels.of(shot), number, time.time(), taken)


def processed(jpegs: Sequence[bytes], vision, viewer: bool) -> tuple[list[FrameResult], float]:
    """The results, and the processor time of those after the first, in ms per picture."""
    results: list[FrameResult] = []
    drawn, spent, spare = -1.0, [0.0], SparePixels()

    def publish(result: FrameResult) -> None:
        nonlocal drawn
        if viewer and not (result.still and result.frame.taken - drawn < STILL_EVERY):
            mjpeg.encode(overlay.draw(result, spare=spare), mjpeg.USUAL_QUALITY)
            drawn = result.frame.taken
        results.append(replace(result, frame=replace(result.frame, pixels=NO_PIXELS)))  # a server keeps no old pictures
        if len(results) == WARM:
            spent[0] = time.process_time()

    wants = Wants(every_picture=viewer)
    pipeline = Pipeline(Shown(jpegs), vision, executor=Here(), clock=time.process_time, wants=lambda: wants)
    asyncio.run(pipeline.run(publish))
    pictures = len(jpegs) - 1 - results[WARM - 1].frame.number
    return results, 1000 * (time.process_time() - spent[0]) / pictures


def clips(folder: Path, count: int) -> dict[str, list[bytes]]:
    import simplejpeg

    data, ends = (folder / "clip.mjpeg").read_bytes(), json.loads((folder / "clip.json").read_text())
    moving = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    first = decode_picture(moving[0]).astype(np.int16)
    empty = (np.linspace((70, 90, 110), (150, 140, 120), first.shape[1])[None] * np.ones((first.shape[0], 1, 1))).astype(
        np.int16
    )

    def noisy(pixels: np.ndarray, seed: int) -> bytes:
        noise = np.random.default_rng(seed).normal(0, 3, (*pixels.shape[:2], 1)).astype(np.int16)
        return simplejpeg.encode_jpeg(np.clip(pixels + noise, 0, 255).astype(np.uint8), 90)

    return {
        "moving": (moved := [moving[number % len(moving)] for number in range(count)]),
        ALWAYS: moved,
        "still": [noisy(first, number) for number in range(count)],
        "frozen": [moving[0]] * count,
        "nobody": [noisy(empty, number) for number in range(count)],
    }


def entrances(shown: dict[str, list[bytes]], vision, times: int) -> int:
    """In how many of so many entrances of the clip's people into an empty picture they are found in the first picture."""
    found = 0
    for each in range(times):
        before = 40 + 7 * each
        empty = shown["nobody"][: before % len(shown["nobody"])]
        results, _ = processed([*empty, *shown["moving"][10 * each : 10 * each + 3]], vision, viewer=False)
        found += any(result.faces for result in results if result.frame.number == len(empty))
    return found


def main() -> None:
    options = report.parser(__doc__, work=True).parse_args()
    work = options.work / "stream"
    folder = stream_clip.make(work / "clip")
    stream.enrol(work)
    count, rounds = (120, 1) if options.quick else (300, 3)
    shown = clips(folder, count)
    settings = Settings.from_environment(known_faces=work / "known_faces", state_dir=work / "still-state", watch=False)
    service = make_service(settings)
    try:
        service.start()
        vision = service.vision_of(service.groups.default)
        rows = []
        for viewer in (False, True):
            spent: dict[str, list[float]] = {name: [] for name in shown}
            for _ in range(rounds):
                for name, jpegs in shown.items():
                    scene.CALM_PASSES = scene.ENOUGH_PASSES if name == ALWAYS else CALM_PASSES
                    spent[name].append(processed(jpegs, vision, viewer)[1])
            for name, all_ in spent.items():
                each = sorted(all_)[len(all_) // 2]
                share = each / sorted(spent["moving"])[len(all_) // 2]
                rows.append(
                    {
                        "picture": name,
                        "a viewer": "yes" if viewer else "no",
                        "cpu ms per picture": each,
                        "% of a core at 30 fps": 3 * each,
                        "of moving": share,
                    }
                )
        report.table(rows, "One camera of 720p: decoding, examining, drawing and encoding")
        scene.CALM_PASSES = CALM_PASSES
        times = 5 if options.quick else 20
        first = entrances(shown, vision, times)
        print(f"\nFound in the first picture: {first} of {times} entrances.")
    finally:
        service.close()
    report.save(options, still=rows, entrances=times, found_in_the_first=first)


if __name__ == "__main__":
    main()
