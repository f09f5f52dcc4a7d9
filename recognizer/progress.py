"""How far long work is, on the standard error stream: bars on a terminal, a few plain lines elsewhere.

::

    with Progress() as progress:
        service = make_service(settings, progress.download)
        service.start(progress.photos)

Nothing appears before there is something to wait for.
"""

from __future__ import annotations

import logging
import sys

#: A plain line is written each time that another of so many parts is done.
PARTS = 10
_MB = 1_000_000

log = logging.getLogger("recognizer.progress")


class Progress:
    """Callbacks that show how far work is; a context manager, which takes the bars away at its end.

    Owns the lines it drew. Its methods are called from one thread at a time.

    Parameters
    ----------
    label : str
        What is done with the photos that are counted.
    stream : text stream, optional
        Instead of the standard error.
    least : int
        Fewer photos than this are not worth a word.
    logged : bool
        Write lines to the log instead of the stream.

    Attributes
    ----------
    now : str
        What goes on and how far it is, in words; empty before there is anything to wait for.
    """

    def __init__(self, label: str = "encoding photos", stream=None, *, least: int = 1, logged: bool = False):
        self._stream = stream or sys.stderr
        self._label, self._least = label, max(1, least)
        self.now = ""
        if logged:
            self._display = _Lines(log.info)
        else:
            self._display = _Bars(self._stream) if self._stream.isatty() else _Lines(self._write)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _show(self, label: str, done: int, total: int | None, words: str) -> None:
        self.now = f"{label}: {words}"
        self._display.show(label, done, total, words)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        self._display.close()

    def download(self, label: str, done: int, total: int | None) -> None:
        """Bytes of `label` that are there, and bytes in all (None: not told); the callback of `models.fetch`."""
        size = f"{done / _MB:.1f}" + (f" of {total / _MB:.1f} MB" if total else " MB")
        self._show(f"fetching {label}", done, total or None, size)

    def photos(self, done: int, total: int) -> None:
        """Photos done, and photos in all; the callback of `Service.start`."""
        if total >= self._least:
            self._show(self._label, done, total, f"{done} of {total}")


class _Bars:
    """One bar per label, on a terminal."""

    def __init__(self, stream):
        self._stream, self._bars = stream, None
        self._tasks: dict[str, int] = {}

    def show(self, label: str, done: int, total: int | None, words: str) -> None:
        if self._bars is None:
            self._bars = self._start()
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, words=words)
        self._bars.update(self._tasks[label], completed=done, total=total, words=words)

    def _start(self):
        from rich import progress
        from rich.console import Console

        label = progress.TextColumn("{task.description}", markup=False)
        words = progress.TextColumn("{task.fields[words]}", markup=False)
        columns = (label, progress.BarColumn(), words, progress.TimeRemainingColumn())
        bars = progress.Progress(*columns, console=Console(file=self._stream), transient=True)
        bars.start()
        return bars

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()


class _Lines:
    """A line when something begins, and at every tenth part; for logs."""

    def __init__(self, write):
        self._write = write
        self._parts: dict[str, int] = {}

    def show(self, label: str, done: int, total: int | None, words: str) -> None:
        part = done * PARTS // total if total else done // (10 * _MB)
        if part > self._parts.get(label, -1):
            self._parts[label] = part
            share = f" ({done * 100 // total} %)" if total else ""
            self._write(f"{label}: {words}{share}")

    def close(self) -> None:
        pass
