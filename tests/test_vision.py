"""What video asks of the engine and the gallery, with the real engine."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import recognizer
from recognizer.core.errors import ModelMissing
from recognizer.core.types import Faces
from recognizer.galleries import cohort
from recognizer.photos import images
from recognizer.video.tracking.vision import EngineVision, NamingLimits


@pytest.fixture(scope="module")
def people(tmp_path_factory, models_dir, photos):
    folder = tmp_path_factory.mktemp("people")
    with recognizer.open(folder / "known", state_dir=folder / "state", models_dir=models_dir) as opened:
        opened.enroll("Barack Obama", photos["obama.jpg"])
        yield opened


@pytest.fixture(scope="module")
def obama(photos) -> images.Image:
    with Image.open(photos["obama2.jpg"]) as image:
        return images.from_array(np.asarray(image.convert("RGB")))


def test_an_empty_picture(people):
    vision = people.service.video.vision
    image = images.from_array(np.zeros((90, 160, 3), np.uint8))
    assert len(vision.detect(image)) == 0
    vectors, verdicts = vision.describe(image, Faces.empty(), [])
    assert vectors.shape == (0, people.service.engine.info.dim) and list(verdicts) == []
    assert vision.qualities(image, Faces.empty()) == []
    assert vision.match(np.zeros((0, people.service.engine.info.dim), np.float32)) == []
    assert vision.landmarks_68(image, Faces.empty()).shape == (0, 68, 2)
    assert vision.decide([]).subject is None


def test_a_face_is_found_described_and_named(people, obama):
    vision = people.service.video.vision
    faces = vision.detect(obama)
    assert len(faces) == 1
    vectors, (verdict,) = vision.describe(obama, faces, vision.qualities(obama, faces))
    (match,) = vision.match(vectors)
    assert verdict.comparable
    assert match.subject == "Barack Obama" and match.candidates[0].subject == "Barack Obama"
    assert match == vision.decide(match.candidates)
    assert match.threshold == people.service.matcher.threshold_now()
    (quality,) = vision.qualities(obama, faces)
    assert quality.size == pytest.approx(faces[0].box.size)
    assert vision.landmarks_68(obama, faces).shape == (1, 68, 2)
    assert 0 < vision.same_within < vision.other_beyond


def test_the_distance_is_raised_by_what_the_limit_is_lowered_for_a_cohort_that_is_near(people, obama, monkeypatch):
    vision = people.service.video.vision
    faces = vision.detect(obama)
    vectors, _ = vision.describe(obama, faces, vision.qualities(obama, faces))
    vectors = np.concatenate([vectors, -vectors])
    near, far = vision.match(vectors)
    limit = near.threshold
    monkeypatch.setattr(cohort, "lowerings", lambda apart, *_: np.full(len(apart), 0.1))
    raised, as_far = vision.match(vectors)
    assert raised.distance == pytest.approx(near.distance + 0.1) and raised.false_match_rate >= near.false_match_rate
    assert raised.candidates[0].distance == raised.distance and raised.threshold == limit
    assert as_far == far  # a face that gets no name is not compared with a cohort
    monkeypatch.setattr(cohort, "lowerings", lambda apart, *_: np.full(len(apart), limit))
    assert vision.match(vectors)[0].subject is None


def test_a_camera_may_have_a_least_face_and_a_stranger_rate_of_its_own(people, obama):
    vision, matcher = people.service.video.vision, people.service.matcher
    (face,) = vision.detect(obama)
    size = int(min(face.box.width, face.box.height))
    assert len(vision.detect(obama, size - 2)) == 1 and len(vision.detect(obama, size + 2)) == 0
    faces = vision.detect(obama)
    vectors, _ = vision.describe(obama, faces, vision.qualities(obama, faces))
    (match,) = vision.match(vectors, 1e-6)
    assert match.threshold == matcher.threshold_at(1e-6) < matcher.threshold_now()
    assert vision.decide(match.candidates, 1e-6).threshold == match.threshold


def test_a_camera_with_a_stranger_rate_of_its_own_keeps_it_where_the_threshold_is_fixed(people, obama, monkeypatch):
    vision, matcher = people.service.video.vision, people.service.matcher
    faces = vision.detect(obama)
    vectors, _ = vision.describe(obama, faces, vision.qualities(obama, faces))
    monkeypatch.setattr(matcher, "_fixed", matcher.threshold_now())
    monkeypatch.setattr(cohort, "lowerings", lambda apart, *_: np.full(len(apart), 0.1))
    (fixed,), (own,) = vision.match(vectors), vision.match(vectors, 0.01)
    assert own.threshold == matcher.threshold_at(0.01) and own.distance == pytest.approx(fixed.distance + 0.1)


def test_a_picture_is_looked_at_once_whatever_is_in_it(people, monkeypatch):
    """A second, larger look at an empty room would cost four times as much for every picture."""
    sizes = []
    detector = people.service.engine.detector
    detect = type(detector).detect
    monkeypatch.setattr(type(detector), "detect", lambda self, pixels: sizes.append(pixels.shape) or detect(self, pixels))
    people.service.video.vision.detect(images.from_array(np.zeros((1080, 1920, 3), np.uint8)))
    assert sizes == [(360, 640, 3)]


def test_small_faces_are_left_out(people, obama):
    vision = people.service.video.vision
    small = EngineVision(
        people.service.engine, people.service.gallery, NamingLimits(people.service.matcher.threshold_now), min_face=5000
    )
    assert len(vision.detect(obama)) == 1 and len(small.detect(obama)) == 0


def test_the_generation_grows_with_every_change(people, photos):
    vision = people.service.video.vision
    seen = [vision.generation]

    def grew() -> bool:
        seen.append(vision.generation)
        return seen[-1] > seen[-2]

    assert not grew()
    people.enroll("Joe Biden", photos["biden.jpg"])
    assert grew()
    people.rename("Joe Biden", "46")
    assert grew()
    people.delete("46")
    assert grew()
    people.recognize(photos["obama2.jpg"])
    assert not grew()


def test_objects_are_asked_of_whoever_finds_them(people):
    service = people.service
    asked = []
    limits = NamingLimits(service.matcher.threshold_now)
    vision = EngineVision(service.engine, service.gallery, limits, objects=lambda *given: asked.append(given) or [])
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert vision.objects(pixels, 0.4) == [] and asked[0][1] == 0.4
    with pytest.raises(ModelMissing, match="objects"):
        EngineVision(service.engine, service.gallery, limits).objects(pixels, 0.5)
