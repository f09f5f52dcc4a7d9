"""Servers and commands that are forked from a process which has imported the application: the template.

An interpreter that imports everything takes half a second of processor time before it does anything, and the tests start
hundreds. `start` is `subprocess.Popen` for these: what it returns has a process id, pipes, signals and an exit status as ever.
Each process of pytest has one template, which has one thread, no settings and nothing open, so that a child with its own
environment and streams is for the application what a new process is.

Not for everybody: its command line and environment in /proc are those of the template, and modules are imported before it
begins. Tests of such things, of imports or of warnings use `subprocess.Popen` itself. So do statements that change a name
which other modules have imported from its module.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: What servers and commands import sooner or later. Not OpenCV, which takes little and starts a thread.
MODULES = (
    "PIL.ImageDraw",
    "PIL.ImageFont",
    "dlib",
    "filelock",
    "hug.development_runner",
    "platformdirs",
    "prometheus_client",
    "recognizer.cli",
    "recognizer.database.leases",
    "recognizer.engines.dlib.convert",
    "recognizer.engines.dlib.jitter",
    "recognizer.engines.dlib.onnx",
    "recognizer.engines.joined",
    "recognizer.engines.sface",
    "recognizer.engines.sface_ort",
    "recognizer.engines.yunet",
    "recognizer.engines.yunet_ort",
    "recognizer.events.mqtt",
    "recognizer.http.compat",
    "recognizer.http.hug_adapter",
    "recognizer.http.photo_requests",
    "recognizer.http.routes",
    "recognizer.http.site",
    "recognizer.http.wsgi",
    "recognizer.rules.rule_delivery",
    "recognizer.video.output.live",
    "recognizer.video.sources.shared_cameras",
    "simplejpeg",
    "watchfiles",
)
#: Variables that may differ from those of the template: nothing reads them before a child has its own.
_SETTINGS = ("RECOGNIZER_", "PYTEST_")
#: Others of that kind. The last ones are set by the application itself when it loads these libraries, also in tests.
_OTHERS = {
    "PYTHONFAULTHANDLER",
    "OPENCV_LOG_LEVEL",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER",
    "ORT_DISABLE_TELEMETRY",
}
_REQUEST_BYTES = 1 << 17


# -- in a process of tests -----------------------------------------------------------------------------------------


def start(command: tuple[str, ...] | list[str], **how: Any) -> subprocess.Popen:
    """`subprocess.Popen(command, **how)`, forked from the template where that makes no difference."""
    words = [str(word) for word in command]
    return (Forked if _forkable(words, how) else subprocess.Popen)(words, **how)


def run(command: tuple[str, ...] | list[str], timeout: float = 300, **how: Any) -> subprocess.CompletedProcess[str]:
    """A command in the project's folder, and what it wrote and ended with; `how` as for `start`."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(command, **{"cwd": ROOT, "text": True, **pipes, **how}) as process:
        try:
            said, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


def _forkable(words: list[str], how: Mapping[str, Any]) -> bool:
    """Whether the template can stand in: on Linux, for Python in the project's folder, with nothing special about it."""
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open"):
        return False
    if set(how) - {"cwd", "env", "stdin", "stdout", "stderr", "text", "bufsize"} or how.get("cwd") != ROOT:
        return False
    if not (_is_script(words[0]) or (words[0] == sys.executable and _options(words)[1:2] in (["-c"], ["-m"]))):
        return False
    return _fixed(how.get("env", os.environ)) == TEMPLATE.environ


def _options(words: list[str]) -> list[str]:
    """The words of a command without the option for warnings that are errors."""
    return [words[0], *words[3:]] if words[1:3] == ["-W", "error"] else words


def _is_script(program: str) -> bool:
    """Whether it is one of the commands that packages install beside the interpreter."""
    path = Path(program)
    if path.parent != Path(sys.executable).parent or not path.is_file():
        return False
    with path.open("rb") as file:
        mark, _, interpreter = os.fsdecode(file.readline()).strip().partition("#!")
    return not mark and Path(interpreter).name.startswith("python") and Path(interpreter).parent.samefile(path.parent)


def _fixed(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables in which a child must agree with the template."""
    return {name: value for name, value in environ.items() if not name.startswith(_SETTINGS) and name not in _OTHERS}


class Template:
    """The template of this process, started when it is first needed."""

    def __init__(self) -> None:
        self.environ = _fixed(os.environ)
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._connection: socket.socket | None = None

    def ask(self, descriptors: tuple[int, ...] = (), **request: Any) -> int:
        """What the template answers to a request."""
        with self._lock:
            if self._connection is None:
                self._begin()
            assert self._connection is not None
            socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
            return int(self._connection.recv(100))

    def _begin(self) -> None:
        self._connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno())],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                pass_fds=(other.fileno(),),
            )

    def close(self) -> None:
        """End it. Children that still run are left alone."""
        with self._lock:
            if self._connection is not None and self._process is not None:
                self._connection.close()
                self._process.wait()
                self._connection = self._process = None


TEMPLATE = Template()


class Forked(subprocess.Popen):
    """A process that the template forked. The template is its parent, and so waits for it on demand."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *others):
        sys.audit("subprocess.Popen", args[0], args, cwd, env)
        pipes = others[3:9]  # after startupinfo, creationflags and shell
        read, _, _, write, _, write_errors = pipes
        streams = tuple(number if pipe == -1 else pipe for number, pipe in enumerate((read, write, write_errors)))
        self.pid = TEMPLATE.ask(streams, words=args, environ=dict(os.environ if env is None else env))
        self._ended = os.pidfd_open(self.pid)
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags):
        if not select.select([self._ended], [], [], 0 if wait_flags & os.WNOHANG else None)[0]:
            return 0, 0
        status = TEMPLATE.ask(ended=self.pid)
        os.close(self._ended)
        return self.pid, status

    def _internal_poll(self, _deadstate=None, *_):
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid == self.pid:
                        self._handle_exitstatus(status)
            except OSError:  # the template has ended
                if _deadstate is None:
                    raise
                self.returncode = _deadstate
            finally:
                self._waitpid_lock.release()
        return self.returncode


# -- in the template -----------------------------------------------------------------------------------------------


def _prepare() -> None:
    """Import what children need, and keep the collector of garbage from touching it, which would copy it for each child."""
    sys.argv[0] = "hug"  # whose parser of arguments notes it when it is imported
    for name in MODULES:
        importlib.import_module(name)
    from recognizer.engines import runtime

    runtime.version()  # imports onnxruntime as the application does
    gc.collect()
    gc.freeze()


def _serve(connection: socket.socket) -> list[str]:
    """Fork a child for each request. Returns in a child, with the words of its command."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the children, which are in the same group
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 3)
        if not message:
            os._exit(0)
        request = json.loads(message)
        if "ended" in request:
            connection.send(str(os.waitpid(request["ended"], 0)[1]).encode())
            continue
        with warnings.catch_warnings():  # a library for linear algebra has threads, which it ends and starts again
            warnings.simplefilter("ignore", DeprecationWarning)
            number = os.fork()
        if number == 0:
            connection.close()
            signal.signal(signal.SIGINT, interrupt)
            _become(request["environ"], descriptors)
            return request["words"]
        for each in descriptors:
            os.close(each)
        connection.send(str(number).encode())


def _become(environ: Mapping[str, str], descriptors: list[int]) -> None:
    """Give this process its environment and streams, as an interpreter has them that begins."""
    for number, each in enumerate(descriptors):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(environ)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, f"<{name}>", getattr(sys, f"__{name}__"))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()


def _stream(number: int, name: str, usual: TextIOWrapper) -> TextIOWrapper:
    """A standard stream, with the encoding of the usual one."""
    at_once = usual.write_through
    binary = open(number, usual.mode + "b", 0 if at_once else -1, closefd=False)
    getattr(binary, "raw", binary).name = name
    by_lines = not at_once and (number == 2 or binary.isatty())
    stream = TextIOWrapper(binary, usual.encoding, usual.errors, "\n", by_lines, at_once)
    stream.mode = usual.mode
    return stream


def _run(words: list[str]) -> None:
    """Run a command as the interpreter does. Its end is that of this process."""
    sys.orig_argv[:] = words if words[0] == sys.executable else [sys.executable, *words]
    if words != _options(words):
        words = _options(words)
        warnings.simplefilter("error")
    kind, given = words[1:2], words[3:]
    if words[0] != sys.executable:
        sys.argv[:], sys.path[0] = words, str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")
    elif kind == ["-m"]:
        sys.argv[:], sys.path[0] = ["-m", *given], os.getcwd()
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:], sys.path[0] = ["-c", *given], ""
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(words[2], "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    _prepare()
    _run(_serve(socket.socket(fileno=int(sys.argv[1]))))
