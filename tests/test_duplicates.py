"""Copies of one picture: told from other pictures, one template for all of them, and back when the original goes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from recognizer.engines import make_engine
from recognizer.enrolment.duplicates import PictureGroups, same_picture
from recognizer.enrolment.encodings import Encoding, photo_id
from recognizer.enrolment.examination import EnrolmentRules, examine
from recognizer.photos import images

from .enrolling import jpeg, portrait


def encoding(photo: str, *at: float, box=(10, 10, 60, 60), size=(100, 100)) -> Encoding:
    vector = np.zeros(4, np.float32)
    vector[: len(at)] = at
    return Encoding(photo, "test/1", vector=vector, box=box, score=0.9, width=size[0], height=size[1])


def ids(encodings) -> list[str]:
    return [each.photo for each in encodings]


# --- what is one picture ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({}, True),
        ({"at": (0.49,)}, True),
        ({"at": (0.51,)}, False),
        ({"box": (20, 20, 120, 120), "size": (200, 200)}, True),  # twice the size
        ({"box": (30, 10, 80, 60)}, False),  # the face is elsewhere
        ({"box": (10, 10, 61, 58)}, True),
        ({"size": (100, 103)}, False),  # another shape
        ({"size": (100, 101)}, True),
    ],
)
def test_what_is_taken_for_the_same_picture(other, same):
    at = other.pop("at", ())
    pair = encoding("a"), encoding("b", *at, **other)
    assert same_picture(*pair, 0.5) is same_picture(*pair[::-1], 0.5) is same


# --- which of them stands for all -------------------------------------------------------------------------------------


def test_nobody_has_no_pictures():
    pictures = PictureGroups(0.5)
    assert pictures.note("ann", []) == pictures.forget("ann", ["x"]) == pictures.note("ann", [])
    assert pictures.original_of("ann", "x") is None
    pictures.forget_subject("ann")


def test_the_first_stands_for_its_copies_until_it_goes():
    pictures = PictureGroups(0.5)
    change = pictures.note("ann", [encoding("a"), encoding("b", 0.1), encoding("c", 2), encoding("d", 0.2)])
    assert (ids(change.added), change.removed) == (["a", "c"], ())
    assert [pictures.original_of("ann", photo) for photo in "abcd"] == [None, "a", None, "a"]
    assert pictures.original_of("bob", "b") is None
    change = pictures.forget("ann", ["a"])
    assert (ids(change.added), change.removed) == (["b"], ("a",))
    assert pictures.original_of("ann", "d") == "b"
    assert pictures.forget("ann", ["d"]).removed == ()
    assert (ids(pictures.forget("ann", ["b"]).added), pictures.original_of("ann", "b")) == ([], None)


def test_a_copy_of_a_copy_is_no_copy():
    """Otherwise a chain of small steps would leave one template for quite different faces."""
    pictures = PictureGroups(0.5)
    change = pictures.note("ann", [encoding("a"), encoding("b", 0.4), encoding("c", 0.8), encoding("d", 1.1)])
    assert ids(change.added) == ["a", "c"] and pictures.original_of("ann", "d") == "c"
    change = pictures.forget("ann", ["a"])
    assert ids(change.added) == [] and pictures.original_of("ann", "b") == "c"


def test_people_do_not_mix():
    pictures = PictureGroups(0.5)
    for name in ("ann", "bob"):
        assert ids(pictures.note(name, [encoding("a")]).added) == ["a"]


def test_noting_again_changes_nothing_and_another_template_replaces():
    pictures = PictureGroups(0.5)
    pictures.note("ann", [encoding("a"), encoding("b", 0.1)])
    assert pictures.note("ann", [encoding("b", 0.1), encoding("a")]) == pictures.note("ann", [])
    change = pictures.note("ann", [encoding("a", 3)])  # the photo's other face
    assert (sorted(ids(change.added)), change.removed) == (["a", "b"], ())
    change = pictures.note("ann", [encoding("a", 0.1)])
    assert (ids(change.added), change.removed) == ([], ("a",)) and pictures.original_of("ann", "a") == "b"


def test_one_after_the_other_or_all_at_once_is_the_same():
    chance = np.random.default_rng(3)
    photos = [encoding(str(i), *chance.normal(0, 0.35, 3)) for i in range(700)]  # more than are compared at once
    once, steps = PictureGroups(0.3), PictureGroups(0.3)
    together = ids(once.note("ann", photos).added)
    alone = [photo for each in photos for photo in ids(steps.note("ann", [each]).added)]
    assert together == alone and 20 < len(together) < 600
    originals = [each for each in photos if each.photo in set(together)]
    for each in photos:
        near = [other.photo for other in originals if np.linalg.norm(each.vector - other.vector) <= 0.3]
        of = once.original_of("ann", each.photo)
        assert of in near if of else each.photo in together


# --- in the folder ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(models_dir) -> dict:
    return {"detector": "yunet", "embedder": "dlib+sface", "models_dir": models_dir}


@pytest.fixture(scope="module")
def engine(recipe):
    return make_engine(**recipe)


@pytest.fixture(scope="module")
def pictures(photos) -> dict[str, bytes]:
    pixels = portrait(photos["obama.jpg"])
    return {
        "original": jpeg(pixels),
        "poor": images.encode_jpeg(pixels, 60),
        "small": jpeg(images.resize(pixels, 300)),
        "other": jpeg(portrait(photos["obama2.jpg"])),
        "biden": jpeg(portrait(photos["biden.jpg"])),
    }


def held(enrolment) -> dict[str, set[str]]:
    return {name: {each.photo for each in enrolment.gallery.templates(name)} for name in enrolment.gallery.subjects()}


@pytest.mark.slow
def test_copies_share_a_template_now_and_after_a_restart(home, pictures):
    for number, name in enumerate(("original", "other", "poor", "small")):
        home.put(f"Obama/{number}.jpg", pictures[name])
    names = {name: photo_id(data) for name, data in pictures.items()}
    for _ in range(2):
        enrolment = home.enrolment()
        enrolment.sync()
        assert held(enrolment) == {"Obama": {names["original"], names["other"]}}
        assert enrolment.original_of("Obama", names["small"]) == names["original"]
        assert enrolment.problems() == [] and len(enrolment.entries("Obama")) == 4
    (home.known.root / "Obama" / "0.jpg").unlink()
    enrolment.sync()
    left = held(enrolment)["Obama"]
    assert len(left) == 2 and names["other"] in left and left & {names["poor"], names["small"]}
    (home.known.root / "Obama" / "1.jpg").unlink()
    (home.known.root / "Obama" / "2.jpg").unlink()
    enrolment.sync()
    assert held(enrolment) == {"Obama": {names["small"]}}


def test_other_people_may_have_the_same_picture(home, pictures):
    home.put("Obama/1.jpg", pictures["original"])
    home.put("President/1.jpg", pictures["poor"])
    enrolment = home.enrolment()
    enrolment.sync()
    assert {name: len(photos) for name, photos in held(enrolment).items()} == {"Obama": 1, "President": 1}


def test_joined_people_have_their_copies_found_and_parted_ones_do_not_keep_them(home, pictures, engine):
    ids = {name: photo_id(data) for name, data in pictures.items()}
    home.put("Obama/1.jpg", pictures["original"])
    home.put("President/2.jpg", pictures["poor"])
    home.put("President/3.jpg", pictures["other"])
    enrolment = home.enrolment()
    enrolment.sync()
    before = enrolment.revision
    enrolment.rename("President", "Obama", merge=True)
    assert held(enrolment) == {"Obama": {ids["original"], ids["other"]}} and enrolment.revision > before
    enrolment.rename("Obama", "Barack")
    assert held(enrolment) == {"Barack": {ids["original"], ids["other"]}}
    assert enrolment.original_of("Barack", ids["poor"]) == ids["original"]
    enrolment.remove_photo("Barack", ids["original"])
    assert held(enrolment) == {"Barack": {ids["poor"], ids["other"]}}
    enrolment.remove_subject("Barack")
    assert held(enrolment) == {} and enrolment.original_of("Barack", ids["poor"]) is None
    examined = examine(engine, pictures["poor"], EnrolmentRules())
    enrolment.add("Barack", pictures["poor"], "jpg", examined)
    assert held(enrolment) == {"Barack": {ids["poor"]}}


@pytest.mark.slow
def test_pictures_written_anew_in_many_ways_are_copies(engine, photos):
    limit = engine.info.calibration.threshold * 0.35
    for name in ("obama.jpg", "biden.jpg", "astronaut.png"):
        pixels = portrait(photos[name], 500)
        first = examine(engine, images.encode_jpeg(pixels, 92), EnrolmentRules()).encoding
        copies = [images.encode_jpeg(pixels, quality) for quality in (75, 50)]
        copies.append(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
        copies += [images.encode_jpeg(images.resize(pixels, size)) for size in (350, 420)]
        for copy in copies:
            assert same_picture(first, examine(engine, copy, EnrolmentRules()).encoding, limit)
