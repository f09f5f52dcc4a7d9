"""Pictures of whole scenes: stored with events if a setting says so, and deleted with each of the people on them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from recognizer.backup import backup_file
from recognizer.core.errors import EventNotFound
from recognizer.core.vault import Vault, new_key
from recognizer.events import event_links, event_sealing
from recognizer.events.event_erasing import Retention
from recognizer.events.event_hub import Events
from recognizer.events.event_log import EventLog
from recognizer.events.event_options import EventOptions
from recognizer.photos import images
from recognizer.service.event_service import KeptEvents
from recognizer.video.camera_settings import parse_settings

from .scenes import face, frame
from .streams import wait_for
from .test_event_hub import DOOR, STAYING

DAY = 86_400.0
MINUTE = "2026-11-21T10:{:02}:00.000Z"


def clock() -> float:
    return event_links.seconds(MINUTE.format(59))


def event(kind: str, minute: int, subject: str | None, since: int | None = None, camera: str = "door", **more) -> dict:
    begin = {} if since is None else {"since": MINUTE.format(since)}
    return {"id": 0, "kind": kind, "camera": camera, "time": MINUTE.format(minute), "subject": subject, **begin, **more}


def scene_ids(log: EventLog) -> list[int]:
    """Which events have a scene, by their lines; the files must say the same."""
    said = [each["id"] for each in log.read(0, 1000) if "scene" in each]
    files = {path.stem for path in log.folder.glob("*/*-scene.jpg")}
    assert files == {f"{number}-scene" for number in said}
    return said


@pytest.fixture(params=["plain", "encrypted"])
def log(request, tmp_path):
    """Ada from minute 1 to 10, somebody else from 5 to 20, Bob from 15 on; Cleo at another camera all the time."""
    vault = Vault([new_key()]) if request.param == "encrypted" else None
    made = EventLog(tmp_path / "events", Retention(unknown_days=1000 / DAY), now=clock, vault=vault)
    story = [
        event("appeared", 1, "Ada", 1, scene_faces=1),  # 1: she alone
        event("unknown", 6, None, 5, scene_faces=2),  # 2: somebody, while she is there
        event("left", 10, "Ada", 1, appearance=1),  # 3
        event("appeared", 16, "Bob", 15, scene_faces=2),  # 4: he, while somebody is there
        event("left", 20, None, 5, appearance=2),  # 5
        event("unknown", 30, None, 30, camera="gate", scene_faces=1),  # 6
        event("appeared", 31, "Cleo", 30, camera="gate", replaces=6, scene_faces=1),  # 7
    ]
    pictures = [None if each["kind"] == "left" else b"scene" for each in story]
    made.append(story, [b"face"] * len(story), pictures)
    yield made
    made.close()


def test_a_scene_goes_with_each_of_the_people_on_it(log):
    assert scene_ids(log) == [1, 2, 4, 6, 7] and log.scene(2) == b"scene" and log.thumbnail(2) == b"face"
    raw = b"".join(path.read_bytes() for path in log.folder.glob("*/*"))
    assert (b"scene" in raw) == (log._vault is None)
    log.erase("Ada")
    assert scene_ids(log) == [4, 6, 7] and log.scene(2) is None and log.thumbnail(2) == b"face"  # of somebody else
    log.erase("Cleo")
    assert scene_ids(log) == [4]  # also that of her as an unknown person
    log.erase("Nobody")
    assert scene_ids(log) == [4]


def test_a_scene_goes_with_the_unknown_people_on_it(log):
    log._eraser._now = lambda: clock() + 1001  # events of unknown people are kept for 1,000 seconds
    log.purge()
    assert [each["id"] for each in log.read(0, 100)] == [1, 3, 4, 7]
    assert scene_ids(log) == [1]  # before anybody unknown came; the others show somebody who is forgotten


def test_a_scene_that_a_crash_left_is_deleted(log, tmp_path):
    (log.folder / "000000000001" / "9-scene.jpg").write_bytes(b"of an event that was never written")
    log.close()
    again = EventLog(tmp_path / "events", now=clock, vault=log._vault)
    assert scene_ids(again) == [1, 2, 4, 6, 7]
    assert again.append([event("appeared", 40, "Dan", 40)]) == 8 and again.scene(8) is None
    again.close()


def test_another_key_and_an_export_cover_scenes(log, tmp_path):
    log.close()
    new = Vault([new_key()])
    event_sealing.reseal(log.folder, log._vault, new)
    again = EventLog(log.folder, now=clock, vault=new)
    assert scene_ids(again) == [1, 2, 4, 6, 7] and again.scene(4) == b"scene"
    again.close()
    held = KeptEvents(log.folder, False, None, Retention(), EventOptions(new))
    names = {who: [name for name, _ in held.export(who)[1]] for who in ("Ada", "Bob")}
    assert names == {"Ada": ["1.jpg", "1-scene.jpg", "3.jpg"], "Bob": ["4.jpg"]}  # two faces are on the scene of Bob


def test_a_backup_has_scenes():
    assert backup_file.belongs(f"{backup_file.STATE}events/000000000001/17-scene.jpg")


def test_stays_are_from_the_first_moment_to_the_last():
    told = [
        {"id": 1, "kind": "unknown", "camera": "door", "time": MINUTE.format(2), "since": MINUTE.format(1)},
        {"id": 2, "kind": "appeared", "camera": "door", "time": MINUTE.format(3), "since": MINUTE.format(1), "replaces": 1},
        {"id": 3, "kind": "left", "camera": "door", "time": MINUTE.format(9), "since": MINUTE.format(1), "appearance": 2},
        {"id": 4, "kind": "appeared", "camera": "door", "time": MINUTE.format(30)},
    ]
    at = [event_links.seconds(MINUTE.format(minute)) for minute in range(60)]
    assert event_links.stays([1, 2, 3], told) == {"door": [(at[1], at[9])] * 3}
    assert event_links.stays([4], told) == {"door": [(at[30], float("inf"))]}


@pytest.mark.slow
@pytest.mark.parametrize("scenes", [True, False])
def test_the_whole_picture_is_stored_if_it_is_wanted(tmp_path, scenes):
    events = Events(tmp_path / "events", STAYING, options=EventOptions(scenes=scenes))
    try:
        pixels = np.random.default_rng(1).integers(0, 255, (1000, 2000, 3), np.uint8)
        events(DOOR, frame(1, face(1, "Ada", size=100), face(2, "Bob", 700, size=100), time=time.time(), pixels=pixels))
        wait_for(lambda: len(events.page()) >= 2)
        shown = events.page()[0]
        assert ("scene" in shown) == scenes and shown.get("scene_faces") == (2 if scenes else None)
        if scenes:
            assert shown["scene"] == "/events/1/scene.jpg"
            image = images.decode(events.scene(1))
            assert (image.width, image.height) == (1280, 640)
            wait_for(lambda: len(events.page()) == 4)
            assert "scene" not in events.page()[-1]  # who leaves is not there any more
            events.erase("Ada")
        with pytest.raises(EventNotFound):
            events.scene(1)
        assert not list(Path(tmp_path).rglob("*-scene.jpg"))
    finally:
        events.close()


@pytest.mark.slow
def test_faces_outside_of_the_zones_are_not_on_the_picture(tmp_path):
    settings = parse_settings({"zones": [{"points": [[0, 0], [0.3, 0], [0.3, 1], [0, 1]]}]})
    events = Events(tmp_path / "events", STAYING, options=EventOptions(scenes=True))
    try:
        pixels = np.full((600, 1000, 3), 200, np.uint8)
        ada, bob = face(1, "Ada", 100, size=100), face(2, "Bob", 700, size=100)  # Bob gives no event that an erasure could find
        events(DOOR, settings.noted(frame(1, ada, bob, time=time.time(), pixels=pixels)))
        wait_for(lambda: len(events.page()) >= 1)
        assert events.page()[0]["scene_faces"] == 1
        shown = images.decode(events.scene(1)).pixels
        assert shown[50:150, 700:800].max() < 20 and shown[50:150, 100:200].min() > 180 and shown[400:].min() > 180
        assert pixels.min() == 200  # others still use it
    finally:
        events.close()
