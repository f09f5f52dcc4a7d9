"""Progress: plain lines for logs, bars for terminals, silence when there is nothing to wait for."""

from __future__ import annotations

import io
import os
import select
import sys

import pytest

from recognizer.core.progress import Progress


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def count(total: int, **options) -> list[str]:
    """What counting to `total` writes into a log."""
    stream = io.StringIO()
    with Progress("encoding photos", stream, **options) as progress:
        for done in range(total + 1):
            progress.photos(done, total)
    return lines(stream)


def test_nothing_to_do_is_not_worth_a_word():
    assert count(0) == []
    with Progress(stream=(stream := io.StringIO())):
        pass
    assert stream.getvalue() == ""


def test_few_photos_below_the_least_are_silent():
    assert count(4, least=5) == []
    assert count(5, least=5)


def test_one_photo():
    assert count(1) == ["encoding photos: 0 of 1 (0 %)", "encoding photos: 1 of 1 (100 %)"]


@pytest.mark.parametrize("total", [10, 37, 1000])
def test_a_log_gets_a_line_per_tenth_and_the_end(total):
    written = count(total)
    assert len(written) == 11
    assert written[0] == f"encoding photos: 0 of {total} (0 %)"
    assert written[-1] == f"encoding photos: {total} of {total} (100 %)"


def test_several_downloads_are_told_apart():
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        for label in ("yunet", "sface"):
            for done in range(0, 2_000_001, 500_000):
                progress.download(label, done, 2_000_000)
    assert lines(stream)[0] == "fetching yunet: 0.0 of 2.0 MB (0 %)"
    assert lines(stream)[-1] == "fetching sface: 2.0 of 2.0 MB (100 %)"
    assert len(lines(stream)) == 10


@pytest.mark.parametrize("total", [None, 0])
def test_a_download_of_unknown_size_counts_megabytes(total):
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        for done in range(0, 25_000_001, 1_000_000):
            progress.download("sface", done, total)
    assert lines(stream) == ["fetching sface: 0.0 MB", "fetching sface: 10.0 MB", "fetching sface: 20.0 MB"]


def test_one_long_video_gets_a_line_after_each_part_too():
    stream = io.StringIO()
    with Progress("reading photos", stream) as progress:
        for percent in (0, 4, 19, 60, 100):
            progress.photos_at_rate(1, 2, 0.5, 2.0, share=percent / 100)
        progress.photos_at_rate(2, 2, 0.5, 0.0)
    first, second, third, last = lines(stream)
    assert first.startswith("reading photos: 1 of 2 and 0 % of the next, 0.5 per second") and first.endswith("(50 %)")
    assert "and 60 %" in second and second.endswith("(80 %)")
    assert "and 100 %" in third and last == "reading photos: 2 of 2 (100 %)"


def test_the_standard_error_is_the_default(capsys):
    with Progress() as progress:
        progress.photos(1, 1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "encoding photos: 1 of 1 (100 %)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_bar_that_is_taken_away_again(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        with Progress("encoding [photos]", terminal) as progress:
            progress.download("yunet", 1_000_000, 2_000_000)
            for done in range(31):
                progress.photos(done, 30)
        seen = ""
        while "30 of 30" not in seen or not seen.rstrip().endswith("\x1b[2K"):  # it comes in pieces
            assert select.select([ours], [], [], 10)[0], f"nothing more came after {seen!r}"
            seen += os.read(ours, 1_000_000).decode(errors="replace")
    os.close(ours)
    assert "encoding [photos]" in seen and "30 of 30" in seen and "fetching yunet" in seen
    assert seen.rstrip().endswith("\x1b[2K")  # the last thing that is written erases a line
