"""The list of cameras: what may be added, how it is kept, and that its file holds together."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from recognizer.core.errors import (
    AddressRefused,
    CameraNotFound,
    InvalidParameter,
    InvalidSource,
    NameTaken,
    StorageError,
    TooManyCameras,
)
from recognizer.video.sources import cameras as cameras_module
from recognizer.video.sources.cameras import DEFAULT, Cameras
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import SourceView

from .streams import clip, decoders, jpeg, wait_for


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "state" / "cameras.json"


@pytest.fixture
def make(file):
    made = []

    def make(**options) -> Cameras:
        made.append(Cameras(file, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not [entry for entry in each.all() if entry.camera.running]
    assert decoders() == {}


def test_a_removed_camera_keeps_its_name_until_its_id_is_used_again(make):
    cameras, other = make(), make()
    cameras.add("test:", "Front door")
    cameras.change("front-door", name="Hall")
    cameras.add("test:", "Yard")
    assert cameras.removed() == {}
    cameras.remove("front-door")
    assert cameras.removed() == other.removed() == make().removed() == {"front-door": "Hall"}
    other.remove("yard")
    assert cameras.removed() == {"front-door": "Hall", "yard": "Yard"}
    cameras.add("test:", "Front door")
    assert cameras.removed() == {"yard": "Yard"}


def test_names_of_removed_cameras_are_bounded(make, monkeypatch):
    monkeypatch.setattr(cameras_module, "MOST_REMOVED", 3)
    cameras = make()
    for number in range(5):
        cameras.remove(cameras.add("test:", f"Camera {number}").id)
    assert list(cameras.removed()) == ["camera-2", "camera-3", "camera-4"]


@pytest.mark.parametrize("kept", ['{"cameras": []}', '{"cameras": [], "removed": {}}'])
def test_a_list_of_an_earlier_version_is_read(make, file, kept):
    file.parent.mkdir()
    file.write_text(kept)
    cameras = make()
    assert cameras.all() == [] and cameras.removed() == {} and cameras.add("test:", "Hall").id == "hall"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows which webcams are attached")
@pytest.mark.parametrize(
    ("default", "listed"), [("63", False), ("test:", True), ("/dev/video63", False), ("/dev/camera", False)]
)
def test_a_webcam_that_nobody_asked_for_is_listed_only_if_it_is_attached(make, default, listed):
    assert bool(make(default=default, assumed=True).all()) == listed
    assert make(default=default).all()[0].id == DEFAULT  # a setting names it
    assert make(default=default, assumed=True).get(DEFAULT).id == DEFAULT  # it can be plugged in


def test_an_empty_list(make, file):
    cameras = make()
    assert cameras.all() == [] and not file.exists()
    for act in (lambda: cameras.get("x"), lambda: cameras.remove("x"), lambda: cameras.change("x", name="y")):
        with pytest.raises(CameraNotFound):
            act()


def test_the_camera_of_the_setting_stands_first_and_fast(make):
    cameras = make(default="test:64x64")
    cameras.add("test:", "Other")
    assert [entry.id for entry in cameras.all()] == [DEFAULT, "other"]
    entry = cameras.get(DEFAULT)
    assert not entry.fixed and entry.source.shown == "test:64x64"
    assert make(default="none").all()[0].id == "other" and make().all()[0].id == "other"


def test_the_camera_of_the_setting_is_changed_until_the_setting_names_another_one(make):
    cameras, other = make(default="test:64x64"), make(default="test:64x64")
    told = []
    cameras.subscribe(lambda what, entry: told.append((what, entry.name)))
    first = cameras.get(DEFAULT).camera
    cameras.change(DEFAULT, name="Hall", always=True)
    assert cameras.get(DEFAULT).camera is first
    cameras.change(DEFAULT, source="test:80x64")
    assert told == [("changed", "Hall"), ("changed", "Hall")]
    for each in (cameras, other, make(default="test:64x64")):
        entry = each.get(DEFAULT)
        assert (entry.name, entry.always, entry.source.shown) == ("Hall", True, "test:80x64")
        assert [entry.id for entry in each.all()] == [DEFAULT]
    assert make(default="test:96x96").get(DEFAULT).source.shown == "test:96x96"
    with pytest.raises(NameTaken):
        cameras.add("test:", "hall")


def test_the_camera_of_the_setting_keeps_its_own_reach_until_its_source_is_changed(make):
    cameras = make(default="http://127.0.0.1:9/")
    cameras.change(DEFAULT, name="Hall", group="Night shift")
    again = make(default="http://127.0.0.1:9/")
    for each in (cameras, again):
        entry = each.get(DEFAULT)
        assert (entry.name, entry.group, entry.source.shown) == ("Hall", "Night shift", "http://127.0.0.1:9/")
        entry.camera.start()
        wait_for(lambda camera=entry.camera: camera.state.name == "lost")
        assert "allow" not in entry.camera.state.reason
    with pytest.raises(AddressRefused):
        cameras.change(DEFAULT, source="http://127.0.0.1:9/other")


def test_the_camera_of_the_setting_is_removed_and_made_again(make):
    cameras = make(default="test:64x64")
    cameras.remove(DEFAULT)
    for each in (cameras, make(default="test:64x64")):
        assert each.all() == [] and each.removed() == {DEFAULT: "Camera"}
        with pytest.raises(CameraNotFound):
            each.get(DEFAULT)
        with pytest.raises(CameraNotFound):
            each.change(DEFAULT, name="Hall")
    assert make(default="test:96x96").get(DEFAULT).name == "Camera"
    cameras.add("test:", "Yard")
    cameras.change(DEFAULT, source="test:80x64", name="Hall")
    again = make(default="test:64x64")
    assert [entry.name for entry in again.all()] == ["Hall", "Yard"] and again.removed() == {}
    assert make(default="none").change(DEFAULT, source="test:").name == "Camera 1"


def test_the_setting_may_lead_anywhere(make, tmp_path):
    entry = make(default="http://127.0.0.1:9/").get(DEFAULT)
    entry.camera.start()
    wait_for(lambda: entry.camera.state.name == "lost")
    assert "allow" not in entry.camera.state.reason
    assert make(default=str(tmp_path)).get(DEFAULT).source.kind == "stills"
    with pytest.raises(InvalidSource):
        make(default="ftp://x")


def test_what_is_added_is_kept_with_its_password_and_only_for_the_owner(make, file):
    cameras = make()
    entry = cameras.add("rtsp://admin:s3cret@192.168.1.9/main", "Front door", always=True)
    assert (entry.id, entry.name, entry.always, entry.fixed) == ("front-door", "Front door", True, False)
    assert entry.source.shown == "rtsp://***@192.168.1.9/main" and "s3cret" not in repr(entry) + repr(entry.camera)
    assert "s3cret" in file.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = make()
    assert again.all() == [entry] and again.get("front-door").source == entry.source
    assert sorted(path.name for path in file.parent.iterdir())[:1] == ["cameras.json"]
    assert not [path for path in file.parent.iterdir() if path.stat().st_size and path != file]


def test_names_and_ids(make):
    cameras = make(default="test:")
    assert [cameras.add("test:").name for _ in range(2)] == ["Camera 1", "Camera 2"]
    assert cameras.add("test:", "  Küche \n unten ").name == "Küche unten"
    assert cameras.get("kuche-unten").name == "Küche unten"
    assert cameras.add("test:", "玄関").id == "camera"
    assert cameras.add("test:", "Default").id == "default-2"
    for taken in ("camera 1", "KÜCHE UNTEN", "Camera"):
        with pytest.raises(NameTaken):
            cameras.add("test:", taken)
    for bad in ("", "   ", "x" * 101, "a\0b", "a\u202eb"):
        with pytest.raises(InvalidParameter):
            cameras.add("test:", bad)
    assert cameras.change("camera", name="Küche").id == "camera"
    assert cameras.change("camera", name="küche").name == "küche"
    with pytest.raises(NameTaken):
        cameras.change("camera", name="camera 2")


def test_changing(make):
    cameras, news = make(), []
    end = cameras.subscribe(lambda what, entry: news.append((what, entry.id)))
    entry = cameras.add("test:64x64", "A")
    entry.camera.start()
    assert entry.camera.wait(-1, 10)
    same = cameras.change("a", name="B", always=True)
    assert (same.id, same.name, same.always) == ("a", "B", True) and same.camera is entry.camera and entry.camera.running
    assert same.camera.name == "B"
    other = cameras.change("a", source="test:128x128")
    assert other.camera is not entry.camera and other.name == "B" and other.always
    wait_for(lambda: not entry.camera.running)
    assert cameras.change("a", source="test:128x128").camera is other.camera
    other.camera.start()
    cameras.remove("a")
    wait_for(lambda: not other.camera.running)
    end()
    cameras.add("test:", "C")
    assert news == [("added", "a"), ("changed", "a"), ("changed", "a"), ("removed", "a")]


@pytest.mark.parametrize(
    "source", ["rtsp://127.0.0.1/", "http://localhost:8000/", "http://169.254.169.254/", "http://1.1.1.1/"]
)
def test_addresses_are_refused_when_they_are_added(make, file, source):
    cameras = make()
    with pytest.raises(AddressRefused):
        cameras.add(source)
    entry = cameras.add("test:", "A")
    with pytest.raises(AddressRefused):
        cameras.change("a", source=source)
    assert cameras.all() == [entry]
    assert make(reach=Reach(["127.0.0.0/8", "169.254.169.254", "public"])).add(source)


@pytest.mark.parametrize("source", ["ftp://x/", "", "rtsp://", "/dev/v4l/by-id/x", "-1", "64"])
def test_what_is_no_source_is_refused(make, file, source):
    with pytest.raises(InvalidSource):
        make().add(source)
    assert not file.exists()


def test_files_are_below_the_folder_that_is_allowed_or_nowhere(make, tmp_path):
    folder = tmp_path / "clips"
    (folder / "inner").mkdir(parents=True)
    clip(folder / "inner" / "a.mp4", 5)
    (folder / "inner" / "a.jpg").write_bytes(jpeg())
    secret = clip(tmp_path / "secret.mp4", 5)
    (folder / "link.mp4").symlink_to(secret)
    ways = ["inner/a.mp4", "file:inner/a.mp4", str(folder / "inner" / "a.mp4"), "inner", "."]
    for way in ways:
        with pytest.raises(InvalidSource, match="RECOGNIZER_CAMERA_FILES"):
            make().add(way)
    cameras = make(files=folder)
    once = cameras.add("once:inner/a.mp4")
    assert (once.source.kind, once.source.loop, once.source.shown) == ("file", False, "a.mp4")
    cameras.remove(once.id)
    kinds = [cameras.add(way).source.kind for way in ways]
    assert kinds == ["file", "file", "file", "stills", "stills"]
    once = ["once:../secret.mp4", f"once:file:{secret}"]
    outside = [*once, "../secret.mp4", str(secret), "link.mp4", "nothing.mp4", "/etc/passwd", "file:///etc/passwd", "~"]
    messages = set()
    for way in [*outside, "inner/../../secret.mp4"]:
        with pytest.raises(InvalidSource) as caught:
            cameras.add(way)
        messages.add(caught.value.message)
    assert len(messages) == 1  # whether there is such a file is not told
    again = make(files=folder)
    assert [entry.source.kind for entry in again.all()] == kinds
    entry = again.all()[0]
    entry.camera.start()
    wait_for(lambda: entry.camera.newest() is not None)
    assert str(tmp_path) not in entry.source.shown


@pytest.mark.slow
@pytest.mark.parametrize("place", ["clip.mp4", "inner"])
def test_a_link_that_is_put_in_place_later_does_not_lead_out(make, tmp_path, place):
    """Of the file itself, and of a folder on the way to it."""
    folder, outside = tmp_path / "clips", tmp_path / "outside"
    for each in (folder / "inner", outside):
        each.mkdir(parents=True)
    name = "clip.mp4" if place == "clip.mp4" else "inner/clip.mp4"
    clip(folder / name, 5)
    clip(outside / "clip.mp4", 5)
    entry = make(files=folder).add(name)
    (folder / place).rename(tmp_path / "away")
    (folder / place).symlink_to(outside / "clip.mp4" if place == "clip.mp4" else outside)
    entry.camera.start()
    assert entry.camera.wait(-1, 1) is None
    wait_for(lambda: entry.camera.state.name == "lost")
    assert "a symbolic link leads out of it" in entry.camera.state.reason


def test_a_link_within_the_folder_is_followed(make, tmp_path):
    clip(tmp_path / "a.mp4", 5)
    clip(tmp_path / "b.mp4", 5)
    entry = make(files=tmp_path).add("a.mp4")
    (tmp_path / "a.mp4").unlink()
    (tmp_path / "a.mp4").symlink_to("b.mp4")
    entry.camera.start()
    assert entry.camera.wait(-1, 30) is not None, entry.camera.state


@pytest.mark.slow
def test_links_among_photos_do_not_lead_out(make, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg(1, (64, 64)))
    (folder / "b.jpg").write_bytes(jpeg(2, (128, 64)))
    entry = make(files=folder).add("once:.")
    (folder / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "c.jpg").symlink_to("b.jpg")
    entry.camera.start()
    sizes, after = [], -1
    while (frame := entry.camera.wait(after, 30)) is not None:
        after = frame.number
        sizes.append(frame.width)
    assert sizes == [128, 128]


@pytest.mark.parametrize("kind", ["hls", "concat", "sdp"])
def test_what_a_playlist_names_is_not_opened(make, tmp_path, kind):
    folder = tmp_path / "clips"
    folder.mkdir()
    for place in (folder, tmp_path):
        clip(place / "secret.mp4", 50)
    text = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{tmp_path / 'secret.mp4'}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{tmp_path / 'secret.mp4'}'\nfile 'secret.mp4'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n",
    }[kind]
    (folder / f"list.{kind}").write_text(text)
    entry = make(files=folder).add(f"list.{kind}")
    entry.camera.start()
    refusal = "it is a playlist or names other files, which are not followed"
    wait_for(lambda: entry.camera.state.reason == refusal)
    assert entry.camera.newest() is None


def test_a_view_is_kept_and_shown(make, tmp_path):
    clip(tmp_path / "a.mp4", 5)
    cameras = make(files=tmp_path)
    cameras.add("turn90:mirror:test:64x128", "Pattern")
    cameras.add("turn270:once:a.mp4", "Clip")
    again = {entry.name: entry for entry in make(files=tmp_path).all()}
    assert again["Pattern"].source.view == SourceView(90, mirror=True)
    assert again["Clip"].source.view == SourceView(270) and not again["Clip"].source.loop
    assert again["Clip"].source.shown == "turn270:a.mp4"
    again["Pattern"].camera.start()
    assert again["Pattern"].camera.wait(-1, 20).pixels.shape == (64, 128, 3)


def test_a_file_that_is_not_allowed_any_more_stays_listed(make, tmp_path, caplog):
    clip(tmp_path / "a.mp4", 5)
    make(files=tmp_path).add("a.mp4", "A")
    later = make()
    entry = later.get("a")
    entry.camera.start()
    wait_for(lambda: entry.camera.state.name == "lost")
    later.add("test:", "B")
    assert [each.text for each in make(files=tmp_path).all()] == ["a.mp4", "test:"]


def test_there_is_a_limit(make, monkeypatch):
    monkeypatch.setattr(cameras_module, "MOST_CAMERAS", 2)
    cameras = make(default="test:")
    cameras.add("test:")
    cameras.add("test:")
    with pytest.raises(TooManyCameras):
        cameras.add("test:")


def test_two_processes_share_the_file(make):
    one, other = make(), make()
    one.add("test:", "A")
    assert [entry.id for entry in other.all()] == ["a"]
    other.add("test:", "B")
    entry = one.get("a")
    entry.camera.start()
    other.remove("a")
    assert [each.id for each in one.all()] == ["b"]
    wait_for(lambda: not entry.camera.running)


def test_what_another_process_changed_is_reported_although_the_own_change_fails(make):
    one, other, told = make(), make(), []
    other.subscribe(lambda what, entry: told.append((what, entry.id)))
    one.add("test:", "Door", always=True)
    with pytest.raises(CameraNotFound):
        other.remove("nowhere")
    assert told == [("added", "door")]
    one.remove("door")
    with pytest.raises(NameTaken):
        one.add("test:", "A")
        other.add("test:", "a")
    assert told == [("added", "door"), ("removed", "door"), ("added", "a")]


def test_added_from_many_threads_none_is_lost(make):
    one, other = make(), make()
    threads = [threading.Thread(target=(one, other)[n % 2].add, args=("test:", f"number {n}")) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(one.all()) == len(other.all()) == len(make().all()) == 16


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cameras": [{}]}', '{"cameras": 1}', "\udcff"])
def test_a_file_that_cannot_be_read_is_left_alone(make, file, content, caplog):
    file.parent.mkdir()
    data = content.encode("utf-8", "surrogateescape")
    file.write_bytes(data)
    cameras = make(default="test:")
    assert [entry.id for entry in cameras.all()] == [DEFAULT]
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    with pytest.raises(StorageError):
        cameras.add("test:")
    assert file.read_bytes() == data
    file.unlink()
    cameras.add("test:")


def test_a_write_that_fails_changes_nothing(make, file, monkeypatch):
    cameras = make()
    entry = cameras.add("test:", "A")
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for act in (lambda: cameras.add("test:", "B"), lambda: cameras.remove("a"), lambda: cameras.change("a", name="C")):
        with pytest.raises(StorageError, match="no space left"):
            act()
    assert cameras.all() == [entry] and file.read_bytes() == before and entry.camera.name == "A"
    assert not [path for path in file.parent.iterdir() if path.name.startswith(".")]


def test_the_file_is_plain_and_can_be_written_by_hand(make, file):
    file.parent.mkdir()
    file.write_text(json.dumps({"cameras": [{"id": "x", "name": "X", "source": "test:64x64"}]}))
    entry = make().get("x")
    assert (entry.name, entry.always, entry.source.kind) == ("X", False, "pattern")
