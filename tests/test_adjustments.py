"""Settings that were changed while running: kept, noticed by others, and no reason to stop when the file is damaged."""

from __future__ import annotations

import json
import os
import threading

import pytest

from recognizer.core import adjustments, disk
from recognizer.core.adjustments import Adjustments
from recognizer.core.errors import StorageError


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(adjustments, "NOTICED_SECONDS", 0.0)


def held(folder, *names) -> Adjustments:
    return Adjustments(folder / "state" / "settings.json", names or ("rate",))


def test_nothing_was_changed_before_somebody_does(tmp_path):
    assert held(tmp_path).get("rate") is None
    assert not (tmp_path / "state").exists()


def test_what_is_set_is_there_after_a_restart_and_can_be_forgotten(tmp_path):
    first = held(tmp_path)
    first.set("rate", 0.05)
    assert first.get("rate") == held(tmp_path).get("rate") == 0.05
    first.set("rate", None)
    assert first.get("rate") is None and held(tmp_path).get("rate") is None
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["settings.json"]


def test_what_another_process_wrote_at_the_same_moment_is_noticed(tmp_path, monkeypatch):
    one, other = held(tmp_path), held(tmp_path)
    write = adjustments.write_durably

    def overtaken(file, data):
        write(file, data)
        monkeypatch.setattr(adjustments, "write_durably", write)
        other.set("rate", 0.7)

    monkeypatch.setattr(adjustments, "write_durably", overtaken)
    one.set("rate", 0.2)
    assert one.get("rate") == other.get("rate") == held(tmp_path).get("rate") == 0.7


@pytest.mark.file_times
def test_a_file_that_is_replaced_twice_within_the_clocks_granularity_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_YOUNG_NS", 600_000_000_000)  # however busy the machine is
    one, other = held(tmp_path), held(tmp_path)
    one.set("rate", 0.2)
    assert other.get("rate") == 0.2
    file = tmp_path / "state" / "settings.json"
    before = file.stat()
    file.write_text(file.read_text().replace("0.2", "0.3"))  # the same size, and the same number of the file
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert other.get("rate") == 0.3


def test_another_process_notices(tmp_path):
    one, other = held(tmp_path), held(tmp_path)
    one.set("rate", 0.1)
    assert other.get("rate") == 0.1
    other.set("rate", 0.2)
    assert one.get("rate") == 0.2
    (tmp_path / "state" / "settings.json").unlink()
    assert one.get("rate") is None


def test_what_is_no_setting_of_it_is_ignored(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "settings.json").write_text('{"admin_key": 1, "rate": 0.3}')
    found = held(tmp_path)
    assert found.get("rate") == 0.3 and found.get("admin_key") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"rate": "much"}', '{"rate": null}', '{"rate": [1]}', "\xff"])
def test_a_damaged_file_counts_for_nothing_and_the_next_change_mends_it(tmp_path, caplog, text):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "settings.json").write_bytes(text.encode("latin-1"))
    found = held(tmp_path)
    assert found.get("rate") is None
    if text not in ("[]",):
        assert "cannot be read" in caplog.text
    found.set("rate", 0.4)
    assert json.loads((tmp_path / "state" / "settings.json").read_text()) == {"rate": 0.4}


def test_a_folder_that_cannot_be_written_is_told_and_the_value_stays(tmp_path):
    (tmp_path / "state").write_text("a file")
    found = held(tmp_path)
    with pytest.raises(StorageError, match="cannot be stored: file exists"):
        found.set("rate", 0.5)
    assert found.get("rate") is None


def test_many_at_once_leave_a_whole_file(tmp_path):
    holders = [held(tmp_path) for _ in range(4)]

    def work(holder, base):
        for step in range(20):
            holder.set("rate", base + step / 100)
            assert isinstance(holder.get("rate"), float)

    threads = [threading.Thread(target=work, args=(holder, n)) for n, holder in enumerate(holders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads((tmp_path / "state" / "settings.json").read_text())["rate"] == holders[0].get("rate")
