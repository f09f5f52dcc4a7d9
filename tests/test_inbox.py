"""The way into the strangers' inbox: real pictures are looked at on its thread, and nothing that goes wrong ends it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from recognizer.core.errors import StorageError
from recognizer.core.types import Match
from recognizer.engines import make_engine
from recognizer.enrolment.examination import EnrolmentRules
from recognizer.photos import images
from recognizer.strangers.inbox import QUEUED, Inbox
from recognizer.strangers.model import Sighting, StrangerShot
from recognizer.strangers.store import Strangers

from .streams import wait_for

NOBODY = Match(None, None, 1.0)


@pytest.fixture(scope="module")
def engine(models_dir):
    return make_engine("yunet", "dlib+sface", models_dir=models_dir)


@pytest.fixture(scope="module")
def shots(photos, engine) -> dict[str, StrangerShot]:
    """What a camera would have cut out of real photos."""
    from recognizer.events.sightings import cut

    found = {}
    for name in ("obama.jpg", "obama2.jpg", "biden.jpg"):
        image = images.decode(photos[name].read_bytes(), max_bytes=10**8, max_pixels=10**8).sharper(1.0)
        found[name] = StrangerShot(cut(image.pixels, engine.find(image)[0].box), time.time(), 0.8)
    found["nothing"] = StrangerShot(np.full((200, 200, 3), 90, np.uint8), time.time(), 0.9)
    return found


class Gallery:
    """Who is enrolled, as a test says: vectors that are known, and a generation."""

    def __init__(self):
        self.known: list[np.ndarray] = []
        self.generation = 0
        self.wait = threading.Event()
        self.wait.set()
        self.asked = threading.Event()
        self.failure: Exception | None = None

    def match(self, vectors):
        self.asked.set()
        assert self.wait.wait(30)
        if self.failure:
            raise self.failure
        return [Match("Zoë", 0.5, 1.0) if any(np.linalg.norm(each - k) < 1 for k in self.known) else NOBODY for each in vectors]


@pytest.fixture
def gallery() -> Gallery:
    return Gallery()


@pytest.fixture
def inbox(tmp_path, engine, gallery):
    strangers = Strangers(tmp_path, engine.info.id, lambda faces: 1.2)
    made = Inbox(strangers, engine, EnrolmentRules(), gallery.match, lambda: gallery.generation)
    yield made
    gallery.wait.set()
    made.close()
    assert "strangers" not in {thread.name for thread in threading.enumerate()}


def seen(*shots: StrangerShot, visit: str = "visit", **more) -> Sighting:
    now = time.time()
    return Sighting(visit, "door", now - 3, now, shots, **more)


@pytest.mark.slow
def test_what_is_kept_is_a_picture_that_could_enrol_and_its_own_template(inbox, shots, engine):
    assert inbox.offer(seen(shots["obama.jpg"], shots["nothing"], shots["obama2.jpg"]))
    (stranger,) = wait_for(inbox.strangers.all)
    wait_for(lambda: inbox.counts()["kept"] == 2)
    stranger = inbox.strangers.get(stranger.id)
    assert inbox.counts()["unfit"] == 1 and len(stranger.pictures) == 2 and stranger.sightings == 1
    for picture in stranger.pictures:
        image = images.decode(inbox.strangers.picture(stranger.id, picture.id), max_bytes=10**6, max_pixels=10**6)
        assert max(image.width, image.height) <= 480
        vector = engine.describe(image, engine.find(image))[0]
        assert np.linalg.norm(vector - picture.vector) < 0.05


def test_nobody_who_is_enrolled_is_kept_and_whoever_is_enrolled_later_leaves(inbox, shots, gallery):
    inbox.offer(seen(shots["obama.jpg"], visit="first"))
    (stranger,) = wait_for(inbox.strangers.all)
    gallery.known, gallery.generation = [stranger.pictures[0].vector], 1
    wait_for(lambda: not inbox.strangers.all(), 5)
    inbox.offer(seen(shots["obama.jpg"], visit="second"))
    inbox.offer(seen(shots["biden.jpg"], visit="third"))
    wait_for(lambda: inbox.counts()["known"] == 1)
    wait_for(lambda: len(inbox.strangers.all()) == 1)
    assert inbox.counts()["recognised"] == 1


def test_a_visit_of_which_one_picture_is_known_leaves_nothing(inbox, shots, gallery):
    inbox.offer(seen(shots["obama.jpg"], visit="stay"))
    (stranger,) = wait_for(inbox.strangers.all)
    inbox.offer(seen(visit="stay", named=True))
    wait_for(lambda: not inbox.strangers.all())
    gallery.known = [stranger.pictures[0].vector]
    inbox.offer(seen(shots["biden.jpg"], visit="other stay"))
    wait_for(inbox.strangers.all)
    inbox.offer(seen(shots["obama.jpg"], visit="other stay"))
    wait_for(lambda: not inbox.strangers.all())


def test_what_finds_no_room_is_dropped_and_counted_and_nobody_waits(inbox, shots, gallery):
    gallery.wait.clear()
    inbox.offer(seen(shots["obama.jpg"]))
    assert gallery.asked.wait(60)  # the first one is being processed
    taken = [inbox.offer(seen(visit=f"{number}")) for number in range(QUEUED + 3)]
    assert taken == [True] * QUEUED + [False] * 3
    assert inbox.counts()["dropped"] == 3
    assert inbox.counts()["waiting"] == QUEUED + 1
    gallery.wait.set()
    wait_for(lambda: inbox.counts()["waiting"] == 0)
    assert inbox.offer(seen(visit="later"))


def test_pictures_that_wait_are_dropped_by_an_erasure_and_the_one_being_examined_is_waited_for(inbox, shots, gallery):
    gallery.wait.clear()
    inbox.offer(seen(shots["obama.jpg"], visit="first"))
    assert gallery.asked.wait(60)
    inbox.offer(seen(shots["biden.jpg"], visit="second"))
    inbox.offer(seen(visit="first", named=True))
    later = shots["biden.jpg"].time + 1
    assert inbox.waiting_pictures(later) == 1 and inbox.waiting_pictures(later - 1) == 0
    eraser = threading.Thread(target=inbox.drop_pictures, args=(later,))
    eraser.start()
    wait_for(lambda: inbox.waiting_pictures(later) == 0)
    assert eraser.is_alive()  # whoever erases looks at what is stored afterwards
    gallery.wait.set()
    eraser.join(60)
    assert not eraser.is_alive()
    wait_for(lambda: inbox.counts()["waiting"] == 0)
    assert inbox.strangers.all() == []  # the first was named, and the second dropped
    inbox.offer(seen(shots["obama.jpg"], visit="third"))  # offered by whoever did not know yet
    assert inbox.waiting_pictures(later) == 0
    wait_for(lambda: inbox.counts()["waiting"] == 0)
    assert inbox.strangers.all() == []


@pytest.mark.parametrize("failure", [StorageError("the disk is full"), RuntimeError("odd")], ids=["disk", "odd"])
def test_a_sighting_that_fails_is_counted_and_the_next_is_kept(inbox, shots, gallery, failure, caplog):
    gallery.failure = failure
    inbox.offer(seen(shots["obama.jpg"]))
    wait_for(lambda: inbox.counts()["failed"] >= 1)
    gallery.failure = None
    inbox.offer(seen(shots["biden.jpg"], visit="next"))
    wait_for(inbox.strangers.all)


def test_closing_finishes_what_waits(tmp_path, engine, gallery, shots):
    strangers = Strangers(tmp_path, engine.info.id, lambda faces: 1.2)
    inbox = Inbox(strangers, engine, EnrolmentRules(), gallery.match, lambda: gallery.generation)
    for name in ("obama.jpg", "biden.jpg"):
        inbox.offer(seen(shots[name], visit=name))
    inbox.close()
    assert len(strangers.all()) == 2
    assert not inbox.offer(seen(shots["obama.jpg"]))
