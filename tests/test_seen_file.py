"""Whether a file must be read again, however fast it is replaced."""

import os

import pytest

from recognizer.core import disk
from recognizer.core.disk import SeenFile
from recognizer.core.files import write_durably

SECOND = 1_000_000_000


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "settings.json"
    made.write_text("one")
    return made


def aged(file, seconds: float = 3600.0) -> None:
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, int(status.st_mtime_ns - seconds * SECOND)))


def test_a_file_is_read_once_until_it_changes(file):
    aged(file)
    seen = SeenFile(file)
    assert seen.changed() and not seen.missing and not seen.changed()
    file.write_text("other")
    aged(file)
    assert seen.changed() and not seen.changed()


def test_a_missing_file_is_noticed_once_and_when_it_comes_and_goes(file):
    file.unlink()
    seen = SeenFile(file)
    assert seen.changed() and seen.missing and not seen.changed()
    write_durably(file, b"there")
    aged(file)
    assert seen.changed() and not seen.missing and not seen.changed()
    file.unlink()
    assert seen.changed() and seen.missing


@pytest.mark.file_times
def test_a_young_file_counts_as_changed_until_it_has_an_age(file, monkeypatch):
    """It may be replaced twice and have the same number, size and time again."""
    monkeypatch.setattr(disk, "_YOUNG_NS", 600 * SECOND)  # however busy the machine is
    seen = SeenFile(file)
    os.utime(file)
    before = file.stat()
    assert seen.changed()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert seen.changed()
    aged(file)
    assert seen.changed() and not seen.changed()


def test_what_could_not_be_read_is_tried_again(file):
    aged(file)
    seen = SeenFile(file)
    seen.changed()
    seen.forget()
    assert seen.changed() and not seen.changed()
    file.unlink()
    seen.changed()
    seen.forget()
    assert seen.changed() and seen.missing
