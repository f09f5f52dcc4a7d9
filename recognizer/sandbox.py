"""Decoders that may crash, hang or take all memory, in processes where that harms nobody.

A child process decodes one photo after the other: bytes in by its standard input, pixels out by its standard output.
Photos come from anywhere, and what reads HEIC, AVIF, TIFF, GIF and BMP is large, old or young C code. A child has a
limit of processor time and of time for each photo, and on Linux one of memory; whatever goes beyond is killed, the photo
gets an error, and the next photo a new child. Children are started when they are first needed, which a server that is
sent JPEG, PNG and WebP never does, and end by themselves when they have been idle. They write no files.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from multiprocessing import spawn

import numpy as np

from . import children, decoders, errors
from .errors import DecoderCrashed, DecoderTooSlow, DecoderUnavailable, ImageError

#: Processor seconds that one photo may take, and seconds in all: on a machine busy with other things, that is more.
CPU_SECONDS, SECONDS = 5, 30.0
#: Seconds in which a child must have started, and for which it waits for another photo.
START_SECONDS, IDLE_SECONDS = 60.0, 60.0
#: Bytes that a child may take beyond what it has when it is ready: so many, or so many for each pixel that is allowed.
MEMORY, MEMORY_PER_PIXEL = 512_000_000, 18
#: Threads for one photo, where a decoder can be told.
THREADS = 4
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from recognizer import sandbox; sandbox.serve()"
_REQUEST = struct.Struct("<8sQQ")  # format, length of the data, most pixels
_LENGTH = struct.Struct("<I")
_PIPE = 1 << 20
_READY, _BEGUN = b"R", b"B"
_ERRORS = {kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ImageError)}


def read(kind: str, data: bytes, max_pixels: int) -> decoders.Read:
    """Like `decoders.read`, in another process.

    Raises
    ------
    ImageError
        DecoderCrashed, DecoderTooSlow and DecoderUnavailable among them.
    """
    return _sandbox.read(kind, data, max_pixels)


def close() -> None:
    """End the children that do nothing now; others are started when they are needed."""
    _sandbox.close()


# -- here ------------------------------------------------------------------------------------------------------------


class Sandbox:
    """Some children. Owns them and the list of those that are free; may be used from any thread.

    Parameters
    ----------
    most : int
        Children that decode at once; who comes then waits for one of them.
    command : list of str, optional
        What to start instead of this module's `serve`.
    cpu_seconds, seconds : float
        See `CPU_SECONDS` and `SECONDS`.
    """

    def __init__(self, most: int, command: list[str] | None = None, *, cpu_seconds=CPU_SECONDS, seconds=SECONDS):
        self._most, self._command = most, command
        self._cpu_seconds, self._seconds = cpu_seconds, seconds
        self._inherited: list[_Child] = []
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._most)
        self._free: list[_Child] = []

    def read(self, kind: str, data: bytes, max_pixels: int) -> decoders.Read:
        """See `read`."""
        with self._places:
            for _ in range(3):  # a child that ended before it had the photo is not the photo's fault
                child = self._take()
                try:
                    found = child.read(kind, data, max_pixels, self._seconds)
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
        raise DecoderUnavailable(f"what reads {decoders.FORMATS[kind]} photos ended by itself several times")

    def _take(self) -> _Child:
        while True:
            with self._lock:
                child = self._free.pop() if self._free else None
            if child is None:
                return _Child(self._command or _command(self._cpu_seconds))
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
        """In a process that was forked: the children are its parent's, and so are the locks."""
        self._inherited += self._free  # kept, so that nothing is closed or waited for
        self._begin()


class _NotBegun(Exception):
    """A child ended, or could not be spoken to, before it had the photo."""


class _Child:
    """One child process; used by one thread at a time."""

    def __init__(self, command: list[str]):
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        # one arena: each thread's own would count against the limit with all the memory that it might take
        environment = children.environment(MALLOC_ARENA_MAX="1", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                creationflags=flags,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise DecoderUnavailable("what reads photos of this format could not be started") from error
        for pipe in (self._process.stdin, self._process.stdout):
            _widen(pipe)
        self._late = False
        with self._no_longer_than(START_SECONDS):
            if self._process.stdout.read(1) != _READY:
                self.end()
                raise DecoderUnavailable("what reads photos of this format did not start")

    @property
    def alive(self) -> bool:
        return not self._process.stdin.closed and self._process.poll() is None

    def read(self, kind: str, data: bytes, max_pixels: int, seconds: float) -> decoders.Read:
        with self._no_longer_than(seconds):
            try:
                self._process.stdin.write(_REQUEST.pack(kind.encode(), len(data), max_pixels))
                self._process.stdin.write(data)
                self._process.stdin.flush()
                begun = self._process.stdout.read(1) == _BEGUN
            except OSError:
                begun = False
            if not begun and not self._late:
                raise _NotBegun
            try:
                return self._answer(kind, max_pixels)
            except (EOFError, OSError, ValueError, TypeError, KeyError):
                self.end()
                raise self._verdict(kind) from None

    def _answer(self, kind: str, max_pixels: int) -> decoders.Read:
        """What the child says, believed only as far as it is possible."""
        stdout = self._process.stdout
        (length,) = _LENGTH.unpack(_exactly(stdout, _LENGTH.size))
        if length > 100_000:
            raise ValueError(f"expected a short answer, got {length} bytes")
        head = json.loads(_exactly(stdout, length))
        if "code" in head:
            raise _ERRORS[head["code"]](head["message"], **head["details"])
        height, width, orientation = (int(head[name]) for name in ("height", "width", "orientation"))
        if not (0 < height and 0 < width and height * width <= max_pixels):
            raise ValueError(f"expected at most {max_pixels} pixels, got {width}x{height}")
        pixels = np.empty((height, width, 3), np.uint8)
        view, at = memoryview(pixels).cast("B"), 0
        while at < len(view):
            count = stdout.readinto(view[at:])
            if not count:
                raise EOFError
            at += count
        return pixels, orientation

    def _verdict(self, kind: str) -> ImageError:
        """Why the child that read a photo of `kind` ended."""
        name = decoders.FORMATS[kind]
        if self._late or self._process.returncode == -getattr(signal, "SIGXCPU", 0) != 0:
            return DecoderTooSlow(f"reading this {name} photo took too long and was given up", format=kind)
        return DecoderCrashed(f"this {name} photo makes what reads {name} fail", format=kind)

    @contextlib.contextmanager
    def _no_longer_than(self, seconds: float):
        """Kill the child if the block lasts longer; whoever waits for it then sees its end."""
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
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent yet cannot be sent any longer
                pipe.close()


def _exactly(stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _widen(pipe) -> None:
    """Let a pipe hold more at once, where that can be: its ends then take turns less often."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except (ImportError, AttributeError, OSError):
        return


def _command(cpu_seconds: float) -> list[str]:
    path = [os.path.abspath(place) if place == "" else place for place in sys.path]
    return [os.fsdecode(spawn.get_executable()), "-c", _START, json.dumps(path), str(cpu_seconds)]


_sandbox = Sandbox((os.cpu_count() or 1) + 1)
atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_sandbox.forked)


# -- in the child ----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Decode what comes by the standard input until it ends. What libraries print goes nowhere."""
    for name in ("SIGINT", "SIGTERM"):  # meant for the parent, which closes the pipe when it ends
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
        _answer(answers, kind.rstrip(b"\0").decode(), data, max_pixels)


def _answer(answers, kind: str, data: bytes, max_pixels: int) -> None:
    try:
        pixels, orientation = decoders.read(kind, data, max_pixels)
        head = {"height": pixels.shape[0], "width": pixels.shape[1], "orientation": orientation}
    except ImageError as error:
        pixels, head = None, {"code": error.code, "message": error.message, "details": error.details}
    text = json.dumps(head).encode()
    answers.write(_LENGTH.pack(len(text)) + text)
    if pixels is not None:
        answers.write(memoryview(np.ascontiguousarray(pixels)).cast("B"))
    answers.flush()


def _import_decoders() -> None:
    """Everything that reading a photo imports, before the limits and before the first photo waits for it."""
    from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, TiffImagePlugin  # noqa: F401

    AvifImagePlugin.DEFAULT_MAX_THREADS = min(THREADS, os.cpu_count() or 1)
    with contextlib.suppress(ImportError):
        import pi_heif  # noqa: F401


class _Limits:
    """What the system keeps this process to, as far as it can; only the soft limits, to be set for each photo."""

    def __init__(self, cpu_seconds: float):
        self._cpu_seconds = cpu_seconds
        try:
            import resource
        except ImportError:  # Windows
            self._resource = None
            return
        self._resource = resource
        self._set("RLIMIT_CORE", 0)  # a core dump would be a face on the disk
        self._set("RLIMIT_FSIZE", 0)
        try:
            with open("/proc/self/statm") as file:
                self._has = int(file.read().split()[0]) * resource.getpagesize()
        except OSError:  # not Linux: other systems do not hold anybody to a limit of addresses
            self._has = None

    def _set(self, name: str, value: int) -> None:
        number = getattr(self._resource, name)
        hard = self._resource.getrlimit(number)[1]
        if hard != self._resource.RLIM_INFINITY:
            value = min(value, hard)
        with contextlib.suppress(OSError, ValueError):
            self._resource.setrlimit(number, (value, hard))

    def set(self, max_pixels: int) -> None:
        """Begin a photo of at most so many pixels."""
        if self._resource is None:
            return
        used = self._resource.getrusage(self._resource.RUSAGE_SELF)
        self._set("RLIMIT_CPU", int(used.ru_utime + used.ru_stime + self._cpu_seconds) + 1)
        if self._has is not None:
            self._set("RLIMIT_AS", self._has + max(MEMORY, MEMORY_PER_PIXEL * max_pixels))
