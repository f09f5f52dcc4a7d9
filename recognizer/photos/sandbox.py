"""Separate processes for decoders that may crash, hang or exhaust memory.

A child process decodes one photo at a time: it reads bytes from its standard input and writes pixels to its standard output.
Photos are untrusted, and the decoders of HEIC, AVIF, TIFF, GIF, BMP, JPEG 2000, JPEG XL and
camera raw files are large, very old or very new C code. A child has
limits of processor time and of wall-clock time for each photo, and on Linux of memory. A child that exceeds a limit is killed,
the photo gets an error, and the next photo a new child. Children are started on demand, so a server that receives only JPEG,
PNG and WebP starts none, and they exit after being idle. They cannot write files.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import spawn
from typing import IO

import numpy as np

from recognizer.core import children, errors
from recognizer.core.errors import DecoderCrashed, DecoderTooSlow, DecoderUnavailable, ImageError
from recognizer.photos import decoders, decoding_memory, extra_decoders

#: Limits for one photo: processor seconds, and wall-clock seconds, which are more on a busy machine.
CPU_SECONDS, SECONDS = 5, 30.0
#: Pixels for which this is enough; a larger photo gets more processor time in proportion.
PIXELS_IN_TIME = 25_000_000
#: Seconds within which a child must start, and after which an idle child exits.
START_SECONDS, IDLE_SECONDS = 60.0, 60.0
#: Bytes that a child may allocate beyond what it has when it is ready: a fixed number, or a number per allowed pixel if larger.
MEMORY, MEMORY_PER_PIXEL = 512_000_000, 18
#: Threads for one photo, where a decoder supports that.
THREADS = 4
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from recognizer.photos import sandbox; sandbox.serve()"
_REQUEST = struct.Struct("<8sQQ")  # format, length of the data, most pixels
_LENGTH = struct.Struct("<I")
_PIXELS = struct.Struct("<Q")
_PIPE = 1 << 20
_READY, _BEGUN = b"R", b"B"
#: A child reports the photo's size, and decodes it when there is memory for it; or it answers at once, that it is no photo.
_SIZE, _GO, _ANSWER = b"S", b"G", b"A"
#: The errors that a child can report, by code.
ERRORS = {kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ImageError)}


def decode_stored(kind: str, data: bytes, max_pixels: int) -> decoders.Decoded:
    """Like `decoders.decode_stored`, in another process.

    Raises
    ------
    ImageError
        Including DecoderCrashed, DecoderTooSlow and DecoderUnavailable.
    """
    return SHARED.decode_stored(kind, data, max_pixels)


def close() -> None:
    """End the idle children; new ones are started on demand."""
    SHARED.close()


# -- in the parent ---------------------------------------------------------------------------------------------------


class Sandbox:
    """A set of child processes. Owns them and the list of idle ones; thread-safe.

    Parameters
    ----------
    most : int
        Largest number of children that decode at the same time; further callers wait.
    command : list of str, optional
        The command of a child; default: `child_command`.
    cpu_seconds, seconds : float
        See `CPU_SECONDS` and `SECONDS`.
    """

    def __init__(
        self, most: int, command: list[str] | None = None, *, cpu_seconds: float = CPU_SECONDS, seconds: float = SECONDS
    ):
        self._most, self._command = most, command
        self._cpu_seconds, self._seconds = cpu_seconds, seconds
        self._inherited: list[_Child] = []
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._most)
        self._free: list[_Child] = []

    @property
    def idle_pids(self) -> list[int]:
        """Process ids of the running children that wait for a photo."""
        with self._lock:
            return [child.pid for child in self._free if child.alive]

    def decode_stored(self, kind: str, data: bytes, max_pixels: int) -> decoders.Decoded:
        """See `decode_stored`."""
        with self._places:
            for _ in range(3):  # if a child ended before it received the photo, the photo is not the cause
                child = self._take()
                try:
                    found = child.decode_stored(kind, data, max_pixels, self._seconds)
                except _NotBegun:
                    child.end()
                    continue
                except ImageError as error:
                    self._give_back(child)
                    raise error from None
                except BaseException:
                    child.end()
                    raise
                self._give_back(child)
                return found
        raise DecoderUnavailable(f"the decoder of {decoders.FORMATS[kind]} photos ended unexpectedly several times")

    def _take(self) -> _Child:
        while True:
            with self._lock:
                child = self._free.pop() if self._free else None
            if child is None:
                return _Child(self._command or child_command(self._cpu_seconds))
            if child.alive:
                return child
            child.end()

    def _give_back(self, child: _Child) -> None:
        if child.alive:
            with self._lock:
                self._free.append(child)
        else:
            child.end()

    def close(self) -> None:
        """See `close`."""
        with self._lock:
            free, self._free = self._free, []
        for child in free:
            child.end()

    def forked(self) -> None:
        """Start anew in a forked process: the children and the locks belong to its parent."""
        self._inherited += self._free  # referenced, so that they are neither closed nor waited for
        self._begin()


class _NotBegun(Exception):
    """A child ended, or its pipe failed, before it received the photo."""


class _Child:
    """One child process; used by one thread at a time."""

    def __init__(self, command: list[str]):
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        # a single arena: each thread's own arena would count against the limit with all its reserved addresses
        environment = children.child_environment(MALLOC_ARENA_MAX="1", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                creationflags=flags,
            )
        except (OSError, ValueError) as error:
            raise DecoderUnavailable("the decoder of photos of this format could not be started") from error
        if self._process.stdin is None or self._process.stdout is None:
            raise TypeError("expected a process with pipes")
        self._requests, self._answers = self._process.stdin, self._process.stdout
        for pipe in (self._requests, self._answers):
            _widen(pipe)
        self._late = False
        with self._no_longer_than(START_SECONDS):
            if self._answers.read(1) != _READY:
                self.end()
                raise DecoderUnavailable("the decoder of photos of this format did not start")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._requests.closed and self._process.poll() is None

    def decode_stored(self, kind: str, data: bytes, max_pixels: int, seconds: float) -> decoders.Decoded:
        pixels = 0
        with self._no_longer_than(seconds):
            try:
                self._requests.write(_REQUEST.pack(kind.encode(), len(data), max_pixels))
                self._requests.write(data)
                self._requests.flush()
                begun = self._answers.read(1) == _BEGUN
            except OSError:
                begun = False
            if not begun and not self._late:
                raise _NotBegun
            try:
                if _exactly(self._answers, 1) == _ANSWER:
                    return self._answer(kind, max_pixels)
                (pixels,) = _PIXELS.unpack(_exactly(self._answers, _PIXELS.size))
                if pixels > max_pixels:
                    raise ValueError(f"expected at most {max_pixels} pixels, got {pixels}")
            except (EOFError, OSError, ValueError, TypeError, KeyError):
                self.end()
                raise self._verdict(kind) from None
        memory, limit = pixels * decoding_memory.BYTES_PER_PIXEL, max_pixels * decoding_memory.BYTES_PER_PIXEL
        with decoding_memory.SHARED.taking(memory, limit), self._no_longer_than(seconds):
            try:
                self._requests.write(_GO)
                self._requests.flush()
                if _exactly(self._answers, 1) != _ANSWER:
                    raise ValueError("expected an answer")
                return self._answer(kind, max_pixels)
            except (EOFError, OSError, ValueError, TypeError, KeyError):
                self.end()
                raise self._verdict(kind) from None

    def _answer(self, kind: str, max_pixels: int) -> decoders.Decoded:
        """Read the child's answer. The child is untrusted: impossible values are an error."""
        (length,) = _LENGTH.unpack(_exactly(self._answers, _LENGTH.size))
        if length > 100_000:
            raise ValueError(f"expected a short answer, got {length} bytes")
        head = json.loads(_exactly(self._answers, length))
        if "code" in head:
            raise ERRORS[head["code"]](head["message"], **head["details"])
        height, width, orientation = (int(head[name]) for name in ("height", "width", "orientation"))
        if not (0 < height and 0 < width and height * width <= max_pixels):
            raise ValueError(f"expected at most {max_pixels} pixels, got {width}x{height}")
        pixels = np.empty((height, width, 3), np.uint8)
        view, at = memoryview(pixels.data).cast("B"), 0
        while at < len(view):
            count = _readinto(self._answers, view[at:])
            if not count:
                raise EOFError
            at += count
        return pixels, orientation

    def _verdict(self, kind: str) -> ImageError:
        """Why the child that decoded a photo of `kind` ended."""
        name = decoders.FORMATS[kind]
        if self._late or self._process.returncode == -getattr(signal, "SIGXCPU", 0) != 0:
            return DecoderTooSlow(f"decoding this {name} photo took too long and was aborted", format=kind)
        return DecoderCrashed(f"this {name} photo makes the {name} decoder crash", format=kind)

    @contextlib.contextmanager
    def _no_longer_than(self, seconds: float) -> Iterator[None]:
        """Kill the child if the block takes longer; a read that waits for the child then ends."""
        timer = threading.Timer(seconds, self._kill_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill_late(self) -> None:
        self._late = True
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # buffered data can no longer be sent
                pipe.close()


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _readinto(stream: IO[bytes], view: memoryview) -> int:
    # `IO` lacks the method, which a pipe has
    return int(stream.readinto(view) or 0)  # type: ignore[attr-defined]


def _widen(pipe: IO[bytes]) -> None:
    """Enlarge a pipe's buffer where the system supports it, for fewer context switches."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except (ImportError, AttributeError, OSError):
        return


def child_command(cpu_seconds: float) -> list[str]:
    """The command that starts a child."""
    path = [os.path.abspath(place) if place == "" else place for place in sys.path]
    return [os.fsdecode(spawn.get_executable()), "-c", _START, json.dumps(path), str(cpu_seconds)]


#: The sandbox of this process.
SHARED = Sandbox((os.cpu_count() or 1) + 1)
atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED.forked)


# -- in the child ----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Decode photos from the standard input until it ends. The output of libraries is discarded."""
    for name in ("SIGINT", "SIGTERM"):  # for the parent, which closes the pipe when it ends
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    _import_decoders()
    limits = _Limits(float(sys.argv[2]))
    answers.write(_READY)
    answers.flush()
    while True:
        idle = threading.Timer(IDLE_SECONDS, os._exit, [0])
        idle.daemon = True
        idle.start()
        head = requests.read(_REQUEST.size)
        idle.cancel()
        if len(head) < _REQUEST.size:
            return
        kind, length, max_pixels = _REQUEST.unpack(head)
        data = requests.read(length)
        if len(data) < length:
            return
        answers.write(_BEGUN)
        answers.flush()
        limits.set(max_pixels)

        def begin(pixels: int) -> contextlib.AbstractContextManager[None]:
            answers.write(_SIZE + _PIXELS.pack(pixels))
            answers.flush()
            if requests.read(1) != _GO:
                os._exit(0)
            limits.allow_time(pixels)
            return contextlib.nullcontext()

        _answer(answers, kind.rstrip(b"\0").decode(), data, max_pixels, begin)


def _answer(
    answers: IO[bytes],
    kind: str,
    data: bytes,
    max_pixels: int,
    begin: Callable[[int], contextlib.AbstractContextManager[None]],
) -> None:
    pixels: np.ndarray | None = None
    try:
        pixels, orientation = decoders.decode_stored(kind, data, max_pixels, begin)
        head: dict[str, object] = {"height": pixels.shape[0], "width": pixels.shape[1], "orientation": orientation}
    except ImageError as error:
        head = {"code": error.code, "message": error.message, "details": error.details}
    text = json.dumps(head).encode()
    answers.write(_ANSWER + _LENGTH.pack(len(text)) + text)
    if pixels is not None:
        answers.write(memoryview(np.ascontiguousarray(pixels).data).cast("B"))
    answers.flush()


def _import_decoders() -> None:
    """Import everything that decoding needs, before the limits are set and the first photo arrives."""
    from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, Jpeg2KImagePlugin, JpegImagePlugin, TiffImagePlugin  # noqa: F401

    AvifImagePlugin.DEFAULT_MAX_THREADS = min(THREADS, os.cpu_count() or 1)
    for name in ("pi_heif", *(package for package, _ in extra_decoders.PACKAGES.values())):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class _Limits:
    """The resource limits of this process, where the system has them: soft limits, set again for each photo."""

    def __init__(self, cpu_seconds: float):
        self._cpu_seconds = cpu_seconds
        self._set("RLIMIT_CORE", 0)  # a core dump would write faces to the disk
        self._set("RLIMIT_FSIZE", 0)
        self._addresses: int | None = None
        with contextlib.suppress(ImportError, OSError):  # not Linux: other systems do not enforce a limit of addresses
            import resource

            with open("/proc/self/statm") as file:
                self._addresses = int(file.read().split()[0]) * resource.getpagesize()

    def _set(self, name: str, value: int) -> None:
        try:
            import resource
        except ImportError:  # Windows
            return
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(number, (value, hard))

    def set(self, max_pixels: int) -> None:
        """Set the limits for a photo of at most `max_pixels`."""
        self.allow_time(0)
        if self._addresses is not None:
            self._set("RLIMIT_AS", self._addresses + max(MEMORY, MEMORY_PER_PIXEL * max_pixels))

    def allow_time(self, pixels: int) -> None:
        """Allow the processor time for a photo of so many pixels, counted from now."""
        seconds = self._cpu_seconds * max(1.0, pixels / PIXELS_IN_TIME)
        self._set("RLIMIT_CPU", int(time.process_time() + seconds) + 1)
