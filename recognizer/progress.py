"""How far long work is, on the standard error stream: a bar on a terminal, a few plain lines elsewhere.

::

    with progress.downloads() as download, progress.photos("encoding photos") as encode:
        service = make_service(settings, download)
        service.start(encode)

Nothing appears before there is something to wait for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .models import Progress as Download

Photos = Callable[[int, int], None]

#: A plain line is written each time that another of so many parts is done.
PARTS = 10
_MB = 1_000_000


@contextmanager
def downloads(stream=None) -> Iterator[Download]:
    """A callback for `models.fetch` and `make_service`: what is fetched, bytes there, bytes in all (None: not told).

    Parameters
    ----------
    stream : text stream, optional
        Instead of the standard error.
    """
    stream = stream or sys.stderr
    with _bars(stream, ("{task.description}", "bar", "download", "speed")) as show:
        if show is None:
            yield _PlainDownloads(stream)
        else:
            yield lambda label, done, total: show(f"fetching {label}", done, total)


@contextmanager
def photos(label: str, stream=None, *, least: int = 1) -> Iterator[Photos]:
    """A callback for `Service.start`: photos done, photos in all.

    Parameters
    ----------
    label : str
        What is being done, for example ``"encoding photos"``.
    stream : text stream, optional
        Instead of the standard error.
    least : int
        Fewer photos than this are not worth a word.
    """
    stream = stream or sys.stderr
    with _bars(stream, ("{task.description}", "bar", "count", "left")) as show:
        plain = _PlainCount(stream, label)

        def told(done: int, total: int) -> None:
            if total >= max(1, least):
                plain(done, total) if show is None else show(label, done, total)

        yield told


@contextmanager
def _bars(stream, columns: tuple[str, ...]) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """A function that moves the bar of a label, or None where bars cannot be drawn."""
    if not stream.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    known = {
        "bar": progress.BarColumn, "download": progress.DownloadColumn, "speed": progress.TransferSpeedColumn,
        "count": progress.MofNCompleteColumn, "left": progress.TimeRemainingColumn,
    }  # fmt: skip
    made = (known[name]() if name in known else progress.TextColumn(name, markup=False) for name in columns)
    display = progress.Progress(*made, console=Console(file=stream), transient=True)
    tasks: dict[str, int] = {}

    def show(label: str, done: int, total: int | None) -> None:
        if label not in tasks:
            display.start()
            tasks[label] = display.add_task(label, total=total)
        display.update(tasks[label], completed=done, total=total)

    try:
        yield show
    finally:
        if tasks:
            display.stop()


class _PlainCount:
    def __init__(self, stream, label: str):
        self._stream, self._label, self._part = stream, label, 0

    def __call__(self, done: int, total: int) -> None:
        part = done * PARTS // total
        if part > self._part:
            self._part = part
            _line(self._stream, f"{self._label}: {done} of {total} ({done * 100 // total} %)")


class _PlainDownloads:
    def __init__(self, stream):
        self._stream = stream
        self._parts: dict[str, int] = {}

    def __call__(self, label: str, done: int, total: int | None) -> None:
        part = done * PARTS // total if total else done // (10 * _MB)
        before = self._parts.setdefault(label, -1)
        if before < 0:
            _line(self._stream, f"fetching {label}" + (f", {total / _MB:.1f} MB" if total else ""))
            self._parts[label] = part
        elif part > before:
            self._parts[label] = part
            share = f" ({done * 100 // total} %)" if total else ""
            _line(self._stream, f"fetching {label}: {done / _MB:.1f} MB{share}")


def _line(stream, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
