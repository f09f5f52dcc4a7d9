"""A source read by a process of its own, `decoder.py`, and what comes from it through shared memory."""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
import secrets
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core import children
from recognizer.video.sources.base import Shot, SourceEnded, SourceLost, Stopper
from recognizer.video.sources.confined import OUTSIDE, OutsideFolder, open_file
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import CameraSource, split_url
from recognizer.video.spare_pixels import SparePixels

#: The program of a decoder.
PROGRAM = Path(__file__).with_name("decoder.py")
SLOTS = 3
#: The largest picture that is read: 8K.
MOST_PIXELS = 7680 * 4320
#: Bytes beyond the last picture: FFmpeg writes in blocks of pixels.
_MARGIN = 4096
#: The size that is requested from a webcam, which may have another.
WEBCAM_SIZE = (1280, 720)
#: RTSP over TCP, since lost packets show as torn pictures. Not "fflags=nobuffer": it throws away what was read while the
#: stream was examined, and with that the first keyframe. The next one may be 20 seconds away.
_RTSP = {"rtsp_transport": "tcp", "reorder_queue_size": "0", "protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls"}
_RTMP = {"rtmp_live": "live", "protocol_whitelist": "rtmp,rtmps,tcp,tls"}
_PIPE = {"protocol_whitelist": "pipe"}
#: A file is opened here and read by its descriptor. What it names itself, as playlists do, is not followed.
_FILE = {"protocol_whitelist": "fd"}
#: How a text begins that names a video instead of being one: playlists, FFmpeg's lists, session descriptions, pages.
_TEXTS = (b"#EXTM3U", b"<?xml", b"<!DOCTYPE", b"<html", b"<HTML", b"<MPD", b"[playlist]", b"ffconcat version", b"v=0")
_REASONS = {
    "refused_login": "the camera does not accept the user name and password",
    "no_such_stream": "the camera has no such stream",
    "refused": "the camera's port is closed",
    "silent": "the camera does not answer",
    "closed": "the camera closed the connection",
    "no_file": "it does not exist",
    "forbidden": "the server may not open it",
    "busy": "another program uses the webcam",
    "damaged": "it is not a readable video",
    "ended": "the stream ended",
    "resized": "its resolution changed",
    "not_opened": "it could not be opened",
    "too_large": f"its pictures are larger than {MOST_PIXELS} pixels",
    "failed": "reading it failed",
    "interlaced": "it is interlaced video, which the installed version of OpenCV cannot read",
    "only_cover": "it contains a cover picture, but no video",
    "no_video": "it contains no video",
    "playlist": "it is a playlist or names other files, which are not followed",
    "colours": "its colours are coded in a way that is not read (YCgCo, ICtCp or the like): convert it to BT.709",
    "slanted": "its pictures are rotated by an angle that is not a multiple of 90 degrees",
}

log = logging.getLogger("recognizer.video")


def is_text(head: bytes) -> bool:
    """Whether what begins so is a text that names a video, or a page, and no video."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_TEXTS)


def _reason(word: str) -> str:
    """The sentence for a decoder's reason."""
    word, _, codec = word.partition(":")
    if word == "no_decoder":
        return f"it is coded as {codec}, which the installed version of OpenCV cannot decode"
    return _REASONS.get(word, _REASONS["failed"])


def decoder_config(source: CameraSource, stopper: Stopper, reach: Reach, paced: bool, timeout: float) -> dict:
    """The configuration of a decoder for `source`, once the source is known to exist.

    A ``descriptor`` in it is the caller's to close, once the decoder has it.

    Raises
    ------
    SourceLost, SourceEnded
    """
    config: dict[str, Any] = {
        "kind": source.kind,
        "address": source.address,
        "live": source.live,
        "loop": source.loop,
        "paced": paced or source.live,
        "timeout": timeout,
        "threads": 1 if paced or source.live else 0,
        "width": WEBCAM_SIZE[0],
        "height": WEBCAM_SIZE[1],
        "options": {},
        "environ": {},
    }
    if source.kind == "rtsp":
        from recognizer.video.sources.network import reachable

        url = split_url(source.address)
        config["address"] = url.at(reachable(url, stopper, reach, timeout))
        microseconds = str(int(timeout * 1_000_000))
        rtsp = url.scheme.startswith("rtsp")
        config["options"] = {**_RTSP, "timeout": microseconds} if rtsp else {**_RTMP, "rw_timeout": microseconds}
    elif source.kind == "file":
        number = _open_recording(source)
        if os.name == "posix":
            config["descriptor"], config["address"] = number, "fd:"
            config["options"] = {**_FILE, "fd": str(number)}
        else:
            os.close(number)
            config["address"] = "file:" + os.path.abspath(source.address)
            config["options"] = {"protocol_whitelist": "file"}
    elif source.kind == "device" and sys.platform.startswith("linux"):
        name = f"/dev/video{source.address}" if source.address.isdigit() else source.address
        if not os.path.exists(name):
            raise SourceLost(f"{source.shown} is not attached")
        if not os.access(name, os.R_OK | os.W_OK):
            raise SourceLost(f"the server may not use {source.shown}: its user has to be in the group video")
    return config


def pipe_config(number: int, timeout: float, ahead: float) -> dict:
    """The configuration of a decoder that reads from a pipe, whose reading end has this number.

    A server may send faster than time goes; more than `ahead` seconds of that are waited for.
    """
    return {
        "kind": "pipe",
        "address": f"pipe:{number}",
        "live": True,
        "loop": False,
        "paced": True,
        "timeout": timeout,
        "threads": 1,
        "ahead": ahead,
        "width": 0,
        "height": 0,
        "options": _PIPE,
        "environ": {},
    }


def _open_recording(source: CameraSource) -> int:
    """The descriptor of a recording.

    Raises
    ------
    SourceLost, SourceEnded
    """
    try:
        number = open_file(source)
        problem = "it is not a file"
        if stat.S_ISREG(os.fstat(number).st_mode):
            head = os.read(number, 256)
            os.lseek(number, 0, os.SEEK_SET)
            if not is_text(head):
                return number
            problem = _REASONS["playlist"]
        os.close(number)
    except OutsideFolder:
        problem = OUTSIDE
    except (FileNotFoundError, NotADirectoryError):
        problem = "there is no such file"
    except PermissionError:
        problem = "the server may not read this file"
    except IsADirectoryError:
        problem = "it is not a file"
    except OSError as error:
        problem = f"it cannot be opened: {(error.strerror or 'failed').lower()}"
    raise (SourceLost if source.loop else SourceEnded)(problem)


class ProcessReader:
    """A decoder at work. Reading never waits in a library, so it can always be broken off.

    Parameters
    ----------
    config : dict
    stopper : Stopper
    inherit : tuple of int
        File descriptors that the decoder reads from; they stay the caller's.
    """

    def __init__(self, config: dict, stopper: Stopper, inherit: tuple[int, ...] = ()):
        self._once = not config["live"] and not config["loop"]
        self._stopper = stopper
        self._changed = threading.Condition()
        self._shots: deque[Shot] = deque()
        self._spare = SparePixels()
        self._end: Exception | None = None
        self._begun = time.monotonic()
        self._open_by: float | None = self._begun + config["timeout"] + 2
        self._memory, told, passed = _shared_memory(SLOTS * MOST_PIXELS * 3 + _MARGIN)
        config = {**config, **told, "slots": SLOTS, "slot_bytes": MOST_PIXELS * 3}
        config["environ"] = {**config["environ"], "OPENCV_FFMPEG_LOGLEVEL": "40", "OPENCV_LOG_LEVEL": "WARN"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=children.child_environment(),
                pass_fds=(*passed, *inherit) if os.name == "posix" else (),
            )
        except OSError as error:
            raise SourceLost(f"no process could be started to read it: {(error.strerror or 'failed').lower()}") from None
        finally:
            for number in passed:
                os.close(number)
        assert self._process.stdin is not None and self._process.stdout is not None  # pipes were asked for
        self._commands, self._messages = self._process.stdin, self._process.stdout
        self._tell = threading.Lock()
        with contextlib.suppress(OSError):
            self._commands.write(json.dumps(config).encode() + b"\n")
        self._listener = threading.Thread(target=self._listen, name="decoder", daemon=True)
        self._listener.start()

    def read(self, timeout: float) -> Shot | None:
        until = time.monotonic() + timeout
        with self._stopper.calling(self._wake), self._changed:
            while not self._shots and self._end is None and not self._stopper.stopped:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._shots:
                return self._shots.popleft()
            if self._end is not None:
                raise self._end
            if self._open_by is not None and time.monotonic() > self._open_by:
                raise SourceLost(_REASONS["silent"])
        return None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        with self._tell:
            self._commands.close()
        self._messages.close()
        self._shots.clear()

    # -- what the decoder says ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        reason = "the process that read it broke down; what it gives may be damaged"
        try:
            for line in iter(self._lines().__next__, None):
                self._hear(json.loads(line))
        except Exception as error:  # a line that no decoder writes: nothing after it can be trusted
            reason = _REASONS["failed"]
            log.error("a decoder's message could not be read: %s", type(error).__name__)
        with self._changed:
            if self._end is None:
                self._end = (SourceEnded if self._once else SourceLost)(reason)
            self._changed.notify_all()

    def _hear(self, said: dict) -> None:
        """Take one message of the decoder."""
        with self._changed:
            if said["event"] == "opened":
                self._open_by = None
            elif said["event"] == "frame":
                self._shots.append(self._shot(said))
            elif said["event"] == "end":
                self._end = SourceEnded(skipped=said["skipped"])
            elif self._end is None:
                reason = _reason(said["reason"])
                self._end = (SourceEnded if self._once else SourceLost)(reason)
            self._changed.notify_all()

    def _lines(self):
        rest = b""
        while piece := os.read(self._process.stdout.fileno(), 65536):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        yield None

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _shot(self, said: dict) -> Shot:
        slot, height, width = said["slot"], said["height"], said["width"]
        memory, start = self._memory, said["slot"] * MOST_PIXELS * 3

        def load() -> np.ndarray:
            flat = np.frombuffer(memory, np.uint8, height * width * 3, start)
            pixels = self._spare.take(height, width)
            pixels[...] = flat.reshape(height, width, 3)
            return pixels

        return Shot(
            load, said["time"], said["taken"], said["position"], said["skipped"], said["same"], lambda: self._give_back(slot)
        )

    def _give_back(self, slot: int) -> None:
        with self._tell, contextlib.suppress(OSError, ValueError):  # it may be gone
            self._commands.write(bytes([slot]))


def _shared_memory(size: int) -> tuple[mmap.mmap, dict, tuple[int, ...]]:
    """Memory that is freed with its last user, its description for a decoder, and the descriptors that a decoder inherits.

    Only pages that are written to take memory; the size is that of the address space.
    """
    if os.name != "posix":
        name = f"recognizer-{secrets.token_hex(16)}"
        memory = mmap.mmap(-1, size, tagname=name)  # type: ignore[call-arg]  # Windows
        return memory, {"memory_name": name, "memory_bytes": size}, ()
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("recognizer-frames")
    else:
        with tempfile.TemporaryFile() as file:
            number = os.dup(file.fileno())
    os.ftruncate(number, size)
    return mmap.mmap(number, size), {"memory": number, "memory_bytes": size}, (number,)
