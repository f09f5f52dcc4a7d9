"""One camera: newest frame, states, coming back, and that nothing is left of it. Real processes, sockets and clips."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.video.sources import camera as camera_module
from recognizer.video.sources import decoder, http_camera, jpeg_stream, pattern, process
from recognizer.video.sources.base import BrokenShot, SourceLost, Stopper
from recognizer.video.sources.camera import Camera, CameraTimeouts
from recognizer.video.sources.http_camera import decode_jpeg
from recognizer.video.sources.http_login import authorization
from recognizer.video.sources.jpeg_stream import JpegStream
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import parse_source

from . import streams
from .brokers import free_port
from .streams import (
    PATIENCE,
    HttpCamera,
    Program,
    clip,
    decoders,
    ends,
    ffmpeg_clip,
    jpeg,
    rtsp_server,
    tool,
    wait_for,
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def cameras():
    """Makes cameras from what names their source, and ends them; afterwards no thread, process or handle is left."""
    gc.collect()
    before = handles()
    made = []

    def make(text, *, loop=True, **options) -> Camera:
        made.append(Camera(parse_source(text, loop=loop), **options))
        return made[-1]

    yield make
    for each in made:
        each.stop(10)
        assert not each.running and each.newest() is None and each.state.name == "idle"
    assert decoders() == {}
    made.clear()
    gc.collect()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith(("camera", "decoder", "http-camera"))], 5)
    left = {number: name for number, name in handles().items() if before.get(number) != name}
    assert not left


def handles() -> dict[str, str]:
    """Pipes, shared memory and connections that are open in this process."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue
        if name.startswith(("pipe:", "/memfd:recognizer")):
            found[entry] = name
    return found


@pytest.fixture
def web():
    with HttpCamera() as server:
        yield server


def numbers(camera: Camera, count: int, seconds: float = PATIENCE) -> list[int]:
    """What stands in the next frames' bars."""
    found, after, until = [], -1, time.monotonic() + seconds
    while len(found) < count:
        frame = camera.wait(after, until - time.monotonic())
        assert frame is not None, camera.state
        after = frame.number
        found.append(pattern.read(frame.pixels)[0])
    return found


def state(camera: Camera, name: str, seconds: float = PATIENCE) -> str:
    """Wait for a state; its reason."""
    wait_for(lambda: camera.state.name == name, seconds, f"{name}: {camera.state}")
    return camera.state.reason


# -- the pattern ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (320, 240), (641, 361), (1280, 720)])
def test_a_pattern_tells_its_number_and_time_after_jpeg_and_scaling(size):
    import cv2

    now = 1_700_000_000.123
    frame = pattern.Pattern(*size).draw(123456, now)
    assert frame.shape == (size[1], size[0], 3) and frame.dtype == np.uint8
    number, stamp = pattern.read(frame)
    assert number == 123456 and pattern.age(stamp, now + 0.25) == pytest.approx(0.25, abs=0.002)
    if size[0] > 100:
        assert pattern.read(decode_jpeg(streams.encode_jpeg(frame, 60))) == (number, stamp)
    if size[0] > 600:
        assert pattern.read(cv2.resize(frame, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)) == (number, stamp)
    assert pattern.read(np.zeros((240, 320, 3), np.uint8)) is None


# -- frames -----------------------------------------------------------------------------------------------------------


def test_a_camera_that_was_not_started_gives_nothing_and_waits_for_nothing(cameras):
    camera = cameras("test:")
    assert camera.state.name == "idle" and camera.fps == 0 and camera.newest() is None
    assert camera.wait(-1) is None
    assert asyncio.run(camera.next(-1)) is None
    camera.stop()


def test_a_pattern_is_live_and_newest_wins(cameras):
    camera = cameras("test:320x240@100")
    seen = []
    end = camera.subscribe(lambda state: seen.append(state.name))
    camera.start()
    first = camera.wait(-1, PATIENCE)
    assert first.pixels.shape == (240, 320, 3) and camera.state.name == "live"
    wait_for(lambda: camera.counts["dropped"] >= 5)
    second = camera.wait(first.number, PATIENCE)
    assert second.number > first.number + 5
    assert pattern.read(second.pixels)[0] == second.number
    assert camera.newest().number >= second.number
    assert camera.fps > 0
    assert camera.wait(10**9, 0.05) is None
    end()
    camera.stop()
    assert seen == ["connecting", "live"] and camera.state.name == "idle" and camera.wait(-1) is None


def test_a_frame_is_loaded_once_for_all_who_want_it(cameras):
    camera = cameras("test:320x240@2")
    camera.start()
    first = camera.wait(-1, PATIENCE)
    assert camera.wait(first.number - 1, PATIENCE) is first and camera.newest() is first


def test_started_again_after_stop_it_counts_on(cameras):
    camera = cameras("test:64x64@50")
    last = -1
    for _ in range(3):
        camera.start()
        camera.start()
        frame = camera.wait(last, PATIENCE)
        assert frame.number > last
        last = frame.number
        camera.stop()
    assert camera.counts["connects"] == 3


def test_asyncio_gets_frames_and_the_loop_is_never_kept_waiting(cameras):
    camera = cameras("test:640x480@50")

    async def main():
        camera.start()
        got, after = [], -1
        while len(got) < 20:
            frame = await camera.next(after)
            after = frame.number
            got.append(after)
        waiting = asyncio.create_task(camera.next(10**9))
        for _ in range(20):  # rounds of the loop, which `waiting` does not keep
            await asyncio.sleep(0.001)
        assert not waiting.done()
        await asyncio.to_thread(camera.stop)
        assert await asyncio.wait_for(waiting, PATIENCE) is None
        return got

    got = ends(asyncio.run, main())
    assert got == sorted(set(got))


def test_frames_that_are_left_out_are_not_decoded_and_are_no_loss(cameras, monkeypatch):
    decoded = []
    taken = camera_module.ShotPixels.of
    monkeypatch.setattr(camera_module.ShotPixels, "of", lambda pixels, shot: decoded.append(shot) or taken(pixels, shot))
    camera = cameras("test:64x64@60")

    async def main():
        camera.start()
        after, got, idle = (await camera.next(-1)).number, [], 0
        dropped, before = camera.counts["dropped"], len(decoded)
        while len(got) < 10:
            # read since the last one that was taken, while nobody waited, as on a busy machine; the first one has number 0
            idle += camera.counts["read"] - (after + 1)
            after = (await camera.next(after + 3)).number
            got.append(after)
        return got, camera.counts["dropped"] - dropped, len(decoded) - before, idle

    got, dropped, count, idle = ends(asyncio.run, main())
    assert all(later - earlier >= 4 for earlier, later in zip(got, got[1:], strict=False))
    assert count <= len(got) + dropped + 2, "decoded that nobody wanted"
    assert dropped <= got[-1] - got[0] - 4 * (len(got) - 1) + idle + 2, "counted what nobody wanted"


def test_one_loop_follows_several_cameras_and_a_cancelled_wait_leaves_nothing(cameras):
    several = [cameras(f"test:64x64@{rate}") for rate in (40, 60)]

    async def follow(camera):
        camera.start()
        after = -1
        for _ in range(5):
            after = (await camera.next(after)).number
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(camera.next(10**9), 0.05)

    async def main():
        await asyncio.gather(*map(follow, several))

    asyncio.run(main())
    assert not any(each.waiting for each in several)


# -- files and stills -------------------------------------------------------------------------------------------------


def test_every_frame_of_a_file_once(cameras, tmp_path):
    camera = cameras(clip(tmp_path / "clip.mp4", 40), loop=False, paced=False)
    camera.start()
    got, after = [], -1
    while (frame := camera.wait(after, PATIENCE)) is not None:
        after = frame.number
        got.append((frame.number, pattern.read(frame.pixels)[0], round(frame.position * 25)))
        time.sleep(0.005 * (after % 3))
    assert got == [(number, number, number) for number in range(40)]
    assert camera.state.name == "ended" and camera.counts == {"read": 40, "dropped": 0, "broken": 0, "connects": 1}
    assert camera.newest().number == 39
    wait_for(lambda: not camera.running)
    assert decoders() == {}


def test_every_frame_for_asyncio_too(cameras, tmp_path):
    camera = cameras(clip(tmp_path / "clip.mp4", 30), loop=False, paced=False)

    async def main():
        camera.start()
        got, after = [], -1
        while (frame := await camera.next(after)) is not None:
            after = frame.number
            got.append(after)
        return got

    assert asyncio.run(main()) == list(range(30))


@pytest.mark.slow
def test_a_paced_file_takes_its_time_and_drops_what_nobody_takes(cameras, tmp_path):
    camera = cameras(clip(tmp_path / "clip.mp4", 25, rate=25), loop=False)
    begin = time.perf_counter()
    camera.start()
    last = camera.wait(23, PATIENCE)
    wait_for(lambda: camera.state.name == "ended")
    assert camera.counts["read"] == 25 and camera.counts["dropped"] >= 20
    # no frame comes before its time
    assert last.number == 24 and last.taken > begin + 0.95 * last.position > begin


@pytest.mark.slow
def test_what_is_passed_over_at_the_end_of_a_file_is_counted(cameras, tmp_path):
    """The decoder stands still before the end, and has no time left for the last pictures."""
    camera = cameras(clip(tmp_path / "clip.mp4", 25, rate=25), loop=False)
    camera.start()
    assert camera.wait(17, PATIENCE) is not None
    (decoder,) = decoders()
    os.kill(decoder, signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(decoder, signal.SIGCONT)
    wait_for(lambda: camera.state.name == "ended")
    assert camera.counts["read"] == 25


def test_a_file_starts_over(cameras, tmp_path):
    camera = cameras(clip(tmp_path / "clip.mp4", 5, rate=50), paced=False)
    camera.start()
    assert numbers(camera, 12) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert camera.state.name == "live"


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", b"this is no video", os.urandom(50_000)])
@pytest.mark.parametrize("loop", [True, False])
def test_a_file_that_is_no_video(cameras, tmp_path, content, loop):
    file = tmp_path / "clip.mp4"
    if content is not None:
        file.write_bytes(content)
    camera = cameras(file, loop=loop)
    camera.start()
    reason = state(camera, "lost" if loop else "ended")
    assert reason and str(tmp_path) not in reason
    assert camera.wait(-1, 0.1) is None


def test_a_file_cut_short_or_damaged_plays_what_there_is(cameras, tmp_path):
    whole = clip(tmp_path / "clip.avi", 40, codec="MJPG").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 3000] = os.urandom(3000)
    for content in (whole[: len(whole) // 2], bytes(damaged)):
        (tmp_path / "damaged.avi").write_bytes(content)
        camera = cameras(tmp_path / "damaged.avi", loop=False, paced=False)
        camera.start()
        count, after = 0, -1
        while (frame := camera.wait(after, PATIENCE)) is not None:
            after, count = frame.number, count + 1
        assert count >= 10 and camera.state.name == "ended"


def test_a_decoder_that_says_what_cannot_be_read_ends_the_source(cameras, tmp_path, monkeypatch):
    program = tmp_path / "decoder.py"
    program.write_text("import sys\nprint('{', flush=True)\nsys.stdin.read()\n")
    monkeypatch.setattr(process, "PROGRAM", program)
    camera = cameras(clip(tmp_path / "clip.avi", codec="MJPG"), loop=False)
    camera.start()
    assert camera.wait(-1, 30) is None
    assert camera.state.name == "ended" and camera.state.reason == "reading it failed"


def test_a_folder_of_photos(cameras, tmp_path, monkeypatch):
    for number, size in enumerate([(320, 240), (400, 300), (3000, 100)]):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number, size))
    (tmp_path / "broken.jpg").write_bytes(jpeg()[:500])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.jpg").write_bytes(jpeg())
    camera = cameras(tmp_path, loop=False, paced=False)
    camera.start()
    got, after = [], -1
    while (frame := camera.wait(after, PATIENCE)) is not None:
        after = frame.number
        got.append((frame.width, frame.height))
    assert got == [(320, 240), (400, 300), (1920, 64)] and camera.counts["broken"] == 1
    assert camera.state.name == "ended"


def test_a_folder_without_photos(cameras, tmp_path):
    camera = cameras(tmp_path)
    camera.start()
    assert "no photo" in state(camera, "lost")
    (tmp_path / "new.jpg").write_bytes(jpeg())
    state(camera, "live")


def test_a_webcam_that_is_not_there(cameras):
    if Path("/dev/video63").exists():
        pytest.skip("there is a webcam 63")
    camera = cameras(63)
    camera.start()
    assert state(camera, "lost") == "webcam 63 is not attached"


# -- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_decoder_that_breaks_down_is_started_again(cameras, tmp_path):
    camera = cameras(clip(tmp_path / "clip.mp4", 200))
    camera.start()
    frame = camera.wait(-1, PATIENCE)
    os.kill(*(*decoders(), signal.SIGSEGV))
    assert "broke down" in state(camera, "lost")
    assert camera.wait(frame.number + 50, PATIENCE) is not None and camera.counts["connects"] == 2


def test_a_decoder_that_hangs_keeps_nobody(cameras, tmp_path):
    camera = cameras(clip(tmp_path / "clip.mp4", 200))
    camera.start()
    camera.wait(-1, PATIENCE)
    os.kill(*(*decoders(), signal.SIGSTOP))
    ends(camera.stop, 3600)
    assert decoders() == {}


_PARENT = """
import os, sys, time
from recognizer.video.sources.camera import Camera
from recognizer.video.sources.source import parse_source
camera = Camera(parse_source(sys.argv[1]))
camera.start()
assert camera.wait(-1, 30)
from tests.streams import decoders
print(*decoders(), flush=True)
if sys.argv[2] == "exec":
    os.execv(sys.executable, [sys.executable, "-c", "import time; print('replaced', flush=True); time.sleep(60)"])
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "exec"])
def test_no_decoder_outlives_the_process_that_started_it(tmp_path, how):
    file = clip(tmp_path / "clip.mp4", 200)
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(file), how], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        decoder = int(parent.stdout.readline())
        if how == "exec":
            assert parent.stdout.readline() == "replaced\n"
        else:
            parent.kill()
            parent.wait()
        wait_for(lambda: _gone(decoder), 10)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def _gone(number: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


# -- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [True, False])
def test_mjpeg(cameras, web, lengths):
    web.lengths = lengths
    camera = cameras(web.url())
    camera.start()
    got = numbers(camera, 5)
    assert got == sorted(set(got)) and camera.state.name == "live"
    assert camera.newest().time == pytest.approx(time.time(), abs=5)


def test_of_mjpeg_only_what_is_taken_is_decoded(cameras, web, monkeypatch):
    web.rate = 100
    decoded = []
    monkeypatch.setattr(http_camera, "decode_jpeg", lambda data, spare: decoded.append(1) or decode_jpeg(data, spare))
    camera = cameras(web.url())
    camera.start()
    wait_for(lambda: camera.counts["read"] > 30)
    assert not decoded
    assert camera.newest() is not None and len(decoded) == 1


@pytest.mark.slow
def test_bare_jpegs_do_not_fall_behind(cameras, web):
    """They carry no times: FFmpeg takes them for 25 a second, and a camera gives more."""
    web.rate = 100
    camera = cameras(web.url("/bare"))
    camera.start()
    assert camera.wait(-1, PATIENCE) is not None
    sent, read = web.number, camera.counts["read"]
    wait_for(lambda: web.number - sent > 400, 60)
    assert camera.counts["connects"] == 1
    assert (web.number - sent) - (camera.counts["read"] - read) < 200


def test_a_camera_that_is_killed_comes_back(cameras, web, monkeypatch):
    monkeypatch.setattr(camera_module, "FIRST_WAIT", 0.1)
    camera = cameras(web.url())
    camera.start()
    frame = camera.wait(-1, PATIENCE)
    web.cut()
    state(camera, "lost")
    state(camera, "live")
    assert camera.wait(frame.number, PATIENCE).number > frame.number and camera.counts["connects"] == 2


def test_waiting_grows_to_a_limit(cameras, monkeypatch):
    monkeypatch.setattr(camera_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(camera_module, "LONGEST_WAIT", 0.05)
    waits, original = [], camera_module.Stopper.wait
    monkeypatch.setattr(camera_module.Stopper, "wait", lambda self, seconds: waits.append(seconds) or original(self, seconds))
    camera = cameras(f"rtsp://127.0.0.1:{free_port()}/")
    camera.start()
    assert "nothing listens" in state(camera, "lost")
    wait_for(lambda: len(waits) >= 6)
    for wait, expected in zip(waits, [0.01, 0.02, 0.04, 0.05, 0.05], strict=False):
        assert 0.75 * expected <= wait <= 1.25 * expected


@pytest.mark.slow
def test_a_camera_that_drops_every_few_pictures_is_not_waited_for_longer_each_time(cameras, web, monkeypatch):
    monkeypatch.setattr(camera_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(camera_module, "LONGEST_WAIT", 3600.0)
    camera = cameras(web.url())
    camera.start()
    after = -1
    for _ in range(12):  # doubled each time, the twelfth wait would take 20 seconds, and the next ones hours
        frame = camera.wait(after, PATIENCE)
        assert frame is not None, camera.state
        web.cut()
        after = frame.number
    waits = []
    original = camera_module.Stopper.wait
    monkeypatch.setattr(camera_module.Stopper, "wait", lambda self, seconds: waits.append(seconds) or original(self, seconds))
    camera.wait(after + 1, PATIENCE)
    web.cut()
    wait_for(lambda: waits)
    assert max(waits) < 0.02


@pytest.mark.parametrize(
    ("colour", "reason"), [((0, 0, 0), "every picture is black"), ((255, 0, 0), "every picture is of a single colour")]
)
def test_a_camera_whose_pictures_show_nothing_says_so(cameras, web, monkeypatch, colour, reason):
    monkeypatch.setattr(camera_module, "BLANK_AFTER", 0.2)
    plain = streams.encode_jpeg(np.full((240, 320, 3), colour, np.uint8))
    number = iter(range(10**6))
    monkeypatch.setattr(web, "picture", lambda: plain + bytes(next(number) % 7))  # no two alike, byte by byte
    camera = cameras(web.url())
    camera.start()
    after = -1

    def says(expected: str) -> bool:
        nonlocal after
        frame = camera.wait(after, 5)
        after = frame.number if frame else after
        return (camera.state.name, camera.state.reason) == ("live", expected)

    wait_for(lambda: says(reason))
    monkeypatch.undo()
    wait_for(lambda: says(""))


@pytest.mark.slow
def test_a_file_of_black_pictures_says_so(cameras, tmp_path, monkeypatch):
    monkeypatch.setattr(camera_module, "BLANK_AFTER", 0.2)
    file = tmp_path / "clip.mp4"
    file.write_bytes(ffmpeg_clip(".mp4", "-f", "lavfi", "-i", "color=black:size=320x240:duration=4", "-c:v", "libx264"))
    camera = cameras(file)
    camera.start()
    wait_for(lambda: camera.newest() is not None and camera.state.reason == "every picture is black")
    assert camera.state.name == "live"


def test_a_view_is_applied_to_every_kind_of_source(cameras, web, tmp_path):
    file = clip(tmp_path / "clip.avi", codec="MJPG")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    for source in ("test:320x240", web.url(), str(file), str(tmp_path / "photos")):
        camera = cameras(f"turn90:crop0,0,50,100:{source}")
        camera.start()
        assert camera.wait(-1, PATIENCE).pixels.shape == (320, 120, 3), source
        camera.stop()


@pytest.mark.slow
def test_a_frozen_camera_is_noticed(cameras, web):
    camera = cameras(web.url(), timeouts=CameraTimeouts(frozen=0.4, unchanged=0.5))
    camera.start()
    camera.wait(-1, PATIENCE)
    web.frozen = True
    assert "not changed" in state(camera, "frozen")
    web.frozen = False
    state(camera, "live")
    web.silent = True
    assert "no picture came" in state(camera, "frozen")
    assert "no picture came" in state(camera, "lost")
    web.silent = False
    state(camera, "live")


def test_the_resolution_changes_midway(cameras, web):
    camera = cameras(web.url())
    camera.start()
    assert camera.wait(-1, PATIENCE).pixels.shape == (240, 320, 3)
    web.size = (640, 360)
    wait_for(lambda: camera.newest().pixels.shape == (360, 640, 3))
    assert camera.counts["connects"] == 1


@pytest.mark.slow
def test_broken_pictures_are_passed_over_and_many_are_said(cameras, web):
    camera = cameras(web.url())
    camera.start()
    camera.wait(-1, PATIENCE)
    web.damage, web.rate = True, 100
    reader = threading.Thread(target=lambda: camera.wait(10**9, 10))

    def look():
        camera.newest()
        return camera.state.name == "lost"

    reader.start()
    wait_for(look)
    assert "damaged" in camera.state.reason
    camera.stop()
    reader.join()


def test_snapshots(cameras, web, monkeypatch):
    monkeypatch.setattr(http_camera, "SNAPSHOT_SECONDS", 0.05)
    camera = cameras(web.url("/snapshot.jpg"))
    camera.start()
    got = numbers(camera, 4)
    assert got == sorted(set(got)) and len(web.seen) >= 4


def coded(pixels: np.ndarray, kind: str, **options) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("type", ["image/jpeg", "application/octet-stream", "image/pjpeg", None])
@pytest.mark.parametrize(
    ("kind", "packed", "length"),
    [("JPEG", False, True), ("JPEG", False, False), ("JPEG", True, True), ("PNG", False, True), ("WEBP", True, False)],
)
def test_a_snapshot_goes_by_its_content(cameras, web, monkeypatch, kind, type, packed, length):
    monkeypatch.setattr(http_camera, "SNAPSHOT_SECONDS", 0.05)
    pixels = pattern.Pattern(320, 240).draw(7, 1.0)
    data = coded(pixels, kind)
    data = gzip.compress(data) if packed else data
    headers = {"Content-Type": type} if type else {}
    headers |= {"Content-Encoding": "gzip"} if packed else {}
    headers |= {"Content-Length": str(len(data))} if length else {}
    web.reply = headers, data
    camera = cameras(web.url("/reply"))
    camera.start()
    assert numbers(camera, 3) == [7, 7, 7] and len(web.seen) >= 3


@pytest.mark.parametrize("place", ["first", "behind a profile", "in XMP"])
def test_a_snapshot_is_shown_upright(cameras, web, place):
    from PIL import Image

    exif = Image.Exif()
    exif[0x112] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    said = {"xmp": xmp} if place == "in XMP" else {"exif": exif}
    data = coded(np.rot90(pattern.Pattern(320, 240).draw(7, 1.0)), "JPEG", **said)
    if place == "behind a profile":
        data = data[:2] + b"\xff\xe2" + (3000).to_bytes(2, "big") + bytes(2998) + data[2:]
    web.reply = {"Content-Type": "image/jpeg"}, data
    camera = cameras(web.url("/reply"))
    camera.start()
    assert numbers(camera, 1) == [7]


@pytest.mark.parametrize("type", ["multipart/x-mixed-replace; boundary=wrong", "application/octet-stream", None])
def test_mjpeg_without_end_markers_or_right_boundary(cameras, web, type):
    pictures = [jpeg(number)[:-2] for number in range(30)]
    web.reply = {"Content-Type": type} if type else {}, body(pictures, lengths=len)
    camera = cameras(web.url("/reply"))
    camera.start()
    assert numbers(camera, 1)[0] in range(30)


@pytest.mark.parametrize(
    ("headers", "content", "reason"),
    [
        ({}, b"", "its reply is empty"),
        ({}, b"#EXTM3U\n#EXT-X-VERSION:3\n", "not with a video"),
        ({"Content-Type": "video/mp4"}, b"<html><body>sign in</body></html>", "not with a video"),
        ({"Content-Encoding": "br"}, b"\x1b\x03", "it replies with the content encoding 'br', which was not requested"),
        ({"Content-Encoding": "gzip"}, b"no gzip", "its content encoding is damaged"),
    ],
)
def test_a_reply_that_is_no_video_says_why(cameras, web, headers, content, reason):
    web.reply = headers, content
    camera = cameras(web.url("/reply"))
    camera.start()
    assert reason in state(camera, "lost")


@pytest.mark.parametrize("faststart", [True, False])
def test_mp4_over_http(cameras, web, tmp_path, faststart):
    flags = ("-movflags", "+faststart") if faststart else ()
    file = encoded(tmp_path, "clip.mp4", "-c:v", "libx264", *flags)
    web.reply = {"Content-Type": "video/mp4"}, file.read_bytes()
    camera = cameras(web.url("/reply"))
    camera.start()
    if faststart:
        assert camera.wait(-1, PATIENCE) is not None, camera.state
    else:
        assert "an MP4 file with its index at the end" in state(camera, "lost")


def test_a_page_is_no_camera(cameras, web):
    camera = cameras(web.url("/text"))
    camera.start()
    assert "not with a video" in state(camera, "lost")


def test_login_basic_and_digest(cameras, web):
    import base64

    def basic(headers):
        expected = "Basic " + base64.b64encode(b"ad:min:p@ss").decode()
        return None if headers.get("Authorization") == expected else 'Basic realm="cam"'

    web.login = basic
    camera = cameras(web.url(login="ad%3Amin:p%40ss@"))
    camera.start()
    state(camera, "live")
    camera.stop()
    wrong = cameras(web.url(login="admin:s3cret@"))
    wrong.start()
    reason = state(wrong, "lost")
    assert "user name and password" in reason and "s3cret" not in reason


def test_digest_as_in_the_standard():
    """RFC 7616, 3.9.1, whose client nonce is fixed; here it is read back from what was made."""
    import hashlib
    import re

    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    for algorithm, hashed in (("MD5", hashlib.md5), ("SHA-256", hashlib.sha256)):
        made = authorization([challenge.format(algorithm)], "Mufasa", "Circle of Life", "/dir/index.html")
        given = dict(re.findall(r'(\w+)="([^"]*)"', made))

        def h(text, hashed=hashed):
            return hashed(text.encode()).hexdigest()

        a1, a2 = h("Mufasa:http-auth@example.org:Circle of Life"), h("GET:/dir/index.html")
        assert given["response"] == h(f"{a1}:{given['nonce']}:00000001:{given['cnonce']}:auth:{a2}")
        assert given["opaque"].startswith("FQhe") and given["uri"] == "/dir/index.html" and "Circle" not in made
    assert authorization(["Basic realm=x", challenge.format("MD5")], "u", "p", "/").startswith("Digest")
    assert authorization(['Digest realm="x", nonce="n"'], "u", "p", "/").startswith("Digest")
    assert authorization(["Bearer x"], "u", "p", "/") is None and authorization([], "u", "p", "/") is None


def test_redirects_are_checked_and_take_no_password_along(cameras, web):
    with HttpCamera() as other:
        web.redirect = other.url()
        camera = cameras(web.url("/elsewhere", login="admin:s3cret@"))
        camera.start()
        state(camera, "live")
        assert all("Authorization" not in headers for _, headers in other.seen)
    web.redirect = "http://127.0.0.2:9/"
    refused = cameras(web.url("/elsewhere"), reach=Reach(["127.0.0.1"]))
    refused.start()
    assert "not allowed" in state(refused, "lost")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "rtsp://127.0.0.1:{}/", "rtmp://127.0.0.1:{}/a/b"])
def test_what_is_not_allowed_is_not_connected_to(cameras, url):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        camera = cameras(url.format(server.getsockname()[1]), reach=Reach(["lan"]))
        camera.start()
        assert "RECOGNIZER_CAMERA_ALLOW" in state(camera, "lost")
        with pytest.raises(TimeoutError):
            server.accept()


SMALL = [jpeg(number, (64, 64)) for number in range(3)]
BARE = [each[:-2] for each in SMALL]


def body(pictures, header: bytes = b"--b\r\nContent-Type: image/jpeg\r\n", between: bytes = b"\r\n", lengths=None) -> bytes:
    """A multipart body; `lengths` says of a picture what stands in its Content-Length."""
    parts = []
    for picture in pictures:
        length = b"" if lengths is None else b"Content-Length: %d\r\n" % lengths(picture)
        parts.append(header + length + b"\r\n" + picture + between)
    return b"".join(parts)


@pytest.mark.parametrize("piece", [1, 100, 10**9])
@pytest.mark.parametrize(
    ("written", "pictures"),
    [
        (body(SMALL, lengths=len), SMALL),
        (body(SMALL), SMALL),
        (body(SMALL, between=b""), SMALL),
        (body(SMALL, lengths=lambda picture: len(picture) - 100), SMALL),
        (body(SMALL, lengths=lambda picture: len(picture) + 100), SMALL),
        (body(SMALL, header=b"--other\r\n"), SMALL),
        (body(SMALL, header=b"b\r\n"), SMALL),
        (body(SMALL, header=b"--b\ncontent-type:image/jpeg\n").replace(b"\r\n\r\n", b"\n\n"), SMALL),
        (b"X-Header: before\r\n" * 1000 + body(SMALL), SMALL),
        (b"".join(SMALL), SMALL),
        (body(BARE, lengths=len), BARE),
        (body(BARE), BARE),
        (body(BARE, header=b"--other\r\n"), BARE),
        (b"".join(BARE), BARE),
    ],
)
def test_jpegs_are_found_however_cameras_write_them(written, pictures, piece):
    parts, found = JpegStream(b"b"), []
    for at in range(0, len(written), piece):
        found += parts.feed(written[at : at + piece])
    if (last := parts.rest()) is not None:
        found.append(last)
    assert found == pictures
    for picture in found:
        assert decode_jpeg(picture).shape == (64, 64, 3)


def test_a_picture_without_end_marker_is_given_as_soon_as_its_length_has_come():
    assert JpegStream(b"b").feed(body(BARE[:1], lengths=len) + b"--b\r\n") == BARE[:1]


def test_a_thumbnail_within_a_picture_is_not_taken_for_one():
    thumbnail = jpeg(9, (64, 64))
    block = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    picture = SMALL[0][:2] + block + SMALL[0][2:]
    assert JpegStream(b"b").feed(body([picture, SMALL[1]])) == [picture, SMALL[1]]


def test_a_stream_of_jpegs_has_limits(monkeypatch):
    monkeypatch.setattr(jpeg_stream, "MOST_JPEG", 1000)
    monkeypatch.setattr(jpeg_stream, "MOST_JUNK", 1000)
    coded = SMALL[0][: SMALL[0].index(b"\xff\xda") + 14] + b"x" * 2000
    for written in (b"x" * 50_000, b"--b\r\nContent-Length: 99999\r\n\r\n" + SMALL[0], b"--b\r\n\r\n" + coded):
        with pytest.raises(SourceLost):
            JpegStream(b"b").feed(written)


def test_jpegs_of_cameras():
    good = jpeg()
    assert decode_jpeg(good).shape == (240, 320, 3)
    assert decode_jpeg(good + b"\0" * 20).shape == (240, 320, 3)
    assert np.array_equal(decode_jpeg(good[:-2]), decode_jpeg(good))  # no end marker
    for bad in (b"", b"x", good[:100], good[: len(good) // 2]):
        with pytest.raises(BrokenShot):
            decode_jpeg(bad)


# -- opening that takes long ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "rtsp://u:s3cret@127.0.0.1:{}/x", "rtmp://127.0.0.1:{}/app/s3cret"])
def test_a_server_that_says_nothing(cameras, url, caplog):
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as server:
        camera = cameras(url.format(server.getsockname()[1]), timeouts=CameraTimeouts(opening=1.5))
        camera.start()
        state(camera, "lost")
        camera.stop()
        server.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                server.accept()[0].close()
        server.settimeout(PATIENCE)
        again = cameras(url.format(server.getsockname()[1]), timeouts=CameraTimeouts(opening=3600))
        ends(again.start)
        with server.accept()[0]:
            assert again.state.name == "connecting"
            assert not [line for line in decoders().values() if "s3cret" in line]
            ends(again.stop, 3600)
        assert not again.running
    assert "s3cret" not in caplog.text + repr(camera) + repr(camera.state)


def test_a_name_server_that_says_nothing(cameras, monkeypatch):
    asked, release = threading.Event(), threading.Event()

    def silent(*_, **__):
        asked.set()
        release.wait(3600)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    for url in ("http://camera.invalid/", "rtsp://other-camera.invalid/"):
        asked.clear()
        camera = cameras(url)
        camera.start()
        assert asked.wait(PATIENCE)
        ends(camera.stop, 3600)
        assert not camera.running
    release.set()


def test_a_name_that_does_not_exist(cameras, monkeypatch):
    def nobody(*_, **__):
        raise socket.gaierror("no")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for url in ("http://camera.invalid/", "rtsp://camera.invalid/"):
        camera = cameras(url)
        camera.start()
        assert "there is no host" in state(camera, "lost")


# -- real servers of Debian's packages --------------------------------------------------------------------------------


def encoded(folder: Path, name: str, *options: str, size: str = "320x240", seconds: int = 4) -> Path:
    """A clip that ffmpeg makes, with a moving picture."""
    file = folder / name
    source = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}")
    file.write_bytes(ffmpeg_clip(file.suffix, *source, "-pix_fmt", "yuv420p", *options))
    return file


@pytest.mark.slow
def test_rtsp_killed_and_restarted(cameras, caplog, monkeypatch):
    monkeypatch.setattr(camera_module, "LONGEST_WAIT", 1.0)
    caplog.set_level(logging.INFO)
    port = free_port()
    camera = cameras(f"rtsp://admin:s3cret@127.0.0.1:{port}/live")
    after = -1
    for _ in range(2):
        with rtsp_server(port, "admin:s3cret"):
            camera.start()
            frame = camera.wait(after, PATIENCE)
            assert frame is not None and frame.pixels.shape == (240, 320, 3), camera.state
            assert (after := camera.wait(frame.number + 20, PATIENCE).number), camera.state
            assert decoders() and not [line for line in decoders().values() if "s3cret" in line]
        assert state(camera, "lost")
        after = camera.newest().number
    assert "s3cret" not in caplog.text


@contextlib.contextmanager
def camera_without_transports() -> Iterator[tuple[str, list[str]]]:
    """An RTSP camera that refuses every transport: its URL, and the transports that were asked for."""
    description = "v=0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
    asked: list[str] = []

    def answer() -> None:
        while not asked:  # the first connection only tries whether something listens
            with server.accept()[0] as connection, connection.makefile("r", newline="\r\n") as lines:
                converse(connection, lines)

    def converse(connection: socket.socket, lines: Iterator[str]) -> None:
        for line in lines:
            head = dict(each.strip().split(": ", 1) for each in iter(lambda: next(lines), "\r\n"))
            status, more = "200 OK", "\r\n"
            if line.startswith("DESCRIBE"):
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(description)}\r\n\r\n{description}"
            elif line.startswith("SETUP"):
                asked.append(head["Transport"])
                status = "461 Unsupported Transport"
            connection.sendall(f"RTSP/1.0 {status}\r\nCSeq: {head['CSeq']}\r\n{more}".encode())

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/live", asked
        thread.join(PATIENCE)


@pytest.mark.parametrize("reader", ["ffmpeg", "opencv"])
def test_rtsp_is_asked_for_over_tcp_alone(reader, monkeypatch):
    """OpenCV asks for UDP first as soon as it has options that do not name TCP: findings/opencv-rtsp-options.sh."""
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "timeout;1")  # the decoder replaces it
    if reader == "opencv":
        monkeypatch.setattr(decoder, "libraries", lambda: None)
    with camera_without_transports() as (url, asked):
        config = process.decoder_config(parse_source(url), Stopper(), Reach.everywhere(), True, PATIENCE)
        assert decoder.open_capture(config, SimpleNamespace(note=lambda _: None)) is None
    assert [transport.split(";")[0] for transport in asked] == ["RTP/AVP/TCP"]


@pytest.mark.slow
def test_what_rtsp_cameras_refuse(cameras):
    with rtsp_server(login="admin:s3cret") as url:
        for login, path, reason in [
            ("admin:s3cret@", "nothing", "the camera has no such stream"),
            ("", "live", "the camera does not accept the user name and password"),
            ("admin:wrong@", "live", "the camera does not accept the user name and password"),
        ]:
            camera = cameras(url.replace("//", f"//{login}") + path)
            camera.start()
            assert state(camera, "lost") == reason, (login, path)
            camera.stop()


@pytest.mark.slow
def test_rtsp_that_ends(cameras, tmp_path):
    file = encoded(tmp_path, "clip.mp4", "-c:v", "libx264", "-g", "10", "-bf", "0", seconds=3)
    with rtsp_server(clip=file) as url:
        camera = cameras(url + "clip")
        camera.start()
        assert camera.wait(20, PATIENCE) is not None, camera.state
        assert state(camera, "lost")
        assert camera.wait(camera.newest().number, 30) is not None  # and comes back


@pytest.mark.slow
def test_rtsp_whose_keyframes_are_far_apart(cameras, tmp_path):
    """Cameras with a dynamic group of pictures send a keyframe every 10 to 20 seconds; here there is only the first."""
    file = encoded(
        tmp_path, "clip.mp4", "-c:v", "libx264", "-g", "9999", "-sc_threshold", "0", "-bf", "0", size="160x120", seconds=40
    )
    with rtsp_server(clip=file) as url:
        camera = cameras(url + "clip")
        camera.start()
        assert camera.wait(-1, PATIENCE) is not None, camera.state
        assert camera.state.name == "live" and camera.counts["connects"] == 1


def ffmpeg_serving(file: Path, *out) -> Program:
    return Program(tool("ffmpeg", "ffmpeg"), "-v", "error", "-re", "-stream_loop", "-1", "-i", file, *out)


def listening(port: int) -> bool:
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("out", "url"),
    [
        (["-c", "copy", "-f", "mpegts", "-listen", "1"], "http://127.0.0.1:{}/stream.ts"),
        (["-c:v", "mjpeg", "-f", "mpjpeg", "-listen", "1"], "http://127.0.0.1:{}/stream.mjpg"),
        (["-c", "copy", "-f", "flv", "-listen", "1"], "rtmp://127.0.0.1:{}/live/s3cret"),
    ],
    ids=["mpegts", "mjpeg", "rtmp"],
)
def test_streams_of_ffmpeg_killed_and_restarted(cameras, tmp_path, monkeypatch, out, url):
    monkeypatch.setattr(camera_module, "LONGEST_WAIT", 1.0)
    port = free_port()
    url = url.format(port)
    file = encoded(tmp_path, "clip.mp4", "-c:v", "libx264", "-g", "10", "-bf", "0")
    camera = cameras(
        url, timeouts=CameraTimeouts(opening=PATIENCE)
    )  # ffmpeg serves one client only: there is no second attempt
    frame = None
    for _ in range(2):
        with ffmpeg_serving(file, *out, url):
            wait_for(lambda: listening(port))
            camera.start()
            frame = camera.wait(-1 if frame is None else frame.number, PATIENCE)
            assert frame is not None and frame.pixels.shape == (240, 320, 3), camera.state
            assert camera.wait(frame.number + 10, PATIENCE) is not None, camera.state
        state(camera, "lost")
        frame = camera.newest()


@pytest.mark.slow
def test_a_stream_that_is_damaged_on_its_way(cameras, tmp_path):
    """Bytes of a transport stream overturned at random: frames come, the camera stays or comes back, nothing breaks."""
    data = bytearray(encoded(tmp_path, "clip.ts", "-c:v", "libx264", "-g", "10", seconds=8).read_bytes())
    random = np.random.default_rng(1)
    for place in random.integers(20_000, len(data), len(data) // 1000):
        data[place] ^= 0x55
    with serving(bytes(data), "video/mp2t") as url:
        camera = cameras(url)
        camera.start()
        assert camera.wait(20, PATIENCE) is not None, camera.state


@pytest.mark.slow
def test_a_stream_whose_resolution_changes_midway(cameras, tmp_path):
    first = encoded(tmp_path, "a.ts", "-c:v", "libx264", "-g", "10", seconds=2).read_bytes()
    second = encoded(tmp_path, "b.ts", "-c:v", "libx264", "-g", "10", size="640x360", seconds=4).read_bytes()
    # only the newest frame is kept: the first part lasts long enough to be seen on a busy machine
    with serving(40 * first + second, "video/mp2t", second) as url:
        camera = cameras(url)
        camera.start()
        sizes, after, until = [], -1, time.monotonic() + 30
        while (640, 360) not in sizes:
            frame = camera.wait(after, until - time.monotonic())
            assert frame is not None, (sizes, camera.state)
            after = frame.number
            sizes.append((frame.width, frame.height))
        assert (320, 240) in sizes


class serving:
    """Serves bytes to everybody who connects, others to whoever comes after the first, and holds the connection."""

    def __init__(self, data: bytes, kind: str, later: bytes | None = None):
        self._data, self._kind, self._later = data, kind, later or data

    def __enter__(self) -> str:
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._run, daemon=True).start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/stream"

    def _run(self):
        self._held = []
        while True:
            try:
                connection = self._server.accept()[0]
            except OSError:
                return
            self._held.append(connection)
            data, self._data = self._data, self._later
            threading.Thread(target=self._answer, args=(connection, data), daemon=True).start()

    def _answer(self, connection, data):
        try:
            connection.recv(65536)
            connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {self._kind}\r\n\r\n".encode() + data)
        except OSError:
            pass

    def __exit__(self, *_):
        self._server.close()
        for each in self._held:
            each.close()


def test_the_clips_play_through(cameras):
    from . import data

    for file in sorted(data.folder("videos").iterdir()):
        if file.suffix not in (".mp4", ".mov"):
            continue
        camera = cameras(file, loop=False, paced=False)
        camera.start()
        after, count, last = -1, 0, -1.0
        while count < 30 and (frame := camera.wait(after, PATIENCE)) is not None:
            assert frame.number == after + 1 and frame.position > last
            after, last, count = frame.number, frame.position, count + 1
        assert count == 30, (file.name, camera.state)
        camera.stop()


def test_states_are_plain_data():
    state = camera_module.CameraState("lost", "why", 1.0)
    assert json.loads(json.dumps({"name": state.name, "reason": state.reason, "since": state.since}))["name"] == "lost"
