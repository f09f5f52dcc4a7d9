"""Serving the API: many requests at once, a clean stop, and a restart when a file changes.

hug itself is not imported here. `recognizer.http.hug_adapter` makes the ``hug`` command serve with `serve_with`; the limits on
clients are in `recognizer.http.wsgi`, the reloading in `recognizer.http.reload`.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from recognizer.core.ahead import SWITCH_SECONDS
from recognizer.core.errors import RecognizerError
from recognizer.core.logs import announce
from recognizer.http.reload import Reloader, inherited_sockets, replace_process

if TYPE_CHECKING:
    from recognizer.core.settings import Settings
    from recognizer.http.wsgi import ServerOptions

#: Seconds from the signal to the end of the process, whatever still runs: less than the ten that `docker stop` waits.
STOP_SECONDS = 9.0
#: Seconds of these that running requests may take.
REQUEST_SECONDS = 6.0
#: M_ARENA_MAX of glibc's malloc.h, and how many heaps there may be.
_M_ARENA_MAX, _HEAPS = -8, 4
_TICK = 0.1
_IMPATIENT_AFTER = 0.5

log = logging.getLogger("recognizer.server")


@dataclass(frozen=True)
class Options:
    """How an API is served.

    Attributes
    ----------
    settings : Settings
        ``host`` is listened on when the command names no address; ``http_threads`` requests are answered at once, and
        ``streams`` replies without an end beside them.
    on_start : callable, optional
        Called on a thread of its own once requests are accepted, and before the address is announced: for what takes long to
        load, while requests are already answered. It may end the process with SystemExit.
    on_stop : callable, optional
        Called once no request runs any more, before the process ends or is replaced.
    max_body : int, optional
        Maximum size of a request body, in bytes; twice the largest photo by default.
    check_host : callable, optional
        Receives the address before it is listened on; a RecognizerError from it ends the process with its message.
    body_limit, counted_as : callable, optional
        See `recognizer.http.wsgi.Server`.
    """

    settings: Settings
    on_start: Callable[[], None] | None = None
    on_stop: Callable[[], None] = lambda: None
    max_body: int | None = None
    check_host: Callable[[str], None] = lambda host: None
    body_limit: Callable[[dict], int | None] = lambda environ: None
    counted_as: Callable[[str], str | None] = str


def serve_with(
    options: Options, make_app: Callable[[], Callable], host: str, port: int, *, reloader: Reloader, quiet: bool = False
) -> NoReturn:
    """Serve the WSGI application that `make_app()` returns as the options say, at `host` or else the setting's address.

    Raises
    ------
    SystemExit
        See `serve`.
    """
    settings = options.settings
    address = host or settings.host
    try:
        options.check_host(address)
        tls = _tls(settings)
    except RecognizerError as error:
        announce(f"Recognizer cannot start: {error.message}", logging.CRITICAL)
        _call(options.on_stop)
        raise SystemExit(1) from None
    from recognizer.http.wsgi import ServerOptions

    serve(
        make_app,
        address,
        port,
        ServerOptions(
            threads=settings.http_threads,
            max_body=2 * settings.max_image_bytes if options.max_body is None else options.max_body,
            streams=settings.streams,
            body_limit=options.body_limit,
            tls=tls,
            counted_as=options.counted_as,
        ),
        on_start=options.on_start,
        on_stop=options.on_stop,
        reloader=reloader,
        quiet=quiet,
    )


def _tls(settings):
    """The certificate for HTTPS, or None.

    Raises
    ------
    SettingsError
    """
    if settings.tls_certificate is None:
        return None
    from recognizer.http.tls import Tls

    return Tls(settings.tls_certificate, settings.tls_key, settings.tls_key_password, settings.tls_client_ca)


def serve(
    make_app,
    host,
    port,
    options: ServerOptions,
    *,
    on_stop,
    reloader,
    on_start=None,
    quiet=False,
) -> NoReturn:
    """Serve the WSGI application that `make_app()` returns until the process receives a signal to stop.

    The process ends with 0 after SIGTERM, SIGINT or SIGHUP.

    Raises
    ------
    SystemExit
        1 when the address cannot be listened on.
    """
    from recognizer.http.wsgi import Server

    _share_heaps()
    sys.setswitchinterval(SWITCH_SECONDS)  # with Python's 5 ms, a probe waited for seconds behind 160 busy threads
    listener, *accepted = inherited_sockets() or [_listen(host, port, on_stop)]
    stop = _Stop(reloader)
    server = Server(listener, make_app(), options, accepted)
    reloader.begin()
    server.begin()
    loading = _Loading(on_start)
    reload = False
    while not (stop.asked or reload):
        if loading.wait(_TICK):
            loading.check()
            # objects that exist now are permanent: collecting them again and again would delay live video by 50 ms at a time
            gc.collect()
            gc.freeze()
            if not quiet:
                announce(_where(listener, options.tls is not None))
        reload = reloader.due()
        if not server.thread.is_alive():
            log.critical("the listening thread ended by itself")
            stop.status = 1
            break
    if not reload:
        _end_at_latest(STOP_SECONDS, stop)
    finished = server.end(REQUEST_SECONDS, hand_over=reload)
    _call(on_stop)
    if reload and not stop.asked:
        replace_process(listener, server.handed_over)
    listener.close()
    sys.stdout.flush()
    if not finished:
        log.warning("ended with requests still running after %g s", REQUEST_SECONDS)
    _end(stop.status)


def _end(status: int) -> NoReturn:
    """End the process without Python's clean-up, which cuts off threads inside native code; C++ then aborts the process.

    While the networks are loaded and prepared, and while a photo is processed, there are such threads.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


class _Loading:
    """Loads the service on a thread, so that the main thread can handle signals meanwhile."""

    def __init__(self, load: Callable[[], None] | None):
        self._load = load
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._told = False
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._load is not None:
                self._load()
        except BaseException as error:  # SystemExit as well: the main thread is to end with it
            self._error = error

    def wait(self, seconds: float) -> bool:
        """Wait for some seconds; True once, when loading has ended."""
        if self._told:
            time.sleep(seconds)
            return False
        self._thread.join(seconds)
        self._told = not self._thread.is_alive()
        return self._told

    def check(self) -> None:
        """Raise the error that ended the loading, if there was one; a SystemExit ends the process."""
        if isinstance(self._error, SystemExit):
            _end(self._error.code if isinstance(self._error.code, int) else 1)
        if self._error is not None:
            raise self._error


def _end_at_latest(seconds: float, stop: _Stop) -> None:
    """End the process after so many seconds, even if a request, a photo or a connection cannot be ended before."""

    def end() -> None:
        time.sleep(seconds)
        log.warning("ended after %g s with work still running", seconds)
        sys.stdout.flush()
        os._exit(stop.status)

    threading.Thread(target=end, name="end", daemon=True).start()


def _share_heaps() -> None:
    """Let all threads share a few of glibc's heaps: each of a hundred threads' own would keep what its largest photo took."""
    if sys.platform.startswith("linux"):
        import ctypes

        # musl has no mallopt, and needs none
        getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)(_M_ARENA_MAX, _HEAPS)


class _Stop:
    """Whether a signal asked the process to end. A second Ctrl-C ends it at once.

    A plain attribute, since an Event that is set in a signal handler can wait for the very thread it interrupted.
    """

    def __init__(self, reloader: Reloader):
        self.asked = False
        self.status = 0
        self._reloader = reloader
        self._asked_at = None
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._signalled)

    def _signalled(self, number, frame):
        if number == signal.SIGINT and self._reloader.take_flag():
            return
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self.asked = True
        elif number == signal.SIGINT and now - self._asked_at > _IMPATIENT_AFTER:
            # Sooner, it is the same key press, passed on by a parent process as well.
            os._exit(128 + number)


def _call(on_stop):
    try:
        on_stop()
    except Exception:
        log.exception("closing down failed")


def _listen(host: str, port: int, on_stop) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, OverflowError) as error:
        announce(_why_not(host, port, error), logging.CRITICAL)
        _call(on_stop)
        raise SystemExit(1) from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _why_not(host: str, port: int, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use: stop what listens there, or choose another port with -p."
    if number == errno.EACCES:
        return f"Port {port} may not be listened on by this user: choose one above 1023 with -p."
    if isinstance(error, socket.gaierror) or number == errno.EADDRNOTAVAIL:
        return f"{host!r} is not an address of this machine: choose another with -ho or RECOGNIZER_HOST."
    return f"Cannot listen on port {port} of {host}: {error}."


def _where(listener: socket.socket, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if tls else "http"
    url = f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
    if host == "::1" or host.startswith("127."):
        return f"Serving on {url} for this machine only; RECOGNIZER_HOST=0.0.0.0 (or -ho 0.0.0.0) opens it to others."
    return f"Serving on {url} for every machine that can reach this address."
