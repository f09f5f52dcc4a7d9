"""Which events are about one person."""

from __future__ import annotations

from recognizer.events import event_links


def event(number: int, subject: str | None = None, track: int | None = 1, since: str | None = "12:00", **links) -> dict:
    return {"id": number, "camera": "door", "subject": subject, "track": track, "since": since, **links}


def test_events_with_the_name_and_those_linked_to_them():
    log = [event(1), event(2, "Ada", 2, replaces=1), event(3, "Ada", 2, appearance=2), event(4, "Bob", 3), event(5, None, 4)]
    assert event_links.about("Ada", log) == {1, 2, 3}
    assert event_links.about("Ada", log, also=[5]) == {1, 2, 3, 5}


def test_an_unknown_person_whose_face_gets_a_name_later_is_that_person():
    log = [event(1), event(2, None, appearance=1), event(3, "Ada"), event(4, None, since="12:30"), event(5, None, 2)]
    assert event_links.about("Ada", log) == {1, 2, 3}


def test_a_face_that_was_taken_for_two_people_does_not_join_them():
    log = [event(1), event(2, "Ada"), event(3, "Bob")]
    assert event_links.about("Ada", log) == {1, 2}
    assert event_links.about("Bob", log) == {1, 3}


def test_events_without_a_track_are_not_joined():
    log = [event(1, None, None, None), event(2, "Ada", None, None)]
    assert event_links.about("Ada", log) == {2}


def test_whoever_enters_a_zone_has_not_left():
    times = {"since": "2026-11-21T10:00:00Z"}
    log = [
        event(1, "Ada", kind="appeared", time="2026-11-21T10:00:01Z", **times),
        event(2, "Ada", kind="entered", time="2026-11-21T10:00:09Z", appearance=1, **times),
    ]
    ((begin, end),) = event_links.stays({1, 2}, log)["door"]
    assert end == float("inf")
    log.append(event(3, "Ada", kind="left", time="2026-11-21T10:01:00Z", appearance=1, **times))
    assert {later - begin for _, later in event_links.stays({1, 2, 3}, log)["door"]} == {60.0}
