"""Results in, events out: threads, files, those who follow, and what happens when one of them is slow or gone."""

from __future__ import annotations

import dataclasses
import json
import threading
import time

import pytest

from recognizer.core.errors import EventNotFound, InvalidParameter
from recognizer.events import sse
from recognizer.events.appearances import EventRules
from recognizer.events.event_hub import QUEUED_RESULTS, QUEUED_STATES, Events
from recognizer.events.event_options import EventOptions
from recognizer.photos import images

from .scenes import Camera, State, face, frame
from .streams import ends, wait_for

QUICK = EventRules(shown_seconds=0, shown_frames=1, unknown_seconds=0.05, left_seconds=0.3, camera_seconds=0)
#: Long enough for nobody to have left before the test has looked, on a machine with other work too.
STAYING = dataclasses.replace(QUICK, left_seconds=2)
DOOR = Camera()


@pytest.fixture
def make(tmp_path):
    made = []

    def events(rules: EventRules = QUICK) -> Events:
        made.append(Events(tmp_path / "events", rules))
        return made[-1]

    yield events
    for each in made:
        each.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "events"]


def story(events: Events) -> list[str]:
    return [f"{each['kind']} {each['subject']}" for each in events.page()]


@pytest.mark.slow
def test_results_become_events_with_pictures(make):
    events = make(STAYING)
    events.state(DOOR, State("live"))
    events(DOOR, frame(1, face(1, "Ada", size=200), time=time.time()))
    wait_for(lambda: len(events.page()) == 2)
    assert events.present()["door"][0][0] == "Ada" and events.camera_states() == {"door": "live"}
    wait_for(lambda: len(events.page()) == 3)
    live, appeared, left = events.page()
    assert (live["kind"], appeared["kind"], left["kind"]) == ("camera_live", "appeared", "left")
    assert [live["id"], appeared["id"], left["id"]] == [1, 2, 3]
    assert appeared["thumbnail"] == left["thumbnail"] == "/events/2/thumbnail.jpg" and live["thumbnail"] is None
    picture = images.decode(events.thumbnail(2), max_bytes=10**6, max_pixels=10**6)
    assert max(picture.width, picture.height) == 160 and len(events.thumbnail(2)) < 20_000
    with pytest.raises(EventNotFound):
        events.thumbnail(1)
    assert events.present() == {} and events.counts()["written"] == 3


@pytest.mark.file_times
def test_whoever_enters_a_zone_has_the_picture_of_when_they_came_and_leaves_later(make):
    events = make(EventRules(0, 1))
    for number, zones in enumerate((("Path",), ("Path", "Porch"))):
        there = dataclasses.replace(face(1, "Ada", size=200), zones=zones)
        events(DOOR, frame(number, there, time=time.time()))
    wait_for(lambda: len(events.page()) == 2)
    events.close()
    events = make()
    appeared, entered, left = events.page()
    assert (entered["kind"], entered["zones"], entered["appearance"]) == ("entered", ["Porch"], appeared["id"])
    assert entered["thumbnail"] == left["thumbnail"] == appeared["thumbnail"] == "/events/1/thumbnail.jpg"
    assert left["appearance"] == appeared["id"] and left["zones"] == ["Path", "Porch"]
    assert events.erase("Ada") == 3 and {each["thumbnail"] for each in events.page()} == {None}


@pytest.mark.slow
def test_a_name_that_comes_late_names_what_it_replaces(make):
    events = make(STAYING)
    for number in range(8):
        events(DOOR, frame(number, face(1, None), time=time.time()))
        time.sleep(0.02)
    wait_for(lambda: story(events) == ["unknown None"])
    events(DOOR, frame(9, face(1, "Ada"), time=time.time()))
    wait_for(lambda: story(events) == ["unknown None", "appeared Ada", "left Ada"])
    _, appeared, left = events.page()
    assert appeared["replaces"] == 1 and left["appearance"] == 2


@pytest.mark.file_times
def test_everybody_leaves_when_the_server_stops(make):
    events = make(EventRules(0, 1))
    events(DOOR, frame(1, face(1, "Ada"), time=time.time()))
    wait_for(lambda: story(events) == ["appeared Ada"])
    events.close()
    events = make()
    assert story(events) == ["appeared Ada", "left Ada"]
    assert events.page()[-1]["reason"] == "the server stopped"


@pytest.mark.file_times
def test_who_was_here_when_the_process_was_killed_gets_a_left(make):
    events = make()
    events.log.append(
        [
            {"id": 0, "kind": "unknown", "camera": "door", "time": "", "subject": None, "track": 1, "thumbnail": None},
            {"id": 0, "kind": "appeared", "camera": "door", "time": "", "subject": "Ada", "track": 1, "replaces": 1},
            {"id": 0, "kind": "appeared", "camera": "yard", "time": "", "subject": "Bob", "track": 1},
            {"id": 0, "kind": "left", "camera": "yard", "time": "", "subject": "Bob", "track": 1, "appearance": 3},
        ]
    )
    events.close()
    events = make()
    last = events.page()[4:]
    assert [(each["kind"], each["subject"], each["appearance"]) for each in last] == [("left", "Ada", 2)]
    assert "abruptly" in last[0]["reason"]


def test_whoever_brings_results_never_waits(make, monkeypatch):
    events, at_work, gate = make(), threading.Event(), threading.Event()
    append = events.log.append

    def slow(*made):
        at_work.set()
        gate.wait(3600)
        return append(*made)

    monkeypatch.setattr(events.log, "append", slow)
    result = frame(1, face(1, "Ada"), time=time.time())
    events(DOOR, result)
    assert at_work.wait(60)  # from here on nothing is taken out of the queues

    def bring() -> dict:
        for _ in range(1000):
            events(DOOR, result)
        for number in range(1500):
            events.state(DOOR, State("live" if number % 2 else "lost"))
        return events.counts()

    try:
        counts = ends(bring)
    finally:
        gate.set()
    assert counts["dropped_results"] == 1000 - QUEUED_RESULTS and counts["dropped_states"] == 1500 - QUEUED_STATES


def test_events_that_find_no_room_are_counted_and_the_rest_goes_on(make, monkeypatch):
    from recognizer.core.errors import StorageError

    events, append = make(), None

    def full(*args):
        raise StorageError("no space")

    append = events.log.append
    monkeypatch.setattr(events.log, "append", full)
    events(DOOR, frame(1, face(1, "Ada"), time=time.time()))
    wait_for(lambda: events.counts()["dropped_events"])
    monkeypatch.setattr(events.log, "append", append)
    events(DOOR, frame(2, face(2, "Bob"), time=time.time()))
    wait_for(lambda: "appeared Bob" in story(events))


# -- following --------------------------------------------------------------------------------------------------------


def put(events: Events, *kinds: str) -> None:
    for kind in kinds:
        events.log.append([{"id": 0, "kind": kind, "camera": "door", "time": "", "subject": None}])


def test_following_from_an_id_and_as_it_happens(make):
    events = make()
    put(events, "appeared", "left")
    found = events.follow(0, pause=0.05)
    assert [next(found)["id"], next(found)["id"]] == [1, 2]
    assert next(found) is None and events.counts()["followers"] == 1
    put(events, "unknown")
    assert next(found)["id"] == 3
    found.close()
    assert events.counts()["followers"] == 0
    new = events.follow(None, pause=0.05)
    assert next(new) is None
    put(events, "left")
    assert next(new)["id"] == 4


def test_following_from_an_id_of_a_log_that_was_deleted(make):
    """A browser comes back by itself with the last id that it had; it must not wait until the ids are as high again."""
    events = make()
    put(events, "appeared")
    found = events.follow(500, pause=0.05)
    assert next(found) is None
    put(events, "left")
    assert next(found)["id"] == 2


def test_where_another_process_writes_the_events_are_read(make):
    owner, reader = make(), make()
    put(owner, "appeared", "left")
    assert [each["id"] for each in reader.page(after=0)] == [1, 2] == [each["id"] for each in reader.page()]
    found = reader.follow(None, pause=0.05)
    assert next(found) is None
    put(owner, "unknown")
    assert next(each for each in found if each)["id"] == 3
    found.close()
    assert reader.counts()["writes"] is False


def test_following_ends_when_everything_does(make):
    events = make()
    gone = []
    thread = threading.Thread(target=lambda: gone.extend(events.follow(0, pause=3600)))
    thread.start()
    wait_for(lambda: events.counts()["followers"] == 1)
    events.close()
    thread.join(60)
    assert not thread.is_alive() and gone == []


def test_what_is_kept_no_longer_is_told(make):
    events = make()
    put(events, *["left"] * 10)
    for path in events.log.folder.glob("*.jsonl"):
        path.rename(path.with_name("000000000006.jsonl"))
    assert next(events.follow(0)) == 5


def test_a_stream_of_server_sent_events(make):
    events = make()
    put(events, "appeared", "left")
    gone = threading.Event()
    reader = sse.EventReader(events, 0, sse.selection(kinds="left"), gone.is_set, heartbeat=0.1, pause=0.04)
    assert reader.read(1) == b"retry: 3000\n\n"
    number, kind, data, *end = reader.read().decode().split("\n")
    assert (number, kind, end) == ("id: 2", "event: left", ["", ""])
    assert json.loads(data.removeprefix("data: "))["id"] == 2
    assert reader.read() == reader.read() == b": still here\n\n"
    gone.set()
    assert reader.read() == reader.read() == b"" and events.counts()["followers"] == 0
    reader.close()


def test_what_is_wanted():
    event = {"camera": "door", "subject": "Ada", "kind": "left"}
    assert sse.selection()(event) and sse.selection("door", "Ada", "left, appeared")(event)
    assert not sse.selection(camera="yard")(event) and not sse.selection(subject="Bob")(event)
    assert not sse.selection(kinds="appeared")(event)
    with pytest.raises(InvalidParameter, match="there is no 'leaves'"):
        sse.selection(kinds="leaves")


@pytest.mark.parametrize(("header", "after", "value"), [(None, 4, 4), (None, None, None), (" 7 ", 4, 7), ("", 4, 4)])
def test_where_to_go_on(header, after, value):
    assert sse.last_event_id(header, after) == value


@pytest.mark.parametrize("header", ["x", "-1", "1.5", "٣", "9" * 30])
def test_an_id_that_is_none(header):
    with pytest.raises(InvalidParameter):
        sse.last_event_id(header, None)


# -- people who are erased or renamed while they are at a camera ------------------------------------------------------


def show(events: Events, name: str | None, frames: int = 4, track: int = 1, at: float = 100) -> None:
    for number in range(frames):
        events(DOOR, frame(number, face(track, name, at), time=time.time()))
        time.sleep(0.02)


@pytest.mark.slow
def test_who_is_erased_before_a_camera_leaves_without_a_name(make):
    events = make(STAYING)
    heard = []
    follower = events.follow(0, pause=0.05)
    show(events, "Ada")
    wait_for(lambda: story(events) == ["appeared Ada"])
    events(DOOR, frame(9, face(1, "Ada"), time=time.time()))
    assert events.verify("Ada") == {"events": 1, "present": 1, "receivers": 0}
    assert events.erase("Ada") == 1
    show(events, "Ada")  # results that were being worked on
    assert not any(events.verify("Ada").values())
    assert [subject for subject, _ in events.present()["door"]] == [None]
    wait_for(lambda: len(events.page()) == 2)
    assert story(events) == ["appeared None", "left None"]
    assert events.page()[1]["appearance"] == 1 and events.page()[1]["thumbnail"] is None
    while len(heard) < 2:
        heard += [each for each in [next(follower)] if isinstance(each, dict)]
    assert [each["subject"] for each in heard] == [None, None] and not any(events.verify("Ada").values())
    assert not list(events.log.folder.rglob("*.jpg"))
    follower.close()


@pytest.mark.file_times
def test_who_is_enrolled_again_is_named_again(tmp_path):
    enrolled = {"Ada"}
    events = Events(tmp_path / "events", STAYING, options=EventOptions(enrolled=enrolled.__contains__))
    try:
        show(events, "Ada")
        wait_for(lambda: story(events) == ["appeared Ada"])
        enrolled.clear()
        events.erase("Ada")
        show(events, "Ada", 2)
        wait_for(lambda: events.counts()["observed"] == 6 and [None] == [name for name, _ in events.present()["door"]])
        enrolled.add("Ada")
        show(events, "Ada")
        wait_for(lambda: story(events) == ["appeared None", "appeared Ada"])
        assert events.page()[1]["replaces"] == 1
    finally:
        events.close()


@pytest.mark.slow
def test_who_is_renamed_before_a_camera_stays_there_under_the_new_name(make):
    events = make(STAYING)
    show(events, "Ada")
    wait_for(lambda: story(events) == ["appeared Ada"])
    assert events.rename("Ada", "Ada Lovelace") == 1
    show(events, "Ada", 2)  # results that were being worked on
    show(events, "Ada Lovelace")
    assert [subject for subject, _ in events.present()["door"]] == ["Ada Lovelace"]
    wait_for(lambda: len(events.page()) == 2)
    assert story(events) == ["appeared Ada Lovelace", "left Ada Lovelace"]


@pytest.mark.slow
def test_two_people_at_a_camera_who_are_merged_leave_once(make):
    events = make(STAYING)
    for number in range(4):
        events(DOOR, frame(number, face(1, "Ada"), face(2, "Bob", 250), time=time.time()))
    wait_for(lambda: len(events.page()) == 2)
    events.rename("Bob", "Ada")
    assert [subject for subject, _ in events.present()["door"]] == ["Ada"]
    wait_for(lambda: len(events.page()) == 3)
    assert story(events) == ["appeared Ada", "appeared Ada", "left Ada"]


@pytest.mark.slow
def test_what_another_process_asks_for_reaches_who_is_at_a_camera(make, tmp_path):
    from recognizer.events.event_log import EventLog

    events = make(dataclasses.replace(QUICK, left_seconds=60))
    show(events, "Ada")
    wait_for(lambda: story(events) == ["appeared Ada"])
    other = EventLog(tmp_path / "events")
    other.erase("Ada")
    wait_for(lambda: other.verify("Ada") == 0)
    wait_for(lambda: [subject for subject, _ in events.present()["door"]] == [None])
    other.close()
    events.close()
    assert b"Ada" not in b"".join(path.read_bytes() for path in (tmp_path / "events").glob("*") if path.is_file())


def test_another_process_waits_for_the_next_tick_only(tmp_path):
    """It holds the lock of every change meanwhile: all who change people, at all servers, wait as well."""
    from recognizer.events.event_log import EventLog

    now = [100.0]
    events = Events(tmp_path / "events", QUICK, clock=lambda: now[0])
    other = EventLog(tmp_path / "events")
    try:
        events.log.append([{"id": 0, "kind": "left", "camera": "door", "time": "", "subject": "Ada"}])
        for camera in ("door", "yard"):  # the second is noted after the first look for requests
            events.state(Camera(camera), State("live"))
            wait_for(lambda camera=camera: camera in events.camera_states())
        other.erase("Ada")
        now[0] += 0.25
        wait_for(lambda: other.verify("Ada") == 0)
    finally:
        other.close()
        events.close()


def test_a_request_that_was_left_while_nobody_wrote_comes_before_the_left(make, tmp_path):
    events = make()
    put(events, "camera_live")
    events.log.append([{"id": 0, "kind": "appeared", "camera": "door", "time": "", "subject": "Ada", "thumbnail": None}])
    (events.log.folder / "1.forget").write_text('{"subject": "Ada"}')
    events.close()
    assert [each for each in story(make()) if "Ada" in each] == []


@pytest.mark.file_times
def test_an_unknown_who_turns_out_to_be_somebody_already_there_goes_with_that_person(make):
    events = make(dataclasses.replace(QUICK, left_seconds=60))
    show(events, "Ada")
    wait_for(lambda: story(events) == ["appeared Ada"])
    deadline = time.monotonic() + 20
    while len(events.page()) < 2 and time.monotonic() < deadline:
        show(events, None, 2, track=2, at=250)
    show(events, "Ada", track=2, at=250)
    wait_for(lambda: story(events) == ["appeared Ada", "unknown None", "left None"])
    assert events.page()[2]["same_as"] == 1 and events.thumbnail(2)
    events.erase("Ada")
    assert not list(events.log.folder.rglob("*.jpg"))


def test_who_reads_slowly_gets_no_name_that_was_erased_meanwhile(make):
    events = make()
    for name in ("Ada", "Bob", "Ada"):
        events.log.append([{"id": 0, "kind": "left", "camera": "door", "time": "", "subject": name}])
    slow = events.follow(0, pause=0.05)
    assert next(slow)["subject"] == "Ada"
    events.erase("Ada")
    assert [next(slow)["subject"], next(slow)["subject"]] == ["Bob", None]
    slow.close()


def test_receivers_are_started_once(make):
    from recognizer.events.delivery import Delivery

    events, started = make(), []

    class Counted(Delivery):
        def start(self):
            started.append(self)
            time.sleep(0.05)

    threads = [threading.Thread(target=events.deliver_to, args=([Counted(events.log, f"r{n}", 1)],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == len(set(started)) == len(events.sinks) == 4
    events.sinks.clear()


@pytest.mark.file_times
def test_an_erasure_does_not_wait_for_a_process_that_has_ended(make):
    """Whoever is asked to erase writes the events itself, if nobody else does any more."""
    writer, other = make(), make()
    writer.log.append([{"id": 0, "kind": "appeared", "camera": "door", "time": "2026-01-01T00:00:00.000Z", "subject": "Ada"}])
    wait_for(lambda: [each["subject"] for each in other.page()] == ["Ada"])
    writer.close()
    assert other.rename("Ada", "Ada Byron") and other.erase("Ada Byron")
    assert other.verify("Ada") == other.verify("Ada Byron") == {"events": 0, "present": 0, "receivers": 0}
