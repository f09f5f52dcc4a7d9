"""How near the enrolled are to themselves and to each other: counted by hand as well, bounded, and off the asker's thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from recognizer.core.types import Embedding, Template
from recognizer.enrolment import closeness
from recognizer.enrolment.closeness import Measurement, measure
from recognizer.galleries.memory import MemoryGallery

ENGINE = "test/1"


def gallery(people: dict[str, list]) -> MemoryGallery:
    made = MemoryGallery(ENGINE, len(next(iter(people.values()))[0]) if people else 2)
    made.add(
        [
            Template(subject, f"{subject}{n}", Embedding(np.array(at, np.float32), ENGINE))
            for subject, places in people.items()
            for n, at in enumerate(places)
        ]
    )
    return made


class Enrolled:
    def __init__(self, people):
        self.gallery, self.revision = gallery(people), 0


def crowd(people: int, photos: int, dim: int = 16) -> dict[str, list]:
    numbers = np.random.default_rng(3)
    centres = numbers.normal(0, 1, (people, dim))
    return {f"p{i}": list(centre + numbers.normal(0, 0.1, (photos, dim))) for i, centre in enumerate(centres)}


@pytest.mark.parametrize("people", [{}, {"ann": [(0, 0)]}], ids=["nobody", "one photo"])
def test_without_pairs_there_is_nothing_to_tell(people):
    found = measure(gallery(people))
    assert (found.templates, found.sampled) == (len(people), len(people))
    assert not len(found.same) and not len(found.different) and found.closest == ()
    assert found.accepted(1.0) is None and found.mistaken(1.0) is None and found.bars() == ([], [])


def test_distances_shares_and_the_closest_pair():
    found = measure(gallery({"ann": [(0, 0), (0, 0.5), (0, 2)], "bob": [(3, 0), (3, 1)], "cid": [(9, 0)]}))
    assert (found.templates, found.sampled) == (6, 6)
    assert found.same.tolist() == [0.5, 0.5, 1.0, 1.0, 1.5]
    assert found.different.tolist() == pytest.approx(sorted([3, 9.25**0.5, 10**0.5, 3, 9.25**0.5, 6]))
    assert found.accepted(0.4) == 0 and found.accepted(0.5) == 0.4 and found.accepted(1.5) == 1
    assert found.mistaken(2.9) == 0 and found.mistaken(3.01) == pytest.approx(2 / 6)
    assert [tuple(sorted(pair.subjects)) for pair in found.closest] == [("ann", "bob"), ("bob", "cid")]
    nearest = found.closest[0]
    assert nearest.distance == 3 and dict(zip(nearest.subjects, nearest.photos, strict=True)) == {"ann": "ann0", "bob": "bob0"}
    same, different = found.bars()
    assert sum(same) == 5 and sum(different) == 6 and same[round(0.5 / closeness.STEP)] == 2


def test_it_agrees_with_comparing_all_with_all():
    people = crowd(40, 3)
    found = measure(gallery(people))
    vectors = np.concatenate([np.array(places, np.float32) for places in people.values()]).astype(float)
    owners = np.repeat(np.arange(40), 3)
    far = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(far, np.inf)
    alike = owners[:, None] == owners[None]
    assert found.same == pytest.approx(np.sort(np.where(alike, far, np.inf).min(1)), abs=1e-5)
    assert found.different == pytest.approx(np.sort(np.where(alike, np.inf, far).min(1)), abs=1e-5)
    assert found.closest[0].distance == pytest.approx(np.where(alike, np.inf, far).min(), abs=1e-5)
    assert len(found.closest) == closeness.MOST_CLOSEST


@pytest.mark.parametrize(("people", "photos"), [(300, 1), (10, 30), (1, 200)])
def test_of_a_large_gallery_some_are_looked_at_and_it_is_said(people, photos):
    searched = []
    large = gallery(crowd(people, photos))
    search = large.search
    large.search = lambda probes, k: searched.append(len(probes)) or search(probes, k)
    found = measure(large, most=50)
    assert found.templates == people * photos and 2 <= found.sampled <= 50
    assert sum(searched) == found.sampled
    assert len(found.same) == (found.sampled if photos > 1 else 0)
    again = measure(gallery(crowd(people, photos)), most=50)
    assert again.same.tolist() == found.same.tolist()  # not another figure each time it is asked


def test_of_a_very_large_gallery_fewer_are_looked_at(monkeypatch):
    monkeypatch.setattr(closeness, "MOST_COMPARISONS", 100 * 400)
    monkeypatch.setattr(closeness, "LEAST_SAMPLED", 50)
    assert measure(gallery(crowd(400, 1))).sampled == 100
    assert measure(gallery(crowd(1200, 1))).sampled == 50
    assert measure(gallery(crowd(30, 1))).sampled == 30


def test_whoever_asks_does_not_wait_for_long_and_gets_it_later(monkeypatch):
    held = threading.Event()
    real = measure
    monkeypatch.setattr(closeness, "measure", lambda *args: (held.wait(10), real(*args))[1])
    measurement = Measurement(Enrolled({"ann": [(0, 0), (0, 1)]}))
    assert measurement.latest(patience=0.01) == (None, False)
    held.set()
    found, current = measurement.latest(patience=10)
    assert current and found.same.tolist() == [1, 1]
    measurement.close()


def test_it_is_measured_once_until_the_gallery_changes(monkeypatch):
    times = []
    real = measure
    monkeypatch.setattr(closeness, "measure", lambda *args: times.append(1) or real(*args))
    enrolled = Enrolled({"ann": [(0, 0), (0, 1)]})
    measurement = Measurement(enrolled)
    first, _ = measurement.latest(10)
    assert measurement.latest(10) == (first, True) and len(times) == 1
    enrolled.gallery.add([Template("bob", "b", Embedding(np.array((3, 0), np.float32), ENGINE))])
    enrolled.revision += 1
    second, current = measurement.latest(10)
    assert current and len(second.different) == 3 and len(times) == 2
    measurement.close()


@pytest.mark.parametrize("erased", ["ann", "bob"])
def test_an_outdated_measurement_lists_nobody_who_is_gone(monkeypatch, erased):
    held = threading.Event()
    enrolled = Enrolled({"ann": [(0, 0), (9, 9)], "bob": [(3, 0)], "cid": [(50, 0)], "dan": [(51, 0)]})
    measurement = Measurement(enrolled)
    before, _ = measurement.latest(10)
    assert ("ann", "bob") in [tuple(sorted(pair.subjects)) for pair in before.closest]
    real = measure
    monkeypatch.setattr(closeness, "measure", lambda *args: (held.wait(10), real(*args))[1])
    enrolled.gallery.remove(erased, f"{erased}0")
    enrolled.revision += 1
    found, current = measurement.latest(patience=0)
    assert not current and len(found.same) == len(before.same)
    assert [tuple(sorted(pair.subjects)) for pair in found.closest] == [("cid", "dan")]
    held.set()
    measurement.close()


def test_closing_ends_what_runs():
    measurement = Measurement(Enrolled(crowd(200, 5)))
    measurement.latest(patience=0)
    measurement.close()
    assert not any(thread.name == "closeness" for thread in threading.enumerate())
    enrolled = Measurement(Enrolled({"ann": [(0, 0)]}))
    enrolled.close()
    assert enrolled.latest(0) == (None, False)
