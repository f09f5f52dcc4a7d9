"""How ``hug -f api.py`` really serves: many requests at once, stopping cleanly, staying up when a file changes.

`install` gives a Hug API object our ``serve``; hug itself is not imported here, and ``api:__hug_wsgi__`` stays what it
was for other WSGI servers. The limits on clients are in `recognizer.wsgi`, the reloading in `recognizer.reload`.
"""

from __future__ import annotations

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
from pathlib import Path

from .errors import RecognizerError
from .logs import announce
from .reload import Reloader, inherited_socket, replace_process

STOP_SECONDS = 10.0
#: M_ARENA_MAX of glibc's malloc.h, and how many heaps there may be.
_M_ARENA_MAX, _HEAPS = -8, 4
_TICK = 0.1
_IMPATIENT_AFTER = 0.5

log = logging.getLogger("recognizer.server")


def install(
    api,
    settings,
    *,
    on_start: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    max_body: int | None = None,
    configure: Callable[[object], None] | None = None,
    check_host: Callable[[str], None] = lambda host: None,
    reads_body: Callable[[dict], bool] = lambda environ: True,
    counted_as: Callable[[str], str | None] = str,
) -> None:
    """Make ``api.http.serve``, which the ``hug`` command calls, serve our way. Routes may come before or after.

    Parameters
    ----------
    api : hug.API
        The module's API object.
    settings : Settings
        ``host`` is listened on when the command names none; ``http_threads`` requests are answered at once, and
        ``streams`` replies without an end beside them.
    on_start : callable, optional
        Called once requests are taken, and before the address is announced: what takes long to load, while those who ask
        can be told so. It may end the process with SystemExit.
    on_stop : callable, optional
        Called once no request runs any more, before the process ends or is replaced.
    max_body : int, optional
        Largest request body, in bytes; the default is twice the largest photo.
    configure : callable, optional
        Called with each falcon application that Hug builds for this API, under whichever WSGI server: the place
        for falcon's own options, error handlers and error serializer, which Hug would otherwise overwrite.
    check_host : callable, optional
        Told the host before it is listened on; a RecognizerError from it ends the process with its message.
    reads_body, counted_as : callable, optional
        See `recognizer.wsgi.Server`.
    """
    reloader = Reloader()
    reloader.watch_start()
    limit = 2 * settings.max_image_bytes if max_body is None else max_body
    stop = on_stop or (lambda: None)

    class Http(type(api.http)):
        # Without slots of its own, the class can be given to the object that exists, with all its routes.
        __slots__ = ()

        def server(self, *arguments, **options):
            app = super().server(*arguments, **options)
            if configure is not None:
                configure(app)
            return app

        def serve(self, host="", port=8000, no_documentation=False, display_intro=True):
            def make_app():
                return self.server(None if no_documentation else True)

            address = host or settings.host
            try:
                check_host(address)
                tls = _tls(settings)
            except RecognizerError as error:
                announce(f"Recognizer cannot start: {error.message}", logging.CRITICAL)
                _call(stop)
                raise SystemExit(1) from None
            serve(
                make_app, address, port, threads=settings.http_threads, streams=settings.streams, max_body=limit,
                on_start=on_start, on_stop=stop, reloader=reloader, quiet=not display_intro, reads_body=reads_body, tls=tls,
                counted_as=counted_as,
            )  # fmt: skip

    api.http.__class__ = Http


def hug_is_serving() -> bool:
    """Whether this process is the `hug` command, about to serve the module that asks."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return "hug.development_runner" in sys.modules and Path(main).stem in ("hug", "hug-script") and "-c" not in sys.argv


def _tls(settings):
    """What HTTPS is served with, or None.

    Raises
    ------
    SettingsError
    """
    if settings.tls_certificate is None:
        return None
    from .tls import Tls

    return Tls(settings.tls_certificate, settings.tls_key, settings.tls_key_password, settings.tls_client_ca)


def serve(
    make_app, host, port, *, threads, streams, max_body, on_stop, reloader, on_start=None, quiet=False,
    reads_body=lambda environ: True, tls=None, counted_as=str,
):  # fmt: skip
    """Serve the WSGI application that `make_app()` returns until the process is told to stop.

    Raises
    ------
    SystemExit
        Always: 0 after SIGTERM, SIGINT or SIGHUP, 1 when the address cannot be listened on.
    """
    from .wsgi import Server

    _share_heaps()
    listener = inherited_socket() or _listen(host, port, on_stop)
    stop = _Stop(reloader)
    server = Server(listener, make_app(), threads, max_body, streams, reads_body, tls, counted_as)
    reloader.begin()
    server.begin()
    if on_start is not None:
        on_start()
    # what is there now stays: collections that walk it again and again would hold up live video, 50 ms at a time
    gc.collect()
    gc.freeze()
    if not quiet:
        announce(_where(listener, tls is not None))
    reload = False
    while not (stop.asked or reload):
        time.sleep(_TICK)
        server.cut_overdue()
        reload = reloader.due()
        if not server.thread.is_alive():
            log.critical("the listening thread ended by itself")
            stop.status = 1
            break
    finished = server.end(STOP_SECONDS)
    _call(on_stop)
    if reload and not stop.asked:
        replace_process(listener)
    listener.close()
    sys.stdout.flush()
    if not finished:
        log.warning("ended with requests still running after %g s", STOP_SECONDS)
        os._exit(stop.status)
    raise SystemExit(stop.status)


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
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]  # fmt: skip
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
