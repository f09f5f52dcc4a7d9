"""Progress of long operations on standard error: bars on a terminal, a few plain lines elsewhere.

::

    with Progress() as progress:
        service = make_service(settings, progress.download)
        service.start(progress.photos)

Nothing is shown before there is something to wait for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

#: Number of equal parts; a plain line is written after each part.
PARTS = 10
_MB = 1_000_000

log = logging.getLogger("recognizer.progress")


class Progress:
    """Callbacks that show progress; a context manager that removes the bars at its end.

    Its methods must be called from one thread at a time.

    Parameters
    ----------
    label : str
        What is done with the photos.
    stream : text stream, optional
        Default: standard error.
    least : int
        Minimum number of photos; for fewer photos nothing is shown.
    logged : bool
        Write lines to the log instead of the stream.

    Attributes
    ----------
    now : str
        The current operation and its progress, in words; empty before there is something to wait for.
    """

    def __init__(self, label: str = "encoding photos", stream: TextIO | None = None, *, least: int = 1, logged: bool = False):
        self._stream = stream or sys.stderr
        self._label, self._least = label, max(1, least)
        self.now = ""
        self._display: _Bars | _Lines
        if logged:
            self._display = _Lines(log.info)
        elif self._stream.isatty():
            self._display = _Bars(self._stream)
        else:
            self._display = _Lines(self._write)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _show(self, label: str, done: float, total: int | None, words: str) -> None:
        self.now = f"{label}: {words}"
        self._display.show(label, done, total, words)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._display.close()

    def download(self, label: str, done: int, total: int | None) -> None:
        """Show `done` of `total` bytes of `label` (None: unknown total); the callback of `manifest.fetch`."""
        size = f"{done / _MB:.1f}" + (f" of {total / _MB:.1f} MB" if total else " MB")
        self._show(f"fetching {label}", done, total or None, size)

    def photos(self, done: int, total: int) -> None:
        """Show `done` of `total` photos; the callback of `Service.start`."""
        if total >= self._least:
            self._show(self._label, done, total, f"{done} of {total}")

    def photos_at_rate(
        self, done: int, total: int, per_second: float | None, seconds_left: float | None, share: float | None = None
    ) -> None:
        """Show `done` of `total` photos, how many are done in a second, and how long the rest may take; and which share of the
        next one is done, if it is a long video."""
        if total >= self._least:
            words = f"{done} of {total}"
            if share is not None and done < total:
                words += f" and {share * 100:.0f} % of the next"
            if per_second is not None and seconds_left is not None and done < total:
                minutes, seconds = divmod(round(seconds_left), 60)
                hours, minutes = divmod(minutes, 60)
                words += f", {per_second:.1f} per second, {hours}:{minutes:02}:{seconds:02} left"
            self._show(self._label, done + min(share or 0.0, 0.99), total, words)


class _Bars:
    """One bar per label, on a terminal."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, label: str, done: float, total: int | None, words: str) -> None:
        if self._bars is None:
            self._bars = self._start()
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, words=words)
        self._bars.update(self._tasks[label], completed=done, total=total, words=words)

    def _start(self) -> RichProgress:
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
    """A line at the start, and after each part; for logs."""

    def __init__(self, write: Callable[[str], None]):
        self._write = write
        self._parts: dict[str, int] = {}

    def show(self, label: str, done: float, total: int | None, words: str) -> None:
        part = int(done * PARTS / total if total else done / (10 * _MB))
        if part > self._parts.get(label, -1):
            self._parts[label] = part
            share = f" ({int(done * 100 / total)} %)" if total else ""
            self._write(f"{label}: {words}{share}")

    def close(self) -> None:
        pass
