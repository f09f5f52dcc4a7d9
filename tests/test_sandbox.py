"""Decoders that crash, hang, take all memory or say nonsense, in real processes: an error each, and the next photo is read."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from recognizer.core import errors
from recognizer.core.errors import BrokenImage, DecoderCrashed, DecoderTooSlow, DecoderUnavailable, ImageTooLarge
from recognizer.photos import decoders, images, sandbox

ROOT = Path(__file__).resolve().parents[1]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to these limits")
#: On Windows, any signal ends a process at once.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits and signals")


def photo(kind: str = "tiff", width: int = 60, height: int = 40) -> bytes:
    file = io.BytesIO()
    pixels = np.arange(width * height * 3, dtype=np.uint32).reshape(height, width, 3) // 29
    pillow.fromarray(pixels.astype(np.uint8)).save(file, kind)
    return file.getvalue()


def child(gif: str) -> list[str]:
    """The command of a child in which reading a GIF does this, in Python, and everything else what it always does."""
    program = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
        "import ctypes, os, sys, time\n"
        "from recognizer.photos import decoders, sandbox\n"
        "sound = decoders.DECODERS['gif']\n"
        f"def read_gif(data, admit):\n    {gif}\n"
        "decoders.DECODERS['gif'] = read_gif\n"
        "sandbox.serve()\n"
    )
    return [sys.executable, "-c", program, json.dumps([str(ROOT), *sys.path]), "1"]


@pytest.fixture
def made():
    """Makes sandboxes with one child whose GIF reader does what is said."""
    every = []

    def make(gif: str, **options) -> sandbox.Sandbox:
        every.append(sandbox.Sandbox(1, child(gif), **options))
        return every[-1]

    yield make
    for each in every:
        each.close()


def reads(box: sandbox.Sandbox) -> bool:
    """Whether a sandbox still reads what is sound, to the bit."""
    found, orientation = box.decode_stored("tiff", photo(), 1_000_000)
    return orientation == 1 and np.array_equal(found, np.asarray(pillow.open(io.BytesIO(photo()))))


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "heic", "avif"])
def test_what_comes_out_is_what_the_decoder_gives_here(kind):
    if kind == "heic":
        pillow_heif = pytest.importorskip("pillow_heif", reason="writing HEIC needs pillow-heif")
        file = io.BytesIO()
        pillow_heif.from_pillow(pillow.open(io.BytesIO(photo()))).save(file)
        data = file.getvalue()
    else:
        data = photo(kind)
    here, there = decoders.decode_stored(kind, data, 2400), sandbox.decode_stored(kind, data, 2400)
    assert np.array_equal(here[0], there[0]) and here[1] == there[1]
    assert there[0].flags.writeable and there[0].flags.c_contiguous


@pytest.mark.parametrize(
    "data, cap, error",
    [
        (photo()[:100], 2400, BrokenImage),
        (photo(), 2399, ImageTooLarge),
        (b"II*\0", 2400, BrokenImage),
    ],
)
def test_errors_come_back_as_they_are(data, cap, error):
    with pytest.raises(error) as here:
        decoders.decode_stored("tiff", data, cap)
    with pytest.raises(error) as there:
        sandbox.decode_stored("tiff", data, cap)
    assert (there.value.message, there.value.details) == (here.value.message, here.value.details)


CRASHES = {
    "reads where there is nothing": "ctypes.string_at(0)",
    "aborts": "os.abort()",
    "ends": "os._exit(0)",
    "closes its pipe": "os.closerange(3, 100)",
    "raises what nobody catches": "raise KeyboardInterrupt",
}
NONSENSE = {
    "too many pixels": "return __import__('numpy').zeros((1000, 1001, 3), 'uint8'), 1",
    "no pixels": "return __import__('numpy').zeros((0, 5, 3), 'uint8'), 1",
    "too few pixels": "return __import__('numpy').zeros((5, 5, 1), 'uint8'), 1; os._exit(1)",
    "an unknown error": "from recognizer.core.errors import ImageError; raise type('Odd', (ImageError,), {'code': 'odd'})('?')",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", CRASHES)
def test_a_decoder_that_crashes_is_an_error_and_the_next_photo_is_read(made, fault):
    box = made(CRASHES[fault])
    for _ in range(2):
        with pytest.raises(DecoderCrashed) as caught:
            box.decode_stored("gif", photo("gif"), 1_000_000)
        assert caught.value.details == {"format": "gif"} and "GIF" in caught.value.message
        assert reads(box)


@pytest.mark.parametrize("fault", [name for name in NONSENSE if name != "too few pixels"])
def test_a_child_is_not_believed_what_cannot_be(made, fault):
    box = made(NONSENSE[fault])
    with pytest.raises(DecoderCrashed):
        box.decode_stored("gif", photo("gif"), 1_000_000)
    assert reads(box)


@pytest.mark.slow
def test_too_few_pixels_are_waited_for_no_longer_than_any_others(made):
    box = made(NONSENSE["too few pixels"], seconds=2.0)
    with pytest.raises(DecoderTooSlow):
        box.decode_stored("gif", photo("gif"), 1_000_000)
    assert reads(box)


@pytest.mark.slow
@POSIX
def test_a_decoder_that_computes_for_ever_is_ended_by_the_system(made):
    box = made("while True: pass", seconds=300.0)  # the limit is on processor time, whatever the clock says
    with pytest.raises(DecoderTooSlow):
        box.decode_stored("gif", photo("gif"), 1_000_000)
    assert reads(box)


@pytest.mark.slow
def test_a_decoder_that_waits_for_ever_is_given_up(made):
    box = made("time.sleep(10_000)", seconds=1.0)
    with pytest.raises(DecoderTooSlow):
        box.decode_stored("gif", photo("gif"), 1_000_000)
    assert reads(box)


@pytest.mark.slow
@POSIX
def test_processor_time_is_counted_for_each_photo_alone(made):
    work = "end = time.process_time() + 0.5\n    while time.process_time() < end: pass\n    return sound(data, admit)"
    box = made(work)
    child = None
    for _ in range(5):  # together more than one photo may take
        box.decode_stored("gif", photo("gif"), 1_000_000)
        assert child in (None, *box.idle_pids)
        [child] = box.idle_pids


@LINUX
def test_a_decoder_that_takes_all_memory_is_refused_it(made):
    box = made("return bytearray(3_000_000_000), 1")
    with pytest.raises(ImageTooLarge, match="memory"):
        box.decode_stored("gif", photo("gif"), 1_000_000)
    assert reads(box)


@pytest.mark.slow
@LINUX
def test_the_largest_photos_that_are_allowed_fit_into_the_memory_that_is():
    file = io.BytesIO()
    pillow.new("RGBA", (8000, 6250), (9, 200, 30, 128)).save(file, "tiff", compression="tiff_lzw")
    image = images.decode(file.getvalue())
    assert image.pixels.shape == (6250, 8000, 3) and image.pixels[17, 23].tolist() == [132, 227, 142]


@POSIX
def test_nothing_is_written_to_a_file_by_what_decodes(made, tmp_path):
    box = made(f"with open({str(tmp_path / 'face')!r}, 'wb', buffering=0) as file: file.write(data)")
    with pytest.raises(BrokenImage):
        box.decode_stored("gif", photo("gif"), 1_000_000)
    assert not (tmp_path / "face").exists() or (tmp_path / "face").stat().st_size == 0
    assert reads(box)


@pytest.mark.slow
def test_a_child_that_was_killed_while_it_waited_is_replaced_unseen(made):
    box = made("pass")
    for _ in range(3):
        assert reads(box)
        os.kill(box.idle_pids[0], KILL)
    assert reads(box)


@pytest.mark.slow
@POSIX
def test_a_child_that_is_killed_over_a_photo_harms_that_photo_only(made):
    box = made("time.sleep(60)")
    assert reads(box)
    [pid] = box.idle_pids
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(box.decode_stored, "gif", photo("gif"), 1_000_000)
        while box.idle_pids:
            time.sleep(0.01)
        waiting = pool.submit(reads, box)
        time.sleep(0.3)
        os.kill(pid, KILL)
        with pytest.raises(DecoderCrashed):
            slow.result()
        assert waiting.result()


@pytest.mark.parametrize(
    "command",
    [
        ["there-is-no-such-command"],
        [sys.executable, "-c", "pass"],
        [sys.executable, "-c", "print('no')"],
    ],
)
def test_what_cannot_be_started_is_said_to_be_so(command):
    box = sandbox.Sandbox(1, command)
    for _ in range(2):  # and the place of the one that failed is free again
        with pytest.raises(DecoderUnavailable) as caught:
            box.decode_stored("gif", photo("gif"), 1_000_000)
        assert caught.value.retry_after


def test_children_that_end_before_every_photo_are_given_up(made):
    box = sandbox.Sandbox(1, [sys.executable, "-c", "import sys; sys.stdout.write('R'); sys.stdout.flush()"])
    with pytest.raises(DecoderUnavailable):
        box.decode_stored("gif", photo("gif"), 1_000_000)


def test_many_threads_share_a_few_children():
    box = sandbox.Sandbox(2)
    data = {size: photo(width=size, height=size) for size in range(10, 50)}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda size: (size, box.decode_stored("tiff", data[size], 10_000)[0].shape), [*data] * 5))
    assert all(shape == (size, size, 3) for size, shape in found)
    assert 1 <= len(box.idle_pids) <= 2
    box.close()
    assert box.idle_pids == []


@pytest.mark.slow
def test_no_jpeg_png_or_webp_starts_a_child():
    program = (
        "import subprocess, sys\n"
        "def refuse(*_, **__): raise AssertionError('a process was started')\n"
        "subprocess.Popen = refuse\n"
        "from recognizer.photos import images\n"
        "images.decode(sys.stdin.buffer.read())\n"
    )
    assert images.IN_PROCESS == ("jpeg", "png", "webp")
    for kind in images.IN_PROCESS:
        data = photo(kind)
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, input=data, capture_output=True)
        assert done.returncode == 0, done.stderr


@POSIX
@pytest.mark.parametrize("end", ["return", "os.kill(os.getpid(), 9)"])
def test_children_end_with_the_process_that_started_them(end):
    program = (
        "import os, sys\n"
        "from recognizer.photos import sandbox\n"
        "def main():\n"
        "    sandbox.decode_stored('tiff', sys.stdin.buffer.read(), 10_000)\n"
        "    print(sandbox.SHARED.idle_pids[0], flush=True)\n"
        f"    {end}\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, input=photo(), capture_output=True)
    assert done.stderr == b""
    until = time.monotonic() + 30
    while Path(f"/proc/{int(done.stdout)}/stat").exists() and time.monotonic() < until:
        if Path(f"/proc/{int(done.stdout)}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break  # ended, if its new parent did not look yet
        time.sleep(0.05)
    else:
        assert time.monotonic() < until


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_has_children_of_its_own():
    program = (
        "import os, sys\n"
        "from recognizer.photos import sandbox\n"
        "data = sys.stdin.buffer.read()\n"
        "sandbox.decode_stored('tiff', data, 10_000)\n"
        "mine = sandbox.SHARED.idle_pids[0]\n"
        "if (fork := os.fork()) == 0:\n"
        "    sandbox.decode_stored('tiff', data, 10_000)\n"
        "    os._exit(int(sandbox.SHARED.idle_pids[0] == mine))\n"
        "assert os.waitpid(fork, 0)[1] == 0\n"
        "sandbox.decode_stored('tiff', data, 10_000)\n"
        "assert sandbox.SHARED.idle_pids[0] == mine\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, input=photo(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_an_idle_child_ends_by_itself():
    command = sandbox.child_command(1)
    command[2] = command[2].replace("sandbox.serve()", "sandbox.IDLE_SECONDS = 0.2; sandbox.serve()")
    box = sandbox.Sandbox(1, command)
    for _ in range(2):
        assert reads(box)
        until = time.monotonic() + 30
        while box.idle_pids:
            assert time.monotonic() < until
            time.sleep(0.01)
    box.close()


def test_every_error_of_a_photo_can_come_back():
    tree = [errors.ImageError]
    for kind in tree:
        tree += kind.__subclasses__()
    assert {kind.code: kind for kind in tree} == sandbox.ERRORS


def test_no_thread_is_left_behind():
    sandbox.decode_stored("tiff", photo(), 10_000)
    until = time.monotonic() + 10
    while any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)
