"""A process that reads one source. `process.py` starts it, by its path; of the package it imports only `libav.py`.

Opening and reading may hang for ever, or crash on a damaged stream; a process can always be ended. Webcams are
read with OpenCV, everything else with FFmpeg's libraries (`libav.py`), or with OpenCV where they are of an unknown version.

Standard input brings a line of JSON (so that no password stands on the command line), then a byte for each picture slot
that may be written again; its end ends this process, so none outlives the one that started it. Standard output carries a
line of JSON for each thing that happens. Pictures go into shared memory, RGB.
"""

from __future__ import annotations

import collections
import importlib.util
import json
import mmap
import os
import queue
import re
import signal
import sys
import threading
import time
from typing import Any, Protocol

#: What FFmpeg and the system say when they give up, and the reason that is reported for it; the first match counts.
COMPLAINTS = (
    ("Unauthorized", "refused_login"),
    ("Forbidden", "refused_login"),
    ("Not Found", "no_such_stream"),
    ("NetStream.Play", "no_such_stream"),
    ("Connection refused", "refused"),
    ("timed out", "silent"),
    ("timeout triggered", "silent"),
    ("Connection reset", "closed"),
    ("Broken pipe", "closed"),
    ("No such file", "no_file"),
    ("not on whitelist", "playlist"),
    ("Unsafe file name", "playlist"),
    ("Impossible to open", "playlist"),
    ("Permission denied", "forbidden"),
    ("busy", "busy"),
    ("moov atom not found", "damaged"),
    ("hardware accelerated AV1", "no_decoder:av1"),
    ("Cannot convert interlaced", "interlaced"),
    ("Invalid data", "damaged"),
)
#: What FFmpeg's H.264 decoder says when it begins with pictures of a size.
_SIZE = re.compile(r"Reinit context to (\d+x\d+)")
_CHATTER = re.compile(r"\[OPENCV:FFMPEG:(?:3[2-9]|[4-9]\d)\]")
#: Seconds behind its own pace after which a recording skips frames, and after which it restarts its clock.
_BEHIND, _FAR_BEHIND = 0.2, 5.0
#: Seconds between two frames above which the timestamps have jumped, as where two recordings were joined; more in a recording
#: whose frames are far apart.
_MOST_PAUSE = 60.0


class Unreadable(Exception):
    """A source cannot be read; the argument is one of the reasons of `process.py`."""


class Capture(Protocol):
    """A source that is open.

    Attributes
    ----------
    rate : float
        Frames per second; 0 if unknown.
    clockless : bool
        Whether it is bare JPEGs: they carry no times, FFmpeg counts them as 25 a second, and slowing a faster camera down
        to that would have it fall behind without end.
    position : float
        Seconds from the first frame to the one that was grabbed last.
    """

    rate: float
    clockless: bool
    position: float

    def grab(self) -> bool:
        """Go to the next frame; False when there is none."""

    def shape(self) -> tuple[int, int] | None:
        """Height and width of the frame that was grabbed; None if it gives no picture."""

    def write(self, picture) -> None:
        """Draw it into an array of that size, RGB uint8."""

    def seek(self, seconds: float) -> None:
        """Go to a key frame at or before a position, if that is possible; otherwise stay at the start."""

    def release(self) -> None:
        """Free everything."""


class CvCapture:
    """A source that OpenCV reads.

    Parameters
    ----------
    capture : cv2.VideoCapture
    complaints : Complaints
    """

    def __init__(self, capture, complaints: Complaints):
        import cv2

        self._cv2, self._capture, self._complaints = cv2, capture, complaints
        self._buffer: Any = None
        self._first: float | None = None
        self.position = 0.0
        self.rate = capture.get(cv2.CAP_PROP_FPS)
        self.clockless = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").lower() in (b"mjpe", b"mjpg")

    def grab(self) -> bool:
        if not self._capture.grab():
            return False
        stamp = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
        self._first = stamp if self._first is None else self._first
        self.position = stamp - self._first
        return True

    def shape(self) -> tuple[int, int] | None:
        done, self._buffer = self._capture.retrieve(self._buffer)
        if not done or self._buffer is None:
            return None
        if self._complaints.interlaced:
            raise Unreadable("interlaced")  # what OpenCV gives then is memory that nobody wrote
        if self._buffer.ndim == 2:
            self._buffer = self._cv2.cvtColor(self._buffer, self._cv2.COLOR_GRAY2BGR)
        return self._buffer.shape[:2]

    def write(self, picture) -> None:
        self._cv2.cvtColor(self._buffer, self._cv2.COLOR_BGR2RGB, dst=picture)

    def seek(self, seconds: float) -> None:
        pass  # OpenCV counts frames for it, which is wrong where frames have no constant rate

    def release(self) -> None:
        self._capture.release()


class FrameSlots:
    """The slots in shared memory: a picture goes into a free one, and is announced."""

    def __init__(self, memory: mmap.mmap, slots: int, size: int, say):
        import numpy

        self._memory = numpy.frombuffer(memory, numpy.uint8)
        self._size, self._say = size, say
        self.free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(slots):
            self.free.put(slot)
        self._last: tuple[int, int, int] | None = None
        self.skipped = 0

    def take(self, wait: bool) -> int | None:
        try:
            return self.free.get(wait)
        except queue.Empty:
            self.skipped += 1
            return None

    def show(self, capture: Capture, slot: int, taken: float, now: float, position: float | None) -> bool:
        """Put what the capture grabbed into a slot; False when nothing could be had."""
        import numpy

        shape = capture.shape()
        if shape is None:
            self.free.put(slot)
            return False
        height, width = shape
        count = height * width * 3
        if count > self._size:
            raise Unreadable("too_large")
        start = slot * self._size
        picture = self._memory[start : start + count].reshape(height, width, 3)
        capture.write(picture)
        same = False
        if self._last is not None and self._last[0] != slot and self._last[1:] == (height, width):
            start = self._last[0] * self._size
            before = self._memory[start : start + count].reshape(height, width, 3)
            same = numpy.array_equal(picture[::37, ::41], before[::37, ::41]) and numpy.array_equal(picture, before)
        self._last = (slot, height, width)
        self._say(
            "frame",
            slot=slot,
            width=width,
            height=height,
            taken=taken,
            time=now,
            position=position,
            skipped=self.skipped,
            same=bool(same),
        )
        self.skipped = 0
        return True


class Complaints:
    """What libraries write to standard error: kept back, since it may hold a URL, but for why something failed.

    Attributes
    ----------
    resized : bool
        The pictures changed their size midway. OpenCV goes on with the first size, and would squeeze them.
    interlaced : bool
        OpenCV gave what it could not convert.
    """

    def __init__(self):
        self.resized = self.interlaced = False
        self._said: collections.deque[str] = collections.deque(maxlen=100)
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(writing)
        threading.Thread(target=self._collect, args=(reading,), daemon=True).start()

    def _collect(self, reading: int) -> None:
        size = None
        with open(reading, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found = _SIZE.search(line)
                if found:
                    self.resized = self.resized or size not in (None, found[1])
                    size = found[1]
                    continue
                self.interlaced = self.interlaced or "Cannot convert interlaced" in line
                if not _CHATTER.search(line):
                    self._said.append(line)

    def note(self, text: str) -> None:
        """Take in what a library said by another way."""
        self._said.append(text + "\n")

    def reason(self, otherwise: str) -> str:
        time.sleep(0.05)  # what was written last has to come through
        text = "".join(list(self._said))
        return next((reason for mark, reason in COMPLAINTS if mark in text), otherwise)


def open_capture(config: dict, complaints: Complaints) -> Capture | None:
    """The opened source; None where it could not be opened."""
    if config["kind"] == "device":
        return open_webcam(config, complaints)
    if "descriptor" in config:
        os.lseek(config["descriptor"], 0, os.SEEK_SET)
    libav = libraries()
    if libav is not None:
        module, found = libav
        try:
            return module.AvCapture(
                found,
                config["address"],
                config["options"],
                config["threads"],
                complaints.note,
                config.get("key_frames", False),
            )
        except module.LibavError as error:
            if error.reason:
                raise Unreadable(error.reason) from None
            return None
    import cv2

    milliseconds = int(config["timeout"] * 1000)
    parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    if config["threads"]:
        parameters += [cv2.CAP_PROP_N_THREADS, config["threads"]]
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{name};{value}" for name, value in config["options"].items())
    return opened(cv2.VideoCapture(config["address"], cv2.CAP_FFMPEG, parameters), complaints)


def libraries():
    """The module `libav` and FFmpeg's libraries; None where they cannot be used."""
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libav.py")
    spec = importlib.util.spec_from_file_location("recognizer_libav", place)
    assert spec is not None and spec.loader is not None  # it lies beside this file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.load()
    return None if found is None else (module, found)


def open_webcam(config: dict, complaints: Complaints) -> Capture | None:
    import cv2

    address = int(config["address"]) if config["address"].isdigit() else config["address"]
    capture = cv2.VideoCapture(address, cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY)
    if capture.isOpened():
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config["width"])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config["height"])
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return opened(capture, complaints)


def opened(capture, complaints: Complaints) -> Capture | None:
    if capture.isOpened():
        return CvCapture(capture, complaints)
    capture.release()
    return None


def follow(capture: Capture, pictures: FrameSlots, complaints: Complaints, ahead: float | None) -> str:
    """Read a live source as fast as it gives, but no more than `ahead` seconds ahead; the reason why it gives no more."""
    begin: float | None = None
    first = 0.0
    if ahead and capture.clockless:
        ahead = None
    while capture.grab():
        taken, now = time.perf_counter(), time.time()
        if ahead is not None:
            stamp = capture.position
            if begin is None or stamp < first or stamp - first - (taken - begin) > _MOST_PAUSE:
                begin, first = taken, stamp
            early = stamp - first - (taken - begin) - ahead
            if early > 0:
                time.sleep(min(early, 5.0))
                taken, now = time.perf_counter(), time.time()
        if complaints.resized:
            return "resized"
        slot = pictures.take(wait=False)
        if slot is not None and not pictures.show(capture, slot, taken, now, None):
            break
    return complaints.reason("ended")


def play(
    capture: Capture, pictures: FrameSlots, paced: bool, begin: float, every: float = 0.0, key_frames: bool = False
) -> tuple[int, float]:
    """Play a recording once, at its own pace from the moment `begin`, or as fast as frames are taken.

    With `every`, frames less than so many seconds after the last one that was shown are passed over. Where the timestamps
    jump, the next frame follows at once, as in players, and is shown; between `key_frames` there may be any time.

    Returns how many frames there were, and the moment at which the next one would be due.
    """
    step = 1 / capture.rate if 0.1 <= capture.rate <= 1000 else 1 / 25
    most = max(_MOST_PAUSE, 2 / capture.rate if capture.rate > 0 else 0)
    count, position, shift = 0, 0.0, 0.0
    due = float("-inf")
    while capture.grab():
        if count and not key_frames and abs(capture.position + shift - position) > most:
            shift, due = position + step - capture.position, float("-inf")
        if count or capture.position > 0:
            here = capture.position + shift
            position = here if here > position else position + step
        count += 1
        if position < due - step / 2:
            continue
        due = position + every
        late = time.perf_counter() - begin - position
        if paced and late < 0:
            time.sleep(-late)
        elif paced and late > _FAR_BEHIND:
            begin += late
        elif paced and late > _BEHIND and count % 10:
            pictures.skipped += 1
            continue
        slot = pictures.take(wait=not paced)
        if slot is not None:
            pictures.show(capture, slot, time.perf_counter(), time.time(), position)
    return count, begin + position + step


def run(config: dict, pictures: FrameSlots, complaints: Complaints, say) -> None:
    begin = None
    while True:
        capture = open_capture(config, complaints)
        if capture is None:
            return say("lost", reason=complaints.reason("not_opened"))
        say("opened")
        if config.get("start"):
            capture.seek(config["start"])
        if config["live"]:
            return say("lost", reason=follow(capture, pictures, complaints, config.get("ahead")))
        every = config.get("every", 0.0)
        count, begin = play(
            capture, pictures, config["paced"], begin or time.perf_counter(), every, config.get("key_frames", False)
        )
        capture.release()
        if not count:
            return say("lost", reason=complaints.reason("damaged"))
        if not config["loop"]:
            return say("end", skipped=pictures.skipped)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    out = os.dup(1)
    complaints = Complaints()
    os.dup2(2, 1)  # a library that prints must not be taken for us
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        line += byte
    config = json.loads(line)
    os.environ.update(config["environ"])
    lock = threading.Lock()

    def say(event: str, **about) -> None:
        with lock:
            try:
                os.write(out, json.dumps({"event": event, **about}).encode() + b"\n")
            except OSError:
                os._exit(0)

    if "memory_name" in config:
        memory = mmap.mmap(-1, config["memory_bytes"], tagname=config["memory_name"])  # type: ignore[call-arg]  # Windows
    else:
        memory = mmap.mmap(config["memory"], config["memory_bytes"])
    pictures = FrameSlots(memory, config["slots"], config["slot_bytes"], say)

    def listen():
        while back := os.read(0, 16):
            for slot in back:
                pictures.free.put(slot)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    try:
        run(config, pictures, complaints, say)
    except Unreadable as error:
        say("lost", reason=str(error))
    except Exception as error:
        say("lost", reason=getattr(error, "reason", None) or "failed")
    os._exit(0)  # closing a source may hang


if __name__ == "__main__":
    main()
