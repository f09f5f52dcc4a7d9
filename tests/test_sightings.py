"""Which faces before cameras are sightings, and when each is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recognizer.core.types import Box
from recognizer.events.sightings import SightingRules, Sightings, cut
from recognizer.photos.quality import Quality
from recognizer.video.sources.camera import CameraState

from .scenes import BEGIN, UNDECIDED, Camera, face, frame

GOOD = Quality(80, 0.2, 0.0, 0.0, 0.0, 0.0, 128, 50, 0.0, 0.9)


class Door:
    """A camera that shows faces, frame by frame, and the sightings that are told."""

    def __init__(self, room: bool = True):
        self.room, self.told, self.now, self.number = room, [], 0.0, 0
        self.sightings = Sightings(self.offer, SightingRules())

    def offer(self, sighting) -> bool:
        if self.room:
            self.told.append(sighting)
        return self.room

    def show(self, seconds: float, *faces, ended=(), rate: float = 10.0):
        for _ in range(round(seconds * rate)):
            shown = frame(self.number, *faces, time=BEGIN + self.now)
            frame_ = replace(shown.frame, taken=self.now)
            self.sightings(Camera(), replace(shown, frame=frame_, ended=tuple(ended)))
            self.now += 1 / rate
            self.number += 1
        return self


def seen(track: int = 1, name: str | None = None, quality: Quality | None = GOOD, size: float = 80, detected: bool = True):
    made = face(track, name, size=size, detected=detected)
    return replace(made, seen=replace(made.seen, quality=quality))


def test_nobody_is_no_sighting():
    assert Door().show(5).told == []


def test_a_stranger_is_told_once_they_stayed_nameless_and_again_now_and_then():
    door = Door().show(1.9, seen())
    assert door.told == []
    door.show(0.4, seen())
    assert len(door.told) == 1
    first = door.told[0]
    assert first.camera == "door" and first.first == BEGIN and 1 <= len(first.shots) <= 3
    assert all(b.time - a.time >= 0.5 for a, b in zip(first.shots, first.shots[1:], strict=False))
    door.show(60, seen())
    assert len(door.told) == 7 and {each.visit for each in door.told} == {first.visit}
    assert all(each.shots == () for each in door.told[1:])  # nothing better came
    assert door.told[-1].last > first.last + 50


def test_the_end_of_a_track_tells_better_pictures_that_came_since():
    door = Door().show(3, seen())
    better = replace(GOOD, size=100, sharpness=0.5, score=0.99)
    door.show(1, seen(quality=replace(GOOD, yaw=35.0)), seen(2, "Zoë"))
    assert len(door.told) == 1
    poor = Door().show(3, seen(quality=replace(GOOD, yaw=30.0))).show(1, seen(quality=better)).show(0.1, ended=[1])
    assert [len(each.shots) for each in poor.told] == [3, 2]
    assert min(shot.worth for shot in poor.told[1].shots) > max(shot.worth for shot in poor.told[0].shots)


def test_a_track_that_is_seen_no_more_is_over():
    door = Door().show(3, seen(quality=replace(GOOD, yaw=30.0))).show(1, seen()).show(6)
    assert len(door.told) == 2
    assert door.sightings.followed == 0


def test_where_looking_takes_longer_than_a_picture_lasts_strangers_are_told_all_the_same():
    carried = seen(detected=False)
    door = Door()
    for _ in range(6):
        door.show(0.1, replace(carried, late=True)).show(0.4, carried)
    assert door.told and door.told[0].shots


@pytest.mark.parametrize(
    "shown",
    [
        seen(name="Zoë"),
        seen(name=UNDECIDED),
        seen(size=30),
        seen(detected=False),
        seen(quality=None),
        seen(quality=replace(GOOD, sharpness=0.01)),
        seen(quality=replace(GOOD, yaw=60.0)),
        seen(quality=replace(GOOD, contrast=5)),
        seen(quality=replace(GOOD, cut_off=0.5)),
        seen(quality=replace(GOOD, score=0.6)),
    ],
    ids=["named", "undecided", "small", "carried on", "unmeasured", "blurred", "turned", "flat", "cut off", "doubtful"],
)
def test_what_is_no_stranger_or_shows_nobody_well_is_not_told(shown):
    assert Door().show(15, shown).show(6).told == []


def test_somebody_who_passes_quickly_is_not_told():
    assert Door().show(1.5, seen()).show(10).told == []


def test_a_name_that_comes_in_time_is_none_of_our_business_and_one_that_comes_late_is_told():
    assert Door().show(1.5, seen()).show(5, seen(name="Zoë")).told == []
    door = Door().show(3, seen()).show(5, seen(name="Zoë"))
    assert [each.named for each in door.told] == [False, True]
    assert door.told[0].visit == door.told[1].visit
    door.show(3, seen())  # and is gone again
    assert [each.named for each in door.told] == [False, True, False]


def test_two_at_once_are_two_visits_and_so_are_tracks_of_another_run():
    door = Door().show(3, seen(1), seen(2))
    assert len({each.visit for each in door.told}) == 2
    later = replace(seen(1), since=BEGIN + 100)
    door.show(3, later)
    assert len({each.visit for each in door.told}) == 3


def test_of_a_crowd_a_few_pictures_of_each_frame_are_copied_and_everybody_is_told_in_the_end():
    door = Door()
    crowd = [seen(track) for track in range(10)]
    door.show(0.1, *crowd)
    assert door.sightings.copied_pictures == 3
    door.show(3, *crowd)
    assert len({each.visit for each in door.told}) == 10


def test_where_there_is_no_room_it_is_told_again_later_with_its_pictures():
    door = Door(room=False).show(3, seen())
    door.room = True
    door.show(5, seen())
    assert door.told == []
    door.show(6, seen())
    assert len(door.told) == 1 and door.told[0].shots


@pytest.mark.parametrize("size", [10, 300, 3000])
def test_a_picture_has_what_is_around_the_face_and_is_not_larger_than_needed(size):
    pixels = np.zeros((4000, 5000, 3), np.uint8)
    pixels[500 : 500 + size, 700 : 700 + size] = 255
    found = cut(pixels, Box(700, 500, 700 + size, 500 + size))
    assert max(found.shape) <= 640 and found.flags.c_contiguous
    assert found[0, 0].max() == 0 and found[found.shape[0] // 2, found.shape[1] // 2].min() == 255
    assert not np.shares_memory(found, pixels)


def test_a_face_at_the_edge_is_cut_where_the_picture_ends():
    pixels = np.zeros((100, 120, 3), np.uint8)
    assert cut(pixels, Box(-20, -10, 30, 40)).shape == (70, 60, 3)
    assert cut(pixels, Box(110, 90, 160, 140)).shape == (40, 40, 3)


@pytest.mark.parametrize("state", ["lost", "ended", None])
def test_of_a_camera_that_stops_no_track_is_kept(state):
    door = Door().show(5, seen(1)).show(1, seen(1), seen(2))
    assert door.sightings.followed == 2
    for camera, left in ((Camera("other"), 2), (Camera(), 0)):
        if state is None:
            door.sightings.stopped(camera)
        else:
            door.sightings.state(camera, CameraState(state))
        assert door.sightings.followed == left
    assert len({each.visit for each in door.told}) == 1  # the second was there too shortly


def test_a_track_goes_on_while_its_camera_is_frozen():
    door = Door().show(1, seen(1))
    for state in ("frozen", "live"):
        door.sightings.state(Camera(), CameraState(state))
    assert door.sightings.followed == 1


def test_pictures_from_before_an_erasure_are_dropped_and_the_track_goes_on():
    door = Door().show(1.5, seen())
    waiting = door.sightings.waiting_pictures(BEGIN + 60)
    assert waiting == door.sightings.copied_pictures > 0
    assert door.sightings.waiting_pictures(BEGIN) == 0
    door.sightings.drop_pictures(BEGIN)
    assert door.sightings.copied_pictures == waiting
    door.sightings.drop_pictures(BEGIN + 1.5)
    assert door.sightings.waiting_pictures(BEGIN + 1.5) == 0 and door.sightings.followed == 1
    door.show(3, seen())
    assert door.told and all(shot.time >= BEGIN + 1.5 for shot in door.told[0].shots)


def test_a_frame_from_before_an_erasure_that_is_examined_after_it_gives_no_picture():
    door = Door()
    door.sightings.drop_pictures(BEGIN + 1.0)
    door.show(0.9, seen())
    assert door.sightings.followed == 1 and door.sightings.copied_pictures == 0
    door.show(1.0, seen())
    assert door.sightings.copied_pictures > 0 == door.sightings.waiting_pictures(BEGIN + 1.0)
