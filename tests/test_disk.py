"""What the disk says: its errors become ours, without a path, and a changed file has another stamp."""

import errno
import os

import pytest

from recognizer.core.disk import StatStamp, disk_errors, disk_reason
from recognizer.core.errors import StorageError


def test_an_error_of_the_disk_becomes_a_storage_error_without_the_path():
    with pytest.raises(StorageError) as caught, disk_errors("the events cannot be stored"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret/path")
    assert caught.value.message == "the events cannot be stored: no space left on device"
    assert isinstance(caught.value.__cause__, OSError)


def test_other_errors_pass():
    with pytest.raises(KeyError), disk_errors("the events cannot be stored"):
        raise KeyError("x")


def test_an_error_without_words_is_named_by_its_type():
    assert disk_reason(TimeoutError()) == "timeouterror"


def test_a_changed_file_has_another_stamp(tmp_path):
    file = tmp_path / "a"
    assert StatStamp.from_path(file) is None
    file.write_bytes(b"1")
    first = StatStamp.from_path(file)
    assert first == StatStamp.from_status(file.stat())
    file.write_bytes(b"12")
    assert StatStamp.from_path(file) != first
    replacement = tmp_path / "b"
    replacement.write_bytes(b"1")
    os.utime(replacement, ns=(first.modified_ns, first.modified_ns))
    os.replace(replacement, file)
    assert StatStamp.from_path(file) != first  # the same size and time, but another file
