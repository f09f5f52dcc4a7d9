"""What is kept of strangers: how they are counted and grouped, what bounds hold, and what the disk is left with."""

from __future__ import annotations

import json
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.core.errors import InvalidParameter, PictureNotFound, StorageError, StrangerNotFound
from recognizer.core.types import Embedding, Match, Template
from recognizer.core.vault import Vault, is_sealed, new_key
from recognizer.engines import calibration
from recognizer.engines.protocols import EngineInfo
from recognizer.galleries.memory import MemoryGallery
from recognizer.service.face_storage import FaceStorage
from recognizer.service.matcher import Identification, Matcher
from recognizer.service.stranger_service import KeptStrangers, different
from recognizer.strangers.model import Bounds, Fresh, Picture, Sighting, Stranger
from recognizer.strangers.store import Strangers
from recognizer.strangers.stranger_files import sealable

NOW = 1_795_255_200.0
DAY = 86_400.0


class Inbox:
    """Strangers with a clock of the test's own, and people whose faces are made up."""

    def __init__(self, folder, **bounds):
        self.now, self.folder, self.bounds = NOW, folder, Bounds(**bounds)
        self.random, self.made = np.random.default_rng(0), 0
        self.strangers = self.open()

    def open(self, engine: str = "engine", vault: Vault | None = None) -> Strangers:
        return Strangers(self.folder, engine, lambda faces: 1.0, self.bounds, now=lambda: self.now, vault=vault)

    def face(self, person: int, quality: float = 0.5) -> Fresh:
        self.made += 1
        vector = 4 * np.eye(12)[person] + 0.05 * self.random.standard_normal(12)
        return Fresh(f"jpeg {self.made} of {person}".encode(), vector.astype(np.float32), self.now, quality)

    def see(self, person: int, *qualities: float, camera="door", visit=None) -> str | None:
        faces = [self.face(person, quality) for quality in qualities or (0.5,)]
        visit = visit or f"visit {self.made}"
        return self.strangers.keep(Sighting(visit, camera, self.now, self.now), faces)

    def pictures(self) -> list[str]:
        return sorted(file.stem for file in (self.folder / "pictures").iterdir())


@pytest.fixture
def inbox(tmp_path) -> Inbox:
    return Inbox(tmp_path / "strangers")


def enrolled(*people: int):
    """A `match` that knows these made-up people."""

    def match(vectors):
        return [Match(f"person {i}" if (i := int(np.argmax(each))) in people else None, 0.1, 1.0) for each in vectors]

    return match


def picture(*vector: float, quality: float = 0.5) -> Picture:
    return Picture(f"{vector}", NOW, "door", quality, "visit", np.array(vector, np.float32))


def test_pictures_that_enrol_are_different_ones_best_first():
    first, same, second, third = picture(0, 0), picture(0.1, 0), picture(0, 1), picture(2, 0)
    assert different([first, same, second, picture(0, 1.2), third], 0.4) == [first, second, third]
    assert different([first] * 5, 0.4) == [first] and different([], 0.4) == []


@pytest.fixture
def kept(tmp_path):
    """Strangers of a server where one person is enrolled, and how far from them a stranger is with a probability."""
    points = calibration("yunet", "sface")
    gallery = MemoryGallery("engine", 2)
    gallery.add([Template("Ada", "a", Embedding(np.array((0, 0), np.float32), "engine"))])
    matcher = Matcher(EngineInfo("engine", 2, "euclidean", points), gallery, None, lambda: 0.001)
    made = KeptStrangers(FaceStorage(tmp_path, "all", lambda: 30), Identification(None, gallery, matcher, None))
    return made, matcher.threshold_at


def stranger(*vectors) -> Stranger:
    return Stranger("1", 1, NOW, NOW, {}, tuple(picture(*vector) for vector in vectors))


def test_a_stranger_resembles_somebody_only_if_few_strangers_would(kept):
    strangers, distance = kept
    near, likely, far = distance(0.0015), distance(0.015), distance(0.15)
    found = strangers.resembles([stranger((near, 0)), stranger((likely, 0)), stranger((far, 0)), stranger((9, 0))])
    assert [each and each.subject for each in found] == ["Ada", "Ada", None, None]


def test_most_pictures_of_a_stranger_have_to_resemble_somebody(kept):
    strangers, distance = kept
    near = distance(0.0015)
    pictures = [[(near, 0)], [(near, 0), (9, 0)], [(9, 0), (near, 0), (0, near / 2)]]
    found = strangers.resembles([stranger(*each) for each in pictures])
    assert [each and each.subject for each in found] == ["Ada", None, "Ada"]
    assert found[2].distance == pytest.approx(near / 2) and strangers.resembles([]) == []


def test_whoever_is_seen_for_the_first_time_is_reported_once(inbox):
    heard: list[str] = []
    inbox.strangers.arrived = heard.append
    first = inbox.see(1)
    inbox.see(1)
    second = inbox.see(2)
    assert heard == [first, second]
    inbox.strangers.dismiss(first, never=True)
    assert inbox.see(1) is not None and heard == [first, second]


def test_at_first_there_is_nobody(inbox):
    assert inbox.strangers.all() == []
    for work in (
        lambda: inbox.strangers.get("x"),
        lambda: inbox.strangers.picture("x", "y"),
        lambda: inbox.strangers.join("x", "y"),
        lambda: inbox.strangers.split("x", ["y"]),
        lambda: inbox.strangers.dismiss("x"),
        lambda: inbox.strangers.get("../../etc/passwd"),
    ):
        with pytest.raises(StrangerNotFound):
            work()
    inbox.strangers.remove("x")
    assert inbox.strangers.purge() == 0


def test_somebody_who_comes_again_is_the_same_stranger_seen_twice(inbox):
    first = inbox.see(1, 0.4, 0.9)
    inbox.now += 3600
    assert inbox.see(1, 0.6, camera="gate") == first
    inbox.now += 1
    second = inbox.see(2)
    stranger = inbox.strangers.get(first)
    assert stranger.sightings == 2 and stranger.cameras == ["gate", "door"]
    assert (stranger.first_seen, stranger.last_seen) == (NOW, NOW + 3600)
    assert [each.quality for each in stranger.pictures] == [0.9, 0.6, 0.4]
    assert inbox.strangers.picture(first, stranger.pictures[0].id) == b"jpeg 2 of 1"
    assert [each.id for each in inbox.strangers.all()] == [second, first]


def test_every_visit_is_remembered_also_without_its_pictures(inbox):
    ids = {inbox.see(1, visit=f"door/{number}/1.000") for number in range(12)}
    (id_,) = ids
    found = inbox.open().get(id_)
    assert len(found.pictures) == 8 and found.visits == tuple(f"door/{number}/1.000" for number in range(12))
    other = inbox.see(2, 0.9, visit="yard/1/1.000")
    joined = inbox.strangers.join(id_, other)
    assert set(joined.visits) == {*found.visits, "yard/1/1.000"}
    new = inbox.strangers.split(id_, [each.id for each in joined.pictures if each.visit == "yard/1/1.000"])
    assert new.visits == ("yard/1/1.000",) and inbox.strangers.get(id_).visits == found.visits
    inbox.strangers.dismiss(id_, never=True)
    assert "door/1/" not in (inbox.folder / f"{id_}.json").read_text()


def test_standing_there_for_long_is_one_sighting(inbox):
    id_ = inbox.see(1, visit="stay")
    for _ in range(30):
        inbox.now += 10
        inbox.strangers.keep(Sighting("stay", "door", NOW, inbox.now), [])
    inbox.see(1, visit="another track, at once")
    stranger = inbox.strangers.get(id_)
    assert stranger.sightings == 1 and stranger.last_seen == NOW + 300 and len(stranger.pictures) == 2


def test_a_stay_of_which_nothing_is_kept_tells_nothing(inbox):
    assert inbox.strangers.keep(Sighting("stay", "door", NOW, NOW), []) is None
    assert inbox.strangers.all() == [] and inbox.pictures() == []


def test_the_same_picture_again_is_kept_once(inbox):
    face = inbox.face(1)
    for visit in ("one", "two"):
        inbox.strangers.keep(Sighting(visit, None, inbox.now, inbox.now), [face])
        inbox.now += 3600
    assert len(inbox.strangers.all()) == 1 and len(inbox.strangers.all()[0].pictures) == 1
    assert inbox.strangers.all()[0].sightings == 2


def test_all_is_there_after_a_restart_and_for_other_processes(inbox):
    id_ = inbox.see(1, 0.3, 0.8)
    other = inbox.open()
    assert other.get(id_) is not None and other.picture(id_, other.get(id_).pictures[0].id)
    mine = inbox.strangers.get(id_)
    assert [each.id for each in other.get(id_).pictures] == [each.id for each in mine.pictures]
    assert np.array_equal(other.get(id_).pictures[0].vector, mine.pictures[0].vector)
    other.dismiss(id_)
    with pytest.raises(StrangerNotFound):
        inbox.strangers.get(id_)
    assert inbox.pictures() == []


def test_what_two_processes_keep_at_once_is_all_kept(inbox):
    opened = [inbox.open() for _ in range(3)]
    faces = [[inbox.face(person) for person in range(8)] for _ in opened]

    def keep(strangers, mine, number):
        for person, face in enumerate(mine):
            strangers.keep(Sighting(f"{number}/{person}", f"camera {number}", NOW, NOW), [face])

    threads = [threading.Thread(target=keep, args=(opened[i], faces[i], i)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.sightings for each in inbox.strangers.all()) == [3] * 8
    assert len(inbox.pictures()) == 24


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_the_worst_pictures_and_the_oldest_strangers_go_and_are_counted(tmp_path):
    inbox = Inbox(tmp_path / "strangers", strangers=3, pictures=2)
    inbox.see(0, 0.2, 0.9, 0.5)
    assert [each.quality for each in inbox.strangers.all()[0].pictures] == [0.9, 0.5]
    for person in range(1, 5):
        inbox.now += 60
        inbox.see(person)
    assert len(inbox.strangers.all()) == 3 and len(inbox.pictures()) == 3
    assert inbox.strangers.counts["dropped_pictures"] == 1 and inbox.strangers.counts["dropped_strangers"] == 2


def test_whoever_was_not_seen_for_too_long_is_forgotten(inbox):
    old, never = inbox.see(1), inbox.see(2)
    inbox.strangers.dismiss(never, never=True)
    inbox.now += 20 * DAY
    young = inbox.see(3)
    inbox.see(2)  # is still known: nobody asks, and the time begins anew
    assert [each.id for each in inbox.strangers.all()] == [young, old]
    inbox.now += 15 * DAY
    assert inbox.strangers.purge() == 1
    assert [each.id for each in inbox.strangers.all()] == [young]
    inbox.see(2)
    assert [each.id for each in inbox.strangers.all()] == [young]
    inbox.now += 31 * DAY
    assert inbox.strangers.purge() == 2
    assert os.listdir(inbox.folder / "pictures") == [] and not list(inbox.folder.glob("*.json"))
    assert inbox.strangers.counts["purged"] == 3


def test_strangers_that_have_expired_go_also_where_none_are_kept_any_more(inbox):
    inbox.now = 0.0
    inbox.see(1)
    engine, matcher = SimpleNamespace(info=SimpleNamespace(id="engine")), SimpleNamespace(crowded=None)
    kept = KeptStrangers(FaceStorage(inbox.folder, "off", lambda: 30), Identification(engine, None, matcher, None))
    kept.look_after()
    assert inbox.strangers.all() == []
    inbox.see(2)  # as if its days had ended while the server runs
    kept.purge_if_off()
    assert len(inbox.strangers.all()) == 1  # it was looked for a moment ago
    kept._purge_at = 0.0
    kept.purge_if_off()
    assert inbox.strangers.all() == []


# -- what people say ---------------------------------------------------------------------------------------------------


def test_joined_and_split_by_hand_stays_so(inbox):
    one, two = inbox.see(1, 0.9), inbox.see(2, 0.8)
    joined = inbox.strangers.join(one, two)
    assert joined.id == one and joined.sightings == 2 and len(joined.pictures) == 2
    with pytest.raises(StrangerNotFound):
        inbox.strangers.get(two)
    inbox.now += 3600
    assert inbox.see(2, 0.7) == one and inbox.see(1, 0.6) == one
    inbox.strangers = inbox.open()
    pictures = [each.id for each in inbox.strangers.get(one).pictures if each.quality in (0.9, 0.6)]
    new = inbox.strangers.split(one, pictures)
    assert {each.quality for each in new.pictures} == {0.9, 0.6} and new.sightings == 2
    assert inbox.strangers.get(one).sightings == 1
    inbox.now += 3600
    assert inbox.see(1) == new.id and inbox.see(2) == one


def test_what_cannot_be_joined_or_split_is_refused(inbox):
    id_ = inbox.see(1, 0.5, 0.6)
    own = [each.id for each in inbox.strangers.get(id_).pictures]
    with pytest.raises(InvalidParameter):
        inbox.strangers.join(id_, id_)
    for pictures, error in (([], InvalidParameter), (own, InvalidParameter), (["x"], PictureNotFound)):
        with pytest.raises(error):
            inbox.strangers.split(id_, pictures)
    with pytest.raises(PictureNotFound):
        inbox.strangers.picture(id_, "x")
    assert [each.id for each in inbox.strangers.get(id_).pictures] == own


def test_of_somebody_not_to_be_asked_about_only_templates_are_kept(inbox):
    id_ = inbox.see(1, 0.5, 0.6)
    inbox.strangers.dismiss(id_, never=True)
    assert inbox.strangers.all() == [] and inbox.pictures() == []
    kept = json.loads((inbox.folder / f"{id_}.json").read_bytes())
    assert kept["never"] is True and kept["at"] == [] and kept["sightings"] == 0
    assert {(each["camera"], each["time"], each["visit"]) for each in kept["pictures"]} == {(None, 0.0, "")}
    inbox.strangers = inbox.open()
    inbox.see(1)
    assert inbox.strangers.all() == [] and inbox.pictures() == []
    assert len(json.loads((inbox.folder / f"{id_}.json").read_bytes())["pictures"]) == 2
    for work in (inbox.strangers.get, inbox.strangers.dismiss):
        with pytest.raises(StrangerNotFound):
            work(id_)


# -- who turns out to be known -----------------------------------------------------------------------------------------


def test_whoever_is_enrolled_leaves(inbox):
    inbox.see(1), inbox.see(2)
    never = inbox.see(3)
    inbox.strangers.dismiss(never, never=True)
    assert inbox.strangers.forget_recognised(enrolled(1, 3)) == 2
    assert len(inbox.strangers.all()) == 1 and len(inbox.pictures()) == 1 and len(list(inbox.folder.glob("*.json"))) == 1
    assert inbox.strangers.forget_recognised(enrolled()) == 0


def test_a_visit_that_gets_a_name_leaves_nothing(inbox):
    id_ = inbox.see(1, 0.5, visit="earlier")
    inbox.now += 3600
    assert inbox.see(1, 0.9, visit="named") == id_
    inbox.strangers.forget_visit("named")
    assert [each.quality for each in inbox.strangers.get(id_).pictures] == [0.5]
    assert inbox.strangers.get(id_).sightings == 1
    inbox.strangers.forget_visit("earlier")
    assert inbox.strangers.all() == [] and inbox.pictures() == []


# -- the disk ----------------------------------------------------------------------------------------------------------


def test_another_engine_makes_templates_anew_from_the_pictures(inbox):
    id_, never = inbox.see(1, 0.5), inbox.see(2)
    inbox.see(3)
    inbox.strangers.dismiss(never, never=True)
    other = inbox.open("other engine")
    assert other.all() == []
    other.renew(lambda jpeg: np.float32([1, 0]) if b"of 1" in jpeg else None)
    assert [each.id for each in other.all()] == [id_]
    assert other.get(id_).pictures[0].vector.tolist() == [1, 0]
    assert len(list(inbox.folder.glob("*.json"))) == 1


def test_a_damaged_file_is_passed_over_and_goes_in_time(inbox):
    good, bad = inbox.see(1), inbox.see(2)
    (inbox.folder / f"{bad}.json").write_bytes(b'{"pictures": [')
    strangers = inbox.open()
    assert [each.id for each in strangers.all()] == [good]
    os.utime(inbox.folder / f"{bad}.json", (NOW - 40 * DAY,) * 2)
    strangers.purge()
    assert not (inbox.folder / f"{bad}.json").exists()


def test_what_an_interruption_left_over_goes_and_an_interrupted_join_counts_each_picture_once(inbox):
    one, two = inbox.see(1, 0.9), inbox.see(2, 0.8)
    before = (inbox.folder / f"{two}.json").read_bytes()
    inbox.strangers.join(one, two)
    (inbox.folder / f"{two}.json").write_bytes(before)  # as if the machine had stopped before it went
    os.utime(inbox.folder / f"{two}.json", ns=(0, 1))
    leftover = inbox.folder / "pictures" / "abc.jpg"
    leftover.write_bytes(b"x")
    os.utime(leftover, (1, 1))
    strangers = inbox.open()
    assert [each.id for each in strangers.all()] == [one] and len(strangers.get(one).pictures) == 2
    strangers.purge()
    assert not leftover.exists() and len(inbox.pictures()) == 2


def test_a_disk_that_refuses_is_told_and_leaves_what_was_there(inbox, monkeypatch):
    id_ = inbox.see(1)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="no space left"):
            inbox.see(2)
    assert [each.id for each in inbox.strangers.all()] == [id_] and len(inbox.pictures()) == 1
    assert inbox.see(2) != id_
    with pytest.raises(StorageError):
        Strangers(inbox.folder / f"{id_}.json", "engine", lambda faces: 1.0)


def test_with_a_key_nothing_that_is_kept_can_be_read_without_it(inbox):
    key = new_key()
    inbox.strangers = inbox.open(vault=Vault([key]))
    id_ = inbox.see(1)
    files = [file for file, _ in sealable(inbox.folder)]
    assert len(files) == 2 and all(is_sealed(file.read_bytes()) for file in files)
    again = inbox.open(vault=Vault([key]))
    assert again.picture(id_, again.get(id_).pictures[0].id) == b"jpeg 1 of 1"
    for vault in (None, Vault([new_key()])):
        other = inbox.open(vault=vault)
        assert other.all() == []
        with pytest.raises(StrangerNotFound):
            other.get(id_)
    assert again.all()[0].id == id_  # those who cannot read it leave it as it is


def test_what_was_kept_before_there_was_a_key_is_read_with_it(inbox):
    id_ = inbox.see(1)
    later = inbox.open(vault=Vault([new_key()]))
    assert later.get(id_).id == id_ and later.picture(id_, later.get(id_).pictures[0].id) == b"jpeg 1 of 1"
