"""Settings of single cameras: which are valid, what they exclude, and how they are stored."""

from __future__ import annotations

import json
import threading
from datetime import datetime

import numpy as np
import pytest

from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.core.types import Faces
from recognizer.video.camera_settings import DAYS, PLAIN, CameraSettings, contains, parse_settings, plain_settings
from recognizer.video.sources import camera_settings_file as module
from recognizer.video.sources.camera_settings_file import CameraSettingsFile
from recognizer.video.tracking.camera_vision import CameraVision

from .scenes import face, frame

LEFT = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
TOP = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.0, 0.5]]
ALL = {
    "zones": [{"name": "Entrance", "points": LEFT}, {"name": "", "points": TOP}],
    "masks": [{"points": [[0.0, 0.0], [0.1, 0.0], [0.1, 0.1]]}],
    "schedule": [{"days": ["mon", "sun"], "from": "08:00", "to": "24:00"}],
    "events": False,
    "min_face": 50,
    "stranger_rate": 0.001,
    "unknown_quality": 0.3,
}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "camera-settings.json"


@pytest.fixture
def at_once(monkeypatch):
    """Changes of other processes are noticed at once."""
    monkeypatch.setattr(module, "NOTICED_SECONDS", 0)


def when(day: str, clock: str) -> float:
    """Seconds since the epoch of a time of this machine's clock in a week of November."""
    return datetime.fromisoformat(f"2026-11-{2 + DAYS.index(day):02}T{clock}").timestamp()


def schedule(days: list[str], begin: str, end: str) -> CameraSettings:
    return parse_settings({"schedule": [{"days": days, "from": begin, "to": end}]})


def test_settings_are_plain_data_and_back():
    assert plain_settings(parse_settings(ALL)) == ALL
    assert parse_settings({}) == PLAIN == parse_settings(plain_settings(PLAIN))
    said = {"zones": [{"points": [[0, 0], [1, 0], [0.123456, 1]], "name": "  A   b "}], "events": True}
    zone = parse_settings(said).zones[0]
    assert (zone.name, zone.points[2]) == ("A b", (0.1235, 1.0))


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"zone": []}, "zone"),
        ({"zones": {}}, "zones"),
        ({"zones": [{"name": "x"}]}, "zones"),
        ({"zones": [{"points": LEFT, "colour": "red"}]}, "zones"),
        ({"zones": [{"points": LEFT[:2]}]}, "zones"),
        ({"zones": [{"points": [[0.5, 0.5]] * 65}]}, "zones"),
        ({"zones": [{"points": [*LEFT[:3], [0.5]]}]}, "zones"),
        ({"zones": [{"points": [*LEFT[:3], [0.5, 1.01]]}]}, "zones"),
        ({"zones": [{"points": [*LEFT[:3], [0.5, float("nan")]]}]}, "zones"),
        ({"zones": [{"points": [*LEFT[:3], [True, 0.5]]}]}, "zones"),
        ({"zones": [{"points": [[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]}]}, "zones"),
        ({"zones": [{"points": LEFT, "name": 7}]}, "zones"),
        ({"zones": [{"points": LEFT, "name": "x" * 61}]}, "zones"),
        ({"zones": [{"points": LEFT, "name": "a\nb"}]}, "zones"),
        ({"zones": [{"points": LEFT, "name": "Door"}, {"points": TOP, "name": "door"}]}, "zones"),
        ({"zones": [{"points": LEFT}] * 17}, "zones"),
        ({"masks": [{"points": LEFT, "name": "x"}]}, "masks"),
        ({"masks": [LEFT]}, "masks"),
        ({"schedule": [{"days": [], "from": "08:00", "to": "09:00"}]}, "schedule"),
        ({"schedule": [{"days": ["monday"], "from": "08:00", "to": "09:00"}]}, "schedule"),
        ({"schedule": [{"days": ["mon"], "from": "8:00", "to": "09:00"}]}, "schedule"),
        ({"schedule": [{"days": ["mon"], "from": "24:00", "to": "09:00"}]}, "schedule"),
        ({"schedule": [{"days": ["mon"], "from": "08:00", "to": "24:01"}]}, "schedule"),
        ({"schedule": [{"days": ["mon"], "from": "08:00"}]}, "schedule"),
        ({"events": "no"}, "events"),
        ({"min_face": 7}, "min_face"),
        ({"min_face": 40.5}, "min_face"),
        ({"min_face": 10**400}, "min_face"),  # more than a float can be
        ({"zones": [{"points": [*LEFT[:3], [0.5, 10**400]]}]}, "zones"),
        ({"stranger_rate": 0}, "stranger_rate"),
        ({"stranger_rate": True}, "stranger_rate"),
        ({"unknown_quality": float("inf")}, "unknown_quality"),
    ],
)
def test_what_is_wrong_is_named(said, wrong):
    with pytest.raises(InvalidParameter, match=f"^{wrong}: "):
        parse_settings(said)


def test_a_point_is_inside_or_outside_of_any_polygon():
    hollow = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.5, 0.5), (0.1, 0.9))
    assert contains(hollow, 0.5, 0.3) and not contains(hollow, 0.5, 0.7) and not contains(hollow, 0.05, 0.3)
    assert contains(hollow, 0.15, 0.8) and contains(hollow, 0.85, 0.8)


def test_only_faces_whose_centre_lies_in_a_zone_are_noted_and_zones_are_named():
    settings = parse_settings({"zones": [{"name": "Entrance", "points": LEFT}, {"points": TOP}]})
    result = frame(0, face(1, "Ada", 100), face(2, "Bob", 200), face(3, None, 155))  # 320 pixels wide; centres are at 70 of 240
    assert [(each.track, each.zones) for each in settings.noted(result).faces] == [(1, ("Entrance",)), (2, ()), (3, ())]
    settings = parse_settings({"zones": [{"name": "Entrance", "points": LEFT}]})
    assert [each.track for each in settings.noted(result).faces] == [1]
    assert PLAIN.noted(result) is result


@pytest.mark.parametrize(
    ("period", "inside", "outside"),
    [
        ((["mon", "fri"], "08:00", "18:00"), [("mon", "08:00"), ("fri", "17:59")], [("mon", "18:00"), ("tue", "12:00")]),
        ((["sun"], "22:00", "06:00"), [("sun", "23:00"), ("mon", "05:59")], [("mon", "06:00"), ("sun", "05:00")]),
        ((["tue"], "00:00", "24:00"), [("tue", "00:00"), ("tue", "23:59")], [("wed", "00:00"), ("mon", "23:59")]),
        ((["tue"], "12:00", "12:00"), [("tue", "12:00"), ("wed", "11:59")], [("tue", "11:59"), ("wed", "12:00")]),
    ],
)
def test_a_schedule_says_when_a_camera_gives_events(period, inside, outside):
    settings = schedule(*period)
    assert all(settings.watches_at(when(*each)) for each in inside)
    assert not any(settings.watches_at(when(*each)) for each in outside)


def test_outside_of_the_schedule_and_without_events_nobody_is_noted():
    settings = schedule(["mon"], "08:00", "18:00")
    seen = [frame(0, face(1, "Ada"), time=when("mon", clock)) for clock in ("12:00", "20:00")]
    assert [len(settings.noted(result).faces) for result in seen] == [1, 0]
    assert not parse_settings({"events": False}).noted(seen[0]).faces


def test_masks_are_black_and_faces_in_them_are_dropped():
    settings = parse_settings({"masks": [{"points": LEFT}]})
    pixels = np.full((100, 200, 3), 200, np.uint8)
    erased = settings.erased(pixels)
    assert (pixels == 200).all() and not erased[:, :99].any() and (erased[:, 102:] == 200).all()
    assert PLAIN.erased(pixels) is pixels
    boxes = np.array([[70, 10, 120, 60], [90, 10, 140, 60]], np.float32)  # centres at 95 and 115
    faces = Faces(boxes, np.ones(2, np.float32), np.zeros((2, 5, 2), np.float32), "yunet5")
    assert settings.unmasked(faces, 200, 100).boxes[:, 0].tolist() == [90]
    assert PLAIN.unmasked(faces, 200, 100) is faces


def test_what_is_set_survives_and_other_processes_notice_it(file, at_once):
    one, other = CameraSettingsFile(file), CameraSettingsFile(file)
    assert one.get("door") is PLAIN and not file.exists()
    before = other.revision("door"), other.revision("yard")
    one.set("door", parse_settings(ALL))
    assert other.get("door") == one.get("door") == CameraSettingsFile(file).get("door") == parse_settings(ALL)
    assert (other.revision("door") > before[0], other.revision("yard") > before[1]) == (True, False)
    other.set("yard", parse_settings({"events": False}))
    one.forget("door")
    assert json.loads(file.read_text()) == {"yard": plain_settings(parse_settings({"events": False}))}
    assert other.get("door") is PLAIN and not other.get("yard").events
    file.unlink()
    assert one.get("yard") is PLAIN


def test_changes_of_several_at_once_are_all_kept(file, at_once):
    files = [CameraSettingsFile(file) for _ in range(4)]
    threads = [
        threading.Thread(target=each.set, args=(f"camera-{n}", parse_settings({"min_face": 30 + n})))
        for n, each in enumerate(files)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [CameraSettingsFile(file).get(f"camera-{n}").min_face for n in range(4)] == [30, 31, 32, 33]


@pytest.mark.parametrize("content", ["{", "[]", '{"door": []}', '{"door": {"min_face": 3}}'])
def test_a_file_that_cannot_be_read_is_not_replaced_and_what_was_read_stays(file, at_once, content, caplog):
    settings = CameraSettingsFile(file)
    settings.set("door", parse_settings(ALL))
    file.write_text(content)
    assert settings.get("door") == parse_settings(ALL) and "camera-settings.json cannot be read" in caplog.text
    with pytest.raises(StorageError):
        settings.set("yard", parse_settings({"events": False}))
    assert file.read_text() == content
    afresh = CameraSettingsFile(file)  # after a restart, nobody knows what the masks were to hide
    covered = afresh.get("door")
    assert not covered.erased(np.full((50, 80, 3), 200, np.uint8)).any() and not covered.watches_at(0)
    assert "all cameras are black" in caplog.text
    afresh.forget("yard")  # a camera that is removed
    file.unlink()
    assert afresh.get("door") is PLAIN


def test_a_file_that_cannot_be_read_for_a_moment_is_read_again(file, at_once, monkeypatch):
    CameraSettingsFile(file).set("door", parse_settings(ALL))
    settings = CameraSettingsFile(file)
    with monkeypatch.context() as patched:
        patched.setattr(module.Path, "read_text", lambda *_: (_ for _ in ()).throw(OSError("too many open files")))
        assert not settings.get("door").events
    assert settings.get("door") == parse_settings(ALL)


def test_a_place_that_cannot_be_written_is_an_error_and_changes_nothing(tmp_path):
    (tmp_path / "state").write_text("a file")
    settings = CameraSettingsFile(tmp_path / "state" / "camera-settings.json")
    with pytest.raises(StorageError):
        settings.set("door", parse_settings(ALL))
    assert settings.get("door") is PLAIN


class Base:
    generation = 7
    same_within = 0.5

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        return lambda *given: self.asked.append((name, *given))


def test_a_camera_has_its_own_limits_and_compares_again_when_they_change():
    base, now = Base(), {"settings": PLAIN, "revision": 0}
    vision = CameraVision(base, lambda: now["settings"], lambda: now["revision"])
    vision.detect("image")
    vision.decide("candidates")
    now |= {"settings": parse_settings(ALL), "revision": 2}
    vision.detect("image")
    vision.match("vectors")
    vision.decide("candidates")
    vision.qualities("image", "faces")
    assert base.asked == [
        ("detect", "image", None),
        ("decide", "candidates", None),
        ("detect", "image", 50),
        ("match", "vectors", 0.001),
        ("decide", "candidates", 0.001),
        ("qualities", "image", "faces"),
    ]
    assert (vision.generation, vision.same_within) == (9, 0.5)
