"""What cameras show becomes events: once per appearance, whatever flickers. A scripted clock, no threads, no files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from recognizer.core.types import Box
from recognizer.events.appearances import CAMERA_KINDS, KINDS, Appearances, EventRules, cut, plain
from recognizer.photos.quality import Quality

from .scenes import BEGIN, UNDECIDED, Scene, face, frame

ADA, BOB = "Ada", "Bob"


def in_zones(face, *zones):
    return dataclasses.replace(face, zones=zones)


def test_an_event_names_the_zones_in_which_the_person_was_seen():
    scene = Scene().show(0.3, in_zones(face(1, ADA), "Path")).show(2, in_zones(face(1, ADA), "Door", "Path"))
    scene.show(2, in_zones(face(1, ADA), "Hall")).show(1, face(1, ADA)).show(10)
    assert [plain(event)["zones"] for event in scene.events] == [["Path", "Door"], ["Hall"], ["Path", "Door", "Hall"]]
    assert "zones" not in plain(Scene().show(2, face(1, ADA)).events[0])


def test_entering_another_zone_is_an_event_once_in_a_visit():
    scene = Scene().show(1, in_zones(face(1, ADA), "Path"))
    for zone in ("Door", "Path", "Door"):
        scene.show(0.5, in_zones(face(1, ADA), zone))
    scene.show(1, face(1, ADA)).wait(6)
    assert scene.story == ["appeared Ada", "entered Ada", "left Ada"]
    entered = plain(scene.events[1])
    assert (entered["zones"], entered["appearance"], entered["since"]) == (["Door"], 1, plain(scene.events[0])["since"])
    assert entered["false_match_rate"] == 1e-6 and "seconds" not in entered
    unknown = Scene().show(4, in_zones(face(1, None), "Path")).show(1, in_zones(face(1, None), "Door"))
    assert unknown.story == ["unknown", "entered"]


def test_zones_of_an_unknown_person_who_gets_a_name_are_kept():
    scene = Scene().show(4, in_zones(face(1, None), "Path")).show(2, in_zones(face(1, ADA), "Door"))
    assert [plain(event)["zones"] for event in scene.events] == [["Path"], ["Path", "Door"]]


def test_a_camera_has_a_least_quality_of_unknown_people_of_its_own():
    def story(own: float | None, general: float) -> list[str]:
        scene = Scene(EventRules(unknown_quality=general))
        scene.appearances = Appearances(EventRules(unknown_quality=general), {"door": own, "yard": 0.0}.get)
        return scene.show(5, face(1, None)).story

    assert story(None, 0.9) == story(0.9, 0.0) == []
    assert story(None, 0.0) == story(0.0, 0.9) == ["unknown"]


# -- one person -------------------------------------------------------------------------------------------------------


def test_nobody_is_no_event():
    assert Scene().show(10).wait(10).story == []


def test_an_appearance_is_one_event_and_so_is_leaving():
    scene = Scene().show(20, face(1, ADA)).show(10)
    assert scene.story == ["appeared Ada", "left Ada"]
    appeared, left = scene.events
    assert appeared.track == left.track == 1
    assert 0.5 <= appeared.time - BEGIN < 0.7 and appeared.since == BEGIN
    assert 4.8 <= left.time - BEGIN - 20 < 5.3 and left.appearance == 1
    assert left.seconds == pytest.approx(19.9)


def test_people_leave_though_no_frame_comes_any_more():
    assert Scene().show(2, face(1, ADA)).wait(4).story == ["appeared Ada"]
    assert Scene().show(2, face(1, ADA)).wait(6).story == ["appeared Ada", "left Ada"]


@pytest.mark.parametrize("seconds", [0.2, 0.4])
def test_a_face_that_is_gone_at_once_is_no_event(seconds):
    assert Scene().show(seconds, face(1, ADA)).wait(10).story == []


def test_a_face_that_the_detector_hardly_saw_is_no_event():
    """What a tracker carries on after two detections may be anything."""
    scene = Scene().show(0.2, face(1, ADA)).show(3, face(1, ADA, detected=False)).wait(10)
    assert scene.story == []


def test_where_looking_takes_longer_than_a_picture_lasts_people_come_all_the_same():
    """No result is that of the very picture in which a face was found."""
    carried = face(1, ADA, detected=False)
    scene = Scene()
    for _ in range(4):
        scene.show(0.1, dataclasses.replace(carried, late=True)).show(0.4, carried)
    assert scene.wait(10).story == ["appeared Ada", "left Ada"]
    assert scene.events[0].picture is not None


@pytest.mark.parametrize("gap", [0.5, 2, 4.4])
def test_who_vanishes_for_a_moment_has_not_left(gap):
    scene = Scene().show(3, face(1, ADA)).show(gap).show(3, face(2, ADA)).show(gap).show(3, face(3, ADA))
    assert scene.story == ["appeared Ada"]


def test_a_moment_back_counts_as_being_here():
    """The new track is too short to be an event of its own when the time to leave comes."""
    scene = Scene().show(3, face(1, ADA)).show(4.8).show(3, face(2, ADA))
    assert scene.story == ["appeared Ada"]


def test_who_comes_back_later_appears_again():
    scene = Scene().show(2, face(1, ADA)).show(6).show(2, face(2, ADA)).wait(6)
    assert scene.story == ["appeared Ada", "left Ada"] * 2
    assert [event.appearance for event in scene.events] == [None, 1, None, 3]


def test_without_ticks_or_frames_for_long_the_person_had_left():
    scene = Scene().show(2, face(1, ADA))
    scene.now += 60
    assert scene.show(2, face(2, ADA)).story == ["appeared Ada", "left Ada", "appeared Ada"]


def test_a_name_that_flickers_is_one_appearance():
    scene = Scene()
    for name in (ADA, None, ADA, UNDECIDED, None, ADA) * 4:
        scene.show(0.5, face(1, name))
    assert scene.story == ["appeared Ada"]


def test_numbers_of_tracks_that_begin_anew_are_other_tracks():
    scene = Scene().show(2, face(1, ADA)).show(2, face(1, BOB, since=BEGIN + 2))
    assert scene.story == ["appeared Ada", "appeared Bob"]


# -- unknown people ---------------------------------------------------------------------------------------------------


def test_a_track_that_nobody_compared_yet_is_not_unknown():
    assert Scene().show(30, face(1, UNDECIDED)).wait(10).story == []


def test_a_stranger_is_unknown_once_they_stayed_nameless():
    scene = Scene().show(1.9, face(1, None))
    assert scene.story == []
    scene.show(3, face(1, None)).wait(6)
    assert scene.story == ["unknown", "left"]
    assert scene.events[0].subject is None and scene.events[1].appearance == 1


def test_a_dark_smudge_is_nobody_where_a_least_quality_is_set():
    def seen(sharpness: float, name: str | None = None):
        quality = Quality(40, sharpness, 0, 0, 0, 0, 120, 50, 0, 0.9)
        held = face(1, name)
        return dataclasses.replace(held, seen=dataclasses.replace(held.seen, quality=quality))

    rules = EventRules(unknown_quality=0.3)
    assert Scene(rules).show(5, seen(0.001)).wait(6).story == []
    assert Scene(rules).show(5, seen(0.001)).show(3, seen(0.05)).wait(6).story == ["unknown", "left"]
    assert Scene(rules).show(5, seen(0.001, "Ada")).wait(6).story == ["appeared Ada", "left Ada"]
    assert Scene().show(5, seen(0.001)).wait(6).story == ["unknown", "left"]


def test_a_name_that_comes_in_time_is_one_appearance():
    assert Scene().show(1.5, face(1, None)).show(3, face(1, ADA)).story == ["appeared Ada"]


def test_a_name_that_comes_late_replaces_the_unknown():
    scene = Scene().show(4, face(1, None)).show(3, face(1, ADA)).wait(6)
    assert scene.story == ["unknown", "appeared Ada", "left Ada"]
    assert scene.events[1].replaces == 1 and scene.events[1].since == BEGIN
    assert scene.events[2].appearance == 2


def test_an_unknown_who_turns_out_to_be_someone_who_is_here_leaves():
    scene = Scene().show(4, face(1, ADA), face(2, None, 200)).show(3, face(1, ADA), face(2, ADA, 200))
    assert scene.story == ["appeared Ada", "unknown", "left"]


def test_a_stranger_whose_track_breaks_is_the_same_stranger():
    scene = Scene().show(4, face(1, None)).show(1).show(4, face(2, None, 130)).show(2).show(4, face(3, None, 150))
    assert scene.story == ["unknown"]


def test_a_stranger_elsewhere_is_another():
    scene = Scene().show(4, face(1, None)).show(1).show(6, face(2, None, 280))
    assert scene.story == ["unknown", "unknown", "left"]


def test_two_strangers_side_by_side_are_two():
    scene = Scene().show(4, face(1, None, 100), face(2, None, 150)).wait(6)
    assert scene.story == ["unknown", "unknown", "left", "left"]


def test_a_name_that_stays_away_was_no_name():
    """A track that was Ada's and is nameless from then on: Ada left, somebody unknown is here."""
    scene = Scene().show(3, face(1, ADA)).show(20, face(1, None))
    assert sorted(scene.story) == ["appeared Ada", "left Ada", "unknown"]


# -- several people ---------------------------------------------------------------------------------------------------


def test_two_people_come_and_go_on_their_own():
    scene = Scene().show(2, face(1, ADA)).show(3, face(1, ADA), face(2, BOB, 200)).show(8, face(2, BOB, 200)).show(6)
    assert scene.story == ["appeared Ada", "appeared Bob", "left Ada", "left Bob"]


def test_a_second_track_of_somebody_is_no_second_appearance():
    scene = Scene().show(3, face(1, ADA)).show(3, face(1, ADA), face(2, ADA, 200)).show(9, face(2, ADA, 200)).show(6)
    assert scene.story == ["appeared Ada", "left Ada"]


def test_a_track_that_becomes_another_person():
    scene = Scene().show(3, face(1, ADA)).show(8, face(1, BOB)).wait(6)
    assert scene.story == ["appeared Ada", "appeared Bob", "left Ada", "left Bob"]


def test_every_camera_has_its_own_people():
    scene = Scene().show(2, face(1, ADA), camera="door").show(2, face(1, ADA), camera="yard").wait(6)
    assert [(event.kind, event.camera) for event in scene.events] == [
        ("appeared", "door"),
        ("appeared", "yard"),
        ("left", "door"),
        ("left", "yard"),
    ]


def test_who_is_here_can_be_asked():
    scene = Scene().show(3, face(1, ADA), face(2, None, 200))
    assert {each.subject for each in scene.appearances.present["door"]} == {ADA, None}
    assert scene.wait(6).appearances.present == {}


def test_everybody_leaves_at_the_end():
    scene = Scene().show(3, face(1, ADA), face(2, None, 200))
    scene.keep(scene.appearances.end(BEGIN + 3, "the server stopped"))
    assert scene.story[2:] == ["left Ada", "left"] and scene.events[-1].reason == "the server stopped"
    assert scene.wait(10).story[4:] == []


# -- cameras ----------------------------------------------------------------------------------------------------------


def test_a_cameras_states_are_told_once_they_last():
    scene = Scene().state("connecting").state("live").wait(3).state("lost", "no route to the camera").wait(3)
    scene.state("connecting").wait(3).state("live").wait(3).state("ended", "the file is over").wait(3)
    assert scene.story == ["camera_live", "camera_lost", "camera_live", "camera_ended"]
    assert scene.events[1].reason == "no route to the camera"
    assert scene.events[1].time == BEGIN + 3


def test_a_camera_that_flickers_is_no_event():
    scene = Scene().state("live").wait(3)
    for _ in range(5):
        scene.state("lost").wait(1).state("connecting").wait(0.5).state("live").wait(1)
    assert scene.story == ["camera_live"]


def test_a_camera_that_goes_on_trying_is_lost_though_it_is_connecting():
    scene = Scene().state("live").wait(3).state("lost", "gone").state("connecting").state("lost", "gone").wait(3)
    assert scene.story == ["camera_live", "camera_lost"]


def test_a_camera_that_nobody_needs_for_a_while_is_no_event():
    scene = Scene().state("live").wait(3).state("idle").wait(20).state("connecting").state("live").wait(3)
    assert scene.story == ["camera_live"]


def test_a_camera_that_was_removed_or_read_elsewhere_is_news_when_it_is_live_again():
    scene = Scene().state("live").wait(3).state("gone")
    assert scene.appearances.states == {}
    assert scene.state("idle").state("live").wait(3).story == ["camera_live"] * 2


def test_people_stay_through_a_short_loss_and_leave_in_a_long_one():
    scene = Scene().state("live").show(3, face(1, ADA)).state("lost").wait(3).state("live")
    assert scene.show(3, face(1, ADA, since=BEGIN + 6)).story == ["appeared Ada", "camera_live", "camera_lost", "camera_live"]
    scene.state("lost", "cable").wait(8)
    assert scene.story[4:] == ["camera_lost", "left Ada"] and scene.events[-1].reason == "the camera is lost"


def test_people_leave_when_a_recording_is_over():
    scene = Scene().state("live").show(3, face(1, ADA)).state("ended", "the recording is over").wait(8)
    assert scene.story == ["appeared Ada", "camera_live", "camera_ended", "left Ada"]
    assert scene.events[-1].reason == "the camera has ended"


# -- what an event holds ----------------------------------------------------------------------------------------------


def test_the_picture_is_of_the_best_frame():
    scene = Scene()
    for number, (size, score) in enumerate([(30, 0.5), (60, 0.95), (30, 0.6), (30, 0.6), (30, 0.6), (30, 0.6), (30, 0.6)]):
        result = frame(100 + number, face(1, ADA, size=size, score=score), time=BEGIN + scene.now)
        scene.keep(scene.appearances.observe("door", result, scene.now))
        scene.now += 0.1
    (event,) = scene.events
    assert event.picture is not None and (event.picture == 101).all()
    assert event.box.width == 60 and max(event.picture.shape) == 84


@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (300, 200, 400, 300), (0, 0, 320, 240), (319, 239, 330, 250)])
def test_pictures_end_at_the_frame(box):
    pixels = np.zeros((240, 320, 3), np.uint8)
    taken = cut(pixels, Box(*box))
    assert min(taken.shape[:2]) >= 1 and taken.shape[2] == 3 and not np.shares_memory(taken, pixels)


def test_large_faces_are_thinned_out():
    assert max(cut(np.zeros((2160, 3840, 3), np.uint8), Box(500, 100, 2000, 2000)).shape) <= 640


def test_an_event_as_plain_data():
    scene = Scene().show(1, face(7, ADA)).wait(6)
    shown = [plain(dataclasses.replace(event, id=number)) for number, event in enumerate(scene.events, 1)]
    assert shown[0] == {
        "id": 1,
        "kind": "appeared",
        "camera": "door",
        "time": "2026-11-21T10:00:00.500Z",
        "subject": "Ada",
        "track": 7,
        "distance": 0.4,
        "false_match_rate": 1e-06,
        "box": {"left": 100, "top": 50, "right": 140, "bottom": 90},
        "thumbnail": None,
        "since": "2026-11-21T10:00:00.000Z",
    }
    assert shown[1]["appearance"] == 1 and shown[1]["seconds"] == 0.9
    assert {*KINDS} == {"appeared", "left", "unknown", "entered", *CAMERA_KINDS.values()}


def test_rules_can_be_changed():
    rules = EventRules(shown_seconds=0, shown_frames=1, unknown_seconds=0, left_seconds=1, camera_seconds=0)
    scene = Scene(rules).state("live").show(0.1, face(1, ADA), face(2, None, 200)).wait(1.5)
    assert scene.story == ["camera_live", "appeared Ada", "unknown", "left Ada", "left"]
